"""Competitors compute what they say, so that their times mean something."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from competing import LIMIT, distance, made, moments
from scipy import stats

from dpe_jax.bench import competitors, large
from dpe_jax.bench.engines import as_study, encrypted_alone
from dpe_jax.bench.separable import Separable
from dpe_jax.exchange import coupling_of
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic
from dpe_jax.study import Study, simulate

pytest.importorskip("numba")
from dpe_jax.bench.numba_loop import numba_runs

pytestmark = pytest.mark.slow

RUNS = 3000


@pytest.mark.parametrize(("agents", "dim"), [(5, 2), (3, 1), (3, 3)])
def test_the_numba_loop_has_the_moments_of_the_recursion(agents: int, dim: int) -> None:
    study = replace(made(agents, dim, iterations=40), sigma=0.8)
    x = numba_runs(study, RUNS, 7)
    assert x.shape == (agents, dim, RUNS)
    assert distance(x, *moments(study)) < LIMIT
    for factor in (2 / 3, 1.5):
        assert distance(x, *moments(study, factor / 3)) > LIMIT
        for field in ("sigma", "gamma", "lambda_bar"):
            wrong = replace(study, **{field: factor * getattr(study, field)})
            assert distance(x, *moments(wrong)) > LIMIT, (field, factor)


def test_the_numba_loop_draws_independent_normals_and_uniforms() -> None:
    study = made(5, 2, iterations=1)
    still = replace(study, W=np.zeros((5, 5)), A=np.zeros((5, 2, 2)), gamma=np.zeros(1))
    noise = replace(still, sigma=1.0, lambda_bar=np.full(1, 0.5), x0=np.zeros((5, 2)))
    # x = −½ m z with m ~ U[0, 2]: by E|x| and the distribution of a sum of many.
    x = -2 * numba_runs(noise, 20_000, 1)
    rng = np.random.default_rng(0)
    expected = rng.uniform(0, 2, 200_000) * rng.normal(size=200_000)

    def pvalue(factor: float) -> float:
        return float(np.asarray(stats.ks_2samp(factor * x.ravel(), expected)[1]))

    assert pvalue(1.0) > 1e-6
    assert pvalue(1.5) < 1e-6
    assert pvalue(2 / 3) < 1e-6
    # Neither signs nor sizes of elements go together: two of them share a word.
    for values in (np.sign(x), np.abs(x)):
        correlation = np.corrcoef(values.reshape(10, -1))[np.triu_indices(10, 1)]
        assert np.abs(correlation).max() < LIMIT / np.sqrt(20_000)


def test_a_run_of_the_numba_loop_is_the_same_in_any_batch() -> None:
    study = made(iterations=5)
    many = numba_runs(study, 1100, 3)
    np.testing.assert_array_equal(numba_runs(study, 3, 3), many[..., :3])
    assert len(np.unique(many[0, 0])) == 1100
    assert not np.any(numba_runs(study, 3, 4) == many[..., :3])


def test_numpy_on_the_preset_has_the_engines_moments() -> None:
    simulation = encrypted_alone("five-agents", 2000, 60)
    study = as_study(simulation)
    (recording,) = (found for _, found in Study((replace(simulation, block=2000),)).recordings())
    mean, std = moments(study)
    # The recursion's rounding variance is good to a few per cent, and rounding is little here.
    assert distance(recording.final, mean, std) < 2 * LIMIT
    assert distance(competitors.numpy_runs(study, 2000, 1), mean, std) < 2 * LIMIT
    wrong = replace(study, lambda_bar=1.5 * study.lambda_bar)
    assert distance(recording.final, *moments(wrong)) > 2 * LIMIT


def test_the_dense_exchange_gives_the_engines_integers() -> None:
    simulation = large.simulation_of(40, 6, 3, 20, 12)
    engine = large.engine_states(simulation)
    for coupling in large.dense(simulation.network).values():
        dense = np.asarray(large.states_by(coupling, simulation)())
        assert engine.shape == dense.shape == (40, 3, 20)
        np.testing.assert_array_equal(engine, dense)
    assert len(np.unique(engine)) > 2000
    einsum = large.dense(simulation.network)["einsum"]
    other = large.states_by(einsum, replace(simulation, seed=1))()
    assert np.mean(engine == other) < 0.01


def test_dense_exchanges_are_the_engines_in_floating_point_too() -> None:
    network = large.simulation_of(40, 6, 3, 20, 1).network
    x = jnp.asarray(np.random.default_rng(0).normal(size=(40, 3, 5)))
    sparse = coupling_of(network)
    for coupling in large.dense(network).values():
        for name in ("values", "weighted"):
            mine = getattr(coupling, name)(x)
            np.testing.assert_allclose(mine, getattr(sparse, name)(x), atol=1e-13)
        assert not np.allclose(coupling.values(x), coupling.weighted(x))


def test_diagonal_quadratics_are_quadratics() -> None:
    problem = Separable.random(4, 3, seed=5, noise=0.5)
    a, b = np.asarray(problem.a), np.asarray(problem.b)
    same = Quadratic(a[..., None] * np.eye(3), b, 0.5)
    one, other = problem.solve(), same.solve()
    np.testing.assert_allclose(one.x, other.x, rtol=1e-12)
    assert one.value == pytest.approx(other.value, rel=1e-12)
    assert one.gradient_norm < 1e-12
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7)))
    for name in ("objective", "excess"):
        extra = (one,) if name == "excess" else ()
        mine, theirs = getattr(problem, name)(x, *extra), getattr(same, name)(x, *extra)
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)
    assert not np.allclose(problem.objective(x), problem.objective(1.5 * x))
    results = [
        simulate(
            encrypted_alone("five-agents", 1, 1).algorithms["encrypted"],
            choice,
            Network.ring(4),
            runs=5,
            iterations=30,
            points=2,
            precision="float64",
        )
        for choice in (problem, same)
    ]
    first, second = (found.curves["final_state"].values for found in results)
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert np.std(first) > 0.1
