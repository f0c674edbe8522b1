"""Figures of a comparison: each metric of all methods, and what the baseline makes of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dpe_jax import drawing
from dpe_jax.bands import ROUNDING, Course
from dpe_jax.compare import Comparison, looked_at
from dpe_jax.courses import Courses, courses
from dpe_jax.drawing import Method
from dpe_jax.results import Stored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SYMBOLS = {
    "objective": r"$F(\bar{x}_k)$",
    "gap_mean_state": r"$F(\bar{x}_k) - F^*$",
    "gap_agents": r"$n^{-1}\,\Sigma_i\,F(x_i) - F^*$",
    "error_worst_agent": r"$\mathrm{max}_i\,\|x_i - x^*\|$  (units of $x$)",
    "error_mean_state": r"$\|\bar{x} - x^*\|$  (units of $x$)",
    "consensus_error": r"$(n^{-1}\,\Sigma_i\,\|x_i - \bar{x}\|^2)^{1/2}$  (units of $x$)",
    "stationarity": r"$\|\nabla F(\bar{x}_k)\|$",
    "test_auc": "test AUC",
}
"""Axis labels of metrics that are formulas; others have their names."""

_DECADE = 10.0
"""A metric of positive means that spans as much is shown on a logarithmic axis and as a ratio."""


def draw(stored: Stored, comparison: Comparison, out: Path) -> list[Path]:
    """Draw `compare-<metric>` of every metric as PNG and PDF in `out`; return their paths.

    Left: the mean of each method with its 95 % interval against iterations. Right: its ratio to
    the baseline where the metric is positive and spans decades, or else the difference, with its
    interval; over the runs that are sound to the end in both. Raises `InputError` if `out` cannot
    be written.
    """
    paths = []
    seen = Stored(
        stored.path, stored.config, stored.manifest, stored.summary, looked_at(stored.curves)
    )
    with drawing.writing(out):
        methods = drawing.methods(seen)
        for metric in comparison.metrics:
            figure = _figure(seen, comparison, metric, methods)
            paths += [
                drawing.save(figure, out / f"compare-{metric}.{kind}") for kind in ("png", "pdf")
            ]
    return paths


def _figure(stored: Stored, comparison: Comparison, metric: str, methods: list[Method]) -> "Figure":
    """Means on the left, ratios or differences on the right."""
    found, x, notes = courses(stored, comparison, metric), drawing.axis(stored), []
    name = metric.replace("_", " ")
    symbol = _SYMBOLS.get(metric, name)
    floor = ROUNDING if metric == "consensus_error" else 0.0
    logarithmic = spans_decades(found, floor)
    figure, (left, right) = drawing.panels(stored, 2)
    left.set_ylabel(symbol)
    if logarithmic:
        left.set_yscale("log")
    shown = drawing.drawable(methods, left, right)
    for method in shown:
        course = found.mean[method.name]
        if not drawing.line(left, x, course, method, floor if logarithmic else -np.inf):
            notes.append(f"{method.label}: {name} zero up to rounding" if logarithmic else "")
    base = next(method for method in methods if method.name == comparison.baseline)
    ratio = logarithmic and _positive(found.mean[base.name], floor)
    others = [method for method in shown if method.name != base.name]
    _beside(right, x, others, found, floor, base, ratio)
    if len(methods) > 1 and not base.sound.size:
        notes.append(f"{base.label}, the baseline, has no sound run")
    drawing.finish(
        figure,
        stored,
        methods,
        f"{name} beside {base.label}",
        [note for note in notes if note],
        what="means with 95 % bootstrap intervals",
        left_out=", left out",
    )
    return figure


def spans_decades(found: Courses, floor: float = 0.0) -> bool:
    """Whether the means are never negative, and those above `floor` span a factor of ten."""
    means = np.concatenate([course.mean for course in found.mean.values()])
    finite = means[np.isfinite(means)]
    positive = finite[finite > floor]
    if not positive.size or np.any(finite < 0):
        return False
    return bool(positive.max() >= _DECADE * positive.min())


def _positive(course: Course, floor: float) -> bool:
    """Whether a mean exceeds `floor` at half of the record points or more: else no ratio to it."""
    return 2 * int(np.sum(course.mean > floor)) >= course.mean.size


def _beside(
    axes: "Axes",
    x: np.ndarray,
    methods: list[Method],
    found: Courses,
    floor: float,
    base: Method,
    ratio: bool,
) -> None:
    """The ratios to the baseline, or the differences, with a line where there is none."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    axes.axhline(1.0 if ratio else 0.0, color=base.colour, ls=base.dash, lw=1.0, zorder=1.9)
    axes.set_ylabel(f"ratio to {base.label}" if ratio else f"difference from {base.label}")
    if ratio:
        axes.set_yscale("log")
        # Ratios are read as numbers; minor ticks are labelled where there are few decades.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    for method in methods:
        if not ratio:
            drawing.line(axes, x, found.difference[method.name], method)
            continue
        # A ratio of what is only rounding says nothing.
        none = ~(found.mean[method.name].mean > floor) | ~(found.mean[base.name].mean > floor)
        shown = Course(*(np.where(none, np.nan, column) for column in found.ratio[method.name]))
        drawing.line(axes, x, shown, method, 0.0)
