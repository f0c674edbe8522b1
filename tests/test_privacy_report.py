"""What is said of an audit follows from its numbers, and only from them."""

import dataclasses
import json
import re

import numpy as np
import pytest
from made_audits import (
    BARE,
    HALF,
    METHODS,
    OPEN,
    SHUT,
    VIEWS,
    audit,
    cell,
    curve,
    informed,
    near,
    simulation,
)

from dpe_jax.algorithms import (
    ConventionalDSGD,
    FunctionSharing,
    RandomizedStateSharing,
    TernaryDSGD,
)
from dpe_jax.folder import jsonable
from dpe_jax.privacy import findings
from dpe_jax.privacy.audit import Accuracy, Audit
from dpe_jax.privacy.information import Status
from dpe_jax.privacy.intervals import Estimate
from dpe_jax.privacy.leaks import (
    EAVESDROPPER,
    EVERYONE,
    GRANTED,
    NEIGHBOR,
    bound_checks,
    costs,
    leak_rows,
    plain_variant,
    verdict,
)
from dpe_jax.privacy.pareto import Price, front, plain_bytes, prices
from dpe_jax.privacy.report import Part, Report, cell_lines, markdown, rounded, scored, table
from dpe_jax.privacy.scores import Leak
from dpe_jax.schedules import PowerLaw


def said(found: Audit, pattern: str) -> list[str]:
    """The findings in which a pattern is."""
    return [text for text in findings.findings(found, simulation()) if re.search(pattern, text)]


def test_signs_are_said_to_leak_where_they_do() -> None:
    (text,) = said(audit(), "^Signs of gradients come out to one neighbor")
    assert "plain (0 % [-1, 1] of them wrong at k = 7, 0 % in the median" in text
    assert "signed" not in text
    assert text.endswith(": no multiplier is negative.")
    # Link factors hide them from one neighbor only.
    (text,) = said(audit(), "^Signs of gradients come out to the coalition")
    assert re.findall(r"(\w+) \(", text) == ["link"]
    hidden = {(name, view): cell(name, view, HALF) for name in METHODS for view in VIEWS}
    assert said(audit(hidden), "^Signs of gradients come out") == []


def test_negative_multipliers_are_no_reason_for_signs_that_leak() -> None:
    odd = {("signed", GRANTED): cell("signed", GRANTED, OPEN)}
    (text,) = said(audit(odd), "come out to whoever is granted")
    assert "signed (" in text
    assert "negative" not in text


@pytest.mark.parametrize(
    ("slope", "like"),
    [(near(-0.5), True), (near(-0.48), True), (near(-0.3, 0.02), False), (near(-0.4, 0.2), False)],
)
def test_averages_are_like_one_over_the_root_where_the_slope_is(slope: Estimate, like) -> None:
    own = {("plain", GRANTED): cell("plain", GRANTED, OPEN, slope)}
    (text,) = said(audit(own), "^plain: granted the states, averages")
    assert ("like 1/√T" in text) == like
    assert f"slope {slope.value:.3g} [{slope.low:.3g}, {slope.high:.3g}]" in text


def test_averages_that_come_no_nearer_are_not_mentioned() -> None:
    for slope in (near(0.0), near(0.2), None):
        own = {("plain", GRANTED): cell("plain", GRANTED, OPEN, slope)}
        assert said(audit(own), "^plain: granted the states, averages") == []
    # Nothing random, nothing to average away.
    assert said(audit(), "^fixed: granted the states, averages") == []


def test_inversion_is_beside_what_theory_leaves() -> None:
    (text,) = said(audit(), "^plain: granted the states, whoever knows the mean")
    # ρ² = 1/3: ρ = 0.577 and √(ρ²/(1 + ρ²)) = ½, as was given.
    assert "by 0.5 in the median over iterations (0.577 predicted, which 0 of 1 intervals" in text
    assert "too, by 0.5 in the median over iterations (0.5 predicted, which 1 of 1" in text
    (text,) = said(audit(), "^signed: granted the states, whoever knows the mean")
    assert f"({np.sqrt(0.9):.3g} predicted, which 0 of 1 intervals" in text
    (text,) = said(audit(), "^fixed: granted the states, single gradients come back")
    assert "nothing random is in its stepsizes" in text
    back = {("plain", GRANTED): cell("plain", GRANTED, BARE)}
    (text,) = said(audit(back), "^plain: granted the states, single gradients come back")
    assert "nothing random" not in text


