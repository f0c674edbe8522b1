"""Laplace noise, and the budgets ε^k that it is said to keep."""

import json
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from baselines import (
    AGENTS,
    DIM,
    EXCHANGE,
    GEOMETRIC,
    LANES,
    QUIET,
    ROW_SUMS,
    TAILORED,
    WEIGHTS,
    X0,
)
from common import FULL, NETWORK
from methods import draws, row_of, start, step
from scipy import stats

from dpe_jax.algorithms import (
    Algorithm,
    GeometricDP,
    TailoredDP,
)
from dpe_jax.conditions import violated
from dpe_jax.schedules import PowerGrowth, PowerLaw

# Laplace noise


def test_laplace_scales() -> None:
    """Kolmogorov–Smirnov accepts the scale of each iteration and rejects 2/3 and 1.5 of it."""
    for method, k, scale in [
        (GEOMETRIC, 0, 0.7),
        (GEOMETRIC, 4, 0.7 * 0.9**4),
        (TAILORED, 0, 0.3),
        (TAILORED, 6, 0.3 * 7**0.1),
    ]:
        state = start(method, jnp.asarray(X0), EXCHANGE, draws(k, LANES))
        row = row_of(method, NETWORK, k)
        _, seen = step(method, state, FULL, EXCHANGE, draws(k + 1, LANES), row)
        noise = np.asarray(seen.message - seen.position)
        for i, c in [(0, 0), (3, 1)]:
            assert stats.kstest(noise[i, c], "laplace", args=(0, scale)).pvalue > 1e-3
            for factor in (2 / 3, 1.5):
                wrong = stats.kstest(noise[i, c], "laplace", args=(0, factor * scale))
                assert wrong.pvalue < 1e-6
        correlation = np.corrcoef(noise.reshape(10, -1))[np.triu_indices(10, 1)]
        assert np.abs(correlation).max() < 5 / np.sqrt(LANES)


def test_noise_is_drawn_afresh_in_each_iteration() -> None:
    for method in (GEOMETRIC, TAILORED):
        state, noise = start(method, jnp.asarray(X0 * 0.1), EXCHANGE, draws(0, LANES)), []
        for k in range(3):
            row = row_of(method, NETWORK, k)
            state, seen = step(method, state, QUIET, EXCHANGE, draws(k + 1, LANES), row)
            noise.append(np.asarray(seen.message - seen.position)[2, 1])
        correlation = np.corrcoef(noise)[np.triu_indices(3, 1)]
        assert np.abs(correlation).max() < 5 / np.sqrt(LANES)


# Budgets


def test_the_geometric_budget_is_the_direct_sum() -> None:
    budget = GEOMETRIC.budget(NETWORK, 9, 50)
    direct = [0.0] + [2 * 4.0 * 3 * 0.4 * 0.8 ** (k - 1) / (0.7 * 0.9**k) for k in range(1, 50)]
    np.testing.assert_allclose(budget.epsilon, direct, rtol=1e-12)
    assert budget.total == pytest.approx(math.fsum(direct), rel=1e-12)
    limit = 2 * 4.0 * 3 * 0.4 / (0.7 * (0.9 - 0.8))
    assert budget.limit == pytest.approx(limit, rel=1e-12)
    assert budget.total < limit
    # Scales far below the smallest float leave it as it is.
    assert GEOMETRIC.budget(NETWORK, 9, 20_000).total == pytest.approx(limit, rel=1e-12)
    told = json.loads(json.dumps(budget.describe(), allow_nan=False))
    assert told["iteration"][0] == 0
    assert told["iteration"][-1] == len(budget.epsilon) - 1
    for k, epsilon, spent in zip(told["iteration"], told["epsilon"], told["spent"], strict=True):
        assert epsilon == budget.epsilon[k]
        assert spent == pytest.approx(math.fsum(direct[: k + 1]), rel=1e-12)
    assert GEOMETRIC.budget(NETWORK, 9, 1).total == 0


