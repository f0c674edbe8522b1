"""The measured privacy table beside the article's claims, from a reduced audit."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from dpe_jax import experiment
from dpe_jax.config import parse
from dpe_jax.fields import wrong
from dpe_jax.folder import AUDIT, write_json
from dpe_jax.privacy.audit import LEAST_RUNS, Audit, Cell, audit
from dpe_jax.privacy.leaks import EAVESDROPPER, EVERYONE, GRANTED, NEIGHBOR, conventional, hides
from dpe_jax.privacy.leaks import encrypted as encrypted_methods
from dpe_jax.privacy.report import Report
from dpe_jax.privacy.scores import RECOVERED
from dpe_jax.reproduce import part
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.reproduce.privacy_words import STILL, boxes, over, rule, sentence, shown, times, why
from dpe_jax.reproduce.shown import finite
from dpe_jax.simulation import Simulation
from dpe_jax.summary import Check

TITLE = "The privacy table, measured"
SOURCE = (
    "The article's table “Privacy Protection: Proposed vs. Prior Approaches”, scored 0–3 after "
    "Section 1 of the paper; it has the proposed method only, with 3 throughout"
)

CRITERIA: dict[str, tuple[str, str]] = {
    "external": ("External eavesdroppers", EAVESDROPPER),
    "curious": ("Honest-but-curious agents", NEIGHBOR),
    "colluding": ("Colluding neighbors", EVERYONE),
    "trust": ("No trusted neighbor needed", EVERYONE),
}
"""Key, name and view of the article's criteria but the last."""

_CONVERGENCE = "Exact convergence"
_CLAIMED = 3
"""The article's score of the proposed method, by each criterion."""

_HOLDING = 0.8
"""What share of 95 % intervals has to hold what theory predicts, at least."""

Row = dict[str, Any]


class Settings(part.Settings):
    """What is audited."""

    preset: str
    runs: int = Field(ge=LEAST_RUNS)
    iterations: int = Field(ge=30)
    target_agent: NonNegativeInt
    proposed: str
    """The method that the article scores."""
    methods: dict[str, str] = Field(min_length=1)
    """Names in the preset, and how they are shown; those without are left out."""

    @property
    def shown(self) -> dict[str, str]:
        """The methods that are audited."""
        return {name: label for name, label in self.methods.items() if label}

    @model_validator(mode="after")
    def _has_the_proposed(self) -> "Settings":
        if self.proposed not in self.shown:
            raise wrong("proposed", self.proposed, f"one of {', '.join(self.shown)}")
        return self


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Audit, score, and set the scores beside the claims."""
    simulation = _simulation(settings)
    found = audit(
        simulation,
        target=settings.target_agent,
        progress=work.progress(len(simulation.algorithms)),
    )
    report = Report(settings.preset, simulation, found, ())
    write_json(folder / AUDIT, report.to_dict(curves=False), compact=True)
    rows = _rows(found, simulation, settings)
    sample = (
        f"{settings.runs} runs of {settings.iterations} iterations, n = "
        f"{simulation.network.agents}, d = {simulation.problem.dim}, agent {found.target}"
    )
    priced = f"{_price(rows)} {_reduced(settings)}".strip()
    claims = _claims(found, settings)
    return Made(
        [_drawing(rows, sample, priced)],
        [_scores(rows, sample, priced), _claimed(claims, sample)],
        _checks(report, simulation, settings),
        _differs(claims, settings),
    )


def _simulation(settings: Settings) -> Simulation:
    tables = experiment.find_config(settings.preset).model_dump(mode="json", exclude_none=True)
    for name in settings.shown:
        if name not in tables["methods"]:
            raise wrong("methods", name, f"some of {', '.join(tables['methods'])}")
    methods = {name: tables["methods"][name] for name in settings.shown}
    changes = {"runs": settings.runs, "iterations": settings.iterations, "seed": settings.seed}
    return parse(tables | changes | {"methods": methods, "checks": {}}).build()


def _rows(found: Audit, simulation: Simulation, settings: Settings) -> list[Row]:
    """A row for each method, the article's claim first."""
    claim = dict.fromkeys((*CRITERIA, "converges"), _CLAIMED)
    nothing = {f"{key}_why": "" for key in claim} | {"epsilon": None, "gap_times": None}
    rows: list[Row] = [{"method": "proposed (the article's claim)", **claim, **nothing}]
    own = found.accuracy[settings.proposed].median
    for name, label in settings.shown.items():
        gap = found.accuracy[name].median
        times = finite(gap / own) if own > 0 else None
        row: Row = {"method": label, "epsilon": _spent(simulation, name), "gap_times": times}
        for key, (_, view) in CRITERIA.items():
            cell = found.cell(name, view)
            row |= {key: cell.scores.total, f"{key}_why": why(cell)}
        rows.append(row | _converges(found, name))
    return rows