def test_states_are_said_to_be_known_to_whom_they_are() -> None:
    (text,) = said(audit(), "^plain: with public weights one neighbor")
    # δ = 2⁻⁷ is less than the error 0.01 + 0.01.
    assert "to 0.01 [0, 0.02], the guess being 1 off" in text
    finer = {("plain", NEIGHBOR): cell("plain", NEIGHBOR, {**OPEN, "state": -0.005})}
    (text,) = said(audit(finer), "^plain: with public weights one neighbor")
    assert "to within δ = 0.00781" in text
    (text,) = said(audit(), "^link: ")[-1:]
    assert "private factors a link leave one neighbor a guess" in text
    assert "(reply) is 0.50 of a guess's; but" in text
    assert "the coalition of all neighbors has the state" in text
    (text,) = said(audit(), "^coordinate: private factors")
    assert "for each coordinate close the state against one neighbor: the best attack's" in text
    safe = {("coordinate", view): cell("coordinate", view, SHUT) for view in (NEIGHBOR, EVERYONE)}
    (text,) = said(audit(safe), "^coordinate: with private factors")
    assert "nothing that was tried gives even the coalition of all neighbors the state" in text
    assert "1.00 of a guess's" in text


def test_what_closes_a_leak_and_at_what_price() -> None:
    (text,) = said(audit(), "^States against one neighbor")
    assert text == (
        "States against one neighbor: closed by coordinate (error 1.00 of chance; ×5 the "
        "plain variant's, ×20 conventional)."
    )
    (text,) = said(audit(), "^States against the coalition")
    assert text.endswith("no encrypted variant in this audit closes this leak.")
    (text,) = said(audit(), "^Signs of gradients against the coalition")
    assert "narrowed, but not closed, by signed (35.0% wrong; ×2.5 the plain" in text
    # What does not leak under the plain variant needs nothing to close it.
    closed = {("plain", view): cell("plain", view, SHUT) for view in VIEWS}
    assert said(audit(closed), "closes this leak|closed by|not closed") == []


def test_the_wire() -> None:
    blind, reading = findings.wire(audit(), simulation())
    assert "ciphertexts of plain, signed, link, coordinate and fixed," in blind
    assert reading == "Under conventional whoever only listens gets single gradients back."
    safe = {("conventional", EAVESDROPPER): cell("conventional", EAVESDROPPER, SHUT)}
    assert "less than 10 % better than chance" in findings.wire(audit(safe), simulation())[-1]


def test_verdicts() -> None:
    rows = {(row.secret, row.view): row for row in leak_rows(audit(), simulation())}
    assert rows["state", NEIGHBOR].of("open") == ("plain", "signed")
    assert rows["state", NEIGHBOR].of("narrowed") == ("link",)
    assert rows["state", NEIGHBOR].of("closed") == ("coordinate",)
    assert rows["sign", GRANTED].of("narrowed") == ("signed", "coordinate")
    # An interval that reaches to chance closes nothing.
    wide = {"gradient": Leak("inversion", 7, Estimate(0.6, 0.3, 1.1), 1.0, "relative")}
    own = cell("plain", GRANTED, OPEN)
    own = dataclasses.replace(own, scores=dataclasses.replace(own.scores, **wide))
    assert verdict(own, "gradient") == "narrowed"
    # Without random stepsizes there is nothing to close.
    assert all("fixed" not in row.verdicts for row in rows.values())
    assert plain_variant({}) is None


def test_costs() -> None:
    found = costs(audit(), simulation())
    assert found["signed"].times_plain == pytest.approx(2.5)
    assert found["signed"].times_conventional == pytest.approx(10)
    lost = audit()
    lost.accuracy["conventional"] = Accuracy("gap_mean_state", 30, np.inf, 64)
    assert costs(lost, simulation())["signed"].times_conventional is None


def bounded(error: Estimate, status: Status = "measured") -> Audit:
    """Bounds of 0.09 and 0.16 on coordinates of power 1: 0.354 relative to both."""
    found = (3, (informed(near(0.09), 1.0, status), informed(near(0.16), 1.0)))
    curves = [curve("inversion", 3, near(0.9)), curve("scaled", 3, error), curve("sign", 3, error)]
    own = cell("plain", GRANTED, OPEN, None, curves, [found])
    return audit({("plain", GRANTED): own})


def test_the_entropy_bound_beside_the_attacks() -> None:
    (check,) = bound_checks(bounded(near(0.4)), 2)
    assert check.bound.value == pytest.approx(np.sqrt(0.25 / 2))
    assert (check.attack, check.iteration, check.holds) == ("scaled", 3, True)
    assert "in 1 of 1 comparisons" in findings.bounds((check,))[0]
    (check,) = bound_checks(bounded(near(0.35)), 2)
    assert check.holds
    (check,) = bound_checks(bounded(near(0.3)), 2)
    assert not check.holds
    told = findings.bounds((check,))
    assert "in 0 of 1 comparisons" in told[0]
    assert told[1].startswith("BELOW THE BOUND: plain, states granted, k = 3")


def test_bounds_that_are_not_known_are_not_compared() -> None:
    assert bound_checks(bounded(near(0.0), "at least"), 2) == ()
    # Two coordinates of three say nothing of the error over all.
    assert bound_checks(bounded(near(0.0)), 3) == ()
    assert "not compared" in findings.bounds(())[0]


