"""How cost grows with every size of a simulation: `results/bench/growth.json`.

    python scripts/bench_growth.py [--turns 5] [--seconds 1] [--out PATH]

See `dpe_jax/bench/growth.py`.
"""

import argparse
from pathlib import Path

from bench_files import told, write

from dpe_jax.bench import growth


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a point takes")
    parser.add_argument("--out", type=Path, default=Path("results/bench/growth.json"))
    options = parser.parse_args()
    write(growth.measure(options.turns, options.seconds, told=told), options.out)


if __name__ == "__main__":
    main()
