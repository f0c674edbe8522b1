import importlib
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy import stats

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.network import Network
from dpe_jax.problems import breast_cancer
from dpe_jax.schedules import PowerLaw
from dpe_jax.study import simulate

pytestmark = pytest.mark.slow  # together over 20 s

# Not `import competitors`: scripts/ is on the path in pytest only, where type checkers do not look.
competitors = importlib.import_module("competitors")

RUNS = 2000
ITERATIONS = 60
LIMIT = 5.0


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(3)
    agents, dim = 5, 2
    W = np.zeros((agents, agents))
    for i, j in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (1, 3)]:
        W[i, j] = W[j, i] = 0.2
    W -= np.diag(W.sum(1))
    root = np.eye(dim) + 0.3 * rng.normal(size=(agents, dim, dim))
    k = np.arange(ITERATIONS) + 1.0
    return competitors.Study(
        A=root @ root.transpose(0, 2, 1),
        b=rng.normal(size=(agents, dim)),
        sigma=0.3,
        W=W,
        delta=0.35,
        gamma=0.8 * k**-0.6,
        lambda_bar=0.5 * k**-0.9,
        x0=rng.normal(size=(agents, dim)),
    )


def moments(study, multiplier_variance=1 / 3):
    """Mean and standard deviation of the final state, by a linear recursion over the noise.

    The mean is exact. A coordinate's rounding error has variance δ² f (1 − f) at fraction f of a
    cell; the recursion takes its average over uniform f, δ²/6, and so is good to a few percent.
    """
    agents, dim = study.b.shape
    size = agents * dim
    A = np.zeros((size, size))
    for i in range(agents):
        A[i * dim : (i + 1) * dim, i * dim : (i + 1) * dim] = study.A[i]
    W = np.kron(study.W, np.eye(dim))
    mean, covariance = study.x0.ravel(), np.zeros((size, size))
    for gamma, step in zip(study.gamma, study.lambda_bar, strict=True):
        gradient = A @ (mean - study.b.ravel())
        square = gradient**2 + np.diag(A @ covariance @ A.T) + study.sigma**2
        T = np.eye(size) + gamma * W - step * A
        mean = mean + gamma * W @ mean - step * gradient
        covariance = T @ covariance @ T.T + gamma**2 * study.delta**2 / 6 * W @ W.T
        covariance += step**2 * np.diag(multiplier_variance * square + study.sigma**2)
    return mean.reshape(agents, dim), np.sqrt(np.diag(covariance)).reshape(agents, dim)


@pytest.fixture(scope="module")
def finals(study):
    return {
        "numpy": competitors.numpy_runs(study, RUNS, seed=1, block=768),
        "vmap": competitors.vmap_runs(study, RUNS, seed=2),
        "vmap float32": competitors.vmap_runs(study, RUNS, seed=3, dtype=np.float32),
        "vmap rbg": competitors.vmap_runs(study, RUNS, seed=4, impl="rbg"),
        "batched": competitors.batched_runs(study, RUNS, seed=5),
    }


def discrepancy(first, second):
    """Largest difference of the means, and of the standard deviations, in standard errors."""
    variance = first.var(-1, ddof=1) + second.var(-1, ddof=1)
    means = (first.mean(-1) - second.mean(-1)) / np.sqrt(variance / RUNS)
    spread = np.log(first.std(-1, ddof=1) / second.std(-1, ddof=1))
    return np.abs(means).max(), np.abs(spread).max() / np.sqrt(1 / RUNS)


OTHERS = ["vmap", "vmap float32", "vmap rbg", "batched"]


@pytest.mark.parametrize("name", OTHERS)
def test_same_mean_and_spread(finals, name):
    means, spreads = discrepancy(finals["numpy"], finals[name])
    assert means < LIMIT
    assert spreads < LIMIT


@pytest.mark.parametrize("factor", [2 / 3, 1.5])
@pytest.mark.parametrize("field", ["lambda_bar", "gamma", "sigma"])
def test_a_wrong_parameter_is_rejected(study, finals, field, factor):
    wrong = replace(study, **{field: factor * getattr(study, field)})
    assert max(discrepancy(finals["vmap"], competitors.numpy_runs(wrong, RUNS, seed=6))) > LIMIT


def distance(x, mean, std):
    """Largest deviation of a sample's mean, or of its standard deviation, in standard errors."""
    means = (x.mean(-1) - mean) / (std / np.sqrt(RUNS))
    spreads = np.log(x.std(-1, ddof=1) / std) * np.sqrt(2 * RUNS)
    return max(np.abs(means).max(), np.abs(spreads).max())


