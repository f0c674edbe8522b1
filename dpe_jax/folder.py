"""Result folders: replaced whole or not at all, with digests of what they hold."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dpe_jax.errors import InputError

MANIFEST, SUMMARY, CONFIG = "manifest.json", "summary.json", "config.toml"
CURVES, TRACE = "curves.zarr", "trace.zarr"
COMPARISON, CERTIFICATE = "comparison.json", "certificate.json"
AUDIT, AUDIT_PAGE = "audit.json", "audit.md"
REPORT = "report.html"
PARTIAL = "partial"
CHECKPOINT = ".verify-"
"""How the name of a folder begins that holds the finished parts of an interrupted verification."""

_OWN = {
    *(MANIFEST, SUMMARY, CONFIG, CURVES, TRACE, COMPARISON, CERTIFICATE, AUDIT, AUDIT_PAGE),
    *(REPORT, "figures"),
}


def check_replaceable(out: Path, overwrite: bool) -> None:
    """InputError unless a result may be written there."""
    if out.exists() and not out.is_dir():
        raise InputError("--out", str(out), "a folder; this is a file")
    if out.is_dir() and any(out.iterdir()):
        if not any((out / name).is_file() for name in (MANIFEST, AUDIT)):
            raise InputError("--out", str(out), "a new folder, or one that holds a dpe result")
        names = {path.name for path in out.iterdir() if not path.name.startswith(CHECKPOINT)}
        others = names - _OWN
        if others:
            accepted = f"a folder without files of others ({min(others)} would be lost)"
            raise InputError("--out", str(out), accepted)
        if not overwrite:
            raise InputError("--out", str(out), "a new folder; add --overwrite to replace a result")


@contextlib.contextmanager
def alone(folder: Path, *, wait: bool = False, work: str = "verification") -> Iterator[None]:
    """Keep others who ask from a folder; InputError if one is there (or `wait` for it to leave)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError("DIR", str(folder), f"a readable folder ({error.strerror})") from error
    try:
        if not claimed(handle, wait=wait):
            accepted = f"a folder in which no other {work} is at work"
            raise InputError("DIR", str(folder), accepted)
        yield
    finally:
        os.close(handle)


def claimed(handle: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Claim an open file until it is closed; whether nobody else had (unless `wait`).

    The system ends the claim of a process that has ended. Where it has no such locks, as Windows,
    nobody is kept out.
    """
    try:
        import fcntl
    except ImportError:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def synced(path: Path) -> None:
    """Wait until what a file or folder holds is on the disk, where the system can say so."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems know of no such thing for folders.
        if error.errno not in (errno.EINVAL, errno.EBADF) or not path.is_dir():
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream to a file that appears under its name when all of it is on the disk."""
    scratch = beside(path)
    try:
        with scratch.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
        synced(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """A hidden name beside a file or folder, for what is not whole yet or is being removed."""
    return path.with_name(f".{path.name}.{PARTIAL}-{uuid.uuid4().hex[:8]}")


def left_over(folder: Path, name: str | None = None) -> set[Path]:
    """What killed processes left of files or folders of that name, or of any (`beside`)."""
    of = "*" if name is None else glob.escape(name)
    return set(folder.glob(f".{of}.{PARTIAL}-{'[0-9a-f]' * 8}"))


def cleaned(folder: Path) -> None:
    """Remove all of that, within a folder as well, but not where links lead."""
    if folder.is_symlink():
        return
    for place, _, _ in os.walk(folder, topdown=False):
        for path in left_over(Path(place)):
            erased(path)


def removed(path: Path) -> None:
    """Remove a file, a link or a folder, which is gone from its place at once."""
    gone = beside(path)
    path.rename(gone)
    erased(gone)


def erased(path: Path) -> None:
    """Remove a file, a link or a folder, as far as that is allowed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def whole_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write to that takes the place of `out` when everything in it is on the disk.

    InputError where no result may be written (`check_replaceable`), or none can be.
    """
    check_replaceable(out, overwrite)
    place = out.resolve()
    if not place.name:
        raise InputError("--out", str(out), "a folder of its own, not the root")
    scratch = beside(place)
    old = scratch.with_name(f"{scratch.name}-old")
    try:
        scratch.mkdir(parents=True)
        yield scratch
        for path in [scratch, *scratch.rglob("*")]:
            synced(path)
        check_replaceable(out, overwrite)
        if place.exists():
            place.rename(old)
        try:
            scratch.rename(place)
        except BaseException:
            if old.exists():
                old.rename(place)
            raise
        synced(place.parent)
    except OSError as error:
        accepted = f"a writable folder ({error.strerror or error})"
        raise InputError("--out", str(out), accepted) from error
    finally:
        for rest in (scratch, old):
            shutil.rmtree(rest, ignore_errors=True)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def contents(folder: Path, known: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """What a finished folder holds: digests of its files and of its stores.

    Kept in the manifest, they tell a store that has lost a chunk, which would be read as fill
    values, or in which one has changed. Files whose digests are `known`, by their paths within the
    folder, are not read again.
    """
    known = {} if known is None else known
    held: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name in (CONFIG, SUMMARY):
            held[path.name] = {"sha256": digest(path)}
        elif path.is_dir() and path.suffix == ".zarr":
            files = sorted(file for file in path.rglob("*") if file.is_file())
            total = hashlib.sha256()
            for file in files:
                total.update(os.fsencode(file.relative_to(path).as_posix()) + b"\0")
                one = known.get(file.relative_to(folder).as_posix()) or digest(file)
                total.update(bytes.fromhex(one))
            held[path.name] = {"files": len(files), "sha256": total.hexdigest()}
    return held


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder but its manifest, and one of each store, by their paths.

    What is hidden does not count, nor a page that was made of the rest.
    """
    found = {}
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        within = place.relative_to(folder)
        if any(name.endswith(".zarr") or name[0] == "." for name in within.parts):
            continue
        for path in sorted(path for path in place.iterdir() if path.is_file()):
            if path != folder / MANIFEST and path.name != REPORT and path.name[0] != ".":
                found[(within / path.name).as_posix()] = digest(path)
        for name, held in contents(place).items():
            if name.endswith(".zarr"):
                found[(within / name).as_posix()] = held["sha256"]
    return found


def shown(name: str) -> str:
    """A file's name in a line of text: what cannot be printed, or is no text, as its escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def altered(folder: Path, told: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is not as a folder's digests (`digests`) say, each with what is wrong.

    Stores may be gone altogether: committed results have none. What other commands write anew in
    the results that lie within (`dpe compare`, `dpe certify`, `dpe verify`) has to be whole.
    """
    held = digests(folder)
    for name, one in told.items():
        if name not in held:
            if not name.endswith(".zarr"):
                yield name, "is missing"
        elif held[name] != one:
            if Path(name).name not in (MANIFEST, COMPARISON, CERTIFICATE):
                yield name, "is not as it was written"
                continue
            try:
                read_json(folder / name)
            except (ValueError, RecursionError):
                yield name, "is no whole JSON"


def write_json(path: Path, value: Any, *, compact: bool = False) -> None:
    """A JSON file, written whole; a number that JSON cannot hold becomes null.

    A `compact` one is a line, a fraction of the size where there are long lists.
    """
    style: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    text = json.dumps(jsonable(value), ensure_ascii=False, allow_nan=False, **style) + "\n"
    with whole(path) as stream:
        stream.write(text.encode())


def jsonable(value: Any) -> Any:
    """Plain Python values, with NaN and infinities as None and arrays as lists."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; JSONDecodeError if there is none."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise json.JSONDecodeError(f"{path.name} is no object", "", 0)
    return value
