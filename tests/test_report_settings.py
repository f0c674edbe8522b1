"""Settings on pages of `dpe report`: arrays fill lines, and nothing else is changed."""

import tomllib
from pathlib import Path

import pytest

from dpe_jax.report.settings_text import compact

RESULTS = Path(__file__).parent.parent / "results"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a = [\n    1,\n    2.5,\n]\n", "a = [1, 2.5]\n"),
        ("a = [\n    [\n        1,\n        2,\n    ],\n    [],\n]\n", "a = [[1, 2], []]\n"),
        ('a = [\n    "x, y",\n    "]",\n]\nb = 1\n', 'a = ["x, y", "]"]\nb = 1\n'),
        ("a = [1, 2]\n", "a = [1, 2]\n"),
        # A comment would hide what follows.
        ("a = [\n    1, # one,\n    2,\n]\n", "a = [\n    1, # one,\n    2,\n]\n"),
        # In a text that looks like one.
        ('a = """\n[\n  1,\n]"""\n', 'a = """\n[\n  1,\n]"""\n'),
        ("a = [\n    nan,\n]\n", "a = [\n    nan,\n]\n"),
    ],
)
def test_short_arrays_are_on_one_line(text: str, shown: str) -> None:
    assert compact(text) == shown


def test_long_arrays_fill_lines() -> None:
    text = "a = [\n" + "".join(f"    {place}.25,\n" for place in range(100)) + "]\n"
    shown = compact(text)
    assert tomllib.loads(shown) == tomllib.loads(text)
    assert len(shown.splitlines()) < 12
    assert max(map(len, shown.splitlines())) <= 96


def test_committed_settings_are_the_same_in_fewer_lines() -> None:
    lines = [0, 0]
    for path in sorted(RESULTS.rglob("config.toml")):
        text = path.read_text(encoding="utf-8")
        shown = compact(text)
        assert tomllib.loads(shown) == tomllib.loads(text)
        lines = [lines[0] + len(text.splitlines()), lines[1] + len(shown.splitlines())]
    assert lines[1] < 0.8 * lines[0], lines
