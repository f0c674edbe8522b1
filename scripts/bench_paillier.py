"""Encrypted replays beside a straightforward exchange with phe: `results/bench/paillier.json`.

    python scripts/bench_paillier.py [--turns 5] [--key-bits 2048] [--out PATH]

See `dpe_jax/bench/paillier.py`.
"""

import argparse
from pathlib import Path

from bench_files import told, write

from dpe_jax.bench import paillier


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--key-bits", type=int, default=2048)
    parser.add_argument("--out", type=Path, default=Path("results/bench/paillier.json"))
    options = parser.parse_args()
    write(paillier.measure(options.key_bits, options.turns, True, told), options.out)


if __name__ == "__main__":
    main()
