"""The sentences of docs/accuracy.md say what its tables' files hold; test_readme has the tables."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dpe_jax import experiment

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8").split())
TUNED = ("hospitals", "digits", "sensors", "fraud")
PRESETS = ("five-agents", *TUNED)


def report(preset: str) -> dict[str, Any]:
    path = ROOT / "results" / "accuracy" / f"{preset}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def price(preset: str) -> dict[str, Any]:
    return report(preset)["methods"]["encrypted"]["price"]


def attenuation(preset: str) -> dict[int, float]:
    """The price of attenuation and quantization over k."""
    factors = price(preset)["attenuation_and_quantization"]
    ratios = [factor["ratio"] for factor in factors]
    return dict(zip(report(preset)["iterations"], ratios, strict=True))


def brief(value: float) -> str:
    """Two digits, as 1.9e-4."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def test_a_larger_stepsize_ends_lower_after_an_excursion() -> None:
    path = ROOT / "results" / "tuning" / "sensors.csv"
    with path.open(encoding="utf-8") as lines:
        found = [row for row in csv.DictReader(lines) if row["method"] == "conventional"]
    (chosen,) = (row for row in found if row["chosen"] == "1")
    scale = float(chosen["stepsize.scale"])
    (larger,) = (row for row in found if float(row["stepsize.scale"]) == 3 * scale)
    assert larger["out"] == "overshoots"
    assert (
        f"conventional DSGD with three times the stepsize ends at {brief(float(larger['gap']))} "
        f"instead of {brief(float(chosen['gap']))} (`results/tuning/sensors.csv`)"
    ) in TEXT


def test_which_price_is_the_larger() -> None:
    larger, alike = [], []
    for preset in PRESETS:
        found = price(preset)
        split, random = (
            found[of][-1] for of in ("attenuation_and_quantization", "random_stepsizes")
        )
        if random["low"] > split["high"]:
            larger.append(preset)
        elif random["high"] > split["low"]:
            alike.append(preset)
    assert (
        f"Random stepsizes are the larger price on `{', '.join(larger)}`, both are alike on "
        f"`{', '.join(alike)}`, and attenuation is the larger one elsewhere"
    ) in TEXT


def test_where_attenuation_helps() -> None:
    below = [k for k, ratio in attenuation("fraud").items() if ratio < 1]
    assert below == list(attenuation("fraud"))[: len(below)]
    assert f"On `fraud` attenuation helps at first (below 1 up to k = {below[-1]})." in TEXT


def test_how_the_price_of_attenuation_grows() -> None:
    tables = experiment.presets()["five-agents"].model_dump(mode="json")["methods"]["encrypted"]
    a, b = (tables[schedule]["exponent"] for schedule in ("gamma", "stepsize"))
    assert 10 ** (2 * a - b) == pytest.approx(2, abs=0.05)
    found = attenuation("five-agents")
    first = next(k for k in found if k > report("five-agents")["iterations"][-1] / 12)
    last = list(found)[-1]
    assert last / first == pytest.approx(10, rel=0.01)
    assert (
        f"twofold for ten times k in `five-agents`, where a = {a:g} and b = {b:g}. Measured from "
        f"k = {first} to {last}: {found[first]:.2f} to {found[last]:.2f}."
    ) in TEXT


def test_where_the_variance_along_the_path_is_right() -> None:
    right = []
    for preset in PRESETS:
        found = price(preset)
        measured, along = found["variance"], found["along_path"]
        ratios = [along[of] / measured[of] for of in ("encrypted", "conventional", "ratio")]
        if max(abs(ratio - 1) for ratio in ratios) < 0.1:
            right.append(f"`{preset}`")
    assert f"In {' and '.join(right)} it is right to a tenth, elsewhere it is not" in TEXT


def test_what_differential_privacy_spends() -> None:
    (epsilon,) = {
        float(f"{report(preset)['methods'][name]['budget']['total']:.2g}")
        for preset in TUNED
        for name in ("geometric-dp", "tailored-dp")
    }
    assert f"`GeometricDP` and `TailoredDP` spend ε = {epsilon:.0f} in the presets" in TEXT
