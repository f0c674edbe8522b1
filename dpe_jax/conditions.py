"""Sufficient conditions for almost sure convergence, checked on the schedules before a run.

With γ^k ~ k^−a and λ̄^k ~ k^−b, a sum of powers converges when its exponent is above one.
Reconstructed from the group's earlier papers, except `sgd_conditions`.
"""

import math
from collections.abc import Iterable

import equinox as eqx
import numpy as np
from jaxtyping import Float64

from dpe_jax.schedules import Schedule
from dpe_jax.stepsizes import Multipliers

# 2b − a of exponents such as 0.8 and 0.6 is 1 up to rounding, and a boundary must not be missed.
_ROUNDING = 1e-9
_NEAR = 0.02
_EQUAL_MEANS = 1e-12


class Condition(eqx.Module):
    """A condition, whether it holds and the numbers that decide it."""

    name: str = eqx.field(static=True)
    """In a word or two."""
    statement: str = eqx.field(static=True)
    """What has to hold, as a formula."""
    holds: bool = eqx.field(static=True)
    detail: str = eqx.field(static=True)
    """The numbers."""


def convergence_conditions(
    gamma: Schedule,
    stepsize: Schedule,
    multipliers: Multipliers,
    means: Float64[np.ndarray, "agents"],
    rounding: str,
) -> tuple[Condition, ...]:
    """The sufficient conditions of the encrypted method with random stepsizes.

    Σγ = ∞, Σγ² < ∞, Σλ̄ = ∞, Σλ̄² < ∞, Σλ̄²/γ < ∞, Σ Var < ∞ with Var = ρ²(λ̄^k)², equal means of
    the agents' stepsizes, and unbiased quantization (`rounding` is "stochastic"). Reconstructed.
    """
    return (
        *_two_scales(gamma, stepsize, "λ̄^k"),
        _variance_converges(stepsize, multipliers),
        _equal_means(means),
        Condition(
            name="unbiased quantization",
            statement="E Q(x) = x (needs stochastic rounding)",
            holds=rounding == "stochastic",
            detail=f"rounding is {rounding}",
        ),
    )


def sgd_conditions(stepsize: Schedule) -> tuple[Condition, ...]:
    """Σλ = ∞ and Σλ² < ∞, for conventional decentralized SGD and for centralised SGD.

    Robbins and Monro 1951; Nedić and Ozdaglar 2009 for the decentralized method.
    """
    return (
        _diverges("stepsize sum", "λ^k", "b", stepsize),
        _squares_converge("stepsize squares", "λ^k", "b", stepsize),
    )


def quantized_conditions(gamma: Schedule, stepsize: Schedule) -> tuple[Condition, ...]:
    """Σγ = ∞, Σγ² < ∞, Σλ = ∞, Σλ² < ∞, Σλ²/γ < ∞, for unbiased messages of bounded variance.

    Those of Wang and Başar 2023, one public λ^k; reconstructed.
    """
    return _two_scales(gamma, stepsize, "λ^k")


def noise_conditions(gamma: Schedule, stepsize: Schedule, noise: Schedule) -> tuple[Condition, ...]:
    """Σγ = ∞, Σλ = ∞, Σλ²/γ < ∞ and Σγ²ν² < ∞, for messages with noise of a scale ν^k.

    Those of Wang and Nedić 2023; Σλ² < ∞ follows from Σλ²/γ < ∞. Reconstructed.
    """
    a, v = gamma.decay_exponent(), -noise.decay_exponent()
    difference = 2.0 * (a - v)
    return (
        _diverges("attenuation sum", "γ^k", "a", gamma),
        _diverges("stepsize sum", "λ^k", "b", stepsize),
        _ratio_converges(gamma, stepsize, "λ^k"),
        Condition(
            name="noise against attenuation",
            statement="Σ (γ^k ν^k)² < ∞ (needs 2(a − v) > 1, ν^k ~ k^v)",
            holds=difference > 1.0 + _ROUNDING,
            detail=f"{_exponent('a', gamma)}, v = {_show(v)}"
            + f"{'' if noise.exact else ' (estimated)'}, 2(a − v) = {_show(difference)}"
            + _boundary(difference, 1.0, gamma, noise),
        ),
    )


def geometric_conditions(c: float, q: float) -> tuple[Condition, ...]:
    """As `sgd_conditions`, for the stepsize c q^k of a method that is private but not exact."""
    return (
        Condition(
            name="stepsize sum",
            statement="Σ λ^k = ∞",
            holds=False,
            detail=f"λ^k = {_show(c)} · {_show(q)}^k sums to {_show(c / (1 - q))}: x stops short",
        ),
        Condition(
            name="stepsize squares",
            statement="Σ (λ^k)² < ∞ (needs q < 1)",
            holds=True,
            detail=f"q = {_show(q)}",
        ),
    )


