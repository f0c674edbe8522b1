"""Blocks in flight: a block that goes on from a snapshot has the bits of an undisturbed one."""

import dataclasses
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from common import FULL, NETWORK
from interrupting import CHANGES, assert_same, flip, parts
from methods import METHODS, every_method
from small import ENCRYPTED, config

from dpe_jax import engine, experiment
from dpe_jax.algorithms import Algorithm
from dpe_jax.blocks import StoppedError
from dpe_jax.engine import Saving, run_block
from dpe_jax.journal import DamagedError, Journal
from dpe_jax.recording import Keep, Recording, Snapshot
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study
from dpe_jax.unfinished import place

pytestmark = pytest.mark.slow  # together some minutes

ITERATIONS, RUNS = 60, 20


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """About seven chunks of a block, some of which end between two record points."""
    monkeypatch.setattr(engine, "_CHUNK_ELEMENT_STEPS", 9.0 * 10 * 32)


def simulation(algorithm: Algorithm) -> Simulation:
    metrics = ("gap_mean_state", "error_worst_agent", "quantization_error", "peak_error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Simulation(
            {"m": algorithm},
            FULL,
            NETWORK,
            RUNS,
            ITERATIONS,
            trace=(0, 7),
            metrics=metrics,
            points=5,
            spacing="linear",
        )


def bits(recording: Recording) -> list[tuple[tuple[int, ...], str, bytes]]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(recording)]
    return [(leaf.shape, leaf.dtype.str, leaf.tobytes()) for leaf in leaves]


def studied(algorithm: Algorithm, keep: Keep, folder: Path) -> tuple[Recording, list[Recording]]:
    """A block without a break, and after each of its chunks; snapshots went over the disk."""
    study = Study((simulation(algorithm),), keep=keep)
    [block] = study.blocks()
    program = study.program(block)
    journal = Journal(folder)
    journal.begin({}, {})
    numbers = []

    def save(take) -> None:
        snapshot = take()
        numbers.append(snapshot.chunks)
        journal.write_part(snapshot.chunks, "this", snapshot)

    whole = run_block(program, 0, RUNS, saving=Saving(None, save))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 6
    resumed = []
    for number in numbers:
        done: list[int] = []
        found = journal.part(number, "this")
        again = run_block(program, 0, RUNS, done.append, Saving(found, lambda _: None))
        assert sum(done) == RUNS * ITERATIONS
        resumed.append(again)
    return whole, resumed


@every_method
def test_every_method_goes_on_from_every_chunk(name: str, tmp_path: Path) -> None:
    whole, resumed = studied(METHODS[name], "runs", tmp_path)
    assert (whole.trace is not None) == name.startswith("encrypted")
    assert set(whole.curves) == set(simulation(METHODS[name]).observed)
    for again in resumed:
        assert bits(again) == bits(whole)


@pytest.mark.parametrize("name", ["encrypted", "tailored"])
def test_a_summary_goes_on_from_every_chunk(name: str, tmp_path: Path) -> None:
    whole, resumed = studied(METHODS[name], "summary", tmp_path)
    assert whole.curves == {}
    assert set(whole.moments) == {"gap_mean_state", "error_worst_agent", "peak_error"}
    for again in resumed:
        assert bits(again) == bits(whole)


