"""The report of an audit: tables of scores, the article's claims, and what was found, in words."""

import dataclasses
from typing import Any

from dpe_jax.folder import jsonable
from dpe_jax.privacy import findings
from dpe_jax.privacy.audit import Audit, Cell
from dpe_jax.privacy.intervals import Estimate
from dpe_jax.privacy.leaks import (
    EAVESDROPPER,
    EVERYONE,
    GRANTED,
    NEIGHBOR,
    SECRETS,
    BoundCheck,
    Cost,
    LeakRow,
    bound_checks,
    conventional,
    costs,
    encrypted,
    hides,
    leak_rows,
    plain_variant,
)
from dpe_jax.privacy.pareto import Price
from dpe_jax.privacy.scores import RULE, Leak
from dpe_jax.simulation import Simulation

SOURCE = "an article on Zhou et al. 2026, Section 1"

_CLAIMS: tuple[tuple[str, int, str, str], ...] = (
    ("External eavesdroppers", 3, EAVESDROPPER, "the wire alone"),
    ("Honest-but-curious agents", 3, NEIGHBOR, "decrypts each single reply"),
    ("Colluding neighbors", 3, EVERYONE, "and the wire"),
    ("No trusted neighbor needed", 3, EVERYONE, "no neighbor of the target is left to trust"),
)
"""Criterion, the article's score of the proposed method, the view that measures it, and why."""

_CONVERGENCE = "Exact convergence", 3


@dataclasses.dataclass(frozen=True)
class Claim:
    """A score of the article beside what was measured of one variant of the proposed method."""

    criterion: str
    claimed: int
    view: str
    method: str
    measured: int

    @property
    def agrees(self) -> bool:
        """Whether at least as much protection was measured."""
        return self.measured >= self.claimed


@dataclasses.dataclass(frozen=True)
class Part:
    """A further part of an audit, such as that of pictures, or of ciphertexts."""

    name: str
    title: str
    results: dict[str, Any]
    """For JSON."""
    lines: tuple[str, ...]
    """In Markdown."""
    findings: tuple[str, ...] = ()
    """In plain words."""
    advantage: Estimate | None = None
    """The largest with which ciphertexts of two messages were told apart, if that was tried."""


@dataclasses.dataclass(frozen=True)
class Report:
    """An audit with all that follows from it."""

    name: str
    simulation: Simulation
    audit: Audit
    prices: tuple[Price, ...]
    parts: tuple[Part, ...] = ()

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Of each variant of the proposed method: encrypted, with random stepsizes."""
        audit = self.audit
        found = encrypted(audit, self.simulation)
        names = [name for name, one in found.items() if hides(one)]
        return tuple(
            Claim(criterion, score, view, name, scored(audit.cell(name, view)))
            for criterion, score, view, _ in _CLAIMS
            for name in names
        )

    def lines(self, cell: Cell) -> list[str]:
        """What a cell of the table says."""
        told = (part.advantage for part in self.parts if part.advantage is not None)
        return cell_lines(cell, next(told, None))

    @property
    def leaks(self) -> tuple[LeakRow, ...]:
        """Verdicts on each leak."""
        return leak_rows(self.audit, self.simulation)

    @property
    def costs(self) -> dict[str, Cost]:
        """Accuracy beside the plain variant and conventional DSGD."""
        return costs(self.audit, self.simulation)

    @property
    def bounds(self) -> tuple[BoundCheck, ...]:
        """The entropy bound beside the attacks."""
        return bound_checks(self.audit, self.simulation.problem.dim)

    @property
    def findings(self) -> list[str]:
        """In plain words."""
        found = findings.findings(self.audit, self.simulation)
        told = [text for part in self.parts for text in part.findings]
        return [*found, *findings.bounds(self.bounds), *told]

    def to_dict(self, *, curves: bool = True) -> dict[str, Any]:
        """For JSON, rounded to six digits; without `curves` for a screen."""
        audit = self.audit.to_dict()
        for cell in audit["cells"] if not curves else ():
            del cell["curves"]
        claims = [dataclasses.asdict(one) | {"agrees": one.agrees} for one in self.claims]
        found = {
            "name": self.name,
            **audit,
            "rule": list(RULE),
            "claims": {"source": SOURCE, "scores": claims},
            "leaks": [row.to_dict() for row in self.leaks],
            "costs": {name: cost.to_dict() for name, cost in self.costs.items()},
            "bounds": [check.to_dict() for check in self.bounds],
            "pareto": [price.to_dict() for price in self.prices],
            "findings": self.findings,
            **{part.name: part.results for part in self.parts},
        }
        return rounded(jsonable(found))


def scored(cell: Cell) -> int:
    """The score of a cell: where the states are granted, that of gradients."""
    return cell.scores.gradients if cell.view == GRANTED else cell.scores.total


def rounded(value: Any) -> Any:
    """Numbers with six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def cell_lines(cell: Cell, advantage: Estimate | None = None) -> list[str]:
    """What a cell of the table says: its score, and the numbers that it follows from.

    `advantage` is that of telling ciphertexts apart, for views that have nothing else.
    """
    if cell.source == "nothing":
        told = "nothing to attack"
        if advantage is not None:
            low, high = _short(advantage.low), _short(advantage.high)
            told = f"ciphertexts {_short(advantage.value)} [{low}, {high}]"
        return [f"{scored(cell)}", told]
    found = cell.scores
    lines = [f"{scored(cell)}", f"g {_relative(found.gradient)}{_when(found.gradient)}"]
    if found.sign is not None:
        wrong = " ".join(f"{100 * number:.1f}" for number in found.sign.error)
        value, low, high = wrong.split()
        lines.append(f"± {value} [{low}, {high}] % wrong{_when(found.sign)}")
    if found.mean is not None:
        lines.append(f"mean {_relative(found.mean)}")
    if cell.view == GRANTED:
        lines.append("x given")
    elif found.state is not None:
        lines.append(f"x {_relative(found.state)}")
    return lines