def error_exponent(gamma: Schedule, stepsize: Schedule, growth: float = 0.0) -> float | None:
    """β of the agents' error ~ k^−β with unlike costs: the slowest of its parts (derived).

    γ ~ k^−a, λ ~ k^−b, message errors of standard deviation k^v: k^−(b−a), the disagreement that
    unlike costs keep up; k^−(a/2−v), that of message errors; k^−b/2, the noise of the mean state.
    None where the error does not fall.
    """
    a, b = gamma.decay_exponent(), stepsize.decay_exponent()
    exponent = min(b - a, a / 2 - growth, b / 2)
    return exponent if math.isfinite(exponent) and exponent > 0 else None


def violated(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Those of the conditions that do not hold."""
    return tuple(condition for condition in conditions if not condition.holds)


def _diverges(name: str, symbol: str, letter: str, schedule: Schedule) -> Condition:
    exponent = schedule.decay_exponent()
    return Condition(
        name=name,
        statement=f"Σ {symbol} = ∞ (needs {letter} ≤ 1)",
        holds=exponent <= 1.0 + _ROUNDING,
        detail=_exponent(letter, schedule) + _boundary(exponent, 1.0, schedule),
    )


def _squares_converge(name: str, symbol: str, letter: str, schedule: Schedule) -> Condition:
    exponent = schedule.decay_exponent()
    return Condition(
        name=name,
        statement=f"Σ ({symbol})² < ∞ (needs {letter} > 1/2)",
        holds=exponent > 0.5 + _ROUNDING,
        detail=_exponent(letter, schedule) + _boundary(exponent, 0.5, schedule),
    )


def _two_scales(gamma: Schedule, stepsize: Schedule, symbol: str) -> tuple[Condition, ...]:
    return (
        _diverges("attenuation sum", "γ^k", "a", gamma),
        _squares_converge("attenuation squares", "γ^k", "a", gamma),
        _diverges("stepsize sum", symbol, "b", stepsize),
        _squares_converge("stepsize squares", symbol, "b", stepsize),
        _ratio_converges(gamma, stepsize, symbol),
    )


def _ratio_converges(gamma: Schedule, stepsize: Schedule, symbol: str) -> Condition:
    a, b = gamma.decay_exponent(), stepsize.decay_exponent()
    # Of two tails that vanish faster than any power the exponents do not tell the ratio: nan.
    difference = 2.0 * b - a
    return Condition(
        name="stepsize against attenuation",
        statement=f"Σ ({symbol})²/γ^k < ∞ (needs 2b − a > 1)",
        holds=difference > 1.0 + _ROUNDING,
        detail=f"{_exponent('a', gamma)}, {_exponent('b', stepsize)}, 2b − a = {_show(difference)}"
        + _boundary(difference, 1.0, gamma, stepsize),
    )


def _variance_converges(stepsize: Schedule, multipliers: Multipliers) -> Condition:
    b = stepsize.decay_exponent()
    largest = float(np.max(multipliers.variance))
    return Condition(
        name="stepsize variance",
        statement="Σ ρ² (λ̄^k)² < ∞ (needs b > 1/2 or ρ = 0)",
        holds=largest == 0.0 or b > 0.5 + _ROUNDING,
        detail=f"ρ² = {_show(largest)}, {_exponent('b', stepsize)}"
        + ("" if largest == 0.0 else _boundary(b, 0.5, stepsize)),
    )


def _equal_means(means: Float64[np.ndarray, "agents"]) -> Condition:
    low, high = float(np.min(means)), float(np.max(means))
    return Condition(
        name="equal means",
        statement="equality of the agents' mean stepsizes as k → ∞",
        # A nan compares false, and so does not hold.
        holds=high - low <= _EQUAL_MEANS * abs(high),
        detail=f"means from {_show(low)} to {_show(high)}, in units of λ̄^k",
    )


def _show(number: float) -> str:
    if math.isnan(number):
        return "unknown"
    return f"{number:.6g}"


def _exponent(letter: str, schedule: Schedule) -> str:
    text = f"{letter} = {_show(schedule.decay_exponent())}"
    return text if schedule.exact else f"{text} (estimated)"


def _boundary(value: float, bound: float, *schedules: Schedule) -> str:
    """A remark where an estimated exponent lies too near its bound to decide."""
    if all(schedule.exact for schedule in schedules) or not abs(value - bound) < _NEAR:
        return ""
    return f"; within {_NEAR:g} of the boundary {bound:g}, where an estimate cannot decide"
