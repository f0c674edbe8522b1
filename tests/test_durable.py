"""Runs that are killed at any moment end with the bits of an undisturbed one."""

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interrupting import (
    BLOCKS,
    CHANGES,
    assert_same,
    break_off,
    files,
    flip,
    parts,
    records,
    stopped,
)
from small import ENCRYPTED, config, write

from dpe_jax import claims, experiment, folder, journal
from dpe_jax.errors import InputError
from dpe_jax.results import Stored, load
from dpe_jax.store import CurveStore
from dpe_jax.unfinished import place

pytestmark = pytest.mark.slow  # together over 20 s

CONFIG = config(CHANGES)
# One shape for all real processes: each program is then made once. A chunk of theirs is as long as
# `CHUNK` lets it be, so that a block has many.
LONG = {**CHANGES, "block": 2, "iterations": 1000}
CHUNK = 3e3
OTHER = config({"runs": 2, "iterations": 3, "methods": {"m": ENCRYPTED}})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return experiment.run(CONFIG, tmp_path_factory.mktemp("undisturbed") / "out").stored


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return experiment.run(config(LONG), tmp_path_factory.mktemp("long") / "out").stored


def listing(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.mark.parametrize("blocks", range(BLOCKS))
def test_a_run_goes_on_from_any_block(blocks: int, undisturbed: Stored, tmp_path: Path) -> None:
    out = tmp_path / "out"
    unfinished = break_off(CONFIG, out, blocks)
    assert unfinished.exists() == (blocks > 0)
    assert len(records(unfinished)) == blocks
    assert not out.exists()
    outcome = experiment.run(CONFIG, out, mode="resume")
    assert outcome.stored.manifest["blocks"] == {"all": BLOCKS, "resumed": blocks}
    assert_same(outcome.stored, undisturbed)
    assert listing(tmp_path) == ["out"]


def test_the_comparison_notices_a_single_bit(undisturbed: Stored, tmp_path: Path) -> None:
    """The control of all others here."""
    same = load(shutil.copytree(undisturbed.path, tmp_path / "same"))
    assert_same(same, undisturbed)
    same.curves.gap_mean_state.load().values.view("u4")[1, 5, 13] ^= 1
    with pytest.raises(AssertionError):
        assert_same(same, undisturbed)


def test_another_number_of_processors_has_the_same_blocks(
    undisturbed: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"m": ENCRYPTED}
    free = config({**CHANGES, "block": None, "runs": 700, "trace": [], "methods": one})
    whole = experiment.run(free, tmp_path / "whole").stored
    break_off(free, tmp_path / "out", 1)
    monkeypatch.setattr("dpe_jax.study.processors", lambda: 5)
    again = experiment.run(free, tmp_path / "out", mode="resume").stored
    assert again.manifest["block_lanes"] == whole.manifest["block_lanes"]
    assert_same(again, whole)
    other = experiment.run(free, tmp_path / "five").stored
    assert other.manifest["block_lanes"] < whole.manifest["block_lanes"]


class Moments:
    """What the disk holds at one moment after another, as a process that is killed leaves it."""

    def __init__(self, watched: Path, kept: Path) -> None:
        self.watched, self.kept, self.count = watched, kept, 0

    def take(self) -> None:
        shutil.copytree(self.watched, self.kept / f"{self.count:04}", symlinks=True)
        self.count += 1

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Around every change of a name on the disk, and every waiting for it."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in (
                (Path, "rename"),
                (Path, "replace"),
                (Path, "mkdir"),
                (Path, "unlink"),
                (shutil, "rmtree"),
                (journal, "synced"),
                (folder, "synced"),
                (CurveStore, "write"),
            ):
                patch.setattr(owner, name, self._around(getattr(owner, name)))
            yield

    def _around(self, function):
        def taking(*arguments, **options):
            # The others (of zarr, say) only work while the main thread waits for them.
            if threading.current_thread() is threading.main_thread():
                self.take()
            return function(*arguments, **options)

        return taking


