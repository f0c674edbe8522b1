"""Peak memory and time of a million runs of `five-agents`: `results/bench/memory.json`.

    python scripts/bench_memory.py [--runs 1000000] [--iterations 100] [--turns 5] [--out PATH]

All three methods are run, curves go to disk block by block.
"""

import argparse
from pathlib import Path

from bench_files import write

from dpe_jax.bench import memory


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/bench/memory.json"))
    options = parser.parse_args()
    sizes = options.runs, options.iterations, options.points
    write(memory.measure(*sizes, options.turns), options.out)


if __name__ == "__main__":
    main()
