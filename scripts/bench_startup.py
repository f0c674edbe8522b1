"""How long it takes until anything happens: `results/bench/startup.json`.

    python scripts/bench_startup.py [--turns 5] [--out PATH]

See `dpe_jax/bench/startup.py`.
"""

from bench_files import parser, told, write

from dpe_jax.bench import startup


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "startup")
    options = arguments.parse_args()
    write(startup.measure(options.turns, told), options.out)


if __name__ == "__main__":
    main()