def report(found: Audit, parts: tuple[Part, ...] = ()) -> Report:
    made = simulation()
    return Report("made", made, found, prices(made, found), parts)


def test_claims_are_beside_the_scores() -> None:
    claims = {(c.criterion, c.method): c for c in report(audit()).claims}
    assert claims["External eavesdroppers", "plain"].agrees
    assert claims["Colluding neighbors", "plain"].measured == 0
    assert not claims["Colluding neighbors", "plain"].agrees
    page = markdown(report(audit()), [])
    assert "- plain: measured below the claim in Honest-but-curious agents 0 instead of 3" in page
    safe = {(n, v): cell(n, v, SHUT) for n in METHODS for v in VIEWS}
    page = markdown(report(audit(safe)), [])
    assert "below the claim" not in page
    assert "- plain: no measured score is below its claim." in page


def test_the_page_is_whole() -> None:
    part = Part("more", "More", {"a": 1}, ("Text of it.",), ("It was found.",))
    made = report(bounded(near(0.4)), (part,))
    page = markdown(made, ["scores"])
    for text in (*made.findings, "Text of it.", "![scores](figures/scores.png)"):
        assert text in page
    assert made.findings[-1] == "It was found."
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({line.count(" | ") for line in block.splitlines()}) == 1
    assert table([["a|b"], ["c"]]) == ["| a\\|b |", "| --- |", "| c |"]
    plain = made.to_dict()
    assert json.loads(json.dumps(jsonable(plain), allow_nan=False)) == plain
    assert plain["more"] == {"a": 1}
    assert "curves" in plain["cells"][0]
    assert "curves" not in made.to_dict(curves=False)["cells"][0]
    assert rounded([0.123456789, {"a": 7}]) == [0.123457, {"a": 7}]


def test_cells() -> None:
    found = audit()
    assert cell_lines(found.cell("plain", EAVESDROPPER)) == ["3", "nothing to attack"]
    score, gradient, sign, mean, state = cell_lines(found.cell("signed", NEIGHBOR))
    assert (score, sign, mean, state) == (
        *("0", "± 35.0 [34.0, 36.0] % wrong at 7"),
        *("mean 0.40 [0.39, 0.41]", "x 0.01 [0.00, 0.02]"),
    )
    assert gradient == "g 0.80 [0.79, 0.81] at 7"
    advantage = Estimate(0.07, 0.01, 0.13)
    assert cell_lines(found.cell("plain", EAVESDROPPER), advantage)[1] == (
        "ciphertexts 0.07 [0.01, 0.13]"
    )
    # The states are given, which is no leak of them.
    own = found.cell("signed", GRANTED)
    assert own.scores.total == 0
    assert scored(own) == 2
    assert cell_lines(own)[-1] == "x given"


def test_the_front_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(0, 4, (12, 3)).astype(float)
        values[rng.random((12, 3)) < 0.05] = np.inf
        expected = [
            not any(
                all(a <= b for a, b in zip(other, own, strict=True))
                and any(a < b for a, b in zip(other, own, strict=True))
                for other in values.tolist()
            )
            for own in values.tolist()
        ]
        assert front(values).tolist() == expected
    # Equal points stay, and so does the best in one criterion alone.
    assert front(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])).tolist() == [
        *(True, True, True, False)
    ]


def test_prices() -> None:
    found = {price.method: price for price in prices(simulation(), audit())}
    assert found["plain"].leakage == pytest.approx((0.5, 0.49, 0.51))
    assert found["plain"].state_leakage.value == pytest.approx(0.99)
    assert found["plain"].cpu_seconds is None
    # 16 directed links, two messages each, a ciphertext of 2 · 2048 bits.
    assert found["plain"].bytes == 16 * 2 * 512
    # Conventional DSGD sends least and is best, so it is dominated only if it leaked no less.
    assert not found["conventional"].dominated
    assert found["conventional"].leakage.value == 1
    assert found["link"].dominated == found["plain"].dominated
    worse = dataclasses.replace(audit().accuracy["link"], median=1.0)
    other = audit()
    other.accuracy["link"] = worse
    assert {p.method: p for p in prices(simulation(), other)}["link"].dominated
    assert all(isinstance(price, Price) for price in found.values())


def test_bytes_in_plaintext() -> None:
    stepsize, made = PowerLaw(0.5, 0.9), simulation()
    # 8 links, both directions, 2 coordinates.
    assert plain_bytes(ConventionalDSGD(stepsize), made) == 32 * 8
    assert plain_bytes(TernaryDSGD(stepsize, PowerLaw(0.3, 0.6), 8.0), made) == 32 * 2 / 8
    assert plain_bytes(RandomizedStateSharing(stepsize, 1.0), made) == 32 * 16
    shares = plain_bytes(FunctionSharing(stepsize, 1.0), made)
    assert shares * made.iterations == pytest.approx(32 * 8 * (made.iterations + 1))
