"""Where the time of a step goes, on one processor: `results/bench/profile.json`.

    python scripts/bench_profile.py [--turns 9] [--out PATH]

The parts of a step alone, and the step with what was tried instead; see docs/performance.md.
"""

import os

from bench_files import parser, told, write

from dpe_jax.bench import profile


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "profile", 9)
    options = arguments.parse_args()
    if hasattr(os, "sched_setaffinity"):
        # XLA would otherwise share the loop between processors.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    write(profile.measure(2048, 500, options.turns, told), options.out)


if __name__ == "__main__":
    main()
