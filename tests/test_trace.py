"""Traces hold what the program computed: replays agree, and would notice if it were wrong."""

import numpy as np
import pytest
import reference
from common import GAMMA, NETWORK, STEPSIZE, traced

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic, SensorEstimation, breast_cancer
from dpe_jax.stepsizes import Gamma, LogNormal, Uniform
from dpe_jax.tracing import Trace

pytestmark = pytest.mark.slow  # together over 20 s

STEPS = 40


def replayed(trace: Trace, lane: int, algorithm: EncryptedDSGD, network: Network) -> list:
    return reference.replay(
        trace.state[lane, 0].tolist(),
        trace.increment[lane].tolist(),
        algorithm.table(network, np.arange(trace.increment.shape[1])).gain.tolist(),
        [(i, j, int(network.coupling[i, j])) for i, j in network.edges],
        0,
        int(trace.run[lane]),
    ).Y


# XLA may evaluate the floating point of an increment twice, and differently, when a trace asks for
# it as well: seen with these multipliers and matrix products in float32.
@pytest.mark.parametrize("multipliers", [LogNormal(0.8), Gamma(2.0), Uniform()], ids=str)
@pytest.mark.parametrize(
    "problem",
    [
        breast_cancer(5, split="dirichlet", penalty=0.05),
        SensorEstimation.random(5, 3, 4, seed=1, noise=0.3),
        Quadratic.random(5, 12, seed=1, noise=0.3),
    ],
    ids=lambda problem: problem.describe()["problem"],
)
def test_traces_agree_with_the_reference_where_gradients_are_matrix_products(
    problem, multipliers
) -> None:
    algorithm = EncryptedDSGD(GAMMA, STEPSIZE, multipliers=multipliers)
    trace = traced(algorithm, problem, runs=40, iterations=STEPS, trace=(3, 39))
    for lane in range(2):
        assert replayed(trace, lane, algorithm, NETWORK) == trace.state[lane].tolist()
    # The increments are no leftovers of the update: they go with the multipliers.
    assert np.abs(trace.increment).max() > 2**20


@pytest.mark.parametrize(
    ("dim", "wrong"),
    [(3, lambda v: v.at[0].add(1)), (4, lambda v: -v), (5, lambda v: v)],
    ids=["one level", "sign", "right"],
)
def test_a_program_that_exchanges_wrongly_is_found_out(monkeypatch, dim: int, wrong) -> None:
    right = Exchange.levels
    monkeypatch.setattr(Exchange, "levels", lambda self, *given: wrong(right(self, *given)))
    # A dimension that no other test uses with this network, so that the program is compiled anew.
    network = Network.path(7)
    problem = Quadratic.random(7, dim, seed=3, noise=0.2)
    algorithm = EncryptedDSGD(GAMMA, STEPSIZE)
    trace = traced(algorithm, problem, network, runs=3, iterations=STEPS, trace=(1,))
    agrees = replayed(trace, 0, algorithm, network) == trace.state[0].tolist()
    assert agrees == (dim == 5)
