"""The predicted price of random stepsizes: its moments, and a simulation that pays it."""

import numpy as np
import pytest
from common import run

from dpe_jax.algorithms import ConventionalDSGD, EncryptedDSGD
from dpe_jax.inflation import Inflation, PathVariance, inflation, variance_along_path
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic, breast_cancer
from dpe_jax.schedules import PowerLaw
from dpe_jax.stepsizes import TwoPoint, Uniform

pytestmark = pytest.mark.slow  # together over 20 s

UNLIKE = Quadratic.random(5, 2, seed=2, noise=0.5)


def test_the_moments_of_a_quadratic_are_its_own() -> None:
    optimum = UNLIKE.solve()
    found = inflation(UNLIKE, optimum, 1 / 3)
    A, b = np.asarray(UNLIKE.A), np.asarray(UNLIKE.b)
    pulls = np.einsum("ide,ie->id", A, np.asarray(optimum.x) - b)
    disagreement = (pulls**2).sum(axis=1).mean()
    # σ² d has a relative standard error of (2/(5·2·4096))^½; G² of about 2 σ/(G (5·4096)^½).
    assert found.noise == pytest.approx(0.25 * 2, rel=4 * np.sqrt(2 / 40960))
    assert found.disagreement == pytest.approx(disagreement, rel=0.03)
    assert found.ratio == pytest.approx(
        (found.noise * 4 / 3 + found.disagreement / 3) / found.noise, rel=1e-12
    )


def test_the_moments_of_minibatches_are_those_of_the_samples() -> None:
    problem = breast_cancer(3, batch=4, penalty=0.05)
    optimum = problem.solve()
    found = inflation(problem, optimum, 0.0)
    features, labels = (np.asarray(leaf) for leaf in problem.data)
    x = np.asarray(optimum.x)
    each = -(labels / (1 + np.exp(labels * (features @ x))))[:, None] * features
    ends = np.cumsum(np.asarray(problem.sizes))[:-1]
    parts = np.split(each, ends)
    weights = [3 * len(part) / len(each) for part in parts]
    noise = np.mean([w**2 * p.var(axis=0).sum() / 4 for w, p in zip(weights, parts, strict=True)])
    means = [w * p.mean(axis=0) + 0.05 * x for w, p in zip(weights, parts, strict=True)]
    assert found.noise == pytest.approx(noise, rel=0.05)
    assert found.disagreement == pytest.approx(np.mean([m @ m for m in means]), rel=0.1)
    assert found.ratio == 1


def test_without_noise_the_price_is_infinite_or_nothing() -> None:
    assert Inflation(0.0, 1.0, 0.5).ratio == np.inf
    assert Inflation(0.0, 1.0, 0.0).ratio == 1
    assert Inflation(2.0, 1.0, 0.5).ratio == 1.75
    still = Quadratic.random(3, 2, seed=0, noise=0.0)
    assert inflation(still, still.solve(), 0.1).noise == 0


@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
@pytest.mark.parametrize("multipliers", [Uniform(), TwoPoint(0.5, 3.0)], ids=str)
def test_a_simulation_pays_what_is_predicted(multipliers) -> None:
    """Without attenuation and on a fine grid nothing else tells the two methods apart."""
    network, stepsize = Network.complete(5), PowerLaw(0.8, 0.75)
    settings = {"runs": 4000, "iterations": 600, "metrics": ("gap_mean_state",)}
    encrypted = EncryptedDSGD(1.0, stepsize, 2.0**-20, multipliers)
    gaps = [
        run(method, UNLIKE, network, **settings).curves.gap_mean_state.values[0, -1]
        for method in (encrypted, ConventionalDSGD(stepsize))
    ]
    measured = gaps[0].mean() / gaps[1].mean()
    predicted = inflation(UNLIKE, UNLIKE.solve(), multipliers.variance).ratio
    error = measured * np.sqrt(sum((gap.std() / gap.mean()) ** 2 for gap in gaps) / 4000)
    assert abs(measured - predicted) < 4 * error + 0.03 * predicted
    for wrong in (2 / 3, 1.5):
        assert abs(measured - wrong * predicted) > 4 * error + 0.03 * predicted


