"""Quadratics, sensor estimation and the splits, against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from common import gradient, objective

from dpe_jax.errors import InputError
from dpe_jax.problems import Quadratic, SensorEstimation
from dpe_jax.problems.split import dirichlet_split, equal_split

SAMPLES = 20_000


def points(problem, lanes, seed=0):
    """Random positions [agents, dim, lanes]."""
    return np.random.default_rng(seed).normal(size=(problem.agents, problem.dim, lanes))


def alone(problem, i):
    """Agent i's cost as a problem of one agent, whose objective is f_i."""
    if isinstance(problem, Quadratic):
        return Quadratic(problem.A[i : i + 1], problem.b[i : i + 1])
    fields = (problem.M[i : i + 1], problem.z[i : i + 1], problem.omega[i : i + 1])
    return SensorEstimation(*fields, problem.noise)


PROBLEMS = [
    Quadratic.random(4, 3, seed=2),
    Quadratic.random(3, 11, seed=3),
    SensorEstimation.random(4, 3, 2, seed=2, noise=0.0, omega=0.3),
    SensorEstimation.random(3, 11, 12, seed=3, noise=0.0),
]


def assert_within(sample, expected, scale=1.0):
    """The mean over the last axis equals `expected` to 5 standard errors."""
    assert worst_deviation(sample, expected, scale) < 5.0


def worst_deviation(sample, expected, scale=1.0):
    error = np.std(sample, axis=-1) / np.sqrt(sample.shape[-1])
    return np.max(np.abs(np.mean(sample, axis=-1) * scale - expected) / (error * scale))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_gradient_is_the_slope_of_each_agents_cost(problem):
    x = points(problem, 2)
    g = np.asarray(gradient(problem, x))
    h = 1e-5
    for i in range(problem.agents):
        own = alone(problem, i)
        for c in range(problem.dim):
            step = np.zeros((problem.dim, 1))
            step[c] = h
            slope = (objective(own, x[i] + step) - objective(own, x[i] - step)) / (2 * h)
            np.testing.assert_allclose(g[i, c], slope, rtol=1e-7, atol=1e-7)


def test_quadratic_against_numpy():
    problem = Quadratic.random(4, 3, seed=2)
    x = points(problem, 5)
    g = np.asarray(gradient(problem, x))
    F = np.asarray(objective(problem, x))
    assert F.shape == (4, 5)
    for lane in range(5):
        for i in range(4):
            offset = x[i, :, lane] - problem.b[i]
            np.testing.assert_allclose(g[i, :, lane], problem.A[i] @ offset, rtol=1e-13)
            everyone = [x[i, :, lane] - b for b in problem.b]
            value = np.mean([o @ A @ o / 2 for A, o in zip(problem.A, everyone, strict=True)])
            np.testing.assert_allclose(F[i, lane], value, rtol=1e-13)


def test_random_quadratic_has_the_curvature_asked_for():
    eigenvalues = np.linalg.eigvalsh(Quadratic.random(50, 6, seed=4, curvature=(0.2, 3.0)).A)
    assert 0.2 - 1e-12 <= eigenvalues.min() < 0.4
    assert 2.8 < eigenvalues.max() <= 3.0 + 1e-12


def test_sensors_against_numpy():
    problem = SensorEstimation.random(4, 3, 2, seed=5, noise=0.0, omega=0.3)
    x = points(problem, 5)
    g = np.asarray(gradient(problem, x))
    F = np.asarray(objective(problem, x[0]))
    for lane in range(5):
        for i in range(4):
            M, z, theta = problem.M[i], problem.z[i], x[i, :, lane]
            expected = 2 * M.T @ (M @ theta - z) + 2 * 0.3 * theta
            np.testing.assert_allclose(g[i, :, lane], expected, rtol=1e-12, atol=1e-13)
        theta = x[0, :, lane]
        fits = [np.sum((z - M @ theta) ** 2) for M, z in zip(problem.M, problem.z, strict=True)]
        np.testing.assert_allclose(F[lane], np.mean(fits) + 0.3 * theta @ theta, rtol=1e-12)


