"""The command `dpe report`."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dpe_jax.errors import InputError
from dpe_jax.folder import REPORT, whole
from dpe_jax.report.content import Page
from dpe_jax.report.numbers import size
from dpe_jax.report.page import MADE_BY, html
from dpe_jax.report.reading import read

_HEAD = 1000
"""Bytes of a file in which a page says that it is one."""


def run_report(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe report DIR`: 0 when the page is written, also if it reports checks that failed."""
    folder = Path(options.folder)
    out = Path(options.out) if options.out else folder / REPORT
    _check_replaceable(out)
    page = read(folder)
    data = html(page).encode()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole(out) as stream:
            stream.write(data)
    except OSError as error:
        accepted = f"a writable file ({error.strerror or error})"
        raise InputError("--out", str(out), accepted) from error
    if screen:
        screen.print(_told(page), soft_wrap=True)
        screen.print(f"written to {out} ({size(len(data))})", soft_wrap=True)
    return 0, {
        "page": str(out),
        "bytes": len(data),
        "sections": [section.title for section in page.sections],
        "passed": page.passed,
    }


def _check_replaceable(out: Path) -> None:
    """InputError unless a page may be written there: no other file is replaced."""
    try:
        if out.is_dir():
            raise InputError("--out", str(out), "a file; this is a folder")
        if out.exists():
            with out.open("rb") as stream:
                head = stream.read(_HEAD)
            if MADE_BY.encode() not in head:
                raise InputError("--out", str(out), "a new file, or a page of dpe report")
    except OSError as error:
        accepted = f"a writable file ({error.strerror or error})"
        raise InputError("--out", str(out), accepted) from error


def _told(page: Page) -> str:
    """How many checks failed, in one line."""
    found = page.verdicts
    if not found:
        return f"{page.title}: nothing was checked"
    failed = [f"{section.title}: {one.name}" for section, one in found if not one.passed]
    if not failed:
        return f"{page.title}: {len(found)} of {len(found)} checks passed"
    return f"{page.title}: {len(failed)} of {len(found)} checks FAILED: {'; '.join(failed)}"
