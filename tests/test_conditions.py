"""Each condition with a case that holds and one that does not."""

import math

import numpy as np
import optax
import pytest

from dpe_jax.conditions import Condition, convergence_conditions, sgd_conditions, violated
from dpe_jax.schedules import OptaxSchedule, PowerLaw, Schedule, as_schedule
from dpe_jax.stepsizes import Multipliers, NoMultipliers, Uniform

EQUAL = np.ones(5)
NAMES = [
    "attenuation sum",
    "attenuation squares",
    "stepsize sum",
    "stepsize squares",
    "stepsize against attenuation",
    "stepsize variance",
    "equal means",
    "unbiased quantization",
]


def names_of_violated(
    gamma: Schedule,
    stepsize: Schedule,
    multipliers: Multipliers | None = None,
    means: np.ndarray = EQUAL,
    rounding: str = "stochastic",
) -> list[str]:
    conditions = convergence_conditions(gamma, stepsize, multipliers or Uniform(), means, rounding)
    assert [condition.name for condition in conditions] == NAMES
    return [condition.name for condition in violated(conditions)]


def power(exponent: float) -> PowerLaw:
    return PowerLaw(0.5, exponent)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.9), (0.51, 0.8), (0.9, 1.0), (0.9, 0.96)])
def test_power_laws_inside_the_region_violate_nothing(a: float, b: float) -> None:
    assert names_of_violated(power(a), power(b)) == []


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # The known negative control: γ = λ = 1/(k+1) stalls.
        (1.0, 1.0, ["stepsize against attenuation"]),
        (1.01, 1.1, ["attenuation sum", "stepsize sum"]),
        (0.5, 0.9, ["attenuation squares"]),
        (0.6, 1.001, ["stepsize sum"]),
        (0.0, 0.9, ["attenuation squares"]),
        # 2b − a is 1 up to rounding: 0.9999999999999999, 1.0 and 1.0000000000000002 alike.
        (0.9, 0.95, ["stepsize against attenuation"]),
        (0.6, 0.8, ["stepsize against attenuation"]),
        (0.8, 0.9, ["stepsize against attenuation"]),
        (0.6, 0.5, ["stepsize squares", "stepsize against attenuation", "stepsize variance"]),
        (0.6, 0.0, ["stepsize squares", "stepsize against attenuation", "stepsize variance"]),
    ],
)
def test_power_laws_outside_violate_what_they_should(
    a: float, b: float, expected: list[str]
) -> None:
    assert names_of_violated(power(a), power(b)) == expected


def test_region_agrees_with_partial_sums() -> None:
    """Octaves of a divergent sum do not shrink, those of a convergent one do; by integrals."""

    def grows(exponent: float) -> bool:
        """Whether k^−exponent sums to as much over [2^39, 2^40] as over [2^19, 2^20]."""

        def octave(n: int) -> float:
            x = np.geomspace(2.0**n, 2.0 ** (n + 1), 2000)
            y = x**-exponent
            return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)))

        return octave(39) > 0.999 * octave(19)

    for a in (0.3, 0.45, 0.6, 0.8, 0.95, 1.1):
        for b in (0.4, 0.6, 0.7, 0.85, 0.99, 1.2):
            expected = [
                name
                for name, fails in [
                    ("attenuation sum", not grows(a)),
                    ("attenuation squares", grows(2 * a)),
                    ("stepsize sum", not grows(b)),
                    ("stepsize squares", grows(2 * b)),
                    ("stepsize against attenuation", grows(2 * b - a)),
                    ("stepsize variance", grows(2 * b)),
                ]
                if fails
            ]
            assert names_of_violated(power(a), power(b)) == expected, (a, b)


def test_constant_stepsize_without_multipliers_has_no_variance() -> None:
    expected = ["stepsize squares", "stepsize against attenuation"]
    assert names_of_violated(power(0.6), as_schedule(0.1), NoMultipliers()) == expected
    assert names_of_violated(power(0.6), as_schedule(0.1), Uniform(0.0)) == expected
    lanes = Uniform(np.array([0.0, 0.5]))
    assert names_of_violated(power(0.6), as_schedule(0.1), lanes) == [
        *expected,
        "stepsize variance",
    ]


