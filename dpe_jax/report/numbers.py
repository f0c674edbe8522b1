"""Numbers as a page shows them."""

import math
import re

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_ONE = r"([-+−]?(\d[\d,]*(\.\d+)?(e-?\d+)?|∞)|–|none|NaN)"
_ENDS = rf"\[{_ONE}, {_ONE}\]"
_CELL = re.compile(rf"({_ONE}( %)?( of {_ONE}| – {_ONE}| {_ENDS})?|{_ENDS})")
_WORDS = {"": "–", "nan": "NaN", "inf": "∞", "+inf": "∞", "-inf": "−∞", "none": "none"}
_WORDS |= {"true": "yes", "false": "no"}
_WORDS |= {"infinity": "∞", "-infinity": "−∞"}
_DIGITS = 4
"""Of a number of a file that are shown; one of no more is shown as it was written."""


def number(value: float | int | None, digits: int = 3) -> str:
    """A number in so many digits: 0.00113, 1.13e-5, 4,096; none, NaN and ∞ as such."""
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return _WORDS[str(value)]
    if value and not 1e-3 <= abs(value) < 1e5:
        head, tail = f"{value:.{digits - 1}e}".split("e")
        return f"{head}e{int(tail)}"
    short = f"{value:.{digits}g}"
    # Of 12345.6 no digit is rounded away that a plain number would show as zero.
    return f"{value:,.0f}" if "e" in short else short


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """[0.1, 0.2]"""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def estimate(found: tuple[float | None, float | None, float | None], digits: int = 3) -> str:
    """0.15 [0.1, 0.2]"""
    value, low, high = found
    return f"{number(value, digits)} {interval(low, high, digits)}"


def seconds(value: float) -> str:
    """0.31 s, 12.3 s, 4 min 5 s, 2 h 3 min."""
    if not math.isfinite(value):
        return f"{number(value)} s"
    if value < 60:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """312 B, 12 kB, 1.2 MB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.0f} kB" if count < 999_500 else f"{count / 1e6:.1f} MB"


def written(text: str) -> str:
    """A cell of a CSV file: a number of many digits rounded to four, anything else as it is."""
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if rounds(word):
        return number(float(word), _DIGITS)
    mantissa, _, power = word.lower().partition("e")
    if power and _NUMBER.fullmatch(word):
        return f"{mantissa}e{int(power)}"
    # The ends of an interval have powers like the number beside it.
    return re.sub(r"(?<=\d)e([-+])0(?=\d)", r"e\1", word) if word.startswith("[") else word


def rounds(text: str) -> bool:
    """Whether a cell of a CSV file is a number with more digits than are shown."""
    word = text.strip()
    mantissa = word.lower().partition("e")[0]
    digits = mantissa.lstrip("+-0.").replace(".", "")
    whole = mantissa.lstrip("+-").isdigit()
    return bool(_NUMBER.fullmatch(word)) and not whole and len(digits) > _DIGITS


def is_number(text: str) -> bool:
    """Whether a cell is aligned with numbers: 1.2, 3 of 4, 0.5 %, 1.2 [1.1, 1.3], [1, 2], –."""
    return bool(_CELL.fullmatch(text))
