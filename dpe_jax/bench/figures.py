"""Charts: times by candidate, and how cost grows."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.bench.sheets import GLOSSES, STEP, Panel, panels, short
from dpe_jax.drawing import COLOURS, entitle, plain_panels, save, wrapped, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR, _LABEL = 0.22, 0.11
"""Heights of a bar with its gap, and more for labels of two lines, in inches."""

_AROUND = 0.72
"""Height of a panel's title and axis, in inches."""

_TITLE = 38
"""Letters in a line of a panel's title."""

_STEP = "a step is one iteration of one coordinate of one agent in one run"

_LOGARITHMIC = 20
"""From this ratio of the most to the least on, the axis is logarithmic."""


def draw(part: str, report: Mapping[str, Any], out: Path, name: str | None = None) -> list[Path]:
    """The chart of a report as png and pdf, or nothing where it has none."""
    charted = panels(part, report)
    if not charted and part != "growth":
        return []
    with writing(out):
        figure = _growth(report) if part == "growth" else _bars(charted, report)
        return [save(figure, out / f"{name or part}.{kind}") for kind in ("png", "pdf")]


def _bars(charted: list[Panel], report: Mapping[str, Any]) -> "Figure":
    figure, grid = plain_panels(len(charted))
    heights = [_height(charted[place : place + 2]) for place in range(0, len(charted), 2)]
    figure.set_figheight(sum(heights))
    _fill(grid, heights)
    for axes, panel in zip(grid, charted, strict=True):
        _panel(axes, panel)
    told = [_measured_on(report), "medians; lines: least to most of all turns"]
    entitle(figure, [*told, *([_STEP] if charted[0].unit == STEP else [])])
    return figure


def _height(row: list[Panel]) -> float:
    """Of panels beside each other, in inches."""
    needed = [
        sum(_BAR + _LABEL * ("\n" in _label(bar.name)) for bar in panel.bars) for panel in row
    ]
    return _AROUND + max(needed)


def _fill(grid: list["Axes"], heights: list[float] | None = None) -> None:
    """Give rows their heights, and a last panel that is alone in its row all of that."""
    spec = grid[0].get_subplotspec()
    assert spec is not None
    rows = spec.get_gridspec()
    if heights is not None:
        rows.set_height_ratios(heights)
    if len(grid) > 1 and len(grid) % 2:
        grid[-1].set_subplotspec(rows[-1, :])


def _label(name: str) -> str:
    """A candidate's name, and what that is."""
    plain = name.replace("_", " ")
    return f"{plain}\n({GLOSSES[plain]})" if plain in GLOSSES else plain


def _panel(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    found = panel.bars
    places = np.arange(len(found))[::-1]
    medians = np.array([bar.median for bar in found])
    low, high = min(bar.low for bar in found), max(bar.high for bar in found)
    ends = np.array([[bar.median - bar.low, bar.high - bar.median] for bar in found]).T
    ours = "engine", "step", "encrypted", "sweep", "fast"
    colours = [COLOURS[0 if bar.name.startswith(ours) else 7] for bar in found]
    if high > _LOGARITHMIC * low:
        # Bars have no end at zero there.
        axes.set_xscale("log")
        for place, bar, colour in zip(places, found, colours, strict=True):
            axes.plot(bar.median, place, "o", color=colour, markersize=4)
        axes.errorbar(medians, places, xerr=np.maximum(ends, 0), fmt="none", ecolor="black")
        axes.set_xlim(low / 1.5, high * (high / low) ** 0.25)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        # Where the axis has little more than a decade, labels would lie upon each other.
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, axis="y", linewidth=0.3)
    else:
        axes.barh(places, medians, 0.7, xerr=np.maximum(ends, 0), color=colours, ecolor="black")
        axes.set_xlim(0, 1.25 * high)
        axes.grid(visible=False, axis="y")
    for place, bar in zip(places, found, strict=True):
        axes.text(bar.high, place, f"  {short(bar.median)}", va="center", fontsize=7)
    axes.set_yticks(places, [_label(bar.name) for bar in found], fontsize=7)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel(panel.unit)
    axes.set_title("\n".join(wrapped(panel.title, _TITLE)), fontsize=7)


def _growth(report: Mapping[str, Any]) -> "Figure":
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    curves = report["curves"]
    figure, grid = plain_panels(len(curves))
    _fill(grid)
    all_ends = np.concatenate([np.array(curve["range_ns"]) for curve in curves.values()])
    for axes, (factor, curve) in zip(grid, curves.items(), strict=True):
        ns, ends = np.array(curve["ns"]), np.array(curve["range_ns"])
        axes.fill_between(curve["values"], ends[:, 0], ends[:, 1], color=COLOURS[0], alpha=0.25)
        axes.plot(curve["values"], ns, color=COLOURS[0], marker="o", markersize=3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(0.8 * all_ends.min(), 1.25 * all_ends.max())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(factor)
        axes.set_ylabel("ns per step")
        axes.set_title(curve["held"], fontsize=7)
    entitle(
        figure,
        [
            _measured_on(report),
            _STEP,
            "a flat curve is a cost in proportion to the factor",
        ],
    )
    return figure


def _measured_on(report: Mapping[str, Any]) -> str:
    count = "1 processor" if report["cpus"] == 1 else f"{report['cpus']} processors"
    on = report.get("measured_device", f"{report['cpu']}, {count}")
    quick = ", quick: too small to compare by" if report.get("quick") else ""
    return f"{on}, jax {report['versions']['jax']}, {report['date']}{quick}"
