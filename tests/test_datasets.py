"""Problems on data sets, against NumPy, scikit-learn and finite differences."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from common import NETWORK, gradient, objective
from sklearn import datasets, metrics
from sklearn.linear_model import LogisticRegression, Ridge
from small import ENCRYPTED, config, tables

from dpe_jax import recompute
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.cli import main
from dpe_jax.config import parse
from dpe_jax.errors import InputError
from dpe_jax.network import Network
from dpe_jax.observe import defaults, observe, supported
from dpe_jax.problems import (
    EmpiricalRisk,
    HeldOut,
    Optimum,
    Problem,
    SensorEstimation,
    arrays,
    breast_cancer,
    diabetes,
    digits,
    digits_network,
    fraud,
)
from dpe_jax.problems.digits import network_logits, softmax_logits
from dpe_jax.problems.split import hold_out
from dpe_jax.results import config_hash, load, resolved_toml
from dpe_jax.schedules import PowerLaw
from dpe_jax.simulation import simulate


def hospitals(**keys: Any) -> EmpiricalRisk:
    return breast_cancer(test_fraction=0.2, **keys)


DATASETS: dict[str, Callable[..., EmpiricalRisk]] = {
    "breast-cancer": hospitals,
    "diabetes": diabetes,
    "digits": digits,
    "digits-network": digits_network,
    "fraud": fraud,
}


@pytest.fixture(scope="module")
def made() -> dict[str, EmpiricalRisk]:
    """Every data set with its default settings and exact gradients."""
    return {name: make(batch=None) for name, make in DATASETS.items()}


def pooled(problem: EmpiricalRisk) -> tuple[np.ndarray, np.ndarray]:
    features, targets = problem.data
    return np.asarray(features), np.asarray(targets)


def held_out(problem: EmpiricalRisk) -> HeldOut:
    assert problem.held_out is not None
    return problem.held_out


def scores(problem: EmpiricalRisk, x: np.ndarray) -> dict[str, float]:
    found = score(held_out(problem), x[:, None])
    return {name: float(value[0]) for name, value in found.items()}


@eqx.filter_jit
def score(test: HeldOut, x: np.ndarray) -> dict[str, Any]:
    return test.score(jnp.asarray(x))


@eqx.filter_jit
def slopes(problem: Problem, x: np.ndarray) -> dict[str, Any]:
    """F(x̄) and ‖∇F(x̄)‖, for which no optimum is needed."""
    none = Optimum.none(problem.dim, "not asked for")
    return observe(("objective", "stationarity"), jnp.asarray(x), jnp.asarray(x), problem, none)


# Optima and scores are scikit-learn's


def test_ridge_regression_is_the_closed_form(made) -> None:
    problem, penalty = made["diabetes"], 0.01
    optimum = problem.solve()
    a, y = pooled(problem)
    m = len(y)
    closed = np.linalg.solve(a.T @ a / m + penalty * np.eye(10), a.T @ y / m)
    np.testing.assert_allclose(optimum.x, closed, atol=1e-9)
    model = Ridge(alpha=m * penalty, fit_intercept=False, tol=1e-12).fit(a, y)
    np.testing.assert_allclose(optimum.x, model.coef_, atol=1e-9)
    value = np.mean((a @ closed - y) ** 2) / 2 + penalty * closed @ closed / 2
    np.testing.assert_allclose(optimum.value, value, rtol=1e-12)
    features, targets = held_out(problem).features, held_out(problem).targets
    error = metrics.mean_squared_error(targets, model.predict(features))
    assert scores(problem, optimum.x) == {"error": pytest.approx(error, rel=1e-8)}
    # The unit of the error: predicting the mean of the training targets.
    assert scores(problem, np.zeros(10))["error"] == pytest.approx(np.mean(targets**2), rel=1e-12)


@pytest.mark.parametrize("name", ["fraud", "breast-cancer"])
def test_logistic_regression_is_scikit_learns(name, made) -> None:
    problem = made[name]
    optimum = problem.solve()
    a, y = pooled(problem)
    model = LogisticRegression(
        C=1 / (len(y) * problem.penalty),
        fit_intercept=False,
        solver="newton-cholesky",
        tol=1e-12,
        max_iter=1000,
    ).fit(a, y)
    np.testing.assert_allclose(optimum.x, model.coef_[0], atol=1e-7)
    test = held_out(problem)
    decision = np.asarray(model.decision_function(test.features))
    assert scores(problem, optimum.x) == {
        "accuracy": pytest.approx(model.score(test.features, test.targets), abs=1e-12),
        "auc": pytest.approx(metrics.roc_auc_score(test.targets, decision), abs=1e-12),
        "average_precision": pytest.approx(
            metrics.average_precision_score(test.targets, decision), abs=1e-12
        ),
    }


def test_softmax_regression_is_scikit_learns() -> None:
    problem = digits(batch=None, penalty=0.05)
    optimum = problem.solve()
    assert (problem.dim, optimum.gradient_norm < 1e-10) == (650, True)
    a, y = pooled(problem)
    model = LogisticRegression(
        C=1 / (len(y) * problem.penalty), fit_intercept=False, tol=1e-9, max_iter=5000
    ).fit(a, y)
    # scikit-learn's own gradient is below 1e-9, the curvature at least the penalty of 0.05.
    np.testing.assert_allclose(optimum.x.reshape(10, 65), model.coef_, atol=1e-6)
    test = held_out(problem)
    assert scores(problem, optimum.x)["accuracy"] == pytest.approx(
        model.score(test.features, test.targets), abs=1e-12
    )
    value = metrics.log_loss(y, model.predict_proba(a)) + 0.025 * np.sum(model.coef_**2)
    np.testing.assert_allclose(optimum.value, value, rtol=1e-9)


def test_rank_statistics_with_ties_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(-2, 3, size=(200, 3)).astype(float)
    targets = np.where(features[:, 0] + 2 * rng.normal(size=200) > 1.5, 1.0, -1.0)
    problem = HeldOut(lambda x, a: jnp.dot(a, x), features, targets, "binary")
    # Whole numbers tie often; at x = 0 all scores are alike.
    x = np.column_stack([[0, 0, 0], *rng.integers(-2, 3, size=(40, 3)), [1e-9, 2.0, -0.5]])
    found = {name: np.asarray(value) for name, value in score(problem, x).items()}
    assert set(found) == {"accuracy", "auc", "average_precision"}
    for lane, model in enumerate(x.T):
        decision = features @ model
        expected = {
            "accuracy": np.mean(np.where(decision > 0, 1, -1) == targets),
            "auc": metrics.roc_auc_score(targets, decision),
            "average_precision": metrics.average_precision_score(targets, decision),
        }
        for name, value in expected.items():
            assert found[name][lane] == pytest.approx(value, abs=1e-12)
    assert found["auc"][0] == pytest.approx(0.5, abs=1e-15)
    opposite = score(problem, -x)["auc"]
    np.testing.assert_allclose(opposite, 1 - found["auc"], atol=1e-12)
    assert np.ptp(found["auc"]) > 0.3


def test_scores_do_not_depend_on_how_many_lanes_are_held(made, monkeypatch) -> None:
    x = np.random.default_rng(1).normal(size=(21, 7))
    whole = score(held_out(made["fraud"]), x)
    monkeypatch.setattr(arrays, "VALUES_AT_ONCE", 3000)
    jax.clear_caches()
    parts = score(held_out(made["fraud"]), x)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-12)


# Gradients, objective and stationarity


def numpy_softmax(x: np.ndarray, a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient of every sample, by hand."""
    logits = a @ x.reshape(10, -1).T
    loss, pull = numpy_cross_entropy(logits, y)
    return loss, (pull[:, :, None] * a[:, None, :]).reshape(len(a), -1)


