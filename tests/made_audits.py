"""Audits whose numbers are given, so that what is said of them can be checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from small import CONVENTIONAL, ENCRYPTED, config

from dpe_jax.privacy.attacks import ErrorCurve
from dpe_jax.privacy.audit import Accuracy, Audit, Cell
from dpe_jax.privacy.information import Information, Status
from dpe_jax.privacy.intervals import Curve, Estimate
from dpe_jax.privacy.leaks import EAVESDROPPER, EVERYONE, GRANTED, NEIGHBOR
from dpe_jax.privacy.scores import Leak, Scores
from dpe_jax.simulation import Simulation

VIEWS = (EAVESDROPPER, NEIGHBOR, EVERYONE, GRANTED)

SIGNED = {**ENCRYPTED, "multipliers": {"family": "normal", "sigma": 3.0}}
METHODS: dict[str, dict[str, Any]] = {
    "plain": ENCRYPTED,
    "signed": SIGNED,
    "link": {**ENCRYPTED, "factors": {"kind": "link"}},
    "coordinate": {**SIGNED, "factors": {"kind": "coordinate"}},
    "fixed": {**ENCRYPTED, "multipliers": {"family": "none"}},
    "conventional": CONVENTIONAL,
}

MEDIANS = {"plain": 4e-4, "signed": 1e-3, "link": 4e-4, "coordinate": 2e-3, "fixed": 3e-4}


def simulation() -> Simulation:
    """The methods above, which nothing here runs."""
    return config({"runs": 64, "methods": METHODS}).build()


def near(value: float, spread: float = 0.01) -> Estimate:
    """A number with an interval around it."""
    return Estimate(value, value - spread, value + spread)


def leak(error: float, kind: str, spread: float = 0.01, chance: float = 1.0) -> Leak:
    attack = {"sign": "sign", "mean": "average", "state": "state: reply"}.get(kind, "inversion")
    unit = "x" if kind == "state" else "relative"
    return Leak(attack, 7, near(error, spread), 0.5 if kind == "sign" else chance, unit)


def cell(
    method: str,
    view: str,
    errors: Mapping[str, float],
    slope: Estimate | None = None,
    curves: Sequence[ErrorCurve] = (),
    information: Sequence[tuple[int, tuple[Information, ...]]] = (),
) -> Cell:
    """With these errors of the best attacks; without any, nothing is seen."""
    leaks = {kind: leak(error, kind) for kind, error in errors.items()}
    found = Scores(*(leaks.get(kind) for kind in ("gradient", "sign", "mean", "state")))
    source = "states" if view == GRANTED else "messages" if errors else "nothing"
    slopes = {} if slope is None else {"average": slope}
    if not curves and errors:
        of_kind = {"inversion": "gradient", "scaled": "gradient", "sign": "sign"}
        curves = [curve(name, 7, near(errors[kind])) for name, kind in of_kind.items()]
    return Cell(method, view, source, tuple(curves), slopes, tuple(information), found)


OPEN = {"gradient": 0.5, "sign": 0.0, "mean": 0.02, "state": 0.01}
HALF = {"gradient": 0.8, "sign": 0.35, "mean": 0.4, "state": 0.5}
SHUT = {"gradient": 1.0, "sign": 0.5, "mean": 1.2, "state": 1.0}
BARE = {"gradient": 0.0, "sign": 0.0, "mean": 0.0, "state": 0.0}


def audit(cells: Mapping[tuple[str, str], Cell] | None = None) -> Audit:
    """Of all methods under all views; some `cells` may be replaced.

    As in the preset: public weights give one neighbor the state, factors for each coordinate only
    the coalition; signed multipliers narrow what leaks.
    """
    by_method = {"plain": OPEN, "fixed": BARE, "conventional": BARE, "link": OPEN}
    found = {}
    for name in METHODS:
        errors = by_method.get(name, HALF)
        for view in VIEWS:
            own = errors
            if view == EAVESDROPPER and name != "conventional":
                own = {}
            elif view == NEIGHBOR and name in ("link", "coordinate"):
                own = {**SHUT, "state": 0.5 if name == "link" else 1.0}
            elif name == "signed" or (name == "coordinate" and view != GRANTED):
                own = {**HALF, "state": 0.01}
            slope = near(-0.5) if view == GRANTED else None
            found[name, view] = cell(name, view, own, slope)
    found |= cells or {}
    medians = {**MEDIANS, "conventional": 1e-4}
    accuracy = {name: Accuracy("gap_mean_state", 30, medians[name], 0) for name in METHODS}
    members = {view: () if view == EAVESDROPPER else (1,) for view in VIEWS}
    return Audit(0, 64, 30, 3, VIEWS, members, tuple(found.values()), accuracy, ())


def curve(attack: str, iteration: int, error: Estimate) -> ErrorCurve:
    """Of one point."""
    columns = Curve(*(np.array([end]) for end in error))
    return ErrorCurve(attack, np.array([iteration], np.int64), columns, np.ones(1), 64)


def informed(bound: Estimate, power: float, status: Status = "measured") -> Information:
    """With a bound on E(g − ĝ)², E g² = `power`."""
    relative = Estimate(*(float(np.sqrt(end / power)) for end in bound))
    nothing = near(0.0)
    return Information(status, 64, 0, 0, nothing, nothing, nothing, nothing, bound, relative)
