"""`dpe verify` and `dpe cost`: exit status, what is printed where, and what stays on disk."""

import json
import multiprocessing
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from small import CONVENTIONAL, ENCRYPTED, config, write

from dpe_jax import article, cli, commands, experiment, replays
from dpe_jax.folder import CHECKPOINT
from dpe_jax.paillier.setup import Encryption
from dpe_jax.results import load
from dpe_jax.verification import verify_traces

INSECURE = ["--key-bits", "256", "--insecure-test-keys"]
ONE = ["--workers", "1"]
METHODS = {"encrypted": ENCRYPTED, "plain": CONVENTIONAL}
CONFIG = {"runs": 3, "iterations": 5, "trace": [0, 2], "methods": METHODS}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "result"
    experiment.run(config(CONFIG), out)
    return out


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A result of its own for each test."""
    return shutil.copytree(original, tmp_path / "result")


def the_object(text: str) -> dict[str, Any]:
    """The one strict JSON object that a text is."""
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    value = json.loads(text, parse_constant=pytest.fail)
    assert isinstance(value, dict)
    return value


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a refused command."""
    assert cli.main(arguments) == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    *warnings, line = captured.err.splitlines()
    assert all("INSECURE TEST KEYS" in warning for warning in warnings)
    assert line.startswith("dpe: ")
    return line


def verifications(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "manifest.json").read_text())["verifications"]


# What is sound


