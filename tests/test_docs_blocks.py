"""Every code block of README.md and docs/ runs, and prints what the page says it prints."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import doc_blocks
import pytest
from doc_blocks import LANGUAGES, PAGES, REASONS, ROOT, Block

from dpe_jax import cli

SLOW = (
    "README.md",
    *(f"docs/{name}.md" for name in ("tutorial", "cluster", "own_problem", "own_method")),
    *(f"docs/{name}.md" for name in ("own_attack", "verification", "durability", "reproduce")),
)
"""Pages that take the longest."""

EVERY = [block for page in PAGES for block in doc_blocks.blocks(page)]

RUNNING = {block.page: None for block in EVERY if block.reason is None}

MARKS = [pytest.param(p, marks=pytest.mark.slow if p in SLOW else ()) for p in RUNNING]


@pytest.mark.parametrize("page", MARKS)
def test_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # A process of its own, as a reader has: what a page leaves behind is no matter of the next.
    command = [sys.executable, "-W", "error", doc_blocks.__file__, page, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_block_has_a_language_that_is_checked() -> None:
    assert len(EVERY) > 80
    assert [b.where for b in EVERY if b.language not in LANGUAGES] == []


def test_what_does_not_run_says_why() -> None:
    for block in EVERY:
        if block.reason is None:
            assert not block.note or block.tolerance, f"{block.where}: {block.note!r}"
        elif block.reason.startswith("tests/"):
            text = (ROOT / block.reason).read_text(encoding="utf-8")
            assert Path(block.page).name in text, f"{block.where}: {block.reason}"
        else:
            assert block.reason in REASONS, f"{block.where}: {block.reason!r}"


@pytest.mark.parametrize(
    "block", [b for b in EVERY if b.reason is not None], ids=lambda block: block.where
)
def test_what_does_not_run_is_at_least_possible(block: Block) -> None:
    """Its commands have the options that it gives them, and its programs are there."""
    if block.language == "python":
        ast.parse(block.code)
    for line in block.code.replace("\\\n", " ").splitlines() if block.language == "sh" else ():
        for words in _commands(line):
            if words[:1] == ["dpe"]:
                cli._parser().parse_args(words[1:])
            if words[:1] == ["python"] and words[1].startswith("scripts/"):
                assert (ROOT / words[1]).is_file(), f"{block.where}: {words[1]}"


@pytest.mark.parametrize(
    "block", [b for b in EVERY if b.language == "toml"], ids=lambda block: block.where
)
def test_toml_is_toml(block: Block) -> None:
    assert tomllib.loads(block.code)


def _commands(line: str) -> list[list[str]]:
    """The commands of a line, without what stands before `dpe` or `python` in the same command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|"):
            found.append([])
        elif found[-1] or re.fullmatch(r"(.*/)?(dpe|python)", word):
            found[-1].append(word if found[-1] else Path(word).name)
    return [words for words in found if words]


@pytest.mark.parametrize(
    ("expected", "printed", "tolerance", "right"),
    [
        ("a 1.50\n", "a 1.50\n", 0.0, True),
        ("a 1.50\n", "a 1.51\n", 0.0, False),
        ("a 1.50\n", "a  1.51\n", 0.01, True),
        ("a 1.50\n", "a 1.53\n", 0.01, False),
        ("a 1.50\n", "a 1.50\nb\n", 0.0, False),
        ("a 1.50\n…\n", "a 1.50\nb\nc\n", 0.0, True),
        ("a\n…\nc\n", "a\nb\nb\nc\n", 0.0, True),
        ("a\n…\nd\n", "a\nb\nb\nc\n", 0.0, False),
        ("took … s, 3 runs", "took 1.25 s, 3 runs", 0.0, True),
        ("took … s, 3 runs", "took 1.25 s, 4 runs", 0.0, False),
        ("a\nb\n", "a\n", 0.0, False),
        ("12,000 of −3e-04", "12,010 of −3.001e-04", 0.01, True),
        ("12,000 of −3e-04", "12,010 of 3.001e-04", 0.01, False),
    ],
)
def test_output_is_compared(expected: str, printed: str, tolerance: float, right: bool) -> None:
    assert (doc_blocks.difference(expected, printed, tolerance) is None) is right


BROKEN = {
    "an error": "```python\nx = 1 / 0\n```\n",
    "a failing command": "```sh\nfalse\n```\n",
    "a command that does not exist": "```sh\ndpe runn\n```\n",
    "another output": "```python\nprint(1)\n```\n\n```text\n2\n```\n",
    "output of nothing": "```text\n2\n```\n",
    "output of what does not run": (
        "<!-- not run: takes minutes -->\n```sh\necho 1\n```\n\n```text\n1\n```\n"
    ),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_found(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises((AssertionError, ZeroDivisionError)):
        doc_blocks.run(str(page), tmp_path)


def test_blocks_share_a_namespace_and_a_folder(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```toml title="a.toml"\nb = 3\n```\n\n```python\nfrom pathlib import Path\n'
        'b = len(Path("a.toml").read_text())\nPath("c").write_text(str(b))\n```\n\n'
        "```sh\ncat c\n```\n\n```text\n6\n```\n\n```python\nprint(b + 1)\n```\n\n```text\n7\n```\n",
        encoding="utf-8",
    )
    doc_blocks.run(str(page), tmp_path)
