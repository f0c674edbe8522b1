"""Figures of an audit: what is drawn can be told apart, and stays where it belongs."""

import dataclasses
import itertools

import numpy as np
import pytest
from made_audits import HALF, METHODS, VIEWS, audit, cell, near, simulation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dpe_jax import drawing
from dpe_jax.privacy import figures
from dpe_jax.privacy.attacks import ErrorCurve
from dpe_jax.privacy.audit import Audit
from dpe_jax.privacy.intervals import Curve
from dpe_jax.privacy.leaks import EAVESDROPPER, EVERYONE, GRANTED
from dpe_jax.privacy.pareto import Price
from dpe_jax.privacy.report import Report

POINTS = np.unique(np.geomspace(4, 30, 13).astype(np.int64))


def curve(attack: str, error: float) -> ErrorCurve:
    value = np.full(POINTS.size, error)
    return ErrorCurve(attack, POINTS, Curve(value, value, value), np.ones(POINTS.size), 64)


def renamed(found: Audit, times: int) -> Audit:
    """With every method several times."""
    cells = [
        dataclasses.replace(one, method=f"{one.method}-{copy}")
        for copy in range(times)
        for one in found.cells
    ]
    accuracy = {f"{n}-{copy}": one for copy in range(times) for n, one in found.accuracy.items()}
    return dataclasses.replace(found, cells=tuple(cells), accuracy=accuracy)


def report(found: Audit, prices: tuple[Price, ...] = ()) -> Report:
    return Report("made up", simulation(), found, prices)


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def looks(lines: list[Line2D]) -> list[tuple[str, str]]:
    """Colour and mark of the curves, without references."""
    return [(str(line.get_color()), str(line.get_marker())) for line in lines if line.get_marker()]


def curves_of(axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_color() != "black"]


def test_every_attack_has_a_colour_and_a_mark_of_its_own() -> None:
    names = [*figures._ATTACKS, "state: reply"]
    drawn = tuple(curve(name, 0.1 * (place + 1)) for place, name in enumerate(names))
    cells = {("plain", EVERYONE): cell("plain", EVERYONE, HALF, curves=drawn)}
    with drawing.style():
        figure = figures._attacks(audit(cells), "plain")
    axes = next(axes for axes in figure.axes if axes.get_title().startswith(EVERYONE))
    lines = curves_of(axes)
    assert len(lines) == len(names)
    colours, marks = zip(*looks(lines), strict=True)
    assert len(set(colours)) == len(names)
    assert len(set(marks)) == len(names)


def test_views_of_nothing_have_no_panel_but_are_named() -> None:
    with drawing.style():
        figure = figures._attacks(audit(), "plain")
    assert len(figure.axes) == len(VIEWS) - 1
    assert not any(axes.get_title().startswith(EAVESDROPPER) for axes in figure.axes)
    assert f"nothing to attack: {EAVESDROPPER}" in title(figure)
    blind = {("plain", view): cell("plain", view, {}) for view in VIEWS if view != GRANTED}
    with drawing.style():
        figure = figures._attacks(audit(blind), "plain")
    assert len(figure.axes) == 1


def averaged(errors: float) -> Audit:
    found = audit()
    cells = {
        (name, view): cell(name, view, HALF, curves=(curve("average", errors),))
        for name in METHODS
        for view in (EVERYONE, GRANTED)
    }
    found = renamed(audit(cells), 2)
    return dataclasses.replace(found, iterations=40)


def test_averages_are_told_apart_and_within_their_panel() -> None:
    with drawing.style():
        figure = figures._averages(report(averaged(900.0)))
    assert figure is not None
    lines = curves_of(figure.axes[0])
    assert len(lines) == len(set(looks(lines))) == 2 * len(METHODS)
    assert len({line.get_color() for line in lines}) == 2 * len(METHODS)
    assert figure.axes[0].get_ylim()[1] > 900
    assert "cut off" not in title(figure)
    # Curves that coincide have marks at several points.
    assert len({str(line.get_markevery()) for line in lines}) > 3


def test_averages_beyond_the_axis_are_said_to_be_cut_off() -> None:
    with drawing.style():
        figure = figures._averages(report(averaged(1e9)))
    assert figure is not None
    assert figure.axes[0].get_ylim()[1] == pytest.approx(figures._MOST)
    assert "cut off above 10000" in title(figure)


def test_methods_of_the_same_leakage_do_not_hide_each_other() -> None:
    found = renamed(audit(), 2)
    prices = tuple(
        Price(name, near(1.0 if place % 2 else 0.5), near(1.0), 1e-4, 16384.0, 0.03, place > 3)
        for place, name in enumerate(found.methods)
    )
    with drawing.style():
        figure = figures._pareto(report(found, prices))
        figure.draw_without_rendering()
    assert "F(x̄) − F*" in title(figure)
    assert "gap_mean_state" not in title(figure)
    for axes in figure.axes:
        marks = [line for line in axes.get_lines() if line.get_marker() not in ("", "None")]
        assert len(marks) == len(prices)
        places = [axes.transData.transform(np.asarray(line.get_xydata())[0]) for line in marks]
        size = 0.9 * marks[0].get_markersize() * figure.dpi / 72
        assert all(np.hypot(*(a - b)) > size for a, b in itertools.combinations(places, 2))
        assert all(axes.bbox.contains(*place) for place in places)


@pytest.mark.parametrize("name", ["signed-coordinate", "WWWWWWWWWWWWWWWWWWWWWWWW"])
def test_texts_stay_in_their_cells(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lines = ["3", "g 0.83 [0.80, 0.86] at 1636", "± 27.8 [25.3, 30.6] % wrong at 1636"]
    long = [*lines, "mean 44.16 [40.38, 47.74]", "ciphertexts -0.0123 [-0.0456, 0.0789] at 19990"]
    monkeypatch.setattr(Report, "lines", lambda *_: long)
    found = audit()
    cells = [dataclasses.replace(one, method=name) for one in found.cells if one.method == "plain"]
    accuracy = {name: found.accuracy["plain"]}
    found = dataclasses.replace(found, cells=tuple(cells), accuracy=accuracy)
    with drawing.style():
        figure = figures._scores(report(found))
        canvas = figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        renderer = canvas.get_renderer()
    (axes,) = figure.axes
    boxes = [patch.get_window_extent(renderer) for patch in axes.patches]
    assert all(isinstance(patch, Rectangle) for patch in axes.patches)
    held = 0
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert float(text.get_fontsize()) >= 7
        if text.get_text() == name:
            assert box.x1 < min(cell.x0 for cell in boxes)
        if text.get_text() in ("3", "\n".join(long[1:])):
            assert any(
                cell.x0 < box.x0 and box.x1 < cell.x1 and cell.y0 < box.y0 and box.y1 < cell.y1
                for cell in boxes
            ), text.get_text()
            held += 1
    assert held == 2 * len(VIEWS)
