"""Empirical risk, against NumPy and scikit-learn."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import gradient, objective

from dpe_jax.errors import InputError, OptimumError
from dpe_jax.problems import EmpiricalRisk, arrays, breast_cancer, reference

pytestmark = pytest.mark.slow  # together over 20 s


def user_loss(x, sample):
    """Least squares with one intercept a group; the group is an integer of the sample."""
    predicted = jnp.dot(sample["features"], x[:2]) + x[2 + sample["group"]]
    return (predicted - sample["target"]) ** 2


def user_data(sizes=(3, 7, 4), seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "features": rng.normal(size=(size, 2)),
            "group": np.arange(size) % 2,
            "target": rng.normal(size=size),
        }
        for size in sizes
    ]


def numpy_costs(x, entry):
    """Loss and gradient of every sample of one agent, by hand."""
    design = np.column_stack([entry["features"], np.eye(2)[entry["group"]]])
    residual = design @ x - entry["target"]
    return residual**2, 2 * residual[:, None] * design


def scales(data, weighting):
    sizes = np.array([len(entry["target"]) for entry in data])
    return len(data) * sizes / sizes.sum() if weighting == "samples" else np.ones(len(data))


@pytest.mark.parametrize("weighting", ["samples", "agents"])
@pytest.mark.parametrize("lanes_at_once", [1000, 2])
def test_own_loss_against_numpy(weighting, lanes_at_once, monkeypatch):
    data, penalty = user_data(), 0.3
    monkeypatch.setattr(arrays, "VALUES_AT_ONCE", lanes_at_once * 21)
    problem = EmpiricalRisk(user_loss, data, dim=4, weighting=weighting, penalty=penalty)
    assert problem.data["group"].dtype.kind == "i"
    x = np.random.default_rng(1).normal(size=(3, 4, 5))
    g = np.asarray(gradient(problem, x))
    F = np.asarray(objective(problem, x))
    assert g.shape == x.shape
    assert F.shape == (3, 5)
    scale = scales(data, weighting)
    for lane in range(5):
        for i in range(3):
            point = x[i, :, lane]
            own = scale[i] * numpy_costs(point, data[i])[1].mean(0) + penalty * point
            np.testing.assert_allclose(g[i, :, lane], own, rtol=1e-12)
            means = [numpy_costs(point, entry)[0].mean() for entry in data]
            value = np.mean(scale * means) + penalty * point @ point / 2
            np.testing.assert_allclose(F[i, lane], value, rtol=1e-12)
    if weighting == "samples":
        pooled = np.concatenate([numpy_costs(x[0, :, 0], entry)[0] for entry in data]).mean()
        point = x[0, :, 0]
        np.testing.assert_allclose(F[0, 0], pooled + penalty * point @ point / 2, rtol=1e-12)


@pytest.mark.parametrize("weighting", ["samples", "agents"])
def test_gradient_is_the_slope_of_each_agents_cost(weighting):
    data = user_data()
    problem = EmpiricalRisk(user_loss, data, dim=4, weighting=weighting, penalty=0.3)
    x = np.random.default_rng(2).normal(size=(3, 4, 1))
    g = np.asarray(gradient(problem, x))
    h, scale = 1e-5, scales(data, weighting)
    for i in range(3):
        risk = EmpiricalRisk(user_loss, data[i : i + 1], dim=4)

        def cost(point, risk=risk, i=i):
            mean = float(objective(risk, point)[0])
            return scale[i] * mean + 0.15 * float(np.sum(point**2))

        for c in range(4):
            step = np.zeros((4, 1))
            step[c] = h
            slope = (cost(x[i] + step) - cost(x[i] - step)) / (2 * h)
            np.testing.assert_allclose(g[i, c, 0], slope, rtol=1e-7, atol=1e-8)


def test_minibatch_gradient_is_unbiased():
    data, lanes = user_data(), 8192
    problem = EmpiricalRisk(user_loss, data, 2, dim=4, penalty=0.3)
    x = np.full((3, 4, lanes), 2.0)
    g = np.asarray(gradient(problem, x))
    scale = scales(data, "samples")
    exact = np.array(
        [scale[i] * numpy_costs(x[i, :, 0], data[i])[1].mean(0) + 0.6 for i in range(3)]
    )
    error = g.std(-1) / np.sqrt(lanes)

    def deviation(factor):
        return np.max(np.abs(factor * g.mean(-1) - exact) / (factor * error))

    assert deviation(1.0) < 5.0
    for wrong in (2 / 3, 1.5):
        assert deviation(wrong) > 5.0


def test_minibatch_gradient_has_the_variance_of_its_batch():
    data, lanes = user_data((9, 5)), 20_000
    x = np.full((2, 4, lanes), 0.5)
    for batch in (1, 6):
        problem = EmpiricalRisk(user_loss, data, batch, dim=4, weighting="agents")
        g = np.asarray(gradient(problem, x))
        for i in range(2):
            each = numpy_costs(x[i, :, 0], data[i])[1]
            squares = (g[i] - each.mean(0)[:, None]) ** 2
            error = squares.std(-1) / np.sqrt(lanes)
            expected = each.var(0) / batch
            assert np.max(np.abs(squares.mean(-1) - expected) / error) < 5.0
            for wrong in (2 / 3, 1.5):
                assert np.max(np.abs(squares.mean(-1) - wrong * expected) / error) > 5.0


def test_every_own_sample_and_no_other_is_drawn():
    # The gradient of this loss is the sample itself, so it shows what was drawn.
    sizes, lanes = (3, 11, 1), 4096
    data = [100.0 * i + np.arange(size) for i, size in enumerate(sizes)]
    problem = EmpiricalRisk(lambda x, s: s * x[0], data, 1, dim=1, weighting="agents")
    x = jnp.zeros((3, 1, lanes))
    drawn = np.asarray(gradient(problem, x))[:, 0]
    for i, size in enumerate(sizes):
        values, counts = np.unique(drawn[i], return_counts=True)
        np.testing.assert_array_equal(values, data[i])
        share = 1 / size
        error = np.sqrt(share * (1 - share) / lanes)
        assert np.all(np.abs(counts / lanes - share) <= 5 * error)


def test_batch_slots_and_times_differ():
    data = [np.arange(1000.0), np.arange(1000.0)]
    problem = EmpiricalRisk(lambda x, s: s * x[0], data, 1, dim=1)
    x = jnp.zeros((2, 1, 64))
    first = np.asarray(gradient(problem, x))
    again = np.asarray(gradient(problem, x))
    later = np.asarray(gradient(problem, x, time=2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == later) < 0.1
    assert np.mean(first[0] == first[1]) < 0.1


def test_dtype():
    problem = EmpiricalRisk(user_loss, user_data(), 2, dim=4, penalty=0.3)
    single = problem.with_dtype(jnp.dtype("float32"))
    assert single.data["features"].dtype == np.float32
    assert single.data["group"].dtype == problem.data["group"].dtype
    x = np.random.default_rng(1).normal(size=(3, 4, 6))
    exact = gradient(problem, x)
    g = gradient(single, x.astype(np.float32))
    assert (exact.dtype, g.dtype) == (jnp.float64, jnp.float32)
    np.testing.assert_allclose(g, exact, rtol=1e-5, atol=1e-5)
    assert single.describe() == problem.describe()


def test_one_compilation_serves_all_data_of_one_loss():
    traces = []

    @eqx.filter_jit
    def traced(problem, x):
        traces.append(None)
        return gradient(problem, x)

    x = jnp.zeros((3, 4, 2))
    results = [
        traced(EmpiricalRisk(user_loss, user_data(sizes, seed), 2, dim=4), x)
        for seed, sizes in enumerate([(3, 7, 4), (3, 7, 4), (6, 6, 2)])
    ]
    assert len(traces) == 1
    assert not np.allclose(results[0], results[1])


def test_optimum_of_own_loss_is_least_squares():
    data = user_data()
    design = np.concatenate([np.column_stack([e["features"], np.eye(2)[e["group"]]]) for e in data])
    target = np.concatenate([e["target"] for e in data])
    x, *_ = np.linalg.lstsq(design, target)
    optimum = EmpiricalRisk(user_loss, data, 2, dim=4).solve()
    assert optimum.gradient_norm < 1e-10
    np.testing.assert_allclose(optimum.x, x, atol=1e-9)
    np.testing.assert_allclose(optimum.value, np.mean((design @ x - target) ** 2), rtol=1e-12)


def test_newton_steps_finish_what_the_line_search_leaves(monkeypatch):
    monkeypatch.setattr(reference, "_ITERATIONS", 4)
    rng = np.random.default_rng(3)
    features, target = rng.normal(size=(50, 3)), rng.normal(size=50)
    problem = EmpiricalRisk(
        lambda x, s: jnp.sqrt(1 + (jnp.dot(s[0], x) - s[1]) ** 2), [(features, target)], dim=3
    )
    optimum = problem.solve()
    assert "Newton" in optimum.method
    residual = features @ optimum.x - target
    slope = np.mean((residual / np.sqrt(1 + residual**2))[:, None] * features, axis=0)
    assert np.linalg.norm(slope) < 1e-10


def test_risk_without_a_minimum_is_refused():
    problem = EmpiricalRisk(lambda x, s: s * x[0], [np.ones(3)], dim=1)
    with pytest.raises(OptimumError, match="penalty"):
        problem.solve()


@pytest.mark.parametrize("split", ["equal", "dirichlet"])
@pytest.mark.parametrize("intercept", [True, False])
def test_breast_cancer_optimum_is_scikit_learns(split, intercept):
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression

    penalty = 0.02
    problem = breast_cancer(split=split, intercept=intercept, penalty=penalty)
    optimum = problem.solve()
    pooled: Any = load_breast_cancer()
    features, target = np.asarray(pooled["data"]), np.asarray(pooled["target"])
    a = (features - features.mean(0)) / features.std(0)
    if intercept:
        a = np.column_stack([a, np.ones(len(a))])
    y = 2.0 * target - 1
    model = LogisticRegression(
        C=1 / (569 * penalty),
        fit_intercept=False,
        solver="newton-cholesky",
        tol=1e-12,
        max_iter=1000,
    ).fit(a, target)
    np.testing.assert_allclose(optimum.x, model.coef_[0], atol=1e-7)

    margin = y * (a @ optimum.x)
    pull = -(a * (y / (1 + np.exp(margin)))[:, None]).mean(0)
    assert np.linalg.norm(pull + penalty * optimum.x) < 1e-10
    assert optimum.gradient_norm < 1e-10
    x = model.coef_[0]
    value = np.mean(np.log1p(np.exp(-y * (a @ x)))) + penalty * x @ x / 2
    np.testing.assert_allclose(optimum.value, value, rtol=1e-10)
    assert float(problem.excess(jnp.asarray(optimum.x[:, None]), optimum)[0]) < 1e-14


def test_breast_cancer_risk_does_not_depend_on_the_split():
    x = jnp.asarray(np.random.default_rng(4).normal(size=(31, 3)))
    problems = [
        breast_cancer(),
        breast_cancer(seed=5),
        breast_cancer(split="dirichlet", concentration=0.3),
        breast_cancer(9, split="dirichlet"),
    ]
    for problem in problems[1:]:
        np.testing.assert_allclose(objective(problem, x), objective(problems[0], x), rtol=1e-13)
        everywhere = jnp.broadcast_to(x, (problem.agents, 31, 3))
        exact = breast_cancer(problem.agents, seed=6, batch=None)
        pooled = np.mean(gradient(exact, everywhere), axis=0)
        slope = jax.grad(lambda x, problem=problem: jnp.sum(objective(problem, x)))(x)
        np.testing.assert_allclose(pooled, slope, rtol=1e-9, atol=1e-12)


def test_breast_cancer_hospitals_partition_the_patients():
    for split in ("equal", "dirichlet"):
        described = breast_cancer(split=split, concentration=0.5, seed=2).describe()
        assert sum(described["samples"]) == 569
        assert sum(described["benign"]) == 357
        assert sum(described["malignant"]) == 212
        both = np.add(described["benign"], described["malignant"])
        np.testing.assert_array_equal(both, described["samples"])
        spread = max(described["samples"]) - min(described["samples"])
        assert (spread <= 1) == (split == "equal")


def test_breast_cancer_minibatch_gradient_is_unbiased():
    lanes = 4096
    problem, exact = breast_cancer(split="dirichlet"), breast_cancer(split="dirichlet", batch=None)
    x = jnp.full((5, 31, lanes), 0.5)
    g = np.asarray(gradient(problem, x))
    expected = np.asarray(gradient(exact, x[..., :1]))[..., 0]
    error = g.std(-1) / np.sqrt(lanes)
    assert np.max(np.abs(g.mean(-1) - expected) / error) < 5.0
    for wrong in (2 / 3, 1.5):
        assert np.max(np.abs(wrong * g.mean(-1) - expected) / (wrong * error)) > 5.0


def quadratic_loss(x, sample):
    return jnp.sum((x - sample) ** 2)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([], "one pytree"),
        (np.ones((2, 3, 2)), "one pytree"),
        ([np.ones((3, 2)), np.ones((0, 2))], "at least one sample"),
        ([(np.ones((3, 2)), np.ones(2))], "same number of samples"),
        ([np.ones((3, 2)), (np.ones((3, 2)),)], "structure"),
        ([np.ones((3, 2)), np.ones((3, 3))], "row shape"),
        ([np.ones((3, 2)), np.ones((3, 2), int)], "kind"),
        ([np.array([[1.0, np.nan]])], "finite"),
        ([1.0], "arrays"),
        ([np.array(["a"])], "floating-point, integer or boolean"),
    ],
)
def test_data_refusals(data, match):
    with pytest.raises(InputError, match=match):
        EmpiricalRisk(quadratic_loss, data, dim=2)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"dim": 3}, "which raised"),
        ({"dim": 0}, "dim"),
        ({"batch": 0}, "batch"),
        ({"weighting": "sizes"}, "weighting"),
        ({"penalty": -0.1}, "penalty"),
        ({"penalty": float("nan")}, "penalty"),
        ({"loss": lambda x, sample: x - sample}, "one real number"),
        ({"loss": lambda x, sample: (x[0], sample)}, "one real number"),
        ({"loss": lambda x, sample: jnp.argmax(x)}, "one real number"),
    ],
)
def test_other_refusals(changed, match):
    good = {"loss": quadratic_loss, "data": [np.ones((3, 2))], "dim": 2}
    EmpiricalRisk(**good)
    with pytest.raises(InputError, match=match):
        EmpiricalRisk(**{**good, **changed})


def test_breast_cancer_refusals():
    with pytest.raises(InputError, match="agents"):
        breast_cancer(570)
    with pytest.raises(InputError, match="split"):
        breast_cancer(split="even")
    with pytest.raises(InputError, match="concentration"):
        breast_cancer(split="dirichlet", concentration=0.0)
    # The classes can be separated: ever larger x gives ever smaller loss.
    with pytest.raises(InputError, match="separable"):
        breast_cancer(penalty=0.0)
