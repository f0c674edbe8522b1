"""Time the engine beside what a user would choose instead, in one process and one run.

Nanoseconds of wall time per agent-coordinate-step on the `five-agents` preset: the engine with
metrics off and on, the competitors of `competitors.py`, and the floor, Philox plus `erf_inv`
alone; then every method beside `EncryptedDSGD`, and minibatch logistic regression on `hospitals`
beside vectorised NumPy. The candidates take turns, so that a drift of the machine's speed meets all
of them; medians are of the turns. Prints one JSON object.

    python scripts/bench_engine.py [--turns 7] [--runs 4096] [--iterations 1000]
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import competitors
import method_timings

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.experiment import find_config
from dpe_jax.observe import Metric, defaults
from dpe_jax.problems import Quadratic
from dpe_jax.simulation import Precision
from dpe_jax.study import Study

_POINTS = 200


def main() -> None:
    """Run the benchmark and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--runs", type=int, default=4096)
    parser.add_argument("--iterations", type=int, default=1000)
    options = parser.parse_args()
    runs, iterations = options.runs, options.iterations

    simulation = find_config("five-agents").build()
    algorithm, problem = simulation.algorithms["encrypted"], simulation.problem
    assert isinstance(algorithm, EncryptedDSGD)
    assert isinstance(problem, Quadratic)
    k = np.arange(iterations)
    study = competitors.Study(
        A=np.asarray(problem.A),
        b=np.asarray(problem.b),
        sigma=problem.noise,
        W=simulation.network.weights,
        delta=algorithm.delta,
        gamma=algorithm.gamma.values(k),
        lambda_bar=algorithm.stepsize.values(k),
        x0=simulation.start,
    )
    simulation = dataclasses.replace(
        simulation,
        algorithms={"encrypted": algorithm},
        runs=runs,
        iterations=iterations,
        spacing="linear",
    )

    def engine_run(
        precision: Precision, metrics: tuple[Metric, ...], points: int
    ) -> Callable[[], object]:
        timed = dataclasses.replace(simulation, precision=precision, metrics=metrics, points=points)
        return lambda: list(Study((timed,)).recordings())

    # The floor has as many threads as the engine, each with its share of the lanes.
    workers = len(Study((simulation,)).devices)
    share = -(-runs // workers)

    def floor() -> list[object]:
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return list(
                pool.map(
                    lambda seed: competitors.floor_runs(
                        share, iterations, problem.agents, problem.dim, seed
                    ),
                    range(workers),
                )
            )

    vmapped = competitors.vmap_program(study, jnp.float64)
    batched = competitors.batched_program(study, runs, jnp.float64)
    keys = jax.random.split(jax.random.key(0), runs)
    candidates: dict[str, Callable[[], object]] = {
        "engine": engine_run("float32", (), 2),
        "engine_metrics": engine_run("float32", defaults(problem), _POINTS),
        "engine_float64": engine_run("float64", (), 2),
        "floor": floor,
        "numpy": lambda: competitors.numpy_runs(study, runs, 0),
        "vmap": lambda: jax.block_until_ready(vmapped(keys)),
        "batched": lambda: jax.block_until_ready(batched(jax.random.key(0))),
    }
    elements = problem.agents * problem.dim * runs * iterations
    compiled: dict[str, float] = {}
    for name, candidate in candidates.items():
        began = time.perf_counter()
        candidate()
        compiled[name] = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(options.turns):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate()
            seconds[name].append(time.perf_counter() - began)
    report = _report(seconds, compiled, elements, options)
    report["methods"] = method_timings.methods(runs, iterations, options.turns)
    report["minibatch_logistic"] = method_timings.logistic(512, 300, options.turns)
    print(json.dumps(report, indent=2))


def _report(
    seconds: dict[str, list[float]],
    compiled: dict[str, float],
    elements: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    ns = {name: statistics.median(times) / elements * 1e9 for name, times in seconds.items()}
    spread = {
        name: [round(min(times) / elements * 1e9, 3), round(max(times) / elements * 1e9, 3)]
        for name, times in seconds.items()
    }
    device = jax.devices()[0]
    return {
        **{f"{name}_ns": round(value, 3) for name, value in ns.items()},
        "ratios": {
            "numpy_over_engine": round(ns["numpy"] / ns["engine"], 2),
            "vmap_over_engine": round(ns["vmap"] / ns["engine"], 2),
            "batched_over_engine": round(ns["batched"] / ns["engine"], 2),
            "engine_over_floor": round(ns["engine"] / ns["floor"], 2),
            "metrics_overhead": round(ns["engine_metrics"] / ns["engine"] - 1, 3),
        },
        "range_ns": spread,
        "first_call_seconds": {name: round(value, 2) for name, value in compiled.items()},
        "runs": options.runs,
        "iterations": options.iterations,
        "record_points": _POINTS,
        "turns": options.turns,
        "device": f"{device.platform} {device.device_kind}",
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("dpe-jax", "jax", "numpy")},
        },
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    main()
