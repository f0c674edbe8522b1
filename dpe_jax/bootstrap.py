"""Bootstrap over paired runs: the same resampled runs for every quantity.

Intervals are percentile intervals (Efron 1979). They are a little too narrow for few runs: of
normal values one of 95 % covers 89 % at 8 runs and 94.4 % at 64. `p_value` is a studentized
bootstrap (Efron and Tibshirani 1993, Section 16.4), which does better there and far out in the
tails, where a correction for many comparisons looks. Both need more runs the more skewed the values
are: see docs/comparison.md.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEVEL = 0.95

_BATCH = 500
"""Resamples whose weights are in memory at a time."""

_MOST_KEPT = 2_000_000
"""Up to so many weights are kept for the next call, which mostly resamples the same runs: drawing
them takes longer than all else."""


class Interval(NamedTuple):
    """A percentile bootstrap interval of 95 %."""

    low: float
    high: float


def resampled_means(
    values: Float[np.ndarray, "runs columns"], resamples: int, seed: int = 0
) -> Float[np.ndarray, "resamples columns"]:
    """Means over runs drawn with replacement, the same runs for all columns; NaN is left out.

    mean*_c = Σ_r w_r y_rc / Σ_r w_r over the runs r in which column c has a value, where w is
    multinomial: how often each of the n runs came in n draws. NaN where none of them came, and
    where a value is infinite.
    """
    runs = values.shape[0]
    present = ~np.isnan(values)
    partial = np.flatnonzero(~present.all(axis=0))
    filled, masks = np.where(present, values, 0.0), present[:, partial].astype(np.float64)
    means = np.empty((resamples, values.shape[1]))
    drawn = _kept if resamples * runs <= _MOST_KEPT else _batches
    with np.errstate(invalid="ignore", divide="ignore"):
        for batch, weights in enumerate(drawn(resamples, runs, seed)):
            here = means[batch * _BATCH :][: len(weights)]
            counts = np.full(here.shape, float(runs))
            counts[:, partial] = weights @ masks
            here[:] = weights @ filled / counts
    return means


@functools.lru_cache(maxsize=4)
def _kept(resamples: int, runs: int, seed: int) -> tuple[Float[np.ndarray, "count runs"], ...]:
    return tuple(_batches(resamples, runs, seed))


def _batches(resamples: int, runs: int, seed: int) -> Iterator[Float[np.ndarray, "count runs"]]:
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, _BATCH):
        yield _weights(rng, min(_BATCH, resamples - first), runs)


def _weights(rng: np.random.Generator, count: int, runs: int) -> Float[np.ndarray, "count runs"]:
    """How often each run comes in each of `count` resamples."""
    picked = rng.integers(runs, size=(count, runs)) + runs * np.arange(count)[:, None]
    return np.bincount(picked.ravel(), minlength=count * runs).reshape(count, runs).astype(float)


def interval(drawn: Float[np.ndarray, " resamples"]) -> Interval:
    """The interval of one mean, from its resampled values."""
    low, high = ends(drawn[:, None])
    return Interval(float(low[0]), float(high[0]))


def ends(
    drawn: Float[np.ndarray, "resamples columns"],
) -> Float[np.ndarray, "2 columns"]:
    """The ends of the intervals; NaN only for a column that has no number."""
    levels = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    found = np.quantile(drawn, levels, axis=0)
    for column in np.flatnonzero(np.isnan(found[0])):
        kept = drawn[~np.isnan(drawn[:, column]), column]
        if kept.size:
            found[:, column] = np.quantile(kept, levels)
    return found


def p_value(
    mean: float,
    variance: float,
    means: Float[np.ndarray, " resamples"],
    squares: Float[np.ndarray, " resamples"],
) -> float:
    """Two-sided p of a mean of zero: how often |t*| ≥ |t|, t* = (mean* − mean)/s*, t = mean/s.

    `squares` are the resampled means of (d − mean)², so s*² = squares − (mean* − mean)², and
    s² = `variance` is the mean of (d − mean)². The estimate is at least 1/(resamples + 1).
    """
    if variance <= (1e-12 * mean) ** 2:
        # All runs agree, up to rounding: there is no noise that could have made the difference.
        return 1 / (means.size + 1) if mean else 1.0
    shift = means - mean
    spread = np.sqrt(np.maximum(squares - shift**2, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        less = np.abs(shift) / spread < abs(mean) / np.sqrt(variance)
    return float(1 + np.sum(~less)) / (means.size + 1)
