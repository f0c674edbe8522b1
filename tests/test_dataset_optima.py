"""Optima and scores of problems on data sets are scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import held_out, made, pooled, score, scores
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge

from dpe_jax.problems import (
    HeldOut,
    arrays,
    digits,
    fraud,
)

pytestmark = pytest.mark.slow  # together over 20 s


def test_ridge_regression_is_the_closed_form() -> None:
    problem, penalty = made("diabetes"), 0.01
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
def test_logistic_regression_is_scikit_learns(name) -> None:
    problem = made(name)
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


def test_scores_do_not_depend_on_how_many_lanes_are_held(monkeypatch) -> None:
    x = np.random.default_rng(1).normal(size=(21, 7))
    whole = score(held_out(made("fraud")), x)
    monkeypatch.setattr(arrays, "VALUES_AT_ONCE", 3000)
    jax.clear_caches()
    parts = score(held_out(made("fraud")), x)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-12)


@pytest.mark.parametrize("make", [fraud, digits])
def test_a_model_that_is_not_a_number_has_no_score(make) -> None:
    problem = make(3)
    assert problem.held_out is not None
    x = np.zeros((problem.dim, 2))
    x[:, 1] = np.nan
    for name, (sound, lost) in problem.held_out.score(jnp.asarray(x)).items():
        assert np.isfinite(sound), name
        assert np.isnan(lost), name
