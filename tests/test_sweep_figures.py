"""Figures of sweeps: what they show, what they say, and what their options refuse."""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from command_line import refusal
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
from rich.cells import cell_len
from rich.console import Console
from small import config
from test_figures import check_files, texts

from dpe_jax import experiment, sweep_commands, sweep_style
from dpe_jax.errors import InputError
from dpe_jax.sweep_figures import curves, draw_sweep, heat_map, response
from dpe_jax.sweep_statistics import final_table

GAP = "gap_mean_state"
MANY = {"key": "methods.*.stepsize.scale", "linear": {"from": 0.1, "to": 1.0, "count": 10}}


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    return made(swept(DELTA, EXPONENT))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of one configuration."""
    out = tmp_path_factory.mktemp("result") / "out"
    experiment.run(config({"runs": 2, "iterations": 3}), out)
    return out


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


# All figures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ([DELTA, EXPONENT], ["curves", "response", "heat_map"]),
        ([RANDOM], ["curves", "response", "heat_map"]),
        ([GRAPH], ["curves", "response"]),
        ([{"key": "problem.noise", "values": [0.5]}], ["curves", "response"]),
    ],
)
def test_a_sweep_is_drawn_by_default(axes: list[Any], names: list[str], tmp_path: Path) -> None:
    dataset = made(swept(*axes), points=5)
    check_files(draw_sweep(dataset, tmp_path / "a"), names)
    again = draw_sweep(summarised(dataset), tmp_path / "b")
    for path in again:
        if path.suffix == ".png":
            assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_awkward_names_and_metrics(tmp_path: Path) -> None:
    axis = DELTA | {"name": "an $alpha of some length"}
    methods = {"_a $x": {"method": "CentralizedSGD", "stepsize": {"scale": 1.0, "exponent": 0.5}}}
    dataset = made(swept(axis, NOISE), points=4, metric="test_accuracy")
    dataset = dataset.assign_coords(algorithm=[*methods, "b" * 60])
    check_files(draw_sweep(dataset, tmp_path), ["curves", "response", "heat_map"])


def options(**given: Any) -> argparse.Namespace:
    names = ("x", "y", "metric", "algorithm", "at")
    return argparse.Namespace(folder="d", **({name: None for name in names} | given))


def test_options_choose_axes_metric_and_method(tmp_path: Path) -> None:
    wide = made(swept(DELTA, EXPONENT, NOISE), points=4)
    asked = options(x="noise", y="delta", metric=GAP, algorithm="encrypted", at=["a=0.6"])
    paths = sweep_commands.plot_sweep(wide, tmp_path, asked)
    check_files(paths, ["curves", "response", "heat_map"])
    direct = [
        curves(wide, GAP, "noise", "encrypted", {"a": "0.6"}),
        response(wide, GAP, "noise", "delta", "encrypted", {"a": "0.6"}),
        heat_map(wide, GAP, "noise", "delta", "encrypted", {"a": "0.6"}),
    ]
    assert "at a = 0.6" in said(direct[0])
    other = sweep_commands.plot_sweep(wide, tmp_path / "other", options(at=["a=0.6"]))
    for path, changed in zip(paths[::2], other[::2], strict=True):
        assert path.read_bytes() != changed.read_bytes()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"x": "gamma"}, "--x = 'gamma': expected one of pace, gamma.exponent, stepsize.exp"),
        ({"y": "gamma"}, "--y = 'gamma': expected one of pace, gamma.exponent, stepsize.exp"),
        ({"metric": "objective"}, "--metric = 'objective': expected one of gap_mean_state"),
        ({"algorithm": "x"}, "--algorithm = 'x': expected one of encrypted, conventional"),
        ({"at": ["noise=3"]}, "--at = 'noise=3': expected one of 0, 0.5"),
        ({"at": ["nose=3"]}, "--at = 'nose': expected one of pace, gamma.exponent, stepsize.exp"),
        ({"at": ["noise=0", "noise=0.5"]}, "--at = 'noise=0.5': expected one value of noise"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, line, tmp_path: Path) -> None:
    dataset = made(swept(ZIPPED, NOISE), points=3)
    with pytest.raises(InputError) as refused:
        sweep_commands.plot_sweep(dataset, tmp_path, options(**given))
    assert str(refused.value).startswith(line)
    assert list(tmp_path.iterdir()) == []


def test_a_label_that_is_not_its_axis_own_is_refused() -> None:
    axis = {"zip": {"problem.noise": [0.5, 0.5], "methods.encrypted.delta": [0.1, 0.2]}}
    with pytest.raises(InputError) as refused:
        curves(made(swept(axis)), GAP, "noise")
    assert str(refused.value) == (
        "axis = 'noise': expected a label that differs at each point of its axis, such as "
        "'noise-delta'"
    )


def test_what_is_no_sweep_has_no_figures_of_one(grid, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: this is no sweep"):
        draw_sweep(grid.assign_attrs(sweep_axes="[]"), tmp_path)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--x", "delta"], "dpe: --x = 'delta': expected no such option: "),
        (["--at", "delta=1"], "dpe: --at = 'delta=1': expected no such option: "),
        (["--metric", GAP], "dpe: --metric = 'gap_mean_state': expected no such option: "),
        (["--at", "delta"], "dpe: --at = 'delta': expected AXIS=VALUE, such as delta=0.01"),
    ],
)
def test_results_of_one_configuration_have_no_such_options(
    given: list[str], line: str, result: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(["plot", str(result), *given], capsys).startswith(line)
    assert not (result / "figures").exists()


def test_the_table_on_a_terminal(grid) -> None:
    broken = failing(grid, 0, 5, 8)
    rows = final_table(broken, GAP)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(sweep_commands.final_table(rows, GAP, "made up: F(x̄) − F* at k = 999", 120))
    lines = console.export_text().splitlines()
    assert len(lines) == 3 + len(rows)
    words = lines[3 + 10].split()
    assert words == ["5", "encrypted", "0.01", "0.6", "8", "8", "none", "none", "none", "none"]


def printed(dataset: xr.Dataset, width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    table = sweep_commands.final_table(final_table(dataset, GAP), GAP, "made up", width)
    console.print(table)
    return console.export_text().splitlines()


@pytest.mark.parametrize("axes", [(DELTA, EXPONENT), (GRAPH, ZIPPED), (RANDOM,), (DELTA, ZIPPED)])
def test_neither_numbers_nor_words_are_broken_on_a_narrow_terminal(axes) -> None:
    dataset = made(swept(*axes))
    lines = printed(dataset, 80)
    assert max(map(cell_len, lines)) <= 80
    assert "…" not in "".join(lines)
    title, words = lines[0], " ".join(lines).split()
    assert "runs = 8" in title
    assert "failed = 0" in title
    rows = final_table(dataset, GAP)
    assert len(lines) - len(rows) <= 5
    for row in rows:
        for figure in ("mean", "low", "high"):
            assert f"{row[f'{GAP}_{figure}']:.3g}" in words
        assert row["algorithm"] in words


def test_what_is_left_out_of_a_narrow_table_is_said() -> None:
    lines = printed(made(swept(DELTA, ZIPPED)), 70)
    told = "left out for want of room (in summary.json): std. error, configuration, gamma.exponent,"
    assert " ".join(" ".join(lines[-2:]).split()).startswith(told)
    assert {"slow", "middling", "fast", "0.001"} <= set(" ".join(lines).split())
    # Numbers of random samples are told by what was drawn.
    words = " ".join(printed(made(swept(RANDOM)), 63)).split()
    assert "delta" in words
    assert words[-3:] == ["error,", "configuration,", "sample"]


def test_names_of_axes_are_as_short_as_tells_them_apart() -> None:
    names = ["methods.a.delta", "gamma.exponent", "stepsize.exponent", "noise"]
    assert list(sweep_commands.short_names(names).values()) == ["delta", *names[1:]]
