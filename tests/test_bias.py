"""Methods without a promise of the optimum miss it, by far more than chance allows.

Judged by E x̄ at the same k on the same draws, beside a method that does promise it.
"""

import functools

import numpy as np
import pytest
from common import NETWORK

from dpe_jax.algorithms import Algorithm, EncryptedDSGD, GeometricDP
from dpe_jax.conditions import violated
from dpe_jax.problems import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.study import simulate

GAMMA, STEPSIZE, COARSE = PowerLaw(1.0, 0.51), PowerLaw(1.5, 1.0), 2.0
METHODS: dict[str, Algorithm] = {
    "stochastic": EncryptedDSGD(GAMMA, STEPSIZE, COARSE),
    "nearest": EncryptedDSGD(GAMMA, STEPSIZE, COARSE, rounding="nearest"),
    "geometric": GeometricDP(0.3, 0.5, 0.2, 0.9, 50.0, 50.0),
}
CURVATURE = np.array([[0.5, 1.5], [1.5, 0.5], [0.6, 1.2], [1.0, 0.7], [1.4, 1.1]])
UNLIKE = Quadratic(
    CURVATURE[..., None] * np.eye(2),
    np.random.default_rng(1).normal(size=(5, 2)) + np.array([3.0, -2.5]),
    5.0,
)
"""Curvatures differ, so agents that stay apart pull x̄ away from x*; the noise is large, so that
what is left of λ/γ at the end is less than chance."""
RUNS, LENGTH = 64, 20_000

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")


@functools.cache
def mean_states() -> dict[str, np.ndarray]:
    """x̄ [coordinate, run] at the end."""
    result = simulate(METHODS, UNLIKE, NETWORK, runs=RUNS, iterations=LENGTH, points=2, metrics=())
    assert np.all(result.curves.status.values == 0)
    return dict(zip(METHODS, result.curves.final_state.values.mean(axis=1), strict=True))


def standard_error(sample: np.ndarray) -> np.ndarray:
    return sample.std(axis=-1, ddof=1) / np.sqrt(sample.shape[-1])


def distance(sample: np.ndarray, point: np.ndarray) -> float:
    """Of the sample's mean from a point, in standard errors; the larger of the coordinates."""
    return float(np.max(np.abs(sample.mean(axis=-1) - point) / standard_error(sample)))


def optimum() -> np.ndarray:
    return np.asarray(UNLIKE.solve().x)


def expected(k: int) -> np.ndarray:
    """E x̄^k of the unbiased method: rounding, noise and multipliers leave it to a recursion."""
    x, A, b = np.zeros((5, 2)), np.asarray(UNLIKE.A), np.asarray(UNLIKE.b)
    steps = np.arange(k)
    for gamma, stepsize in zip(GAMMA.values(steps), STEPSIZE.values(steps), strict=True):
        x = x + gamma * NETWORK.weights @ x - stepsize * np.einsum("ide,ie->id", A, x - b)
    return x.mean(axis=0)


@pytest.mark.slow
def test_the_unbiased_method_is_where_it_promises_to_be() -> None:
    sample, point = mean_states()["stochastic"], optimum()
    assert violated(METHODS["stochastic"].conditions(NETWORK)) == ()
    assert distance(sample, point) < 3
    left = expected(LENGTH)
    assert distance(sample, left) < 3
    assert np.all(np.abs(left - point) < 1.5 * standard_error(sample))
    for factor in (2 / 3, 1.5):
        assert distance(sample, factor * point) > 5


@pytest.mark.parametrize("name", ["nearest", "geometric"])
def test_a_method_without_that_promise_has_a_bias(name: str) -> None:
    assert violated(METHODS[name].conditions(NETWORK)) != ()
    sample, unbiased, point = mean_states()[name], mean_states()["stochastic"], optimum()
    bias = sample.mean(axis=-1) - point
    assert distance(sample, point) > 5
    # Paired by run, as the methods see the same noise.
    assert distance(sample - unbiased, np.zeros(2)) > 5
    # Half of that bias the unbiased method's own sample would have shown.
    assert distance(unbiased, point + bias / 2) > 5


def test_nearest_rounding_does_no_harm_on_a_fine_grid() -> None:
    """The bias is that of the grid: at δ = 2⁻⁷ nearest and stochastic rounding agree."""
    method = EncryptedDSGD(GAMMA, STEPSIZE, 2.0**-7, rounding="nearest")
    result = simulate(method, UNLIKE, NETWORK, runs=RUNS, iterations=LENGTH, points=2, metrics=())
    sample = result.curves.final_state.values[0].mean(axis=0)
    assert distance(sample, optimum()) < 3
    bias = np.abs(mean_states()["nearest"].mean(axis=-1) - optimum())
    assert np.max(bias / np.abs(sample.mean(axis=-1) - optimum())) > 5
