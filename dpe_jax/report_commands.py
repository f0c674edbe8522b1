"""The command `dpe report`."""

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from dpe_jax.errors import InputError
from dpe_jax.folder import REPORT, erased, left_over, whole
from dpe_jax.report.content import Page
from dpe_jax.report.numbers import size
from dpe_jax.report.page import MADE_BY, html
from dpe_jax.report.reading import read

_HEAD = 1000
"""Bytes of a file in which a page says that it is one."""
_ABANDONED = 3600.0
"""Seconds after which nobody is writing a page any more."""


def run_report(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe report DIR`: 0 when the page is written, also if it reports checks that failed."""
    folder = Path(options.folder)
    out = Path(options.out) if options.out else folder / REPORT
    _check_replaceable(out, "--out" if options.out else "DIR")
    page = read(folder)
    data = html(page).encode()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole(out) as stream:
            stream.write(data)
        _clean(out)
    except OSError as error:
        accepted = f"a writable file ({error.strerror or error})"
        raise InputError("--out", str(out), accepted) from error
    if screen:
        for line in _told(page):
            screen.print(line, soft_wrap=True)
        screen.print(f"written to {out} ({size(len(data))})", soft_wrap=True)
    return 0, {
        "page": str(out),
        "bytes": len(data),
        "sections": [section.title for section in page.sections],
        "passed": page.passed,
        "remarks": list(page.remarks),
        **_parts(page),
        **_claims(page),
    }


def _clean(out: Path) -> None:
    """Remove what killed commands left of such a page, but not what others are writing now."""
    for rest in left_over(out.parent, out.name):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - rest.stat().st_mtime > _ABANDONED:
                erased(rest)


def _check_replaceable(out: Path, argument: str) -> None:
    """InputError unless a page may be written there: no other file is replaced."""
    try:
        if out.is_dir():
            raise InputError(argument, str(out), "a file; this is a folder")
        if out.exists() and not out.is_file():
            raise InputError(argument, str(out), "a file; this is a pipe or a device")
        if out.exists():
            with out.open("rb") as stream:
                head = stream.read(_HEAD)
            if MADE_BY.encode() not in head:
                raise InputError(argument, str(out), "a new file, or a page of dpe report")
    except OSError as error:
        accepted = f"a writable file ({error.strerror or error})"
        raise InputError(argument, str(out), accepted) from error


def _parts(page: Page) -> dict[str, Any]:
    """How far a reproduction is; nothing of another result."""
    if page.parts is None:
        return {}
    asked, missing = page.parts.asked, page.parts.missing
    counted = {"parts_finished": len(asked) - len(missing), "parts_asked": len(asked)}
    return counted | {"parts_missing": list(missing)}


def _claims(page: Page) -> dict[str, Any]:
    """Which of the article's claims hold; nothing where none was measured."""
    found = {one.name: one.holds for _, one in page.claims}
    if not found:
        return {}
    contradicted = [name for name, holds in found.items() if not holds]
    counted = {"hold": len(found) - len(contradicted), "measured": len(found)}
    return {"claims": counted | {"contradicted": contradicted}}


def _told(page: Page) -> list[str]:
    """What is there, which checks failed, what is odd, which claims do not hold: a line each."""
    lines = [f"{page.title}: {_checked(page)}"]
    if page.parts is not None and page.parts.missing:
        missing = ", ".join(page.parts.missing)
        lines = [f"{page.title}: {page.parts.told}; missing: {missing}", _checked(page)]
        lines.append(f"this goes on: {page.parts.goes_on}")
    lines += page.remarks
    against = [one.name for _, one in page.claims if not one.holds]
    if page.claims:
        lines.append(page.claims_told + (f"; not: {'; '.join(against)}" if against else ""))
    return lines


def _checked(page: Page) -> str:
    """How many checks failed."""
    found = page.verdicts
    if not found:
        return "nothing was checked"
    failed = [f"{section.title}: {one.name}" for section, one in found if not one.passed]
    of = "checks" if page.finished else "checks of the finished parts"
    if not failed:
        return f"{len(found)} of {len(found)} {of} passed"
    return f"{len(failed)} of {len(found)} {of} FAILED: {'; '.join(failed)}"
