"""LaTeX of the tables of `dpe reproduce`: what is escaped, and that it can be read."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dpe_jax.reproduce import latex
from dpe_jax.reproduce.part import Column, Table

TABLE = Table(
    "a",
    "5 % of gap_mean_state & more: max_i ‖x_i − x*‖ ≤ ½(n − 1)²dδ² at λ̄^k = 1 − μγ^k, 10⁻³",
    (
        Column("name", "F(x̄_K) − F*"),
        Column("value", "share", "%", ".1e"),
        Column("count", "#", digits="d", latex=r"$n$"),
    ),
    [
        {"name": "tailored_DP & co", "value": -1.25e-5, "count": 3},
        {"name": "γ = λ", "value": None, "count": -12},
        {"name": "yes", "value": math.nan, "count": 0},
    ],
)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("5 % & _ # $ {}", r"5 \% \& \_ \# \$ \{\}"),
        ("gap_mean_state", r"gap\_mean\_state"),
        ("x_i", r"\ensuremath{x_{i}}"),
        ("x̄_k", r"\ensuremath{\bar{x}_{k}}"),
        ("W̄^k", r"\ensuremath{\bar{W}^{k}}"),
        ("λ̄^k", r"\ensuremath{\bar{{\lambda}}^{k}}"),
        ("x*", r"\ensuremath{x^*}"),
        ("max_i", r"\ensuremath{\max_{i}}"),
        ("k^−β", r"\ensuremath{k^{{-}{\beta}}}"),
        ("−1", r"\ensuremath{-}1"),
        ("a^{ij} 2^3", r"\ensuremath{a^{ij}} 2\textasciicircum{}3"),
        ("Wang & Başar", r"Wang \& Başar"),
        (
            "to 3.62e-04, [−1e+03]",
            r"to \ensuremath{3.62\times 10^{-4}}, [\ensuremath{-}\ensuremath{1\times 10^{3}}]",
        ),
        ("no x1e-04, 2e-4b", r"no x1e-04, 2e-4b"),
        ("漢", None),
        ("μ = 0.5", r"\ensuremath{\mu} = 0.5"),
    ],
)
def test_text(plain: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="no LaTeX for '漢'"):
            latex.text(plain)
    else:
        assert latex.text(plain) == expected


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (-1.25e-5, ".2e", r"$-1.25\times 10^{-5}$"),
        (6.491, ".2e", "$6.49$"),
        (0.0, ".2e", "$0$"),
        (0.125, ".1%", r"$12.5\%$"),
        (1234567, ",d", "$1{,}234{,}567$"),
        (1532.7, ".3g", "$1{,}533$"),
        (-999.6, ".3g", "$-1{,}000$"),
        (999.4, ".3g", "$999$"),
        (1234567.0, ".3g", r"$1.23\times 10^{6}$"),
        (12345.6, ".6g", "$12345.6$"),
        (None, ".3g", "--"),
        (math.nan, ".3g", "not a number"),
        (-math.inf, ".3g", r"$-\infty$"),
        (True, ".3g", "yes"),
        ("gap_mean", ".3g", r"gap\_mean"),
    ],
)
def test_cells(value: object, digits: str, expected: str) -> None:
    assert latex.cell(value, digits) == expected


def test_a_document_can_be_parsed() -> None:
    text = latex.document(TABLE)
    assert text.isascii()
    assert r"\begin{tabular}{lrr}" in text
    assert r"F(\ensuremath{\bar{x}_{K}}) \ensuremath{-} \ensuremath{F^*} & share (\%) & $n$" in text
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1
    check(text)
    for wrong in (
        text.replace(r"\caption{", r"\caption", 1),
        text.replace(r"\&", "&", 1),
        text.replace(r"\_", "_", 1),
        text.replace(r"\%", "%", 1),
    ):
        with pytest.raises(AssertionError):
            check(wrong)


def test_a_column_has_one_notation_and_its_intervals_too() -> None:
    columns = (Column("gap", "gap"), Column("of", "gap, 95 %"), Column("n", "n", digits="d"))
    rows = [
        {"gap": 8.126e-5, "of": "[7.9e-05, 8.31e-05]", "n": 1},
        {"gap": 1.15e-4, "of": "[0.000101, 0.000116]", "n": 2},
        {"gap": 0.0, "of": "[9.8e-05, ∞]", "n": 3},
        {"gap": None, "of": None, "n": 4},
    ]
    written = latex.document(Table("a", "A caption.", columns, rows))
    check(written)
    low, high = r"7.90\times 10^{-5}", r"8.31\times 10^{-5}"
    assert rf"$8.13\times 10^{{-5}}$ & $[{low}, {high}]$ & $1$" in written
    low, high = r"1.01\times 10^{-4}", r"1.16\times 10^{-4}"
    assert rf"$1.15\times 10^{{-4}}$ & $[{low}, {high}]$ & $2$" in written
    assert r"$0$ & $[9.80\times 10^{-5}, \infty]$ & $3$" in written
    assert "-- & -- & $4$" in written
    # Where no number needs a power of ten none has one.
    plain = latex.document(
        Table("a", "A caption.", columns, [{"gap": 1.5, "of": "[1, 2]", "n": 1}])
    )
    assert "$1.5$ & $[1, 2]$ & $1$" in plain
    # Thousands are written out beside small ratios, and have a power of ten beside tiny ones.
    rows = [
        {"gap": 0.979, "of": "[0.97, 0.99]", "n": 1},
        {"gap": 1532.7, "of": "[1499.6, 1602.2]", "n": 2},
    ]
    ratios = latex.document(Table("a", "A caption.", columns, rows))
    assert "$0.979$ & $[0.97, 0.99]$ & $1$" in ratios
    assert "$1{,}533$ & $[1{,}500, 1{,}602]$ & $2$" in ratios


def test_long_texts_are_broken_only_in_a_table_that_is_too_wide() -> None:
    columns = Column("what", "what"), Column("why", "why it is so, in words"), Column("n", "n")
    row = {"what": "short", "why": "a text of more than thirty letters", "n": 1}
    table = Table("a", "A caption.", columns, [row])
    assert r"\begin{tabular}{llr}" in latex.document(table)
    assert r"what & \shortstack{why it is\\so, in words} & n" in latex.document(table)
    check(latex.document(table))
    assert "{table}" in latex.document(table)
    wide = table._replace(rows=[row | {"why": 5 * row["why"]}])
    assert re.search(
        r"\{l>\{\\raggedright\\arraybackslash\}p\{\d+\.\dem\}r\}", latex.document(wide)
    )
    check(latex.document(wide))
    # Both columns of a page that has two.
    assert latex.document(wide).count("{table*}") == 2


def check(text: str) -> None:
    """What pdflatex would stumble over: braces, environments, and bare letters of its own."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = body.replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for letter in plain:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    ends = re.findall(r"\\(begin|end)\{(\w+)\}", body)
    assert [name for kind, name in ends if kind == "begin"] == [
        name for kind, name in reversed(ends) if kind == "end"
    ]
    # In text mode there are no bare _ ^ # ~, and % begins a comment only at the end of a line.
    outside = re.sub(r"\\ensuremath\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\$[^$]*\$", "", body)
    assert not re.search(r"(?<!\\)[_^#~]", outside)
    assert not re.search(r"(?<!\\)%(?!\n)", body)
    kinds = re.search(r"\\begin\{tabular\}\{(.+)\}\n", body)
    assert kinds is not None
    columns = re.sub(r">\{[^{}]*\}p\{[\d.]+em\}", "l", kinds[1])
    assert set(columns) <= {"l", "r"}
    rows = body.split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = re.sub(r"\\shortstack\{.*?\\\\.*?\}(?= &| \\\\)", "two lines", rows).split(r"\\")[:-1]
    caption = body.split(r"\caption")[1].split(r"\resizebox")[0]
    assert not re.search(r"(?<!\\)&", caption)
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="needs pdflatex, which is no dependency",
)
def test_a_document_compiles(tmp_path: Path) -> None:
    # With every letter that is known.
    letters = " ".join(latex._MATHS) + " " + " ".join(latex._PLAIN) + " ÀéşČ"
    table = TABLE._replace(rows=[*TABLE.rows, {"name": letters, "value": 1.0, "count": 1}])
    (tmp_path / "a.tex").write_text(latex.document(table))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "a.pdf").stat().st_size > 0
