"""Certificates of almost sure convergence, on sequences whose exceedance probability is known."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from dpe_jax import certificate, convergence
from dpe_jax.certificate import LEVEL, Certificate, Study, certify, study
from dpe_jax.convergence import Windows, clopper_pearson, suffix_maxima, tail_rate, windows
from dpe_jax.errors import InputError
from dpe_jax.timeline import record_points

K = 10_000
POINTS = record_points(K, 120, "log")
EPSILON = 0.2

# Suprema


@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_suprema_are_those_of_all_iterations(spacing: Any) -> None:
    errors = np.random.default_rng(0).exponential(size=(501, 40)).astype(np.float32)
    points = record_points(500, 60, spacing)
    before = np.concatenate([[-1], points[:-1]])
    peaks = np.stack([errors[a + 1 : b + 1].max(0) for a, b in zip(before, points, strict=True)])
    merged = windows(points, peaks)
    assert merged.first[0] == merged.last[0] == 0
    assert merged.last[-1] == 500
    assert np.array_equal(merged.first[1:], merged.last[:-1] + 1)
    # All but the first one after 0, which is what is left.
    assert np.all(merged.last[2:] + 1 >= 2 ** (1 / 8) * merged.first[2:])
    suffix = suffix_maxima(merged.peak)
    for m, row in zip(merged.first, suffix, strict=True):
        assert np.array_equal(row, errors[m:].max(0))


def test_reading_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = falling(runs=30)
    peaks[-5:, 3] = np.nan
    whole = windows(POINTS, peaks)
    monkeypatch.setattr(convergence, "_VALUES_AT_A_TIME", 70)
    assert np.array_equal(windows(POINTS, peaks).peak, whole.peak, equal_nan=True)
    assert np.isnan(whole.peak).any(axis=0).sum() == 1


def test_a_run_that_fails_exceeds_every_threshold_from_the_first_iteration_on() -> None:
    peaks = falling(runs=1000)
    peaks[-1, :7] = np.nan
    found = certify(POINTS, peaks, epsilon=[EPSILON])
    assert found.exceedances[0].counts[-1] == 7
    assert np.all(found.exceedances[0].counts >= 7)
    assert found.failed == 7
    assert np.all(np.isinf(found.quantiles[-1]))


# Bounds


def upper_by_bisection(count: int, runs: int, confidence: float) -> float:
    """The p at which `count` or fewer have probability 1 − confidence."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if stats.binom.cdf(count, runs, p) > 1 - confidence else (low, p)
    return low


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_bounds_are_those_of_the_binomial_distribution(confidence: float) -> None:
    runs = 50
    bounds = clopper_pearson(np.arange(runs + 1), runs, confidence)
    upper = [upper_by_bisection(x, runs, confidence) for x in range(runs)]
    assert bounds.upper == pytest.approx([*upper, 1.0], abs=1e-9)
    # Those that do not exceed are bounded by the same rule.
    assert bounds.lower == pytest.approx(1 - bounds.upper[::-1], abs=1e-9)


RUNS, STUDIES, CHANCE = 300, 2500, 0.04


@pytest.fixture(scope="module")
def counted() -> tuple[np.ndarray, np.ndarray]:
    """Runs beyond ε in many studies [study, window], and the known probability of each window.

    Each run falls below ε at once, and comes back above it with probability CHANCE, in one window
    after the first, all alike.
    """
    rng = np.random.default_rng(1)
    points = record_points(K, 12, "log")
    quiet = np.full((points.size, RUNS), 0.1, np.float32)
    quiet[0] = 1.0
    counts = []
    for _ in range(STUDIES):
        peaks, returns = quiet.copy(), np.flatnonzero(rng.random(RUNS) < CHANCE)
        peaks[rng.integers(1, points.size, returns.size), returns] = 0.5
        merged = windows(points, peaks)
        counts.append((suffix_maxima(merged.peak) > EPSILON).sum(axis=1))
    left = np.arange(points.size - 1, 0, -1)
    return np.array(counts)[:, 1:], CHANCE * left / (points.size - 1)


