"""Which leaks are open, narrowed or closed under each encrypted method, by rule; and the bound.

A leak is one kind of secret under one view. It is *open* where the best attack recovers the secret
by the thresholds of `scores`, with the upper end of its interval; *closed* where the error itself
is above the threshold of learning something; and *narrowed* in between, wide intervals included.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from dpe_jax.algorithms import Algorithm, ConventionalDSGD, EncryptedDSGD
from dpe_jax.privacy import scores
from dpe_jax.privacy.audit import Audit, Cell
from dpe_jax.privacy.intervals import Estimate
from dpe_jax.privacy.views import Coalition, Eavesdropper, Neighbor, WorstCase
from dpe_jax.simulation import Simulation

Secret = Literal["gradient", "sign", "mean", "state"]
Verdict = Literal["open", "narrowed", "closed"]

EAVESDROPPER, NEIGHBOR = Eavesdropper(0).name, Neighbor(0, 1).name
EVERYONE, GRANTED = Coalition(0).name, WorstCase(0).name
"""Names of the views that every audit has."""

SECRETS: dict[Secret, str] = {
    "gradient": "single gradients",
    "sign": "signs of gradients",
    "mean": "long-run mean of gradients",
    "state": "states",
}

_LEAKS: tuple[tuple[Secret, str], ...] = (
    ("state", NEIGHBOR),
    ("state", EVERYONE),
    ("gradient", NEIGHBOR),
    ("sign", NEIGHBOR),
    ("gradient", EVERYONE),
    ("sign", EVERYONE),
    ("mean", EVERYONE),
    ("gradient", GRANTED),
    ("sign", GRANTED),
    ("mean", GRANTED),
)


def verdict(cell: Cell, secret: Secret) -> Verdict:
    """Whether a secret is safe from one view under one method."""
    leak = getattr(cell.scores, secret)
    if leak is None:
        return "closed"
    if secret == "sign":
        recovered, something, scale = scores.WRONG_SIGNS, scores.GUESSED_SIGNS, 1.0
    else:
        recovered = scores.RECOVERED if secret == "gradient" else scores.ROUGHLY
        something, scale = scores.SOMETHING, leak.chance
    if leak.error.high <= recovered * scale:
        return "open"
    return "narrowed" if leak.error.value <= something * scale else "closed"


@dataclasses.dataclass(frozen=True)
class LeakRow:
    """One secret under one view, over all encrypted methods."""

    secret: Secret
    view: str
    verdicts: dict[str, Verdict]
    """By method."""
    errors: dict[str, float | None]
    """Of the best attack, beside chance (of signs: the share that is wrong); None without any."""

    def of(self, verdict: Verdict) -> tuple[str, ...]:
        """The methods of one verdict."""
        return tuple(name for name, found in self.verdicts.items() if found == verdict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def encrypted(audit: Audit, simulation: Simulation) -> dict[str, EncryptedDSGD]:
    """The variants of the proposed method."""
    methods = {name: simulation.algorithms[name] for name in audit.methods}
    return {name: one for name, one in methods.items() if isinstance(one, EncryptedDSGD)}


def hides(algorithm: EncryptedDSGD) -> bool:
    """Whether stepsizes are random at all."""
    return float(algorithm.multipliers.variance) > 0


def plain_variant(methods: Mapping[str, EncryptedDSGD]) -> str | None:
    """The variant that the others are compared with: public weights, random positive multipliers.

    The first of them; None if there is none.
    """
    for name, one in methods.items():
        positive = hides(one) and not one.multipliers.may_be_negative
        if positive and one.factors.kind == "public":
            return name
    return None


def conventional(algorithms: Mapping[str, Algorithm]) -> str | None:
    """The first conventional DSGD."""
    found = (name for name, one in algorithms.items() if isinstance(one, ConventionalDSGD))
    return next(found, None)


def leak_rows(audit: Audit, simulation: Simulation) -> tuple[LeakRow, ...]:
    """Every leak, of the methods that are encrypted and whose stepsizes are random."""
    names = [name for name, one in encrypted(audit, simulation).items() if hides(one)]
    rows = []
    for secret, view in _LEAKS:
        cells = {name: audit.cell(name, view) for name in names}
        verdicts: dict[str, Verdict] = {name: verdict(cell, secret) for name, cell in cells.items()}
        errors = {name: _error(cell, secret) for name, cell in cells.items()}
        rows.append(LeakRow(secret, view, verdicts, errors))
    return tuple(rows)


def _error(cell: Cell, secret: Secret) -> float | None:
    leak = getattr(cell.scores, secret)
    if leak is None:
        return None
    return leak.error.value / (1.0 if secret == "sign" else leak.chance)


@dataclasses.dataclass(frozen=True)
class Cost:
    """The median error of a method at the end, beside others."""

    median: float
    times_plain: float | None
    times_conventional: float | None
    failed: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def costs(audit: Audit, simulation: Simulation) -> dict[str, Cost]:
    """Of each method, the median of the audit's metric and its ratios."""
    plain = plain_variant(encrypted(audit, simulation))
    usual = conventional(simulation.algorithms)

    def times(name: str, other: str | None) -> float | None:
        if other is None:
            return None
        base, own = audit.accuracy[other].median, audit.accuracy[name].median
        # Of two that do not converge no ratio says anything.
        return own / base if np.isfinite(base) and base > 0 else None

    return {
        name: Cost(found.median, times(name, plain), times(name, usual), found.failed)
        for name, found in audit.accuracy.items()
    }


@dataclasses.dataclass(frozen=True)
class BoundCheck:
    """The entropy bound on all estimators beside the attacks' own error, at one iteration."""

    method: str
    view: str
    iteration: int
    bound: Estimate
    """√(Σ_l bound_l / Σ_l E g_l²): no estimator's relative error is below it."""
    attack: str
    error: Estimate
    """Of the attack with the least error there."""

    @property
    def holds(self) -> bool:
        """Whether the error reaches the bound within their intervals."""
        return self.error.high >= self.bound.low

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = dataclasses.asdict(self) | {"holds": self.holds}
        return plain | {"bound": list(self.bound), "error": list(self.error)}


def bound_checks(audit: Audit, dim: int) -> tuple[BoundCheck, ...]:
    """Where mutual information was measured for all coordinates; elsewhere nothing is said.

    Not where it is a lower bound only (of an exact observation, say): the error may then be 0.
    """
    checks = []
    for cell in audit.cells:
        singles = [c for c in cell.curves if c.attack in ("inversion", "scaled")]
        for k, found in cell.information:
            known = [one.status == "measured" and one.relative_bound.value > 0 for one in found]
            if len(found) < dim or not all(known):
                continue
            power = sum((one.bound.value / one.relative_bound.value**2 for one in found), 0.0)
            bound = Estimate(
                *(float(np.sqrt(sum(one.bound[end] for one in found) / power)) for end in range(3))
            )
            errors = [
                (curve.attack, curve.at(int(point)))
                for curve in singles
                for point in np.flatnonzero(curve.iteration == k)
            ]
            if errors and np.isfinite(bound.value):
                attack, error = min(errors, key=lambda found: found[1].value)
                checks.append(BoundCheck(cell.method, cell.view, k, bound, attack, error))
    return tuple(checks)
