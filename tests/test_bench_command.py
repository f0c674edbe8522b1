"""What `dpe bench` writes, shows and refuses; nothing is measured here."""

import importlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from command_line import refusal, the_object

from dpe_jax import cli
from dpe_jax.arguments import BENCH_PARTS
from dpe_jax.bench import figures, parts, processes, sheets
from dpe_jax.bench.timing import Timed, about, nanoseconds


@pytest.fixture
def measured(monkeypatch) -> dict[str, dict[str, Any]]:
    """Reports of two parts, in place of what measures them."""
    curve = {
        "held": "five-agents",
        "values": [1, 4],
        "iterations": [10, 10],
        "seconds": [0.1, 0.2],
        "ns": [2.0, 1.0],
        "range_ns": [[1.5, 2.5], [0.9, 1.2]],
    }
    timed = {"engine": Timed(1.0, [2.0, 3.0]), "numpy": Timed(1.0, [8.0, 7.0])}
    reports: dict[str, dict[str, Any]] = {
        "engine": {**nanoseconds(timed, 1e6), **about(2)},
        "growth": {"curves": {"runs": curve, "record points": curve}, **about(2)},
    }

    def measure(part: str, turns: int, quick: bool, told: Any) -> dict[str, Any]:
        told("first call")
        return reports[part] | {"turns": turns, "small": quick}

    monkeypatch.setattr(parts, "measure", measure)
    return reports


def test_the_command_writes_and_shows(measured, tmp_path: Path, capsys) -> None:
    out = tmp_path / "deep" / "out"
    arguments = ["bench", "--only", "engine,growth", "--turns", "3", "--out", str(out)]
    assert cli.main([*arguments, "--quick"]) == cli.DONE
    captured = capsys.readouterr()
    names = {f"{part}.{kind}" for part in ("engine", "growth") for kind in ("json", "png", "pdf")}
    assert {path.name for path in out.iterdir()} == names
    stored = json.loads((out / "engine.json").read_text())
    assert stored == measured["engine"] | {"turns": 3, "small": True, "quick": True}
    assert "engine: first call" in captured.err
    assert "4.0" not in captured.err
    assert "too small to compare by" in captured.out
    for word in ("engine", "numpy", "× engine", "3.00", "record points", "growth: five-agents"):
        assert word in captured.out
    assert max(map(len, captured.out.replace(str(out), "").splitlines())) <= 80


def test_the_command_in_json(measured, tmp_path: Path, capsys) -> None:
    arguments = ["bench", "--only", "engine", "--out", str(tmp_path), "--no-figures", "--json"]
    assert cli.main(arguments) == cli.DONE
    found = the_object(capsys.readouterr().out)
    assert found["figures"] == []
    assert found["parts"]["engine"]["engine_ns"] == measured["engine"]["engine_ns"]
    assert found["parts"]["engine"]["turns"] == 5
    assert "quick" not in found["parts"]["engine"]
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


def test_what_was_finished_before_an_interrupt_is_kept(
    measured, monkeypatch, tmp_path: Path, capsys
) -> None:
    first = parts.measure

    def measure(part: str, *others: Any) -> dict[str, Any]:
        if part == "growth":
            raise KeyboardInterrupt
        return first(part, *others)

    monkeypatch.setattr(parts, "measure", measure)
    arguments = ["bench", "--only", "engine,growth", "--out", str(tmp_path), "--no-figures"]
    assert cli.main(arguments) == cli.INTERRUPTED
    assert f"finished parts are in {tmp_path}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "nonsense"], ["--only", "'nonsense'", ", ".join(BENCH_PARTS)]),
        (["--only", "engine,"], ["--only", "''", "engine"]),
        (["--turns", "0"], ["--turns", "'0'", "from 1 to 1000"]),
        (["--turns", "some"], ["--turns", "'some'"]),
        (["--gpu", "--only", "engine"], ["--only", "'engine'", "--gpu"]),
        (["--out", ""], ["--out", "''", "folder"]),
        (["--out", "file"], ["--out", "'file'", "writable"]),
        (["--only", "engine,engine", "--out", ""], ["--out", "''"]),
        (["--runs", "3"], ["'--runs 3'", "dpe bench"]),
    ],
)
def test_refusals(arguments, expected, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    line = refusal(["bench", *arguments], capsys)
    for part in expected:
        assert part in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="what is refused here is there")
