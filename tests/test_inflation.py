"""The predicted price of random stepsizes: its moments, and a simulation that pays it."""

import numpy as np
import pytest
from common import run

from dpe_jax.algorithms import ConventionalDSGD, EncryptedDSGD
from dpe_jax.inflation import Inflation, inflation
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic, breast_cancer
from dpe_jax.schedules import PowerLaw
from dpe_jax.stepsizes import TwoPoint, Uniform

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
