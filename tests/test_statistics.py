"""What the engine draws and where it goes: each check must reject a wrong value on its sample.

Tolerances are five standard errors of the sample itself.
"""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from dpe_jax.algorithms import Algorithm, CentralizedSGD, ConventionalDSGD, EncryptedDSGD
from dpe_jax.bounds import quantization_bound
from dpe_jax.network import Network
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.stepsizes import Gamma, Multipliers, NoMultipliers, Normal, TwoPoint, Uniform
from dpe_jax.study import simulate

pytestmark = pytest.mark.slow  # together over 20 s

LIMIT = 5.0
FACTORS = (2 / 3, 1.5)
GAMMA, STEPSIZE = PowerLaw(0.8, 0.6), PowerLaw(0.5, 0.9)
# Γ and U round to zero: the state stays where it is.
NO_GAMMA, NO_STEPSIZE = PowerLaw(1e-12, 0.6), PowerLaw(1e-30, 0.9)
NETWORK = Network.from_edges([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (1, 3)])


def score(sample: np.ndarray, expected: np.ndarray | float) -> float:
    """Largest distance of the means over the last axis from what is expected, in standard errors.

    A constant sample has no error but that of float arithmetic.
    """
    mean = sample.mean(-1)
    error = sample.std(-1, ddof=1) / np.sqrt(sample.shape[-1])
    floor = 1e-7 * np.maximum(np.abs(mean), np.abs(expected)) + 1e-300
    return float(np.max(np.abs(mean - expected) / np.maximum(error, floor)))


def accepts_only(sample: np.ndarray, expected: np.ndarray | float) -> None:
    """The sample's mean is as expected, and neither two thirds nor one and a half of it."""
    assert score(sample, expected) < LIMIT
    for factor in FACTORS:
        assert score(sample, factor * np.asarray(expected)) > LIMIT


# Quantization


def quantization_errors(network: Network, dim: int, delta: float, fraction: float) -> np.ndarray:
    """‖ξ_i‖² [agent, sample] while every coordinate stays at `fraction` of a level."""
    levels = np.random.default_rng(1).integers(-5, 5, (network.agents, dim))
    result = simulate(
        {"frozen": EncryptedDSGD(NO_GAMMA, NO_STEPSIZE, delta=delta)},
        Quadratic.random(network.agents, dim, seed=1),
        network,
        runs=400,
        iterations=99,
        metrics=("quantization_error",),
        x0=delta * (levels + fraction),
    )
    start = result.curves["final_state"].values[0]
    assert np.ptp(start, axis=-1).max() == 0
    values = result.curves["quantization_error"].values[0]
    return np.moveaxis(values, 1, 0).reshape(network.agents, -1).astype(np.float64)


@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")  # γ is next to 0
@pytest.mark.parametrize("agents", [2, 3, 4, 5, 6, 8, 10])
def test_quantization_error_of_complete_graphs_and_its_bound(agents: int) -> None:
    """ξ_i = Σ_{j≠i} e_j − (n − 1) e_i, e of variance δ²/4: E‖ξ_i‖² = n (n − 1) d δ²/4."""
    delta, dim = 0.01, 1
    network = Network.complete(agents, weights=np.ones((agents, agents)) - np.eye(agents))
    squares = quantization_errors(network, dim, delta, 0.5)
    accepts_only(squares, agents * (agents - 1) * dim * delta**2 / 4)
    bound = quantization_bound(agents, dim, delta)
    error = squares.std(-1) / np.sqrt(squares.shape[-1])
    assert np.all(squares.mean(-1) <= bound + LIMIT * error)
    if agents == 2:
        # Tight: two thirds of the bound would be broken.
        accepts_only(squares, bound)
    else:
        assert np.all(squares.mean(-1) < bound - LIMIT * error)


