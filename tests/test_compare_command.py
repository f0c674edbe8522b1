"""`dpe compare`: its tables, files and refusals."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import the_object
from rich.cells import cell_len
from small import CONVENTIONAL, DIVERGING, ENCRYPTED, config, write
from studies import GAP, difference_interval, paired, study

from dpe_jax import cli, experiment
from dpe_jax.compare import Comparison, compare
from dpe_jax.folder import COMPARISON
from dpe_jax.results import load


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "out"
    experiment.run(config({"runs": 9, "iterations": 4}), out)
    return out


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    methods = {
        "encrypted": ENCRYPTED,
        "conventional": CONVENTIONAL,
        "randomized-state-sharing": CONVENTIONAL,
        "bad": DIVERGING,
    }
    metrics = {"record.metrics": [GAP, "consensus_error", "quantization_error"]}
    path = write(tmp_path, {"methods": methods, **metrics})
    assert cli.main(["compare", path, "--runs", "12"]) == 0
    captured = capsys.readouterr()
    tables = captured.out.splitlines()
    assert [line for line in tables[:-1] if cell_len(line) > 80] == []
    shown = "\n".join(tables)
    assert "12 paired runs at k = 30, beside conventional" in shown
    assert "bad: no sound run, all 12 failed: not compared" in shown
    assert "not told" in shown
    assert "[0, 0]" in shown
    assert re.search(r"\n4 comparisons: \d+ real, \d+ only alone, \d+ not told apart\n", shown)
    assert "bad: of 12 runs 12 left the range" in captured.err
    (folder,) = (tmp_path / "dpe-results").iterdir()
    stored = load(folder)
    assert stored.config.runs == 12
    held = json.loads((folder / COMPARISON).read_text())
    assert len(list((folder / "figures").glob("compare-*.p*"))) == 4 == 2 * len(held["metrics"])

    # A finished result is compared again, not simulated again.
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "run", fail)
        assert cli.main(["compare", path, "--runs", "12", "--json", "--no-figures"]) == 0
        captured = capsys.readouterr()
        report = the_object(captured.out)
        assert "has this result already" in captured.err
        assert report == {"folder": str(folder.relative_to(tmp_path)), "figures": [], **held}
        with pytest.raises(AssertionError):
            cli.main(["compare", path, "--runs", "13"])
        arguments = ["compare", str(folder), "--json", "--no-figures"]
        chosen = ["--baseline", "encrypted", "--metrics", "consensus_error,gap_mean_state"]
        assert cli.main([*arguments, *chosen]) == 0
        report = the_object(capsys.readouterr().out)
    assert report["metrics"] == [GAP, "consensus_error"]
    assert (report["baseline"], report["comparisons"], report["runs"]) == ("encrypted", 4, 12)
    rows = report["by_metric"][GAP]["methods"]
    expected = compare(stored, "encrypted").row(GAP, "conventional")
    assert rows["conventional"]["difference_interval"] == pytest.approx(
        difference_interval(expected)
    )
    assert rows["conventional"]["verdict"] == expected.verdict
    assert rows["bad"]["mean"] is None
    assert json.loads((folder / COMPARISON).read_text())["baseline"] == "encrypted"
    # The copy of the baseline is exactly as good as the baseline.
    same = held["by_metric"][GAP]["methods"]["randomized-state-sharing"]
    assert (same["difference"], same["verdict"], same["real"]) == (0, "not told apart", "no")
    # What was written is no obstacle to anything else.
    assert load(folder).curves.equals(stored.curves)
    assert cli.main(["run", path, "--runs", "12", "--no-figures"]) == 0
    assert not (folder / COMPARISON).exists()


@pytest.mark.slow
def test_an_unfinished_result_is_run_again(tmp_path: Path, capsys: Any) -> None:
    path, out = write(tmp_path, {"runs": 9, "iterations": 4}), tmp_path / "out"
    arguments = ["compare", path, "--out", str(out), "--no-figures", "--json"]
    assert cli.main(arguments) == 0
    first = the_object(capsys.readouterr().out)
    (out / "summary.json").unlink()
    assert cli.main(arguments) == 0
    assert the_object(capsys.readouterr().out) == first
    load(out)
    # Of other settings it is only replaced when asked.
    assert cli.main([*arguments, "--seed", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert the_object(capsys.readouterr().out) != first


def test_one_method_and_one_run(tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path, {"runs": 1, "iterations": 4, "methods": {"m": ENCRYPTED}})
    assert cli.main(["compare", path, "--out", str(tmp_path / "o"), "--no-figures"]) == 0
    shown = capsys.readouterr().out
    assert "1 paired run at k = 4, beside m" in shown
    assert "no interval: 1 run, 8 are needed: m" in shown
    assert "one method: there is nothing to compare it with" in shown
    assert "no comparison could be made" in shown
    assert "nan" not in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["five-agents", "--baseline", "best"], ["--baseline = 'best'", "encrypted, conv"]),
        (["five-agents", "--metrics", "speed"], ["--metrics = 'speed'", "gap_mean_state, "]),
        (["five-agents", "--metrics", ""], ["--metrics = ''", "gap_mean_state"]),
        (["five-agents", "--metrics", "quantization_error"], ["'quantization_error'", "some of"]),
        (["five-agents", "--runs", "0"], ["--runs = '0'", "from 1"]),
        (["five-agents", "--trace", "0"], ["'--trace 0'", "dpe compare"]),
        (["six-agents"], ["PRESET|CONFIG|DIR", "'six-agents'", "or a folder that dpe run wrote"]),
        (["nothing.toml"], ["'nothing.toml'", "No such file"]),
        ([], ["PRESET|CONFIG|DIR"]),
        (["old", "--baseline", "best"], ["--baseline = 'best'", "one of encrypted, conv"]),
        (["old", "--metrics", "speed"], ["--metrics = 'speed'", "some of gap_mean_state"]),
        (["old", "--runs", "5"], ["--runs: not together with a folder with a result"]),
        (["old", "--out", "new"], ["--out: not together with a folder with a result"]),
        (["broken"], ["DIR = 'broken'", "summary.json is missing"]),
        (["empty"], ["PRESET|CONFIG|DIR", "'empty'", "or a folder that dpe run wrote"]),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    expected: list[str],
    finished: Path,
    tmp_path: Path,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").symlink_to(finished)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{}")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert cli.main(["compare", *arguments]) == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("dpe: ")
    for part in expected:
        assert part in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.00012, 0.000123, "[1.20, 1.23]e-4"),
        (-2.56e-6, -1.31e-8, "[-2.56, -0.01]e-6"),
        (0.9713, 0.9998, "[0.971, 1.000]"),
        (0.998, 1.0004, "[0.998, 1.000]"),
        (7.41, 7.68, "[7.41, 7.68]"),
        (98.2, 123.4, "[98, 123]"),
        (0.0, 0.0, "[0, 0]"),
        (12345.0, 23456.0, "[1.23, 2.35]e4"),
        (9.996e-5, 9.998e-5, "[1.00, 1.00]e-4"),
    ],
)
def test_intervals_are_short(low: float, high: float, expected: str) -> None:
    from dpe_jax import comparisons
    from dpe_jax.bootstrap import Interval

    assert comparisons._interval(Interval(low, high)) == expected
    assert isinstance(compare(study({GAP: paired(2, 9)}), resamples=10), Comparison)