@pytest.mark.parametrize(
    ("means", "holds"),
    [
        (np.ones(5), True),
        (np.full(3, 0.7), True),
        (np.full(3, 0.1) * 3 / 3, True),
        (np.array([1.0, 1.0, 1.2]), False),
        (np.array([1.0, 1.000001]), False),
        (np.array([1.0, math.nan]), False),
    ],
)
def test_means(means: np.ndarray, holds: bool) -> None:
    found = names_of_violated(power(0.6), power(0.9), means=means)
    assert found == ([] if holds else ["equal means"])


@pytest.mark.parametrize("rounding", ["nearest", "none", ""])
def test_rounding(rounding: str) -> None:
    found = names_of_violated(power(0.6), power(0.9), rounding=rounding)
    assert found == ["unbiased quantization"]


def condition(conditions: tuple[Condition, ...], name: str) -> Condition:
    return next(entry for entry in conditions if entry.name == name)


def test_details_carry_the_numbers() -> None:
    conditions = convergence_conditions(power(0.9), power(0.8), Uniform(), EQUAL, "nearest")
    ratio = condition(conditions, "stepsize against attenuation")
    assert ratio.statement == "Σ (λ̄^k)²/γ^k < ∞ (needs 2b − a > 1)"
    assert ratio.detail == "a = 0.9, b = 0.8, 2b − a = 0.7"
    assert condition(conditions, "stepsize variance").detail == "ρ² = 0.333333, b = 0.8"
    assert condition(conditions, "unbiased quantization").detail == "rounding is nearest"


def test_estimated_exponents_are_called_so_and_doubted_at_the_boundary() -> None:
    inside = OptaxSchedule(lambda k: 1 / (k + 1) ** 0.75)
    border = OptaxSchedule(lambda k: 1 / (k + 1) ** 0.99)
    first = sgd_conditions(inside)[0].detail
    second = sgd_conditions(border)[0].detail
    assert "b = 0.75 (estimated)" in first
    assert "boundary" not in first
    assert "b = 0.99 (estimated)" in second
    assert "within 0.02 of the boundary 1" in second
    assert sgd_conditions(power(0.99))[0].detail == "b = 0.99"
    # One estimate is enough to doubt 2b − a.
    ratio = convergence_conditions(power(0.98), border, Uniform(), EQUAL, "stochastic")[4]
    assert "boundary" in ratio.detail


def test_schedules_that_end() -> None:
    ending = OptaxSchedule(optax.schedules.cosine_decay_schedule(0.3, 1000))
    assert names_of_violated(ending, power(0.9)) == [
        "attenuation sum",
        "stepsize against attenuation",
    ]
    assert names_of_violated(power(0.6), ending) == ["stepsize sum"]
    # Both vanish: their ratio is not known, and what is not known does not hold.
    both = convergence_conditions(ending, ending, Uniform(), EQUAL, "stochastic")
    assert [entry.name for entry in violated(both)] == [
        "attenuation sum",
        "stepsize sum",
        "stepsize against attenuation",
    ]
    assert "2b − a = unknown" in both[4].detail


def test_unknown_exponent_establishes_nothing() -> None:
    table = np.ones(10)
    unknown = OptaxSchedule(lambda k: table[k])
    assert len(violated(sgd_conditions(unknown))) == 2
    assert "unknown" in sgd_conditions(unknown)[0].detail


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (power(0.6), []),
        (power(1.0), []),
        (power(0.5), ["stepsize squares"]),
        (as_schedule(0.1), ["stepsize squares"]),
        (power(1.2), ["stepsize sum"]),
        (OptaxSchedule(optax.schedules.exponential_decay(0.5, 10, 0.9)), ["stepsize sum"]),
        (OptaxSchedule(lambda k: 1 / (k + 1)), []),
    ],
)
def test_sgd_conditions(schedule: Schedule, expected: list[str]) -> None:
    assert [entry.name for entry in violated(sgd_conditions(schedule))] == expected