@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")  # γ is next to 0
@pytest.mark.parametrize("fraction", [0.5, 0.15])
def test_quantization_error_of_weighted_graphs(fraction: float) -> None:
    """E‖ξ_i‖² = d δ² f (1 − f) (Σ_j w_ij² + (Σ_j w_ij)²)."""
    delta, dim = 2.0**-5, 3
    squares = quantization_errors(NETWORK, dim, delta, fraction)
    variance = delta**2 * fraction * (1 - fraction)
    factor = (NETWORK.weights**2).sum(1)
    accepts_only(squares, dim * variance * factor)
    assert np.all(squares.mean(-1) < quantization_bound(5, dim, delta))


def test_rounding_is_unbiased_with_the_variance_of_the_grid() -> None:
    """One exchange, no gradient: mean x + γWx, variance γ² Σ_j W_ij² δ² f_j (1 − f_j)."""
    delta, x0 = 0.35, np.random.default_rng(3).normal(size=(5, 2))
    result = simulate(
        {"exchange": EncryptedDSGD(PowerLaw(0.8, 0.6), NO_STEPSIZE, delta=delta)},
        Quadratic.random(5, 2, seed=1),
        NETWORK,
        runs=20_000,
        iterations=1,
        metrics=(),
        x0=x0,
    )
    x = result.curves["final_state"].values[0]
    W = NETWORK.weights
    mean = x0 + 0.8 * W @ x0
    assert score(x, mean) < LIMIT
    assert score(x, x0 + 0.8 * 1.1 * W @ x0) > LIMIT
    f = x0 / delta % 1
    squares = (x - mean[..., None]) ** 2
    accepts_only(squares, 0.8**2 * W**2 @ (delta**2 * f * (1 - f)))
    assert np.all(squares.mean(-1) <= 0.8**2 * (W**2).sum(1)[:, None] * delta**2 / 4)


# What the private increment is made of


