"""What an audit found, in sentences that follow from its numbers by rule."""

from collections.abc import Iterable

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.factors import Kind
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
    Verdict,
    costs,
    encrypted,
    hides,
    leak_rows,
    plain_variant,
    verdict,
)
from dpe_jax.privacy.scores import Leak
from dpe_jax.simulation import Simulation

_HALF, _LIKE = -0.5, 0.05
"""The slope of an average of independent estimates, and how far off one is still called that."""

_WEIGHTS: dict[Kind, str] = {
    "public": "public weights",
    "link": "private factors a link",
    "coordinate": "private factors for each coordinate",
}

_ALONE: dict[Verdict, str] = {
    "narrowed": "leave one neighbor a guess of the state that is better than its own",
    "closed": "close the state against one neighbor",
}

_WHO = {
    NEIGHBOR: "one neighbor",
    EVERYONE: "the coalition of all neighbors",
    GRANTED: "whoever is granted the states",
}


def findings(audit: Audit, simulation: Simulation) -> list[str]:
    """All of them; one that the numbers do not show is not among them."""
    return [
        *wire(audit, simulation),
        *inversion(audit, simulation),
        *signs(audit, simulation),
        *means(audit, simulation),
        *states(audit, simulation),
        *closers(audit, simulation),
    ]


def wire(audit: Audit, simulation: Simulation) -> list[str]:
    """What listening alone gives."""
    cells = {name: audit.cell(name, EAVESDROPPER) for name in audit.methods}
    blind = [name for name, cell in cells.items() if cell.source == "nothing"]
    reading = {name: cell for name, cell in cells.items() if cell.source != "nothing"}
    told = []
    if blind:
        told.append(
            f"Whoever only listens has ciphertexts of {_list(blind)}, and nothing to compute with."
        )
    for score, what in (
        (0, "gets single gradients back"),
        (1, "gets signs or the long-run mean of gradients"),
        (2, "learns something of gradients"),
        (3, "is less than 10 % better than chance on gradients"),
    ):
        found = [name for name, cell in reading.items() if cell.scores.gradients == score]
        if found:
            told.append(f"Under {_list(found)} whoever only listens {what}.")
    return told


def inversion(audit: Audit, simulation: Simulation) -> list[str]:
    """Whether random stepsizes stop exact inversion by who has the states."""
    told = []
    for name, one in encrypted(audit, simulation).items():
        leak = audit.cell(name, GRANTED).scores.gradient
        if leak is None:
            continue
        kind = verdict(audit.cell(name, GRANTED), "gradient")
        if kind == "open":
            told.append(
                f"{name}: granted the states, single gradients come back (relative error "
                f"{estimate(leak.error)})"
                + ("." if hides(one) else ": nothing random is in its stepsizes.")
            )
        elif hides(one):
            # Σ‖c m − g‖² is least at c = 1/(1 + ρ²), if multipliers are all that hides g.
            variance = float(one.multipliers.variance)
            mean = _along(audit.cell(name, GRANTED), "inversion", variance**0.5)
            best = _along(audit.cell(name, GRANTED), "scaled", (variance / (1 + variance)) ** 0.5)
            told.append(
                f"{name}: granted the states, whoever knows the mean of the stepsizes errs on "
                f"single gradients by {mean}; whoever knows their variance too, by {best}."
            )
    return told


def _along(cell: Cell, attack: str, predicted: float) -> str:
    """An attack's errors over all iterations beside what theory has at each."""
    curve = next(curve for curve in cell.curves if curve.attack == attack)
    inside = (curve.error.low <= predicted) & (predicted <= curve.error.high)
    return (
        f"{float(np.median(curve.error.value)):.3g} in the median over iterations ({predicted:.3g} "
        f"predicted, which {int(inside.sum())} of {inside.size} intervals hold)"
    )


def signs(audit: Audit, simulation: Simulation) -> list[str]:
    """Whether signs come out, and to whom."""
    found: dict[tuple[str, bool], list[str]] = {}
    for name, one in encrypted(audit, simulation).items():
        for view in (NEIGHBOR, EVERYONE, GRANTED):
            leak = audit.cell(name, view).scores.sign
            if leak is not None and verdict(audit.cell(name, view), "sign") == "open":
                key = view, one.multipliers.may_be_negative
                curves = audit.cell(name, view).curves
                wrong = next(curve for curve in curves if curve.attack == "sign").error.value
                found.setdefault(key, []).append(
                    f"{name} ({share(leak.error)} of them wrong at k = {leak.iteration}, "
                    f"{100 * float(np.median(wrong)):.3g} % in the median over iterations)"
                )
                break
    return [
        f"Signs of gradients come out to {_WHO[view]} under {_list(names)}"
        + ("." if negative else ": no multiplier is negative.")
        for (view, negative), names in found.items()
    ]


