"""The small setting that the tests of the engine share."""

import logging
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dpe_jax.algorithms import Algorithm, EncryptedDSGD
from dpe_jax.draws import Draws
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.study import Result, simulate
from dpe_jax.tracing import Trace

GAMMA, STEPSIZE = PowerLaw(0.5, 0.6), PowerLaw(0.5, 0.9)
ENCRYPTED = EncryptedDSGD(GAMMA, STEPSIZE)
NETWORK = Network.from_edges([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (1, 3)])
FULL = Quadratic.random(5, 2, seed=1, noise=0.3)
DIAGONAL = Quadratic(
    np.random.default_rng(2).uniform(0.5, 1.5, (5, 3, 1)) * np.eye(3),
    np.random.default_rng(3).normal(size=(5, 3)),
    0.3,
)
ITERATIONS = 60


def run(
    algorithm: Algorithm = ENCRYPTED,
    problem: Problem = FULL,
    network: Network = NETWORK,
    **settings: Any,
) -> Result:
    """One method, without metrics unless they are asked for: less to compile."""
    chosen = {"runs": 7, "iterations": ITERATIONS, "points": 2, "metrics": ()}
    return simulate({"method": algorithm}, problem, network, **(chosen | settings))


def traced(
    algorithm: Algorithm = ENCRYPTED,
    problem: Problem = FULL,
    network: Network = NETWORK,
    **settings: Any,
) -> Trace:
    return run(algorithm, problem, network, **settings).traces["method"]


def finals(result: Result) -> np.ndarray:
    return result.curves["final_state"].values[0]


def compilations(caplog, call) -> int:
    """How many programs are compiled by a call."""
    caplog.clear()
    # For all threads: blocks are computed by threads of their own.
    jax.config.update("jax_log_compiles", True)
    try:
        with caplog.at_level(logging.WARNING):
            call()
    finally:
        jax.config.update("jax_log_compiles", False)
    return sum("Finished XLA compilation" in entry.getMessage() for entry in caplog.records)


@eqx.filter_jit
def gradient(problem, x, time=1):
    """Stochastic gradients at x [agents, dim, lanes] of runs 0 to lanes − 1 at one time."""
    draws = Draws(
        key=(jnp.uint32(1), jnp.uint32(0)),
        run=jnp.arange(x.shape[-1], dtype=jnp.uint32),
        time=jnp.asarray(time, jnp.uint32),
        agents=problem.agents,
        dim=problem.dim,
    )
    return problem.gradient(jnp.asarray(x), draws)


@eqx.filter_jit
def objective(problem, x):
    return problem.objective(jnp.asarray(x))