FAR = Quadratic.random(5, 2, seed=6, noise=0.2)
START = np.array([20.0, -15.0])


@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
def test_a_simulation_keeps_what_the_way_to_the_optimum_adds() -> None:
    """From far away the prediction at x* is wrong, that along the path is right."""
    network, stepsize, runs, iterations = Network.complete(5), PowerLaw(0.8, 0.75), 4000, 60
    settings = {"runs": runs, "iterations": iterations, "x0": START, "precision": "float64"}
    rho = float(Uniform().variance)
    # Alike curvatures: what agents disagree about does not move their mean.
    alike = Quadratic(np.broadcast_to(FAR.A.mean(axis=0), FAR.A.shape), FAR.b, FAR.noise)
    encrypted = EncryptedDSGD(1.0, stepsize, 2.0**-20, Uniform())
    means = [
        run(method, alike, network, **settings).curves.final_state.values[0].mean(axis=0)
        for method in (encrypted, ConventionalDSGD(stepsize))
    ]
    measured = [x.var(axis=1, ddof=1) for x in means]
    found = variance_along_path(alike, START, stepsize.values(np.arange(iterations)), rho)
    near = inflation(alike, alike.solve(), rho).ratio
    for variance, predicted in zip(measured, (found.multiplied, found.conventional), strict=True):
        # Of normal draws; the coordinates depend on each other in part, which adds to it.
        error = np.sqrt(2 / runs) * variance.sum()
        assert abs(variance.sum() - predicted) < 4 * error + 0.04 * predicted
        for wrong in (2 / 3, 1.5):
            assert abs(variance.sum() - wrong * predicted) > 4 * error + 0.04 * predicted
    ratio = measured[0].sum() / measured[1].sum()
    assert ratio == pytest.approx(found.ratio, rel=0.1)
    assert ratio > 1.5 * near


def test_the_recursion_along_the_path_is_that_of_a_loop() -> None:
    """In full matrices, with the moments of a quadratic, which NumPy knows."""
    A, b, steps = np.asarray(FAR.A), np.asarray(FAR.b), 0.3 * np.arange(1.0, 31) ** -0.7
    found = variance_along_path(FAR, START, steps, 0.5)
    x, H = START.copy(), A.mean(axis=0)
    plain, multiplied = np.zeros((2, 2)), np.zeros((2, 2))
    for step in steps:
        pulls = np.einsum("ide,ie->id", A, x - b)
        noise = 0.2**2 * np.eye(2) / 5
        random = 0.5 * np.diag((pulls**2).sum(axis=0) / 25 + 0.2**2 / 5)
        kept = np.eye(2) - step * H
        plain = kept @ plain @ kept + step**2 * noise
        multiplied = kept @ multiplied @ kept + step**2 * (noise + random)
        x = x - step * pulls.mean(axis=0)
    # Moments are from draws, and stand for some iterations each.
    assert found.conventional == pytest.approx(np.trace(plain), rel=0.06)
    assert found.multiplied == pytest.approx(np.trace(multiplied), rel=0.06)
    assert found.largest_step == pytest.approx(0.3 * np.linalg.eigvalsh(H)[-1], rel=1e-9)


def test_the_path_of_minibatches() -> None:
    """Without multipliers there is nothing to add, and exact gradients have no variance."""
    problem = breast_cancer(3, batch=4, penalty=0.05)
    steps = 0.5 * np.arange(1.0, 21) ** -0.7
    found = variance_along_path(problem, np.zeros(problem.dim), steps, 0.0)
    assert found.ratio == 1
    exact = breast_cancer(3, batch=None, penalty=0.05)
    still = variance_along_path(exact, np.zeros(problem.dim), steps, 0.3)
    assert still.conventional < 1e-25
    assert still.multiplied > 0
    assert PathVariance(0.0, 1.0, 1.0).ratio == np.inf
    assert PathVariance(0.0, 0.0, 1.0).ratio == 1