def _spent(simulation: Simulation, name: str) -> float | None:
    """The ε of differential privacy that a method spends in the audited run, if it is of that."""
    budget = simulation.algorithms[name].budget(
        simulation.network, simulation.problem.dim, simulation.iterations
    )
    return None if budget is None else budget.total


def _price(rows: list[Row]) -> str:
    """What scores do not say of differential privacy: its budget, and its accuracy."""
    spent = [
        f"{row['method']} spends ε = {row['epsilon']:.3g}"
        + ("" if row["gap_times"] is None else f" and ends at {times(row['gap_times'])} the gap")
        for row in rows
        if row["epsilon"] is not None
    ]
    return (
        "Gap: the median of F(x̄) − F* at the end, times that of the proposed method. "
        + (
            f"Differential privacy (DP) has its price: {'; '.join(spent)} (an ε above 10 "
            "guarantees next to nothing). "
            if spent
            else ""
        )
    ).strip()


def _reduced(settings: Settings) -> str:
    """How the audit differs in size from that of the preset, and what that does to scores."""
    whole = experiment.find_config(settings.preset)
    if (whole.runs, whole.iterations) == (settings.runs, settings.iterations):
        return ""
    return (
        f"The command “dpe audit {settings.preset}” has {whole.runs} runs of {whole.iterations} "
        f"iterations where this audit has {settings.runs} of {settings.iterations}; since upper "
        "ends of intervals count, fewer runs can look more private, and a score may depend on the "
        "length, so that single scores differ."
    )


def _converges(found: Audit, name: str) -> Row:
    own = found.accuracy[name]
    if own.falls is None:
        return {"converges": 0, "converges_why": f"{own.failed} runs failed"}
    falls = own.falls.low > STILL
    told = f"falls, β = {own.falls.value:.2f}" if falls else "does not fall"
    return {"converges": _CLAIMED if falls else 0, "converges_why": told}


def _claims(found: Audit, settings: Settings) -> list[Row]:
    """What the article claims of the proposed method, and what was measured."""
    name, rows = settings.proposed, []
    for criterion, view in CRITERIA.values():
        cell = found.cell(name, view)
        rows.append(
            {
                "criterion": criterion,
                "claimed": _CLAIMED,
                "measured": cell.scores.total,
                "by": view,
                "why": sentence(cell),
                "agrees": cell.scores.total >= _CLAIMED,
            }
        )
    granted = found.cell(name, GRANTED)
    rows.append(
        {
            "criterion": "Gradients masked even if states are known (in words)",
            "claimed": _CLAIMED,
            "measured": granted.scores.gradients,
            "by": GRANTED,
            "why": sentence(granted, states=False),
            "agrees": granted.scores.gradients >= _CLAIMED,
        }
    )
    own, converges = found.accuracy[name], _converges(found, name)
    falls = "" if own.falls is None else f"like k^−β, β = {shown(own.falls)}, "
    rows.append(
        {
            "criterion": _CONVERGENCE,
            "claimed": _CLAIMED,
            "measured": converges["converges"],
            "by": "F(x̄) − F* at the end",
            "why": f"falls {falls}to {own.median:.2e} in the median at k = {own.iteration}",
            "agrees": converges["converges"] >= _CLAIMED,
        }
    )
    return rows


def _checks(report: Report, simulation: Simulation, settings: Settings) -> list[Check]:
    """What has to hold if the audit is sound; what it finds of the claims is no check."""
    found, made = report.audit, []
    public = conventional(simulation.algorithms)
    if public is not None:
        cell = found.cell(public, EAVESDROPPER)
        title = f"{_named(public, settings)}: whoever listens has single gradients"
        made.append(_recovered(title, cell))
    ours = encrypted_methods(found, simulation)
    for name, one in ours.items():
        if not hides(one):
            cell = found.cell(name, GRANTED)
            title = f"{_named(name, settings)}: with the states single gradients come back"
            made.append(_recovered(title, cell))
    blind = [name for name in ours if found.cell(name, EAVESDROPPER).source == "nothing"]
    made.append(
        Check(
            "listening to encrypted links gives nothing to compute with",
            len(blind) == len(ours),
            f"{len(blind)} of {len(ours)} encrypted methods",
        )
    )
    made += _inversions(found, ours, settings)
    wrong_bounds = [check for check in report.bounds if not check.holds]
    made.append(
        Check(
            "no attack is better than the entropy bound allows",
            not wrong_bounds,
            f"{len(report.bounds) - len(wrong_bounds)} of {len(report.bounds)} comparisons hold",
        )
    )
    own = found.accuracy[settings.proposed]
    falls = "not known" if own.falls is None else shown(own.falls)
    made.append(
        Check(
            "the proposed method's gap still falls at the end",
            own.falls is not None and own.falls.low > STILL,
            f"like k^−β, β = {falls} from k = {own.iteration // 10} on (limit {STILL:g})",
        )
    )
    return made


