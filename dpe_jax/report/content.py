"""What a page says: sections of verdicts, figures, tables and facts, wherever they are from."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

Tone = Literal["", "good", "bad", "score-0", "score-1", "score-2", "score-3"]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table; what its `tone` says by colour its text says as well."""

    text: str
    tone: Tone = ""


Row = tuple[str | Cell, ...]


@dataclasses.dataclass(frozen=True)
class File:
    """A file beside the page; with `data`, the page holds it too."""

    path: str
    """Within the folder of the page's result."""
    size: int
    """Bytes."""
    data: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture with its caption, which is its alternative text as well."""

    name: str
    caption: str
    image: bytes
    kind: Literal["png", "webp"]
    width: int
    """Pixels, and so is the height."""
    height: int
    inches: float
    """The width in print."""
    files: tuple[File, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first column names its rows."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    files: tuple[File, ...] = ()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A check, whether it passed, and the numbers."""

    name: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Text:
    """A file as text, folded until it is asked for."""

    title: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page under a heading; all but the title may be empty."""

    title: str
    source: str = ""
    """What of the paper or the article it is about."""
    paragraphs: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What is missing, or must be known beside the numbers."""
    verdicts: tuple[Verdict, ...] = ()
    points: tuple[str, ...] = ()
    """Findings in words, as a list."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    texts: tuple[Text, ...] = ()
    sections: tuple["Section", ...] = ()

    def walk(self) -> Iterator["Section"]:
        """This section and all within, in the order of the page."""
        yield self
        for section in self.sections:
            yield from section.walk()


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page."""

    kind: str
    """Which command wrote the folder."""
    title: str
    lead: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    sections: tuple[Section, ...]

    def walk(self) -> Iterator[Section]:
        """All sections, those within others too, in the order of the page."""
        for section in self.sections:
            yield from section.walk()

    @property
    def verdicts(self) -> tuple[tuple[Section, Verdict], ...]:
        """Every check with its section."""
        return tuple((section, one) for section in self.walk() for one in section.verdicts)

    @property
    def noted(self) -> tuple[Section, ...]:
        """The sections with remarks of their own."""
        return tuple(section for section in self.walk() if section.remarks)

    @property
    def passed(self) -> bool | None:
        """Whether every check passed; None if there is none."""
        found = [verdict.passed for _, verdict in self.verdicts]
        return all(found) if found else None
