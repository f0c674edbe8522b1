"""The recursion of means and variances, beside simulations and a longhand calculation."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from small import config

from dpe_jax import quadratic_moments as recursion
from dpe_jax.observe import Metric
from dpe_jax.simulation import Simulation
from dpe_jax.study import simulate

pytestmark = [
    pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning"),
    pytest.mark.slow,  # together over 20 s
]

RUNS, ITERATIONS = 4096, 60
METRICS: tuple[Metric, ...] = ("gap_mean_state", "gap_agents", "consensus_error")


def simulation(**changes: Any) -> Simulation:
    keys = {f"methods.encrypted.{key}": value for key, value in changes.items()}
    return config({"iterations": ITERATIONS, "x0": [1.0, -1.0], **keys}).build()


def measured(one: Simulation) -> dict[str, np.ndarray]:
    """Values of all runs at the last iteration."""
    found = simulate(
        one.algorithms["encrypted"],
        one.problem,
        one.network,
        runs=RUNS,
        iterations=ITERATIONS,
        seed=5,
        metrics=METRICS,
        points=2,
        x0=one.start,
    ).curves.isel(algorithm=0, iteration=-1)
    values = {metric: found[metric].values.astype(np.float64) for metric in METRICS}
    values["consensus_square"] = values.pop("consensus_error") ** 2
    return values


def distances(predicted: Any, values: dict[str, np.ndarray], factor: float = 1.0) -> np.ndarray:
    """Of each metric's mean from what is predicted, in standard errors."""
    return np.array(
        [
            (runs.mean() - factor * getattr(predicted, metric)[0, -1])
            / (runs.std(ddof=1) / np.sqrt(runs.size))
            for metric, runs in values.items()
        ]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"delta": 2.0**-7},
        {"delta": 0.5, "multipliers": {"family": "none"}},
        {"delta": 4.0, "multipliers": {"family": "gamma", "shape": 0.5}},
        {"delta": 0.5, "multipliers": {"family": "normal", "sigma": 1.5}},
    ],
)
def test_means_are_what_the_recursion_says(changes: dict[str, Any]) -> None:
    one = simulation(**changes)
    values = measured(one)
    predicted = recursion.moments([one], "encrypted")
    assert np.all(np.abs(distances(predicted, values)) < 4)
    for wrong in (2 / 3, 1.5):
        assert np.all(np.abs(distances(predicted, values, wrong)) > 4)


def test_a_step_written_out() -> None:
    """One step from a known x_0 on the grid: only noise and multipliers are random."""
    one = simulation(delta=0.25)
    problem: Any = one.problem
    x0 = np.array(one.start)
    A, b, W = np.array(problem.A), np.array(problem.b), one.network.weights
    gamma, stepsize, n = 1.0, 0.5, one.network.agents
    target = np.linalg.solve(A.sum(0), np.einsum("ide,ie->d", A, b))
    gradient = np.einsum("ide,ie->id", A, x0 - b)
    mean = x0 + gamma * W @ x0 - stepsize * gradient
    variance = stepsize**2 * ((1 + 1 / 3) * problem.noise**2 + gradient**2 / 3)
    H = A.mean(0)
    center = mean.mean(0) - target
    gap = (center @ H @ center + np.diag(H) @ variance.sum(0) / n**2) / 2
    apart = mean - mean.mean(0)
    consensus = np.sum(apart**2) / n + (1 - 1 / n) * variance.sum() / n
    found = recursion.moments([one], "encrypted")
    assert found.gap_mean_state.shape == (1, ITERATIONS + 1)
    np.testing.assert_allclose(found.gap_mean_state[0, 1], gap, rtol=1e-12)
    np.testing.assert_allclose(found.consensus_square[0, 1], consensus, rtol=1e-12)


@pytest.mark.parametrize(("mean", "deviation"), [(0.3, 0.1), (7.5, 0.02), (0.0, 0.4), (2.2, 3.0)])
def test_the_variance_of_rounding(mean: float, deviation: float) -> None:
    delta = 0.25
    x = np.random.default_rng(0).normal(mean, deviation, 10**6)
    u = x - np.floor(x)
    spread = u * (1 - u)
    found = recursion._rounding(
        jnp.array([[mean * delta]]), jnp.array([(deviation * delta) ** 2]), jnp.float64(delta)
    )
    error = spread.std() / 1e3
    # What the series leaves out counts where x is almost known.
    assert abs(found[0] / delta**2 - spread.mean()) < 5 * error + 1e-3


@pytest.mark.slow
def test_configurations_of_several_sizes_come_back_in_order() -> None:
    ring = config({"network": {"graph": "ring", "agents": 4}, "iterations": 9}).build()
    five = config({"iterations": 9}).build()
    both = recursion.moments([ring, five, ring], "encrypted")
    alone = recursion.moments([five], "encrypted")
    assert both.gap_agents.shape == (3, 10)
    np.testing.assert_array_equal(both.gap_agents[0], both.gap_agents[2])
    np.testing.assert_allclose(both.gap_agents[1], alone.gap_agents[0], rtol=1e-10)
    longer = recursion.moments([five], "encrypted", 20)
    np.testing.assert_allclose(longer.gap_agents[0, :10], alone.gap_agents[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({"rounding": "nearest"}, "encrypted"),
        ({"means": [1.0, 1.0, 1.0, 1.0, 2.0]}, "encrypted"),
        ({"factors": {"kind": "link"}}, "encrypted"),
        ({}, "conventional"),
    ],
)
def test_what_it_does_not_describe(changes: dict[str, Any], method: str) -> None:
    with pytest.raises(ValueError, match="only for"):
        recursion.moments([simulation(**changes)], method)
