"""How long it takes until anything happens: `results/bench/startup.json`.

    python scripts/bench_startup.py [--turns 5] [--out PATH]

See `dpe_jax/bench/startup.py`.
"""

import argparse
from pathlib import Path

from bench_files import told, write

from dpe_jax.bench import startup


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/bench/startup.json"))
    options = parser.parse_args()
    write(startup.measure(options.turns, told), options.out)


if __name__ == "__main__":
    main()
