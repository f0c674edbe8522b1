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
        mantissa, _, exponent = format(value, digits).partition("e")
        mantissa = mantissa.replace("%", r"\%").replace(",", "{,}")
        return f"${mantissa}$" if not exponent else rf"${mantissa}\times 10^{{{int(exponent)}}}$"
    return text(str(value))


def head(column: Column) -> str:
    """The head of a column, with its unit."""
    unit = f" ({text(column.unit)})" if column.unit else ""
    return (column.latex or text(column.head)) + unit


def document(table: Table) -> str:
    """A LaTeX document of one table with its caption.

    A paper with the packages `standalone`, `booktabs` and `graphicx` reads the file by `\\input`.
    """
    numbers = [
        all(isinstance(row[column.key], int | float | None) for row in table.rows)
        and not any(isinstance(row[column.key], bool) for row in table.rows)
        for column in table.columns
    ]
    lines = [
        "% Compile this by itself, or \\input it into a paper that has",
        r"% \usepackage{standalone,booktabs,graphicx}. It is shrunk only where it is too wide.",
        r"\documentclass{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{booktabs,graphicx}",
        r"\usepackage[margin=1in]{geometry}",
        r"\begin{document}",
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{text(table.caption)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numbers)}}}",
        r"\toprule",
        " & ".join(head(column) for column in table.columns) + r" \\",
        r"\midrule",
        *(
            " & ".join(cell(row[column.key], column.digits) for column in table.columns) + r" \\"
            for row in table.rows
        ),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"