def _when(leak: Leak | None) -> str:
    return "" if leak is None else f" at {leak.iteration}"


def markdown(report: Report, figures: list[str]) -> str:
    """The page."""
    audit, simulation = report.audit, report.simulation
    network = simulation.network
    lines = [
        f"# Privacy audit: {report.name}",
        "",
        f"Target: agent {audit.target} of {network.agents}. {audit.runs} runs of "
        f"{audit.iterations} iterations; averages from k = {audit.start} on. Intervals in "
        "brackets: 95 %, bootstrap over runs.",
        "",
        "Agents among the adversary: "
        + "; ".join(
            f"{view}: {', '.join(map(str, agents)) or 'none'}"
            for view, agents in audit.members.items()
        )
        + ".",
        *(
            [f"Left out, since nothing is sent: {', '.join(audit.skipped)}."]
            if audit.skipped
            else []
        ),
        "",
        "## Found",
        "",
        *(f"- {text}" for text in report.findings),
        "",
        "Ratios in parentheses: the median error at the end, beside the plain variant "
        f"({plain_variant(encrypted(audit, simulation)) or 'none'}) and conventional DSGD "
        f"({conventional(simulation.algorithms) or 'none'}).",
        "",
        "## Scores",
        "",
        "Each cell: score (g: error on a single gradient, ±: wrong signs, mean: error on the "
        "long-run mean, x: error on the state). Errors are relative to saying 0, that of a state "
        "to the best guess without an attack; of signs, 50 % are guessed wrong. Of ciphertexts "
        "alone: the largest advantage with which those of two messages were told apart. Of each "
        "kind, the "
        "attack and iteration that do best in one half of the runs, as measured in the other half.",
        "",
        *_scores(report),
        "",
        *(f"- {rule}" for rule in RULE),
        "",
        "Where the states are granted the score is that of gradients alone.",
        "",
        "## The article's scores",
        "",
        *_claimed(report),
        "",
        "## Leaks and what closes them",
        "",
        *_leaks(report),
        "",
        "## Leakage, accuracy, bytes and time",
        "",
        *_prices(report),
    ]
    for part in report.parts:
        lines += ["", f"## {part.title}", "", *part.lines]
    if figures:
        lines += ["", "## Figures", ""]
        lines += [f"![{name}](figures/{name}.png)" for name in figures]
    return "\n".join(lines) + "\n"


def _scores(report: Report) -> list[str]:
    audit = report.audit
    rows = [["method", *audit.views]]
    for name in audit.methods:
        cells = [report.lines(audit.cell(name, view)) for view in audit.views]
        rows.append([name, *(f"**{score}** ({', '.join(rest)})" for score, *rest in cells)])
    return table(rows)


