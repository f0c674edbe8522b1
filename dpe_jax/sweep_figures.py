"""Figures of a sweep: maps over two of its labels, curves, and the response to one label."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from dpe_jax import drawing, sweep_style
from dpe_jax.bands import Course
from dpe_jax.drawing import Method
from dpe_jax.sweep_layout import (
    At,
    Layout,
    Panel,
    default_label,
    distinct,
    extent,
    layout,
    owner,
)
from dpe_jax.sweep_statistics import Statistics, failed, metrics, select, shown, statistics
from dpe_jax.sweeps import axes_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_MOST_LINES = 64
"""Of a panel; beyond them some values are left out."""

_ANNOTATED = 5, 8
"""Up to so many columns and rows, cells have their number written in them."""

_UNSOUND, _HATCH = "#e4e4e4", "#888888"


def draw_sweep(
    dataset: "xr.Dataset",
    out: Path,
    x: str | None = None,
    y: str | None = None,
    metric: str | None = None,
    algorithm: str | None = None,
    at: At | None = None,
) -> list[Path]:
    """Draw a sweep as PNG and PDF in `out`; return their paths.

    `heat_map` shows the labels x and y (those of the first two axes), `curves` and `response` the
    label x; the metric is the first of those recorded. Axes that are not shown are held at the
    values of `at`, or have panels of their own. Raises InputError if `out` cannot be written, or if
    there is no such label, value, metric or method.
    """
    known = metrics(dataset)
    metric = metric or (known[0] if known else "none")
    x, y = _labels(select(dataset, at or {}), x, y)
    of_two_axes = y is not None and owner(dataset, x, "--x") != owner(dataset, y, "--y")
    by = y
    if y is not None and not (of_two_axes and len(distinct(dataset, y)) <= sweep_style.NAMED_LINES):
        by = None
    with drawing.writing(out):
        figures = {
            "curves": curves(dataset, metric, x, algorithm, at),
            "response": response(dataset, metric, x, by, algorithm, at),
        }
        if y is not None:
            figures["heat_map"] = heat_map(dataset, metric, x, y, algorithm, at)
        return [
            drawing.save(figure, out / f"{name}.{kind}")
            for name, figure in figures.items()
            for kind in ("png", "pdf")
        ]


def _labels(dataset: "xr.Dataset", x: str | None, y: str | None) -> tuple[str, str | None]:
    """The labels to show: those asked for, or else those of the first axes that vary."""
    asked = [owner(dataset, label, name) for name, label in (("--x", x), ("--y", y)) if label]
    axes = [axis for axis in axes_of(dataset) if axis not in asked]
    axes.sort(key=lambda axis: extent(dataset, axis) == 1)
    if x is None:
        # The axis of y is left if there is no other; without any axis this refuses.
        first = axes.pop(0) if axes else owner(dataset, y or "", "--y")
        x = default_label(dataset, first)
    assert x is not None  # an axis has a label
    if y is None:
        # Of samples the first two numbers, if there are two.
        second = default_label(dataset, owner(dataset, x, "--x"), 1)
        varied = [axis for axis in axes if extent(dataset, axis) > 1]
        y = default_label(dataset, varied[0]) if varied else None
        y = second if second not in (None, x) else y
    return x, y


def heat_map(
    dataset: "xr.Dataset",
    metric: str,
    x: str,
    y: str,
    algorithm: str | None = None,
    at: At | None = None,
    statistic: str = "mean",
) -> "Figure":
    """The last `mean` (or `median`) over two labels, one cell for each pair of values.

    Labels of one axis, such as those of random samples, are shown as points instead. Colours are
    logarithmic if the values span more than a decade.
    """
    from matplotlib.cm import ScalarMappable

    found = layout(dataset, metric, {"x": x, "y": y}, algorithm, at)
    figure, grid = drawing.plain_panels(len(found.panels))
    last = getattr(found.final, statistic).values[..., 0]
    values = [last[panel.rows[0], panel.places] for panel in found.panels]
    norm, notes = sweep_style.colour_scale(np.concatenate(values))
    colours = ScalarMappable(norm, sweep_style.COLOURS)
    of_points = owner(dataset, x, "x") == owner(dataset, y, "y")
    for axes, panel, own in zip(grid, found.panels, values, strict=True):
        axes.set_title(panel.title)
        axes.set_xlabel(drawing.plain(x))
        axes.set_ylabel(drawing.plain(y))
        part = found.dataset.isel(configuration=panel.places)
        if of_points:
            _points(axes, part, x, y, own, colours)
        else:
            some = failed(part).values[panel.rows[0]] > 0
            notes += _cells(axes, part, x, y, own, some, colours)
    unsound = int(np.isnan(np.concatenate(values)).sum())
    if unsound:
        notes.append(f"{'crosses' if of_points else 'hatched'}: no sound run ({unsound})")
    sweep_style.bar(figure, grid, colours, sweep_style.FORMULAS[metric])
    end = int(found.dataset.iteration.values[-1])
    sweep_style.entitle(
        figure, found, f"{statistic} of {sweep_style.TITLES[metric]} at k = {end}", notes
    )
    return figure


def _cells(
    axes: "Axes",
    part: "xr.Dataset",
    x: str,
    y: str,
    values: Float[np.ndarray, " places"],
    some_failed: Bool[np.ndarray, " places"],
    colours: "ScalarMappable",
) -> list[str]:
    """One cell for each pair of values, all of one size; returns what is to be said."""
    from matplotlib.patches import Rectangle

    columns, rows = distinct(part, x), distinct(part, y)
    few = len(columns) <= _ANNOTATED[0] and len(rows) <= _ANNOTATED[1]
    cells = np.full((len(rows), len(columns), 4), np.nan)
    pairs = zip(part[x].values.tolist(), part[y].values.tolist(), strict=True)
    places = [(columns.index(across), rows.index(up)) for across, up in pairs]
    dotted = False
    for (column, row), value, some in zip(places, values, some_failed, strict=True):
        # Beyond the ends of the scale, and infinite, a cell has the colour of that end.
        cells[row, column] = colours.to_rgba(np.clip(value, *colours.get_clim()))
        if np.isnan(value):
            box = Rectangle((column, row), 1, 1, fc=_UNSOUND, ec=_HATCH, hatch="////", lw=0)
            axes.add_patch(box)
            continue
        if some:
            box = Rectangle((column, row), 1, 1, fc="none", ec="white", hatch="...", lw=0)
            axes.add_patch(box)
            dotted = True
        if few:
            dark = cells[row, column, :3] @ [0.3, 0.59, 0.11] < 0.5
            told = {"ha": "center", "va": "center", "fontsize": 7}
            shade = "white" if dark else "black"
            axes.text(column + 0.5, row + 0.5, f"{value:.2g}", color=shade, **told)
    axes.pcolormesh(cells, zorder=0.5)
    axes.grid(visible=False)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(0, len(rows))
    sweep_style.ticks(axes, "x", columns, 0.5)
    sweep_style.ticks(axes, "y", rows, 0.5)
    return ["dotted: some runs failed"] if dotted else []


def _points(
    axes: "Axes",
    part: "xr.Dataset",
    x: str,
    y: str,
    values: Float[np.ndarray, " places"],
    colours: "ScalarMappable",
) -> None:
    """One point for each configuration."""
    across = sweep_style.positions(axes, "x", part, x)
    up = sweep_style.positions(axes, "y", part, y)
    sound = ~np.isnan(values)
    shades = colours.to_rgba(np.clip(values[sound], *colours.get_clim()))
    axes.scatter(across[sound], up[sound], 22, c=shades, lw=0)
    axes.scatter(across[~sound], up[~sound], 22, color=_HATCH, marker="x", lw=0.9)


def curves(
    dataset: "xr.Dataset",
    metric: str,
    axis: str,
    algorithm: str | None = None,
    at: At | None = None,
) -> "Figure":
    """The mean against the iteration, one line for each value of a label, with bands if few."""
    found = layout(dataset, metric, {"axis": axis}, algorithm, at)
    figure, grid = drawing.plain_panels(len(found.panels))
    notes = []
    values = distinct(found.dataset, axis)
    if len(values) > _MOST_LINES:
        places = np.linspace(0, len(values) - 1, _MOST_LINES).round().astype(int)
        notes.append(f"{_MOST_LINES} of {len(values)} values of {drawing.plain(axis)}")
        values = [values[place] for place in places]
    named = len(values) <= sweep_style.NAMED_LINES
    k = found.dataset.iteration.values
    levels = found.final.levels
    for axes, panel in zip(grid, found.panels, strict=True):
        drawing.over_iterations(axes, int(k[-1]))
        axes.set_title(panel.title)
        sweep_style.scale(axes, metric)
        of = found.dataset[axis].values[panel.places]
        drawn = []
        for place, value in enumerate(values):
            kind = sweep_style.line_kind(place, len(values), f"{axis} = {shown(value)}")
            here = panel.places[np.flatnonzero(of == value)[:1]]
            one = found.dataset.isel(algorithm=panel.rows, configuration=here)
            course = _course(statistics(one, metric))
            if not named:
                course = Course(course.mean, course.mean * np.nan, course.mean * np.nan)
            if drawing.line(axes, k + 1, course, kind, sweep_style.floor(metric), edges=False):
                drawn.append(course.mean)
        _finish_panel(axes, metric, drawn, notes, of_time=True)
    if not named:
        _bar_of_lines(figure, grid, axis, values)
    what = f"mean and {_band(levels)}" if named else "mean"
    sweep_style.entitle(figure, found, f"{what} of {sweep_style.TITLES[metric]}", notes)
    return figure


def _bar_of_lines(figure: "Figure", grid: list["Axes"], axis: str, values: list) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    kinds = [sweep_style.line_kind(place, len(values), "") for place in range(len(values))]
    colours = ListedColormap([kind.colour for kind in kinds])
    lines = ScalarMappable(Normalize(-0.5, len(values) - 0.5), colours)
    beside = sweep_style.bar(figure, grid, lines, drawing.plain(axis))
    beside.minorticks_off()
    sweep_style.ticks(beside, "y", values, 0.0)


def response(
    dataset: "xr.Dataset",
    metric: str,
    axis: str,
    by: str | None = None,
    algorithm: str | None = None,
    at: At | None = None,
) -> "Figure":
    """The last mean and band against a label: a line for each method, or each value of `by`."""
    labels = {"axis": axis} if by is None else {"axis": axis, "by": by}
    found = layout(dataset, metric, labels, algorithm, at, together=by is None)
    figure, grid = drawing.plain_panels(len(found.panels))
    notes = []
    for axes, panel in zip(grid, found.panels, strict=True):
        axes.set_title(panel.title)
        axes.set_xlabel(drawing.plain(axis))
        sweep_style.scale(axes, metric)
        part = found.dataset.isel(configuration=panel.places)
        x = sweep_style.positions(axes, "x", part, axis)
        drawn = []
        lines = _lines(found, panel, by)
        for place, (kind, row, here) in enumerate(lines):
            line = _line if sweep_style.joined(part.isel(configuration=here), axis) else _bars
            here = here[np.argsort(x[here], kind="stable")]
            course = _course(found.final, row, panel.places[here])
            beside = x[here] + sweep_style.aside(part, axis, place, len(lines))
            if line(axes, beside, course, kind, sweep_style.floor(metric)):
                drawn.append(course.mean)
        _finish_panel(axes, metric, drawn, notes, of_time=False)
    end = int(found.dataset.iteration.values[-1])
    what = f"mean and {_band(found.final.levels)} of {sweep_style.TITLES[metric]} at k = {end}"
    sweep_style.entitle(figure, found, what, notes)
    return figure


def _lines(found: Layout, panel: Panel, by: str | None) -> list[tuple[Method, int, np.ndarray]]:
    """The lines of a panel: how each is shown, of which method, and where in the panel it is."""
    if by is None:
        names = [str(name) for name in found.dataset.algorithm.values]
        everywhere = np.arange(len(panel.places))
        return [
            (sweep_style.line_kind(row, len(names), names[row]), row, everywhere)
            for row in panel.rows
        ]
    of, values = found.dataset[by].values[panel.places], distinct(found.dataset, by)
    kinds = [
        sweep_style.line_kind(place, len(values), f"{by} = {shown(value)}")
        for place, value in enumerate(values)
    ]
    places = [np.flatnonzero(of == value) for value in values]
    return [(kind, panel.rows[0], here) for kind, here in zip(kinds, places, strict=True)]


def _line(
    axes: "Axes", x: Float[np.ndarray, " points"], values: Course, kind: Method, floor: float
) -> bool:
    """A line with its band and a mark at each value; False if nothing exceeds `floor`."""
    mean = drawing.above(values.mean, floor)
    axes.plot(x, mean, color=kind.colour, ls="none", marker="o", ms=2.5, zorder=2.6)
    return drawing.line(axes, x, values, kind, floor, edges=False)


def _bars(
    axes: "Axes", x: Float[np.ndarray, " points"], values: Course, kind: Method, floor: float
) -> bool:
    """Marks with bars; False if nothing exceeds `floor`."""
    mean, low, high = (drawing.above(column, floor) for column in values)
    if np.all(np.isnan(mean)):
        return False
    low = np.where(np.isnan(low) & ~np.isnan(high), np.nanmin(mean), low)
    axes.vlines(x, low, high, color=kind.colour, lw=0.8, alpha=0.6)
    axes.plot(x, mean, color=kind.colour, ls="none", marker="o", ms=3, label=kind.label)
    return True


def _course(found: Statistics, row: int = 0, places: np.ndarray | None = None) -> Course:
    """The iterations of one configuration, or the last of them for several configurations."""
    columns = (column.values[row] for column in (found.mean, found.low, found.high))
    return Course(*(column[0] if places is None else column[places, -1] for column in columns))


def _finish_panel(
    axes: "Axes", metric: str, drawn: list[np.ndarray], notes: list[str], *, of_time: bool
) -> None:
    notes += sweep_style.cut(axes, metric, drawn, of_time=of_time)
    if not drawn:
        axes.text(0.5, 0.5, "no sound run", ha="center", va="center", transform=axes.transAxes)


def _band(levels: tuple[float, float]) -> str:
    return f"{100 * levels[0]:g}–{100 * levels[1]:g} % band"
