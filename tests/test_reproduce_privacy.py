"""The parts `privacy` and `leakage`: what they find and say, and that their checks can fail."""

import dataclasses
from typing import Any

import made_audits
import numpy as np
import pytest
from made_audits import BARE, HALF, OPEN, SHUT, cell, near
from test_reproduce_parts import looked_at, made, settings

from dpe_jax.errors import InputError
from dpe_jax.experiment import find_config
from dpe_jax.privacy.audit import Accuracy
from dpe_jax.privacy.leaks import EAVESDROPPER, GRANTED, NEIGHBOR
from dpe_jax.privacy.report import Report
from dpe_jax.reproduce import leakage, privacy
from dpe_jax.reproduce.part import SCALES
from dpe_jax.reproduce.privacy_words import sentence, why
from dpe_jax.reproduce.settings import load


@pytest.mark.parametrize("scale", SCALES)
def test_committed_settings_are_accepted(scale: Any) -> None:
    found = load("privacy", privacy.Settings, scale)
    simulation = privacy._simulation(found)
    assert list(simulation.algorithms) == list(found.shown)
    assert simulation.runs == found.runs
    assert load("leakage", leakage.Settings, scale).shown > 0


def test_settings_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="proposed"):
        settings("privacy", privacy, {"proposed": "signed-wide"})
    with pytest.raises(InputError, match="runs"):
        settings("privacy", privacy, {"runs": 20})


@pytest.mark.parametrize(
    ("errors", "score", "told"),
    [
        ({}, 3, "ciphertexts only"),
        (SHUT, 3, "nothing learned"),
        (HALF, 2, "state 0.50\ngradient 0.80"),
        ({**SHUT, "sign": 0.02}, 1, "signs 2 % wrong"),
        ({**SHUT, "mean": 0.02}, 1, "mean 0.02"),
        ({**SHUT, "state": 0.07}, 1, "state 0.07"),
        (OPEN, 0, "state 0.01\nsigns 0 % wrong"),
        (BARE, 0, "state < 0.01\ngradient < 0.01"),
    ],
)
def test_words_name_what_the_score_follows_from(errors: Any, score: int, told: str) -> None:
    one = cell("plain", NEIGHBOR, errors)
    assert one.scores.total == score
    assert why(one) == told


def test_a_sentence_has_the_intervals() -> None:
    told = sentence(cell("plain", GRANTED, HALF), states=False)
    assert "single gradients to 0.8 [0.79, 0.81]" in told
    assert "35 [34, 36] % of signs wrong" in told
    assert "state" not in told


PROPOSED = "plain"


def judged(audit: Any) -> dict[str, bool]:
    asked = settings("privacy", privacy, {})
    asked = asked.model_copy(update={"proposed": PROPOSED})
    report = Report("made", made_audits.simulation(), audit, ())
    return {check.name: check.passed for check in privacy._checks(report, report.simulation, asked)}


def falling(audit: Any, **accuracy: Any) -> Any:
    return dataclasses.replace(
        audit,
        accuracy=audit.accuracy | {PROPOSED: Accuracy("gap_mean_state", 30, 4e-4, 0, **accuracy)},
    )


def test_checks_fail_with_what_they_are_about() -> None:
    falls = "the proposed method's gap still falls at the end"
    public = "conventional DSGD: whoever listens has single gradients"
    fixed = "fixed: with the states single gradients come back"
    blind = "listening to encrypted links gives nothing to compute with"
    sound = judged(falling(made_audits.audit(), falls=near(0.5)))
    assert sound[falls]
    assert sound[public]
    assert sound[fixed]
    assert sound[blind]
    assert not judged(falling(made_audits.audit(), falls=near(0.1)))[falls]
    assert not judged(made_audits.audit())[falls]
    for name, (method, view, errors) in {
        public: ("conventional", EAVESDROPPER, HALF),
        fixed: ("fixed", GRANTED, HALF),
        blind: ("link", EAVESDROPPER, HALF),
    }.items():
        audit = made_audits.audit({(method, view): cell(method, view, errors)})
        assert not judged(falling(audit, falls=near(0.5)))[name]


def test_inversion_that_errs_otherwise_than_by_the_deviation_fails() -> None:
    title = "signed: inversion errs by the stepsizes' deviation ρ"
    for error, holds in ((3.0, True), (2.0, False), (4.5, False)):
        curve = made_audits.curve("inversion", 7, near(error))
        own = cell("signed", GRANTED, HALF, curves=[curve])
        assert judged(made_audits.audit({("signed", GRANTED): own}))[title] == holds


def test_claims_that_are_not_borne_out_are_told() -> None:
    asked = settings("privacy", privacy, {}).model_copy(update={"proposed": PROPOSED})
    rows = privacy._claims(falling(made_audits.audit(), falls=near(0.5)), asked)
    agrees = {row["criterion"]: row["agrees"] for row in rows}
    assert agrees["External eavesdroppers"]
    assert agrees["Exact convergence"]
    assert not agrees["Honest-but-curious agents"]
    told = privacy._differs(rows, asked)
    assert "Honest-but-curious agents 0 instead of 3" in told
    assert "External eavesdroppers" not in told
    assert "has 1024 runs of 2000 iterations where this audit has 128 of 300" in told
    whole = asked.model_copy(update={"runs": 1024, "iterations": 2000})
    assert "where this audit" not in privacy._differs(rows, whole)


