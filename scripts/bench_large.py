"""A large sparse network, beside an exchange by a matrix: `results/bench/large.json`.

    python scripts/bench_large.py [--turns 5] [--iterations 20] [--out PATH]

1000 agents of degree 6, d = 10, 64 runs.
"""

import argparse
from pathlib import Path

from bench_files import told, write

from dpe_jax.bench import large


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("results/bench/large.json"))
    options = parser.parse_args()
    write(large.measure(1000, 6, 10, 64, options.iterations, options.turns, told), options.out)


if __name__ == "__main__":
    main()
