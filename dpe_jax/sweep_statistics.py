"""Statistics of a sweep: what is said about the runs of each configuration."""

import csv
import dataclasses
import io
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dpe_jax.bands import Band, band
from dpe_jax.errors import InputError
from dpe_jax.lattice import OK, STATUS_NAMES
from dpe_jax.observe import METRICS, PER_AGENT
from dpe_jax.sweeps import axes_of

if TYPE_CHECKING:
    import xarray as xr

LOW, HIGH = 0.05, 0.95
"""The quantiles of a band, unless the runs were summarised with others."""

_VALUES_AT_A_TIME = 2**22
"""Values of kept runs that are read at a time: the memory does not grow with the sweep."""

_CURVE = ("algorithm", "configuration", "iteration")


@dataclasses.dataclass(frozen=True)
class Statistics:
    """One metric over the sound runs, each array [algorithm, configuration, iteration].

    Where no run is sound `count` is 0 and the others are NaN; with one sound run there is no
    standard error.
    """

    metric: str
    mean: "xr.DataArray"
    standard_error: "xr.DataArray"
    low: "xr.DataArray"
    median: "xr.DataArray"
    high: "xr.DataArray"
    count: "xr.DataArray"
    levels: tuple[float, float]
    """Of which quantiles `low` and `high` are."""


def metrics(dataset: "xr.Dataset") -> list[str]:
    """The metrics of a sweep, with one value for each run, in the order of reports."""
    return [
        metric
        for metric in METRICS
        if metric not in PER_AGENT and (metric in dataset or f"{metric}_mean" in dataset)
    ]


def statistics(dataset: "xr.Dataset", metric: str) -> Statistics:
    """Mean, standard error and quantiles of a metric, from kept runs or from their summary.

    The dataset has either the metric itself [algorithm, configuration, iteration, run], NaN where a
    run has failed, or `<metric>_mean`, `_variance` (with the divisor count − 1), `_count` and
    `_quantile`. Kept runs are read a few millions of values at a time and reduced in float64.
    Raises InputError for a metric that the dataset does not have.
    """
    known = metrics(dataset)
    if metric not in known:
        raise InputError("metric", metric, f"one of {', '.join(known) or '(none was kept)'}")
    return _of_runs(dataset, metric) if metric in dataset else _of_summary(dataset, metric)