def test_a_snapshot_that_is_one_bit_off_is_noticed(tmp_path: Path) -> None:
    """The control: the bits depend on the snapshot, and its file on its checksum."""
    study = Study((simulation(METHODS["encrypted"]),))
    [block] = study.blocks()
    program, kept = study.program(block), []
    whole = run_block(program, 0, RUNS, saving=Saving(None, lambda take: kept.append(take())))
    leaf = kept[2].arrays["moving/0"].copy()
    leaf.reshape(-1)[:1].view(np.uint8)[5] ^= 1
    wrong = Snapshot(3, kept[2].arrays | {"moving/0": leaf})
    again = run_block(program, 0, RUNS, saving=Saving(wrong, lambda _: None))
    assert bits(again) != bits(whole)
    journal = Journal(tmp_path)
    journal.begin({}, {})
    journal.write_part(0, "this", kept[2])
    assert journal.parts() == {0}
    with pytest.raises(DamagedError):
        journal.part(0, "that")
    path = next(tmp_path.glob("blocks/*.npz"))
    whole_file = path.read_bytes()
    for place_in_file in (0, 200, len(whole_file) // 2, len(whole_file) - 5):
        path.write_bytes(whole_file)
        flip(path, place_in_file)
        try:
            found = journal.part(0, "this")
        except DamagedError:
            continue
        # A byte that says nothing of the arrays (a date, say).
        assert found is not None
        assert found.arrays.keys() == kept[2].arrays.keys()
        for key, value in found.arrays.items():
            np.testing.assert_array_equal(value, kept[2].arrays[key])
    path.write_bytes(whole_file[:-100])
    with pytest.raises(DamagedError):
        journal.part(0, "this")


def test_a_snapshot_of_other_chunks_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study((simulation(METHODS["encrypted"]),))
    [block] = study.blocks()
    program, kept = study.program(block), []
    whole = run_block(program, 0, RUNS, saving=Saving(None, lambda take: kept.append(take())))
    monkeypatch.setattr(engine, "_CHUNK_ELEMENT_STEPS", 7.0 * 10 * 32)
    done: list[int] = []
    again = run_block(program, 0, RUNS, done.append, Saving(kept[3], lambda _: None))
    assert bits(again) == bits(whole)
    assert max(done) <= 7 * RUNS


# Within a run


LONG = config({**CHANGES, "block": 20, "iterations": 200})


def begun(out: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that ended after so many snapshots."""
    write, count = Journal.write_part, []

    def breaking(self: Journal, number: int, identity: str, snapshot: Snapshot) -> None:
        write(self, number, identity, snapshot)
        count.append(number)
        if len(count) == after:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write_part", breaking)
        patch.setattr("dpe_jax.study.processors", lambda: 1)
        # The run has no more blocks then, and is not whole.
        with pytest.raises(ValueError, match="blocks are not finished"):
            experiment.run(LONG, out, checkpoint_seconds=0.0)
    return place(out)


def test_a_run_goes_on_within_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = experiment.run(LONG, tmp_path / "whole").stored
    hidden = begun(tmp_path / "out", 9, monkeypatch)
    [part] = parts(hidden)
    with np.load(part) as found:
        iteration = int(found["cut"][1])
    done: dict[str, list[int]] = {"encrypted": [], "plain": []}
    outcome = experiment.run(
        LONG, tmp_path / "out", mode="resume", progress=lambda m, n, _: done[m].append(n)
    )
    assert done["encrypted"][0] == iteration * 20 > 0
    assert {name: sum(column) for name, column in done.items()} == dict.fromkeys(done, 20 * 200)
    assert outcome.warnings == whole.summary["warnings"]
    assert_same(outcome.stored, whole)
    assert not part.exists()


def test_a_part_that_is_damaged_is_left_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = experiment.run(LONG, tmp_path / "whole").stored
    hidden = begun(tmp_path / "out", 9, monkeypatch)
    [part] = parts(hidden)
    flip(part, part.stat().st_size // 2)
    outcome = experiment.run(LONG, tmp_path / "out", mode="resume")
    assert outcome.warnings == [
        *whole.summary["warnings"],
        "000000.part.npz is damaged: block 0 begins anew",
    ]
    assert outcome.stored.curves.equals(whole.curves)


def test_a_part_that_cannot_be_written_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "write_part", full)
    small = config({"runs": 4, "methods": {"m": ENCRYPTED}, "iterations": 200})
    outcome = experiment.run(small, tmp_path / "out", checkpoint_seconds=0.0)
    assert "parts of blocks are not kept (No space left on device)" in outcome.warnings
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_parts_are_kept_as_often_as_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(Journal, "write_part", lambda *a: counted.append(a[1]))
    small = config({"runs": 4, "methods": {"m": ENCRYPTED}, "iterations": 200})
    experiment.run(small, tmp_path / "never")
    assert counted == []
    now = [0.0]
    monkeypatch.setattr("dpe_jax.durable.time.monotonic", lambda: now[0])
    advance = engine._advance

    def ticking(*arguments):
        now[0] += 1.0
        return advance(*arguments)

    monkeypatch.setattr(engine, "_advance", ticking)
    experiment.run(small, tmp_path / "some", checkpoint_seconds=4.0)
    chunks = int(now[0])
    assert len(counted) == (chunks - 1) // 4


def test_a_study_of_many_configurations_goes_on(tmp_path: Path) -> None:
    """Statistics and statuses of blocks that mix configurations, over the disk and back."""
    from dpe_jax.durable import Job
    from dpe_jax.unfinished import opened

    first = dataclasses.replace(simulation(METHODS["encrypted"]), trace=())
    scales = [dataclasses.replace(METHODS["encrypted"], delta=0.01 * (i + 1)) for i in range(3)]
    several = tuple(dataclasses.replace(first, algorithms={"m": m}) for m in scales)
    study = Study(several, keep="summary", width=2 * RUNS)
    expected = {block: recording for block, recording in study.recordings()}
    assert [len(block.configurations) for block in expected] == [2, 1]
    job = Job({"sweep": "delta"}, lambda _: study, {"delta": np.array([0.01, 0.02, 0.03])})
    with opened(tmp_path / "out", job) as work:
        work.compute()
        found = list(work.summaries())
        assert [block for block, _, _ in found] == list(expected)
        for block, moments, status in found:
            assert status.tolist() == expected[block].status.tolist() == [0] * block.lanes
            for metric, value in expected[block].moments.items():
                for one, other in zip(value, moments[metric], strict=True):
                    assert np.asarray(one).tobytes() == other.tobytes()
    with opened(tmp_path / "out", job, mode="resume") as work:
        assert work.missing() == []
        assert work.resumed == 2
