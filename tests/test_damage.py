"""Unfinished results that are damaged, or of another configuration: said in one line, and kept."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from interrupting import BLOCKS, CHANGES, assert_same, break_off, flip, records
from small import CONVENTIONAL, config

from dpe_jax import experiment, unfinished
from dpe_jax.config import Config
from dpe_jax.errors import InputError
from dpe_jax.results import Stored
from dpe_jax.unfinished import Mode, place

CONFIG = config(CHANGES)
KEPT = 4
METHODS = CHANGES["methods"]
SLOWER = {**CONVENTIONAL, "stepsize": {"scale": 0.25, "exponent": 0.9}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return experiment.run(CONFIG, tmp_path_factory.mktemp("undisturbed") / "out").stored


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("begun") / "out"
    break_off(CONFIG, out, KEPT)
    return out


@pytest.fixture
def out(begun: Path, tmp_path: Path) -> Path:
    """An unfinished result to damage."""
    shutil.copytree(place(begun), place(tmp_path / "out"))
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    """All files but those that are only there to be locked."""
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name[:4] != "lock"}


def chunk(name: str) -> Callable[[Path], Path]:
    return lambda hidden: hidden / "result" / "curves.zarr" / name


def record(number: int) -> Callable[[Path], Path]:
    return lambda hidden: hidden / "blocks" / f"{number:06}.json"


def rewrite(path: Path) -> None:
    found = json.loads(path.read_text())
    found["block"]["first"] += 1
    path.write_text(json.dumps(found))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("where", "damage", "block", "file"),
    [
        (chunk("gap_mean_state/0.0.1"), flip, "1 (encrypted, runs 7 – 13)", "gap_mean_state/0.0.1"),
        (
            chunk("quantization_error/0.0.0.2"),
            halve,
            "2 (encrypted, runs 14 – 19)",
            "error/0.0.0.2",
        ),
        (chunk("final_state/1.0.0.0"), os.unlink, "3 (plain, runs 0 – 6)", "final_state/1.0.0.0"),
        (chunk("status/0.0"), flip, "0 (encrypted, runs 0 – 6)", "status/0.0"),
        (lambda hidden: hidden / "blocks" / "000000.npz", flip, "0 (enc", "blocks/000000.npz"),
        (lambda hidden: hidden / "blocks" / "000002.npz", os.unlink, "2 (enc", "000002.npz"),
        (record(1), halve, "1 (encrypted, runs 7 – 13)", "blocks/000001.json"),
        (record(3), rewrite, "3 (plain, runs 0 – 6)", "blocks/000003.json"),
    ],
)
def test_a_damaged_block_is_named_and_computed_anew_only_if_asked(
    where, damage, block: str, file: str, out: Path, undisturbed: Stored
) -> None:
    hidden = place(out)
    damage(where(hidden))
    before = contents(hidden)
    with pytest.raises(InputError) as refused:
        experiment.run(CONFIG, out, mode="resume")
    line = str(refused.value)
    assert line.startswith(f"block {block}")
    assert file in line.partition(": expected ")[0]
    assert "--repair computes such blocks anew" in line
    assert contents(hidden) == before
    again = experiment.run(CONFIG, out, mode="repair").stored
    assert again.manifest["blocks"] == {"all": BLOCKS, "resumed": KEPT - 1}
    assert_same(again, undisturbed)
    assert os.listdir(out.parent) == ["out"]


def test_what_is_not_damaged_is_found_whole(out: Path, undisturbed: Stored) -> None:
    """The control: neither mode finds anything."""
    shutil.copytree(place(out), place(out.with_name("other")))
    modes: list[tuple[str, Mode]] = [("out", "resume"), ("other", "repair")]
    for name, mode in modes:
        again = experiment.run(CONFIG, out.with_name(name), mode=mode).stored
        assert again.manifest["blocks"] == {"all": BLOCKS, "resumed": KEPT}
        assert_same(again, undisturbed)


def test_several_damaged_blocks_are_counted(out: Path, undisturbed: Stored) -> None:
    for number in range(3):
        flip(chunk(f"error_worst_agent/0.0.{number}")(place(out)))
    with pytest.raises(InputError, match=r"block 0 \(.*3 blocks are damaged"):
        experiment.run(CONFIG, out, mode="resume")
    again = experiment.run(CONFIG, out, mode="repair").stored
    assert again.manifest["blocks"]["resumed"] == KEPT - 3
    assert_same(again, undisturbed)


@pytest.mark.parametrize("name", [".zgroup", "gap_mean_state/.zarray", "run/0", "peak_error"])
@pytest.mark.parametrize("damage", [flip, os.unlink])
def test_a_damaged_store_is_mended_if_asked(
    name: str, damage, out: Path, undisturbed: Stored
) -> None:
    path = chunk(name)(place(out))
    lost = 0
    if path.is_dir():
        shutil.rmtree(path)
        lost = KEPT
    else:
        damage(path)
    with pytest.raises(InputError, match=r"curves\.zarr.*--repair mends it") as refused:
        experiment.run(CONFIG, out, mode="resume")
    assert refused.value.argument == ".out.unfinished"
    again = experiment.run(CONFIG, out, mode="repair").stored
    assert again.manifest["blocks"]["resumed"] == KEPT - lost
    assert_same(again, undisturbed)


@pytest.mark.parametrize("damage", [halve, os.unlink, lambda path: path.write_text("[]")])
def test_a_damaged_journal_is_written_anew_from_its_blocks(
    damage, out: Path, undisturbed: Stored
) -> None:
    damage(place(out) / "journal.json")
    before = contents(place(out))
    other = config({**CHANGES, "seed": 1})
    refusals: list[tuple[Config, Mode, str]] = [
        (CONFIG, "refuse", r"readable journal\.json.*--repair writes it anew"),
        (CONFIG, "resume", r"readable journal\.json.*--restart begins anew"),
        (other, "repair", "its blocks are of other settings, --restart begins anew"),
    ]
    for settings, mode, expected in refusals:
        with pytest.raises(InputError, match=expected):
            experiment.run(settings, out, mode=mode)
        assert contents(place(out)) == before
    again = experiment.run(CONFIG, out, mode="repair").stored
    assert again.manifest["blocks"]["resumed"] == KEPT
    assert_same(again, undisturbed)


@pytest.mark.parametrize(
    ("changes", "key", "then", "now"),
    [
        ({"runs": 30}, "runs", "20", "30"),
        ({"seed": 4, "iterations": 9}, "iterations", "40", "9"),
        ({"methods": {**METHODS, "plain": SLOWER}}, "methods.plain.stepsize.scale", "0.5", "0.25"),
        ({"problem.noise": 0.75}, "problem.noise", "0.5", "0.75"),
        ({"block": 5}, "block", "7", "5"),
        ({"methods": {**METHODS, "third": CONVENTIONAL}}, "methods.third", "None", "Conventional"),
        ({"trace": [3]}, "trace", "[3, 19]", "[3]"),
    ],
)
def test_a_configuration_that_no_longer_matches_is_refused(
    changes, key: str, then: str, now: str, out: Path
) -> None:
    before = contents(place(out))
    changed = config({**CHANGES, **changes})
    for mode in ("refuse", "resume", "repair"):
        with pytest.raises(InputError) as refused:
            experiment.run(changed, out, mode=mode)
        assert refused.value.argument == key
        head, _, tail = str(refused.value).partition(": expected ")
        assert now in head
        assert tail.startswith(then)
        assert ".out.unfinished has 4 of 6 blocks; --restart begins anew" in tail
        assert contents(place(out)) == before


def test_another_version_does_not_go_on(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bits need not be the same."""
    monkeypatch.setattr(unfinished, "version", lambda name: "9.9" if name == "jax" else "1")
    with pytest.raises(InputError, match=r"expected .*, with which") as refused:
        experiment.run(CONFIG, out, mode="resume")
    assert refused.value.argument == "dpe-jax"
    assert len(records(place(out))) == KEPT


