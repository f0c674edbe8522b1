"""The figure of a certificate: who exceeds ε from m on, and what suprema remain."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dpe_jax import drawing
from dpe_jax.bands import Course
from dpe_jax.certificate import LEVEL, QUANTILES, TAIL, Study
from dpe_jax.drawing import Method
from dpe_jax.results import Stored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_BELOW = 0.7
"""Of the least median at the start of the tail, where lines of slopes begin."""


def draw(stored: Stored, study: Study, out: Path) -> list[Path]:
    """Draw `certificate` as PNG and PDF in `out`; return their paths.

    A panel for each ε: the fraction of runs that exceed it at any k ≥ m, and its upper bound, with
    the tail that the verdict rests on. Last panel: median and 99 % quantile over runs of the
    supremum from m on, in units of e_0, with predicted slopes. Raises `InputError` if `out` cannot
    be written.
    """
    one = next(iter(study.certificates.values()))
    with drawing.writing(out):
        # A run that fails counts as one that exceeds; so no method is left out.
        methods = drawing.methods(stored)
        figure = drawn(stored, study, methods)
        notes = [
            f"the verdict rests on the tail from m = {one.tail} on",
            f"bounds hold with {100 * one.confidence:.4g} %",
        ]
        drawing.finish(
            figure,
            stored,
            methods,
            "almost sure convergence",
            notes,
            what="exceedances",
            left_out=", counted as exceeding",
        )
        return [drawing.save(figure, out / f"certificate.{kind}") for kind in ("png", "pdf")]


def drawn(stored: Stored, study: Study, methods: list[Method]) -> "Figure":
    """The panels of `draw`, without title and legend."""
    one = next(iter(study.certificates.values()))
    figure, panels = drawing.panels(stored, len(one.exceedances) + 1)
    for place, axes in enumerate(panels[:-1]):
        _exceedances(axes, study, methods, place)
    _suprema(panels[-1], study, methods)
    tail = f"$m = K/{TAIL}$"
    for axes in panels:
        axes.set_xlabel("$m + 1$  (iterations $k \\geq m$ count)")
        axes.axvline(one.tail + 1, color="black", lw=0.8, ls=":", zorder=1.5, label=tail)
    return figure


def _exceedances(axes: "Axes", study: Study, methods: list[Method], place: int) -> None:
    """Upper bounds, and the fractions that they bound, of one ε."""
    lowest = 1.0
    for method in methods:
        found = study.certificates[method.name]
        exceedance = found.exceedances[place]
        fraction, upper = exceedance.counts / found.runs, exceedance.bounds.upper
        drawing.line(axes, found.first + 1, Course(upper, fraction, upper), method, edges=False)
        lowest = min(lowest, float(upper.min()))
        axes.set_ylabel(
            f"upper {100 * found.confidence:.4g} % bound of the\n"
            f"share beyond $\\epsilon$ = {exceedance.fraction:g} $e_0$"
        )
    label = f"accepted: at most {100 * LEVEL:g} %"
    axes.axhline(LEVEL, color="black", lw=0.9, ls=(0, (5, 2)), label=label)
    axes.set_yscale("log")
    axes.set_ylim(lowest / 2, 1.5)


def _suprema(axes: "Axes", study: Study, methods: list[Method]) -> None:
    """Median to 99 % of the suprema, each ε, and the slopes of what is to be accepted."""
    middle, high = QUANTILES.index(0.5), QUANTILES.index(0.99)
    axes.set_yscale("log")
    axes.set_ylabel("$\\sup_{k \\geq m}\\,e_k\\,/\\,e_0$, median to 99 %")
    one = next(iter(study.certificates.values()))
    for exceedance in one.exceedances:
        axes.axhline(
            exceedance.fraction,
            color="black",
            lw=0.8,
            ls=(0, (6, 1.5, 1, 1.5)),
            zorder=1.5,
            label="$\\epsilon\\,/\\,e_0$",
        )
    begins: dict[float, float] = {}
    for method in methods:
        found = study.certificates[method.name]
        median, most = (np.asarray(found.quantiles[row]) / found.start for row in (middle, high))
        if not np.isfinite(median).any() or not found.start > 0:
            continue
        x = found.first + 1
        drawing.line(axes, x, Course(median, median, most), method, 0.0, edges=False)
        begin = float(median[int(np.searchsorted(found.first, found.tail))])
        rate = found.predicted
        if method.name not in study.controls and rate is not None and np.isfinite(begin):
            begins[rate] = min(begin, begins.get(rate, np.inf))
    # Below the medians, and only one of each: measured slopes are those of the medians themselves.
    k = np.array([max(1, one.tail), one.iterations], np.float64)
    for rate, begin in begins.items():
        y = _BELOW * begin * (k / k[0]) ** -rate
        label = f"predicted slope $k^{{-{rate:.3g}}}$"
        axes.plot(k + 1, y, color="black", lw=1.0, label=label, zorder=3)
