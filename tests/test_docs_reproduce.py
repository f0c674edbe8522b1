"""What docs/reproduce.md shows is what the committed run has."""

import csv
import re
from pathlib import Path

from dpe_jax.reproduce import deployment
from dpe_jax.reproduce.parts import PARTS
from dpe_jax.reproduce.settings import load
from dpe_jax.reproduce.shown import duration

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
RUN = ROOT / "results" / "reproduce"


def table(name: str) -> list[dict[str, str]]:
    path = RUN / "deployment" / "tables" / f"{name}.csv"
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_part_is_named_in_its_order() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert named == list(PARTS)


def test_the_price_of_keys_and_quantization() -> None:
    reached = {row["delta"]: row for row in table("convergence")}
    found: dict[str, list[str]] = {}
    for row in table("wall-clock"):
        seconds, own = row["seconds [s]"], reached[row["delta"]]
        if row["delta"] not in found:
            iterations = own["iterations"] or own["iterations_predicted"]
            about = "" if own["iterations"] else "≈ "
            found[row["delta"]] = [row["delta"], f"{about}{float(iterations):,.0f}"]
        if not seconds:
            seconds = float(row["ms [ms]"]) * float(own["iterations_predicted"]) / 1e3
        found[row["delta"]].append(f"{'' if own['iterations'] else '≈ '}{duration(float(seconds))}")
    head = "| δ | iterations | 1024 bits | 2048 bits | 3072 bits |"
    lines = [f"| {' | '.join(cells)} |" for cells in found.values()]
    shown = PAGE.split(head)[1].split("\n\n")[0].splitlines()[2:]
    assert shown == lines
    # The figure's own words.
    assert "≈" in PAGE.split(head)[1].split("\n\n")[1]


def test_what_the_target_is() -> None:
    asked = load("deployment", deployment.Settings, "default")
    assert f"is at {asked.target:g} of its start" in PAGE
