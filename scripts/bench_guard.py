"""Fail when the engine falls under 2.5 times the speed of vectorised NumPy: the guard of CI.

python scripts/bench_guard.py
"""

import argparse
import sys

from dpe_jax.bench import guard


def main() -> int:
    """Measure some seconds, and say what was found."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    verdict = guard.measured()
    print(verdict.said)
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    sys.exit(main())
