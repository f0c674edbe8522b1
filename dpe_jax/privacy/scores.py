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
    "3: nothing that was tried is as much as 10 % better than saying 0, guessing signs, or "
    "guessing that the target is where its neighbor is",
)
"""What a score means; the upper end of the interval counts, of the attack and iteration that do
best in the other half of the runs."""

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


def scores(chosen: Sequence[ErrorCurve], held: Sequence[ErrorCurve] | None = None) -> Scores:
    """The best attack of each kind, and where it is best; from `chosen`, as measured in `held`.

    The least of many errors is less than any attack's expected error. So curves of one half of the
    runs say which attack and iteration, and those of the other half, which know nothing of the
    choice, what it reaches.
    """
    pairs = list(zip(chosen, chosen if held is None else held, strict=True))

    def named(names: tuple[str, ...]) -> list[tuple[ErrorCurve, ErrorCurve]]:
        return [pair for pair in pairs if pair[0].attack in names]

    means = [
        pair
        for pair in pairs
        if pair[0].attack in _MEANS or pair[0].attack.rpartition(" at ")[0] in _MEANS
    ]
    states = [pair for pair in pairs if pair[0].attack.startswith("state:")]
    return Scores(
        _best(named(("inversion", "scaled", "running mean"))),
        _best(named(("sign", "running mean's sign"))),
        _best(means),
        _best(states),
    )


def _best(pairs: Sequence[tuple[ErrorCurve, ErrorCurve]]) -> Leak | None:
    """Where the upper end is lowest beside chance."""
    found = None
    for curve, held in pairs:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = curve.error.high / curve.chance
        ratio = np.where(np.isfinite(ratio), ratio, np.inf)
        point = int(np.argmin(ratio))
        if np.isfinite(ratio[point]) and (found is None or ratio[point] < found[0]):
            leak = Leak(
                curve.attack,
                int(curve.iteration[point]),
                held.at(point),
                float(held.chance[point]),
                curve.unit,
            )
            found = float(ratio[point]), leak
    return None if found is None else found[1]


def _relative(leak: Leak | None) -> float:
    return 1.0 if leak is None else leak.error.high / leak.chance
