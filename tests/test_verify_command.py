"""`dpe verify`: exit status, what is printed where, and what stays on disk."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from command_line import (
    INSECURE,
    ONE,
    TRACED,
    checkpoints,
    refusal,
    the_object,
    verifications,
)
from small import config, write
from tasks import local_cluster

from dpe_jax import cli, experiment, replays
from dpe_jax.folder import CHECKPOINT, MANIFEST, contents, read_json, write_json
from dpe_jax.results import load

pytestmark = pytest.mark.slow  # together over 20 s


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "result"
    experiment.run(config(TRACED), out)
    return out


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A result of its own for each test."""
    return shutil.copytree(original, tmp_path / "result")


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
    assert load(folder).config == config(TRACED)
    assert cli.main(["plot", str(folder)]) == 0
    assert cli.main(["verify", str(folder), *INSECURE, *ONE]) == 0
    (folder / f"{CHECKPOINT}0123").mkdir()
    path = write(folder.parent, {**TRACED, "seed": 1})
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


def test_a_cluster_reports_the_same(folder: Path, capsys) -> None:
    arguments = ["verify", str(folder), *INSECURE, "--segment", "2", "--json"]
    with local_cluster() as cluster:
        address = cluster.scheduler_address
        for written_wrongly in (False, True):
            if written_wrongly:
                write_wrongly(folder)
            status = int(written_wrongly)
            assert cli.main([*arguments, *ONE]) == status
            here = the_object(capsys.readouterr().out)
            assert cli.main([*arguments, "--dask", address]) == status
            there = the_object(capsys.readouterr().out)
            assert there.keys() == here.keys()
            told = there.pop("fanout")
            assert (told["kind"], told["address"], told["workers"]) == ("dask", address, 2)
            assert here.pop("fanout")["kind"] == "this process"
            for timed in ("seconds", "wall_seconds"):
                assert type(here.pop(timed)) is type(there.pop(timed))
            assert there == here
            assert here["verified"] != written_wrongly
            assert here["integers_compared"] == 300
            kept = [entry for entry in verifications(folder)[-2:] if entry.items() >= here.items()]
            assert [entry["fanout"]["kind"] for entry in kept] == ["this process", "dask"]
            assert checkpoints(folder) == []


# What is not


def write_wrongly(folder: Path, **attributes: Any) -> int:
    """Add one to a level and change attributes, so that the digest is right; the level."""
    group = zarr.open_group(folder / "trace.zarr" / "encrypted", mode="a", zarr_format=2)
    level: Any = group["trace_level"]
    recorded = np.asarray(level[:])
    recorded[1, 3, 4, 0] += 1
    level[:] = recorded
    group.attrs.update(attributes)
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, manifest | {"contents": contents(folder)})
    return int(recorded[1, 3, 4, 0])


def test_a_mismatch_is_shown_and_decides_the_status(folder: Path, capsys) -> None:
    """Of a trace that was written wrongly, so that its digest is right."""
    level = write_wrongly(folder, delta=0.25)
    assert cli.main(["verify", str(folder), *INSECURE, *ONE]) == 1
    shown = capsys.readouterr().out
    assert "NOT VERIFIED: 1 of 300 integers of 10 iterations differ" in shown
    assert "first mismatch: encrypted, lane 2, iteration 3, level of agent 4, coordinate 0" in shown
    assert f"recorded {level}, replayed {level - 1}" in shown
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
    experiment.run(config({**TRACED, "trace": []}), out)
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
