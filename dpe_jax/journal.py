"""What is finished of an unfinished result: a record of each block, and parts of blocks.

A block counts from the moment on at which its record is on the disk, which is after all its files
are. The record holds their digests.
"""

import contextlib
import hashlib
import json
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpe_jax.blocks import Block
from dpe_jax.claims import LOCK
from dpe_jax.folder import CURVES, digest, jsonable, read_json, synced, whole, write_json
from dpe_jax.recording import Recording, Snapshot
from dpe_jax.reductions import Moments
from dpe_jax.tracing import Trace

HEADER, BLOCKS, RESULT = "journal.json", "blocks", "result"
"""Names in the folder of an unfinished result: what is computed, its blocks, what it becomes."""

_CHECK = "sha256"

_UNREADABLE = (
    *(OSError, ValueError, LookupError, AttributeError, EOFError, SyntaxError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error),
)
"""What NumPy and the zip file raise for bytes that are not theirs."""


class DamagedError(Exception):
    """A file is not as it was written."""


class Journal:
    """The records of one unfinished result, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.result = folder, folder / RESULT
        self._blocks = folder / BLOCKS

    # The header

    def begin(self, header: Mapping[str, Any], store: Mapping[str, str]) -> None:
        """Write what is computed, when all is there that blocks need."""
        self._blocks.mkdir(exist_ok=True)
        paths = [self.folder / name for name in store]
        for path in [*paths, *dict.fromkeys(path.parent for path in paths)]:
            synced(path)
        write_json(self.folder / HEADER, {"header": header, "store": store})

    def header(self) -> tuple[dict[str, Any], dict[str, str]] | None:
        """What is computed, and digests of the store without blocks; None if it is unreadable."""
        try:
            found = read_json(self.folder / HEADER)
            header, store = found["header"], found["store"]
        except (OSError, ValueError, KeyError):
            return None
        return (header, store) if isinstance(header, dict) and isinstance(store, dict) else None

    # Records

    def write(
        self, number: int, block: Block, header: Mapping[str, Any], files: list[str]
    ) -> dict[str, str]:
        """Record a block whose files, by their paths in the folder, are written."""
        paths = [self.folder / name for name in files]
        for path in [*paths, *dict.fromkeys(path.parent for path in paths)]:
            synced(path)
        digests = {name: digest(path) for name, path in zip(files, paths, strict=True)}
        record = {
            "block": block._asdict(),
            "block_lanes": header["block_lanes"],
            "header": fingerprint(header),
            "files": digests,
        }
        write_json(self._path(number), record)
        self.forget_part(number)
        return digests

    def recorded(self) -> set[int]:
        """Numbers of the blocks that have a record."""
        return self._numbers(r"(\d+)\.json")

    def parts(self) -> set[int]:
        """Numbers of the blocks of which a part is kept."""
        return self._numbers(r"(\d+)\.part\.npz") - self.recorded()

    def _numbers(self, pattern: str) -> set[int]:
        try:
            names = [path.name for path in self._blocks.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return set()
        return {int(found[1]) for name in names if (found := re.fullmatch(pattern, name))}

    def written(self, number: int, block: Block, header: Mapping[str, Any]) -> dict[str, str]:
        """Digests of a block's files as they were written; DamagedError if its record is not."""
        name = self._path(number).relative_to(self.folder).as_posix()
        try:
            record = read_json(self._path(number))
            files = dict(record["files"])
            of_block = record["block"], record["header"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(name) from error
        if of_block != (jsonable(block._asdict()), fingerprint(header)):
            raise DamagedError(name)
        return files

    def files(self, number: int, block: Block, header: Mapping[str, Any]) -> dict[str, str]:
        """The same; DamagedError as well if a file is not so now."""
        files = self.written(number, block, header)
        for name, digest_then in files.items():
            if not is_as_written(self.folder / name, digest_then):
                raise DamagedError(name)
        return files

    def forget(self, number: int) -> None:
        """Let a block count no longer."""
        self._path(number).unlink(missing_ok=True)
        synced(self._blocks)

    def any_record(self) -> dict[str, Any] | None:
        """Some record that can be read."""
        for number in sorted(self.recorded()):
            with contextlib.suppress(OSError, ValueError):
                return read_json(self._path(number))
        return None

    def _path(self, number: int, suffix: str = ".json") -> Path:
        return self._blocks / f"{number:06}{suffix}"

    def counted(self, header: Mapping[str, Any]) -> str:
        """How many blocks are finished, in words."""
        text = f"{len(self.recorded())} of {header.get('blocks')} blocks"
        parts = len(self.parts())
        return text + (f" and parts of {parts}" if parts else "")

    # What is not in the store of curves

    def write_extra(self, number: int, arrays: Mapping[str, np.ndarray]) -> list[str]:
        """Keep a block's traces and statistics, if it has any; the names of files."""
        path = self._path(number, ".npz")
        path.unlink(missing_ok=True)
        if not arrays:
            return []
        _write_arrays(path, arrays)
        return [path.relative_to(self.folder).as_posix()]

    def extra(self, number: int) -> dict[str, np.ndarray]:
        """What `write_extra` kept."""
        path = self._path(number, ".npz")
        return _read_arrays(path) if path.exists() else {}

    # Parts

    def write_part(self, number: int, identity: str, snapshot: Snapshot) -> None:
        """Keep a block in flight, in place of what was kept of it before."""
        of_block = {
            "chunks": np.array(snapshot.chunks),
            "identity": np.frombuffer(identity.encode(), np.uint8),
        }
        _write_arrays(self._path(number, ".part.npz"), snapshot.arrays | of_block)

    def part(self, number: int, identity: str) -> Snapshot | None:
        """What is kept of a block in flight; DamagedError if that is not whole, or another's."""
        path = self._path(number, ".part.npz")
        if not path.exists():
            return None
        arrays = _read_arrays(path)
        kept = arrays.pop("identity", np.array([], np.uint8)).tobytes()
        if kept != identity.encode():
            raise DamagedError(path.name)
        return Snapshot(int(arrays.pop("chunks")), arrays)

    def forget_part(self, number: int) -> None:
        """Drop what is kept of a block in flight."""
        self._path(number, ".part.npz").unlink(missing_ok=True)

    # The folder

    def tidy(self, known: Iterable[str]) -> None:
        """Leave nothing in the result but what is `known` of its curves.

        The rest is of a process that was killed, while it wrote or while it completed the result.
        """
        kept = set(known)
        for path in self.result.iterdir():
            if path.name != CURVES:
                removed(path)
        for path in [path for path in self.result.rglob("*") if path.is_file()]:
            if path.relative_to(self.folder).as_posix() not in kept:
                path.unlink()

    def discard(self) -> None:
        """Remove all but claims; records first, which are nothing without the rest."""
        for path in (self._blocks, *self.folder.iterdir()):
            if not path.name.startswith(LOCK):
                removed(path)

    def clear(self) -> None:
        """Remove the folder; records first."""
        for part in (self._blocks, self.folder):
            shutil.rmtree(part, ignore_errors=True)


def fingerprint(header: Mapping[str, Any]) -> str:
    """A digest of a header."""
    return hashlib.sha256(json.dumps(jsonable(header), sort_keys=True).encode()).hexdigest()


class Difference(NamedTuple):
    """A key in which two headers differ, and its values."""

    key: str
    old: Any
    new: Any


def difference(old: Any, new: Any, key: str = "") -> Difference | None:
    """The first key in which two headers differ, in the order of the new one."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        within = (difference(*pair, f"{key}[{i}]") for i, pair in pairs)
        return next((found for found in within if found is not None), None)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return None if old == new else Difference(key, old, new)
    for name in dict.fromkeys([*new, *old]):
        within = f"{key}.{name}" if key else name
        found = difference(old.get(name), new.get(name), within)
        if found is not None:
            return found
    return None


# Recordings as arrays


def extras(recording: Recording) -> dict[str, np.ndarray]:
    """Traces of a recording, and its statistics if only those are kept, as arrays."""
    arrays: dict[str, np.ndarray] = {}
    if recording.trace is not None:
        arrays |= {f"trace/{name}": value for name, value in recording.trace._asdict().items()}
    for metric, moments in recording.moments.items():
        columns = moments._asdict().items()
        arrays |= {f"moments/{metric}/{name}": np.asarray(column) for name, column in columns}
    if recording.moments:
        arrays |= {"status": recording.status, "failed_at": recording.failed_at}
    return arrays


def trace_of(arrays: Mapping[str, np.ndarray]) -> Trace | None:
    """The trace among arrays of `extras`."""
    if "trace/run" not in arrays:
        return None
    return Trace(*(arrays[f"trace/{name}"] for name in Trace._fields))


def moments_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Moments]:
    """The statistics among arrays of `extras`, by metric."""
    metrics = dict.fromkeys(key.split("/")[1] for key in arrays if key.startswith("moments/"))
    return {
        metric: Moments(*(arrays[f"moments/{metric}/{name}"] for name in Moments._fields))
        for metric in metrics
    }


# Files


def is_as_written(path: Path, digest_then: str) -> bool:
    """Whether a file is there and has a digest."""
    try:
        return digest(path) == digest_then
    except OSError:
        return False


def removed(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    members: dict[str, Any] = {**arrays, _CHECK: np.frombuffer(_checksum(arrays), np.uint8)}
    with whole(path) as stream:
        np.savez(stream, **members)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            arrays = {name: found[name] for name in found.files}
        check = arrays.pop(_CHECK).tobytes()
    except _UNREADABLE as error:
        raise DamagedError(path.name) from error
    if check != _checksum(arrays):
        raise DamagedError(path.name)
    return arrays


def _checksum(arrays: Mapping[str, np.ndarray]) -> bytes:
    total = hashlib.sha256()
    for name in sorted(arrays):
        value = np.asarray(arrays[name])
        total.update(repr((name, value.dtype.str, value.shape)).encode())
        total.update(value.tobytes())
    return total.digest()
