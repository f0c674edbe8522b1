"""Presets are what the sweep chose, and the sweep chooses the best that does not fail."""

import csv
import importlib
import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
from small import SMALL

# Not `import tune`: scripts/ is on the path in pytest only, where type checkers do not look.
tune = importlib.import_module("tune")
pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")

ROOT = Path(__file__).parent.parent
SWEPT = ("digits", "fraud", "hospitals", "sensors")


def value(table: dict, key: str):
    for part in key.split("."):
        table = table[part]
    return table


@pytest.mark.parametrize("preset", SWEPT)
def test_a_preset_is_what_its_sweep_chose(preset: str) -> None:
    text = (ROOT / "dpe_jax" / "presets" / f"{preset}.toml").read_text(encoding="utf-8")
    methods = tomllib.loads(text)["methods"]
    with (ROOT / "results" / "tuning" / f"{preset}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["chosen"] == "1"]
    assert [row["method"] for row in chosen] == list(methods)
    for row in chosen:
        settings = {key for key in row if row[key]} - {"method", "gap", "out", "chosen"}
        assert settings
        for key in settings:
            assert value(methods[row["method"]], key) == float(row[key])
        better = [
            other
            for other in rows
            if other["method"] == row["method"]
            and not other["out"]
            and float(other["gap"]) < float(row["gap"])
        ]
        # What fails among as many runs as the preset has is passed over: a ternary range too short.
        assert not better or row["method"] == "ternary"


LAW = {"scale": 1.0, "exponent": 0.8}
TABLES = {
    "name": "small",
    "runs": 24,
    "iterations": 40,
    "network": SMALL["network"],
    "problem": SMALL["problem"],
    "methods": {
        "conventional": {"method": "ConventionalDSGD", "stepsize": LAW},
        "ternary": {
            "method": "TernaryDSGD",
            "gamma": LAW | {"exponent": 0.55},
            "stepsize": LAW,
            "range": 4.0,
        },
        "geometric": {
            "method": "GeometricDP",
            "c": 1.0,
            "q": 0.5,
            "M": 1.0,
            "p": 0.75,
            "radius": 10.0,
            "gradient_bound": 1.0,
            "clip": True,
        },
    },
}


@pytest.mark.slow
def test_a_sweep_goes_on_while_the_best_is_at_an_end(monkeypatch) -> None:
    monkeypatch.setattr(tune, "SCALES", (0.001, 0.01))
    tried = tune.sweep(tune.study_of(TABLES, 4), "conventional")
    scales = [one.scale for one in tried]
    best = tune.best_of(tried)
    assert min(scales) < best.scale < max(scales)
    assert best.gap == min(one.gap for one in tried if not one.out)
    assert max(scales) > 0.05
    monkeypatch.setattr(tune, "MOST_BEYOND", 0)
    assert len(tune.sweep(tune.study_of(TABLES, 4), "conventional")) == 2


@pytest.mark.slow
def test_a_candidate_in_which_a_run_fails_is_out(monkeypatch) -> None:
    """Beyond the range of ternary messages, and with a stepsize that diverges."""
    monkeypatch.setattr(tune, "SCALES", (0.3, 100.0))
    monkeypatch.setattr(tune, "MOST_BEYOND", 0)
    study = tune.study_of(TABLES, 4)
    tried = tune.sweep(study, "ternary")
    assert len(tried) == 2 * len(tune.RANGES) * len(tune.GAMMAS)
    assert all(one.out == "failed" for one in tried if one.scale == 100.0)
    assert not any(one.out for one in tried if one.scale == 0.3)
    assert tune.best_of(tried).scale == 0.3
    sound = tune.Candidate(0.3, {"stepsize": {"scale": 0.3}}, 0.1)
    failing = [tune.Candidate(1e4, {"stepsize": {"scale": 1e4}}, 1e-9)]
    assert tune.confirmed(study, "conventional", [*failing, sound]) is sound
    with pytest.raises(SystemExit, match="every candidate failed"):
        tune.confirmed(study, "conventional", failing)


def test_a_candidate_that_overshoots_is_out(monkeypatch) -> None:
    """Stepsizes at first too large: far away before they bring x back."""
    monkeypatch.setattr(tune, "SCALES", (8.0,))
    monkeypatch.setattr(tune, "MOST_BEYOND", 0)
    study = tune.study_of(TABLES | {"iterations": 400}, 4)
    (one,) = tune.sweep(study, "conventional")
    assert one.out == "overshoots"
    assert one.gap < 0.1
    monkeypatch.setattr(tune, "OVERSHOOT", 1e9)
    (one,) = tune.sweep(study, "conventional")
    assert not one.out


@pytest.mark.slow
def test_laplace_noise_spends_the_budget_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(tune, "SCALES", (1.0,))
    monkeypatch.setattr(tune, "MOST_BEYOND", 0)
    study = tune.study_of(TABLES, 2)._replace(epsilon=50.0)
    method, network = TABLES["methods"]["geometric"], study.simulation.network
    for one in tune.sweep(study, "geometric"):
        table = tune.merged(method, one.changes)
        built = tune.parse(TABLES | {"methods": {"m": table}}).methods["m"].build()
        spent = built.budget(network, study.simulation.problem.dim, 40).total
        # Three digits of the scale are kept.
        assert 50 * 0.99 < spent <= 50


def test_rows_name_every_setting_and_the_one_that_won() -> None:
    tried = [
        tune.Candidate(1.0, {"stepsize": {"scale": 1.0}, "range": 4.0}, np.nan, "failed"),
        tune.Candidate(4.0, {"stepsize": {"scale": 4.0}, "range": 4.0}, 0.125, "overshoots"),
        tune.Candidate(2.0, {"stepsize": {"scale": 2.0}, "range": 4.0}, 0.25),
    ]
    file = io.StringIO()
    tune.write_rows(file, tune.rows({"m": tried}, {"m": tried[2]}))
    assert file.getvalue().splitlines() == [
        "method,stepsize.scale,range,gap,out,chosen",
        "m,1.0,4.0,,failed,0",
        "m,4.0,4.0,0.125,overshoots,0",
        "m,2.0,4.0,0.25,,1",
    ]
