"""What the disk says while a reproduction is written, in one line about its folder."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dpe_jax.errors import InputError


class Writing:
    """How far it is."""

    is_recorded = False
    """Whether the folder says what is to be made: with `--resume` a later call goes on with it."""


@contextlib.contextmanager
def writable(out: Path) -> Iterator[Writing]:
    """InputError for `--out` where the disk stands in the way of what is written there."""
    writing = Writing()
    try:
        yield writing
    except InputError as error:
        if error.argument != "--out":
            raise
        # A folder of a part is none that anyone has asked for.
        raise InputError("--out", str(out), error.accepted) from error
    except Exception as error:
        found = _of_the_disk(error, out)
        if found is None:
            raise
        accepted = f"a writable folder ({found.strerror or found})"
        if writing.is_recorded:
            accepted += "; what is finished is kept, and --resume goes on"
        raise InputError("--out", str(out), accepted) from error


_FULL = errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO


def _of_the_disk(error: BaseException, out: Path) -> OSError | None:
    """What the disk said, also where a library stumbled over it and raised something else."""
    if isinstance(error, OSError):
        return error if error.errno in _FULL or _is_about(error, out) else None
    before = error.__cause__ or error.__context__
    while before is not None:
        if isinstance(before, OSError) and before.errno in _FULL:
            return before
        before = before.__cause__ or before.__context__
    return None


def _is_about(error: OSError, out: Path) -> bool:
    """Whether the file that the system complains of lies in the folder, or on the way to it."""
    if not isinstance(error.filename, str | bytes):
        return False
    path, place = (Path(os.path.abspath(os.fsdecode(one))) for one in (error.filename, out))
    return path.is_relative_to(place) or place.is_relative_to(path)
