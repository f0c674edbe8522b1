"""Interrupted verifications go on where they were."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small import DIVERGING, config
from small import ENCRYPTED as TABLE
from verifying import QUICK, SMALL_KEYS, lasting

from dpe_jax import experiment, verification
from dpe_jax.errors import InputError
from dpe_jax.fanout import Fanout
from dpe_jax.folder import CHECKPOINT, alone
from dpe_jax.paillier.setup import Encryption
from dpe_jax.results import Stored, load
from dpe_jax.verification import Report, verify

# Nearest rounding is warned of, as are matrices whose Γ is coarse.
pytestmark = [
    pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning"),
    pytest.mark.slow,  # together over 20 s
]

CONFIG = {"runs": 5, "iterations": 9, "trace": [0, 3], "methods": {"a": TABLE, "b": TABLE}}
PARTS = 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verification") / "result"
    return experiment.run(config(CONFIG), out).stored.path


@pytest.fixture
def stored(original: Path, tmp_path: Path) -> Stored:
    """A result of its own for each test."""
    return load(shutil.copytree(original, tmp_path / "result"))


class Counting(Fanout):
    """In this process; counts what is replayed."""

    def __init__(self) -> None:
        self.replayed: list[tuple[str, int, int]] = []

    def results(self, work: Any, tasks: Any) -> Iterator[tuple[int, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for index, task in enumerate(tasks):
            stretch = task[1]
            self.replayed.append((stretch.method, stretch.run, stretch.first))
            yield index, work(task)

    def describe(self) -> dict[str, str | int]:
        return {"kind": "counting", "workers": 1}


def after(parts: int) -> Callable[[str, int, int], None]:
    """Progress that interrupts when so many parts are replayed."""
    finished = itertools.count(1)

    def progress(_: str, done: int, __: int) -> None:
        if done and next(finished) == parts:
            raise KeyboardInterrupt

    return progress


def checkpoints(stored: Stored) -> list[Path]:
    return sorted(path for path in stored.path.iterdir() if path.name.startswith(CHECKPOINT))


def interrupted(stored: Stored, parts: int, **others: Any) -> Path:
    """Verify until so many parts are done; the folder that keeps them."""
    arguments: Any = {"encryption": QUICK, "segment": 3} | others
    with pytest.raises(KeyboardInterrupt):
        verify(stored, progress=after(parts), **arguments)
    return checkpoints(stored)[-1]


def resumed(stored: Stored, **others: Any) -> tuple[Report, list[tuple[str, int, int]]]:
    counting = Counting()
    arguments: Any = {"encryption": QUICK, "segment": 3, "fanout": counting} | others
    return verify(stored, **arguments), counting.replayed


def test_finished_parts_are_not_replayed_again(stored: Stored) -> None:
    whole, replayed = resumed(stored)
    assert len(replayed) == PARTS
    assert checkpoints(stored) == []
    folder = interrupted(stored, 5)
    assert len(list(folder.iterdir())) == 5
    # A result with such a folder is whole all the same.
    assert load(stored.path).config == stored.config
    # Interrupted once more, from where it was.
    told: list[int] = []
    interrupted(stored, 7)
    assert len(list(folder.iterdir())) == 7
    report, rest = resumed(stored, progress=lambda _, done, __: told.append(done))
    assert rest == replayed[7:]
    assert (report.resumed, report.verified) == (7, True)
    assert lasting(report) == lasting(whole)
    assert report.key_bytes == whole.key_bytes
    assert sum(told) == 4 * 9
    assert all(report.seconds[name] > 0 for name in ("tables", "encrypt_own", "decrypt"))
    assert checkpoints(stored) == []


def test_a_finished_part_that_failed_stays_failed(stored: Stored, monkeypatch) -> None:
    """A mismatch is kept with its part."""
    honest = verification.protocol_for

    def nearest(coupling: Any, dim: int, seed: int, rounding: str, *others: Any) -> Any:
        return honest(coupling, dim, seed, "nearest", *others)

    monkeypatch.setattr(verification, "protocol_for", nearest)
    whole, _ = resumed(stored)
    interrupted(stored, PARTS)
    report, replayed = resumed(stored)
    assert replayed == []
    assert report.resumed == PARTS
    assert not report.verified
    assert report.first_mismatch is not None
    assert lasting(report) == lasting(whole)


@pytest.mark.parametrize("text", ["", '{"method": "a", "ru', "{}", "[]", "null", '{"tally": 3}'])
def test_a_part_that_is_not_whole_counts_for_nothing(text: str, stored: Stored) -> None:
    folder = interrupted(stored, 3)
    (folder / "1.json").write_text(text)
    (folder / "99.json").write_text((folder / "0.json").read_text())
    (folder / "-1.json").write_text((folder / "0.json").read_text())
    (folder / "x.json").write_text((folder / "0.json").read_text())
    (folder / ".4.json.partial-0").write_text((folder / "0.json").read_text())
    (folder / "5.json").write_bytes(b"\xff\xfe")
    report, replayed = resumed(stored)
    assert (report.resumed, report.verified) == (2, True)
    assert replayed[0] == ("a", 0, 3)
    assert len(replayed) == PARTS - 2
    assert checkpoints(stored) == []


@pytest.mark.parametrize(
    ("others", "parts"),
    [
        ({"encryption": Encryption("fast", "full", 130, insecure_test_keys=True)}, PARTS),
        ({"encryption": dataclasses.replace(QUICK, randomness=None)}, PARTS),
        ({"encryption": dataclasses.replace(QUICK, name="phe")}, PARTS),
        ({"iterations": 8}, PARTS),
        ({"runs": (3,)}, PARTS / 2),
        ({"segment": 4}, PARTS),
        ({"resume": False}, PARTS),
    ],
)
def test_parts_of_other_settings_are_not_used(others, parts, stored: Stored) -> None:
    kept = interrupted(stored, 5)
    report, replayed = resumed(stored, **others)
    assert (report.resumed, len(replayed)) == (0, parts)
    assert report.verified
    # Those of other settings stay for them; beginning anew is for good.
    assert checkpoints(stored) == ([] if "resume" in others else [kept])


def test_parts_of_another_result_are_not_used(stored: Stored, tmp_path: Path) -> None:
    kept = interrupted(stored, 5)
    other = experiment.run(config({**CONFIG, "seed": 1}), tmp_path / "other").stored
    kept.rename(other.path / kept.name)
    report, replayed = resumed(other)
    assert (report.resumed, len(replayed)) == (0, PARTS)
    # A result that is replaced takes its parts with it.
    interrupted(stored, 5)
    again = experiment.run(config({**CONFIG, "seed": 2}), stored.path, overwrite=True).stored
    assert checkpoints(again) == []


def test_beginning_anew_keeps_its_own_parts(stored: Stored) -> None:
    interrupted(stored, 5)
    folder = interrupted(stored, 2, resume=False)
    assert len(list(folder.iterdir())) == 2
    assert resumed(stored)[0].resumed == 2


def test_parts_that_cannot_be_kept_are_one_line(stored: Stored) -> None:
    folder = interrupted(stored, 1)
    (folder / "0.json").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(InputError, match=r"^DIR = .*: expected a writable folder"):
        resumed(stored)
    assert folder.read_text() == "in the way"


def test_workers_end_with_an_interrupt(stored: Stored) -> None:
    """While its traceback is still held."""
    ended: list[bool] = []

    class Watching(Counting):
        def results(self, work: Any, tasks: Any) -> Iterator[tuple[int, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
            try:
                yield from super().results(work, tasks)
            finally:
                ended.append(True)

    try:
        verify(stored, encryption=SMALL_KEYS, segment=3, fanout=Watching(), progress=after(2))
    except KeyboardInterrupt:
        assert ended == [True]
    assert ended == [True]


def test_a_stored_failure_is_verified_too(tmp_path: Path) -> None:
    tables = {"runs": 3, "iterations": 9, "trace": [1], "methods": {"m": {**DIVERGING}}}
    slowly = {"scale": 30.0, "exponent": 0.0}
    tables["methods"] = {"m": {**DIVERGING, "stepsize": slowly}}
    stored = experiment.run(config(tables), tmp_path / "result").stored
    report = verify(stored, encryption=SMALL_KEYS)
    [lane] = report.lanes
    assert report.verified
    assert lane.status == "left the range"
    assert 0 < lane.iterations < 9
    assert json.loads(json.dumps(report.to_dict()))["lanes"][0]["status"] == "left the range"


def test_a_second_verification_of_one_folder_is_refused_meanwhile(stored: Stored) -> None:
    with (
        alone(stored.path),
        pytest.raises(InputError, match=r"^DIR = .*no other verification is at work"),
    ):
        verify(stored, encryption=QUICK, iterations=1)
    assert verify(stored, encryption=QUICK, iterations=1).verified
    assert checkpoints(stored) == []
