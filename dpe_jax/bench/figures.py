"""Charts: bars of nanoseconds by candidate, and how cost grows."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.bench.sheets import Bar, bars
from dpe_jax.drawing import COLOURS, entitle, plain_panels, save, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR = 0.22
"""Height of a bar with its gap, in inches."""


def draw(part: str, report: Mapping[str, Any], out: Path) -> list[Path]:
    """The chart of a report as png and pdf, or nothing where it has none."""
    charted = bars(part, report)
    if not charted and part != "growth":
        return []
    with writing(out):
        figure = _growth(report) if part == "growth" else _bars(charted, report)
        return [save(figure, out / f"{part}.{kind}") for kind in ("png", "pdf")]


def _bars(charted: dict[str, list[Bar]], report: Mapping[str, Any]) -> "Figure":
    figure, grid = plain_panels(len(charted))
    longest = max(map(len, charted.values()))
    figure.set_figheight(figure.get_figheight() * max(1.0, 0.3 + longest * _BAR / 2))
    for axes, (title, found) in zip(grid, charted.items(), strict=True):
        _panel(axes, title, found)
    entitle(figure, [_measured_on(report), "medians, with the least and the most of all turns"])
    return figure


def _panel(axes: "Axes", title: str, found: list[Bar]) -> None:
    places = np.arange(len(found))[::-1]
    medians = np.array([bar.median for bar in found])
    ends = np.array([[bar.median - bar.low, bar.high - bar.median] for bar in found]).T
    colours = [COLOURS[0 if bar.name.startswith(("engine", "encrypted")) else 7] for bar in found]
    axes.barh(places, medians, 0.7, xerr=np.maximum(ends, 0), color=colours, ecolor="black")
    for place, bar in zip(places, found, strict=True):
        axes.text(bar.high, place, f" {bar.median:.3g}", va="center", fontsize=7)
    axes.set_yticks(places, [bar.name.replace("_", " ") for bar in found])
    axes.set_xlim(0, 1.2 * max(bar.high for bar in found))
    axes.set_xlabel("ns per agent, coordinate and step")
    axes.set_title(title)
    axes.grid(visible=False, axis="y")


def _growth(report: Mapping[str, Any]) -> "Figure":
    curves = report["curves"]
    figure, grid = plain_panels(len(curves))
    for axes, (factor, curve) in zip(grid, curves.items(), strict=True):
        ns, ends = np.array(curve["ns"]), np.array(curve["range_ns"])
        axes.fill_between(curve["values"], ends[:, 0], ends[:, 1], color=COLOURS[0], alpha=0.25)
        axes.plot(curve["values"], ns, color=COLOURS[0], marker="o", markersize=3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(factor)
        axes.set_ylabel("ns per element-step")
        axes.set_title(curve["held"], fontsize=7)
    entitle(figure, [_measured_on(report), "a flat curve is a cost in proportion to the factor"])
    return figure


def _measured_on(report: Mapping[str, Any]) -> str:
    on = report.get("measured_device", f"{report['cpu']}, {report['cpus']} processors")
    return f"{on}, jax {report['versions']['jax']}, {report['date']}"
