"""Schedules against NumPy, Python floats and the optax functions themselves."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dpe_jax.errors import InputError
from dpe_jax.schedules import OptaxSchedule, PowerLaw, Schedule, as_schedule

K = np.arange(5000)


def relative_error(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(values - expected) / np.abs(expected)))


@pytest.mark.parametrize(
    ("scale", "exponent", "offset"),
    [(0.5, 0.9, 1.0), (2.0, 0.5, 10.0), (1.0, 1.0, 1.0), (3.0, 0.0, 1.0), (0.1, 0.75, 0.3)],
)
def test_power_law_is_the_formula(scale: float, exponent: float, offset: float) -> None:
    values = PowerLaw(scale, exponent, offset).values(K)
    expected = np.array([scale * math.pow(k + offset, -exponent) for k in range(5000)])
    assert values.dtype == np.float64
    assert relative_error(values, expected) < 1e-15
    # The same comparison sees an exponent that is off in the tenth digit.
    if exponent > 0:
        wrong = np.array([scale * math.pow(k + offset, -exponent - 1e-10) for k in range(5000)])
        assert relative_error(values, wrong) > 1e-12


def test_power_law_of_one_is_the_table_of_the_article() -> None:
    """1 − μγ^k, μ = 0.5, γ^k = 1/(k+1), as the article prints it."""
    k = np.array([1, 5, 10, 20, 50, 100, 200])
    attenuated = 1 - 0.5 * PowerLaw(1.0, 1.0).values(k)
    printed = np.array([0.75, 0.917, 0.955, 0.976, 0.990, 0.995, 0.998])
    np.testing.assert_allclose(attenuated, printed, rtol=0, atol=5.1e-4)


SCHEDULES = [
    PowerLaw(0.5, 0.9),
    PowerLaw(2.0, 0.5, 10.0),
    OptaxSchedule(lambda k: 0.5 / (k + 1) ** 0.9),
    OptaxSchedule(optax.schedules.cosine_decay_schedule(0.3, 100_000)),
    OptaxSchedule(lambda k: 0.5 if k < 100 else math.exp(-k / 3000)),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.describe())
def test_values_do_not_depend_on_the_chunk(schedule: Schedule) -> None:
    k = np.arange(300, 2700)
    whole = schedule.values(k)
    pieces = [schedule.values(part) for part in np.split(k, [1, 8, 725, 726, 1003, 2399])]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    order = np.random.default_rng(1).permutation(len(k))
    np.testing.assert_array_equal(whole[order], schedule.values(k[order]))
    assert schedule.values(k[:0]).shape == (0,)


OPTAX = {
    "cosine": optax.schedules.cosine_decay_schedule(0.3, 3000, alpha=0.01),
    "exponential": optax.schedules.exponential_decay(0.7, 500, 0.9),
    "staircase": optax.schedules.exponential_decay(0.7, 500, 0.9, staircase=True),
    "polynomial": optax.schedules.polynomial_schedule(0.9, 0.1, 2.0, 4000),
    "warmup": optax.schedules.warmup_cosine_decay_schedule(0.01, 0.3, 200, 4500, 0.001),
    "piecewise": optax.schedules.piecewise_constant_schedule(0.5, {1000: 0.3, 2000: 0.1}),
    "constant": optax.schedules.constant_schedule(0.25),
    "integer": optax.schedules.constant_schedule(1),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax_schedule_is_the_function_in_float64(name: str) -> None:
    k = np.concatenate([np.arange(0, 5000, 97), [199, 200, 1000, 1001, 2999, 3000, 3001]])
    values = OptaxSchedule(OPTAX[name]).values(k)
    expected = np.array([np.asarray(OPTAX[name](int(i)), np.float64) for i in k])
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=2e-14, atol=1e-17)


def test_optax_schedule_is_evaluated_in_64_bits() -> None:
    """Against NumPy's float64; the same comparison must reject single precision."""
    k = np.arange(3000)
    values = OptaxSchedule(optax.schedules.cosine_decay_schedule(0.3, 4000)).values(k)
    expected = 0.3 * 0.5 * (1 + np.cos(np.pi * k / 4000))
    assert relative_error(values, expected) < 1e-13
    assert relative_error(expected.astype(np.float32), expected) > 1e-8
    # Counts above 2^24 keep their last digit, and a power above 2^63 does not wrap round.
    large = np.array([2**24, 2**24 + 1, 10**12 + 1])
    assert relative_error(OptaxSchedule(lambda k: k).values(large), large) == 0
    cube = OptaxSchedule(lambda k: 1 / (k + 1) ** 3).values(large)
    assert relative_error(cube, np.array([1 / (int(i) + 1) ** 3 for i in large])) < 1e-15


