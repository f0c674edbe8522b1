"""The figure of a certificate: who exceeds ε from m on, and what suprema remain."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dpe_jax import drawing
from dpe_jax.bands import Course
from dpe_jax.certificate import LEVEL, QUANTILES, Certificate, Study
from dpe_jax.drawing import Method
from dpe_jax.results import Stored

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_BELOW = 0.85
"""Of the median at the start of the tail, where lines of slopes begin."""

_ACCEPTED = (0, (8, 1.5, 1, 1.5, 1, 1.5))
"""Dashes of the level, which no other line has."""


def draw(stored: Stored, study: Study, out: Path) -> list[Path]:
    """Draw `certificate` as PNG and PDF in `out`; return their paths.

    A panel for each ε: the fraction of runs that exceed it at any k ≥ m, and its upper bound, with
    the tail that the verdict rests on. Last panel: median and 99 % quantile over runs of the
    supremum from m on, in units of e_0, with slopes. Raises `InputError` if `out` cannot be
    written.
    """
    one = next(iter(study.certificates.values()))
    with drawing.writing(out):
        # A run that fails counts as one that exceeds; so no method is left out.
        methods = drawing.methods(stored)
        figure = drawn(stored, study, methods)
        notes = [
            f"the verdict rests on the tail; bounds hold with {100 * one.confidence:.4g} %",
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
    for axes in panels:
        axes.set_xlabel("$m + 1$  (iterations $k \\geq m$ count)")
        label = f"start of the tail, $m$ = {one.tail}"
        axes.axvline(one.tail + 1, color="black", lw=0.8, ls=":", label=label, zorder=1.5)
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
        axes.set_ylabel(f"runs beyond $\\epsilon$ = {exceedance.fraction:g} $e_0$, bound")
    axes.axhline(LEVEL, color="black", lw=1.0, ls=_ACCEPTED, label=f"accepted: {LEVEL:.0%}")
    axes.set_yscale("log")
    axes.set_ylim(lowest / 2, 1.5)


def _suprema(axes: "Axes", study: Study, methods: list[Method]) -> None:
    """Median to 99 % of the suprema, each ε, and the slopes of what is to be accepted."""
    middle, high = QUANTILES.index(0.5), QUANTILES.index(0.99)
    axes.set_yscale("log")
    axes.set_ylabel("$\\sup_{k \\geq m}\\,e_k\\,/\\,e_0$, median to 99 %")
    one = next(iter(study.certificates.values()))
    fractions = ", ".join(f"{exceedance.fraction:g}" for exceedance in one.exceedances)
    for place, exceedance in enumerate(one.exceedances):
        shown = "_" if place else f"$\\epsilon$ = {fractions} $e_0$"
        axes.axhline(exceedance.fraction, color="black", lw=0.8, ls="-.", label=shown, zorder=1.5)
    for method in methods:
        found = study.certificates[method.name]
        median, most = (np.asarray(found.quantiles[row]) / found.start for row in (middle, high))
        if not np.isfinite(median).any() or not found.start > 0:
            continue
        x = found.first + 1
        drawing.line(axes, x, Course(median, median, most), method, 0.0, edges=False)
        if method.name not in study.controls:
            _slopes(axes, found, median)


def _slopes(axes: "Axes", found: Certificate, median: np.ndarray) -> None:
    """Lines of the measured and of the predicted rate, a little below the median."""
    k = np.array([found.tail, found.iterations], np.float64)
    begin = _BELOW * float(median[int(np.searchsorted(found.first, found.tail))])
    labels = axes.get_legend_handles_labels()[1]
    for exponent, label, dash in (
        (None if found.rate is None else found.rate.exponent, "measured rate in the tail", "-"),
        (found.predicted, "predicted rate", "--"),
    ):
        if exponent is not None and found.tail > 0 and np.isfinite(begin):
            shown = "_" if label in labels else label
            y = begin * (k / k[0]) ** -exponent
            axes.plot(k + 1, y, color="black", ls=dash, lw=0.8, label=shown, zorder=3)