@pytest.mark.slow
def test_a_run_goes_on_from_any_moment(undisturbed: Stored, tmp_path: Path) -> None:
    """Also while one result takes the place of another, which is there until then."""
    home, kept = tmp_path / "home", tmp_path / "kept"
    out = home / "out"
    old = experiment.run(OTHER, out).stored.config
    moments = Moments(home, kept)
    with moments.taken():
        experiment.run(CONFIG, out, overwrite=True)
    assert moments.count > 100
    states = set()
    last = range(moments.count - 22, moments.count)
    for number in {*random.Random(5).sample(range(moments.count), 6), *last}:
        here = kept / f"{number:04}"
        hidden = place(here / "out")
        if (here / "out").exists():
            found = load(here / "out").config
            assert found in (old, CONFIG)
            states.add("old" if found == old else "new")
        else:
            assert load(hidden / "old").config == old
            states.add("between")
        begun, blocks = place(here / "out").joinpath("old").exists(), len(records(hidden))
        again = experiment.run(CONFIG, here / "out", overwrite=True, mode="resume")
        assert_same(again.stored, undisturbed)
        if again.new:
            assert again.stored.manifest["blocks"]["resumed"] == blocks
            assert not begun
        assert listing(here) == ["out"]
    assert states == {"old", "between", "new"}


