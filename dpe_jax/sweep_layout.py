"""What a figure of a sweep shows: which labels, methods and configurations, in which panels."""

import itertools
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from dpe_jax import drawing
from dpe_jax.errors import InputError
from dpe_jax.sweep_statistics import Statistics, failed, runs, select, shown, statistics
from dpe_jax.sweeps import Axis, axes_of

if TYPE_CHECKING:
    import xarray as xr

_MOST_PANELS = 6
"""Beside one for each method: what varies beyond that is held at its first value."""

At = Mapping[str, str | float | int]
"""Values that labels are held at."""

_TITLE_LETTERS = 42
"""In a line of a panel's title."""


class Panel(NamedTuple):
    """One panel of a figure."""

    title: str
    rows: list[int]
    """Places of the methods that it shows."""
    places: Int64[np.ndarray, " places"]
    """Places of the configurations that it shows."""


class Layout(NamedTuple):
    """The panels of a figure, and the numbers at the last iteration."""

    dataset: "xr.Dataset"
    """The configurations that the panels share out."""
    panels: list[Panel]
    final: Statistics
    notes: list[str]


def layout(
    dataset: "xr.Dataset",
    metric: str,
    labels: dict[str, str],
    algorithm: str | None,
    at: At | None,
    *,
    together: bool = False,
) -> Layout:
    """Panels of a figure that shows `labels` (by argument); InputError if one is unknown.

    There is one for each value of the axes that are neither shown nor held by `at`, and for each
    method unless they are shown `together`. If that is too many, the longest of these axes are held
    at their first values, which the notes say. Methods that the sweep does not change have no panel
    of their own.
    """
    dataset = select(dataset, at or {})
    shown_axes = [owner(dataset, label, argument) for argument, label in labels.items()]
    for (argument, label), axis in zip(labels.items(), shown_axes, strict=True):
        # Two labels of one axis are shown as points, which may lie above each other.
        if shown_axes.count(axis) == 1 and len(distinct(dataset, label)) < extent(dataset, axis):
            accepted = f"a label that differs at each point of its axis, such as {axis.name!r}"
            raise InputError(argument, label, accepted)
    rows, notes = _rows(dataset, metric, algorithm, together)
    free = [axis for axis in axes_of(dataset) if axis not in shown_axes]
    held = [f"{label} = {value}" for label, value in (at or {}).items()]
    methods = 1 if together else len(rows)
    while _panel_count(dataset, free) * methods > max(_MOST_PANELS, methods):
        longest = max(free, key=lambda axis: extent(dataset, axis))
        values = dataset[longest.name].values
        first = f"the first of {extent(dataset, longest)}"
        held.append(f"{longest.name} = {shown(values[0].item())} ({first})")
        dataset = dataset.isel(configuration=np.flatnonzero(values == values[0]))
    if held:
        notes.insert(0, f"at {', '.join(held)}")
    notes += _failures(dataset, rows)
    final = statistics(dataset.isel(iteration=[-1]), metric)
    return Layout(dataset, _panels(dataset, free, rows, together), final, notes)


def owner(dataset: "xr.Dataset", label: str, argument: str) -> Axis:
    """The axis that a label belongs to; InputError names the argument."""
    for axis in axes_of(dataset):
        if label in axis.labels:
            return axis
    known = [label for axis in axes_of(dataset) for label in axis.labels]
    raise InputError(argument, label, f"one of {', '.join(known) or '(none: this is no sweep)'}")


def distinct(dataset: "xr.Dataset", label: str) -> list[Any]:
    """The values of a label: numbers from the lowest to the highest, texts as they come."""
    found = list(dict.fromkeys(dataset[label].values.tolist()))
    return sorted(found) if numeric(dataset, label) else found


def numeric(dataset: "xr.Dataset", label: str) -> bool:
    """Whether the values of a label are numbers."""
    return dataset[label].dtype.kind == "f"


def extent(dataset: "xr.Dataset", axis: Axis) -> int:
    """At how many points an axis is there."""
    return len(distinct(dataset, axis.name))


def default_label(dataset: "xr.Dataset", axis: Axis, place: int = 0) -> str | None:
    """What a figure shows of an axis: its own labels, or the numbers behind those of samples."""
    own = len(axis.labels) == 1 or not numeric(dataset, axis.name)
    shown_labels = axis.labels[:1] if own else axis.labels[1:]
    return shown_labels[place] if place < len(shown_labels) else None


def _rows(
    dataset: "xr.Dataset", metric: str, algorithm: str | None, together: bool
) -> tuple[list[int], list[str]]:
    """Places of the methods to show, and what is said about the others."""
    names = [str(name) for name in dataset.algorithm.values]
    if algorithm is not None:
        if algorithm not in names:
            raise InputError("--algorithm", algorithm, f"one of {', '.join(names)}")
        return [names.index(algorithm)], []
    means = statistics(dataset.isel(iteration=[-1]), metric).mean.values[..., 0]
    # Seeds are shared: a method that the sweep does not touch has the same runs everywhere.
    same = [bool(np.all(_alike(row))) for row in means]
    if together or means.shape[1] == 1 or all(same):
        return list(range(len(names))), []
    kept = [row for row, alike in enumerate(same) if not alike]
    out = [drawing.plain(name) for name, alike in zip(names, same, strict=True) if alike]
    return kept, [f"not changed by the sweep: {', '.join(out)}"] if out else []


def _alike(values: np.ndarray) -> np.ndarray:
    return (values == values[0]) | (np.isnan(values) & np.isnan(values[0]))


def _failures(dataset: "xr.Dataset", rows: list[int]) -> list[str]:
    """One text for each method of which runs failed."""
    lost, total = failed(dataset).values, runs(dataset) * dataset.sizes["configuration"]
    return [
        f"{drawing.plain(str(dataset.algorithm.values[row]))}: {lost[row].sum()} of {total} runs "
        f"failed, in {np.count_nonzero(lost[row])} of {lost.shape[1]} configurations"
        for row in rows
        if lost[row].any()
    ]


def _panel_count(dataset: "xr.Dataset", free: list[Axis]) -> int:
    return int(np.prod([extent(dataset, axis) for axis in free], dtype=np.int64))


def _panels(
    dataset: "xr.Dataset", free: list[Axis], rows: list[int], together: bool
) -> list[Panel]:
    names = [str(name) for name in dataset.algorithm.values]
    varied = [axis for axis in free if extent(dataset, axis) > 1]
    panels = []
    for group in [rows] if together else [[row] for row in rows]:
        for values in itertools.product(*(distinct(dataset, axis.name) for axis in varied)):
            here = np.ones(dataset.sizes["configuration"], bool)
            told = [] if together and len(names) > 1 else [names[group[0]]]
            for axis, value in zip(varied, values, strict=True):
                here &= dataset[axis.name].values == value
                told.append(f"{axis.name} = {shown(value)}")
            told = (drawing.plain(text, 2 * _TITLE_LETTERS) for text in told)
            title = textwrap.fill(", ".join(told), _TITLE_LETTERS)
            panels.append(Panel(title, group, np.flatnonzero(here)))
    return panels
