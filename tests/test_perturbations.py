"""Random shares that cancel over the agents: exactly, and with their variance."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from baselines import (
    EXCHANGE,
    FUNCTION,
    LANES,
    QUIET,
    STATE,
    X0,
    within,
)
from common import FULL, NETWORK
from methods import draws, row_of, start, step

from dpe_jax.algorithms import (
    FunctionSharing,
)
from dpe_jax.algorithms.floating import shares
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.quadratic import Quadratic

pytestmark = pytest.mark.slow  # together over 20 s


def sums_over_agents(x) -> np.ndarray:
    """One agent after another, so that nothing is reordered."""
    return functools.reduce(np.add, np.asarray(x))


@pytest.mark.parametrize("network", [NETWORK, Network.star(6), Network.complete(7)], ids=str)
def test_shares_cancel_exactly_on_any_network(network: Network) -> None:
    problem = Quadratic.random(network.agents, 3, seed=0)
    exchange = Exchange.of(network)
    flow = np.asarray(shares(exchange, draws(0, 500, problem)))
    assert flow.shape == (len(network.edges), 3, 500)
    assert np.all(flow == np.rint(flow))
    assert np.abs(flow).max() < 2**32
    whole = np.asarray(exchange.circulate(jnp.asarray(flow)))
    assert np.all(sums_over_agents(whole) == 0)
    for scale, exact in [(2.0**-3, True), (1.3, False)]:
        p = np.asarray(
            start(FunctionSharing(0.1, scale), *given(network, 3), draws(0, 500, problem)).mask
        )
        left = np.abs(sums_over_agents(p))
        assert np.all(left == 0) == exact
        assert left.max() < 1e-14 * network.agents * scale
        assert np.abs(p).max() <= 2 * scale * max(dict(degrees(network)).values())
        assert np.all(np.abs(p[0]).max(axis=-1) > 0)
    # One share that its taker does not get is seen.
    lost = np.array(whole)
    lost[network.edges[0][0]] -= flow[0]
    assert np.all(sums_over_agents(lost) != 0)


def given(network: Network, dim: int):
    return jnp.zeros((network.agents, dim)), Exchange.of(network)


def degrees(network: Network) -> list[tuple[int, int]]:
    return [(i, len(network.neighbors(i))) for i in range(network.agents)]


def test_perturbations_have_their_variance_and_are_drawn_afresh() -> None:
    x0 = jnp.asarray(X0)
    state = start(STATE, x0, EXCHANGE, draws(0, LANES))
    messages = []
    for k in range(2):
        row = row_of(STATE, NETWORK, k)
        state, seen = step(STATE, state, QUIET, EXCHANGE, draws(k + 1, LANES), row)
        messages.append(np.asarray((seen.message - seen.position) / row.stepsize))
        # What the exchange adds to all states together is nothing, so the mean state moves by
        # the gradients alone.
        assert np.abs(sums_over_agents(seen.mixing)).max() < 1e-13
        assert np.abs(np.asarray(seen.mixing)).max() > 0.1
    for i, degree in degrees(NETWORK):
        expected = 2 * degree * 1.3**2 / 3
        d = messages[0][i]
        assert within(d, 0.0)
        assert not within(d, 0.1)
        assert within(d**2, expected)
        assert not within(d**2, expected * 2 / 3)
        assert not within(d**2, expected * 1.5)
        for other in (messages[1][i, 0], d[1]):
            assert abs(np.corrcoef(d[0], other)[0, 1]) < 5 / np.sqrt(LANES)
    # Neighbors share, and so their perturbations are correlated: −1/√(d_i d_j).
    i, j = NETWORK.edges[0]
    expected = -1 / np.sqrt(degrees(NETWORK)[i][1] * degrees(NETWORK)[j][1])
    found = np.corrcoef(messages[0][i, 0], messages[0][j, 0])[0, 1]
    assert abs(found - expected) < 5 / np.sqrt(LANES)


def test_function_sharing_keeps_its_functions() -> None:
    """p is drawn once a run; what an eavesdropper inverts is g + p."""
    state = start(FUNCTION, jnp.asarray(X0), EXCHANGE, draws(0, 16))
    p = np.asarray(state.mask)
    for k in range(3):
        words, row = draws(k + 1, 16), row_of(FUNCTION, NETWORK, k)
        following, seen = step(FUNCTION, state, FULL, EXCHANGE, words, row)
        np.testing.assert_array_equal(np.asarray(following.mask), p)
        x = np.asarray(seen.message)
        mixing = np.einsum("ij,jdl->idl", NETWORK.weights, x)
        inverted = (x + mixing - np.asarray(following.x)) / float(row.stepsize)
        g = np.asarray(FULL.gradient(jnp.asarray(x), words))
        np.testing.assert_allclose(inverted, g + p, rtol=0, atol=1e-10)
        state = following
