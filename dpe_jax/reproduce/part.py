"""What a part of `dpe reproduce` is: its settings, what it makes, and what it is given."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import PositiveFloat

from dpe_jax import experiment
from dpe_jax.config import Config
from dpe_jax.experiment import Outcome
from dpe_jax.fields import Seed
from dpe_jax.fields import Table as _SettingsTable
from dpe_jax.results import holds
from dpe_jax.study import Progress
from dpe_jax.summary import Check
from dpe_jax.unfinished import unfinished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["quick", "default", "full"]
SCALES: tuple[Scale, ...] = ("quick", "default", "full")


class Settings(_SettingsTable):
    """What the settings of every part have; a part's own class `Settings` adds to it.

    They are in `configs/NAME.toml`, with tables `quick`, `default` and `full` of what differs.
    """

    seed: Seed = 0
    """Of all random draws of the part."""
    seconds: PositiveFloat
    """What it is expected to take on two cores: its share of the progress bar."""


class Column(NamedTuple):
    """A column of a table; `digits` is a format of numbers, for reading (CSV has all digits)."""

    key: str
    head: str
    unit: str = ""
    digits: str = ".3g"
    latex: str = ""
    """Head in LaTeX, if it differs; without it `head` is escaped."""


class Table(NamedTuple):
    """A table: rows by the keys of its columns; None is shown as a dash."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]


class Drawing(NamedTuple):
    """A figure with the numbers behind it, and how it is drawn (within the style of all figures).

    All rows have the keys of the first, which are the columns of its CSV file.
    """

    name: str
    caption: str
    rows: Sequence[Mapping[str, Any]]
    draw: "Callable[[], Figure]"


class Made(NamedTuple):
    """What a part has made; `differs` says in plain sentences how it differs from the paper."""

    drawings: Sequence[Drawing]
    tables: Sequence[Table]
    checks: Sequence[Check]
    differs: str


@dataclasses.dataclass(frozen=True)
class Work:
    """What a part is given: how to tell how far it is, its scale and seed, and its experiments."""

    scale: Scale
    seed: int
    log: Callable[[str], None]
    """Shows a line on the terminal."""
    told: Callable[[float], None]
    """Takes the fraction of the part that is done."""
    first: float = 0.0
    last: float = 1.0

    def step(self, done: float | int, total: float | int) -> None:
        """`done` of `total` is done of this piece, in any unit."""
        self.told(self.first + (self.last - self.first) * min(1.0, done / max(total, 1e-300)))

    def pieces(self, *shares: float | int) -> "list[Work]":
        """The piece in consecutive ones, of sizes like `shares`; each is used like the whole."""
        width, begin, found = (self.last - self.first) / sum(shares), self.first, []
        for share in shares:
            found.append(dataclasses.replace(self, first=begin, last=begin + width * share))
            begin += width * share
        return found

    def progress(self, names: int = 1) -> Progress:
        """A progress callback, as studies take it, of which `names` names will be told."""
        fractions: dict[str, float] = {}

        def tell(name: str, more: int, total: int) -> None:
            fractions[name] = fractions.get(name, 0.0) + more / max(1, total)
            self.step(sum(fractions.values()), names)

        return tell

    def run(self, config: Config, out: Path, *, check: bool = False, warn: bool = True) -> Outcome:
        """Run an experiment with the seed of the part, into a folder.

        It goes on where it was interrupted, without what is damaged, and what was finished is taken
        as it is. Its warnings are logged, unless they belong to it (`warn`).
        """
        config = experiment.override(config, {"seed": self.seed})
        kept = unfinished(out) or holds(out, config)
        outcome = experiment.run(
            config,
            out,
            check=check,
            progress=self.progress(len(config.methods)),
            mode="repair" if kept else "refuse",
        )
        for note in outcome.warnings if warn else ():
            self.log(f"warning: {note}")
        self.step(1, 1)
        return outcome


@runtime_checkable
class Part(Protocol):
    """A module of this package that makes a part."""

    @property
    def TITLE(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def SOURCE(self) -> str:
        """Which figure, claim or table of the paper or the article it is about."""
        ...

    @property
    def Settings(self) -> type[Settings]:
        """What `configs/NAME.toml` may say."""
        ...

    def make(self, settings: Any, folder: Path, work: Work) -> Made:
        """Simulate into `folder` (result folders of its own), and describe what was found."""
        ...
