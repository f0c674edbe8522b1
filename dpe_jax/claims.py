"""Claims on folders that processes share: who may work there, and when."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dpe_jax.distributed import Part
from dpe_jax.errors import InputError
from dpe_jax.folder import claimed
from dpe_jax.interrupts import held

LOCK = "lock"
"""How names of files that are claimed begin."""


@contextlib.contextmanager
def claim(given: Path, folder: Path, part: Part) -> Iterator[None]:
    """Keep others from a folder, but for the other parts; it is made if need be."""
    whole = part.count == 1
    names = [LOCK] if whole else [LOCK, f"{LOCK}-{part.index}-of-{part.count}"]
    try:
        with contextlib.ExitStack() as stack:
            # An interrupt in between would leave files behind that nobody has claimed.
            with held():
                for name in names:
                    shared = not whole and name == LOCK
                    while (handle := _locked(given, folder, name, shared)) is None:
                        pass
                    stack.callback(os.close, handle)
                if whole:
                    stack.callback(_emptied, folder)
            yield
    finally:
        # Network file systems keep what is claimed, and its folder with it, till now.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _emptied(folder: Path) -> None:
    """Remove what was claimed if there is nothing else."""
    with contextlib.suppress(FileNotFoundError):
        if all(path.name.startswith(LOCK) for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def _locked(given: Path, folder: Path, name: str, shared: bool) -> int | None:
    """A claimed file in a folder; None if the folder went away meanwhile."""
    folder.mkdir(exist_ok=True)
    try:
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        return None
    try:
        if not claimed(handle, shared=shared):
            accepted = f"a result at which no other process is at work (see {folder.name})"
            raise InputError("--out", str(given), accepted)
        if os.path.samestat(os.fstat(handle), os.stat(folder / name)):
            return handle
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait for other parts of the same work that are here."""
    handle = os.open(folder / f"{LOCK}-setup", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        claimed(handle, wait=True)
        yield
    finally:
        os.close(handle)
