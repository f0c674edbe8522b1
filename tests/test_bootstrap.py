"""Intervals and p of the paired bootstrap against plain loops and SciPy."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import GAP, loop, paired, study

from dpe_jax import bootstrap
from dpe_jax.bootstrap import interval, p_value, resampled_means
from dpe_jax.compare import compare


def near(found: tuple[float, float], expected: tuple[float, float], within: float) -> bool:
    """Whether two intervals agree, within a fraction of the width of the expected one."""
    width = expected[1] - expected[0]
    return bool(np.all(np.abs(np.subtract(found, expected)) < within * width))


def test_resampled_means_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).lognormal(size=(40, 5))
    values[3, 1] = values[30:, 2] = np.nan
    expected = loop(values, 1100, lambda drawn: np.nanmean(drawn, axis=0))
    found = resampled_means(values, 1100)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert not np.allclose(found, np.nan_to_num(expected) * 30 / 40, rtol=1e-3)
    # Weights that are too many to keep are the same.
    with monkeypatch.context() as patched:
        patched.setattr(bootstrap, "_MOST_KEPT", 0)
        np.testing.assert_array_equal(resampled_means(values, 1100), found)
    assert not np.array_equal(resampled_means(values, 1100, seed=1), found)
    # Where none of the runs with a value was drawn there is no mean, and the interval is of others.
    lone = np.full((40, 1), np.nan)
    lone[7] = 5.0
    drawn = resampled_means(lone, 400)
    assert 0.2 < np.isnan(drawn).mean() < 0.55
    assert interval(drawn[:, 0]) == (5.0, 5.0)


def test_p_is_that_of_a_plain_loop() -> None:
    d = np.random.default_rng(2).lognormal(size=30) - 1.4
    t = abs(d.mean()) / d.std()
    beyond = loop(d, 700, lambda x: abs(x.mean() - d.mean()) / x.std() >= t)
    columns = np.stack([d, (d - d.mean()) ** 2], axis=1)
    means, squares = resampled_means(columns, 700).T
    found = p_value(float(d.mean()), float(d.var()), means, squares)
    assert found == pytest.approx((1 + beyond.sum()) / 701, abs=1e-12)
    assert 0.05 < found < 0.95


def test_intervals_are_those_of_scipy() -> None:
    x = np.exp(0.3 * paired(2, 90, shift=0.8))
    found = compare(study({GAP: x})).row(GAP, "m1")
    kept = x.astype(np.float64)

    def oracle(statistic: Any, *data: np.ndarray) -> tuple[float, float]:
        done = stats.bootstrap(
            data, statistic, paired=True, vectorized=True, n_resamples=10_000,
            method="percentile", rng=np.random.default_rng(5),
        )  # fmt: skip
        return done.confidence_interval.low, done.confidence_interval.high

    def mean(a: np.ndarray, axis: int = -1) -> Any:
        return a.mean(axis)

    def difference(a: np.ndarray, b: np.ndarray, axis: int = -1) -> Any:
        return a.mean(axis) - b.mean(axis)

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> Any:
        return a.mean(axis) / b.mean(axis)

    for got, expected in (
        (found.interval, oracle(mean, kept[1])),
        (found.difference_interval, oracle(difference, kept[1], kept[0])),
        (found.ratio_interval, oracle(ratio, kept[1], kept[0])),
    ):
        assert got is not None
        # An end of either has a standard error of 0.7 % of the width: four of their difference.
        assert near(got, expected, 0.04)
        middle, half = np.mean(got), np.ptp(got) / 2
        for scale in (2 / 3, 1.5):
            assert not near((middle - scale * half, middle + scale * half), expected, 0.04)
    assert found.mean == pytest.approx(kept[1].mean(), rel=1e-12)
    assert found.difference == pytest.approx((kept[1] - kept[0]).mean(), rel=1e-12)
    assert found.ratio == pytest.approx(kept[1].mean() / kept[0].mean(), rel=1e-12)
