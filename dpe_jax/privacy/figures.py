"""Figures of an audit: scores, errors of attacks, averages, and leakage against what it costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from jaxtyping import Float

from dpe_jax import drawing
from dpe_jax.observe import LABELS, Metric
from dpe_jax.privacy.attacks import ErrorCurve
from dpe_jax.privacy.audit import Audit, Cell
from dpe_jax.privacy.leaks import EVERYONE, GRANTED
from dpe_jax.privacy.pareto import Price
from dpe_jax.privacy.report import Report, scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES, AVERAGES, PARETO = "scores", "averages", "pareto"

_ATTACKS = (
    "inversion",
    "scaled",
    "running mean",
    "sign",
    "running mean's sign",
    "average",
    "sum",
    "likelihood",
    "weighted regression at x*",
)
"""Those that are drawn, beside the best on states; the others are in audit.json."""

_STATE = "state (best attack)"
_LEAST = 1e-4
"""Errors below are drawn as that: they are zero up to rounding."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8")

_COLOURS = (*drawing.COLOURS, "#882255", "#999933", "#332288", "#44AA99", "#661100", "#AA4499")
"""One for each of up to fourteen methods or attacks: the last six are Tol's."""

_MOST = 1e4
"""Errors of averages above are cut off."""

_NEAR, _BESIDE = 0.045, 0.034
"""Of the width of a panel: what is as near as that coincides, and then stands so far apart."""


class _Look(NamedTuple):
    colour: str
    dash: tuple[int, tuple[float, ...]]
    marker: str


def draw(report: Report, out: Path) -> list[Path]:
    """Draw all figures as PNG and PDF in `out`; return their paths.

    `scores`, `attacks-<method>`, `averages` and `pareto`. Raises `InputError` if `out` cannot be
    written.
    """
    audit = report.audit
    with drawing.writing(out):
        made = {SCORES: _scores(report), PARETO: _pareto(report)}
        averages = _averages(report)
        if averages is not None:
            made[AVERAGES] = averages
        made |= {f"attacks-{name}": _attacks(audit, name) for name in audit.methods}
        return [
            drawing.save(figure, out / f"{_file(name)}.{kind}")
            for name, figure in made.items()
            for kind in ("png", "pdf")
        ]


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)