def _claimed(report: Report) -> list[str]:
    audit, names = report.audit, list(encrypted(report.audit, report.simulation))
    if not names:
        return ["No method of this audit is the article's."]
    rows = [["criterion", "claimed", "measured by", *names]]
    for criterion, score, view, why in _CLAIMS:
        found = [str(scored(audit.cell(name, view))) for name in names]
        rows.append([criterion, str(score), f"{view}: {why}", *found])
    granted = [str(scored(audit.cell(name, GRANTED))) for name in names]
    rows.append(["Gradients masked even if states are known", "3 (in words)", GRANTED, *granted])
    criterion, score = _CONVERGENCE
    ends = [_converged(report.costs[name]) for name in names]
    rows.append([criterion, str(score), f"median error at k = {audit.iterations}", *ends])
    differing = [claim for claim in report.claims if not claim.agrees]
    told = [
        f"Claims: {SOURCE}, which scores the proposed method only. No score is given for exact "
        "convergence, which is a limit: `dpe certify` judges it."
    ]
    for name in names:
        short = [c for c in differing if c.method == name]
        if short:
            what = ", ".join(f"{c.criterion} {c.measured} instead of {c.claimed}" for c in short)
            told.append(f"- {name}: measured below the claim in {what}.")
        else:
            told.append(f"- {name}: no measured score is below its claim.")
    return [*table(rows), "", *told[:1], "", *told[1:]]


def _converged(cost: Cost) -> str:
    ratio = cost.times_conventional
    told = f"{cost.median:.2e}" + ("" if ratio is None else f", ×{ratio:.3g} conventional")
    return f"{told}, {cost.failed} runs failed" if cost.failed else told


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3g}"


def _leaks(report: Report) -> list[str]:
    rows = [["secret", "against", "open under", "narrowed under", "closed under"]]
    for row in report.leaks:
        found = [
            ", ".join(_measured(row, name) for name in row.of(kind)) or "–"
            for kind in ("open", "narrowed", "closed")
        ]
        rows.append([SECRETS[row.secret], row.view, *found])
    return [
        "Of encrypted methods with random stepsizes. Open: an attack recovers it (upper end of the "
        "interval); closed: the best attack learns nothing (the error itself); by the thresholds "
        "of the rule above. In parentheses: the best attack's error beside chance, or the share "
        "of wrong signs.",
        "",
        *table(rows),
    ]


def _measured(row: LeakRow, name: str) -> str:
    error = row.errors[name]
    return name if error is None else f"{name} ({_short(error)})"


def _prices(report: Report) -> list[str]:
    head = [
        "method",
        "leakage of gradients",
        "leakage of states",
        "median error",
        "× plain",
        "× conventional",
        "bytes an iteration",
        "CPU s an iteration",
        "not dominated",
    ]
    rows = [head]
    for price in report.prices:
        cost = report.costs[price.method]
        rows.append(
            [
                price.method,
                findings.estimate(price.leakage),
                findings.estimate(price.state_leakage),
                f"{price.accuracy:.2e}",
                *(
                    "–" if r is None else f"{r:.3g}"
                    for r in (cost.times_plain, cost.times_conventional)
                ),
                f"{price.bytes:,.0f}",
                "not measured" if price.cpu_seconds is None else f"{price.cpu_seconds:.2g}",
                "" if price.dominated else "yes",
            ]
        )
    metric = next(iter(report.audit.accuracy.values())).metric
    return [
        "Leakage: 1 − the relative error of the best attack by the coalition of all neighbors, 0 "
        f"if it does no better than chance. Median error: {metric} at the end, median over runs. "
        "Bytes over all links; in plaintext 64 bits a coordinate (ternary: 2), with shares where "
        "there are any. CPU seconds of encryption, all agents together, calibrated on the machine "
        "of the audit; plaintext counts as 0. A method is dominated if another one is no worse in "
        "leakage of gradients, median error, bytes and seconds, and better in one of them: by the "
        "values in the table, without regard to their intervals.",
        "",
        *table(rows),
    ]


def table(rows: list[list[str]]) -> list[str]:
    """A Markdown table, the first row its head."""
    head, *body = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def _relative(leak: Leak | None) -> str:
    if leak is None:
        return "unknown"
    low, high = (_short(error / leak.chance) for error in leak.error[1:])
    return f"{_short(leak.error.value / leak.chance)} [{low}, {high}]"


def _short(number: float) -> str:
    return f"{number:.2f}" if number >= 0.1 or number == 0 else f"{number:.1g}"
