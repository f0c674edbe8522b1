"""A network of units on the digits has no optimum, and which metrics a problem has."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from common import NETWORK, gradient
from losses import numpy_network
from samples import METHOD, held_out, pooled

from dpe_jax.errors import InputError
from dpe_jax.observe import defaults, supported
from dpe_jax.problems import (
    breast_cancer,
    diabetes,
    digits,
    digits_network,
    fraud,
)
from dpe_jax.problems.digits import network_logits, softmax_logits
from dpe_jax.study import simulate

pytestmark = pytest.mark.slow


def test_no_optimum_is_pretended() -> None:
    problem = digits_network()
    optimum = problem.solve()
    assert optimum.method == "none: F is not convex"
    assert np.isnan(optimum.value)
    assert np.all(np.isnan(optimum.x))
    assert defaults(problem) == (
        *("consensus_error", "quantization_error"),
        *("objective", "stationarity", "test_accuracy"),
    )
    with pytest.raises(InputError, match=r"^metrics = 'gap_agents': .*no optimum"):
        simulate(METHOD, problem, NETWORK, runs=1, iterations=1, metrics=("gap_agents",))


def test_metrics_are_those_that_a_problem_has() -> None:
    classical = (
        *("gap_mean_state", "gap_agents", "error_worst_agent", "error_mean_state"),
        *("consensus_error", "quantization_error"),
    )
    assert defaults(breast_cancer()) == classical
    ranked = ("test_accuracy", "test_auc", "test_average_precision")
    cheap = tuple(metric for metric in classical if metric != "gap_agents")
    assert defaults(fraud()) == (*cheap, *ranked)
    assert defaults(diabetes()) == (*cheap, "test_error")
    others = ("objective", "stationarity", "test_accuracy", "peak_error")
    assert supported(digits()) == (*classical, *others)
    with pytest.raises(InputError, match=r"^metrics = 'test_auc': .*no such test"):
        simulate(METHOD, digits(), NETWORK, runs=1, iterations=1, metrics=("test_auc",))
    with pytest.raises(InputError, match=r"^metrics = 'test_error': .*no such test"):
        simulate(METHOD, breast_cancer(), NETWORK, runs=1, iterations=1, metrics=("test_error",))


def test_a_network_starts_where_its_units_differ() -> None:
    problem = digits_network(hidden=4, seed=3)
    assert problem.dim == 310
    start = problem.start
    assert (np.abs(start) <= 0.5).all()
    assert np.abs(start).max() > 0.45
    np.testing.assert_array_equal(digits_network(hidden=4, seed=3).start, start)
    assert not np.array_equal(digits_network(hidden=4, seed=4).start, start)
    settings: dict[str, Any] = {
        "runs": 2,
        "iterations": 1,
        "points": 2,
        "metrics": ("consensus_error",),
    }
    result = simulate(METHOD, problem, NETWORK, **settings)
    np.testing.assert_array_equal(result.simulation.start, np.broadcast_to(start, (5, 310)))
    zeros = simulate(METHOD, problem, NETWORK, x0=np.zeros(310), **settings)
    assert not zeros.simulation.start.any()
    # From 0 all hidden units move alike, whatever the minibatch.
    W = np.asarray(gradient(problem, np.zeros((5, 310, 3))))[:, : 64 * 4].reshape(5, 4, 64, 3)
    np.testing.assert_array_equal(W, W[:, :1] * np.ones((1, 4, 1, 1)))
    moved = np.asarray(gradient(problem, np.broadcast_to(start[:, None], (5, 310, 3))))
    assert not np.allclose(moved[:, :64], moved[:, 64:128])


def test_logits_are_those_by_hand() -> None:
    rng = np.random.default_rng(8)
    a, x = rng.normal(size=64), rng.normal(size=310)
    W, b, V, c = x[:256].reshape(4, 64), x[256:260], x[260:300].reshape(10, 4), x[300:]
    by_hand = V @ (1 / (1 + np.exp(-(W @ a + b)))) + c
    np.testing.assert_allclose(network_logits(jnp.asarray(x), jnp.asarray(a)), by_hand, rtol=1e-12)
    V = rng.normal(size=(10, 64))
    got = softmax_logits(jnp.asarray(V.ravel()), jnp.asarray(a))
    np.testing.assert_allclose(got, V @ a, rtol=1e-12)


def test_curves_are_those_of_the_final_states() -> None:
    settings: dict[str, Any] = {"runs": 3, "iterations": 4, "points": 2, "block": 3}
    problem = digits_network(hidden=2)
    result = simulate(METHOD, problem, NETWORK, **settings)
    mean = result.curves.final_state.values[0].mean(0)
    a, y = pooled(problem)
    test = held_out(problem)
    for lane in range(3):
        loss, each = numpy_network(mean[:, lane], a, y)
        last = result.curves.isel(algorithm=0, iteration=-1, run=lane)
        np.testing.assert_allclose(last.objective, loss.mean(), rtol=1e-6)
        slope = np.linalg.norm(each.mean(0))
        np.testing.assert_allclose(last.stationarity, slope, rtol=1e-6)
        logits = [network_logits(jnp.asarray(mean[:, lane]), jnp.asarray(s)) for s in test.features]
        right = np.mean(np.argmax(logits, axis=1) == test.targets)
        np.testing.assert_allclose(last.test_accuracy, right, rtol=1e-6)
