"""Encrypted replays beside a straightforward exchange with phe: `results/bench/paillier.json`.

    python scripts/bench_paillier.py [--turns 5] [--key-bits 2048] [--out PATH]

See `dpe_jax/bench/paillier.py`.
"""

from bench_files import parser, positive, told, write

from dpe_jax.bench import paillier


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "paillier")
    arguments.add_argument("--key-bits", type=positive, default=2048)
    options = arguments.parse_args()
    write(paillier.measure(options.key_bits, options.turns, True, told), options.out)


if __name__ == "__main__":
    main()