def means(audit: Audit, simulation: Simulation) -> list[str]:
    """How fast averages approach the long-run mean."""
    told = []
    for name, one in encrypted(audit, simulation).items():
        cell = audit.cell(name, GRANTED)
        found, leak = cell.slopes.get("average"), cell.scores.mean
        if not hides(one) or found is None or leak is None or not found.high < 0:
            continue
        like = "like 1/√T (" if abs(found.value - _HALF) <= _LIKE else "("
        text = (
            f"{name}: granted the states, averages over T iterations approach the mean gradient "
            f"{like}slope {estimate(found)} of log error against log T)"
        )
        likely = cell.slopes.get("likelihood")
        if likely is not None and likely.high < found.low:
            text += f"; the bounds of the multipliers give it faster, slope {estimate(likely)}"
        elif likely is not None and likely.low >= 0:
            text += (
                f"; the bounds of the multipliers are of no use (slope {estimate(likely)}): "
                "the noise of gradients breaks them"
            )
        text += f". The best so far is {leak.attack}, a relative error of {estimate(leak.error)}"
        told.append(f"{text} at k = {leak.iteration}.")
    return told


def states(audit: Audit, simulation: Simulation) -> list[str]:
    """What decrypting single replies gives, by the kind of weight factors."""
    told = []
    for name, one in encrypted(audit, simulation).items():
        alone, together = (audit.cell(name, view) for view in (NEIGHBOR, EVERYONE))
        single, joint = verdict(alone, "state"), verdict(together, "state")
        weights = _WEIGHTS[one.factors.kind]
        if single == "open" and alone.scores.state is not None:
            told.append(
                f"{name}: with {weights} one neighbor that decrypts single replies has the state "
                f"{_how_near(alone.scores.state, one)}."
            )
        elif joint == "open" and together.scores.state is not None:
            left = _of_guess(alone.scores.state)
            told.append(
                f"{name}: {weights} {_ALONE[single]}{left}; but the "
                "coalition of all neighbors has the state "
                f"{_how_near(together.scores.state, one)}."
            )
        elif joint != "open":
            left = _of_guess(together.scores.state)
            told.append(
                f"{name}: with {weights} nothing that was tried gives even the coalition of all "
                f"neighbors the state{left}."
            )
    return told


def closers(audit: Audit, simulation: Simulation) -> list[str]:
    """Which settings of the audit close each leak of the plain variant, and what they cost."""
    plain = plain_variant(encrypted(audit, simulation))
    if plain is None:
        return []
    price, told = costs(audit, simulation), []
    for row in leak_rows(audit, simulation):
        if row.verdicts[plain] != "open":
            continue
        told.append(_closed(row, price))
    return told


def _closed(row: LeakRow, price: dict[str, Cost]) -> str:
    secret = SECRETS[row.secret]
    head = f"{secret[0].upper()}{secret[1:]} against {_WHO[row.view]}: "
    for kind, what in (("closed", "closed by"), ("narrowed", "narrowed, but not closed, by")):
        names = [name for name, found in row.verdicts.items() if found == kind]
        if names:
            listed = [f"{name} ({_left(row, name)}{times(price[name])})" for name in names]
            return f"{head}{what} {_list(listed)}."
    return f"{head}no encrypted variant in this audit closes this leak."


def _left(row: LeakRow, name: str) -> str:
    """The error that is left to the best attack."""
    error = row.errors[name]
    if error is None:
        return ""
    return f"{error:.1%} wrong; " if row.secret == "sign" else f"error {error:.2f} of chance; "


def times(cost: Cost) -> str:
    """What a method costs in accuracy."""
    found = (cost.times_plain, "the plain variant's"), (cost.times_conventional, "conventional")
    told = [f"×{ratio:.3g} {whose}" for ratio, whose in found if ratio is not None]
    return ", ".join(told) if told else f"median error {cost.median:.3g}"


def bounds(checks: tuple[BoundCheck, ...]) -> list[str]:
    """Whether an attack was better than any can be."""
    if not checks:
        return ["The entropy bound was not compared with the attacks: nowhere was it measured."]
    wrong = [check for check in checks if not check.holds]
    nearest = min(checks, key=lambda check: check.error.value - check.bound.value)
    text = (
        f"Entropy bound: in {len(checks) - len(wrong)} of {len(checks)} comparisons the best "
        "attack on single gradients errs at least by the bound on every estimator, within both "
        f"intervals. The least distance is under {nearest.method}, {nearest.view}, "
        f"k = {nearest.iteration}: error {estimate(nearest.error)}, bound "
        f"{estimate(nearest.bound)}."
    )
    told = [text]
    told += [
        f"BELOW THE BOUND: {check.method}, {check.view}, k = {check.iteration}: error "
        f"{estimate(check.error)}, bound {estimate(check.bound)}."
        for check in wrong
    ]
    return told


def estimate(found: Estimate) -> str:
    """A number with its interval."""
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def share(found: Estimate) -> str:
    """A share with its interval."""
    low, high = f"{100 * found.low:.3g}", f"{100 * found.high:.3g}"
    return f"{100 * found.value:.3g} % [{low}, {high}]"


def _how_near(leak: Leak, one: EncryptedDSGD) -> str:
    if leak.unit == "share":
        missed = share(leak.error)
        return f"to within δ at k = {leak.iteration}, but for {missed} of runs"
    delta = float(one.delta)
    near = f"to {estimate(leak.error)}, the guess being {leak.chance:.3g} off"
    return f"to within δ = {delta:.3g}: {near}" if leak.error.high <= delta else near


def _of_guess(leak: Leak | None) -> str:
    if leak is None:
        return ""
    attack = leak.attack.removeprefix("state: ")
    error = leak.error.value / leak.chance
    return f": the best attack's error ({attack}) is {error:.2f} of a guess's"


def _list(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
