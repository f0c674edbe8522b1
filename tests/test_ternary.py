"""The ternary quantizer: its mean, its variance, its words and its range."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import reference
from baselines import EXCHANGE, LANES, TERNARY, X0, within
from common import FULL, NETWORK
from methods import draws, row_of, start, step

from dpe_jax.algorithms import (
    TernaryDSGD,
)
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerLaw


def quantized(x: np.ndarray, r: float, time: int = 0) -> np.ndarray:
    method = TernaryDSGD(0.1, 0.1, r)
    return np.asarray(start(method, jnp.asarray(x), EXCHANGE, draws(time, LANES)).mask)


def test_the_ternary_quantizer_is_unbiased_with_its_variance() -> None:
    r = 1.7
    x = np.array([[0.9, -0.9], [0.3, -0.2], [1.4, -1.5], [0.8, 0.5], [-0.6, 1.1]])
    T = quantized(x, r)
    assert set(np.unique(T).tolist()) == {-r, 0.0, r}
    assert np.all((T == 0) | (np.sign(T) == np.sign(x)[..., None]))
    for i, c in np.ndindex(5, 2):
        size = float(abs(x[i, c]))
        squares = (T[i, c] - x[i, c]) ** 2
        assert within(T[i, c], x[i, c])
        assert within(squares, size * (r - size))
        for factor in (2 / 3, 1.5):
            assert not within(T[i, c], factor * x[i, c])
            assert not within(squares, factor * size * (r - size))


def test_the_ternary_decision_is_that_of_its_word() -> None:
    r = 1.7
    x = np.linspace(-r, r, 10).reshape(5, 2)
    T = quantized(x, r)
    for i, c in np.ndindex(5, 2):
        for lane in range(200):
            word = reference.words(0, lane, 0, i * 2 + c)[3]
            assert (T[i, c, lane] != 0) == ((2 * word + 1) * r < abs(x[i, c]) * 2**33)
    # Zero and the ends of the range leave nothing to chance.
    assert np.all(T[[0, 4], [0, 1]] == np.array([[-r], [r]]))
    assert np.all(quantized(np.zeros((5, 2)), r) == 0)


def test_ternary_quantization_error_is_that_of_the_messages() -> None:
    state = start(TERNARY, jnp.asarray(X0), EXCHANGE, draws(0, 16))
    _, seen = step(TERNARY, state, FULL, EXCHANGE, draws(1, 16), row_of(TERNARY, NETWORK, 0))
    e = np.asarray(seen.message) - X0[..., None]
    expected = np.einsum("ij,jdl->idl", NETWORK.weights, e)
    np.testing.assert_allclose(np.asarray(seen.quantization_error), expected, atol=1e-13)


def test_a_ternary_element_out_of_range_stays_out() -> None:
    method = TernaryDSGD(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), 1.0)
    x = np.zeros((5, 2, 16))
    x[1, 0, 3], x[2, 1, 4], x[4, 1, 5] = np.inf, np.nan, 1.0
    state = eqx.tree_at(
        lambda s: s.x, start(method, jnp.zeros((5, 2)), EXCHANGE, draws(0, 16)), jnp.asarray(x)
    )
    small = Quadratic(FULL.A, FULL.b * 0.01, 0.0)
    for k in range(4):
        assert method.status(state).tolist() == [0, 0, 0, 1, 2] + [0] * 11
        row = row_of(method, NETWORK, k)
        state, _ = step(method, state, small, EXCHANGE, draws(k + 1, 16), row)
        assert np.isinf(np.asarray(state.x)[1, 0, 3])