def test_unfinished_work_is_neither_lost_nor_taken_up_unless_asked(
    out: Path, undisturbed: Stored
) -> None:
    before = contents(place(out))
    expected = "4 of 6 blocks.*--resume goes on from it, --restart begins anew"
    with pytest.raises(InputError, match=expected):
        experiment.run(CONFIG, out)
    assert contents(place(out)) == before
    again = experiment.run(CONFIG, out, mode="restart").stored
    assert again.manifest["blocks"]["resumed"] == 0
    assert_same(again, undisturbed)
    assert os.listdir(out.parent) == ["out"]


def test_a_finished_result_is_taken_as_it_is(tmp_path: Path, undisturbed: Stored) -> None:
    out = shutil.copytree(undisturbed.path, tmp_path / "out")
    for mode in ("resume", "repair"):
        outcome = experiment.run(CONFIG, out, mode=mode, check=True)
        assert not outcome.new
        assert outcome.stored.manifest == undisturbed.manifest
        assert [check.passed for check in outcome.checks] == [True] * 3
    with pytest.raises(InputError, match="--overwrite"):
        experiment.run(config({**CHANGES, "seed": 1}), out, mode="resume")
    (out / "curves.zarr" / "status" / "0.0").unlink()
    with pytest.raises(InputError, match="not as it was written"):
        experiment.run(CONFIG, out, mode="resume")
