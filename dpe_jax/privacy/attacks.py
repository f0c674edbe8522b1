"""From what observers recorded to error curves with intervals and chance levels.

| attack | estimate | error | chance |
|---|---|---|---|
| `inversion` | ĝ^k = m^k/λ̄^k | √(Σ‖ĝ − g‖²/Σ‖g‖²) over runs | 1, that of ĝ = 0 |
| `scaled` | c m^k, c the best for all runs | likewise | 1 |
| `exact` | the same | share of runs with a relative error above 10⁻⁶ | 1 |
| `sign` | sign ĝ^k | share of coordinates with g ≠ 0 that are wrong | ½ |
| `running mean` | Σ m / Σ λ̄ up to k, for g^k | as `inversion` | 1 |
| `running mean's sign` | its sign | as `sign` | ½ |
| `average` | mean of ĝ over T iterations | as `inversion`, of the mean of g | 1 |
| `sum` | Σ m / Σ λ̄ over T iterations | likewise, of Σ λ̄ g / Σ λ̄ | 1 |
| `likelihood` | least constant g that fits the multipliers' bounds | as `average` | 1 |
| `average to ∇f(x*)` … | as the three above | as `inversion`, of ∇f_t(x*) | 1 |
| `regression at x_0`, `… x*` | m/λ̄ on x, linear | of ∇f_t at a point | 1 |
| `weighted regression at …` | the same, weights λ̄² | likewise | 1 |
| `state: …` | x̂^k | max_l, root mean square over runs | that of standing where x_0 is, or \
its neighbor is |

All but the last are relative: 1 is what saying 0 is wrong by. Of methods with one public stepsize
`inversion` is exact inversion, with private random ones it is the attack that knows their mean.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.bootstrap import ends, resampled_means
from dpe_jax.privacy.intervals import (
    RESAMPLES,
    Curve,
    Estimate,
    log_log_slope,
    proportions,
    relative_rmse,
)

EXACT = 1e-6
"""Relative error up to which a gradient counts as recovered exactly."""

Columns = Float[np.ndarray, "points runs"]


@dataclasses.dataclass(frozen=True)
class ErrorCurve:
    """The error of one attack over iterations, with 95 % intervals over runs."""

    attack: str
    iteration: Int64[np.ndarray, " points"]
    """k of the estimate, or the last one that a window has."""
    error: Curve
    chance: Float[np.ndarray, " points"]
    """What is reached without any observation."""
    runs: int
    unit: str = "relative"

    def at(self, point: int) -> Estimate:
        """One point."""
        return Estimate(*(float(column[point]) for column in self.error))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "attack": self.attack,
            "unit": self.unit,
            "runs": self.runs,
            "iteration": self.iteration,
            "error": self.error.value,
            "low": self.error.low,
            "high": self.error.high,
            "chance": self.chance,
        }


def gradient_curves(
    recorded: Mapping[str, np.ndarray],
    iteration: Int64[np.ndarray, " points"],
    start: int,
    goal: Float[np.ndarray, " dim"],
    names: Sequence[str] = ("x_0", "x*"),
) -> list[ErrorCurve]:
    """The error curves of what a `GradientWatch` recorded."""
    curves, dim = [], goal.size
    single = iteration > 0
    curves.append(_relative("inversion", recorded, "error", "square", iteration, single, -1))
    curves.append(_scaled(recorded, iteration, single))
    curves.append(_exact(recorded, iteration, single))
    curves.append(_sign("sign", "signs_right", recorded, iteration, single))
    window = iteration > start
    running = _relative("running mean", recorded, "running_error", "square", iteration, window, -1)
    curves.append(running)
    its_sign = "running mean's sign", "running_signs_right"
    curves.append(_sign(*its_sign, recorded, iteration, window))
    goals = {"goal": np.full_like(recorded["mean_square"], float(np.sum(goal**2)))}
    for name in ("average", "sum", "likelihood"):
        if np.all(np.isnan(recorded[f"{name}_error"])):
            continue
        own = _relative(name, recorded, f"{name}_error", "mean_square", iteration, window, -1)
        curves.append(own)
        if np.all(np.isfinite(goal)):
            columns = {**recorded, **goals}
            label = f"{name} to ∇f(x*)"
            key = f"{name}_goal_error"
            curves.append(_relative(label, columns, key, "goal", iteration, window, -1))
    if "regression" in recorded:
        later = iteration > dim + 1
        for probe, name in enumerate(names[: recorded["regression"].shape[2]]):
            for weight, kind in enumerate(("regression", "weighted regression")):
                square = recorded["regression"][:, weight, probe]
                columns = {"error": square, "one": np.ones_like(square)}
                label = f"{kind} at {name}"
                curves.append(_relative(label, columns, "error", "one", iteration, later, -1))
    return [curve for curve in curves if curve.iteration.size]


def state_curves(
    recorded: Mapping[str, np.ndarray], iteration: Int64[np.ndarray, " points"], delta: float | None
) -> list[ErrorCurve]:
    """Errors of what a `StateWatch` recorded, in units of x; for levels also how many are right.

    `delta` is the step of levels: within it a state counts as recovered.
    """
    later = iteration > 0
    iteration = iteration[later]
    states = {key: value for key, value in recorded.items() if key.startswith("state/")}
    values = {key: value[later] for key, value in states.items()}
    guesses = [values[f"state/{name}"] for name in ("own", "start") if f"state/{name}" in values]
    chance = np.min([_root_mean_square(guess).value for guess in guesses], axis=0)
    curves = []
    for key, value in values.items():
        name = key.removeprefix("state/")
        if name in ("own", "start"):
            continue
        error = _root_mean_square(value)
        sound = np.isfinite(value).all(axis=0)
        curves.append(ErrorCurve(f"state: {name}", iteration, error, chance, int(sound.sum()), "x"))
        if delta is not None:
            right = (value[:, sound] <= delta).sum(axis=1)
            own = np.min([(guess[:, sound] > delta).mean(axis=1) for guess in guesses], axis=0)
            found = proportions(right.astype(np.int64), int(sound.sum()))
            missed = Curve(1 - found.value, 1 - found.high, 1 - found.low)
            label = f"state: {name}, not within δ"
            curves.append(ErrorCurve(label, iteration, missed, own, int(sound.sum()), "share"))
    return curves


def slope(curve: ErrorCurve, recorded: Mapping[str, np.ndarray], name: str, start: int) -> Estimate:
    """Of ln error against ln T, T the iterations that an average is over."""
    points = np.isin(recorded["iteration"], curve.iteration + 1)
    T = recorded["iteration"][points] - start
    squares, signal = recorded[f"{name}_error"][points].T, recorded["mean_square"][points].T
    return log_log_slope(T, squares, signal)


def _relative(
    attack: str,
    recorded: Mapping[str, np.ndarray],
    error: str,
    signal: str,
    iteration: Int64[np.ndarray, " points"],
    points: np.ndarray,
    shift: int,
) -> ErrorCurve:
    found = relative_rmse(recorded[error][points].T, recorded[signal][points].T)
    sound = np.isfinite(recorded[error][points]).all(axis=0)
    chance = np.ones(int(points.sum()))
    return ErrorCurve(attack, iteration[points] + shift, found, chance, int(sound.sum()))


def _scaled(
    recorded: Mapping[str, np.ndarray], iteration: Int64[np.ndarray, " points"], points: np.ndarray
) -> ErrorCurve:
    """√(1 − (Σ ĝ·g)²/(Σ‖ĝ‖² Σ‖g‖²)): of the one c for which Σ‖c m − g‖² is least (derived)."""
    columns = np.stack([recorded[name][points] for name in ("cross", "power", "square")])
    sound = np.isfinite(columns).all(axis=(0, 1))
    kept = columns[..., sound].astype(np.float64)
    count = kept.shape[1]

    def error(
        means: Float[np.ndarray, "resamples columns"],
    ) -> Float[np.ndarray, "resamples points"]:
        cross, power, square = np.split(means, [count, 2 * count], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shared = np.where(power * square > 0, cross**2 / (power * square), 0.0)
        return np.sqrt(np.maximum(1 - shared, 0.0))

    by_run = kept.reshape(3 * count, -1).T
    value = error(by_run.mean(axis=0)[None])[0]
    low, high = ends(error(resampled_means(by_run, RESAMPLES, 0)))
    chance = np.ones(count)
    return ErrorCurve(
        "scaled", iteration[points] - 1, Curve(value, low, high), chance, int(sound.sum())
    )


def _exact(
    recorded: Mapping[str, np.ndarray], iteration: Int64[np.ndarray, " points"], points: np.ndarray
) -> ErrorCurve:
    error, square = recorded["error"][points], recorded["square"][points]
    sound = np.isfinite(error).all(axis=0)
    right = (error <= EXACT**2 * square)[:, sound].sum(axis=1).astype(np.int64)
    found = proportions(right, int(sound.sum()))
    missed = Curve(1 - found.value, 1 - found.high, 1 - found.low)
    chance = np.ones(right.size)
    return ErrorCurve("exact", iteration[points] - 1, missed, chance, int(sound.sum()), "share")


def _sign(
    attack: str,
    right: str,
    recorded: Mapping[str, np.ndarray],
    iteration: Int64[np.ndarray, " points"],
    points: np.ndarray,
) -> ErrorCurve:
    """Shares of wrong signs; runs are what is independent, not coordinates."""
    signs = recorded["signs"][points]
    wrong = signs - recorded[right][points]
    root = relative_rmse(wrong.T, signs.T)
    squared = Curve(root.value**2, root.low**2, root.high**2)
    sound = int(np.isfinite(wrong).all(axis=0).sum())
    chance = np.full(int(points.sum()), 0.5)
    return ErrorCurve(attack, iteration[points] - 1, squared, chance, sound, "share")


def _root_mean_square(value: Columns) -> Curve:
    return relative_rmse(value.T**2, np.ones_like(value.T))
