"""How samples are divided over agents and test sets, and what is refused."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import NETWORK, objective
from samples import DATASETS, METHOD, held_out, pooled
from sklearn import datasets

from dpe_jax.errors import InputError
from dpe_jax.problems import (
    EmpiricalRisk,
    HeldOut,
    breast_cancer,
    diabetes,
    digits,
    fraud,
)
from dpe_jax.problems.split import hold_out
from dpe_jax.study import simulate


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
        ("digits", {"agents": 1800}, "^agents"),
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


def test_one_compilation_serves_every_split(caplog) -> None:
    jax.clear_caches()
    settings: dict[str, Any] = {"runs": 2, "iterations": 2, "points": 2, "metrics": ("test_error",)}
    with jax.log_compiles(), caplog.at_level("WARNING"):
        simulate(METHOD, diabetes(), NETWORK, **settings)
        assert [r for r in caplog.records if "_advance" in r.getMessage()]
        caplog.clear()
        simulate(METHOD, diabetes(seed=1), NETWORK, **settings)
    assert not [r for r in caplog.records if "_advance" in r.getMessage()]
