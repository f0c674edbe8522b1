"""Tables in LaTeX, with booktabs: each file is a document by itself, or is read into a paper."""

import math
import re
from typing import Any

from dpe_jax.reproduce.part import Column, Table

_PLAIN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "’": "'",
    "“": "``",
    "”": "''",
    "\u00a0": "~",
    "\u202f": r"\,",
}

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho"
_GREEK += " varsigma sigma tau upsilon phi chi psi omega"

_MATHS = {
    # The final sigma and omicron have no commands, or none that anyone needs.
    **{
        chr(ord("α") + place): f"\\{name}"
        for place, name in enumerate(_GREEK.split())
        if name != "omicron"
    },
    **{
        letter: f"\\{name}"
        for letter, name in zip(
            "ΓΔΘΛΞΠΣΦΨΩ",
            ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"],
            strict=True,
        )
    },
    **{letter: f"^{place}" for place, letter in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{letter: f"_{place}" for place, letter in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    "⁻": "^{-}",
    "ᵀ": "^{T}",
    "−": "-",
    "‖": r"\|",
    "×": r"\times ",
    "·": r"\cdot ",
    "±": r"\pm ",
    "≤": r"\leq ",
    "≥": r"\geq ",
    "≠": r"\neq ",
    "≈": r"\approx ",
    "≪": r"\ll ",
    "≫": r"\gg ",
    "∝": r"\propto ",
    "→": r"\to ",
    "←": r"\gets ",
    "∇": r"\nabla ",
    "∈": r"\in ",
    "∞": r"\infty ",
    "√": r"\surd ",
    "ℓ": r"\ell ",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}",
    "°": r"^{\circ}",
    "⌊": r"\lfloor ",
    "⌋": r"\rfloor ",
    "′": "'",
}

_ACCENTS = {"\u0304": r"\bar", "\u0302": r"\hat", "\u0303": r"\tilde"}

_SYMBOL = re.compile(
    # A letter with an accent, index or power, such as x̄_k, W̄^k, λ̄, x*, x_{ij}: not gap_mean_state.
    r"(?<![A-Za-z0-9_])(max|min|sup|[A-Za-zΑ-ω])([\u0302\u0303\u0304]?)"
    r"((?:[_^](?:\{[^{}]*\}|−?[A-Za-z0-9Α-ω]+(?![_A-Za-z0-9])))*)(\*?)(?![A-Za-z_])"
)


def text(plain: str) -> str:
    """Plain text, with mathematics in Unicode such as ‖W̄^k‖ ≤ 1 − μγ^k, as LaTeX.

    ValueError for a letter that is not known here.
    """
    found, end = [], 0
    for number in _POWER.finditer(plain):
        found += [_symbols(plain[end : number.start()]), rf"\ensuremath{{{_number(number[0])}}}"]
        end = number.end()
    return "".join([*found, _symbols(plain[end:])])


_POWER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?e[-+]\d+(?!\w)")
"""A number that Python wrote with a power of ten, within a text."""


def _symbols(plain: str) -> str:
    found, end = [], 0
    for symbol in _SYMBOL.finditer(plain):
        letter, accent, indices, star = symbol.groups()
        if not (accent or indices or star):
            continue
        found += [_letters(plain[end : symbol.start()]), _symbol(letter, accent, indices, star)]
        end = symbol.end()
    return "".join([*found, _letters(plain[end:])])


def _symbol(letter: str, accent: str, indices: str, star: str) -> str:
    base = f"\\{letter}" if len(letter) > 1 else _inner(letter)
    if accent:
        base = f"{_ACCENTS[accent]}{{{base}}}"
    for mark, index in re.findall(r"([_^])(\{[^{}]*\}|−?[A-Za-z0-9Α-ω]+)", indices):
        base += f"{mark}{{{''.join(_inner(one) for one in index.strip('{}'))}}}"
    return rf"\ensuremath{{{base}{'^*' if star else ''}}}"


def _inner(letter: str) -> str:
    """A letter within mathematics."""
    return f"{{{_MATHS[letter]}}}" if letter in _MATHS else letter


def _letters(plain: str) -> str:
    return "".join(_letter(letter) for letter in plain)


def _letter(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    if letter in _MATHS:
        return rf"\ensuremath{{{_MATHS[letter].strip()}}}"
    # LaTeX knows the letters of European names.
    if letter.isascii() or ("À" <= letter <= "ſ"):
        return letter
    raise ValueError(f"no LaTeX for {letter!r}")


def cell(value: Any, digits: str) -> str:
    """A value of a table: numbers in mathematics, so that a minus is one."""
    if value is None:
        return "--"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return "not a number" if math.isnan(value) else f"${'-' * (value < 0)}\\infty$"
        if value == 0:
            return "$0$"
        return f"${_number(_formatted(value, digits))}$"
    return text(str(value))


_INTERVAL = re.compile(r"\[(-?[\d.]+(?:e[-+]\d+)?|∞), (-?[\d.]+(?:e[-+]\d+)?|∞)\]")


def interval(value: str, digits: str) -> str:
    """[7.9e-05, 8.3e-05] as mathematics, its ends in that format."""
    ends = (r"\infty" if end == "∞" else _number(end) for end in _ends(value, digits))
    return f"$[{', '.join(ends)}]$"


def _ends(value: str, digits: str) -> list[str]:
    found = _INTERVAL.fullmatch(value)
    assert found is not None  # only intervals come here
    return [end if end == "∞" else _formatted(float(end), digits) for end in found.groups()]


def _formatted(value: int | float, digits: str) -> str:
    """A number; thousands that `.3g` would round are written out, 1,533 and not 1.53e+03."""
    whole = digits.endswith("g") and 10 ** _significant(digits) - 0.5 <= abs(value) < _MILLION
    return format(value, ",.0f" if whole else digits)


def _significant(digits: str) -> int:
    return int(digits.strip(".g") or 6)


_MILLION = 1e6
"""From here on a number has a power of ten."""


def _number(written: str) -> str:
    """What Python wrote of a number, as LaTeX within mathematics; 6.49e+00 is 6.49."""
    mantissa, _, exponent = written.partition("e")
    mantissa = mantissa.replace("%", r"\%").replace(",", "{,}")
    return rf"{mantissa}\times 10^{{{int(exponent)}}}" if int(exponent or 0) else mantissa


def head(column: Column) -> str:
    """The head of a column, with its unit; a long one in two lines."""
    unit = f" ({text(column.unit)})" if column.unit else ""
    written = (column.latex or text(column.head)) + unit
    plain = column.head + (f" ({column.unit})" if column.unit else "")
    # A number stays with its sign of per cent.
    blanks = [found.start() for found in re.finditer(r" (?!\\%)", written)]
    if len(plain) <= _LONG_HEAD or column.latex or not blanks:
        return written
    cut = min(blanks, key=lambda place: abs(place - len(written) / 2))
    return rf"\shortstack{{{written[:cut]}\\{written[cut + 1 :]}}}"


def document(table: Table) -> str:
    """A LaTeX document of one table with its caption.

    A paper with the packages `standalone`, `array`, `booktabs` and `graphicx` reads the file by
    `\\input`. Where a page has two columns a wide table has both.
    """
    columns = [_written(table, place) for place in range(len(table.columns))]
    heads = [head(column) for column in table.columns]
    wide = sum(_width(table, place) + _GAP for place in range(len(columns))) > _COLUMN
    kind = "table*" if wide else "table"
    lines = [
        "% Compile this by itself, or \\input it into a paper that has",
        r"% \usepackage{standalone,array,booktabs,graphicx}. It is shrunk only if it is too wide.",
        r"\documentclass{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{array,booktabs,graphicx}",
        r"\usepackage[margin=1in]{geometry}",
        r"\begin{document}",
        rf"\begin{{{kind}}}",
        r"\centering\footnotesize",
        rf"\caption{{{text(table.caption)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join(_kinds(table))}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *(" & ".join(cells) + r" \\" for cells in zip(*columns, strict=True)),
        r"\bottomrule",
        r"\end{tabular}}",
        rf"\end{{{kind}}}",
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _values(table: Table, place: int) -> list[Any]:
    return [row[table.columns[place].key] for row in table.rows]


def _is_number(values: list[Any]) -> bool:
    return all(isinstance(value, int | float | None) for value in values) and not any(
        isinstance(value, bool) for value in values
    )


def _is_interval(values: list[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(v, str) and _INTERVAL.fullmatch(v) for v in known)


def _written(table: Table, place: int) -> list[str]:
    """The cells of a column: if one needs a power of ten, all have one, their intervals too."""
    values, digits = _values(table, place), table.columns[place].digits
    if _is_interval(values):
        # Intervals come after what they are of.
        own = place - 1 if place and _is_number(_values(table, place - 1)) else place
        digits = _scientific(table, own) if _mixed(table, own) else digits
        return ["--" if value is None else interval(value, digits) for value in values]
    if _is_number(values) and _mixed(table, place):
        digits = _scientific(table, place)
    return [cell(value, digits) for value in values]


def _mixed(table: Table, place: int) -> bool:
    """Whether a column, or the intervals after it, have numbers that need a power of ten."""
    column, values = table.columns[place], _values(table, place)
    if not column.digits.endswith("g"):
        return False
    written = [_plain(value, column.digits) for value in values if value is not None]
    if place + 1 < len(table.columns):
        after, digits = _values(table, place + 1), table.columns[place + 1].digits
        written += [_plain(v, digits) for v in after if v is not None and _is_interval(after)]
    return any(re.search(r"\de[-+]\d", one) for one in written)


def _plain(value: Any, digits: str) -> str:
    """A number, an interval or a text, before LaTeX."""
    if isinstance(value, str):
        return f"[{', '.join(_ends(value, digits))}]" if _INTERVAL.fullmatch(value) else value
    return _formatted(value, digits)


def _scientific(table: Table, place: int) -> str:
    """.3g as .2e: as many digits."""
    return f".{max(0, _significant(table.columns[place].digits) - 1)}e"


_LINE, _COLUMN, _GAP, _LONG, _LONG_HEAD = 112, 56, 3, 24, 12
"""Letters: of a line, of one of two columns, of the space between columns of a table, and of cells
and heads that may be broken."""

_EM = 0.5
"""Width of a letter."""


def _kinds(table: Table) -> list[str]:
    """Numbers to the right, texts to the left; in a table that is too wide long ones in lines."""
    widths = [_width(table, place) for place in range(len(table.columns))]
    texts = [not _is_number(_values(table, place)) for place in range(len(widths))]
    broken = [
        is_text and width > _LONG and sum(widths) + _GAP * len(widths) > _LINE
        for is_text, width in zip(texts, widths, strict=True)
    ]
    left = _LINE - _GAP * len(widths)
    left -= sum(width for width, long in zip(widths, broken, strict=True) if not long)
    # The longest has the most, but not in proportion: a short one needs room for its words.
    shares = [math.sqrt(width) if long else 0.0 for width, long in zip(widths, broken, strict=True)]
    kinds = []
    for is_text, share in zip(texts, shares, strict=True):
        if share:
            letters = max(_LONG * 0.6, left * share / sum(shares))
            kinds.append(rf">{{\raggedright\arraybackslash}}p{{{_EM * letters:.1f}em}}")
        else:
            kinds.append("l" if is_text else "r")
    return kinds


def _width(table: Table, place: int) -> int:
    """Letters of the longest cell of a column, or of half its head."""
    column = table.columns[place]
    cells = [
        len(_plain(value, column.digits))
        for value in _values(table, place)
        if value is not None and not isinstance(value, bool)
    ]
    title = len(column.head) + (len(column.unit) + 3 if column.unit else 0)
    return max([min(title, max(_LONG_HEAD, title // 2)), *cells])
