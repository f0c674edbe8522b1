"""Code blocks of the documentation: found, run page by page, and their output compared.

A block runs unless the HTML comment right above it says `not run: REASON`; reasons are those of
`REASONS`, or the path of a test that runs it. Python blocks of a page share one namespace, `sh`
blocks one folder with them. A block whose fence has `title="NAME"` is written to that file. A
`text` block is what the block before it prints. There `…` stands for anything in a line, and alone
in a line for any lines; every number has to be the same, or `numbers within P %` says how near.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent

PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))

REASONS = {
    "installs": "installs the package from the network; .ci/run does that",
    "takes minutes": "longer than a test should; the command's own tests run it smaller",
    "needs a cluster": "several machines, or a scheduler, are not at hand in a test",
    "needs a GPU": "CI has none",
}
"""Why a block may not run."""

LANGUAGES = ("python", "sh", "toml", "text")

NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


class Block(NamedTuple):
    """One code block of a page."""

    page: str
    line: int
    """Of its first line of code, from 1."""
    language: str
    title: str | None
    note: str
    """What the comment right above it says."""
    code: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why it does not run; None if it does."""
        head, _, reason = self.note.partition("not run:")
        return reason.strip() if not head and reason else None

    @property
    def tolerance(self) -> float:
        """How far numbers of its output may be off, relative."""
        found = re.fullmatch(r"numbers within ([\d.]+) %", self.note)
        return float(found[1]) / 100 if found else 0.0


def blocks(page: str) -> list[Block]:
    """All code blocks of a page, in order."""
    found, note = [], ""
    for token in MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            language, _, rest = token.info.partition(" ")
            title = re.search(r'title="([\w.-]+)"', rest)
            line = token.map[0] + 1 + (token.type == "fence")
            named = title[1] if title else None
            found.append(Block(page, line, language, named, note, token.content))
        comment = re.fullmatch(r"<!--(.*?)-->\s*", token.content, re.DOTALL)
        is_comment = token.type == "html_block" and comment
        note = " ".join(comment[1].split()) if is_comment and comment else ""
    return found


def run(page: str, folder: Path) -> None:
    """Run all blocks of a page in a folder; AssertionError names the first that is wrong."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for block in blocks(page):
        if block.title is not None:
            (folder / block.title).write_text(block.code, encoding="utf-8")
        if block.reason is not None:
            printed = None
        elif block.language == "python":
            printed = _python(block, namespace, folder)
        elif block.language == "sh":
            printed = _shell(block, folder)
        elif block.language == "text":
            assert printed is not None, f"{block.where}: no block that runs is right before it"
            problem = difference(block.code, printed, block.tolerance)
            assert problem is None, f"{block.where}: {problem}\nprinted:\n{printed}"
            printed = None
        else:
            printed = None


def _python(block: Block, namespace: dict[str, Any], folder: Path) -> str:
    out = io.StringIO()
    # The lines before it are left empty, so that tracebacks name the line of the page.
    code = compile("\n" * (block.line - 1) + block.code, block.page, "exec")
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        exec(code, namespace)
    return out.getvalue()


def _shell(block: Block, folder: Path) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
        "TERM": "dumb",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.where}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def difference(expected: str, printed: str, tolerance: float = 0.0) -> str | None:
    """The first line of `expected` that was not printed, or what was printed beside it."""
    wanted = [line.rstrip() for line in expected.rstrip().splitlines()]
    got = [line.rstrip() for line in printed.rstrip().splitlines()]
    place, skipping = 0, False
    for line in wanted:
        if line.strip() == "…":
            skipping = True
            continue
        until = len(got) if skipping else min(place + 1, len(got))
        fits = (n for n in range(place, until) if _fits(line, got[n], tolerance))
        found = next(fits, None)
        if found is None:
            return f"not printed: {line!r}"
        place, skipping = found + 1, False
    if place < len(got) and not skipping:
        return f"printed as well: {got[place]!r}"
    return None


def _fits(expected: str, printed: str, tolerance: float) -> bool:
    match = re.fullmatch("".join(_pattern(expected, tolerance)), printed)
    if match is None:
        return False
    numbers = [n for part in expected.split("…") for n in NUMBER.findall(part)]
    pairs = zip(map(_value, numbers), map(_value, match.groups()), strict=True)
    return all(abs(a - b) <= tolerance * abs(a) for a, b in pairs)


def _pattern(expected: str, tolerance: float) -> Iterator[str]:
    """Numbers are groups; spaces count only where nothing else may differ."""
    for part_number, part in enumerate(expected.split("…")):
        if part_number:
            yield ".*?"
        end = 0
        for number in NUMBER.finditer(part):
            yield _literal(part[end : number.start()], tolerance)
            yield f"({NUMBER.pattern if tolerance else re.escape(number[0])})"
            end = number.end()
        yield _literal(part[end:], tolerance)


def _literal(text: str, tolerance: float) -> str:
    return re.sub(r"(\\ )+", r"\\s+", re.escape(text)) if tolerance else re.escape(text)


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-"))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