def _look(index: int) -> _Look:
    dash = drawing.DASHES[(index + index // len(drawing.COLOURS)) % len(drawing.DASHES)]
    return _Look(_COLOURS[index % len(_COLOURS)], dash, _MARKERS[index % len(_MARKERS)])


def _marks(index: int, points: int) -> slice:
    """Which points of a curve have a mark: others than those of the curves beside it."""
    every = max(1, min(points // 2, 8))
    return slice(index % every, None, every)


def _wide(texts: Sequence[str], size: float) -> float:
    """The width of the longest text, in inches."""
    from matplotlib.textpath import TextPath

    return max(float(TextPath((0, 0), text, size=size).get_extents().width) for text in texts) / 72


def _scores(report: Report) -> "Figure":
    """A coloured table, methods by views."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    audit = report.audit
    rows, columns = len(audit.methods), len(audit.views)
    told = {
        (name, view): report.lines(audit.cell(name, view))
        for name in audit.methods
        for view in audit.views
    }
    lines = [line for cell in told.values() for line in cell[1:]]
    left = max(1.45, 0.16 + _wide([drawing.plain(name) for name in audit.methods], 8.0))
    width = max(2.15, 0.34 + _wide(lines, 7.0))
    height, top = 0.62, 0.72
    size = left + columns * width + 0.05, top + rows * height + 0.05
    figure = Figure(size)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.text(
        0.06,
        0.08,
        f"{drawing.plain(report.name)}: scores of agent {audit.target}'s privacy, 0 to 3, and the "
        "errors they rest on\n(beside chance: g gradient, ± its signs, mean, x state)",
        va="top",
        fontsize=8.5,
    )
    for j, view in enumerate(audit.views):
        axes.text(left + (j + 0.5) * width, top - 0.06, view, ha="center", va="bottom", fontsize=8)
    for i, name in enumerate(audit.methods):
        middle = top + (i + 0.5) * height
        axes.text(0.06, middle, drawing.plain(name), va="center", fontsize=8)
        for j, view in enumerate(audit.views):
            cell = audit.cell(name, view)
            corner = left + j * width, top + i * height
            box = Rectangle(
                corner,
                width,
                height,
                facecolor=drawing.SCORES[scored(cell)],
                edgecolor="white",
                lw=1.5,
            )
            axes.add_patch(box)
            score, *rest = told[name, view]
            axes.text(corner[0] + 0.07, middle, score, va="center", fontsize=11, fontweight="bold")
            axes.text(corner[0] + 0.26, middle, "\n".join(rest), va="center", fontsize=7)
    return figure


def _attacks(audit: Audit, name: str) -> "Figure":
    """Errors of attacks on one method over iterations, a panel a view that sees something."""
    cells = [audit.cell(name, view) for view in audit.views]
    seen = [cell for cell in cells if cell.source != "nothing"]
    blind = [cell.view for cell in cells if seen and cell not in seen]
    figure, grid = drawing.plain_panels(len(seen or cells))
    for axes, cell in zip(grid, seen or cells, strict=True):
        drawing.over_iterations(axes, audit.iterations)
        axes.set_yscale("log")
        axes.set_ylim(_LEAST / 2, 30)
        axes.set_title(f"{cell.view} (score {scored(cell)})")
        axes.set_ylabel("error / chance")
        axes.axhline(1.0, color="black", lw=0.8, ls=(0, (2, 2)), label="chance", zorder=1.5)
        if cell.source == "nothing":
            axes.text(
                0.5, 0.5, "nothing to attack", ha="center", va="center", transform=axes.transAxes
            )
        for index, attack in enumerate((*_ATTACKS, _STATE)):
            curve = _curve(cell, attack)
            if curve is not None:
                _line(axes, curve, attack, index)
    drawing.entitle(
        figure,
        [
            f"{drawing.plain(name)}: errors of attacks on agent {audit.target} over chance, 95 % "
            f"intervals over {audit.runs} runs",
            f"(errors below {_LEAST:g} are drawn there"
            + (f"; nothing to attack: {', '.join(blind)})" if blind else ")"),
        ],
    )
    return figure


def _curve(cell: Cell, attack: str) -> ErrorCurve | None:
    """The curve of an attack; for states that of the best one, where that is not given."""
    if attack == _STATE:
        best = cell.scores.state
        if best is None or cell.view == GRANTED:
            return None
        attack = best.attack
    return next((curve for curve in cell.curves if curve.attack == attack), None)


def _line(axes: "Axes", curve: ErrorCurve, label: str, index: int) -> None:
    x, look = curve.iteration + 1, _look(index)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, low, high = (np.maximum(end / curve.chance, _LEAST) for end in curve.error)
    value = np.where(np.isfinite(value), value, np.nan)
    if np.all(np.isnan(value)):
        return
    axes.fill_between(x, low, high, color=look.colour, alpha=0.15, lw=0)
    _plot(axes, x, value, label, index)


def _plot(axes: "Axes", x: np.ndarray, value: np.ndarray, label: str, index: int) -> None:
    look = _look(index)
    axes.plot(
        x,
        value,
        color=look.colour,
        ls=look.dash,
        lw=1.1,
        marker=look.marker,
        markevery=_marks(index, x.size),
        # Smaller ones over larger ones, where two are at one point all the same.
        ms=5.2 - 2.2 * index / len(_COLOURS),
        mew=0.6,
        label=label,
        zorder=2.5,
    )


def _averages(report: Report) -> "Figure | None":
    """Errors of averages against how many iterations they are over, beside T^−½ and T^−1."""
    audit = report.audit
    kinds = ("average", "likelihood")
    panels = [
        (view, kind)
        for view in (EVERYONE, GRANTED)
        for kind in kinds
        if any(_curve(audit.cell(name, view), kind) is not None for name in audit.methods)
    ]
    if not panels:
        return None
    figure, grid = drawing.plain_panels(len(panels))
    cut = False
    for axes, (view, kind) in zip(grid, panels, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"{kind}, {view}")
        axes.set_xlabel("iterations $T$ in the average")
        axes.set_ylabel("relative error of mean")
        last = audit.iterations - audit.start
        axes.set_xlim(0.9, 1.2 * last)
        tops = [30.0]
        T = np.array([1.0, last])
        for power, label, dash in ((-0.5, "$T^{-1/2}$", (2, 2)), (-1.0, "$T^{-1}$", (5, 2))):
            axes.plot(T, T**power, color="black", lw=0.8, ls=(0, dash), label=label, zorder=1.5)
        for index, name in enumerate(audit.methods):
            curve = _curve(audit.cell(name, view), kind)
            if curve is not None:
                look = _look(index)
                tops.append(2 * float(np.nanmax(curve.error.value)))
                value = np.maximum(curve.error.value, _LEAST)
                low, high = (np.maximum(end, _LEAST) for end in curve.error[1:])
                x = curve.iteration - audit.start + 1
                axes.fill_between(x, low, high, color=look.colour, alpha=0.12, lw=0)
                _plot(axes, x, value, drawing.plain(name), index)
        axes.set_ylim(_LEAST / 2, min(_MOST, max(tops)))
        cut = cut or max(tops) > 2 * _MOST
    drawing.entitle(
        figure,
        [
            f"{drawing.plain(report.name)}: estimates of the mean gradient from k = {audit.start} "
            f"on, 95 % intervals over {audit.runs} runs",
            f"(errors below {_LEAST:g} are drawn there"
            + (f"; cut off above {_MOST:g})" if cut else ")"),
        ],
    )
    return figure


def _pareto(report: Report) -> "Figure":
    """Leakage against accuracy, leakage of states, bytes and processor time."""
    prices = report.prices
    timed = all(price.cpu_seconds is not None for price in prices)
    metric = next(iter(report.audit.accuracy.values())).metric
    figure, grid = drawing.plain_panels(4 if timed else 3)
    shown = [
        ("median error at the end", [price.accuracy for price in prices]),
        ("leakage of the state", [price.state_leakage.value for price in prices]),
        ("bytes an iteration", [price.bytes for price in prices]),
        ("CPU seconds an iteration", [price.cpu_seconds or 0.0 for price in prices]),
    ]
    for axes, (label, values) in zip(grid, shown, strict=False):
        axes.set_xlabel("leakage of single gradients")
        axes.set_xlim(-0.06, 1.12)
        axes.set_ylabel(label)
        _scale(axes, [value for value in values if np.isfinite(value)], label.startswith("leakage"))
        _points(axes, prices, values)
    drawing.entitle(
        figure,
        [
            f"{drawing.plain(report.name)}: what the coalition of all neighbors learns of single "
            "gradients, and what a method costs",
            f"error: {LABELS.get(cast(Metric, metric), metric)}; filled: not dominated in leakage, "
            "error, bytes and " + ("seconds" if timed else "(seconds were not measured)"),
            "lines: 95 % intervals; methods that coincide stand side by side",
        ],
    )
    return figure


def _scale(axes: "Axes", values: Sequence[float], share: bool) -> None:
    """The vertical axis: from 0 to 1, logarithmic, or logarithmic with a zero."""
    positive = [value for value in values if value > 0]
    if share or not positive:
        axes.set_ylim(-0.06, 1.06)
    elif len(positive) == len(values):
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 2, 2 * max(positive))
    else:
        least = min(positive)
        axes.set_yscale("symlog", linthresh=10 ** np.floor(np.log10(least)), linscale=0.5)
        axes.set_ylim(-0.1 * least, 3 * max(positive))


def _points(axes: "Axes", prices: Sequence[Price], values: Sequence[float]) -> None:
    """A mark with an interval for each method."""
    true = [(price.leakage.value, value) for price, value in zip(prices, values, strict=True)]
    shown = np.isfinite(true).all(axis=1)
    ends = axes.transScale + axes.transLimits
    places = ends.transform(np.array(true)[shown])
    beside = ends.inverted().transform(_side_by_side(places))
    for index, x in zip(np.flatnonzero(shown).tolist(), beside[:, 0], strict=True):
        price, look = prices[index], _look(index)
        value, leakage = values[index], price.leakage
        axes.plot(
            [leakage.low, leakage.high], [value, value], color=look.colour, lw=0.8, zorder=2.2
        )
        axes.plot(
            [x],
            [value],
            color=look.colour,
            marker=look.marker,
            ms=5,
            mew=0.9,
            mfc="white" if price.dominated else look.colour,
            ls="none",
            label=drawing.plain(price.method),
            zorder=2.5,
        )


def _side_by_side(places: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
    """Places in a panel, those that coincide moved apart to the left and right."""
    moved = places.copy()
    groups: list[list[int]] = []
    for place, point in enumerate(places):
        near = (g for g in groups if np.all(np.abs(places[g] - point) < _NEAR, axis=1).any())
        group = next(near, None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    for group in groups:
        steps = np.arange(len(group)) - (len(group) - 1) / 2
        middle = places[group, 0].mean() if len(group) > 1 else places[group[0], 0]
        moved[group, 0] = middle + _BESIDE * steps
    return moved
