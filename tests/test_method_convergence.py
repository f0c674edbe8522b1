"""Exact methods reach the optimum, and the others stop short by what is predicted."""

import numpy as np
import pytest
from common import NETWORK, finals, run
from methods import GAMMA, METHODS, NAMES, STEPSIZE

from dpe_jax.algorithms import (
    Algorithm,
    EncryptedDSGD,
    GeometricDP,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerGrowth, PowerLaw

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")

ALIKE = Quadratic(
    np.broadcast_to(np.array([[1.0, 0.3], [0.3, 0.8]]), (5, 2, 2)).copy(),
    np.random.default_rng(4).normal(size=(5, 2)) + np.array([1.0, -0.7]),
    0.5,
)
"""Equal curvature, unlike minimizers: E x̄ does not depend on how far the agents disagree."""
LENGTH, SAMPLE = 4000, 400


def standard_errors(result, point: np.ndarray) -> np.ndarray:
    """Distance of the mean over runs of x̄ from a point, in standard errors, coordinatewise."""
    mean_state = finals(result).mean(axis=0)
    error = mean_state.std(axis=-1, ddof=1) / np.sqrt(mean_state.shape[-1])
    return np.abs(mean_state.mean(axis=-1) - point) / error


def convergence(method: Algorithm, **settings):
    chosen = {"runs": SAMPLE, "iterations": LENGTH, "points": 80, "precision": "float64"}
    metrics = ("error_worst_agent",)
    return run(method, ALIKE, metrics=metrics, **(chosen | settings))


def fall(result) -> float:
    """Mean error of the worst agent at the end, relative to that near k = LENGTH/64."""
    curve = result.curves["error_worst_agent"].isel(algorithm=0).mean("run")
    return float(curve.values[-1] / curve.sel(iteration=LENGTH // 64, method="nearest").values)


@pytest.mark.parametrize("name", [param for param in NAMES if param.values != ("geometric",)])
def test_exact_methods_reach_the_optimum(name: str) -> None:
    result = convergence(METHODS[name])
    optimum = np.asarray(ALIKE.solve().x)
    assert np.all(np.abs(optimum) > 0.1)
    assert np.all(standard_errors(result, optimum) < 5)
    for factor in (2 / 3, 1.5):
        assert np.all(standard_errors(result, factor * optimum) > 5)
    # λ/γ ~ k^−¼ and √λ ~ k^−0.43 fall to 0.35 and 0.17 over a factor of 64.
    assert fall(result) < 0.5
    assert np.all(result.curves.status.values == 0)


def test_the_same_measure_sees_that_the_error_stays() -> None:
    stalled = convergence(EncryptedDSGD(PowerLaw(1.0, 0.85), STEPSIZE))
    assert fall(stalled) > 0.8
    assert np.all(standard_errors(stalled, np.asarray(ALIKE.solve().x)) < 5)


def test_geometric_dp_stops_short_by_the_product_of_its_contractions() -> None:
    """E x̄ − x* = Π_k (I − c q^k A) (x_0 − x*), and a variance that noise leaves behind."""
    method = METHODS["geometric"]
    assert isinstance(method, GeometricDP)
    result = convergence(method, runs=4000, iterations=200)
    optimum = np.asarray(ALIKE.solve().x)
    A = ALIKE.A[0]
    bias, covariance = -optimum, np.zeros((2, 2))
    for k in range(200):
        contraction = np.eye(2) - method.c * method.q**k * A
        noise = 2 * (method.M * method.p**k) ** 2 / 5
        gradient = (method.c * method.q**k * ALIKE.noise) ** 2 / 5
        covariance = contraction @ (covariance + noise * np.eye(2)) @ contraction.T
        covariance += gradient * np.eye(2)
        bias = contraction @ bias
    assert np.all(standard_errors(result, optimum) > 5)
    assert np.all(standard_errors(result, optimum + bias) < 5)
    for factor in (2 / 3, 1.5):
        assert np.all(standard_errors(result, optimum + factor * bias) > 5)
    squares = (finals(result).mean(axis=0) - (optimum + bias)[:, None]) ** 2
    error = squares.std(axis=-1) / np.sqrt(4000)
    assert np.all(np.abs(squares.mean(axis=-1) - np.diag(covariance)) < 5 * error)
    for factor in (2 / 3, 1.5):
        assert np.all(np.abs(squares.mean(axis=-1) - factor * np.diag(covariance)) > 5 * error)


def test_nearest_rounding_on_a_coarse_grid_keeps_the_agents_apart() -> None:
    """Agents of one level exchange nothing, so their own minimizers pull them apart."""
    settings = {"runs": 200}
    stochastic = convergence(EncryptedDSGD(GAMMA, STEPSIZE, delta=2.0), **settings)
    nearest = convergence(EncryptedDSGD(GAMMA, STEPSIZE, delta=2.0, rounding="nearest"), **settings)
    ends = [
        result.curves["error_worst_agent"].values[0, -1].astype(np.float64)
        for result in (stochastic, nearest)
    ]
    error = np.hypot(*(end.std() / np.sqrt(200) for end in ends))
    assert ends[1].mean() - ends[0].mean() > 20 * error
    assert fall(nearest) > 0.8
    assert fall(stochastic) < 0.8


def test_noise_moves_the_mean_of_tailored_dp_as_its_exponent_says() -> None:
    """S⁺ = (I − λA) S (I − λA)ᵀ + 2 (γν)² Σ_j w̄_j²/n² + (λσ)²/n, S the covariance of x̄."""
    method = TailoredDP(STEPSIZE, GAMMA, PowerGrowth(1.0, 0.05), 4.0)
    k = np.arange(10**5)
    stepsize, gamma, noise = (schedule.values(k) for schedule in (STEPSIZE, GAMMA, method.noise))
    row_sums = -np.diag(NETWORK.weights)
    for length, eigenvalue, expected in [
        (1000, np.linalg.eigvalsh(ALIKE.A[0]), None),
        (10**5, np.array([1.0]), method.predicted_exponent()),
    ]:
        variance, curve = np.zeros(len(eigenvalue)), []
        added = 2 * (gamma * noise) ** 2 * (row_sums**2).sum() / 25 + (stepsize * 0.5) ** 2 / 5
        for factor, term in zip(stepsize[:length].tolist(), added[:length].tolist(), strict=True):
            variance = (1 - factor * eigenvalue) ** 2 * variance + term
            curve.append(variance)
        if expected is not None:
            slope = np.log10(curve[-1][0] / curve[len(curve) // 10][0]) / -2
            assert abs(slope - expected) < 0.01
            assert min(abs(slope - expected * 2 / 3), abs(slope - expected * 1.5)) > 0.01
            continue
        result = convergence(method, runs=4000, iterations=length, points=2)
        mean_state = finals(result).mean(axis=0)
        squares = ((mean_state - mean_state.mean(-1, keepdims=True)) ** 2).sum(axis=0)
        error = squares.std() / np.sqrt(4000)
        assert abs(squares.mean() - variance.sum()) < 5 * error
        for wrong in (2 / 3, 1.5):
            assert abs(squares.mean() - wrong * variance.sum()) > 5 * error


def test_predicted_exponents_are_the_slowest_part() -> None:
    a, b, slow = PowerLaw(1.0, 0.6), PowerLaw(1.0, 0.9), PowerLaw(1.0, 0.95)
    assert TernaryDSGD(b, a, 1.0).predicted_exponent() == pytest.approx(0.3)
    assert TernaryDSGD(slow, PowerLaw(1.0, 0.4), 1.0).predicted_exponent() == pytest.approx(0.2)
    assert TernaryDSGD(a, b, 1.0).predicted_exponent() is None
    assert TailoredDP(b, a, 0.1, 1.0).predicted_exponent() == pytest.approx(0.15)
    grown = TailoredDP(b, PowerLaw(1.0, 0.8), PowerGrowth(0.1, 0.2), 1.0)
    assert grown.predicted_exponent() == pytest.approx(0.1)
    assert TailoredDP(b, a, PowerGrowth(0.1, 0.2), 1.0).predicted_exponent() is None
