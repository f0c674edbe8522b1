"""The methods of one study compared at every record point: what figures and tables show."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dpe_jax.bands import Course
from dpe_jax.bootstrap import ends, resampled_means
from dpe_jax.compare import LEAST_RUNS, Comparison, looked_at, sound_values
from dpe_jax.lattice import OK
from dpe_jax.results import Stored

COURSE_RESAMPLES = 2_000
"""Resamples at each record point."""

_COLUMNS = 2_000
"""Columns of a figure's data that are resampled at a time."""


class Courses(NamedTuple):
    """A metric against iterations, with 95 % intervals at each record point, by method."""

    mean: dict[str, Course]
    difference: dict[str, Course]
    ratio: dict[str, Course]
    """Without the baseline, as `difference`; NaN where the baseline's mean is not positive."""


def courses(
    stored: Stored,
    comparison: Comparison,
    metric: str,
    *,
    resamples: int = COURSE_RESAMPLES,
    seed: int = 0,
) -> Courses:
    """Means, paired differences and ratios of means of one metric at all record points.

    Over the runs that are sound to the end. Intervals are NaN for fewer than 8 of them.
    """
    methods, curves = comparison.methods, looked_at(stored.curves)
    sound = curves.status.sel(algorithm=list(methods)).values == OK
    row = methods.index(comparison.baseline)
    width = max(1, _COLUMNS // (3 * len(methods)))
    pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for first in range(0, curves.sizes["iteration"], width):
        piece = curves[metric].isel(iteration=slice(first, first + width))
        pieces.append(_piece(sound_values(piece, methods, sound), row, resamples, seed))
    mean, difference, ratio = (np.concatenate(part, axis=-1) for part in zip(*pieces, strict=True))
    others = [(i, name) for i, name in enumerate(methods) if i != row]
    return Courses(
        {name: Course(*mean[:, i]) for i, name in enumerate(methods)},
        {name: Course(*difference[:, i]) for i, name in others},
        {name: Course(*ratio[:, i]) for i, name in others},
    )


def _piece(
    values: Float[np.ndarray, "methods points runs"], row: int, resamples: int, seed: int
) -> tuple[
    Float[np.ndarray, "3 methods points"],
    Float[np.ndarray, "3 methods points"],
    Float[np.ndarray, "3 methods points"],
]:
    """Mean, low and high of the metric, of the difference to `row` and of the ratio to it."""
    pair = ~np.isnan(values) & ~np.isnan(values[row])
    alike = bool(pair.all())
    base = np.broadcast_to(values[row], values.shape)
    kinds = values[None] if alike else np.stack([values, *_where(pair, values, base)])
    columns = kinds.reshape(-1, kinds.shape[-1])
    count = np.sum(~np.isnan(columns), axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        observed = np.nansum(columns, axis=1) / np.where(count, count, np.nan)
        drawn = resampled_means(columns.T, resamples, seed)
        # Too few runs for an interval.
        drawn[:, count < LEAST_RUNS] = np.nan
        # The observed means are row 0, the resampled ones follow.
        means = np.concatenate([observed[None], drawn]).reshape(-1, *kinds.shape[:-1])
        own = means[:, 0]
        paired, beside = (own, own[:, row, None]) if alike else (means[:, 1], means[:, 2])
        bad = (beside <= 0).any(axis=0) | (paired < 0).any(axis=0)
        ratio = np.where(bad, np.nan, paired / beside)
        return _course(own), _course(paired - beside), _course(ratio)


def _where(
    pair: np.ndarray, *columns: Float[np.ndarray, "methods points runs"]
) -> list[Float[np.ndarray, "methods points runs"]]:
    return [np.where(pair, column, np.nan) for column in columns]


def _course(
    means: Float[np.ndarray, "drawn methods points"],
) -> Float[np.ndarray, "3 methods points"]:
    """The observed mean, which is the first, and the ends of the interval of the others."""
    found = ends(means[1:].reshape(len(means) - 1, -1))
    return np.concatenate([means[:1], found.reshape(2, *means.shape[1:])])
