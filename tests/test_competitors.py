from dataclasses import replace

import jax
import numpy as np
import pytest
from competing import LIMIT, distance, made, moments
from scipy import stats

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bench import competitors, logistic
from dpe_jax.bench.numba_loop import numba_runs
from dpe_jax.network import Network
from dpe_jax.problems import breast_cancer
from dpe_jax.schedules import PowerLaw
from dpe_jax.study import simulate

pytestmark = pytest.mark.slow  # together over 20 s

RUNS = 2000
ITERATIONS = 60


@pytest.fixture(scope="module")
def study():
    return made(iterations=ITERATIONS)


@pytest.fixture(scope="module")
def finals(study):
    return {
        "numpy": competitors.numpy_runs(study, RUNS, seed=1, block=768),
        "vmap": competitors.vmap_runs(study, RUNS, seed=2),
        "vmap float32": competitors.vmap_runs(study, RUNS, seed=3, dtype=np.float32),
        "vmap rbg": competitors.vmap_runs(study, RUNS, seed=4, impl="rbg"),
        "batched": competitors.batched_runs(study, RUNS, seed=5),
        "numba": numba_runs(study, RUNS, seed=7),
    }


def discrepancy(first, second):
    """Largest difference of the means, and of the standard deviations, in standard errors."""
    variance = first.var(-1, ddof=1) + second.var(-1, ddof=1)
    means = (first.mean(-1) - second.mean(-1)) / np.sqrt(variance / RUNS)
    spread = np.log(first.std(-1, ddof=1) / second.std(-1, ddof=1))
    return np.abs(means).max(), np.abs(spread).max() / np.sqrt(1 / RUNS)


OTHERS = ["vmap", "vmap float32", "vmap rbg", "batched", "numba"]


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


@pytest.mark.parametrize("name", ["numpy", *OTHERS])
def test_moments_by_linear_recursion(study, finals, name):
    x = finals[name]
    assert distance(x, *moments(study)) < LIMIT
    for factor in (2 / 3, 1.5):
        assert distance(x, *moments(study, factor / 3)) > LIMIT
        for field in ("sigma", "gamma", "lambda_bar"):
            wrong = replace(study, **{field: factor * getattr(study, field)})
            assert distance(x, *moments(wrong)) > LIMIT, (field, factor)


@pytest.mark.parametrize(
    "simulate",
    [competitors.numpy_runs, competitors.vmap_runs, competitors.batched_runs, numba_runs],
)
def test_rounding_variance_is_that_of_the_grid(study, simulate):
    one = replace(study, gamma=np.array([0.8]), lambda_bar=np.zeros(1))
    x = simulate(one, RUNS, seed=8)
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


@pytest.mark.parametrize("how", ["numpy", "vmap"])
def test_logistic_regression_has_the_engines_mean_and_spread(how: str) -> None:
    problem = breast_cancer(3, split="dirichlet", batch=4, penalty=0.1, seed=1)
    algorithm = EncryptedDSGD(PowerLaw(0.5, 0.6), PowerLaw(0.5, 0.9))
    network, iterations, runs = Network.path(3), 40, 1500
    result = simulate(
        algorithm, problem, network, runs=runs, iterations=iterations, points=2, metrics=()
    )
    k = np.arange(iterations)
    features, labels = (np.asarray(leaf) for leaf in problem.data)
    sizes = np.asarray(problem.sizes)
    study = logistic.LogisticStudy(
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
        if how == "numpy":
            other = logistic.numpy_logistic_runs(study, runs, 3)
        else:
            keys = jax.random.split(jax.random.key(3), runs)
            other = np.moveaxis(np.asarray(logistic.vmap_logistic_program(study)(keys)), 0, -1)
        error = np.sqrt((one.var(-1) + other.var(-1)) / runs)
        spread = one.std(-1) / other.std(-1)
        assert np.all(abs(spread - 1) < 5 / np.sqrt(runs)) or study.penalty != problem.penalty
        return (one.mean(-1) - other.mean(-1)) / error

    right = scores(study)
    assert abs(right).max() < 5
    assert 0.7 < np.sqrt((right**2).mean()) < 1.3
    assert abs(scores(replace(study, penalty=0.2))).max() > 5
