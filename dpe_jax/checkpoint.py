"""What an interrupted verification has finished, kept in the result's folder until it is whole."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from dpe_jax.errors import InputError
from dpe_jax.folder import CHECKPOINT, jsonable, read_json, write_json


class Checkpoint:
    """Finished parts of one job, one JSON file each, in a folder named after the job.

    The name is a digest of everything that decides the parts, so that another job never takes them
    for its own.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        canonical = json.dumps(jsonable(job), sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        self._path = folder / f"{CHECKPOINT}{digest[:16]}"

    def parts(self) -> dict[int, dict[str, Any]]:
        """The finished parts by number. A file that is not whole counts for nothing."""
        found = {}
        for file in sorted(self._path.glob("*.json")):
            try:
                found[int(file.stem)] = read_json(file)
            except ValueError:
                continue
        return found

    def save(self, number: int, part: dict[str, Any]) -> None:
        """Keep a part; InputError where nothing can be written."""
        try:
            self._path.mkdir(exist_ok=True)
            write_json(self._path / f"{number}.json", part)
        except OSError as error:
            accepted = f"a writable folder with room ({error.strerror or error})"
            raise InputError("DIR", str(self._path.parent), accepted) from error

    def clear(self) -> None:
        """Forget all parts."""
        shutil.rmtree(self._path, ignore_errors=True)
