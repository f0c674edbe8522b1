"""What privacy noise leaves of F(x̄) − F*: the recursion, and simulations that meet it."""

import numpy as np
import pytest
from common import NETWORK, run

from dpe_jax.algorithms import ConventionalDSGD, GeometricDP, TailoredDP
from dpe_jax.errors import InputError
from dpe_jax.floor import floor
from dpe_jax.problems import EmpiricalRisk, Quadratic, breast_cancer
from dpe_jax.schedules import PowerGrowth, PowerLaw

A = np.array([[1.5, 0.4], [0.4, 0.6]])
ALIKE = Quadratic(np.broadcast_to(A, (5, 2, 2)), np.random.default_rng(0).normal(size=(5, 2)))
"""Gradients are linear and alike, so the mean of all agents moves by its own gradient."""

X0 = 2 + np.random.default_rng(1).normal(size=(5, 2))
METHODS = {
    "geometric": GeometricDP(0.1, 0.97, 0.4, 0.98, 1e6, 5.0),
    "tailored": TailoredDP(
        PowerLaw(0.5, 0.9), PowerLaw(0.5, 0.8), PowerGrowth(1.0, 0.1), gradient_bound=5.0
    ),
}


@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
@pytest.mark.parametrize("name", METHODS)
def test_simulations_meet_the_floor(name: str) -> None:
    method, iterations, runs = METHODS[name], 120, 6000
    found = floor(method, ALIKE, ALIKE.solve(), NETWORK, X0, iterations)
    result = run(
        method,
        ALIKE,
        NETWORK,
        runs=runs,
        iterations=iterations,
        x0=X0,
        metrics=("gap_mean_state",),
        precision="float64",
    )
    gaps = result.curves.gap_mean_state.values[0, -1]
    error = gaps.std() / np.sqrt(runs)
    assert abs(gaps.mean() - found.total) < 4 * error
    for wrong in (2 / 3, 1.5):
        assert abs(gaps.mean() - wrong * found.total) > 4 * error
    assert found.noise > found.total / 10
    if name == "geometric":
        assert found.start > found.total / 100


@pytest.mark.parametrize("name", METHODS)
def test_the_recursion_is_that_of_matrices(name: str) -> None:
    """Covariances in full instead of eigenvectors, by plain formulas."""
    method, iterations = METHODS[name], 30
    found = floor(method, ALIKE, ALIKE.solve(), NETWORK, X0, iterations)
    e = X0.mean(axis=0) - ALIKE.solve().x
    spread, weights = np.zeros((2, 2)), np.array(NETWORK.weights)
    np.fill_diagonal(weights, 0)
    for k in range(iterations):
        if name == "geometric":
            kept = np.eye(2) - 0.1 * 0.97**k * A
            spread = kept @ (spread + 2 * (0.4 * 0.98**k) ** 2 / 5 * np.eye(2)) @ kept
        else:
            kept = np.eye(2) - 0.5 * (k + 1) ** -0.9 * A
            scale = 0.5 * (k + 1) ** -0.8 * (k + 1) ** 0.1
            added = 2 * scale**2 * np.sum(weights.sum(axis=0) ** 2) / 25
            spread = kept @ spread @ kept + added * np.eye(2)
        e = kept @ e
    assert found.noise == pytest.approx(np.trace(A @ spread) / 2, rel=1e-10)
    assert found.start == pytest.approx(e @ A @ e / 2, rel=1e-10)


def test_the_hessian_is_that_of_the_whole_data() -> None:
    """One step without noise, for a logistic regression whose Hessian NumPy knows."""
    problem = breast_cancer(5, batch=4, penalty=0.05)
    optimum = problem.solve()
    features, labels = (np.asarray(leaf) for leaf in problem.data)
    margins = labels * (features @ optimum.x)
    p = 1 / (1 + np.exp(-margins))
    hessian = (features * (p * (1 - p))[:, None]).T @ features / len(labels)
    hessian += 0.05 * np.eye(problem.dim)
    x0 = np.zeros((5, problem.dim))
    method = GeometricDP(0.3, 0.5, 1e-9, 0.6, 1e6, 5.0)
    e = (np.eye(problem.dim) - 0.3 * hessian) @ (x0[0] - optimum.x)
    found = floor(method, problem, optimum, NETWORK, x0, 1)
    assert found.start == pytest.approx(e @ hessian @ e / 2, rel=1e-9)


def test_what_has_no_floor_is_refused() -> None:
    optimum = ALIKE.solve()
    with pytest.raises(InputError, match="ConventionalDSGD"):
        floor(ConventionalDSGD(0.1), ALIKE, optimum, NETWORK, X0, 3)
    data = [(np.ones((2, 1)),)] * 5
    bumpy = EmpiricalRisk(lambda x, s: (x @ s[0]) ** 3, data, dim=1, convex=False)
    with pytest.raises(InputError, match="one with an optimum"):
        floor(METHODS["geometric"], bumpy, optimum, NETWORK, X0[:, :1], 3)
