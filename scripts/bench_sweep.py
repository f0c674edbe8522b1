"""What a sweep costs beside a single configuration with as many lanes: `results/bench/sweep.json`.

    python scripts/bench_sweep.py [--turns 5] [--configurations 256] [--runs 1024] [--out PATH]

See `dpe_jax/bench/sweep.py`.
"""

from bench_files import parser, positive, told, write

from dpe_jax.bench import sweep


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "sweep")
    arguments.add_argument("--configurations", type=positive, default=256)
    arguments.add_argument("--runs", type=positive, default=1024)
    arguments.add_argument("--iterations", type=positive, default=200)
    options = arguments.parse_args()
    write(
        sweep.measure(
            options.configurations, options.runs, options.iterations, options.turns, told
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