def _of_runs(dataset: "xr.Dataset", metric: str) -> Statistics:
    curves = dataset[metric].transpose(*_CURVE, "run")
    frame = curves.isel(run=0, drop=True)
    mean, error, low, median, high = (np.empty(frame.shape) for _ in range(5))
    columns = Band(mean, error, low, median, high, np.empty(frame.shape, np.int64))
    rows = max(1, _VALUES_AT_A_TIME // max(1, curves.sizes["run"]))
    points = [slice(first, first + rows) for first in range(0, frame.sizes["iteration"], rows)]
    places = itertools.product(*(range(size) for size in frame.shape[:2]), points)
    for row, place, part in places:
        found = _band(curves.isel(algorithm=row, configuration=place, iteration=part).values)
        for column, values in zip(columns, found, strict=True):
            column[row, place, part] = values
    arrays = {name: frame.copy(data=column) for name, column in columns._asdict().items()}
    return Statistics(metric, count=arrays.pop("sound"), levels=(LOW, HIGH), **arrays)


def _band(values: Float[np.ndarray, "points runs"]) -> Band:
    """`band`, for all record points at once where no run has failed."""
    if np.isnan(values).any() or not values.size:
        return band(values, LOW, HIGH)
    runs = values.shape[1]
    # A gap that overflowed to infinity has no quantiles to interpolate between.
    with np.errstate(invalid="ignore", over="ignore"):
        exact = values.astype(np.float64)
        error = exact.std(axis=1, ddof=1) / np.sqrt(runs) if runs > 1 else np.nan
        low, median, high = np.quantile(exact, [LOW, 0.5, HIGH], axis=1)
        mean = exact.mean(axis=1)
    points = len(values)
    return Band(mean, np.broadcast_to(error, points), low, median, high, np.full(points, runs))


def _of_summary(dataset: "xr.Dataset", metric: str) -> Statistics:
    mean, variance, count = (
        dataset[f"{metric}_{name}"].transpose(*_CURVE).load()
        for name in ("mean", "variance", "count")
    )
    error = (variance / count.where(count > 1)) ** 0.5
    quantiles = dataset[f"{metric}_quantile"].transpose(*_CURVE, "quantile")
    levels = quantiles["quantile"].values
    middle = np.flatnonzero(np.isclose(levels, 0.5))

    def level(place: int) -> "xr.DataArray":
        return quantiles.isel(quantile=place, drop=True).load()

    lowest, highest = int(np.argmin(levels)), int(np.argmax(levels))
    return Statistics(
        metric,
        mean.where(count > 0),
        error,
        level(lowest).where(count > 0),
        level(int(middle[0])).where(count > 0) if middle.size else mean * np.nan,
        level(highest).where(count > 0),
        count,
        (float(levels[lowest]), float(levels[highest])),
    )


def runs(dataset: "xr.Dataset") -> int:
    """Runs of each method in each configuration."""
    if "status" in dataset.data_vars:
        return dataset.sizes["run"]
    return int(dataset.status_count.isel(algorithm=0, configuration=0).sum())


def failed(dataset: "xr.Dataset") -> "xr.DataArray":
    """How many runs failed [algorithm, configuration]."""
    if "status" in dataset.data_vars:
        counted = (dataset.status != OK).sum("run")
    else:
        names = dataset.status_count["status"].values
        counted = dataset.status_count.isel(status=names != STATUS_NAMES[OK]).sum("status")
    return counted.transpose("algorithm", "configuration")


def final_table(dataset: "xr.Dataset", metric: str) -> list[dict[str, Any]]:
    """A metric at the last iteration: one row for each configuration and method.

    The columns are `configuration`, `algorithm`, the labels of the sweep, `runs` and `failed`, then
    `<metric>_mean`, `_standard_error`, `_low`, `_median` and `_high`, with None for no number.
    """
    found = statistics(dataset.isel(iteration=[-1]), metric)
    losses, total = failed(dataset).values, runs(dataset)
    labels = [label for axis in axes_of(dataset) for label in axis.labels]
    numbers = dataset["configuration"].values  # 0, 1, ... if the dataset does not say
    rows = []
    for place, number in enumerate(numbers):
        for row, name in enumerate(dataset.algorithm.values):
            figures = {
                f"{metric}_{column}": _number(getattr(found, column).values[row, place, 0])
                for column in ("mean", "standard_error", "low", "median", "high")
            }
            rows.append(
                {
                    "configuration": int(number),
                    "algorithm": str(name),
                    **{label: dataset[label].values[place].item() for label in labels},
                    "runs": total,
                    "failed": int(losses[row, place]),
                    **figures,
                }
            )
    return rows


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of one kind as comma-separated values with a heading; no number is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def select(dataset: "xr.Dataset", at: Mapping[str, str | float | int]) -> "xr.Dataset":
    """The configurations with the given labels; InputError if a label or a value is unknown.

    A value of a numeric label is a number, or a text that is one.
    """
    for label, value in at.items():
        known = [name for axis in axes_of(dataset) for name in axis.labels]
        if label not in known:
            raise InputError("--at", label, f"one of {', '.join(known)}")
        values = dataset[label].values
        kept = _matching(values, value)
        if not kept.any():
            choices = [shown(choice) for choice in dict.fromkeys(values.tolist())]
            few = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
            raise InputError("--at", f"{label}={value}", f"one of {few}")
        dataset = dataset.isel(configuration=np.flatnonzero(kept))
    return dataset


def _matching(values: np.ndarray, value: str | float | int) -> np.ndarray:
    if values.dtype.kind != "f":
        return values == str(value)
    try:
        return np.isclose(values, float(value), rtol=1e-6, atol=0)
    except ValueError:
        return np.zeros(len(values), bool)


def shown(value: Any) -> str:
    """A label as text: a number in few digits, a text as it is."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
