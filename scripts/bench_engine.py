"""Time the engine, every method and minibatch gradients: `results/bench/engine.json`.

    python scripts/bench_engine.py [--turns 9] [--runs 4096] [--iterations 3000] [--out PATH]

What `dpe bench --only engine,methods,minibatch` measures, in one object.
"""

from bench_files import parser, positive, told, write

from dpe_jax.bench import engines, logistic, methods


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "engine", 9)
    arguments.add_argument("--runs", type=positive, default=4096)
    arguments.add_argument("--iterations", type=positive, default=3000)
    options = arguments.parse_args()
    report = engines.measure(options.runs, options.iterations, options.turns, told)
    every = methods.measure(options.runs, options.iterations, options.turns, told)
    report["methods"] = every["methods"]
    report["minibatch_logistic"] = logistic.measure(512, 300, options.turns, told)
    write(report, options.out, "engine")


if __name__ == "__main__":
    main()
