"""docs/privacy.md shows what the committed audit says, and that says what it measured."""

import json
from pathlib import Path

from dpe_jax import experiment
from dpe_jax.privacy import scores
from dpe_jax.results import read_config

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "results" / "privacy" / "audit"
PAGE = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
REPORT = (FOLDER / "audit.md").read_text(encoding="utf-8")
AUDIT = json.loads((FOLDER / "audit.json").read_text(encoding="utf-8"))


def rows(text: str, head: str) -> list[str]:
    """The rows of the table whose first line begins with `head`."""
    (_, table) = text.split(f"\n{head}")
    return table.split("\n\n")[0].splitlines()[2:]


def test_it_is_an_audit_of_the_preset() -> None:
    assert read_config(FOLDER / "config.toml") == experiment.presets()["audit"]
    assert (AUDIT["runs"], AUDIT["iterations"]) == (1024, 2000)
    assert AUDIT["rule"] == list(scores.RULE)


def test_the_tables() -> None:
    for head in ("| method | eavesdropper |", "| method | leakage of gradients |"):
        assert rows(PAGE, head) == rows(REPORT, head)
        assert len(rows(PAGE, head)) == len({cell["method"] for cell in AUDIT["cells"]})


def test_the_scores_are_those_measured() -> None:
    found = {(cell["method"], cell["view"]): cell["scores"] for cell in AUDIT["cells"]}
    for row in rows(PAGE, "| method | eavesdropper |"):
        name, *cells = (cell.strip() for cell in row.strip("|").split(" | "))
        for view, cell in zip(AUDIT["views"], cells, strict=True):
            kind = "gradients" if view == "states granted" else "total"
            assert cell.startswith(f"**{found[name, view][kind]}** (")


def test_the_findings() -> None:
    found = PAGE.split("\n## What was found\n")[1].split("\n## ")[0]
    told = [line.removeprefix("- ") for line in found.splitlines() if line.startswith("- ")]
    assert len(told) > 5
    assert all(text in AUDIT["findings"] for text in told)
    assert not any("BELOW THE BOUND" in text for text in AUDIT["findings"])


def test_what_theory_says_of_the_preset() -> None:
    """Known mean: ρ = 0.577; signs all right; the average like T^−½."""
    (cell,) = (c for c in AUDIT["cells"] if (c["method"], c["view"]) == ("encrypted", GRANTED))
    (curve,) = (c for c in cell["curves"] if c["attack"] == "inversion")
    inside = [low <= 3**-0.5 <= high for low, high in zip(curve["low"], curve["high"], strict=True)]
    assert sum(inside) >= 0.8 * len(inside)
    assert cell["sign"]["error"] == [0, 0, 0]
    low, high = cell["slopes"]["average"][1:]
    assert low - 0.03 < -0.5 < high + 0.03


GRANTED = "states granted"
