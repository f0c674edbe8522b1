"""Texts on pages of `dpe report`: code, indices and powers are set, everything else is escaped."""

import re
from pathlib import Path

import pytest

from dpe_jax import cli
from dpe_jax.report.markup import marked

COMMITTED = Path(__file__).parent.parent / "results" / "reproduce"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the part `convergence` has", "the part <code>convergence</code> has"),
        ("`a <b> & x_k`", "<code>a &lt;b&gt; &amp; x_k</code>"),
        ("F(x̄_k) − F*", "F(x̄<sub>k</sub>) − F*"),
        ("ε = 0.2 e_0.", "ε = 0.2 e<sub>0</sub>."),
        ("like k^−β, β", "like k<sup>−β</sup>, β"),
        ("‖W̄^k‖ = 1 − μγ^k", "‖W̄<sup>k</sup>‖ = 1 − μγ<sup>k</sup>"),
        ("max_i ‖x_i − x*‖", "max<sub>i</sub> ‖x<sub>i</sub> − x*‖"),
        ("mean_i F(x_i)", "mean<sub>i</sub> F(x<sub>i</sub>)"),
        ("x_{ij}^k", "x<sub>ij</sub><sup>k</sup>"),
        ("|q| ≤ 2^28", "|q| ≤ 2<sup>28</sup>"),
        ("(k + 1)^−0.6.", "(k + 1)<sup>−0.6</sup>."),
        ("(k + 1)^−β", "(k + 1)<sup>−β</sup>"),
    ],
)
def test_what_is_set(text: str, shown: str) -> None:
    assert str(marked(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "gap_mean_state",
        "x86_64",
        "figures/x_1.png",
        "x_1.csv lies in the folder",
        "figures/x_1 has no PNG",
        "a_b/c",
        "no-a_b",
        "a lone ` stays",
        "8.28e-04 of 1e-02",
        "x_ and ^k",
        "",
    ],
)
def test_names_of_files_and_keys_stay_as_they_are(text: str) -> None:
    assert str(marked(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "`<img src=x onerror=alert(1)>`",
        "x_<b>",
        "x_{<b>}",
        "<b>_k",
        "x^\"'&",
        "`a`<i>`b`</i>",
    ],
)
def test_everything_else_is_escaped(text: str) -> None:
    html = re.sub(r"</?(code|sub|sup)>", "", str(marked(text)))
    assert not set("<>\"'") & set(html)


def test_no_markup_is_left_in_the_committed_reproduction(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert cli.main(["report", str(COMMITTED), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    # Settings are shown as they are, and attributes can hold no elements.
    text = re.sub(r"<(style|pre|title)\b.*?</\1>", "", text, flags=re.DOTALL)
    for raw, number in ((r"<sub>", 10), (r"<sup>", 10), (r"<code>", 3)):
        assert len(re.findall(raw, text)) >= number
    assert set(re.findall(r"\S*[_^`]\S*", re.sub(r"<[^>]*>", "", text))) == {"x86_64"}