def increments(
    multipliers: Multipliers,
    noise: float,
    precision: Any = "float32",
    means: tuple[float, ...] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """U·δ/(2³² λ̄^k) and A (x − b) of 100 runs, [run, iteration, agent, coordinate]."""
    problem = Quadratic.random(4, 2, seed=5, noise=noise)
    iterations, delta = 150, 2.0**-12
    algorithm = EncryptedDSGD(GAMMA, STEPSIZE, delta=delta, multipliers=multipliers, means=means)
    result = simulate(
        {"method": algorithm},
        problem,
        Network.ring(4),
        runs=100,
        iterations=iterations,
        points=2,
        metrics=(),
        trace=tuple(range(100)),
        precision=precision,
        x0=np.full((4, 2), 3.0),
    )
    trace = result.traces["method"]
    stepsize = 0.5 * (np.arange(iterations) + 1.0) ** -0.9
    x = trace.state[:, :-1] * (delta / 2**32)
    gradient = np.einsum("ide,...ie->...id", problem.A, x - problem.b)
    return trace.increment * (delta / 2**32) / stepsize[:, None, None], gradient


@pytest.mark.parametrize(
    ("multipliers", "precision"),
    [
        (Uniform(), "float32"),
        (Gamma(3.0), "float64"),
        (TwoPoint(0.5, 3.0), "float32"),
        (Normal(0.5), "float64"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
def test_multipliers_have_mean_one_and_their_variance(multipliers, precision) -> None:
    """Without noise U shows m = U/(λ̄ g); a factor on one agent's mean shows in that agent."""
    means = (1.0, 0.5, 1.0, 2.0)
    increment, gradient = increments(multipliers, 0.0, precision, means)
    usable = np.abs(gradient) > 0.05  # elsewhere float32's own error counts
    m = increment / np.where(usable, gradient, np.nan)
    for agent, mean in enumerate(means):
        sample = m[:, :, agent][usable[:, :, agent]]
        assert len(sample) > 10_000
        accepts_only(sample, mean)
        assert score(sample, 1.03 * mean) > LIMIT
        variance = mean**2 * float(np.asarray(multipliers.variance))
        accepts_only((sample - mean) ** 2, variance)


def test_multipliers_are_fresh_for_each_agent_iteration_and_coordinate() -> None:
    increment, gradient = increments(Uniform(), 0.0, "float64")
    m = increment / gradient - 1
    assert stats.kstest((m.ravel() + 1) / 2, "uniform").pvalue > 1e-3
    assert stats.kstest((0.95 * m.ravel() + 1) / 2, "uniform").pvalue < 1e-5
    pairs = {
        "agents": (m[:, :, :-1], m[:, :, 1:]),
        "coordinates": (m[..., 0], m[..., 1]),
        "iterations": (m[:, :-1], m[:, 1:]),
        "runs": (m[:-1], m[1:]),
    }
    for name, (first, second) in pairs.items():
        limit = LIMIT / np.sqrt(first.size)
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < limit, name
        mixed = second + 0.05 * first
        assert abs(np.corrcoef(first.ravel(), mixed.ravel())[0, 1]) > limit, name


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_gradient_noise_is_standard_normal_times_sigma(precision) -> None:
    sigma = 0.3
    increment, gradient = increments(NoMultipliers(), sigma, precision)
    noise = np.moveaxis(increment - gradient, 0, -1).reshape(150, 4, 2, 100)
    noise = np.moveaxis(noise, 0, -1).reshape(4, 2, -1)
    assert score(noise, 0.0) < LIMIT
    assert score(noise, 0.1 * sigma) > LIMIT
    accepts_only(noise**2, sigma**2)
    z = noise.ravel() / sigma
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for factor in (*FACTORS, 0.95, 1.05):
        assert stats.kstest(z * factor, "norm").pvalue < 1e-5


def test_noise_and_multiplier_of_one_element_are_independent() -> None:
    """Var(m (g + σz)) = ρ² g² + (1 + ρ²) σ² needs both, and that they are uncorrelated."""
    sigma, rho2 = 0.3, 1 / 3
    increment, gradient = increments(Uniform(), sigma, "float64")
    squares = (increment - gradient) ** 2
    expected = rho2 * gradient**2 + (1 + rho2) * sigma**2
    accepts_only((squares / expected).ravel(), 1.0)
    assert score(((squares / (rho2 * gradient**2 + sigma**2)).ravel()), 1.0) > LIMIT


# Where the methods go


@pytest.fixture(scope="module")
def study():
    problem = Quadratic.random(5, 2, seed=1, noise=0.3)
    algorithms: dict[str, Algorithm] = {
        "encrypted": EncryptedDSGD(GAMMA, STEPSIZE, delta=0.1),
        "conventional": ConventionalDSGD(STEPSIZE),
        "centralized": CentralizedSGD(STEPSIZE),
    }
    x0 = np.random.default_rng(7).normal(size=(5, 2)) * 2
    result = simulate(
        algorithms,
        problem,
        NETWORK,
        runs=4096,
        iterations=40,
        points=2,
        metrics=("gap_mean_state",),
        x0=x0,
    )
    return problem, x0, result


def mean_state(
    problem: Quadratic, x0: np.ndarray, gamma: float, stepsize: float, iterations: int = 40
) -> np.ndarray:
    """E x^{k+1} = (I + γ^k W) E x^k − λ̄^k A (E x^k − b): exact, the update is linear in x."""
    x = x0
    for k in range(iterations):
        gradient = np.einsum("ide,ie->id", problem.A, x - problem.b)
        mixed = gamma * (k + 1) ** -0.6 * NETWORK.weights @ x
        x = x + mixed - stepsize * (k + 1) ** -0.9 * gradient
    return x


def test_the_mean_state_obeys_its_recursion(study) -> None:
    problem, x0, result = study
    x = result.curves["final_state"].sel(algorithm="encrypted").values
    assert score(x, mean_state(problem, x0, 0.8, 0.5)) < LIMIT
    for factor in (*FACTORS, 0.9, 1.1):
        assert score(x, mean_state(problem, x0, factor * 0.8, 0.5)) > LIMIT
        assert score(x, mean_state(problem, x0, 0.8, factor * 0.5)) > LIMIT


def test_the_baselines_obey_theirs(study) -> None:
    problem, x0, result = study
    conventional = result.curves["final_state"].sel(algorithm="conventional").values
    centralized = result.curves["final_state"].sel(algorithm="centralized").values
    np.testing.assert_array_equal(centralized, np.broadcast_to(centralized[:1], (5, 2, 4096)))

    def of_conventional(scale: float) -> np.ndarray:
        x = x0
        for k in range(40):
            gradient = np.einsum("ide,ie->id", problem.A, x - problem.b)
            x = x + NETWORK.weights @ x - scale * (k + 1) ** -0.9 * gradient
        return x

    def of_centralized(scale: float) -> np.ndarray:
        x = x0.mean(0)
        for k in range(40):
            gradient = np.einsum("ide,ie->id", problem.A, x - problem.b)
            x = x - scale * (k + 1) ** -0.9 * gradient.mean(0)
        return x

    assert score(conventional, of_conventional(0.5)) < LIMIT
    assert score(centralized[0], of_centralized(0.5)) < LIMIT
    for factor in FACTORS:
        assert score(conventional, of_conventional(factor * 0.5)) > LIMIT
        assert score(centralized[0], of_centralized(factor * 0.5)) > LIMIT


def test_the_methods_share_their_gradient_noise(study) -> None:
    """Common random numbers: deviations from the mean of one method predict the other's."""
    x = study[2].curves["final_state"].mean("agent")
    first, second = (x.sel(algorithm=name).values for name in ("conventional", "centralized"))
    for mine, theirs in zip(first, second, strict=True):
        assert np.corrcoef(mine, theirs)[0, 1] > 0.8
        assert abs(np.corrcoef(mine, np.roll(theirs, 1))[0, 1]) < LIMIT / np.sqrt(4096)


def test_all_methods_reach_the_minimum() -> None:
    problem = Quadratic.random(5, 2, seed=1, noise=0.3)
    stepsize = PowerLaw(2.0, 0.9, 5.0)
    algorithms: dict[str, Algorithm] = {
        "encrypted": EncryptedDSGD(PowerLaw(1.2, 0.51), stepsize),
        "conventional": ConventionalDSGD(stepsize),
        "centralized": CentralizedSGD(stepsize),
    }
    result = simulate(
        algorithms,
        problem,
        NETWORK,
        runs=256,
        iterations=3000,
        points=12,
        metrics=("gap_mean_state", "consensus_error"),
        x0=np.full((5, 2), 4.0),
    )
    gap = result.curves["gap_mean_state"].mean("run")
    assert np.all(result.curves["status"].values == 0)
    for name in algorithms:
        mine = gap.sel(algorithm=name).values
        assert mine[0] > 5
        assert mine[-1] < 1e-3
        assert mine[-1] < mine[6] < mine[0]
        # What is minimized is F: far from x*, the same state has a visible gap.
        minimum = result.optimum.x
        mean = result.curves["final_state"].sel(algorithm=name).values.mean((0, 2))
        assert np.abs(mean - minimum).max() < 0.02
    final = {name: float(gap.sel(algorithm=name)[-1]) for name in algorithms}
    # Random multipliers cost variance: the factor [σ² d (1 + ρ²) + ρ² G²] / (σ² d) of their own,
    # G² = mean_i ‖∇f_i(x*)‖².
    gradients = np.einsum("ide,ie->id", problem.A, result.optimum.x - problem.b)
    price = 4 / 3 + np.mean((gradients**2).sum(1)) / 3 / (0.3**2 * 2)
    # (The formula weighs all directions alike, F by their curvature.)
    assert 0.7 * price < final["encrypted"] / final["conventional"] < 1.5 * price
    assert final["centralized"] == pytest.approx(final["conventional"], rel=0.5)
