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
class Claim:
    """A claim of the article, and whether it holds when it is measured: no check of ours."""

    name: str
    holds: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Parts:
    """How far a reproduction is."""

    finished: tuple[str, ...]
    asked: tuple[str, ...]
    goes_on: str
    """The command that makes the others."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that were asked for and are not there."""
        return tuple(name for name in self.asked if name not in self.finished)

    @property
    def told(self) -> str:
        """4 of 10 parts finished."""
        there = len(self.asked) - len(self.missing)
        return f"{there} of {len(self.asked)} parts finished"


@dataclasses.dataclass(frozen=True)
class Text:
    """A file as text, folded until it is asked for."""

    title: str
    text: str
    printed: bool = True
    """Whether it is open on paper, and not left out there."""


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
    claims: tuple[Claim, ...] = ()
    """Those that its tables tell of; they are listed with the verdict of the page."""
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
    parts: Parts | None = None
    """Of a whole reproduction."""

    def walk(self) -> Iterator[Section]:
        """All sections, those within others too, in the order of the page."""
        for section in self.sections:
            yield from section.walk()

    @property
    def verdicts(self) -> tuple[tuple[Section, Verdict], ...]:
        """Every check with its section."""
        return tuple((section, one) for section in self.walk() for one in section.verdicts)

    @property
    def claims(self) -> tuple[tuple[Section, Claim], ...]:
        """Every claim with its section."""
        return tuple((section, one) for section in self.walk() for one in section.claims)

    @property
    def claims_told(self) -> str:
        """2 of 6 of the article's privacy claims hold when measured (reconstructed protocol)."""
        held = sum(one.holds for _, one in self.claims)
        told = f"{held} of {len(self.claims)} of the article's privacy claims hold when measured"
        return f"{told} (reconstructed protocol)"

    @property
    def finished(self) -> bool:
        """Whether no part is missing that was asked for."""
        return self.parts is None or not self.parts.missing

    @property
    def noted(self) -> tuple[Section, ...]:
        """The sections with remarks of their own."""
        return tuple(section for section in self.walk() if section.remarks)

    @property
    def passed(self) -> bool | None:
        """Whether every check passed; None if there is none."""
        found = [verdict.passed for _, verdict in self.verdicts]
        return all(found) if found else None
