"""Intervals of the audit hold what they say they hold, and no less than they must."""

import numpy as np
import pytest
from scipy import stats

from dpe_jax.errors import InputError
from dpe_jax.privacy.intervals import (
    Advantage,
    balanced,
    log_log_slope,
    proportion,
    proportions,
    relative_rmse,
)

SAMPLES = 300
"""Made data sets: the coverage of a 95 % interval then has a standard error of 1.3 %."""


def covers(share: float, nominal: float = 0.95) -> bool:
    """Whether a measured coverage agrees with a nominal one within 4 standard errors.

    1.5 % less is granted: percentile intervals are a little too narrow.
    """
    error = np.sqrt(nominal * (1 - nominal) / SAMPLES)
    return nominal - 0.015 - 4 * error < share < nominal + 4 * error


def test_proportions_have_the_intervals_of_another_implementation() -> None:
    for successes, trials in ((0, 7), (3, 7), (7, 7), (41, 400), (1, 1)):
        for level in (0.95, 0.99):
            found = proportion(successes, trials, level)
            wanted = stats.binomtest(successes, trials).proportion_ci(level, "exact")
            assert found.value == successes / trials
            assert found[1:] == pytest.approx((wanted.low, wanted.high))
    curve = proportions(np.arange(8), 7)
    assert [curve.low[3], curve.high[3]] == pytest.approx(proportion(3, 7)[1:])
    for successes, trials in ((8, 7), (-1, 7), (0, 0)):
        with pytest.raises(InputError, match="successes"):
            proportion(successes, trials)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.999])
def test_proportions_hold_the_truth_at_least_as_often_as_said(p: float) -> None:
    trials = 60
    x = np.arange(trials + 1)
    probability = stats.binom.pmf(x, trials, p)
    curve = proportions(x, trials)
    # Exactly, over all outcomes; a one-sided interval on each side would fail one or the other.
    assert probability[(curve.low <= p) & (p <= curve.high)].sum() >= 0.95
    assert probability[curve.low > p].sum() <= 0.025
    assert probability[curve.high < p].sum() <= 0.025
    narrow = proportions(x, trials, 0.6)
    if p < 0.99:
        assert probability[(narrow.low <= p) & (p <= narrow.high)].sum() < 0.85


def test_an_advantage_is_what_coins_would_not_give() -> None:
    half = Advantage.counted(500, 1000)
    assert half.signed.value == half.size.value == 0
    assert not half.found
    assert half.p_value == 1
    assert half.size.low == 0
    sure, wrong = Advantage.counted(1000, 1000), Advantage.counted(0, 1000)
    assert (sure.signed.value, wrong.signed.value) == (1, -1)
    assert sure.size == pytest.approx(wrong.size)
    assert sure.found
    assert wrong.found
    assert wrong.p_value < 1e-9
    three_of_four = Advantage.counted(750, 1000)
    assert three_of_four.signed.contains(0.5)
    assert not three_of_four.signed.contains(0.5 * 2 / 3)
    assert not three_of_four.signed.contains(0.5 * 3 / 2)
    assert three_of_four.to_dict()["advantage"][0] == 0.5


def test_a_balanced_advantage_does_not_take_a_lopsided_guess_for_knowledge() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.random(2000) < 0.9, rng.random(2000) < 0.9
    counted = [np.sum(guess & truth), truth.sum(), np.sum(guess & ~truth), np.sum(~truth)]
    found = balanced(*(int(number) for number in counted))
    assert found.advantage.contains(0)
    # As a guess of a fair coin the same answers would look like knowledge.
    assert Advantage.counted(int(np.sum(guess == truth)), 2000).found
    known = np.where(rng.random(2000) < 0.5, truth, guess)
    counted = [np.sum(known & truth), truth.sum(), np.sum(known & ~truth), np.sum(~truth)]
    found = balanced(*(int(number) for number in counted))
    assert found.advantage.contains(0.5)
    assert not found.advantage.contains(0.5 * 2 / 3)
    assert not found.advantage.contains(0.5 * 3 / 2)
    assert found.p_value < 1e-9
    with pytest.raises(InputError, match="successes"):
        balanced(1, 2, 0, 0)


