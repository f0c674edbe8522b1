"""Figures of an audit: scores, errors of attacks, averages, and leakage against what it costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dpe_jax import drawing
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

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")


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
    colour = drawing.COLOURS[index % len(drawing.COLOURS)]
    return _Look(colour, dash, _MARKERS[index % len(_MARKERS)])


def _scores(report: Report) -> "Figure":
    """A coloured table, methods by views."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    audit = report.audit
    rows, columns = len(audit.methods), len(audit.views)
    left, width, height, top = 1.45, 2.15, 0.62, 0.72
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
            score, *rest = report.lines(cell)
            axes.text(corner[0] + 0.07, middle, score, va="center", fontsize=11, fontweight="bold")
            axes.text(corner[0] + 0.26, middle, "\n".join(rest), va="center", fontsize=7)
    return figure


def _attacks(audit: Audit, name: str) -> "Figure":
    """Errors of attacks on one method over iterations, a panel a view."""
    figure, grid = drawing.plain_panels(len(audit.views))
    for axes, view in zip(grid, audit.views, strict=True):
        cell = audit.cell(name, view)
        drawing.over_iterations(axes, audit.iterations)
        axes.set_yscale("log")
        axes.set_ylim(_LEAST / 2, 30)
        axes.set_title(f"{view} (score {scored(cell)})")
        axes.set_ylabel("error / chance")
        axes.axhline(1.0, color="black", lw=0.8, ls=(0, (2, 2)), label="chance", zorder=1.5)
        if cell.source == "nothing":
            axes.text(
                0.5, 0.5, "nothing to attack", ha="center", va="center", transform=axes.transAxes
            )
        for index, attack in enumerate((*_ATTACKS, _STATE)):
            curve = _curve(cell, attack)
            if curve is not None:
                _line(axes, curve, attack, _look(index))
    drawing.entitle(
        figure,
        [
            f"{drawing.plain(name)}: errors of attacks on agent {audit.target} over chance, 95 % "
            f"intervals over {audit.runs} runs",
            f"(errors below {_LEAST:g} are drawn there)",
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


def _line(axes: "Axes", curve: ErrorCurve, label: str, look: _Look) -> None:
    x = curve.iteration + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        value, low, high = (np.maximum(end / curve.chance, _LEAST) for end in curve.error)
    value = np.where(np.isfinite(value), value, np.nan)
    if np.all(np.isnan(value)):
        return
    axes.fill_between(x, low, high, color=look.colour, alpha=0.15, lw=0)
    marker = look.marker if x.size == 1 else ""
    axes.plot(
        x, value, color=look.colour, ls=look.dash, marker=marker, ms=3, label=label, zorder=2.5
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
    for axes, (view, kind) in zip(grid, panels, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"{kind}, {view}")
        axes.set_xlabel("iterations $T$ in the average")
        axes.set_ylabel("relative error of mean")
        last = audit.iterations - audit.start
        axes.set_xlim(0.9, 1.2 * last)
        axes.set_ylim(_LEAST / 2, 30)
        T = np.array([1.0, last])
        for power, label, dash in ((-0.5, "$T^{-1/2}$", (2, 2)), (-1.0, "$T^{-1}$", (5, 2))):
            axes.plot(T, T**power, color="black", lw=0.8, ls=(0, dash), label=label, zorder=1.5)
        for index, name in enumerate(audit.methods):
            curve = _curve(audit.cell(name, view), kind)
            if curve is not None:
                look = _look(index)
                value = np.maximum(curve.error.value, _LEAST)
                low, high = (np.maximum(end, _LEAST) for end in curve.error[1:])
                x = curve.iteration - audit.start + 1
                axes.fill_between(x, low, high, color=look.colour, alpha=0.12, lw=0)
                label = drawing.plain(name)
                axes.plot(x, value, color=look.colour, ls=look.dash, label=label, zorder=2.5)
    drawing.entitle(
        figure,
        [
            f"{drawing.plain(report.name)}: estimates of the mean gradient from k = {audit.start} "
            f"on, 95 % intervals over {audit.runs} runs",
            f"(errors below {_LEAST:g} are drawn there)",
        ],
    )
    return figure


def _pareto(report: Report) -> "Figure":
    """Leakage against accuracy, leakage of states, bytes and processor time."""
    prices = report.prices
    timed = all(price.cpu_seconds is not None for price in prices)
    metric = next(iter(report.audit.accuracy.values())).metric
    figure, grid = drawing.plain_panels(4 if timed else 3)
    finite = [price.accuracy for price in prices if np.isfinite(price.accuracy)]
    _panel(grid[0], prices, [price.accuracy for price in prices], "median error at the end")
    if finite and min(finite) > 0:
        grid[0].set_yscale("log")
    _panel(grid[1], prices, [price.state_leakage.value for price in prices], "leakage of the state")
    grid[1].set_ylim(-0.06, 1.06)
    _panel(grid[2], prices, [price.bytes for price in prices], "bytes an iteration")
    grid[2].set_yscale("log")
    if timed:
        seconds = [price.cpu_seconds or 0.0 for price in prices]
        _panel(grid[3], prices, seconds, "CPU seconds an iteration")
        if any(seconds):
            least = min(second for second in seconds if second > 0)
            grid[3].set_yscale("symlog", linthresh=10 ** np.floor(np.log10(least)), linscale=0.5)
            grid[3].set_ylim(-0.1 * least, 3 * max(seconds))
    drawing.entitle(
        figure,
        [
            f"{drawing.plain(report.name)}: what the coalition of all neighbors learns of single "
            "gradients, and what a method costs",
            f"median error: {metric}; filled: not dominated in leakage, error, bytes and "
            + ("seconds" if timed else "(seconds were not measured)"),
        ],
    )
    return figure


def _panel(axes: "Axes", prices: Sequence[Price], values: Sequence[float], label: str) -> None:
    axes.set_xlabel("leakage of single gradients")
    axes.set_xlim(-0.06, 1.06)
    axes.set_ylabel(label)
    for index, (price, value) in enumerate(zip(prices, values, strict=True)):
        if not np.isfinite(value):
            continue
        look, leakage = _look(index), price.leakage
        axes.plot(
            [leakage.low, leakage.high], [value, value], color=look.colour, lw=1.0, zorder=2.2
        )
        axes.plot(
            [leakage.value],
            [value],
            color=look.colour,
            marker=look.marker,
            # Smaller ones over larger ones, so that methods which coincide are all seen.
            ms=10 - 6 * index / len(prices),
            mfc="none" if price.dominated else look.colour,
            ls="none",
            alpha=0.85,
            label=drawing.plain(price.method),
            zorder=2.5,
        )
