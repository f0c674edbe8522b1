"""Gradients, objective and stationarity on data sets, by hand and by finite differences."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import gradient, objective
from losses import BY_HAND
from samples import DATASETS, held_out, made, pooled, score

from dpe_jax.observe import observe
from dpe_jax.problems import (
    EmpiricalRisk,
    Optimum,
    Problem,
    arrays,
    digits,
    fraud,
)


@eqx.filter_jit
def slopes(problem: Problem, x: np.ndarray) -> dict[str, Any]:
    """F(x̄) and ‖∇F(x̄)‖, for which no optimum is needed."""
    none = Optimum.none(problem.dim, "not asked for")
    return observe(("objective", "stationarity"), jnp.asarray(x), jnp.asarray(x), problem, none)


def agents_costs(problem: EmpiricalRisk, name: str, x: np.ndarray) -> list[Any]:
    """Loss and gradient of every sample of each agent at x [agents, dim]."""
    a, y = pooled(problem)
    ends = np.cumsum(problem.sizes)[:-1]
    parts = zip(x, np.split(a, ends), np.split(y, ends), strict=True)
    return [BY_HAND[name](point, *own) for point, *own in parts]


@pytest.mark.parametrize("name", BY_HAND)
def test_gradients_are_those_by_hand(name) -> None:
    problem = made(name)
    x = np.random.default_rng(2).normal(size=(5, problem.dim, 2)) / 4
    g = np.asarray(gradient(problem, x))
    for lane in range(2):
        costs = agents_costs(problem, name, x[..., lane])
        for i, (_, each) in enumerate(costs):
            share = 5 * problem.sizes[i] / problem.sizes.sum()
            expected = share * each.mean(0) + problem.penalty * x[i, :, lane]
            np.testing.assert_allclose(g[i, :, lane], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("values", [2**22, 2**10])
def test_objective_and_stationarity_are_those_by_hand(name, values, monkeypatch) -> None:
    # With room for fewer values lanes come one after the other.
    monkeypatch.setattr(arrays, "VALUES_AT_ONCE", values)
    jax.clear_caches()
    problem = made(name)
    a, y = pooled(problem)
    x = np.random.default_rng(3).normal(size=(5, problem.dim, 3)) / 4
    got = slopes(problem, x)
    for lane in range(3):
        mean = x[..., lane].mean(0)
        loss, each = BY_HAND[name](mean, a, y)
        F = loss.mean() + problem.penalty * mean @ mean / 2
        slope = np.linalg.norm(each.mean(0) + problem.penalty * mean)
        np.testing.assert_allclose(got["objective"][lane], F, rtol=1e-12)
        np.testing.assert_allclose(got["stationarity"][lane], slope, rtol=1e-9)


@pytest.mark.parametrize("name", ["digits", "digits-network"])
def test_gradients_are_slopes(name) -> None:
    problem = made(name)
    rng = np.random.default_rng(4)
    x, direction = rng.normal(size=(2, problem.dim, 1)) / 4
    mean = np.mean(gradient(problem, np.broadcast_to(x, (5, *x.shape))), axis=0)
    h = 1e-5
    rise = objective(problem, x + h * direction) - objective(problem, x - h * direction)
    slope = float(rise[0]) / (2 * h)
    assert float(np.sum(mean * direction)) == pytest.approx(slope, rel=1e-7)
    assert abs(float(np.sum(mean * direction)) * 1.01 - slope) > 1e-4 * abs(slope)


@pytest.mark.parametrize("name", BY_HAND)
def test_minibatch_gradients_are_unbiased(name) -> None:
    lanes = 1024
    exact = made(name)
    problem = DATASETS[name](batch=8)
    x = np.random.default_rng(5).normal(size=(5, problem.dim)) / 4
    g = np.asarray(gradient(problem, np.repeat(x[..., None], lanes, axis=2)))
    expected = np.asarray(gradient(exact, x[..., None]))[..., 0]
    # Along fixed directions, where the central limit holds even if a pixel is hardly ever dark.
    along = np.random.default_rng(6).choice([-1.0, 1.0], size=(40, problem.dim))
    drawn, wanted = np.einsum("nd,idl->nil", along, g), expected @ along.T
    error = drawn.std(-1) / np.sqrt(lanes)

    def deviation(factor: float) -> float:
        return float(np.max(np.abs(factor * drawn.mean(-1) - wanted.T) / (factor * error)))

    assert deviation(1.0) < 5.0
    for wrong in (2 / 3, 1.5):
        assert deviation(wrong) > 5.0


def test_precision_reaches_data_and_test_set() -> None:
    problem = fraud()
    single = problem.with_dtype(jnp.dtype("float32"))
    assert held_out(single).features.dtype == np.float32
    assert held_out(problem).features.dtype == np.float64
    assert held_out(single).positives == held_out(problem).positives
    assert single.describe() == problem.describe()
    x = np.random.default_rng(7).normal(size=(21, 4))
    exact = score(held_out(problem), x)["auc"]
    rough = score(held_out(single), x.astype(np.float32))["auc"]
    np.testing.assert_allclose(rough, exact, atol=1e-4)
    digit = digits().with_dtype(jnp.dtype("float32"))
    assert held_out(digit).targets.dtype == np.int64