def numpy_network(x: np.ndarray, a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient of every sample by hand: back-propagation through one layer."""
    hidden = (len(x) - 10) // 75
    W, rest = x[: 64 * hidden].reshape(hidden, 64), x[64 * hidden :]
    b, V, c = rest[:hidden], rest[hidden:-10].reshape(10, hidden), rest[-10:]
    units = 1 / (1 + np.exp(-(a @ W.T + b)))
    loss, pull = numpy_cross_entropy(units @ V.T + c, y)
    back = (pull @ V) * units * (1 - units)
    parts = (
        back[:, :, None] * a[:, None, :],
        back,
        pull[:, :, None] * units[:, None, :],
        pull,
    )
    return loss, np.concatenate([part.reshape(len(a), -1) for part in parts], axis=1)


def numpy_cross_entropy(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return -np.log(shares[np.arange(len(y)), y]), shares - np.eye(10)[y]


def numpy_squares(x: np.ndarray, a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    residual = a @ x - y
    return residual**2 / 2, residual[:, None] * a


def numpy_logistic(x: np.ndarray, a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    margin = y * (a @ x)
    return np.log1p(np.exp(-margin)), -(y / (1 + np.exp(margin)))[:, None] * a


BY_HAND = {
    "diabetes": numpy_squares,
    "digits": numpy_softmax,
    "digits-network": numpy_network,
    "fraud": numpy_logistic,
}


def agents_costs(problem: EmpiricalRisk, name: str, x: np.ndarray) -> list[Any]:
    """Loss and gradient of every sample of each agent at x [agents, dim]."""
    a, y = pooled(problem)
    ends = np.cumsum(problem.sizes)[:-1]
    parts = zip(x, np.split(a, ends), np.split(y, ends), strict=True)
    return [BY_HAND[name](point, *own) for point, *own in parts]


@pytest.mark.parametrize("name", BY_HAND)
def test_gradients_are_those_by_hand(name, made) -> None:
    problem = made[name]
    x = np.random.default_rng(2).normal(size=(5, problem.dim, 2)) / 4
    g = np.asarray(gradient(problem, x))
    for lane in range(2):
        costs = agents_costs(problem, name, x[..., lane])
        for i, (_, each) in enumerate(costs):
            share = 5 * problem.sizes[i] / problem.sizes.sum()
            expected = share * each.mean(0) + problem.penalty * x[i, :, lane]
            np.testing.assert_allclose(g[i, :, lane], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("values", [2**22, 2**10])
def test_objective_and_stationarity_are_those_by_hand(name, values, made, monkeypatch) -> None:
    # With room for fewer values lanes come one after the other.
    monkeypatch.setattr(arrays, "VALUES_AT_ONCE", values)
    jax.clear_caches()
    problem = made[name]
    a, y = pooled(problem)
    x = np.random.default_rng(3).normal(size=(5, problem.dim, 3)) / 4
    got = slopes(problem, x)
    for lane in range(3):
        mean = x[..., lane].mean(0)
        loss, each = BY_HAND[name](mean, a, y)
        F = loss.mean() + problem.penalty * mean @ mean / 2
        slope = np.linalg.norm(each.mean(0) + problem.penalty * mean)
        np.testing.assert_allclose(got["objective"][lane], F, rtol=1e-12)
        np.testing.assert_allclose(got["stationarity"][lane], slope, rtol=1e-9)


@pytest.mark.parametrize("name", ["digits", "digits-network"])
def test_gradients_are_slopes(name, made) -> None:
    problem = made[name]
    rng = np.random.default_rng(4)
    x, direction = rng.normal(size=(2, problem.dim, 1)) / 4
    mean = np.mean(gradient(problem, np.broadcast_to(x, (5, *x.shape))), axis=0)
    h = 1e-5
    rise = objective(problem, x + h * direction) - objective(problem, x - h * direction)
    slope = float(rise[0]) / (2 * h)
    assert float(np.sum(mean * direction)) == pytest.approx(slope, rel=1e-7)
    assert abs(float(np.sum(mean * direction)) * 1.01 - slope) > 1e-4 * abs(slope)


@pytest.mark.parametrize("name", BY_HAND)
def test_minibatch_gradients_are_unbiased(name, made) -> None:
    lanes = 1024
    exact = made[name]
    problem = DATASETS[name](batch=8)
    x = np.random.default_rng(5).normal(size=(5, problem.dim)) / 4
    g = np.asarray(gradient(problem, np.repeat(x[..., None], lanes, axis=2)))
    expected = np.asarray(gradient(exact, x[..., None]))[..., 0]
    # Along fixed directions, where the central limit holds even if a pixel is hardly ever dark.
    along = np.random.default_rng(6).choice([-1.0, 1.0], size=(40, problem.dim))
    drawn, wanted = np.einsum("nd,idl->nil", along, g), expected @ along.T
    error = drawn.std(-1) / np.sqrt(lanes)

    def deviation(factor: float) -> float:
        return float(np.max(np.abs(factor * drawn.mean(-1) - wanted.T) / (factor * error)))

    assert deviation(1.0) < 5.0
    for wrong in (2 / 3, 1.5):
        assert deviation(wrong) > 5.0


def test_precision_reaches_data_and_test_set() -> None:
    problem = fraud()
    single = problem.with_dtype(jnp.dtype("float32"))
    assert held_out(single).features.dtype == np.float32
    assert held_out(problem).features.dtype == np.float64
    assert held_out(single).positives == held_out(problem).positives
    assert single.describe() == problem.describe()
    x = np.random.default_rng(7).normal(size=(21, 4))
    exact = score(held_out(problem), x)["auc"]
    rough = score(held_out(single), x.astype(np.float32))["auc"]
    np.testing.assert_allclose(rough, exact, atol=1e-4)
    digit = digits().with_dtype(jnp.dtype("float32"))
    assert held_out(digit).targets.dtype == np.int64


# A network of units has no optimum


def test_no_optimum_is_pretended() -> None:
    problem = digits_network()
    optimum = problem.solve()
    assert optimum.method == "none: F is not convex"
    assert np.isnan(optimum.value)
    assert np.all(np.isnan(optimum.x))
    assert defaults(problem) == (
        *("consensus_error", "quantization_error"),
        *("objective", "stationarity", "test_accuracy"),
    )
    with pytest.raises(InputError, match=r"^metrics = 'gap_agents': .*no optimum"):
        simulate(METHOD, problem, NETWORK, runs=1, iterations=1, metrics=("gap_agents",))


METHOD = EncryptedDSGD(PowerLaw(1.0, 0.6), PowerLaw(2.0, 0.9))


def test_metrics_are_those_that_a_problem_has() -> None:
    classical = (
        *("gap_mean_state", "gap_agents", "error_worst_agent", "error_mean_state"),
        *("consensus_error", "quantization_error"),
    )
    assert defaults(breast_cancer()) == classical
    ranked = ("test_accuracy", "test_auc", "test_average_precision")
    cheap = tuple(metric for metric in classical if metric != "gap_agents")
    assert defaults(fraud()) == (*cheap, *ranked)
    assert defaults(diabetes()) == (*cheap, "test_error")
    assert supported(digits()) == (*classical, "objective", "stationarity", "test_accuracy")
    with pytest.raises(InputError, match=r"^metrics = 'test_auc': .*no such test"):
        simulate(METHOD, digits(), NETWORK, runs=1, iterations=1, metrics=("test_auc",))
    with pytest.raises(InputError, match=r"^metrics = 'test_error': .*no such test"):
        simulate(METHOD, breast_cancer(), NETWORK, runs=1, iterations=1, metrics=("test_error",))


def test_a_network_starts_where_its_units_differ() -> None:
    problem = digits_network(hidden=4, seed=3)
    assert problem.dim == 310
    start = problem.start
    assert (np.abs(start) <= 0.5).all()
    assert np.abs(start).max() > 0.45
    np.testing.assert_array_equal(digits_network(hidden=4, seed=3).start, start)
    assert not np.array_equal(digits_network(hidden=4, seed=4).start, start)
    settings: dict[str, Any] = {
        "runs": 2,
        "iterations": 1,
        "points": 2,
        "metrics": ("consensus_error",),
    }
    result = simulate(METHOD, problem, NETWORK, **settings)
    np.testing.assert_array_equal(result.simulation.start, np.broadcast_to(start, (5, 310)))
    zeros = simulate(METHOD, problem, NETWORK, x0=np.zeros(310), **settings)
    assert not zeros.simulation.start.any()
    # From 0 all hidden units move alike, whatever the minibatch.
    W = np.asarray(gradient(problem, np.zeros((5, 310, 3))))[:, : 64 * 4].reshape(5, 4, 64, 3)
    np.testing.assert_array_equal(W, W[:, :1] * np.ones((1, 4, 1, 1)))
    moved = np.asarray(gradient(problem, np.broadcast_to(start[:, None], (5, 310, 3))))
    assert not np.allclose(moved[:, :64], moved[:, 64:128])


def test_logits_are_those_by_hand() -> None:
    rng = np.random.default_rng(8)
    a, x = rng.normal(size=64), rng.normal(size=310)
    W, b, V, c = x[:256].reshape(4, 64), x[256:260], x[260:300].reshape(10, 4), x[300:]
    by_hand = V @ (1 / (1 + np.exp(-(W @ a + b)))) + c
    np.testing.assert_allclose(network_logits(jnp.asarray(x), jnp.asarray(a)), by_hand, rtol=1e-12)
    V = rng.normal(size=(10, 64))
    got = softmax_logits(jnp.asarray(V.ravel()), jnp.asarray(a))
    np.testing.assert_allclose(got, V @ a, rtol=1e-12)


# How samples are divided


def test_a_test_set_is_stratified_and_fixed_by_the_seed() -> None:
    labels = np.repeat([0, 1, 2], [100, 37, 5])
    training, test = hold_out(labels, 0.2, seed=1)
    assert np.array_equal(np.sort(np.concatenate([training, test])), np.arange(142))
    assert np.bincount(labels[test]).tolist() == [20, 7, 1]
    np.testing.assert_array_equal(hold_out(labels, 0.2, seed=1)[1], test)
    assert not np.array_equal(hold_out(labels, 0.2, seed=2)[1], test)
    training, test = hold_out(labels, 0.0, seed=1)
    assert (len(training), len(test)) == (142, 0)
    # Every sample is as likely as any other of its class to be held out.
    held = np.zeros(142)
    for seed in range(400):
        held[hold_out(labels, 0.2, seed=seed)[1]] += 1
    share = np.repeat([0.2, 7 / 37, 0.2], [100, 37, 5])
    error = np.sqrt(400 * share * (1 - share))
    assert np.max(np.abs(held - 400 * share) / error) < 5
    assert np.max(np.abs(held - 400 * 1.5 * share) / error) > 5


def rows(*blocks: np.ndarray) -> np.ndarray:
    """The rows of some matrices, sorted."""
    both = np.concatenate(blocks)
    return both[np.lexsort(both.T)]


@pytest.mark.parametrize("split", ["equal", "dirichlet"])
@pytest.mark.parametrize("name", DATASETS)
def test_agents_and_test_set_partition_the_data(name, split) -> None:
    problem = DATASETS[name](split=split, concentration=0.5, seed=2)
    described = problem.describe()
    json.dumps(described, allow_nan=False)
    test = held_out(problem)
    total = {"breast-cancer": 569, "diabetes": 442, "fraud": 4000}.get(name, 1797)
    assert sum(described["samples"]) + described["test"]["samples"] == total
    assert (max(described["samples"]) - min(described["samples"]) <= 1) == (split == "equal")
    assert ("concentration" in described) == (split == "dirichlet")
    a, y = pooled(problem)
    if name.startswith("digits"):
        images: Any = datasets.load_digits()
        own, other = a[:, :64], np.asarray(test.features)[:, :64]
        everything = np.column_stack([images["data"] / 16, images["target"]])
        found = rows(np.column_stack([own, y]), np.column_stack([other, test.targets]))
        np.testing.assert_array_equal(found, rows(everything))
        counts = np.array(described["classes"])
        np.testing.assert_array_equal(counts.sum(1), described["samples"])
        np.testing.assert_array_equal(counts.sum(0), np.bincount(y))
        assert described["test"]["classes"]["3"] == np.sum(test.targets == 3)
        return
    columns = slice(0, 10) if name == "diabetes" else slice(0, -1)
    # Standardised on the training data alone.
    np.testing.assert_allclose(a[:, columns].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(a[:, columns].std(0), 1, rtol=1e-12)
    assert np.abs(np.asarray(test.features)[:, columns].mean(0)).max() > 1e-3
    groups = {
        "breast-cancer": ("malignant", "benign"),
        "fraud": ("sound", "fraud"),
    }.get(name)
    if groups:
        for label, group in zip((-1, 1), groups, strict=True):
            assert sum(described[group]) == np.sum(y == label)
        both = np.sum([described[group] for group in groups], axis=0)
        np.testing.assert_array_equal(both, described["samples"])
        assert described["test"]["classes"] == {
            "-1": np.sum(test.targets == -1),
            "1": np.sum(test.targets == 1),
        }
    else:
        fifths = np.array(described["target_fifths"])
        np.testing.assert_array_equal(fifths.sum(1), described["samples"])
        # Fifths up to patients of equal progression.
        assert np.ptp(fifths.sum(0)) <= 3


def test_the_risk_does_not_depend_on_the_split() -> None:
    x = np.random.default_rng(9).normal(size=(650, 2)) / 4
    base = objective(digits(), x)
    for other in (digits(split="dirichlet", concentration=0.3), digits(9)):
        np.testing.assert_allclose(objective(other, x), base, rtol=1e-12)
    assert not np.allclose(objective(digits(seed=1), x), base, rtol=1e-6)


def test_a_test_set_leaves_the_rest_of_the_hospitals_alone() -> None:
    problem = breast_cancer(split="dirichlet", seed=3)
    assert problem.held_out is None
    assert "test" not in problem.describe()
    raw: Any = datasets.load_breast_cancer()
    a = (raw["data"] - raw["data"].mean(0)) / raw["data"].std(0)
    np.testing.assert_array_equal(
        rows(np.asarray(problem.data[0])), rows(np.column_stack([a, np.ones(569)]))
    )


def test_fraud_is_rare_and_decided_by_its_seed() -> None:
    problem = fraud(seed=4)
    a, y = pooled(problem)
    test = held_out(problem)
    assert 0.015 < np.mean(np.concatenate([y, test.targets]) > 0) < 0.03
    assert a.shape == (3000, 21)
    again = fraud(seed=4)
    np.testing.assert_array_equal(pooled(again)[0], a)
    assert not np.array_equal(pooled(fraud(seed=5))[0], a)
    # scikit-learn takes 32 bits of a seed, a configuration 63.
    assert not np.array_equal(pooled(fraud(seed=4 + 2**32))[0], a)


@pytest.mark.parametrize(
    ("name", "changed", "match"),
    [
        ("digits", {"penalty": 0.0}, "^penalty"),
        ("digits", {"test_fraction": 1.0}, "^test_fraction"),
        ("digits", {"test_fraction": 0.001}, "^test_fraction .*a share of each class"),
        ("digits", {"split": "even"}, "^split"),
        ("digits", {"agents": 1500}, "^agents"),
        ("digits-network", {"hidden": 0}, "^hidden"),
        ("diabetes", {"test_fraction": -0.1}, "^test_fraction"),
        ("diabetes", {"concentration": 0.0, "split": "dirichlet"}, "^concentration"),
        ("fraud", {"positive": 1.0}, "^positive"),
        ("fraud", {"samples": 10}, "^(positive|test_fraction)"),
        ("fraud", {"samples": 1}, "^samples"),
        ("fraud", {"penalty": 0.0}, "^penalty"),
    ],
)
def test_refusals_name_the_argument(name, changed, match) -> None:
    with pytest.raises(InputError, match=match):
        DATASETS[name](**changed)


@pytest.mark.parametrize(
    ("targets", "kind", "match"),
    [
        (np.ones(3), "binary", "both of -1"),
        (np.array([0.0, 1.0, 1.0]), "binary", "both of -1"),
        (np.array([0.5, 1.0, 2.0]), "classes", "class numbers"),
        (np.array([-1, 0, 1]), "classes", "class numbers"),
        (np.ones(2), "values", "one target for each"),
    ],
)
def test_test_sets_are_checked(targets, kind, match) -> None:
    with pytest.raises(InputError, match=match):
        HeldOut(lambda x, a: a @ x, np.ones((3, 2)), targets, kind)


def test_a_test_set_of_ones_own_loss() -> None:
    rng = np.random.default_rng(10)
    a, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    test = HeldOut(lambda x, a: jnp.dot(a, x), a[20:], y[20:], "values")
    problem = EmpiricalRisk(
        lambda x, s: (jnp.dot(s[0], x) - s[1]) ** 2,
        [(a[4 * i : 4 * i + 4], y[4 * i : 4 * i + 4]) for i in range(5)],
        dim=3,
        start=np.array([1.0, 0.0, -1.0]),
        test=test,
    )
    result = simulate(METHOD, problem, NETWORK, runs=2, iterations=2, metrics=("test_error",))
    first = np.mean((a[20:] @ [1.0, 0.0, -1.0] - y[20:]) ** 2)
    np.testing.assert_allclose(result.curves.test_error.values[0, 0], first, rtol=1e-6)
    with pytest.raises(InputError, match=r"^start"):
        EmpiricalRisk(lambda x, s: s * x[0], [np.ones(2)], dim=1, start=np.ones(2))


# Sensors with a layout


def test_links_are_those_within_the_radius() -> None:
    network = Network.geometric(12, 0.45, seed=4)
    positions = network.positions
    assert positions is not None
    assert positions.shape == (12, 2)
    assert ((positions >= 0) & (positions < 1)).all()
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    near = (distance <= 0.45) & ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(network.coupling > 0, near)
    assert network.summary()["positions"] == positions.tolist()
    np.testing.assert_array_equal(network.scaled(0.5).positions, positions)
    assert "positions" not in Network.ring(5).summary()
    with pytest.raises(InputError, match="connected"):
        Network.geometric(12, 0.05, seed=4)
    with pytest.raises(InputError, match=r"^radius"):
        Network.geometric(12, float("inf"), seed=4)


def test_sensors_measure_where_they_are() -> None:
    positions = Network.geometric(12, 0.45, seed=4).positions
    assert positions is not None
    problem = SensorEstimation.of_sources(positions, side=2, reach=0.3, seed=5, disturbance=0.0)
    sources = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    M = np.array(
        [
            [np.exp(-((p[0] - s) ** 2 + (p[1] - t) ** 2) / (2 * 0.3**2)) for s, t in sources]
            for p in positions
        ]
    )
    np.testing.assert_allclose(problem.M[:, 0], M, rtol=1e-12)
    assert (problem.agents, problem.rows, problem.dim) == (12, 1, 4)
    # Without disturbance the measurements have one common cause, which ω alone biases.
    theta, *_ = np.linalg.lstsq(M, np.asarray(problem.z)[:, 0])
    np.testing.assert_allclose(M @ theta, np.asarray(problem.z)[:, 0], atol=1e-12)
    expected = np.linalg.solve(M.T @ M + 12 * 0.01 * np.eye(4), M.T @ np.asarray(problem.z)[:, 0])
    np.testing.assert_allclose(problem.solve().x, expected, rtol=1e-10)
    assert np.linalg.matrix_rank(M[:1]) == 1
    wrong: dict[str, Any] = {"side": 0, "reach": 0.0, "disturbance": -1.0}
    for argument, value in wrong.items():
        with pytest.raises(InputError, match=f"^{argument}"):
            SensorEstimation.of_sources(positions, **{argument: value})


# Increments computed a second time


def test_increments_are_known_for_regression_and_not_for_digits(monkeypatch) -> None:
    problem = diabetes(split="dirichlet")
    settings: dict[str, Any] = {
        "runs": 2,
        "iterations": 25,
        "trace": (1,),
        "metrics": (),
        "points": 2,
    }
    result = simulate(METHOD, problem, NETWORK, precision="float64", **settings)
    trace = result.traces["EncryptedDSGD"]
    scale = METHOD.table(NETWORK, np.arange(25)).increment_scale
    part = recompute.Segment(1, 0, trace.state[0, :-1], trace.increment[0], np.asarray(scale))

    def difference(of: Problem, method: EncryptedDSGD = METHOD) -> float:
        found = recompute.compare(of, method, [part], 0, "float64")
        assert found is not None
        return found.largest_relative

    assert difference(problem) < 1e-6
    assert difference(diabetes(split="dirichlet", penalty=0.011)) > 1e-5
    for other in (digits(), digits_network()):
        reason = recompute.unsupported(other, METHOD)
        assert reason is not None
        assert "_loss" in reason
    assert recompute.unsupported(fraud(), METHOD) is None


def test_one_compilation_serves_every_split(caplog) -> None:
    jax.clear_caches()
    settings: dict[str, Any] = {"runs": 2, "iterations": 2, "points": 2, "metrics": ("test_error",)}
    simulate(METHOD, diabetes(), NETWORK, **settings)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        simulate(METHOD, diabetes(seed=1), NETWORK, **settings)
    assert not [r for r in caplog.records if "_advance" in r.getMessage()]


# Configurations

GEOMETRIC = {"graph": "geometric", "agents": 8, "radius": 0.6, "seed": 1}
SOURCES = {"kind": "sources", "side": 2, "seed": 0, "noise": 0.1, "omega": 0.01}
TINY = {"runs": 6, "iterations": 5, "record": {"points": 3}, "block": 6}
CONFIGS: dict[str, dict[str, Any]] = {
    "digits": {"problem": {"kind": "digits", "split": "dirichlet"}},
    "digits-network": {"problem": {"kind": "digits-network", "hidden": 3}},
    "diabetes": {"problem": {"kind": "diabetes", "penalty": 0.1}},
    "sources": {"problem": SOURCES, "network": GEOMETRIC},
    "fraud": {"problem": {"kind": "fraud", "samples": 1000, "positive": 0.1}},
    "breast-cancer": {"problem": {"kind": "breast-cancer", "test_fraction": 0.25}},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_survive_their_resolved_file(name) -> None:
    first = parse(tables(CONFIGS[name]))
    again = parse(tomllib.loads(resolved_toml(first)))
    assert again == first
    assert config_hash(again) == config_hash(first)
    one, two = first.build(), again.build()
    assert one.problem.describe() == two.problem.describe()
    assert one.observed == defaults(one.problem)
    keys = {key: value for key, value in CONFIGS[name]["problem"].items() if key != "kind"}
    described = one.problem.describe()
    for key in ("hidden", "penalty"):
        assert described.get(key) == keys.get(key, described.get(key))
    if name == "fraud":
        assert sum(described["samples"]) + described["test"]["samples"] == 1000


BAD: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    (
        {"problem": {"kind": "digits", "penalty": 0}},
        ("problem.penalty", "0.0", "positive"),
    ),
    (
        {"problem": {"kind": "digits", "test_fraction": 1}},
        ("problem.test_fraction", "1", "less than 1"),
    ),
    (
        {"problem": {"kind": "digits", "test_fraction": 0.0001}},
        ("problem.test_fraction", "0.0001", "each class"),
    ),
    (
        {"problem": {"kind": "digits", "hidden": 3}},
        ("problem.hidden", "3", "one of the keys split, concentration, seed, batch, kind"),
    ),
    (
        {"problem": {"kind": "digits", "split": "even"}},
        ("problem.split", "'even'", "'equal' or 'dirichlet'"),
    ),
    (
        {"problem": {"kind": "digits-network", "hidden": 10**8}},
        ("problem.hidden", "100000000", "at most 268435456 numbers"),
    ),
    (
        {"problem": {"kind": "digits-network"}, "record.metrics": ["gap_mean_state"]},
        ("record.metrics", "'gap_mean_state'", "no optimum of this problem is known"),
    ),
    (
        {"problem": {"kind": "diabetes"}, "record.metrics": ["test_auc"]},
        ("record.metrics", "'test_auc'", "no such test"),
    ),
    (
        {"record.metrics": ["objective", "test_accuracy"]},
        ("record.metrics", "'test_accuracy'", "no such test"),
    ),
    ({"problem": {"kind": "fraud", "positive": 0}}, ("problem.positive", "0", "greater than 0")),
    (
        {"problem": {"kind": "fraud", "samples": 20}},
        ("problem.", "", "class"),
    ),
    ({"problem": SOURCES}, ("problem.kind", "'sources'", "graph = 'geometric'")),
    (
        {"problem": {**SOURCES, "side": 10**6}, "network": GEOMETRIC},
        ("problem.side", "1000000", "at most 268435456 numbers"),
    ),
    (
        {"problem": SOURCES, "network": {**GEOMETRIC, "radius": 0.1}},
        ("network (connected components", "", "connected graph"),
    ),
    (
        {"network": {"graph": "geometric", "agents": 5, "seed": 0}},
        ("network.radius", "None", "graph 'geometric' needs agents, radius, seed"),
    ),
    (
        {"network": {"graph": "ring", "agents": 5, "radius": 0.5}},
        ("network.radius", "0.5", "no such key"),
    ),
]


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=lambda v: str(v)[:60])
def test_a_bad_key_is_refused_in_one_line(changes, expected, tmp_path, capsys) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(tomli_w.dumps(tables(changes)), encoding="utf-8")
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    name, shown, accepted = expected
    assert line.startswith(f"dpe: {name}")
    head, _, tail = line.partition(": expected ")
    assert shown in head
    assert accepted in tail
    assert not (tmp_path / "out").exists()


FIGURES = {
    "digits": {"objective", "errors", "quantization", "test"},
    "digits-network": {"stationarity", "errors", "quantization", "test"},
    "diabetes": {"objective", "errors", "quantization", "test"},
    "sources": {"objective", "errors", "quantization"},
    "fraud": {"objective", "errors", "quantization", "test"},
    "breast-cancer": {"objective", "errors", "quantization", "test"},
}
SLOW = ("digits", "diabetes", "fraud", "breast-cancer")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CONFIGS]
)
def test_every_problem_runs_from_file_to_figures(name, tmp_path: Path, capsys) -> None:
    path, out = tmp_path / "tiny.toml", tmp_path / "out"
    changes = {**TINY, **CONFIGS[name], "trace": [0], "checks": {"gap_fraction": 10.0}}
    if name == "digits-network":
        changes["checks"] = {}
    written = tables(changes)
    written["methods"] = {"m": ENCRYPTED}
    path.write_text(tomli_w.dumps(written), encoding="utf-8")
    assert main(["run", str(path), "--out", str(out), "--check"]) == 0
    shown = capsys.readouterr().out
    stored = load(out)
    assert {file.stem for file in (out / "figures").iterdir()} == FIGURES[name]
    simulation = stored.config.build()
    for metric in simulation.observed:
        assert np.isfinite(stored.curves[metric].values).all()
        for method in stored.summary["methods"].values():
            if metric != "quantization_error":
                assert np.isfinite(method["final"][metric]["mean"])
    assert ("on the test set" in shown) == (name != "sources")
    assert stored.manifest["problem"] == simulation.problem.describe()
    if name == "sources":
        positions = simulation.network.positions
        assert positions is not None
        assert stored.manifest["network"]["positions"] == positions.tolist()
    else:
        assert sum(stored.manifest["problem"]["samples"]) > 0
    known = name != "digits-network"
    assert (stored.summary["minimum"] is not None) == known
    assert (stored.manifest["optimum"]["x"] is not None) == known
    assert stored.manifest["optimum"]["method"].startswith("none") != known


def test_curves_are_those_of_the_final_states() -> None:
    settings: dict[str, Any] = {"runs": 3, "iterations": 4, "points": 2, "block": 3}
    problem = digits_network(hidden=2)
    result = simulate(METHOD, problem, NETWORK, **settings)
    mean = result.curves.final_state.values[0].mean(0)
    a, y = pooled(problem)
    test = held_out(problem)
    for lane in range(3):
        loss, each = numpy_network(mean[:, lane], a, y)
        last = result.curves.isel(algorithm=0, iteration=-1, run=lane)
        np.testing.assert_allclose(last.objective, loss.mean(), rtol=1e-6)
        slope = np.linalg.norm(each.mean(0))
        np.testing.assert_allclose(last.stationarity, slope, rtol=1e-6)
        logits = [network_logits(jnp.asarray(mean[:, lane]), jnp.asarray(s)) for s in test.features]
        right = np.mean(np.argmax(logits, axis=1) == test.targets)
        np.testing.assert_allclose(last.test_accuracy, right, rtol=1e-6)


def test_gap_checks_say_that_there_is_no_optimum(tmp_path) -> None:
    asked = config({**TINY, **CONFIGS["digits-network"], "checks": {"gap_fraction": 0.5}})
    with pytest.raises(InputError, match=r"^checks\.gap_fraction"):
        asked.build()


@pytest.mark.parametrize("make", [fraud, digits])
def test_a_model_that_is_not_a_number_has_no_score(make) -> None:
    problem = make(3)
    assert problem.held_out is not None
    x = np.zeros((problem.dim, 2))
    x[:, 1] = np.nan
    for name, (sound, lost) in problem.held_out.score(jnp.asarray(x)).items():
        assert np.isfinite(sound), name
        assert np.isnan(lost), name