def test_a_sound_result_with_keys_that_protect(folder: Path, capsys) -> None:
    """From end to end, with the default keys of 2048 bits."""
    assert cli.main(["verify", str(folder), "--lanes", "0", "--iterations", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "VERIFIED: 90 integers of 3 iterations are equal" in captured.out
    assert "NOT" not in captured.out
    assert "INSECURE" not in captured.out
    assert "2048-bit keys" in captured.out
    [report] = verifications(folder)
    assert (report["encryption"]["key_bits"], report["encryption"]["insecure_test_keys"]) == (
        2048,
        False,
    )
    assert report["verified"] is True


def test_what_is_shown(folder: Path, capsys) -> None:
    assert cli.main(["verify", str(folder), *INSECURE, *ONE]) == 0
    captured = capsys.readouterr()
    assert "VERIFIED: 300 integers of 10 iterations are equal" in captured.out
    rows = [line.split() for line in captured.out.splitlines()]
    assert ["encrypted", "0", "ok", "5", "of", "5"] in rows
    assert ["encrypted", "2", "ok", "5", "of", "5"] in rows
    # 8 links, two ends, there and back.
    assert "320 messages" in captured.out
    assert "INSECURE TEST KEYS" in captured.out
    assert captured.err == "warning: INSECURE TEST KEYS of 256 bits protect nothing\n"
    for word in ("median", "encrypt neighbor", "decrypt", "with 1 worker"):
        assert word in captured.out
    assert "Traceback" not in captured.out + captured.err


def test_json_is_one_object(folder: Path, capsys) -> None:
    arguments = ["verify", str(folder), *INSECURE, *ONE, "--backend", "phe", "--lanes", "2,0"]
    assert cli.main([*arguments, "--segment", "2", "--json"]) == 0
    captured = capsys.readouterr()
    report = the_object(captured.out)
    assert captured.out.startswith('{"verified": true, ')
    assert "INSECURE TEST KEYS of 256 bits" in captured.err
    assert report["encryption"]["insecure_test_keys"] is True
    assert report["encryption"]["backend"] == "phe"
    assert [lane["run"] for lane in report["lanes"]] == [0, 2]
    assert (report["mismatches"], report["first_mismatch"], report["disagreements"]) == (
        0,
        None,
        [],
    )
    assert report["integers_compared"] == 300
    assert report["packing"]["encrypted"]["slots"] == 1


def test_every_verification_is_added_to_a_manifest_that_stays_whole(folder: Path, capsys) -> None:
    before = json.loads((folder / "manifest.json").read_text())
    held = {path: path.stat().st_size for path in folder.rglob("*") if path.name != "manifest.json"}
    for arguments in (["--iterations", "2"], ["--lanes", "2", "--randomness", "full"]):
        assert cli.main(["verify", str(folder), *INSECURE, *ONE, *arguments]) == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    one, two = manifest.pop("verifications")
    assert manifest == before
    assert (one["iterations"], two["iterations"]) == (4, 5)
    assert one["verified"] is two["verified"] is True
    assert one["written"].endswith("Z")
    assert "uniform" in two["encryption"]["randomness"]
    assert held == {
        path: path.stat().st_size for path in folder.rglob("*") if path.name != "manifest.json"
    }
    # The folder can still be read, drawn and replaced.
    assert load(folder).config == config(CONFIG)
    assert cli.main(["plot", str(folder)]) == 0
    assert cli.main(["verify", str(folder), *INSECURE, *ONE]) == 0
    (folder / f"{CHECKPOINT}0123").mkdir()
    path = write(folder.parent, {**CONFIG, "iterations": 4})
    arguments = ["run", path, "--out", str(folder), "--no-figures", "--overwrite"]
    assert cli.main(arguments) == 0
    assert not (folder / f"{CHECKPOINT}0123").exists()
    assert "verifications" not in json.loads((folder / "manifest.json").read_text())
    assert cli.main(["verify", str(folder), *INSECURE, *ONE]) == 0


def test_two_workers(folder: Path, capsys) -> None:
    arguments = ["verify", str(folder), *INSECURE, "--workers", "2", "--json"]
    assert cli.main(arguments) == 0
    report = the_object(capsys.readouterr().out)
    assert (report["verified"], report["fanout"]["workers"]) == (True, 2)


# What is not


def test_a_mismatch_is_shown_and_decides_the_status(folder: Path, monkeypatch, capsys) -> None:
    """Of a trace that was written wrongly, so that its digest is right."""
    group = zarr.open_group(folder / "trace.zarr" / "encrypted", mode="a", zarr_format=2)
    level: Any = group["trace_level"]
    recorded = np.asarray(level[:])
    recorded[1, 3, 4, 0] += 1
    level[:] = recorded
    group.attrs["delta"] = 0.25
    from dpe_jax.folder import contents, read_json, write_json

    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | {"contents": contents(folder)})
    assert cli.main(["verify", str(folder), *INSECURE, *ONE]) == 1
    shown = capsys.readouterr().out
    assert "NOT VERIFIED: 1 of 300 integers of 10 iterations differ" in shown
    assert "first mismatch: encrypted, lane 2, iteration 3, level of agent 4, coordinate 0" in shown
    assert f"recorded {recorded[1, 3, 4, 0]}, replayed {recorded[1, 3, 4, 0] - 1}" in shown
    assert "settings: encrypted: delta is 0.25, expected 0.0078125" in shown
    assert cli.main(["verify", str(folder), *INSECURE, *ONE, "--lanes", "0", "--json"]) == 1
    report = the_object(capsys.readouterr().out)
    assert (report["verified"], report["mismatches"]) == (False, 0)
    [found] = report["disagreements"]
    assert (found["name"], found["index"], found["got"]) == ("delta", [], 0.25)
    assert [entry["verified"] for entry in verifications(folder)] == [False, False]
    assert cli.main(["verify", str(folder), *INSECURE, *ONE, "--lanes", "0"]) == 1
    assert "NOT VERIFIED: the trace does not belong to the settings" in capsys.readouterr().out


def test_a_changed_trace_is_not_even_replayed(folder: Path, capsys) -> None:
    chunk = max(
        (folder / "trace.zarr" / "encrypted" / "trace_level").rglob("*.*.*"),
        key=lambda path: path.stat().st_size,
    )
    chunk.write_bytes(bytes(chunk.stat().st_size))
    line = refusal(["verify", str(folder), *INSECURE], capsys)
    assert "trace.zarr is not as it was written" in line


def test_folders_without_traces(folder: Path, tmp_path: Path, capsys) -> None:
    line = refusal(["verify", str(tmp_path / "none"), *INSECURE], capsys)
    assert "DIR = " in line
    assert "written by dpe run" in line
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    assert "manifest.json is missing" in refusal(["verify", str(tmp_path / "other")], capsys)
    out = tmp_path / "untraced"
    experiment.run(config({**CONFIG, "trace": []}), out)
    assert "dpe run … --trace 0,1" in refusal(["verify", str(out), *INSECURE], capsys)
    assert "DIR" in refusal(["verify", ""], capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--key-bits", "1024"], ["--key-bits", "1024", "--insecure-test-keys", "2048"]),
        (["--key-bits", "2049"], ["--key-bits", "2049", "even"]),
        (["--key-bits", "64", "--insecure-test-keys"], ["--key-bits", "64", "from 96"]),
        (["--key-bits", "x"], ["--key-bits", "'x'"]),
        (["--key-bits", "99999"], ["--key-bits", "99999"]),
        (["--lanes", "1"], ["--lanes", "1", "0, 2"]),
        (["--lanes", ""], ["--lanes", "''", "such as 0,1"]),
        (["--lanes", "a"], ["--lanes", "'a'"]),
        (["--lanes", "-1"], ["--lanes", "'-1'"]),
        (["--backend", "gpu"], ["--backend", "'gpu'", "fast, phe"]),
        (["--randomness", "none"], ["--randomness", "'none'", "short, full"]),
        (["--backend", "phe", "--randomness", "short"], ["--randomness", "'short'", "phe"]),
        (["--workers", "0"], ["--workers", "'0'"]),
        (["--workers", "2", "--dask", "tcp://127.0.0.1:1"], ["--workers", "--dask"]),
        (["--segment", "0"], ["--segment", "'0'"]),
        (["--iterations", "6"], ["--iterations", "6", "at most the 5"]),
        (["--iterations", "0"], ["--iterations", "'0'"]),
        (["--runs", "2"], ["'--runs 2'", "dpe verify"]),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_bad_options_are_one_line(arguments, expected, flags, original, capsys) -> None:
    line = refusal(["verify", str(original), *arguments, *flags], capsys)
    for part in expected:
        assert part in line
    assert "verifications" not in json.loads((original / "manifest.json").read_text())


def test_a_scheduler_that_does_not_answer_is_one_line(original: Path, monkeypatch, capsys) -> None:
    from dpe_jax.fanout import Cluster

    monkeypatch.setattr(replays, "Cluster", lambda address: Cluster(address, timeout=0.3))
    arguments = ["verify", str(original), *INSECURE, "--dask", "tcp://127.0.0.1:1"]
    assert "--dask = 'tcp://127.0.0.1:1'" in refusal(arguments, capsys)


def test_a_folder_that_cannot_be_written_is_one_line(folder: Path, monkeypatch, capsys) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dpe_jax.checkpoint.write_json", full)
    line = refusal(["verify", str(folder), *INSECURE, *ONE], capsys)
    assert "DIR = " in line
    assert "No space left on device" in line
    monkeypatch.undo()
    monkeypatch.setattr("dpe_jax.replays.write_json", full)
    assert "a manifest that can be written" in refusal(
        ["verify", str(folder), *INSECURE, *ONE], capsys
    )


# Interrupts


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{CHECKPOINT}*/*.json"))


def of_process(pid: int) -> set[int]:
    """Its processes that still run, by parent (Linux)."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(status.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("restart", [False, True])
def test_an_interrupted_verification_keeps_its_parts(
    restart: bool, folder: Path, tmp_path: Path, capsys
) -> None:
    """A real process with workers, interrupted as soon as a part is kept."""
    long = tmp_path / "long"
    experiment.run(config({**CONFIG, "iterations": 300, "trace": [0]}), long)
    arguments = ["verify", str(long), "--segment", "10", "--workers", "2"]
    keys = ["--key-bits", "1024", "--insecure-test-keys"]
    # Tests that run in the background of a script are born with interrupts ignored.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from dpe_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *arguments, *keys]
    if restart:
        command.append("--restart")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not checkpoints(long):
            pass
        assert process.poll() is None
        # Each is readable when its process has ended.
        children = [os.pidfd_open(pid) for pid in of_process(process.pid)]
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
    assert len(children) >= 2
    for child in children:
        # What only watches over the workers ends by itself, just after its parent.
        assert select.select([child], [], [], 30.0)[0]
        os.close(child)
    assert process.returncode == cli.INTERRUPTED
    assert out == ""
    assert "Traceback" not in told
    *_, line = told.splitlines()
    expected = "the same command without --restart" if restart else "the same command"
    assert line == f"dpe: interrupted; finished parts are kept: {expected} goes on from them"
    kept = len(checkpoints(long))
    assert 0 < kept < 30
    assert "verifications" not in json.loads((long / "manifest.json").read_text())
    if restart:
        return
    assert cli.main([*arguments, *keys, "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert (report["verified"], report["resumed"]) == (True, kept)
    assert report["integers_compared"] == 300 * 30
    assert checkpoints(long) == []
    assert multiprocessing.active_children() == []
    assert os.listdir(long).count("manifest.json") == 1


# dpe cost


def test_cost_of_a_configuration(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, CONFIG)
    assert cli.main(["cost", path, *INSECURE]) == 0
    captured = capsys.readouterr()
    assert captured.err == "warning: INSECURE TEST KEYS of 256 bits protect nothing\n"
    for word in ("encrypted: forecast", "5 agents, 8 links, d = 2", "160 (plaintext run: 80)"):
        assert word in captured.out
    assert "plain: forecast" not in captured.out
    assert cli.main(["cost", path, *INSECURE, "--iterations", "1000", "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert list(report) == ["encrypted"]
    assert (report["encrypted"]["messages"], report["encrypted"]["iterations"]) == (32_000, 1000)
    assert report["encrypted"]["encryption"]["insecure_test_keys"] is True
    assert list(tmp_path.iterdir()) == [Path(path)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["six-agents"], ["PRESET|CONFIG", "'six-agents'"]),
        (["none.toml"], ["'none.toml'"]),
        (["five-agents", "--key-bits", "1024"], ["--key-bits", "--insecure-test-keys"]),
        (["five-agents", "--iterations", "0"], ["--iterations", "'0'"]),
        (["five-agents", "--backend", "x"], ["--backend", "'x'"]),
        (["five-agents", "--lanes", "1"], ["'--lanes 1'", "dpe cost"]),
        ([], ["PRESET|CONFIG"]),
    ],
)
def test_bad_input_of_cost_is_one_line(arguments, expected, capsys) -> None:
    line = refusal(["cost", *arguments], capsys)
    for part in expected:
        assert part in line


def test_cost_of_what_is_not_encrypted(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, {**CONFIG, "trace": [], "methods": {"plain": CONVENTIONAL}})
    assert "whose exchange is encrypted" in refusal(["cost", path, *INSECURE], capsys)


# dpe reproduce


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**CONFIG, "trace": [], "name": "easy", "checks.gap_fraction": 0.99}
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
