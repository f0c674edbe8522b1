"""A result's folder takes another's place whole, or not at all."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import ENCRYPTED, config

from dpe_jax import experiment
from dpe_jax.errors import InputError
from dpe_jax.folder import jsonable, write_json
from dpe_jax.results import Stored, load
from dpe_jax.store import CurveStore

CONFIG = config({"trace": [19, 3], "methods.second": {**ENCRYPTED, "delta": 0.5}})


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return experiment.run(CONFIG, tmp_path_factory.mktemp("results") / "out").stored


@pytest.fixture
def copied(stored: Stored, tmp_path: Path) -> Path:
    """A result to replace."""
    shutil.copytree(stored.path, tmp_path / "copy")
    return tmp_path / "copy"


def _listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt]
)
@pytest.mark.parametrize("place", ["write", "write_json", "rename"])
def test_a_run_that_breaks_off_leaves_the_old_result(
    place, error, copied: Path, monkeypatch
) -> None:
    before = _listing(copied)

    def fail(*_: Any) -> None:
        raise error

    if place == "write":
        monkeypatch.setattr(CurveStore, "write", fail)
    elif place == "write_json":
        monkeypatch.setattr(experiment, "write_json", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail)
    expected = InputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as raised:
        experiment.run(config({"runs": 3, "iterations": 2}), copied, overwrite=True)
    if isinstance(error, OSError):
        assert "--out" in str(raised.value)
        assert "No space left on device" in str(raised.value)
    # What is finished is kept, if anything is.
    left = [] if place == "write" else [".copy.unfinished"]
    assert sorted(path.name for path in copied.parent.iterdir()) == [*left, "copy"]
    assert ("2 of 2 blocks are kept" in str(raised.value)) == bool(left)
    assert _listing(copied) == before
    assert load(copied).config == CONFIG
    monkeypatch.undo()
    if left:
        other = config({"runs": 3, "iterations": 2})
        again = experiment.run(other, copied, overwrite=True, mode="resume").stored
        assert again.manifest["blocks"] == {"all": 2, "resumed": 2}
        assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_the_old_result_comes_back_if_the_new_cannot_take_its_place(
    copied: Path, monkeypatch
) -> None:
    rename, calls = Path.rename, []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(InputError, match="Input/output error"):
        experiment.run(config({"runs": 3, "iterations": 2}), copied, overwrite=True)
    assert len(calls) == 3
    assert sorted(path.name for path in copied.parent.iterdir()) == [".copy.unfinished", "copy"]
    assert load(copied).config == CONFIG


def test_an_old_result_is_replaced_only_when_asked(copied: Path) -> None:
    other = config({"runs": 3, "iterations": 2})
    with pytest.raises(InputError, match="--overwrite"):
        experiment.run(other, copied)
    assert load(copied).config == CONFIG
    (copied / "figures").mkdir()
    experiment.run(other, copied, overwrite=True)
    assert load(copied).config == other
    assert not (copied / "trace.zarr").exists()
    assert not (copied / "figures").exists()
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_out_may_be_an_empty_folder_or_none_yet(tmp_path: Path, monkeypatch) -> None:
    other = config({"runs": 1, "iterations": 1, "methods": {"m": ENCRYPTED}})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for out in ("empty", "new/deeper"):
        stored = experiment.run(other, Path(out)).stored
        assert stored.config == other
        assert stored.curves.sizes["run"] == 1
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for out in ("full", "file", "file/inside", "x" * 300):
        with pytest.raises(InputError, match=r"^--out = "):
            experiment.run(other, Path(out), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full", "new"]


def test_json_files_are_strict_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {
        "nan": np.nan,
        "inf": [np.float32(np.inf), -np.inf],
        "array": np.arange(3),
        "bool": np.bool_(True),
        "integer": np.int64(2**62),
        1: None,
        "path": Path("x"),
    }
    write_json(path, value)
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert read == {
        "nan": None,
        "inf": [None, None],
        "array": [0, 1, 2],
        "bool": True,
        "integer": 2**62,
        "1": None,
        "path": "x",
    }
    assert jsonable(value) == read
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_the_root_and_folders_with_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    small = config({"runs": 3, "iterations": 2})
    with pytest.raises(InputError, match="not the root"):
        experiment.run(small, Path("/"))
    out = tmp_path / "result"
    experiment.run(small, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt would be lost"):
        experiment.run(small, out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
