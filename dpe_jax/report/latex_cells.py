"""The numbers of a LaTeX table as a page shows them: to the digits that the table gives them.

What a column is rounded to is decided where its numbers are made, and of that a result folder
keeps the LaTeX table only. So a page and a paper show the same digits.
"""

import re
from collections.abc import Sequence

from dpe_jax.report.numbers import written

_NUMBER = re.compile(r"\$(?P<mantissa>-?[\d,]+(\.\d+)?)(?P<percent>%)?(×(?P<power>-?\d+))?\$")


class DisagreementError(ValueError):
    """A LaTeX table has other numbers, rows or columns than the CSV file beside it."""


def shown(sheet: Sequence[Sequence[str]], latex: str) -> list[list[str]]:
    """The rows of a CSV file with the digits of the LaTeX table of the same numbers.

    Without rows in LaTeX numbers are rounded to four digits.
    """
    rows = _rows(latex)
    if not rows:
        return [[written(text) for text in row] for row in sheet]
    if [len(row) for row in rows] != [len(row) for row in sheet]:
        raise DisagreementError("has not the rows and columns")
    return [list(map(_cell, *both)) for both in zip(sheet, rows, strict=True)]


def rounds(sheet: Sequence[Sequence[str]], cells: Sequence[Sequence[str]]) -> bool:
    """Whether any cell shows another number than its file has."""
    pairs = [
        (_value(exact), _value(text))
        for both in zip(sheet, cells, strict=False)
        for exact, text in zip(*both, strict=True)
    ]
    return any(exact is not None and exact != text for exact, text in pairs)


def _rows(latex: str) -> list[list[str]]:
    r"""The cells between \midrule and \bottomrule."""
    body = latex.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    return [line.removesuffix(r" \\").split(" & ") for line in body.splitlines()]


def _cell(exact: str, latex: str) -> str:
    exact_ends, latex_ends = _ends(exact), _ends(latex.strip("$"))
    if exact_ends is None or latex_ends is None:
        return _number(exact, latex)
    ends = [
        end if (end, said) == ("∞", r"\infty") else _number(end, f"${said}$")
        for end, said in zip(exact_ends, latex_ends, strict=True)
    ]
    return f"[{', '.join(ends)}]"


def _ends(text: str) -> list[str] | None:
    """Of an interval, [1.2, 1.5]."""
    ends = text[1:-1].split(", ") if text.startswith("[") and text.endswith("]") else []
    return ends if len(ends) == 2 else None


def _number(exact: str, latex: str) -> str:
    plain = latex.replace(r"\%", "%").replace("{,}", ",")
    found = _NUMBER.fullmatch(re.sub(r"\\times 10\^\{(-?\d+)\}", r"×\1", plain))
    if found is None:
        return written(exact)
    power = f"e{found['power']}" if found["power"] else ""
    text = found["mantissa"] + power + (" %" if found["percent"] else "")
    value, rounded = _value(exact), _value(text)
    if value is None or rounded is None or abs(value - rounded) > 0.5001 * _place(text):
        raise DisagreementError(f"has {text} in place of {exact}, not the numbers")
    return text


def _value(text: str) -> float | None:
    try:
        value = float(text.removesuffix(" %").replace(",", ""))
    except ValueError:
        return None
    return value / 100 if text.endswith(" %") else value


def _place(text: str) -> float:
    """What the last digit counts."""
    mantissa, _, power = text.removesuffix(" %").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(power or 0) - decimals - (2 if text.endswith(" %") else 0))
