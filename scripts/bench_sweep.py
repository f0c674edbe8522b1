"""What a sweep costs beside a single configuration with as many lanes: `results/bench/sweep.json`.

    python scripts/bench_sweep.py [--turns 5] [--configurations 256] [--runs 1024] [--out PATH]

See `dpe_jax/bench/sweep.py`.
"""

import argparse
from pathlib import Path

from bench_files import told, write

from dpe_jax.bench import sweep


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--configurations", type=int, default=256)
    parser.add_argument("--runs", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("results/bench/sweep.json"))
    options = parser.parse_args()
    write(
        sweep.measure(
            options.configurations, options.runs, options.iterations, options.turns, told
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
