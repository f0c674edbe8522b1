"""Figures of sweeps: what they show, what they say, and what their options refuse."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from made_sweeps import (
    DELTA,
    EXPONENT,
    GRAPH,
    NOISE,
    RANDOM,
    ZIPPED,
    failing,
    made,
    summarised,
    swept,
)
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from test_figures import texts

from dpe_jax import sweep_style
from dpe_jax.sweep_figures import curves, heat_map, response

GAP = "gap_mean_state"
MANY = {"key": "methods.*.stepsize.scale", "linear": {"from": 0.1, "to": 1.0, "count": 10}}


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    return made(swept(DELTA, EXPONENT))


def last_means(dataset: xr.Dataset, row: int = 0) -> np.ndarray:
    return dataset[GAP].values[row, :, -1].astype(np.float64).mean(axis=-1)


def cells(figure: Any) -> np.ndarray:
    """The colours of the cells of the first panel, [row, column, channel]."""
    (mesh,) = (mesh for mesh in figure.axes[0].collections if isinstance(mesh, QuadMesh))
    return np.asarray(mesh.get_array())


def said(figure: Any) -> str:
    """What a figure says, in one line."""
    return " ".join(texts(figure).split())


# Maps


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_each_cell_has_the_colour_of_its_configuration(grid, statistic) -> None:
    from matplotlib import colormaps

    figure = heat_map(grid, GAP, "delta", "a", "encrypted", statistic=statistic)
    values = getattr(np, statistic)(grid[GAP].values[0, :, -1].astype(np.float64), axis=-1)
    norm, colours = LogNorm(values.min(), values.max()), colormaps["viridis"]
    shown = cells(figure)
    assert shown.shape == (4, 3, 4)
    for place, value in enumerate(values):
        column, row = divmod(place, 4)
        assert to_hex(shown[row, column]) == to_hex(colours(norm(value)))
        assert f"{value:.2g}" in said(figure)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.5", "0.6", "0.7", "0.8"]
    assert f"{statistic} of F(x̄) − F* at k = 999, over 8 runs" in said(figure)


def test_axes_can_be_exchanged(grid) -> None:
    one, two = heat_map(grid, GAP, "delta", "a"), heat_map(grid, GAP, "a", "delta")
    assert np.array_equal(cells(one), cells(two).swapaxes(0, 1))
    assert one.axes[0].get_xlabel() == two.axes[0].get_ylabel() == "delta"


def test_colours_are_linear_within_a_decade(grid) -> None:
    def bar(dataset: xr.Dataset) -> str:
        figure = heat_map(dataset, GAP, "delta", "a")
        (axes,) = (axes for axes in figure.axes if axes.get_label() == "<colorbar>")
        return axes.get_yscale()

    flat = grid.copy(deep=True)
    flat[GAP].values[0] = 1 + flat[GAP].values[0]
    assert bar(grid) == "log"
    assert bar(flat) == "linear"


def test_failed_cells_are_hatched_and_said(grid) -> None:
    broken = failing(failing(grid, 0, 5, 8), 0, 2, 3)
    for dataset in (broken, summarised(broken)):
        figure = heat_map(dataset, GAP, "delta", "a")
        hatches = {
            (int(box.get_x()), int(box.get_y())): box.get_hatch()
            for box in figure.axes[0].patches
            if isinstance(box, Rectangle)
        }
        # Configuration 5 is the second delta and the second a.
        assert hatches == {(1, 1): "////", (0, 2): "..."}
        words = said(figure)
        assert "hatched: no sound run (1)" in words
        assert "dotted: some runs failed" in words
        assert "encrypted: 11 of 96 runs failed, in 2 of 12 configurations" in words
    assert "hatched" not in said(heat_map(grid, GAP, "delta", "a"))
    assert not heat_map(grid, GAP, "delta", "a").axes[0].patches


def test_where_all_runs_failed(grid) -> None:
    ruin = grid
    for place in range(12):
        ruin = failing(ruin, 0, place, 8, point=0)
    assert "hatched: no sound run (12)" in said(heat_map(ruin, GAP, "delta", "a", "encrypted"))
    assert "no sound run" in said(curves(ruin, GAP, "delta", "encrypted"))
    assert "no sound run" in said(response(ruin, GAP, "delta", "a", "encrypted"))


def test_what_diverges_does_not_flatten_the_rest(grid) -> None:
    wild = grid.copy(deep=True)
    wild[GAP].values[0, 5, 5:] = 1e30
    wild[GAP].values[0, 6, 5:] = np.inf
    assert "colours cut off above" in said(heat_map(wild, GAP, "delta", "a"))
    assert "cut off above" not in said(heat_map(grid, GAP, "delta", "a"))
    figure = curves(wild, GAP, "delta", at={"a": 0.6})
    assert "cut off above" in said(figure)
    assert figure.axes[0].get_ylim()[1] < 1e4
    assert "cut off above" not in said(curves(grid, GAP, "delta", at={"a": 0.6}))
    figure = response(wild, GAP, "delta", at={"a": 0.6})
    assert "cut off above" in said(figure)
    assert figure.axes[0].get_ylim()[1] < 1e9


def test_samples_are_points() -> None:
    dataset = failing(made(swept(RANDOM)), 0, 3, 8)
    figure = heat_map(dataset, GAP, "exponent", "delta")
    points, crosses = figure.axes[0].collections
    sound = np.arange(12) != 3
    places = np.stack([dataset.exponent.values, dataset.delta.values], axis=-1)
    assert np.array_equal(points.get_offsets(), places[sound])
    assert np.array_equal(crosses.get_offsets(), places[~sound])
    assert figure.axes[0].get_yscale() == "log"
    assert "crosses: no sound run (1)" in said(figure)


# Curves


def test_lines_are_the_means_of_their_configurations(grid) -> None:
    figure = curves(grid, GAP, "delta", at={"a": "0.7"})
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == [
        f"delta = {d}" for d in ("0.001", "0.01", "0.1")
    ]
    for place, line in zip((2, 6, 10), lines, strict=True):
        values = grid[GAP].values[0, place].astype(np.float64)
        np.testing.assert_allclose(np.asarray(line.get_ydata()), values.mean(axis=-1), rtol=1e-12)
        assert np.array_equal(line.get_xdata(), grid.iteration.values + 1)
    words = said(figure)
    assert "at a = 0.7" in words
    assert "not changed by the sweep: conventional" in words


def test_other_axes_have_panels_up_to_a_few(grid) -> None:
    titles = [axes.get_title() for axes in curves(grid, GAP, "delta").axes]
    assert titles == [f"encrypted, a = {a}" for a in (0.5, 0.6, 0.7, 0.8)]
    wide = made(swept(DELTA, EXPONENT, NOISE, GRAPH))
    figure = curves(wide, GAP, "delta")
    assert [axes.get_title() for axes in figure.axes] == [
        f"encrypted, noise = {noise}, graph = {graph}"
        for noise in ("0", "0.5")
        for graph in ("ring", "path")
    ]
    assert "at a = 0.5 (the first of 4)" in said(figure)
    figure = curves(wide, GAP, "delta", at={"a": 0.8, "noise": 0})
    assert [axes.get_title() for axes in figure.axes] == [
        "encrypted, graph = ring",
        "encrypted, graph = path",
    ]
    (place,) = np.flatnonzero(
        (wide.delta.values == 0.1)
        & (wide.a.values == 0.8)
        & (wide.noise.values == 0)
        & (wide.graph.values == "path")
    )
    values = wide[GAP].values[0, place].astype(np.float64).mean(axis=-1)
    np.testing.assert_allclose(
        np.asarray(figure.axes[1].get_lines()[2].get_ydata()), values, rtol=1e-12
    )


def test_many_lines_have_a_scale_of_colours() -> None:
    dataset = made(swept(MANY))
    figure = curves(dataset, GAP, "scale")
    assert not figure.legends
    assert len(figure.axes[0].get_lines()) == 10
    assert figure.axes[1].get_ylabel() == "scale"
    more = made(swept(MANY | {"linear": {"from": 0.1, "to": 1.0, "count": 100}}))
    figure = curves(more, GAP, "scale")
    assert len(figure.axes[0].get_lines()) == 64
    assert "64 of 100 values of scale" in said(figure)


# Responses


def test_a_response_has_a_line_for_each_method(grid) -> None:
    figure = response(grid, GAP, "delta", at={"a": 0.5})
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    for row, name in enumerate(("encrypted", "conventional")):
        (line,) = (line for line in axes.get_lines() if line.get_label() == name)
        assert np.asarray(line.get_xdata()).tolist() == [0.001, 0.01, 0.1]
        np.testing.assert_allclose(
            np.asarray(line.get_ydata()), last_means(grid, row)[[0, 4, 8]], rtol=1e-12
        )


def test_a_response_has_a_line_for_each_value_of_a_second_axis(grid) -> None:
    figure = response(grid, GAP, "delta", "a")
    assert [axes.get_title() for axes in figure.axes] == ["encrypted"]
    for place, value in enumerate(("0.5", "0.6", "0.7", "0.8")):
        (line,) = (
            line for line in figure.axes[0].get_lines() if line.get_label() == f"a = {value}"
        )
        expected = last_means(grid)[[place, place + 4, place + 8]]
        np.testing.assert_allclose(np.asarray(line.get_ydata()), expected, rtol=1e-12)


def test_texts_and_samples_are_not_joined() -> None:
    for dataset, label in ((made(swept(ZIPPED)), "pace"), (made(swept(RANDOM)), "delta")):
        lines = response(dataset, GAP, label).axes[0].get_lines()
        assert {line.get_linestyle() for line in lines} == {"None"}
    zipped = made(swept(ZIPPED))
    lines = response(zipped, GAP, "gamma.exponent").axes[0].get_lines()
    assert any(line.get_linestyle() != "None" for line in lines)
    ticks = response(zipped, GAP, "pace").axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["slow", "middling", "fast"]


def test_lines_over_texts_lie_side_by_side() -> None:
    """Bars at one place would hide each other; a method alone is where its text is."""
    dataset = made(swept(ZIPPED, NOISE))
    both = response(dataset, GAP, "pace", "noise", algorithm="encrypted").axes[0].get_lines()
    places = [np.asarray(line.get_xdata()) for line in both]
    np.testing.assert_allclose(places[1] - places[0], 0.25)
    np.testing.assert_allclose((places[0] + places[1]) / 2, [0, 1, 2])
    alone = response(made(swept(ZIPPED)), GAP, "pace", algorithm="encrypted").axes[0]
    assert np.asarray(alone.get_lines()[0].get_xdata()).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "named", "upright"),
    [
        ([0.1 * place for place in range(1, 11)], range(10), False),
        ([0.1 * place for place in range(1, 12)], range(0, 11, 2), False),
        ([0.001 * place for place in range(1, 10)], range(0, 9, 2), False),
        ([f"family {place}" for place in range(25)], range(25), True),
        ([f"family {place}" for place in range(40)], range(0, 40, 2), True),
    ],
)
def test_ticks_name_values_at_equal_steps(values: list, named: range, upright: bool) -> None:
    axes = Figure().subplots()
    sweep_style.ticks(axes, "x", values, 0.5)
    assert axes.get_xticks().tolist() == [place + 0.5 for place in named]
    texts = [label.get_text() for label in axes.get_xticklabels()]
    shown = [values[place] for place in named]
    assert texts == [v if isinstance(v, str) else f"{v:.3g}" for v in shown]
    assert {label.get_rotation() == 90 for label in axes.get_xticklabels()} == {upright}
    assert all(float(label.get_fontsize()) >= 7 for label in axes.get_xticklabels())