def test_relative_errors_hold_the_truth_as_often_as_said() -> None:
    # ĝ = m/λ̄ with multipliers U[0, 2λ̄]: the relative error is 1/√3. 4 coordinates of one run
    # share the run's size, so they are not independent of each other.
    rng = np.random.default_rng(2)
    truth = 1 / np.sqrt(3)
    held, narrow, alike = 0, 0, 0
    for sample in range(SAMPLES):
        g = rng.normal(size=(150, 4)) * rng.uniform(0.5, 1.5, (150, 1))
        error = (g * rng.uniform(-1, 1, (150, 1))) ** 2
        found = relative_rmse(error.sum(1)[:, None], (g**2).sum(1)[:, None], seed=sample)
        value, low, high = (float(ends[0]) for ends in found)
        assert value == pytest.approx(np.sqrt(error.sum() / (g**2).sum()))
        held += low <= truth <= high
        narrow += value + (low - value) * 2 / 3 <= truth <= value + (high - value) * 2 / 3
        # Every coordinate taken for a run of its own.
        wrong = relative_rmse(error.reshape(-1, 1), (g**2).reshape(-1, 1), seed=sample)
        alike += wrong.low[0] <= truth <= wrong.high[0]
        if sample == 0:
            assert not low <= truth * 2 / 3 <= high
            assert not low <= truth * 3 / 2 <= high
    assert covers(held / SAMPLES)
    assert not covers(narrow / SAMPLES)
    assert not covers(alike / SAMPLES)


def test_relative_errors_leave_out_runs_that_failed_and_refuse_too_few() -> None:
    rng = np.random.default_rng(3)
    signal = rng.uniform(1, 2, (40, 3))
    error = 0.25 * signal
    error[::5, 0] = np.nan
    signal[1, 1] = np.nan
    error[:, 2] = np.nan
    found = relative_rmse(error, signal)
    assert found.value[:2] == pytest.approx([0.5, 0.5])
    assert found.low[:2] == pytest.approx([0.5, 0.5])
    assert np.isnan([ends[2] for ends in found]).all()
    with pytest.raises(InputError, match="runs"):
        relative_rmse(np.ones((7, 1)), np.ones((7, 1)))
    with pytest.raises(Exception, match=r"signal|Type-check"):
        relative_rmse(np.ones((9, 1)), np.ones((9, 2)))


def test_slopes_hold_the_truth_as_often_as_said() -> None:
    # Means of T values have errors like T^−½, and those of different T are of the same values.
    rng = np.random.default_rng(4)
    k = np.array([8, 16, 32, 64, 128, 256])
    held, narrow = 0, 0
    for sample in range(SAMPLES):
        sums = np.cumsum(rng.normal(size=(120, 256)), axis=1)[:, k - 1]
        value, low, high = log_log_slope(k, (sums / k) ** 2, seed=sample)
        held += low <= -0.5 <= high
        narrow += value + (low - value) * 2 / 3 <= -0.5 <= value + (high - value) * 2 / 3
        if sample < 5:
            assert not low <= -0.5 * 2 / 3 <= high
            assert not low <= -0.5 * 3 / 2 <= high
    assert covers(held / SAMPLES)
    assert not covers(narrow / SAMPLES)


def test_a_slope_may_be_of_a_relative_error_and_is_nan_where_there_is_none() -> None:
    rng = np.random.default_rng(5)
    k = np.array([1, 2, 4, 8, 16])
    signal = rng.uniform(1, 3, (60, 1)) * k**2.0
    squares = signal / k**2
    found = log_log_slope(k, squares, signal)
    assert found == pytest.approx((-1, -1, -1))
    assert log_log_slope(k, squares).value == pytest.approx(0)
    gone = np.vstack([squares, np.full((2, 5), np.nan)])
    assert log_log_slope(k, gone) == pytest.approx(log_log_slope(k, squares), abs=1e-12)
    squares[:, 2] = 0
    assert np.isnan(log_log_slope(k, squares)).all()
    with pytest.raises(InputError, match="iteration"):
        log_log_slope(np.arange(5), squares)
    with pytest.raises(InputError, match="runs"):
        log_log_slope(k, squares[:7])