def test_quadratic_gradient_noise_has_its_variance():
    problem = Quadratic.random(2, 3, seed=6, noise=0.7)
    x = np.zeros((2, 3, SAMPLES))
    exact = np.einsum("ide,ie->id", problem.A, -problem.b)
    noise = np.asarray(gradient(problem, x)) - exact[..., None]
    assert_within(noise, 0.0)
    assert_within(noise**2, 0.7**2)
    for wrong in (2 / 3, 1.5):
        assert worst_deviation(noise**2, 0.7**2 * wrong) > 5.0


def test_sensor_gradient_noise_has_its_covariance():
    s = 0.4
    problem = SensorEstimation.random(2, 3, 4, seed=7, noise=s)
    x = np.zeros((2, 3, SAMPLES))
    exact = -2 * np.einsum("ird,ir->id", problem.M, problem.z)
    noise = np.asarray(gradient(problem, x)) - exact[..., None]
    assert_within(noise, 0.0)
    products = noise[:, :, None] * noise[:, None, :]
    expected = 4 * s**2 * np.einsum("ird,ire->ide", problem.M, problem.M)
    assert_within(products, expected)
    for wrong in (2 / 3, 1.5):
        assert worst_deviation(products, expected * wrong) > 5.0


def test_sensor_objective_is_the_expectation_over_measurements():
    s = 0.8
    problem = SensorEstimation.random(3, 2, 3, seed=8, noise=s, omega=0.1)
    theta = np.array([0.3, -0.2])
    rng = np.random.default_rng(9)
    measured = problem.z[..., None] + s * rng.normal(size=(3, 3, SAMPLES))
    residual = measured - (problem.M @ theta)[..., None]
    costs = np.mean(np.sum(residual**2, axis=1), axis=0) + 0.1 * theta @ theta
    F = float(objective(problem, theta[:, None])[0])
    assert_within(costs, F)
    for wrong in (2 / 3, 1.5):
        assert worst_deviation(costs, F * wrong) > 5.0


