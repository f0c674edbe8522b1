"""The 0–3 scores of an audit, by a rule on measured numbers that is printed beside them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from dpe_jax.privacy.attacks import ErrorCurve
from dpe_jax.privacy.intervals import Estimate

RECOVERED, ROUGHLY, SOMETHING = 0.05, 0.1, 0.9
"""Relative errors: up to the first a gradient or state is recovered, up to the second an average
is, and up to the third something is learned."""

WRONG_SIGNS, GUESSED_SIGNS = 0.05, 0.45
"""Shares of wrong signs: up to the first signs are known, up to the second something is."""

RULE = (
    f"0: a single gradient comes back (relative error ≤ {RECOVERED:g}), or the state does (error "
    f"≤ {RECOVERED:g} of a guess's, or within δ in 95 % of runs)",
    f"1: single gradients are hidden, but signs come out (≤ {WRONG_SIGNS:.0%} wrong), or the "
    f"long-run mean, the whole cost or the state to ≤ {ROUGHLY:g}",
    f"2: something is learned: a relative error ≤ {SOMETHING:g}, or ≤ {GUESSED_SIGNS:.0%} of signs "
    "wrong",
    "3: nothing that was tried does better than saying 0, guessing signs, or guessing that the "
    "target stands where one stands oneself",
)
"""What a score means; of each attack the upper end of the interval counts, where it is lowest."""

_MEANS = ("average", "sum", "likelihood", "regression", "weighted regression")


@dataclasses.dataclass(frozen=True)
class Leak:
    """What the best attack of a kind reached."""

    attack: str
    iteration: int
    error: Estimate
    chance: float
    unit: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self) | {"error": list(self.error)}


@dataclasses.dataclass(frozen=True)
class Scores:
    """What one view learns under one method."""

    gradient: Leak | None
    """A single gradient."""
    sign: Leak | None
    mean: Leak | None
    """The long-run mean, or the whole cost by regression."""
    state: Leak | None

    @property
    def gradients(self) -> int:
        """The score of gradients."""
        single, mean = _relative(self.gradient), _relative(self.mean)
        wrong = 0.5 if self.sign is None else self.sign.error.high
        if single <= RECOVERED:
            return 0
        if wrong <= WRONG_SIGNS or mean <= ROUGHLY:
            return 1
        return 2 if min(single, mean) <= SOMETHING or wrong <= GUESSED_SIGNS else 3

    @property
    def states(self) -> int:
        """The score of states."""
        error = _relative(self.state)
        if error <= RECOVERED:
            return 0
        if error <= ROUGHLY:
            return 1
        return 2 if error <= SOMETHING else 3

    @property
    def total(self) -> int:
        """The lower of both."""
        return min(self.gradients, self.states)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        leaks = {"gradient": self.gradient, "sign": self.sign, "mean": self.mean}
        found = {
            name: None if leak is None else leak.to_dict()
            for name, leak in (leaks | {"state": self.state}).items()
        }
        scores = {"gradients": self.gradients, "states": self.states, "total": self.total}
        return found | {"scores": scores}


def scores(curves: Sequence[ErrorCurve]) -> Scores:
    """The best attack of each kind."""
    means = [c for c in curves if c.attack.rpartition(" at ")[0] in _MEANS or c.attack in _MEANS]
    states = [c for c in curves if c.attack.startswith("state:")]
    return Scores(
        _best([c for c in curves if c.attack in ("inversion", "scaled")]),
        _best([c for c in curves if c.attack == "sign"]),
        _best(means),
        _best(states),
    )


def _best(curves: Sequence[ErrorCurve]) -> Leak | None:
    """Where the upper end is lowest beside chance."""
    found = None
    for curve in curves:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = curve.error.high / curve.chance
        ratio = np.where(np.isfinite(ratio), ratio, np.inf)
        point = int(np.argmin(ratio))
        if np.isfinite(ratio[point]) and (found is None or ratio[point] < found[0]):
            leak = Leak(
                curve.attack,
                int(curve.iteration[point]),
                curve.at(point),
                float(curve.chance[point]),
                curve.unit,
            )
            found = float(ratio[point]), leak
    return None if found is None else found[1]


def _relative(leak: Leak | None) -> float:
    return 1.0 if leak is None else leak.error.high / leak.chance
