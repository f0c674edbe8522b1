"""A page as one HTML file that needs nothing else: pictures, files and style are within."""

import base64
import hashlib
import re
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from dpe_jax.report.content import Cell, Figure, File, Page, Section, Table, Verdict
from dpe_jax.report.markup import marked
from dpe_jax.report.numbers import is_number, size

MADE_BY = '<meta name="generator" content="dpe report">'
"""By which a page is known when it is to be replaced."""

_TYPES = {
    ".pdf": "application/pdf",
    ".csv": "text/csv;charset=utf-8",
    ".tex": "text/plain;charset=utf-8",
}
_COLUMN = 4.2
"""Inches up to which a figure is made for one column."""

_FEW_CHECKS = 10
"""Up to so many passed checks of a section are shown before they are asked for."""

_FEW_ROWS = 15
"""Of a table that is kept on one sheet of paper."""

_WIDE, _MANY, _MOST = 8, 10, 15
"""Columns from which a table is set smaller; more so on paper; and words are broken anywhere."""

_LONG = 28
"""Characters from which a cell of a table is given some width to break lines in."""


def html(page: Page) -> str:
    """The page as HTML5: no script, no font and no request to anywhere.

    All that comes from the folder is escaped, and a content security policy forbids scripts,
    styles other than its own, and any picture that is not within.
    """
    import jinja2

    files = resources.files("dpe_jax") / "report"
    style = (files / "page.css").read_text("utf-8")
    found = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters.update(
        size=size, uri=_uri, picture=_picture, base=_base, identity=id, marked=marked
    )
    template = found.from_string((files / "page.html").read_text("utf-8"))
    style = "\n" + style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return template.render(
        page=page,
        made_by=_markup(MADE_BY),
        style=_markup(style),
        style_hash=digest,
        names=_names(page),
        failed=[(section, one) for section, one in page.verdicts if not one.passed],
        counted=_counted,
        grid=_grid,
        extent=_extent,
        fold=_folded,
        shape=lambda figure: "column" if figure.inches <= _COLUMN else "page",
    )


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _names(page: Page) -> dict[int, str]:
    """A name in the address bar for every section, by identity: no two alike."""
    found: dict[int, str] = {}
    used = {"content", "contents", "verdict"}
    for section in page.walk():
        stem = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        name, count = stem, 1
        while name in used:
            count += 1
            name = f"{stem}-{count}"
        used.add(name)
        found[id(section)] = name
    return found


def _counted(section: Section) -> tuple[int, int]:
    """How many checks a section has with all within it, and how many of them failed."""
    verdicts = [verdict for one in section.walk() for verdict in one.verdicts]
    return len(verdicts), sum(not verdict.passed for verdict in verdicts)


def _folded(section: Section) -> list[Verdict]:
    """The checks of a section that are folded: where there are many, those that passed."""
    passed = [verdict for verdict in section.verdicts if verdict.passed]
    return passed if len(passed) > _FEW_CHECKS else []


def _extent(table: Table) -> str:
    """Classes by how many rows and columns there are: how small it has to be on paper."""
    kinds = ["short"] if len(table.rows) <= _FEW_ROWS else []
    columns = len(table.head)
    kinds += [
        name
        for name, least in (("wide", _WIDE), ("many", _MANY), ("most", _MOST))
        if columns >= least
    ]
    return " ".join(["table", *kinds])


def _grid(table: Table) -> list[list[dict[str, Any]]]:
    """The cells of a table with their classes: numbers are aligned, long texts get room."""
    rows = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in table.rows]
    numeric = [
        any(row[place].text != "–" for row in rows)
        and all(is_number(row[place].text) for row in rows)
        for place in range(len(table.head))
    ]
    return [
        [
            {"text": cell.text, "classes": " ".join(_classes(cell, numeric[place]))}
            for place, cell in enumerate(row)
        ]
        for row in rows
    ]


def _classes(cell: Cell, numeric: bool) -> list[str]:
    kinds = ["number"] if numeric else ["long"] if len(cell.text) > _LONG else []
    return [*kinds, cell.tone] if cell.tone else kinds


def _uri(file: File) -> str:
    """What a file holds, as an address."""
    kind = _TYPES.get(PurePosixPath(file.path).suffix.lower(), "application/octet-stream")
    return f"data:{kind};base64,{base64.b64encode(file.data or b'').decode()}"


def _picture(figure: Figure) -> str:
    return f"data:image/{figure.kind};base64,{base64.b64encode(figure.image).decode()}"


def _base(path: str) -> str:
    return PurePosixPath(path).name