def test_without_a_gpu_it_says_so(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    line = refusal(["bench", "--gpu"], capsys)
    assert "--gpu" in line
    assert "a CUDA device" in line
    assert not list(tmp_path.iterdir())


def test_charts_show_every_candidate(tmp_path: Path, monkeypatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: shown.append(figure) or path)
    timed = {"engine": Timed(1.0, [2.0, 3.0]), "a_b": Timed(1.0, [8.0, 7.0])}
    report = {**nanoseconds(timed, 1e6), **about(2)}
    assert figures.draw("memory", report, tmp_path) == []
    assert [path.suffix for path in figures.draw("engine", report, tmp_path)] == [".png", ".pdf"]
    (axes,) = shown[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["engine", "a b"]
    assert [bar.get_width() for bar in axes.patches] == [2500.0, 7500.0]
    assert axes.get_xscale() == "linear"
    timed["a_b"] = Timed(1.0, [80.0, 70.0])
    paths = figures.draw("engine", {**nanoseconds(timed, 1e6), **about(2)}, tmp_path, "other")
    assert [path.name for path in paths] == ["other.png", "other.pdf"]
    (axes,) = shown[-1].axes
    assert axes.get_xscale() == "log"
    assert [line.get_xdata()[0] for line in axes.lines[:2]] == [2500.0, 75000.0]
    assert {"2,500", "75,000"} <= {text.get_text().strip() for text in axes.texts}


@pytest.mark.parametrize("times", [5.0, 12.0, 16.0, 40.0, 2000.0])
def test_labels_of_an_axis_do_not_overlap(times: float, tmp_path: Path, monkeypatch) -> None:
    """Also where a logarithmic axis has little more than a decade, which labels minor ticks."""
    shown: list[Any] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: shown.append(figure) or path)
    timed = {"engine": Timed(1.0, [2.0, 3.0]), "a_b": Timed(1.0, [2.5 * times, 2.6 * times])}
    figures.draw("engine", {**nanoseconds(timed, 1e6), **about(2)}, tmp_path)
    (axes,) = shown[0].axes
    shown[0].draw_without_rendering()
    boxes = sorted(
        (
            label.get_window_extent()
            for minor in (False, True)
            for label in axes.get_xticklabels(minor=minor)
            if label.get_text()
        ),
        key=lambda box: box.x0,
    )
    inside = [box for box in boxes if axes.bbox.x0 <= box.x1 and box.x0 <= axes.bbox.x1]
    assert inside
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(inside))


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("bench_engine", ["--runs", "0"], "argument --runs: '0': expected a positive integer"),
        ("bench_large", ["--turns", "x"], "argument --turns: 'x': expected a positive integer"),
        ("bench_growth", ["--seconds", "nan"], "'nan': expected a positive number of seconds"),
        ("bench_sweep", ["--out", "there.txt"], "'there.txt': expected a file that ends in .json"),
        ("bench_startup", ["--out", "/proc/x.json"], "expected a file that can be written"),
        ("bench_guard", ["--turns"], "unrecognized arguments: --turns"),
    ],
)
def test_scripts_refuse_before_they_measure(
    script: str, arguments: list[str], told: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(script).main()
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["engine", "profile", "large", "growth", "sweep"])
def test_charts_of_committed_reports(part: str, tmp_path: Path) -> None:
    path = Path(__file__).parent.parent / "results" / "bench" / f"{part}.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    drawn = figures.draw(part, report, tmp_path)
    assert all(found.stat().st_size > 5_000 for found in drawn)
    assert len(drawn) == 2


@pytest.mark.parametrize("part", ["engine", "profile", "large", "growth", "sweep", "startup"])
def test_charts_have_neither_orphans_nor_empty_corners(
    part: str, tmp_path: Path, monkeypatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: shown.append(figure) or path)
    path = Path(__file__).parent.parent / "results" / "bench" / f"{part}.json"
    figures.draw(part, json.loads(path.read_text(encoding="utf-8")), tmp_path)
    figure = shown[0]
    figure.draw_without_rendering()
    lines = figure.get_suptitle().splitlines()
    assert all(len(line) > 16 for line in lines)
    width = figure.bbox.width
    for axes in figure.axes:
        assert axes.get_tightbbox().x0 >= 0
        assert axes.get_tightbbox().x1 <= width
    # The last row reaches as far to the right as the first.
    assert figure.axes[-1].bbox.x1 == pytest.approx(figure.axes[len(figure.axes) > 1].bbox.x1)


def test_what_candidates_are_is_said_below_their_names(tmp_path: Path, monkeypatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: shown.append(figure) or path)
    timed = {name: Timed(1.0, [2.0, 3.0]) for name in ("engine", "vmap", "batched", "floor")}
    figures.draw("engine", {**nanoseconds(timed, 1e6), **about(2)}, tmp_path)
    labels = [label.get_text() for label in shown[0].axes[0].get_yticklabels()]
    assert labels[0] == "engine"
    assert all("\n(" in label for label in labels[1:])
    for name in ("einsum", "pieces", "numba", "numpy"):
        assert name in sheets.GLOSSES


def test_help_needs_neither_numba_nor_jax() -> None:
    program = (
        "import sys; from dpe_jax import cli; cli.main(['bench', '--help']); "
        "bad = {'jax', 'numba', 'numpy', 'matplotlib'} & set(sys.modules); "
        "sys.exit(repr(sorted(bad)) if bad else 0)"
    )
    assert "--gpu" in processes.python(program)


def test_a_simulation_does_not_import_numba() -> None:
    program = (
        "import sys; from dpe_jax import cli; import dpe_jax.commands; "
        "sys.exit('numba' in sys.modules)"
    )
    processes.python(program)
