"""Almost sure convergence, measured: suprema of the error over runs, bounds, and rates.

x_k → x* almost surely means P(sup_{k ≥ m} e_k > ε) → 0 as m → ∞ for every ε, with
e_k = max_i ‖x_i^k − x*‖. Runs of K iterations show sup_{m ≤ k ≤ K} e_k instead; `certificate` says
what is made of it.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

if TYPE_CHECKING:
    import xarray as xr

_PER_OCTAVE = 8
"""Windows in which k doubles."""

_RESAMPLES = 2000
FITTED_RUNS = 4096
"""Runs that rates are fitted to, the first sound ones: they give two digits or more."""
LEAST_WINDOWS, LEAST_RUNS = 6, 8
"""With fewer no rate is fitted."""

_VALUES_AT_A_TIME = 2**23


class Bounds(NamedTuple):
    """Clopper–Pearson bounds of probabilities, each one-sided."""

    lower: Float[np.ndarray, " counts"]
    upper: Float[np.ndarray, " counts"]


def at_most(share: float, places: int = 4) -> float:
    """An upper bound with so many decimals: rounded up, so that it still is one."""
    # Binary fractions are off by far less than what is shown: 0.23 % stays 0.23 %.
    return math.ceil(round(share * 10**places, 6)) / 10**places


def at_least(share: float, places: int = 4) -> float:
    """A lower bound with so many decimals: rounded down."""
    return math.floor(round(share * 10**places, 6)) / 10**places


def clopper_pearson(counts: Int64[np.ndarray, " counts"], runs: int, confidence: float) -> Bounds:
    """Bounds of a probability p of which `counts` of `runs` independent runs are a sample.

    The upper one is the p at which so few or fewer have probability 1 − confidence, the quantile of
    Beta(x + 1, n − x) at `confidence`; the lower one likewise, of Beta(x, n − x + 1) at
    1 − confidence. Each holds with at least that confidence, whatever p is (Clopper and Pearson
    1934).
    """
    from scipy import stats

    x = counts.astype(np.float64)
    with np.errstate(invalid="ignore"):
        upper = np.where(x == runs, 1.0, stats.beta.ppf(confidence, x + 1, runs - x))
        lower = np.where(x == 0, 0.0, stats.beta.ppf(1 - confidence, x, runs - x + 1))
    return Bounds(lower, upper)


class Windows(NamedTuple):
    """The largest error of each run in consecutive windows of iterations, which widen like k."""

    first: Int64[np.ndarray, " windows"]
    """First iteration of each window: the m from which a supremum is taken."""
    last: Int64[np.ndarray, " windows"]
    peak: Float[np.ndarray, "windows runs"]
    """NaN where a run has failed."""


def windows(
    iteration: Int64[np.ndarray, " points"],
    peaks: "Float[np.ndarray, 'points runs'] | xr.DataArray",
) -> Windows:
    """Merge what was recorded into windows (at most eight in which k doubles); k = 0 is alone.

    `peaks` at a record point k is the largest error from the previous record point up to k, so a
    window is made of whole ones. The one iteration before it, which a window has as well, can only
    add to what exceeds an ε. It may be an array on disk, read piece by piece.
    """
    first = np.concatenate([[0], iteration[:-1] + 1])
    # From the end: a last window that is cut short would have smaller peaks than those before it.
    starts, stop = [], iteration.size - 1
    for point in range(iteration.size - 1, 0, -1):
        if iteration[stop] + 1 >= first[point] * 2.0 ** (1 / _PER_OCTAVE) or point == 1:
            starts.append(point)
            stop = point - 1
    starts = np.array([0, *reversed(starts)])
    window = np.repeat(np.arange(starts.size), np.diff(starts, append=iteration.size))
    last = iteration[np.append(starts[1:], iteration.size) - 1]
    merged = np.full((starts.size, peaks.shape[1]), -np.inf, np.float32)
    rows = max(1, _VALUES_AT_A_TIME // peaks.shape[1])
    for begin in range(0, iteration.size, rows):
        values = np.asarray(peaks[begin : begin + rows])
        for row, target in zip(values, window[begin:], strict=False):
            # The larger of two, of which one is NaN, is NaN: a failure is not lost.
            merged[target] = np.maximum(merged[target], row)
    return Windows(first[starts], last, merged)


def suffix_maxima(
    peak: Float[np.ndarray, "windows runs"],
) -> Float[np.ndarray, "windows runs"]:
    """sup of each run's error from the window on; infinite for a run that fails (it never settles).

    A run that has failed at the end is infinite from the first window on: it is never left out.
    """
    filled = np.where(np.isnan(peak), np.inf, peak)
    return np.maximum.accumulate(filled[::-1], axis=0)[::-1]


class Rate(NamedTuple):
    """The slope of ln(mean peak error) against ln k over the tail, with bootstrap bounds."""

    exponent: float
    """Positive where the error falls."""
    low: float
    high: float
    """Each one-sided, at the confidence of the certificate."""
    first: int
    last: int
    runs: int


def tail_rate(tail: Windows, confidence: float, seed: int = 0) -> Rate | None:
    """Rate at which the mean of the windows' peaks falls; None with too few windows or sound runs.

    A plain slope, unlike `bands.fit_decay`: that assumes an error on its way to zero and looks for
    the limit of its slope, while this asks whether the error is on its way to zero at all.
    """
    sound = np.flatnonzero(np.isfinite(tail.peak).all(axis=0))[:FITTED_RUNS]
    if tail.first.size < LEAST_WINDOWS or sound.size < LEAST_RUNS:
        return None
    peak = tail.peak[:, sound].astype(np.float64)
    if not np.all(peak.mean(axis=1) > 0):
        return None
    log_k = np.log(tail.first.astype(np.float64)) / 2 + np.log(tail.last.astype(np.float64)) / 2
    lever = log_k - log_k.mean()
    lever /= np.sum(lever**2)
    rng, share = np.random.default_rng(seed), np.full(sound.size, 1 / sound.size)
    drawn = np.empty(_RESAMPLES)
    for first in range(0, _RESAMPLES, 250):
        weights = rng.multinomial(sound.size, share, size=250) / sound.size
        # A resample of zeros only has no logarithm, nor a rate.
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn[first : first + 250] = -np.log(weights @ peak.T) @ lever
    low, high = np.quantile(drawn, [1 - confidence, confidence])
    exponent = -float(np.log(peak.mean(axis=1)) @ lever)
    ends = int(tail.first[0]), int(tail.last[-1])
    return Rate(exponent, float(low), float(high), *ends, sound.size)
