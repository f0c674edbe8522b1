"""Peak memory and time of a million runs of `five-agents`: `results/bench/memory.json`.

    python scripts/bench_memory.py [--runs 1000000] [--iterations 100] [--turns 5] [--out PATH]

All three methods are run, curves go to disk block by block.
"""

from bench_files import parser, positive, write

from dpe_jax.bench import memory


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "memory")
    arguments.add_argument("--runs", type=positive, default=1_000_000)
    arguments.add_argument("--iterations", type=positive, default=100)
    arguments.add_argument("--points", type=positive, default=10)
    options = arguments.parse_args()
    sizes = options.runs, options.iterations, options.points
    write(memory.measure(*sizes, options.turns), options.out)


if __name__ == "__main__":
    main()
