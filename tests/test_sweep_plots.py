"""All figures of a sweep, their options and what these refuse, and its table on a terminal."""

import argparse
import io
from pathlib import Path
from typing import Any

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
from png_only import png_only
from rich.cells import cell_len
from rich.console import Console
from small import ENCRYPTED, config
from test_figures import check_files
from test_sweep_figures import GAP, said

from dpe_jax import experiment, sweep_commands
from dpe_jax.errors import InputError
from dpe_jax.sweep_figures import curves, draw_sweep, heat_map, response
from dpe_jax.sweep_statistics import final_table


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    return made(swept(DELTA, EXPONENT))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of one configuration."""
    out = tmp_path_factory.mktemp("result") / "out"
    experiment.run(config({"runs": 2, "iterations": 3, "methods": {"m": ENCRYPTED}}), out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ([DELTA, NOISE], ["curves", "response", "heat_map"]),
        ([RANDOM | {"samples": 6}], ["curves", "response", "heat_map"]),
        ([GRAPH], ["curves", "response"]),
        ([{"key": "problem.noise", "values": [0.5]}], ["curves", "response"]),
    ],
)
def test_a_sweep_is_drawn_by_default(
    axes: list[Any], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = made(swept(*axes), points=5)
    check_files(draw_sweep(dataset, tmp_path / "a"), names)
    png_only(monkeypatch)
    again = [path for path in draw_sweep(summarised(dataset), tmp_path / "b") if path.exists()]
    assert [path.name for path in again] == [f"{name}.png" for name in names]
    for path in again:
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


@pytest.mark.slow
def test_options_choose_axes_metric_and_method(tmp_path: Path, monkeypatch) -> None:
    two = EXPONENT | {"linear": {"from": 0.5, "to": 0.6, "count": 2}}
    wide = made(swept(DELTA, two, NOISE), points=4)
    asked = options(x="noise", y="delta", metric=GAP, algorithm="encrypted", at=["a=0.6"])
    paths = sweep_commands.plot_sweep(wide, tmp_path, asked)
    check_files(paths, ["curves", "response", "heat_map"])
    direct = [
        curves(wide, GAP, "noise", "encrypted", {"a": "0.6"}),
        response(wide, GAP, "noise", "delta", "encrypted", {"a": "0.6"}),
        heat_map(wide, GAP, "noise", "delta", "encrypted", {"a": "0.6"}),
    ]
    assert "at a = 0.6" in said(direct[0])
    png_only(monkeypatch)
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
    title, words = " ".join(lines[:2]), " ".join(lines).split()
    assert "runs = 8" in title
    assert "failed = 0" in title
    rows = final_table(dataset, GAP)
    assert len(lines) - len(rows) <= 6
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
