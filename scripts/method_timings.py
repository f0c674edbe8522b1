"""Timings of every method beside `EncryptedDSGD`, and of minibatch gradients beside NumPy."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import competitors
import numpy as np

from dpe_jax.algorithms import (
    Algorithm,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.experiment import find_config
from dpe_jax.factors import CoordinateFactors, LinkFactors
from dpe_jax.problems import EmpiricalRisk
from dpe_jax.schedules import PowerGrowth, PowerLaw
from dpe_jax.study import Study

GAMMA, STEPSIZE = PowerLaw(1.0, 0.6), PowerLaw(0.5, 0.9)


def by_turns(
    candidates: dict[str, Callable[[], object]], turns: int, unit: float
) -> dict[str, list[float]]:
    """Nanoseconds of each candidate's turns, per `unit` steps; the first call is not counted."""
    for candidate in candidates.values():
        candidate()
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate()
            taken[name].append((time.perf_counter() - began) / unit * 1e9)
    return taken


def methods(runs: int, iterations: int, turns: int) -> dict[str, Any]:
    """Every method on `five-agents`, metrics off."""
    simulation = find_config("five-agents").build()
    algorithms: dict[str, Algorithm] = {
        "encrypted": EncryptedDSGD(GAMMA, STEPSIZE),
        "encrypted, factors a link": EncryptedDSGD(GAMMA, STEPSIZE, factors=LinkFactors()),
        "encrypted, factors a coordinate": EncryptedDSGD(
            GAMMA, STEPSIZE, factors=CoordinateFactors()
        ),
        "conventional": ConventionalDSGD(STEPSIZE),
        "centralized": CentralizedSGD(STEPSIZE),
        "ternary": TernaryDSGD(STEPSIZE, GAMMA, 8.0),
        "function sharing": FunctionSharing(STEPSIZE, 1.0),
        "state sharing": RandomizedStateSharing(STEPSIZE, 1.0),
        "geometric DP": GeometricDP(0.1, 0.99, 1.0, 0.995, 10.0, 1.0),
        "tailored DP": TailoredDP(STEPSIZE, GAMMA, PowerGrowth(0.1, 0.05), 1.0),
        "geometric DP, clipped": GeometricDP(0.1, 0.99, 1.0, 0.995, 10.0, 1.0, clip=True),
        "tailored DP, clipped": TailoredDP(STEPSIZE, GAMMA, PowerGrowth(0.1, 0.05), 1.0, clip=True),
    }

    def run(algorithm: Algorithm) -> Callable[[], object]:
        alone = dataclasses.replace(
            simulation,
            algorithms={"method": algorithm},
            runs=runs,
            iterations=iterations,
            metrics=(),
            points=2,
        )
        return lambda: list(Study((alone,)).recordings())

    problem = simulation.problem
    unit = problem.agents * problem.dim * runs * iterations
    taken = by_turns({name: run(one) for name, one in algorithms.items()}, turns, unit)
    base = taken["encrypted"]
    return {
        name: {
            "ns": round(statistics.median(times), 3),
            "times_encrypted": round(
                statistics.median(t / b for t, b in zip(times, base, strict=True)), 2
            ),
        }
        for name, times in taken.items()
    }


def logistic(runs: int, iterations: int, turns: int) -> dict[str, Any]:
    """Encrypted DSGD on `hospitals`, minibatches of 8, beside vectorised NumPy doing the same."""
    simulation = find_config("hospitals").build()
    problem, algorithm = simulation.problem, simulation.algorithms["encrypted"]
    assert isinstance(problem, EmpiricalRisk)
    assert isinstance(algorithm, EncryptedDSGD)
    assert problem.batch is not None
    features, labels = (np.asarray(leaf) for leaf in problem.data)
    sizes = np.asarray(problem.sizes)
    ends = np.cumsum(sizes)[:-1]
    k = np.arange(iterations)
    study = competitors.LogisticStudy(
        np.split(features, ends),
        np.split(labels, ends),
        len(sizes) * sizes / sizes.sum(),
        problem.penalty,
        problem.batch,
        simulation.network.weights,
        algorithm.delta,
        algorithm.gamma.values(k),
        algorithm.stepsize.values(k),
    )
    alone = dataclasses.replace(
        simulation,
        algorithms={"method": algorithm},
        runs=runs,
        iterations=iterations,
        metrics=(),
        points=2,
    )
    taken = by_turns(
        {
            "engine": lambda: list(Study((alone,)).recordings()),
            "numpy": lambda: competitors.numpy_logistic_runs(study, runs, 0),
        },
        turns,
        problem.agents * problem.dim * runs * iterations,
    )
    ns = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "dim": problem.dim,
        "batch": problem.batch,
        "runs": runs,
        "iterations": iterations,
        **{f"{name}_ns": round(value, 3) for name, value in ns.items()},
        "numpy_over_engine": round(ns["numpy"] / ns["engine"], 2),
    }
