"""docs/certificate.md states the rule and the preset as the program has them."""

import json
import re
from pathlib import Path

import numpy as np

from dpe_jax import certificate, convergence, experiment
from dpe_jax.timeline import record_points

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "certificate.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
WORDS = {0.5: "half", 3: "three", 4: "four", 8: "eight"}


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def test_what_is_measured() -> None:
    told = (
        f"at most {WORDS[convergence._PER_OCTAVE]} in which k doubles",
        f"at `--confidence`, {percent(certificate.CONFIDENCE)} by default",
    )
    assert [text for text in told if text not in TEXT] == []


def test_the_fit_begins_at_a_hundredth() -> None:
    k = record_points(10_000, 120, "log")
    noise = np.random.default_rng(0).uniform(0.9, 1.1, (k.size, 20))
    peaks = ((k[:, None] + 1.0) ** -0.4 * noise).astype(np.float32)
    found = certificate.certify(k, peaks, epsilon=[0.5]).fitted
    assert found is not None
    (share,) = (int(n) for n in re.findall(r"of the peaks from K/(\d+)", TEXT))
    ends = convergence.windows(k, peaks).last
    assert found.first == ends[ends >= 10_000 // share][0]


def test_the_rule() -> None:
    tail, level = certificate.TAIL, percent(certificate.LEVEL)
    fall = 1 - tail**-certificate.LEAST_RATE
    told = (
        f"*It is settled by K/{tail}.*",
        f"(the last window that begins by K/{tail}) the upper bound is at most {level}",
        f"is {WORDS[tail - 1]} times as long as all before it",
        f"The least m that meets the {level} (`settles_from`)",
        f"The lower bound of β is above {WORDS[certificate.SHARE]} of the predicted exponent",
        f"β > {certificate.LEAST_RATE:g} is asked: {percent(fall)} over the tail",
        f"with the stated confidence at most {level} of all runs of these settings",
    )
    assert [text for text in told if text not in TEXT] == []


def test_how_many_runs_it_takes() -> None:
    none = np.zeros(1, np.int64)
    runs = next(
        n
        for n in range(1, 1000)
        if convergence.clopper_pearson(none, n, certificate.CONFIDENCE).upper <= certificate.LEVEL
    )
    confidence = percent(certificate.CONFIDENCE)
    assert f"With {confidence} confidence this takes {runs} runs, none of which exceeds ε." in TEXT


def test_the_preset() -> None:
    asked, presets = experiment.find_config("certify"), experiment.presets()
    tables = asked.model_dump(mode="json")["methods"]
    assert asked.methods["encrypted"] == presets["five-agents"].methods["encrypted"]
    coarse = tables["coarse-grid"]["delta"] / tables["encrypted"]["delta"]
    controls = asked.checks.refused or []
    (epsilon,) = asked.checks.certify or []
    equal = tables["equal-decay"]
    one = {"kind": "power", "scale": 1.0, "exponent": 1.0, "offset": 1.0}
    assert equal["gamma"] == equal["stepsize"] == one
    told = (
        f"for {asked.iterations:,} iterations, {asked.runs} runs, on the grid of `five-agents` and "
        f"on one {coarse:g} times as coarse, and {WORDS[len(controls)]} controls",
        "γ = λ = 1/(k + 1)",
        f"ε is {epsilon:g} e_0.",
    )
    assert [text for text in told if text not in TEXT] == []


def test_how_far_controls_stay() -> None:
    source = (ROOT / "tests" / "test_certify_command.py").read_text(encoding="utf-8")
    (runs,) = re.findall(r'preset\(\), \{"runs": (\d+)\}', source)
    (least,) = re.findall(r'"final_peak_error"\] > ([\d.]+) \* verdict', source)
    assert f"runs the preset with {runs} runs" in TEXT
    assert f"every control is at least {least} ε from x*, with all its runs beyond ε" in TEXT
    path = ROOT / "results" / "runs" / "certify" / "certificate.json"
    found = json.loads(path.read_text(encoding="utf-8"))["methods"].values()
    for control in (method for method in found if method["control"]):
        (verdict,) = control["epsilon"]
        assert control["final_peak_error"] > float(least) * verdict["threshold"]
        assert verdict["tail_exceeding"] == control["runs"]