def _named(name: str, settings: Settings) -> str:
    """A method as figures and tables have it."""
    return settings.shown.get(name, name)


def _recovered(title: str, cell: Cell) -> Check:
    leak = cell.scores.gradient
    detail = "none tried" if leak is None else f"relative error {shown(over(leak))}"
    return Check(title, cell.scores.gradients == 0, f"{detail} (limit {RECOVERED:g})")


def _inversions(found: Audit, ours: dict[str, Any], settings: Settings) -> list[Check]:
    """With the states granted, inversion errs by ρ: the random stepsize is all that hides g."""
    made = []
    for name, one in ours.items():
        if not hides(one):
            continue
        cell, rho = found.cell(name, GRANTED), float(one.multipliers.variance) ** 0.5
        curve = next(curve for curve in cell.curves if curve.attack == "inversion")
        inside = (curve.error.low <= rho) & (rho <= curve.error.high)
        made.append(
            Check(
                f"{_named(name, settings)}: inversion errs by the stepsizes' deviation ρ",
                bool(inside.mean() >= _HOLDING),
                f"{float(np.median(curve.error.value)):.3g} in the median, ρ = {rho:.3g}, which "
                f"{int(inside.sum())} of {inside.size} intervals hold (limit {_HOLDING:.0%})",
            )
        )
    return made


def _differs(claims: list[Row], settings: Settings) -> str:
    below = [
        f"{row['criterion']} {row['measured']} instead of {row['claimed']}"
        for row in claims
        if not row["agrees"]
    ]
    contradicted = (
        "Contradicted by measurement, for the proposed method: " + "; ".join(below) + ". One "
        f"curious neighbor has: {claims[1]['why']}. Granted the states, the coalition has: "
        f"{claims[-2]['why']}. "
        if below
        else "No measured score is below its claim. "
    )
    return (
        "The article states scores without a rule and gives those of the proposed method only; "
        "here they follow from attacks by a rule that is printed with them, for other methods as "
        f"well. {contradicted}What a neighbor has rests on one step of the protocol as we read it: "
        "whoever exchanges with an agent decrypts each single reply, and with weights that are "
        "public a reply gives the agent's state. Private weight factors narrow that. Exact "
        "convergence is a limit, which no finite run shows: the score says whether the gap still "
        "falls, not how low it has come, which the column of gaps does; and the part `convergence` "
        f"has the certificate. {_reduced(settings)}"
    ).strip()


def _scores(rows: list[Row], sample: str, priced: str) -> Table:
    shown = [
        {key: value.replace("\n", ", ") if isinstance(value, str) else value
         for key, value in row.items()}
        for row in rows
    ]  # fmt: skip
    columns = [Column("method", "method")]
    columns += [Column(key, name, digits="d") for key, (name, _) in CRITERIA.items()]
    columns += [
        Column("converges", _CONVERGENCE, digits="d"),
        Column("gap_times", "gap, times the proposed method's"),
        Column("epsilon", "ε of DP"),
    ]
    return Table(
        "scores",
        f"Measured privacy scores, 0 to 3, by the article's criteria, of the protocol as it is "
        "reconstructed here, with public weights unless a row says otherwise; and the article's "
        f"claim. {rule()} {priced} {sample}.",
        tuple(columns),
        shown,
    )


def _claimed(claims: list[Row], sample: str) -> Table:
    return Table(
        "claims",
        "The article's scores of the proposed method beside measured ones, of the protocol as it "
        "is reconstructed here, with public weights; and the best attacks' "
        "errors with 95 % bootstrap intervals over runs, relative to saying 0 (gradients) or to "
        "the best guess without an attack (states). Attack and iteration are chosen in the other "
        "half of the runs, for each view by itself: where less is known more may seem to come out, "
        f"within the intervals. {sample}.",
        (
            Column("criterion", "criterion"),
            Column("claimed", "claimed", digits="d"),
            Column("measured", "measured", digits="d"),
            Column("by", "measured by"),
            Column("why", "the best attacks"),
            Column("agrees", "holds?"),
        ),
        claims,
    )


def _drawing(rows: list[Row], sample: str, priced: str) -> Drawing:
    names = {key: name for key, (name, _) in CRITERIA.items()} | {"converges": _CONVERGENCE}
    return Drawing(
        "scores",
        "Privacy scores measured by the article's criteria, of the protocol as it is reconstructed "
        "here, with public weights unless a row says otherwise; above them the article's own of "
        "the proposed method, with what they follow from: errors of the best attacks on single "
        "gradients, their long-run mean and the state, relative to guesses without an attack, and "
        f"shares of wrong signs; β: F(x̄) − F* falls like k^−β. {rule()} {priced} {sample}.",
        rows,
        lambda: boxes(rows, names),
    )