def test_differential_privacy_has_its_price_beside_its_scores() -> None:
    asked = settings("privacy", privacy, {}).model_copy(
        update={
            "proposed": PROPOSED,
            "methods": {PROPOSED: "proposed", "conventional": "conventional DSGD"},
        }
    )
    simulation = made_audits.simulation()
    audit = made_audits.audit()
    private = find_config("audit").methods["tailored-dp"].build()
    budget = private.budget(simulation.network, simulation.problem.dim, simulation.iterations)
    assert budget is not None
    algorithms = {**simulation.algorithms, "conventional": private}
    changed = dataclasses.replace(simulation, algorithms=algorithms)
    end = {name: Accuracy("gap_mean_state", 30, gap, 0) for name, gap in GAPS.items()}
    audit = dataclasses.replace(audit, accuracy=audit.accuracy | end)
    claim, own, dp = privacy._rows(audit, changed, asked)
    assert (claim["epsilon"], claim["gap_times"]) == (None, None)
    assert (own["epsilon"], own["gap_times"]) == (None, 1.0)
    assert dp["epsilon"] == budget.total > 0
    assert dp["gap_times"] == 150.0
    told = privacy._price([claim, own, dp])
    assert f"conventional DSGD spends ε = {budget.total:.3g} and ends at 150 × the gap" in told


GAPS = {PROPOSED: 4e-4, "conventional": 6e-2}


@pytest.mark.slow
def test_a_small_audit(tmp_path: Any) -> None:
    methods = {"encrypted": "proposed", "conventional": "conventional DSGD"}
    others = dict.fromkeys(load("privacy", privacy.Settings, "quick").methods, "")
    changes = {"runs": 100, "iterations": 60, "methods": others | methods}
    found = made(privacy, settings("privacy", privacy, changes), tmp_path / "part")
    looked_at(found, tmp_path)
    scores = {row["method"]: row for row in found.tables[0].rows}
    assert scores["proposed"]["external"] == 3
    assert scores["proposed"]["curious"] == 0
    assert scores["conventional DSGD"]["external"] == 0
    assert all(check.passed for check in found.checks[:2])
    assert (tmp_path / "part" / "audit.json").is_file()


@pytest.mark.slow
def test_small_pictures(tmp_path: Any) -> None:
    # Four targets from three starts: the shape of other tests' pictures, so one program for all.
    search = {"iterations": 40, "restarts": 3}
    changes = {
        "targets": 4,
        "photographs": 3,
        "shown": 7,
        "search": search,
        "informed": search,
    }
    found = made(leakage, settings("leakage", leakage, changes), tmp_path / "part")
    looked_at(found, tmp_path)
    passed = {check.name: check.passed for check in found.checks}
    assert passed["pictures come back from a plaintext exchange"]
    assert passed["ciphertexts give no picture"]
    assert len(found.drawings[0].rows) == 7 * 4
    digits, photographs = (drawn.caption for drawn in found.drawings)
    assert "1 ± 4: multipliers uniform from −3 to 5" in digits
    assert "Rows: " not in digits
    assert "Rows: " in photographs
    assert "atching" not in photographs
    assert "nformed" not in photographs
    for caption in (digits, photographs, found.tables[0].caption):
        assert "PSNR is given up to 200 dB" in caption
        assert "MSE below 1e-6" in caption
    exact = [row for row in found.drawings[1].rows if "conventional" in row["view"]]
    assert all(row["psnr_db"] <= 200 for row in exact)


def test_medians_have_intervals_over_targets() -> None:
    values = np.random.default_rng(1).normal(20.0, 2.0, 50)
    found = leakage._median(values, 0)
    assert found.value == np.median(values)
    assert found.low < 20.0 < found.high
    assert found.high - found.low < 3.0
    assert leakage._median(np.array([np.inf, 10.0, np.nan]), 0).value == 10.0
    assert leakage._median(np.array([np.inf, 300.0, 10.0]), 0).value == 200.0


def test_leakage_checks_fail_with_what_they_are_about() -> None:
    def row(kind: str, key: str, exact: int, recognisable: int, psnr: float) -> dict[str, Any]:
        return {
            "pictures": kind,
            "key": key,
            "attack": "matching",
            "targets": 9,
            "exact": exact,
            "recognisable": recognisable,
            "psnr": psnr,
            "psnr_low": psnr - 1,
            "psnr_high": psnr + 1,
        }

    sound = [
        row("digits", "conventional", 9, 9, 140.0),
        row("photographs", "conventional", 9, 9, 140.0),
        row("digits", "other", 0, 0, 8.0),
        row("digits", "ciphertexts", 0, 0, 4.0),
        row("photographs", "ciphertexts", 0, 0, 4.0),
        row("digits", "levels", 0, 0, 15.0),
        row("digits", "levels, informed", 0, 9, 33.0),
    ]
    chance = {"digits": 11.5, "photographs": 10.0}
    assert all(check.passed for check in leakage._checks(sound, chance))
    wrong = {0: {"exact": 8}, 2: {"recognisable": 1}, 4: {"psnr": 10.5}, 6: {"psnr_low": 14.0}}
    for failing, (place, change) in enumerate(wrong.items()):
        rows = [one | (change if number == place else {}) for number, one in enumerate(sound)]
        passed = [check.passed for check in leakage._checks(rows, chance)]
        assert passed == [number != failing for number in range(4)]


def test_photographs_are_not_nearly_of_one_colour() -> None:
    asked = settings("leakage", leakage, {"photographs": 6})
    chosen = leakage._patches(asked)
    assert len(chosen.labels) == 6
    assert (chosen.values.std(axis=1) >= 0.15).all()
