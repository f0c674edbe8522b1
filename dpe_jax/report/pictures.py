"""The figures of a result folder, with captions by their names."""

import dataclasses
from collections.abc import Iterable, Sequence

from dpe_jax.report.content import Figure
from dpe_jax.report.folders import Folder

_FOLDER = "figures"


@dataclasses.dataclass(frozen=True)
class Known:
    """A figure that a command draws: its name, what it shows, and of how many runs."""

    name: str
    shows: str
    sample: str = ""

    @property
    def caption(self) -> str:
        """One sentence."""
        return f"{self.shows}: {self.sample}." if self.sample else f"{self.shows}."

    def said(self, **words: str) -> "Known":
        """With the numbers of a result filled in."""
        return dataclasses.replace(self, sample=self.sample.format(**words))


def figures(folder: Folder, known: Iterable[Known]) -> tuple[tuple[Figure, ...], list[str]]:
    """All figures, the known ones first and in their order; and what is odd about the folder."""
    place = folder.path / _FOLDER
    if not place.is_dir():
        return (), []
    names = sorted(path.name for path in place.iterdir() if not path.name.startswith("."))
    stems = [name.removesuffix(".png") for name in names if name.endswith(".png")]
    captions = {one.name: one.caption for one in known}
    order = [name for name in captions if name in stems]
    order += [name for name in stems if name not in captions]
    found = tuple(
        folder.figure(name, captions.get(name, f"{name}."), _files(name, names)) for name in order
    )
    used = {file for name in order for file in _files(name, names)}
    used = {file.removeprefix(f"{_FOLDER}/") for file in used}
    odd = [
        f"{_FOLDER}/{name} has no PNG beside it, and is not shown."
        for name in names
        if name not in used
    ]
    return found, odd


def _files(name: str, names: Sequence[str]) -> tuple[str, ...]:
    kinds = ("png", "pdf", "csv")
    return tuple(f"{_FOLDER}/{name}.{kind}" for kind in kinds if f"{name}.{kind}" in names)
