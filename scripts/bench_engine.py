"""Time the engine, every method and minibatch gradients: `results/bench/engine.json`.

    python scripts/bench_engine.py [--turns 9] [--runs 4096] [--iterations 3000] [--out PATH]

What `dpe bench --only engine,methods,minibatch` measures, in one object.
"""

import argparse
from pathlib import Path

from bench_files import told, write

from dpe_jax.bench import engines, logistic, methods


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--runs", type=int, default=4096)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("results/bench/engine.json"))
    options = parser.parse_args()
    report = engines.measure(options.runs, options.iterations, options.turns, told)
    every = methods.measure(options.runs, options.iterations, options.turns, told)
    report["methods"] = every["methods"]
    report["minibatch_logistic"] = logistic.measure(512, 300, options.turns, told)
    write(report, options.out, "engine")


if __name__ == "__main__":
    main()
