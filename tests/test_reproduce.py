"""`dpe reproduce`: its checks, its replays, and what it replaces."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import TRACED, checkpoints, python, refusal, the_object, verifications
from small import ENCRYPTED, config

from dpe_jax import article, cli, commands, experiment, replays
from dpe_jax.paillier.setup import Encryption
from dpe_jax.results import load
from dpe_jax.verification import verify_traces

pytestmark = pytest.mark.slow  # together over 20 s

TINY = {"runs": 3, "iterations": 4, "methods": {"m": ENCRYPTED}}

# Checks


@pytest.mark.slow
def test_reproduce_fails_where_a_check_fails(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["reproduce", "--only", "five-agents", "--runs", "64", "--iterations", "200"]
    arguments += ["--points", "20", "--verify-seconds", "0"]
    assert cli.main([*arguments, "--out", str(out), "--json"]) == 1
    report = the_object(capsys.readouterr().out)
    assert report["passed"] is False
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    assert failed
    assert all(name.startswith("five-agents: encrypted: ") for name in failed)
    assert load(out / "five-agents").config.runs == 64
    assert json.loads((out / "article.json").read_text())["checks"] == report["checks"]
    assert [row["misprint"] for row in report["article"]["quantization_bound"]] == [False] * 6 + [
        True
    ]
    assert all(Path(figure).is_file() for figure in report["presets"]["five-agents"]["figures"])


@pytest.mark.slow
def test_reproduce_is_done_where_all_hold(tmp_path, monkeypatch, capsys) -> None:
    easy = config({**TINY, "name": "easy", "checks.gap_fraction": 0.99})
    monkeypatch.setattr(experiment, "presets", lambda: {"easy": easy})
    arguments = ["reproduce", "--out", str(tmp_path / "out"), "--verify-seconds", "0"]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    for word in ("easy: 3 runs", "misprint", "1 − μγ", "pass easy: m: every run sound"):
        assert word in captured.out
    assert "FAIL" not in captured.out
    # Once more into the same folder.
    assert cli.main([*arguments, "--json"]) == 0
    assert the_object(capsys.readouterr().out)["passed"] is True


@pytest.mark.slow
def test_the_command_itself(tmp_path) -> None:
    arguments = ["--only", "five-agents", "--json", "--out", str(tmp_path / "out")]
    done = python("-m", "dpe_jax.cli", "reproduce", *arguments)
    assert done.returncode == 0, done.stderr
    assert the_object(done.stdout)["passed"] is True
    assert "Traceback" not in done.stderr
    again = python(
        "-m", "dpe_jax.cli", "run", "five-agents", "--out", str(tmp_path / "out" / "five-agents")
    )
    assert again.returncode == 2
    assert again.stdout == ""
    assert len(again.stderr.splitlines()) == 1


@pytest.mark.slow
def test_reproduce_replaces_only_a_result_of_the_same_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["reproduce", "--only", "five-agents", "--runs", "16", "--out", str(tmp_path / "r")]
    short += ["--verify-seconds", "0"]
    for iterations, extra, status in [
        ("20", [], 1),
        ("20", [], 1),
        ("21", [], 2),
        ("21", ["--overwrite"], 1),
    ]:
        assert cli.main([*short, "--iterations", iterations, *extra]) == status
    assert "add --overwrite" in capsys.readouterr().err


# Replays


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**TRACED, "trace": [], "name": "easy", "checks.gap_fraction": 0.99}
    monkeypatch.setattr(experiment, "presets", lambda: {"easy": config(small)})
    # Neither figures nor the article's tables are what is tested here.
    monkeypatch.setattr(commands, "_draw", lambda *_: [])
    tables = article.tables()
    monkeypatch.setattr(article, "tables", lambda: tables)


@pytest.fixture
def short_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Encryption(key_bits=256, insecure_test_keys=True)
    monkeypatch.setattr(replays, "Encryption", lambda: short)


@pytest.mark.slow
def test_reproduce_verifies_two_lanes(easy: None, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(["reproduce", "--out", str(out), "--verify-seconds", "0.3"]) == 0
    captured = capsys.readouterr()
    assert "pass easy: replay: VERIFIED: " in captured.out
    [report] = verifications(out / "easy")
    assert [(lane["method"], lane["run"]) for lane in report["lanes"]] == [
        ("encrypted", 0),
        ("encrypted", 1),
    ]
    assert report["encryption"]["key_bits"] == 2048
    assert report["verified"] is True
    assert 2 <= report["iterations"] <= 10
    assert checkpoints(out / "easy") == []


def test_reproduce_without_or_with_one_run(
    easy: None, short_keys: None, tmp_path: Path, capsys
) -> None:
    for arguments, lanes in (
        (["--verify-seconds", "0"], None),
        (["--verify-seconds", "0.1", "--runs", "1"], [0]),
    ):
        out = tmp_path / f"out{lanes}"
        assert cli.main(["reproduce", "--out", str(out), "--json", *arguments]) in (0, 1)
        report = the_object(capsys.readouterr().out)
        replay = [check for check in report["checks"] if check["name"] == "easy: replay"]
        preset = report["presets"]["easy"]
        assert ("verification" in preset) == (lanes is not None)
        if lanes is None:
            assert replay == []
            assert not (out / "easy" / "trace.zarr").exists()
        else:
            assert [check["passed"] for check in replay] == [True]
            assert [lane["run"] for lane in preset["verification"]["lanes"]] == lanes
    for text in ("-1", "x", "nan", "inf"):
        assert "--verify-seconds" in refusal(["reproduce", "--verify-seconds", text], capsys)


@pytest.mark.slow
def test_reproduce_fails_with_a_replay(
    easy: None, short_keys: None, tmp_path: Path, monkeypatch, capsys
) -> None:
    def changed(simulation: Any, traces: Any, *arguments: Any, **others: Any) -> Any:
        trace = traces["encrypted"].copy(deep=True)
        trace.trace_sum.values[1, 0, 2, 1] += 1
        return verify_traces(simulation, {"encrypted": trace}, *arguments, **others)

    monkeypatch.setattr("dpe_jax.replays.verify_traces", changed)
    arguments = ["reproduce", "--out", str(tmp_path / "out"), "--verify-seconds", "0.1"]
    assert cli.main(arguments) == 1
    shown = capsys.readouterr().out
    assert "FAIL easy: replay: NOT VERIFIED: 1 of " in shown
    assert "lane 1, iteration 0, sum of agent 2, coordinate 1" in shown