def apart(method: Algorithm, agent: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """‖x^k − x′^k‖₁ of an agent whose gradients are one or the other, given the same messages."""
    rng = np.random.default_rng(3)
    x, other, found = X0[agent], X0[agent], []
    row = method.table(NETWORK, np.arange(len(first)))
    for k in range(len(first)):
        found.append(np.abs(x - other).sum())
        y = rng.normal(size=(AGENTS, DIM))
        if isinstance(method, GeometricDP):
            z = y[agent] + NETWORK.weights[agent] @ y
            x, other = (
                np.clip(z - row.stepsize[k] * g[k], -method.radius, method.radius)
                for g in (first, second)
            )
        else:
            x, other = (
                own
                + row.gamma[k] * sum(WEIGHTS[agent, j] * (y[j] - own) for j in range(AGENTS))
                - row.stepsize[k] * g[k]
                for own, g in ((x, first), (other, second))
            )
    return np.array(found)


@pytest.mark.parametrize("name", ["geometric", "tailored"])
def test_no_two_costs_are_further_apart_than_the_budget_says(name: str) -> None:
    """ε^k times the scale of the noise bounds the distance, and opposite gradients reach it.

    The agent that listens least to its neighbors keeps most of what its gradients did.
    """
    wide = GeometricDP(0.4, 0.8, 0.7, 0.9, 1e6, 4.0)
    method = {"geometric": wide, "tailored": TAILORED}[name]
    agent, steps = int(ROW_SUMS.argmin()), 60
    noise, allowed = allowance(method, steps)
    opposite = np.full((steps, DIM), 4.0 / np.sqrt(DIM))
    reached = apart(method, agent, opposite, -opposite)
    np.testing.assert_allclose(reached, allowed, rtol=1e-9, atol=1e-12)
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, second = rng.normal(size=(2, steps, DIM))
        first *= 4.0 / np.linalg.norm(first, axis=1, keepdims=True)
        second *= 4.0 / np.linalg.norm(second, axis=1, keepdims=True)
        found = apart(method, agent, first, second)
        assert np.all(found <= allowed * (1 + 1e-9))
        assert np.any(found > allowed / 10)
    # A bound on the gradient half as large would be too small a budget.
    halved = eqx.tree_at(lambda m: m.gradient_bound, method, 2.0).budget(NETWORK, DIM, steps)
    assert np.any(reached > halved.epsilon * noise)


def test_gradients_of_alternating_signs_reach_the_tailored_budget_while_steps_overshoot() -> None:
    """Where γ^k Σ_j w_ij > 1 the difference x_i − x_i′ changes its sign from step to step.

    For γ^k so large the bound is that of the agent with the largest row sum.
    """
    method = TailoredDP(PowerLaw(0.5, 0.9), PowerLaw(2.4, 0.15), PowerGrowth(0.3, 0.1), 4.0)
    agent, steps = int(ROW_SUMS.argmax()), 60
    assert ROW_SUMS[agent] > ROW_SUMS.min()
    _, allowed = allowance(method, steps)
    gamma = 2.4 * np.arange(1, steps + 1) ** -0.15
    # |1 − γ w| is largest for the largest w: γ > 2/(w_min + w_max), 14 steps.
    early = 1 + int((gamma * (ROW_SUMS.min() + ROW_SUMS.max()) > 2).sum())
    assert 10 < early < 20
    assert np.all(gamma[:early] * ROW_SUMS[agent] > 1)
    alternating = np.full((steps, DIM), 4.0 / np.sqrt(DIM)) * (-1.0) ** np.arange(steps)[:, None]
    reached = apart(method, agent, alternating, -alternating)
    np.testing.assert_allclose(reached[:early], allowed[:early], rtol=1e-9, atol=1e-12)
    assert np.all(reached <= allowed * (1 + 1e-9) + 1e-12)
    # Neither without the change of sign nor at the agent of the smallest row sum.
    steady = apart(method, agent, np.abs(alternating), -np.abs(alternating))
    other = apart(method, int(ROW_SUMS.argmin()), alternating, -alternating)
    for smaller in (steady, other):
        assert np.all(smaller[2:early] < allowed[2:early] * 0.99)


def allowance(method: Algorithm, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The scale of the noise, and the distance that the budget allows, by iteration."""
    budget = method.budget(NETWORK, DIM, steps)
    assert budget is not None
    noise = np.asarray(method.table(NETWORK, np.arange(steps)).noise)
    return noise, budget.epsilon * noise


def test_the_tailored_budget_is_the_direct_sum() -> None:
    budget = TAILORED.budget(NETWORK, 4, 80)
    row_sum = min(sum(WEIGHTS[i]) for i in range(AGENTS))
    for k in (0, 1, 2, 17, 79):
        sensitivity = 0.0
        for s in range(k):
            kept = math.prod(1 - row_sum * 0.7 * (t + 1) ** -0.6 for t in range(s + 1, k))
            sensitivity += kept * 2 * 4.0 * 2 * 0.5 * (s + 1) ** -0.9
        assert budget.epsilon[k] == pytest.approx(sensitivity / (0.3 * (k + 1) ** 0.1), rel=1e-10)
    assert budget.total == pytest.approx(math.fsum(budget.epsilon.tolist()), rel=1e-12)
    assert budget.limit is None
    json.dumps(budget.describe(), allow_nan=False)


def test_no_exact_tailored_setting_has_a_finite_budget() -> None:
    """ε^k ~ k^−(b−a+v): over a decade of k it falls by less than a factor of ten."""
    method = TailoredDP(PowerLaw(0.5, 1.0), PowerLaw(0.7, 0.8), PowerGrowth(0.3, 0.29), 4.0)
    assert violated(method.conditions(NETWORK)) == ()
    epsilon = method.budget(NETWORK, 2, 100_000).epsilon
    slope = -np.log10(epsilon[-1] / epsilon[9_999])
    assert abs(slope - 0.49) < 0.03
    assert min(abs(slope - 0.49 * 2 / 3), abs(slope - 0.49 * 1.5)) > 0.03
