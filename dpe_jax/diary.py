"""Which presets an interrupted `dpe reproduce` has finished."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from dpe_jax.config import Config
from dpe_jax.errors import InputError
from dpe_jax.folder import read_json, write_json
from dpe_jax.results import config_hash, holds

_NAME = ".reproduce.json"


class Diary:
    """A file in the folder of the results, until all of them are there."""

    def __init__(self, folder: Path, configs: Mapping[str, Config]) -> None:
        self._path, self._configs = folder / _NAME, configs
        self._versions = {name: version(name) for name in ("dpe-jax", "jax", "jaxlib")}
        self._finished: dict[str, str] = {}
        try:
            found = read_json(self._path)
            if found["versions"] == self._versions:
                self._finished = dict(found["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def has(self, name: str) -> bool:
        """Whether a preset was finished with just these settings, and its result is there."""
        config = self._configs[name]
        written = self._finished.get(name) == config_hash(config)
        return written and holds(self._path.parent / name, config)

    def add(self, name: str) -> None:
        """A preset is finished; InputError where that cannot be written."""
        self._finished[name] = config_hash(self._configs[name])
        try:
            write_json(self._path, {"versions": self._versions, "finished": self._finished})
        except OSError as error:
            accepted = f"a writable folder ({error.strerror})"
            raise InputError("--out", str(self._path.parent), accepted) from error

    def close(self) -> None:
        """All are finished."""
        self._path.unlink(missing_ok=True)
