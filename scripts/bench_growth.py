"""How cost grows with every size of a simulation: `results/bench/growth.json`.

    python scripts/bench_growth.py [--turns 5] [--seconds 1] [--out PATH]

See `dpe_jax/bench/growth.py`.
"""

from bench_files import parser, seconds, told, write

from dpe_jax.bench import growth


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "growth")
    arguments.add_argument("--seconds", type=seconds, default=1.0, help="that a point takes")
    options = arguments.parse_args()
    write(growth.measure(options.turns, options.seconds, told=told), options.out)


if __name__ == "__main__":
    main()