def test_what_killed_processes_were_writing_does_not_stay(
    undisturbed: Stored, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    unfinished = break_off(CONFIG, out, 2)
    curves = unfinished / "result" / "curves.zarr"
    (curves / "status" / "0.1f.partial").write_text("half")
    (curves / "status" / "1.0").write_text("half of a block without a record")
    (unfinished / "blocks" / ".000003.json.partial-1").write_text("half")
    (unfinished / "result" / "trace.zarr" / "encrypted").mkdir(parents=True)
    (unfinished / "result" / "trace.zarr" / "encrypted" / ".zgroup").write_text("half")
    (unfinished / "result" / "manifest.json").write_text("{}")
    again = experiment.run(CONFIG, out, mode="resume").stored
    assert_same(again, undisturbed)
    assert listing(tmp_path) == ["out"]
    assert listing(out) == listing(undisturbed.path)


# Real processes


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_goes_on(long: Stored, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hidden, rng = place(out), random.Random(0)
    arguments = ["run", write(tmp_path, LONG), "--out", str(out), "--no-figures"]
    arguments += ["--checkpoint-seconds", "0"]
    blocks = []
    for _ in range(4):
        wanted = files(hidden) + rng.randrange(1, 40)
        code, told = stopped(
            [*arguments, "--resume"], lambda n=wanted: files(hidden) >= n, chunk=CHUNK
        )
        if code == 0:
            break
        assert (code, told) == (-signal.SIGKILL, "")
        blocks.append(len(records(hidden)))
    assert len(blocks) >= 3
    assert blocks == sorted(blocks)
    assert_same(experiment.run(config(LONG), out, mode="resume").stored, long)


def test_a_process_that_is_killed_within_a_block_goes_on(tmp_path: Path) -> None:
    changes = {**LONG, "runs": 16, "block": 16, "methods": {"m": ENCRYPTED}, "trace": [3]}
    out = tmp_path / "out"
    hidden = place(out)
    arguments = ["run", write(tmp_path, changes), "--out", str(out), "--no-figures"]
    arguments += ["--checkpoint-seconds", "0"]
    code, _ = stopped(arguments, lambda: bool(parts(hidden)), chunk=CHUNK)
    assert code == -signal.SIGKILL
    assert records(hidden) == []
    assert len(parts(hidden)) == 1
    told: list[int] = []

    def progress(_: str, done: int, total: int) -> None:
        told.append(done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpe_jax.engine._CHUNK_ELEMENT_STEPS", CHUNK)
        again = experiment.run(config(changes), out, mode="resume", progress=progress).stored
        assert told[0] > 0
        assert sum(told) == 16 * 1000
        patch.setattr("dpe_jax.engine._CHUNK_ELEMENT_STEPS", 1e8)
        whole = experiment.run(config(changes), tmp_path / "whole").stored
    assert_same(again, whole)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(
    number: int, long: Stored, tmp_path: Path
) -> None:
    path, out = write(tmp_path, LONG), tmp_path / "out of the way"
    hidden = place(out)
    arguments = ["run", path, "--out", str(out), "--no-figures", "--restart"]
    code, told = stopped(arguments, lambda: bool(records(hidden)), number, CHUNK)
    assert code == 130
    [line] = told.splitlines()
    kept, started = len(records(hidden)), len(parts(hidden))
    assert 0 < kept < 20
    assert 0 < started <= 3
    assert line == (
        f"dpe: interrupted; {kept} of 20 blocks and parts of {started} are kept in {hidden}; "
        f"this goes on: dpe run {path} --out '{out}' --no-figures --resume"
    )
    again = experiment.run(config(LONG), out, mode="resume").stored
    assert again.manifest["blocks"] == {"all": 20, "resumed": kept}
    assert_same(again, long)


# Parts that processes share


def test_parts_of_the_work_may_be_done_at_the_same_time(
    undisturbed: Stored, tmp_path: Path
) -> None:
    from dpe_jax.distributed import WHOLE, Part
    from dpe_jax.durable import Job
    from dpe_jax.study import Study
    from dpe_jax.unfinished import opened

    simulation, out = CONFIG.build(), tmp_path / "out"
    study = Study((simulation,))
    job = Job(CONFIG.model_dump(mode="json"), lambda _: study)
    with (
        opened(out, job, part=Part(0, 2)) as first,
        opened(out, job, part=Part(1, 2), mode="resume") as second,
    ):
        for part in (Part(1, 2), WHOLE):
            with (
                pytest.raises(InputError, match="no other process"),
                opened(out, job, part=part, mode="resume"),
            ):
                pass
        first.compute()
        assert first.missing() == [1, 3, 5]
        with pytest.raises(ValueError, match="3 blocks are not finished"):
            first.finish()
        with first.alone() as may:
            assert not may
        second.compute()
        assert second.missing() == []
        with second.alone() as may:
            assert may
            result = place(out) / "result"
            held = {p.relative_to(result).as_posix() for p in result.rglob("*") if p.is_file()}
            assert set(second.finish()) == held
    again = experiment.run(CONFIG, out, mode="resume").stored
    assert again.manifest["blocks"] == {"all": BLOCKS, "resumed": BLOCKS}
    assert_same(again, undisturbed)


def test_an_interrupt_on_the_way_to_a_claim_leaves_nothing(tmp_path, monkeypatch) -> None:
    claimed, asked = claims.claimed, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if not asked:
            asked.append(arguments)
            signal.raise_signal(signal.SIGINT)
        return claimed(*arguments, **options)

    monkeypatch.setattr(claims, "claimed", interrupted)
    # In a script's background interrupts are ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            experiment.run(CONFIG, tmp_path / "out")
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked
    assert os.listdir(tmp_path) == []


def test_nothing_is_read_back_that_was_not_written_to_the_disk(tmp_path: Path) -> None:
    """A block is recorded when its files and their folders have been waited for."""
    waited: set[str] = set()
    synced, write_json = journal.synced, journal.write_json
    looked = []

    def waiting(path: Path) -> None:
        waited.add(str(path))
        synced(path)

    def recorded(path: Path, value: dict) -> None:
        for name in value.get("files", {}):
            file = path.parent.parent / name
            looked.append(name)
            assert {str(file), str(file.parent)} <= waited or "blocks/" in name
        write_json(path, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "synced", waiting)
        patch.setattr(journal, "write_json", recorded)
        experiment.run(CONFIG, tmp_path / "out")
    assert len(looked) > 6 * 6
    assert os.listdir(tmp_path) == ["out"]
    flip(tmp_path / "out" / "curves.zarr" / "status" / "0.0")
    with pytest.raises(InputError, match="not as it was"):
        load(tmp_path / "out")
