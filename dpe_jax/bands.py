"""Statistics over runs: means, bands and fitted decay, with what they rest on."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

ROUNDING = 1e-14
"""A consensus error below this is rounding (that of a centralized method, say)."""


class Course(NamedTuple):
    """What a line and its band show: one value at each record point."""

    mean: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


class Band(NamedTuple):
    """Mean and quantiles over the sound runs at each record point."""

    mean: Float[np.ndarray, " points"]
    """In the unit of the values, as all but `sound`."""
    standard_error: Float[np.ndarray, " points"]
    """Of the mean."""
    low: Float[np.ndarray, " points"]
    """The quantile that was asked for, by default 5 %."""
    median: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    """The other one, by default 95 %."""
    sound: Int64[np.ndarray, " points"]
    """Runs that each figure rests on; runs that failed are left out from then on, and counted."""


def band(values: Float[np.ndarray, "points runs"], low: float = 0.05, high: float = 0.95) -> Band:
    """Mean, standard error and quantiles over runs, in float64.

    A NaN stands for a run that has failed (see `recording.Recording`). Where no run is sound, the
    figures are NaN and `sound` is 0. A value that overflowed to infinity makes the mean infinite.
    `low` and `high` are the quantiles' shares; figures are in units of the values.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        rows = [_row(row[~np.isnan(row)].astype(np.float64), low, high) for row in values]
    mean, error, lowest, median, highest, sound = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Band(mean, error, lowest, median, highest, sound.astype(np.int64))


def _row(sound: Float[np.ndarray, " runs"], low: float, high: float) -> tuple[float | int, ...]:
    count = sound.size
    if count == 0:
        return (np.nan,) * 5 + (0.0,)
    error = float(sound.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan
    quantiles = np.quantile(sound, [low, 0.5, high])
    return (float(sound.mean()), error, *quantiles.tolist(), float(count))


class Decay(NamedTuple):
    """A fitted decay ~ k^−exponent with its bootstrap interval."""

    exponent: float
    """β, by least squares over the window."""
    low: float
    """The lower end of its interval, over resampled runs."""
    high: float
    """The upper end."""
    slope: float
    """The exponent of a plain power law over the same window, for comparison."""
    first: int
    """The first iteration of the window."""
    last: int
    """The last one."""
    runs: int
    """Sound runs that it rests on."""
    level: float = 0.95
    """Of the interval."""

    def contains(self, exponent: float) -> bool:
        """Whether an exponent lies in the interval."""
        return self.low <= exponent <= self.high

    def summary(self) -> dict[str, Any]:
        """For summary.json."""
        return self._asdict()


_RANGE = 0.7, 1.4
"""Where β is sought, in units of the plain slope."""


def fit_decay(
    iteration: Int64[np.ndarray, " points"],
    values: Float[np.ndarray, "points runs"],
    *,
    first: int,
    resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Decay | None:
    """Fit the mean over runs by C k^−β (1 + c k^−β) from iteration `first` on; β with an interval.

    The agents' error is C (λ̄/γ)(1 + O(λ̄/γ)) with λ̄/γ ~ k^−β, so a plain log-log slope over a
    finite window is biased by the second term; the fit has it (derived). The interval is a
    percentile bootstrap over runs. β is sought between 0.7 and 1.4 times the plain slope only, so
    the interval cannot reach beyond. Returns None where the best β lies at an end of that range,
    the mean does not fall, or fewer than 8 record points or runs are usable.
    """
    sound = ~np.isnan(values).any(axis=0)
    window = (iteration >= max(first, 1)) & np.all(values[:, sound] > 0, axis=1)
    if window.sum() < 8 or sound.sum() < 8:
        return None
    k = iteration[window].astype(np.float64)
    kept = values[np.ix_(window, sound)].astype(np.float64)
    rng = np.random.default_rng(seed)
    mean = kept.mean(axis=1)
    slope = -float(np.polyfit(np.log(k), np.log(mean), 1)[0])
    if slope <= 0:
        return None
    exponent = _exponent(k, mean, slope)
    if min(exponent / (_RANGE[0] * slope), _RANGE[1] * slope / exponent) < 1.001:
        return None
    exponents = []
    for _ in range(resamples):
        weights = rng.multinomial(kept.shape[1], np.full(kept.shape[1], 1 / kept.shape[1]))
        exponents.append(_exponent(k, kept @ weights / kept.shape[1], slope))
    low, high = np.quantile(exponents, [(1 - level) / 2, (1 + level) / 2])
    return Decay(
        exponent,
        float(low),
        float(high),
        slope,
        int(k[0]),
        int(k[-1]),
        int(sound.sum()),
        level,
    )


def _exponent(
    k: Float[np.ndarray, " points"], mean: Float[np.ndarray, " points"], slope: float
) -> float:
    """β that minimises the squared relative residual of C₁ k^−β + C₂ k^−2β, C linear given β.

    β is sought near the plain slope: far from it, half of β with C₁ = 0 would fit as well.
    """
    from scipy.optimize import minimize_scalar

    bounds = _RANGE[0] * slope, _RANGE[1] * slope
    found: Any = minimize_scalar(_residual, args=(k, mean), bounds=bounds, method="bounded")
    return float(found.x)


def _residual(beta: float, k: np.ndarray, mean: np.ndarray) -> float:
    basis = np.stack([k**-beta, k ** (-2 * beta)], axis=1) / mean[:, None]
    solution, *_ = np.linalg.lstsq(basis, np.ones_like(mean), rcond=None)
    return float(np.sum((basis @ solution - 1) ** 2))


def status_counts(status: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    """How many lanes ended with each status; ValueError if some have none of these."""
    counts = {name: int(np.sum(status == code)) for code, name in enumerate(names)}
    if sum(counts.values()) != status.size:
        raise ValueError(f"status codes {np.unique(status).tolist()} are not 0 to {len(names) - 1}")
    return counts
