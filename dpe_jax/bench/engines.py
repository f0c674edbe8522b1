"""The engine beside vectorised NumPy, JAX with `jax.random`, a Numba loop, and the floor."""

import concurrent.futures
import dataclasses
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bench import competitors
from dpe_jax.bench.timing import Candidate, Told, about, by_turns, nanoseconds, over, within_turns
from dpe_jax.experiment import find_config
from dpe_jax.observe import Metric, defaults
from dpe_jax.problems import Quadratic
from dpe_jax.simulation import Precision, Simulation
from dpe_jax.study import Study

POINTS = 200
"""Record points where metrics are on."""


def encrypted_alone(preset: str, runs: int, iterations: int) -> Simulation:
    """The encrypted method of a preset, without metrics."""
    simulation = find_config(preset).build()
    return dataclasses.replace(
        simulation,
        algorithms={"encrypted": simulation.algorithms["encrypted"]},
        runs=runs,
        iterations=iterations,
        spacing="linear",
        metrics=(),
        points=2,
    )


def as_study(simulation: Simulation) -> competitors.Study:
    """The same for the competitors: arrays, and stepsizes as tables."""
    (algorithm,), problem = simulation.algorithms.values(), simulation.problem
    assert isinstance(algorithm, EncryptedDSGD)
    assert isinstance(problem, Quadratic)
    k = np.arange(simulation.iterations)
    return competitors.Study(
        A=np.asarray(problem.A),
        b=np.asarray(problem.b),
        sigma=problem.noise,
        W=simulation.network.weights,
        delta=algorithm.delta,
        gamma=algorithm.gamma.values(k),
        lambda_bar=algorithm.stepsize.values(k),
        x0=simulation.start,
    )


def has_numba() -> bool:
    """Whether the loop of `numba_loop` can be compiled here."""
    return importlib.util.find_spec("numba") is not None


def engine(
    simulation: Simulation,
    precision: Precision = "float32",
    metrics: tuple[Metric, ...] = (),
    points: int = 2,
) -> Candidate:
    """All blocks of a simulation, with these settings in place of its own."""
    timed = dataclasses.replace(simulation, precision=precision, metrics=metrics, points=points)
    return as_it_is(timed)


def as_it_is(simulation: Simulation) -> Candidate:
    """All blocks of a simulation; nothing is written."""
    return lambda: list(Study((simulation,)).recordings())


def floor(
    simulation: Simulation, normals: competitors.Normals = competitors.by_polynomial
) -> Candidate:
    """`competitors.floor_runs` on as many threads as the engine, each with its share of lanes."""
    workers = len(Study((simulation,)).devices)
    share = -(-simulation.runs // workers)
    iterations, problem = simulation.iterations, simulation.problem

    def one(seed: int) -> np.ndarray:
        return competitors.floor_runs(share, iterations, problem.agents, problem.dim, seed, normals)

    def run() -> list[np.ndarray]:
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, range(workers)))

    return run


def candidates(simulation: Simulation, *, told: Told = lambda _: None) -> dict[str, Candidate]:
    """The engine, then what it is measured against."""
    study, runs = as_study(simulation), simulation.runs
    vmapped = competitors.vmap_program(study, jnp.float64)
    batched = competitors.batched_program(study, runs, jnp.float64)
    keys = jax.random.split(jax.random.key(0), runs)
    found: dict[str, Candidate] = {
        "engine": engine(simulation),
        "engine_metrics": engine(simulation, "float32", defaults(simulation.problem), POINTS),
        "engine_float64": engine(simulation, "float64"),
        "floor": floor(simulation),
        "floor_erf_inv": floor(simulation, competitors.by_erf_inv),
        "numpy": lambda: competitors.numpy_runs(study, runs, 0),
        "vmap": lambda: jax.block_until_ready(vmapped(keys)),
        "batched": lambda: jax.block_until_ready(batched(jax.random.key(0))),
    }
    if has_numba():
        from dpe_jax.bench.numba_loop import numba_runs

        found["numba"] = lambda: numba_runs(study, runs, 0)
    else:
        told("numba is not installed: its loop is left out")
    return found


def measure(runs: int, iterations: int, turns: int, told: Told = lambda _: None) -> dict[str, Any]:
    """Nanoseconds per agent-coordinate-step on `five-agents`, and ratios of medians."""
    simulation = encrypted_alone("five-agents", runs, iterations)
    problem = simulation.problem
    timed = by_turns(candidates(simulation, told=told), turns, told)
    others = ("numpy", "vmap", "batched", "numba")
    return {
        **nanoseconds(timed, problem.agents * problem.dim * runs * iterations),
        "ratios": {
            **over(timed, "engine", others),
            **over(timed, "floor", ("engine",)),
            **over(timed, "floor_erf_inv", ("engine",)),
            "metrics_overhead": round(
                timed["engine_metrics"].median / timed["engine"].median - 1, 3
            ),
        },
        "ratios_within_turns": {
            **within_turns(timed, "engine", others),
            **within_turns(timed, "floor", ("engine",)),
        },
        "runs": runs,
        "iterations": iterations,
        "record_points": POINTS,
        **about(turns, ("numba",) if has_numba() else ()),
    }