def covered(counts: np.ndarray, p: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """In which share of the studies each p is at most its bound; upper[x] is that of x runs."""
    return np.mean(upper[counts] >= p, axis=0)


def exactly(p: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The same by the binomial distribution."""
    x = np.arange(RUNS + 1)
    return np.array([stats.binom.pmf(x, RUNS, one)[upper >= one].sum() for one in p])


def test_upper_bounds_cover_at_the_nominal_rate(counted: Any) -> None:
    counts, p = counted
    x = np.arange(RUNS + 1)
    nominal = 0.99
    upper = clopper_pearson(x, RUNS, nominal).upper
    exact = exactly(p, upper)
    assert np.all(exact >= nominal)
    found = covered(counts, p, upper)
    error = np.sqrt(exact * (1 - exact) / STUDIES)
    assert np.all(np.abs(found - exact) <= 4 * error)
    assert np.all(found >= nominal - 4 * np.sqrt(nominal * (1 - nominal) / STUDIES))
    # What is no such bound is found out on the same sample.
    share = x / RUNS
    normal = share + stats.norm.ppf(nominal) * np.sqrt(share * (1 - share) / RUNS)
    weaker = clopper_pearson(x, RUNS, 2 / 3 * nominal).upper
    other_tail = clopper_pearson(x, RUNS, 1 - (1 - nominal) * 30).upper
    for wrong in (normal, weaker, other_tail, share):
        missed = nominal - covered(counts, p, wrong)
        assert np.any(missed > 6 * np.sqrt(nominal * (1 - nominal) / STUDIES))


def test_lower_bounds_cover_at_the_nominal_rate(counted: Any) -> None:
    counts, p = counted
    x = np.arange(RUNS + 1)
    lower = clopper_pearson(x, RUNS, 0.99).lower
    found = np.mean(lower[counts] <= p, axis=0)
    exact = np.array([stats.binom.pmf(x, RUNS, one)[lower <= one].sum() for one in p])
    assert np.all(exact >= 0.99)
    assert np.all(np.abs(found - exact) <= 4 * np.sqrt(exact * (1 - exact) / STUDIES) + 1e-12)
    weaker = clopper_pearson(x, RUNS, 0.66).lower
    assert np.any(np.mean(weaker[counts] <= p, axis=0) < 0.9)


def test_suprema_only_fall_so_that_one_bound_decides(counted: Any) -> None:
    counts, _ = counted
    assert np.all(np.diff(counts, axis=1) <= 0)


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_as_many_runs_are_accepted_as_the_binomial_distribution_allows(confidence: float) -> None:
    runs = 1000
    peaks = falling(runs)
    # Were p LEVEL of all runs, so few or fewer would be an unlikely sight.
    most = max(x for x in range(runs) if stats.binom.cdf(x, runs, LEVEL) <= 1 - confidence)
    for beyond, accepted in ((0, True), (most, True), (most + 1, False)):
        late = peaks.copy()
        late[-5, :beyond] = 10.0
        [found] = certify(POINTS, late, epsilon=[EPSILON], confidence=confidence).exceedances
        assert found.tail_count == beyond
        assert found.accepted is accepted


# Verdicts


def falling(
    runs: int = 600, beta: float = 0.3, floor: float = 0.0, noise: float = 0.05, seed: int = 0
) -> np.ndarray:
    """Peaks f + (k + 1)^−β, with lognormal noise in each window and run; e_0 = 1."""
    rng = np.random.default_rng(seed)
    course = floor + (1 - floor) * (POINTS + 1.0) ** -beta
    peaks = course[:, None] * rng.lognormal(0.0, noise, (POINTS.size, runs))
    peaks[0] = 1.0
    return peaks.astype(np.float32)


def judged(peaks: np.ndarray, predicted: float | None = 0.3, epsilon: float = EPSILON):
    found = certify(POINTS, peaks, epsilon=[epsilon], predicted=predicted)
    return found, found.exceedances[0]


@pytest.mark.parametrize("predicted", [0.3, 0.5, None])
def test_what_converges_is_accepted(predicted: float | None) -> None:
    found, verdict = judged(falling(), predicted)
    assert verdict.accepted
    assert found.accepted
    assert verdict.settles_from is not None
    assert 100 < verdict.settles_from < K / 4
    assert verdict.tail_bound == pytest.approx(1 - 0.01 ** (1 / 600))
    assert found.rate is not None
    assert found.rate.low < 0.3 < found.rate.high
    assert found.rate.high - found.rate.low < 0.02
    assert found.fitted is not None
    assert found.fitted.exponent == pytest.approx(0.3, abs=0.02)
    assert (found.start, found.failed, found.runs, found.iterations) == (1.0, 0, 600, K)
    assert found.tail <= K / 4 < found.tail * 2 ** (1 / 4)


@pytest.mark.parametrize("predicted", [0.3, None])
@pytest.mark.parametrize("floor", [0.1, 0.13])
def test_what_stalls_below_epsilon_is_refused(floor: float, predicted: float | None) -> None:
    found, verdict = judged(falling(floor=floor, beta=0.6), predicted)
    # All runs stay within ε: only the rate tells.
    assert verdict.tail_count == 0
    assert verdict.settles_from is not None
    [reason] = verdict.reasons
    assert "falls too slowly to tell it from a floor" in reason
    assert found.rate is not None
    assert found.rate.low > 0
    # With the same fall and no floor it is accepted.
    assert judged(falling(floor=0.0, beta=0.6), predicted)[1].accepted


def test_half_of_the_predicted_rate_is_where_a_floor_is_half_of_the_error() -> None:
    k, beta = np.geomspace(K / 4, K, 40), 0.3
    for share, enough in ((0.4, True), (0.6, False)):
        floor = share / (1 - share) * (K / 2) ** -beta
        peak = np.tile((floor + k**-beta)[:, None], (1, 20))
        starts = k.astype(np.int64)
        rate = tail_rate(Windows(starts, starts, peak), 0.99)
        assert rate is not None
        assert (rate.low > certificate.SHARE * beta) is enough
        assert rate.exponent == pytest.approx(beta * (1 - share), abs=0.01)


def test_bounds_are_rounded_outwards() -> None:
    assert convergence.at_most(0.002246) == 0.0023
    assert convergence.at_least(0.997754) == 0.9977
    for share in (0.0023, 0.0122, 0.07, 0.29, 1.0, 0.0):
        assert convergence.at_most(share) == convergence.at_least(share) == share
    assert convergence.at_most(0.0022461, 5) == 0.00225


def test_what_is_constant_or_rises_is_refused() -> None:
    _, verdict = judged(falling(beta=0.0))
    exceeds, still = verdict.reasons
    assert "600 of 600 runs exceed ε" in exceeds
    assert "at least 99.23% of all runs" in exceeds
    assert "end" in still
    assert verdict.settles_from is None
    _, verdict = judged(falling(beta=-0.1))
    assert "the error does not fall at the end" in verdict.reasons[1]


@pytest.mark.parametrize("bad", [2.0, np.nan])
def test_what_exceeds_rarely_and_late_or_fails_is_refused(bad: float) -> None:
    peaks, rng = falling(1200), np.random.default_rng(5)
    rare = rng.random(1200) < 0.03
    point = int(np.searchsorted(POINTS, 0.6 * K))
    late = peaks.copy()
    # A failed run never comes back.
    late[point : None if np.isnan(bad) else point + 1, rare] = bad
    found, verdict = judged(late)
    assert verdict.tail_count == rare.sum()
    [reason] = verdict.reasons
    assert f"{rare.sum()} of 1200 runs exceed ε" in reason
    assert found.failed == (rare.sum() if np.isnan(bad) else 0)
    # Two of them are within what is accepted, and are still counted.
    few = peaks.copy()
    few[point : None if np.isnan(bad) else point + 1, :2] = bad
    found, verdict = judged(few)
    assert verdict.accepted
    assert verdict.tail_count == 2
    assert found.failed == (2 if np.isnan(bad) else 0)


def test_what_settles_too_late_or_rests_on_too_few_runs_is_refused() -> None:
    # At K/4 about half of the runs are beyond ε, and none at the end.
    epsilon = float((K / 3) ** -0.3)
    _, verdict = judged(falling(noise=0.01), epsilon=epsilon)
    assert verdict.settles_from is not None
    assert verdict.settles_from > K / 4
    [reason] = verdict.reasons
    assert "after K/4 = 2500: too little follows" in reason
    _, verdict = judged(falling(runs=400))
    [reason] = verdict.reasons
    assert "0 of 400 runs" in reason
    assert "with so few runs the bound is 1.15% if none does" in reason
    assert judged(falling(runs=480))[1].accepted


def test_nothing_to_judge_by_is_refused() -> None:
    for peaks in (np.full((POINTS.size, 900), np.nan, np.float32), 0 * falling(runs=900)):
        found, verdict = judged(peaks)
        assert verdict.reasons[0].startswith("the error at the start is 0 or unknown")
        assert "no rate can be fitted" in verdict.reasons[-1]
        assert found.rate is None
        assert not found.accepted
    short = np.array([0, 1, 2], np.int64)
    verdict = certify(short, falling(runs=900)[:3], epsilon=[0.9]).exceedances[0]
    assert any("no rate can be fitted" in reason for reason in verdict.reasons)


def test_an_epsilon_is_judged_by_itself() -> None:
    found = certify(POINTS, falling(), epsilon=[0.05, 0.2, 0.4], predicted=0.3)
    assert [one.accepted for one in found.exceedances] == [False, True, True]
    assert not found.accepted
    middle, large = (one.settles_from for one in found.exceedances[1:])
    assert middle is not None
    assert large is not None
    assert large < middle


def test_what_cannot_be_asked_is_refused() -> None:
    for epsilon, confidence, named in (
        ([], 0.99, "epsilon"),
        ([0.0], 0.99, "epsilon"),
        ([1.0], 0.99, "epsilon"),
        ([float("nan")], 0.99, "epsilon"),
        ([0.1], 0.4, "confidence"),
        ([0.1], 1.0, "confidence"),
    ):
        with pytest.raises(InputError, match=named):
            certify(POINTS, falling(runs=20), epsilon=epsilon, confidence=confidence)


# Rates


def test_bounds_of_the_rate_cover() -> None:
    rng = np.random.default_rng(7)
    k = np.unique(np.geomspace(2500, 10_000, 16).astype(np.int64))
    studies, low, high, wrong = 150, 0, 0, 0
    for _ in range(studies):
        # Runs differ by a slope of their own as well, as real ones do.
        slopes = rng.normal(0.3, 0.1, 100)
        peak = (k[:, None] / k[0]) ** -slopes * rng.lognormal(0, 0.1, (k.size, 100))
        rate = tail_rate(Windows(k, k, peak), 0.95)
        assert rate is not None
        mean = np.mean((k[:, None] / k[0]) ** -rng.normal(0.3, 0.1, 20_000), axis=1)
        true = -np.polyfit(np.log(k), np.log(mean), 1)[0]
        low, high = low + (rate.low <= true), high + (rate.high >= true)
        wrong += rate.low <= 2 / 3 * true or rate.high >= 3 / 2 * true
    error = np.sqrt(0.95 * 0.05 / studies)
    for found in (low, high):
        assert abs(found / studies - 0.95) <= 4 * error
    assert wrong == 0


# Studies


def curves(**methods: np.ndarray) -> Any:
    import xarray as xr

    runs = next(iter(methods.values())).shape[1]
    dims = ("algorithm", "iteration", "run")
    return xr.Dataset(
        {certificate.METRIC: (dims, np.stack(list(methods.values())))},
        {"algorithm": list(methods), "iteration": POINTS, "run": np.arange(runs)},
    )


def test_a_study_passes_where_methods_are_accepted_and_controls_refused() -> None:
    recorded = curves(good=falling(), stalled=falling(floor=0.13, beta=0.6))
    predicted = {"good": 0.3, "stalled": 0.3}

    found = study(recorded, predicted, epsilon=[EPSILON])

    def passed(*controls: str) -> bool:
        return Study(found.certificates, controls).passed

    assert passed("stalled")
    assert not passed()
    assert not passed("good", "stalled")
    assert [found.as_expected(name) for name in predicted] == [True, False]
    assert isinstance(found.certificates["good"], Certificate)
    alone = certify(POINTS, falling(), epsilon=[EPSILON], predicted=0.3)
    assert found.certificates["good"].rate == alone.rate
    assert "accepted" in found.told("good")
    assert "refused" in found.told("stalled")
    for said in ("99 %", "1%", "600", "10,000", "says nothing of iterations after K"):
        assert said in found.meaning()
    with pytest.raises(InputError, match="peak_error"):
        study(recorded.rename({certificate.METRIC: "other"}), predicted, epsilon=[0.1])