def test_functions_that_cannot_be_traced_get_python_integers() -> None:
    table = np.linspace(1.0, 0.1, 50)
    k = np.array([0, 3, 49, 7])
    np.testing.assert_array_equal(OptaxSchedule(lambda i: table[i]).values(k), table[k])
    branching = OptaxSchedule(lambda i: 1.0 if i < 5 else math.sqrt(1 / i))
    np.testing.assert_array_equal(
        branching.values(k), [1.0, 1.0, math.sqrt(1 / 49), math.sqrt(1 / 7)]
    )
    assert math.isnan(OptaxSchedule(lambda i: table[i]).decay_exponent())


def test_exponent_of_a_power_law_is_exact() -> None:
    schedule = PowerLaw(0.5, 0.9)
    assert schedule.exact
    assert schedule.decay_exponent() == 0.9


@pytest.mark.parametrize(
    ("function", "exponent", "tolerance"),
    [
        (lambda k: 0.5 / (k + 1) ** 0.9, 0.9, 1e-6),
        (lambda k: 3.0 / (k + 1000), 1.0, 1e-6),
        (lambda k: 3.0 / (k + 7) ** 2, 2.0, 1e-6),
        (lambda k: 1 / ((k + 2) * jnp.log(k + 2)), 1.0, 0.06),
        (lambda k: 0.3 * (1 + jnp.cos(2 * jnp.pi * k / 32)) / (k + 1) ** 0.7, 0.7, 1e-3),
        (lambda k: 0.01 if k < 3 else 1 / math.sqrt(k), 0.5, 1e-6),
        (OPTAX["constant"], 0.0, 0.0),
        (OPTAX["cosine"], 0.0, 0.0),
        (OPTAX["polynomial"], 0.0, 0.0),
    ],
)
def test_exponent_of_a_function_is_estimated(function, exponent: float, tolerance: float) -> None:
    schedule = OptaxSchedule(function)
    assert not schedule.exact
    assert abs(schedule.decay_exponent() - exponent) <= tolerance


@pytest.mark.parametrize(
    "function",
    [
        optax.schedules.cosine_decay_schedule(0.3, 3000),
        optax.schedules.linear_schedule(0.3, 0.0, 1000),
        OPTAX["exponential"],
        optax.schedules.exponential_decay(0.7, 10**9, 0.9),
    ],
)
def test_exponent_of_faster_decay_than_any_power_is_infinite(function) -> None:
    assert OptaxSchedule(function).decay_exponent() == math.inf


def test_as_schedule() -> None:
    schedule = PowerLaw(0.5, 0.9)
    assert as_schedule(schedule) is schedule
    for number in (0.25, np.float64(0.25)):
        constant = as_schedule(number)
        np.testing.assert_array_equal(constant.values(K), np.full(5000, 0.25))
        assert constant.decay_exponent() == 0.0
    assert as_schedule(2).values(K[:2]).tolist() == [2.0, 2.0]
    assert isinstance(as_schedule(OPTAX["cosine"]), OptaxSchedule)
    for wrong in ("0.5", None, True, -1.0, 0.0, math.nan):
        with pytest.raises(InputError):
            as_schedule(wrong)


def test_descriptions() -> None:
    assert PowerLaw(0.5, 0.9).describe() == "0.5 (k+1)^-0.9"
    assert PowerLaw(2.0, 1.0, 10.0).describe() == "2 (k+10)^-1"
    assert as_schedule(0.25).describe() == "0.25"
    assert OptaxSchedule(OPTAX["cosine"]).describe() == "cosine_decay_schedule"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0.0, 1.0), "scale"),
        ((-1.0, 1.0), "scale"),
        ((math.inf, 1.0), "scale"),
        ((1.0, -0.1), "exponent"),
        ((1.0, math.nan), "exponent"),
        ((1.0, 1.0, 0.0), "offset"),
        ((1.0, 2.0, 1e-300), "offset"),
    ],
)
def test_power_law_refuses(arguments: tuple[float, ...], named: str) -> None:
    with pytest.raises(InputError, match=f"^{named} = "):
        PowerLaw(*arguments)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda k: 1.0 - 0.1 * k, r"schedule\(11\) = -0.1"),
        (lambda k: 1 / (k - 20.0), r"schedule\(0\) = -0.05"),
        (lambda k: jnp.where(k == 17, jnp.nan, 1.0), r"schedule\(17\) = nan"),
        (lambda k: jnp.where(k > 30, jnp.inf, 1.0), r"schedule\(31\) = inf"),
        (lambda k: jnp.stack([k, k]), "returns one number"),
        (lambda k: "much", "one real number"),
    ],
)
def test_optax_schedule_refuses_values(function, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OptaxSchedule(function).values(np.arange(40))
