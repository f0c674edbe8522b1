"""More runs of a finished result: the bits of a result that had as many from the start."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import refusal, the_object
from interrupting import CHANGES, assert_same, break_off, flip, records
from small import ENCRYPTED, config, write

from dpe_jax import cli, experiment
from dpe_jax.errors import InputError
from dpe_jax.extend import add_runs
from dpe_jax.results import Stored, load
from dpe_jax.store import CurveStore

pytestmark = pytest.mark.slow  # together some minutes

# 20 runs in blocks of 7 end within a block.
CONFIG = config(CHANGES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return experiment.run(CONFIG, tmp_path_factory.mktemp("finished") / "out").stored


@pytest.fixture(scope="module")
def from_the_start(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    longer = config({**CHANGES, "runs": 31})
    return experiment.run(longer, tmp_path_factory.mktemp("longer") / "out").stored


@pytest.fixture
def out(finished: Stored, tmp_path: Path) -> Path:
    return shutil.copytree(finished.path, tmp_path / "out")


def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is computed from now on."""
    found: list[tuple[str, int, int]] = []
    write = CurveStore.write

    def noted(self: CurveStore, block: Any, recording: Any) -> None:
        found.append((block.method, block.first, block.runs))
        write(self, block, recording)

    monkeypatch.setattr(CurveStore, "write", noted)
    return found


def test_added_runs_are_those_of_a_longer_result(
    out: Path, from_the_start: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = computed(monkeypatch)
    added = add_runs(out, 11).stored
    rest = [(20, 1), (21, 7), (28, 3)]
    assert ran == [(method, *runs) for method in ("encrypted", "plain") for runs in rest]
    assert_same(added, from_the_start)
    assert added.manifest["extended"][0]["runs"] == 20
    assert from_the_start.manifest["extended"] == []
    assert os.listdir(out.parent) == ["out"]


def test_runs_may_be_added_twice_and_to_another_folder(
    out: Path, finished: Stored, from_the_start: Stored, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    other = tmp_path / "other"
    add_runs(out, 4, other)
    assert load(out).config == CONFIG
    again = add_runs(other, 7).stored
    assert [entry["runs"] for entry in again.manifest["extended"]] == [20, 24]
    assert_same(again, from_the_start)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    with pytest.raises(InputError, match="--overwrite"):
        add_runs(out, 4, other)


def test_files_that_results_share_are_never_written_to(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    hidden = break_off(CONFIG, other, 5, run=lambda _, out_, **o: add_runs(out, 11, out_, **o))
    shared = [p for p in (hidden / "result").rglob("*") if p.is_file() and p.stat().st_nlink > 1]
    # Two whole blocks of each method.
    assert len(shared) == 2 * 2 * 7
    assert {p.name.split(".")[-1] for p in shared} == {"0", "1"}
    flipped = shared[0]
    data = flipped.read_bytes()
    flip(flipped)
    with pytest.raises(InputError, match="--repair"):
        add_runs(out, 11, other, mode="resume")
    add_runs(out, 11, other, mode="repair")
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    after = other / flipped.relative_to(hidden / "result")
    assert after.read_bytes() == data


@pytest.mark.parametrize("blocks", [0, 1, 4])
def test_an_addition_that_is_broken_off_goes_on(
    blocks: int, out: Path, from_the_start: Stored
) -> None:
    hidden = break_off(CONFIG, out, blocks, run=lambda _, out_, **o: add_runs(out_, 11, **o))
    # What was there is kept before anything is computed.
    assert len(records(hidden)) == 4 + blocks
    assert load(out).config == CONFIG
    with pytest.raises(InputError, match="--resume"):
        add_runs(out, 11)
    with pytest.raises(InputError, match=r"^runs = 25: expected 31"):
        add_runs(out, 5, mode="resume")
    added = add_runs(out, 11, mode="resume")
    assert_same(added.stored, from_the_start)
    # Once is enough.
    again = add_runs(out, 11, mode="resume")
    assert not again.new
    assert again.stored.config.runs == 31
    assert add_runs(out, 5, mode="resume").stored.config.runs == 36


def test_narrow_blocks_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty runs at a time would take a thousand runs too long."""
    free = {**CHANGES, "block": None, "methods": {"m": ENCRYPTED}}
    out = tmp_path / "out"
    assert experiment.run(config(free), out).stored.manifest["block_lanes"] == 20
    ran = computed(monkeypatch)
    added = add_runs(out, 480).stored
    usual = added.manifest["block_lanes"]
    assert usual > 4 * 20
    assert {first for _, first, _ in ran} == {20, *range(usual, 500, usual)}
    whole = experiment.run(config({**free, "runs": 500}), tmp_path / "whole").stored
    assert_same(added, whole)


def test_what_a_replay_found_of_the_traces_stays(out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"verifications": ["said"]}))
    assert add_runs(out, 1).stored.manifest["verifications"] == ["said"]


def test_a_damaged_result_is_not_extended(out: Path) -> None:
    flip(out / "curves.zarr" / "status" / "0.1")
    with pytest.raises(InputError, match="not as it was written"):
        add_runs(out, 1)


# The command


TINY = {"runs": 6, "block": 4, "iterations": 4, "methods": {"m": ENCRYPTED}}


def test_add_runs_to_a_folder_and_to_a_configuration(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, TINY)
    assert "a finished result of these settings" in refusal(
        ["run", path, "--add-runs", "2"], capsys
    )
    assert cli.main(["run", path, "--no-figures"]) == 0
    capsys.readouterr()
    assert cli.main(["run", path, "--no-figures", "--add-runs", "2", "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    folder = report["folder"]
    assert report["runs"] == 8
    assert cli.main(["run", folder, "--no-figures", "--add-runs", "3", "--check"]) == 0
    captured = capsys.readouterr()
    assert "small: 11 runs at k = 4" in captured.out
    assert f"written to {folder}" in captured.out
    again = ["run", folder, "--no-figures", "--add-runs", "3", "--resume"]
    assert cli.main(again) == 0
    captured = capsys.readouterr()
    assert f"{folder} has this result already" in captured.err
    assert "11 runs" in captured.out
    # The default folder has more by now than the configuration asks for.
    assert "--overwrite" in refusal(["run", path], capsys)
    assert load(folder).config.runs == 11
    assert cli.main(["run", path, "--no-figures", "--add-runs", "1", "--out", "other"]) == 0
    assert load("other").config.runs == 12
    assert load(folder).config.runs == 11
    whole = experiment.run(config({**TINY, "runs": 12}), tmp_path / "whole").stored
    assert_same(load("other"), whole)
    capsys.readouterr()
    for more, word in (
        (["--runs", "5"], "--runs"),
        (["--until", "half-width=1"], "--add-runs"),
        (["--metric", "objective"], "--metric"),
    ):
        assert word in refusal(["run", folder, "--add-runs", "1", *more], capsys)
    for number in ("0", "x", "-1", "1e3"):
        assert "--add-runs" in refusal(["run", folder, "--add-runs", number], capsys)
    assert "runs" in refusal(["run", folder, "--add-runs", str(2**32)], capsys)
    capsys.readouterr()
    assert cli.main(["run", path, "--no-figures", "--overwrite"]) == 0
    assert load(folder).config.runs == 6
