"""A large sparse network, beside an exchange by a matrix: `results/bench/large.json`.

    python scripts/bench_large.py [--turns 5] [--iterations 20] [--out PATH]

1000 agents of degree 6, d = 10, 64 runs.
"""

from bench_files import parser, positive, told, write

from dpe_jax.bench import large


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "large")
    arguments.add_argument("--iterations", type=positive, default=20)
    options = arguments.parse_args()
    write(large.measure(1000, 6, 10, 64, options.iterations, options.turns, told), options.out)


if __name__ == "__main__":
    main()