@pytest.mark.parametrize("problem", PROBLEMS)
def test_optimum_is_the_minimum(problem):
    optimum = problem.solve()
    assert optimum.gradient_norm < 1e-10
    everywhere = jnp.broadcast_to(optimum.x[:, None], (problem.agents, problem.dim, 1))
    g = np.asarray(gradient(problem, everywhere))
    assert np.linalg.norm(g.mean(0)) < 1e-10
    at = jnp.asarray(optimum.x[:, None])
    np.testing.assert_allclose(objective(problem, at)[0], optimum.value, rtol=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_excess_keeps_its_digits_next_to_the_optimum(problem):
    optimum = problem.solve()
    far = points(problem, 4)
    excess = np.asarray(problem.excess(jnp.asarray(far), optimum))
    difference = np.asarray(objective(problem, far)) - optimum.value
    np.testing.assert_allclose(excess, difference, rtol=1e-9)
    # One part in a billion away, F − F* itself is below the rounding of F. The offset that float64
    # keeps is the one to square.
    near = optimum.x[:, None] + 1e-9 * far[0]
    offset = near - optimum.x[:, None]
    if isinstance(problem, Quadratic):
        curvature = problem.A.mean(0) / 2
    else:
        curvature = np.mean([M.T @ M for M in problem.M], axis=0)
        curvature = curvature + problem.omega.mean() * np.eye(problem.dim)
    expected = np.einsum("dl,de,el->l", offset, curvature, offset)
    np.testing.assert_allclose(problem.excess(jnp.asarray(near), optimum), expected, rtol=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_with_dtype(problem):
    single = problem.with_dtype(jnp.dtype("float32"))
    x = points(problem, 2)
    g = gradient(single, x.astype(np.float32))
    assert g.dtype == jnp.float32
    exact = gradient(problem, x)
    np.testing.assert_allclose(g, exact, rtol=1e-4, atol=1e-5)
    assert exact.dtype == jnp.float64
    described = {**single.describe(), "omega": problem.describe().get("omega")}
    assert described == {"omega": None, **problem.describe()}


def test_refusals():
    M, z, omega = np.ones((2, 1, 2)), np.zeros((2, 1)), np.zeros(2)
    with pytest.raises(InputError, match="identify"):
        SensorEstimation(M, z, omega)
    SensorEstimation(M, z, np.array([0.0, 0.1]))
    with pytest.raises(InputError, match="omega"):
        SensorEstimation(M, z, np.array([1.0, -0.1]))
    with pytest.raises(InputError, match="noise"):
        SensorEstimation(M, z, omega + 1, -1.0)
    with pytest.raises(InputError, match="finite mean"):
        SensorEstimation(M, z + np.nan, omega + 1)
    with pytest.raises(InputError, match="rows"):
        SensorEstimation.random(2, 2, 0, seed=0)
    with pytest.raises(InputError, match="positive definite"):
        Quadratic(np.zeros((1, 2, 2)), np.zeros((1, 2)))
    with pytest.raises(InputError, match="at least 0"):
        Quadratic(np.diag([1.0, -1.0])[None], np.zeros((1, 2)))
    with pytest.raises(InputError, match="symmetric"):
        Quadratic(np.array([[[1.0, 0.5], [0.0, 1.0]]]), np.zeros((1, 2)))


@pytest.mark.parametrize(("samples", "agents"), [(10, 1), (10, 3), (569, 5), (7, 7)])
def test_equal_split_is_an_even_partition(samples, agents):
    parts = equal_split(samples, agents, seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    sizes = [len(part) for part in parts]
    assert len(sizes) == agents
    assert max(sizes) - min(sizes) <= 1
    again = equal_split(samples, agents, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_equal_split_is_shuffled():
    first = equal_split(100, 4, seed=0)[0]
    assert not np.array_equal(first, np.arange(25))
    assert not np.array_equal(first, equal_split(100, 4, seed=1)[0])


@pytest.mark.parametrize("concentration", [0.1, 1.0, 100.0])
def test_dirichlet_split_is_a_partition_without_empty_agents(concentration):
    labels = np.repeat([0, 1, 2], [50, 30, 3])
    for seed in range(20):
        parts = dirichlet_split(labels, 5, concentration, seed=seed)
        assert sorted(np.concatenate(parts).tolist()) == list(range(83))
        assert min(len(part) for part in parts) >= 1


def test_dirichlet_split_has_dirichlet_proportions():
    agents, concentration, count = 4, 2.0, 2000
    labels = np.zeros(count, int)
    shares = np.array(
        [
            [
                len(part) / count
                for part in dirichlet_split(labels, agents, concentration, seed=seed)
            ]
            for seed in range(2000)
        ]
    ).T
    assert_within(shares[:-1], 1 / agents)
    spread = (shares - 1 / agents) ** 2
    variance = (1 / agents) * (1 - 1 / agents) / (agents * concentration + 1)
    assert_within(spread, variance)
    for wrong in (2 / 3, 1.5):
        assert worst_deviation(spread, variance * wrong) > 5.0


def test_split_refusals():
    with pytest.raises(InputError, match="agents"):
        equal_split(3, 4, seed=0)
    with pytest.raises(InputError, match="agents"):
        dirichlet_split(np.zeros(3), 0, 1.0, seed=0)
    for concentration in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="concentration"):
            dirichlet_split(np.zeros(9), 2, concentration, seed=0)
    # One class nearly all of which goes to one agent: four agents stay empty at every redraw.
    with pytest.raises(InputError, match="without samples"):
        dirichlet_split(np.zeros(9), 5, 1e-6, seed=0)


def test_quadratics_check_shapes_and_take_jax_arrays() -> None:
    A, b = np.stack([np.eye(2)] * 3), np.zeros((3, 2))
    for bad_A, bad_b in [(A[:1], b), (A[0], b), (A[:, :1], b), (A, b[:, :1]), (A, b[0])]:
        # Past the checks of annotations that tests install: users do not have them.
        made = object.__new__(Quadratic)
        for name, value in {"A": bad_A, "b": bad_b, "noise": 0.0, "dtype": b.dtype}.items():
            object.__setattr__(made, name, value)
        with pytest.raises(InputError, match=r"^[Ab] = 'shape "):
            made.__check_init__()
    assert Quadratic(jnp.asarray(A), jnp.asarray(b)).solve().x.tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match=r"^noise"):
        Quadratic(jnp.asarray(A), jnp.asarray(b), float("nan"))