@pytest.mark.parametrize("name", ["numpy", *OTHERS])
def test_moments_by_linear_recursion(study, finals, name):
    x = finals[name]
    assert distance(x, *moments(study)) < LIMIT
    for factor in (2 / 3, 1.5):
        assert distance(x, *moments(study, factor / 3)) > LIMIT
        for field in ("sigma", "gamma", "lambda_bar"):
            wrong = replace(study, **{field: factor * getattr(study, field)})
            assert distance(x, *moments(wrong)) > LIMIT, (field, factor)


@pytest.mark.parametrize("simulate", ["numpy_runs", "vmap_runs", "batched_runs"])
def test_rounding_variance_is_that_of_the_grid(study, simulate):
    one = replace(study, gamma=np.array([0.8]), lambda_bar=np.zeros(1))
    x = getattr(competitors, simulate)(one, RUNS, seed=8)
    mean = study.x0 + 0.8 * study.W @ study.x0

    def std(delta):
        fraction = study.x0 / delta % 1
        return 0.8 * np.sqrt(study.W**2 @ (delta**2 * fraction * (1 - fraction)))

    assert distance(x, mean, std(study.delta)) < LIMIT
    assert distance(x, mean, std(study.delta * 2 / 3)) > LIMIT
    assert distance(x, mean, std(study.delta * 1.5)) > LIMIT


def test_numpy_shapes_precision_and_record(study):
    seen = []
    out = np.zeros((ITERATIONS, 5, 2, 10))

    def record(k, lanes, x):
        seen.append(k)
        out[k - 1, ..., lanes] = x

    x = competitors.numpy_runs(study, 10, seed=0, record=record, block=4)
    assert x.shape == (5, 2, 10)
    assert x.dtype == np.float64
    assert seen == list(range(1, ITERATIONS + 1)) * 3
    np.testing.assert_array_equal(out[-1], x)
    # Blocks have streams of their own: no two runs are alike.
    assert len(np.unique(x[0, 0])) == 10


def test_vmap_keeps_its_runs_apart(study, finals):
    assert finals["vmap"].dtype == np.float64
    assert finals["vmap float32"].dtype == np.float32
    program = competitors.vmap_program(study)
    keys = jax.random.split(jax.random.key(2), RUNS)
    # A run's draws do not depend on the batch, so only rounding may differ.
    alone = np.asarray(program(keys[3:5]))
    np.testing.assert_allclose(np.moveaxis(alone, 0, -1), finals["vmap"][..., 3:5], rtol=1e-9)
    assert len(np.unique(finals["vmap"][0, 0])) == RUNS


def test_floor_sums_standard_normals():
    x = competitors.floor_runs(RUNS, 40, 5, 2, seed=9)
    assert x.shape == (5, 2, RUNS)
    assert x.dtype == np.float32
    z = x.ravel() / np.sqrt(40)
    assert stats.kstest(z, "norm").pvalue > 1e-6
    assert stats.kstest(z * 1.5, "norm").pvalue < 1e-6
    assert stats.kstest(z * 2 / 3, "norm").pvalue < 1e-6
    correlation = np.corrcoef(x.reshape(10, RUNS))[np.triu_indices(10, 1)]
    assert np.abs(correlation).max() < LIMIT / np.sqrt(RUNS)


def test_logistic_regression_in_numpy_has_the_engines_mean_and_spread() -> None:
    problem = breast_cancer(3, split="dirichlet", batch=4, penalty=0.1, seed=1)
    algorithm = EncryptedDSGD(PowerLaw(0.5, 0.6), PowerLaw(0.5, 0.9))
    network, iterations, runs = Network.path(3), 40, 1500
    result = simulate(
        algorithm, problem, network, runs=runs, iterations=iterations, points=2, metrics=()
    )
    k = np.arange(iterations)
    features, labels = (np.asarray(leaf) for leaf in problem.data)
    sizes = np.asarray(problem.sizes)
    study = competitors.LogisticStudy(
        np.split(features, np.cumsum(sizes)[:-1]),
        np.split(labels, np.cumsum(sizes)[:-1]),
        3 * sizes / sizes.sum(),
        problem.penalty,
        4,
        network.weights,
        algorithm.delta,
        algorithm.gamma.values(k),
        algorithm.stepsize.values(k),
    )

    def scores(study):
        """Distances of means in standard errors."""
        one = result.curves["final_state"].values[0]
        other = competitors.numpy_logistic_runs(study, runs, 3)
        error = np.sqrt((one.var(-1) + other.var(-1)) / runs)
        spread = one.std(-1) / other.std(-1)
        assert np.all(abs(spread - 1) < 5 / np.sqrt(runs)) or study.penalty != problem.penalty
        return (one.mean(-1) - other.mean(-1)) / error

    right = scores(study)
    assert abs(right).max() < 5
    assert 0.7 < np.sqrt((right**2).mean()) < 1.3
    assert abs(scores(replace(study, penalty=0.2))).max() > 5
