"""A run of a float64 method that leaves the range says so, though it stays finite or returns."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import small
from common import NETWORK

from dpe_jax import experiment
from dpe_jax.algorithms import (
    Algorithm,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.algorithms.floating import FLOAT_LIMIT, bounded
from dpe_jax.errors import InputError
from dpe_jax.lattice import LEFT_RANGE, NON_FINITE, OK
from dpe_jax.problems import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.simulation import Simulation
from dpe_jax.study import Result, simulate

GAMMA, LITTLE = PowerLaw(0.5, 0.6), 1e-14
METHODS: dict[str, Callable[[Any], Algorithm]] = {
    "conventional": ConventionalDSGD,
    "centralized": CentralizedSGD,
    "function-sharing": lambda stepsize: FunctionSharing(stepsize, LITTLE),
    "state-sharing": lambda stepsize: RandomizedStateSharing(stepsize, LITTLE),
    "tailored": lambda stepsize: TailoredDP(stepsize, GAMMA, LITTLE, 1.0),
}
every_method = pytest.mark.parametrize("name", list(METHODS))
pytestmark = [
    pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning"),
    pytest.mark.slow,  # together over 20 s
]

BOWL = Quadratic(np.broadcast_to(np.eye(2), (5, 2, 2)).copy(), np.zeros((5, 2)))
"""f_i(x) = ½‖x‖²: agents that start at one point stay together, and x^k = Π_j (1 − λ^j) x_0."""


def path(stepsize: Any, start: float, length: int) -> np.ndarray:
    """|x^k| without a range, k = 0 … length."""
    values = ConventionalDSGD(stepsize).stepsize.values(np.arange(length))
    return start * np.abs(np.cumprod(np.concatenate([[1.0], 1 - values])))


def ended(
    name: str, stepsize: Any, x0: Any, length: int, problem: Quadratic = BOWL, points: int = 2
) -> Result:
    """Lengths from 33 to 64 share a program."""
    return simulate(
        METHODS[name](stepsize),
        problem,
        NETWORK,
        runs=3,
        iterations=length,
        points=points,
        spacing="linear",
        metrics=("error_mean_state",),
        x0=np.broadcast_to(x0, 2),
    )


def verdict(result: Result) -> tuple[list[int], list[int], np.ndarray]:
    curves = result.curves
    status, failed_at = curves.status.values[0].tolist(), curves.failed_at.values[0].tolist()
    return status, failed_at, curves.final_state.values[0]


@every_method
def test_a_run_that_ends_finite_but_far_away_has_left_the_range(name: str) -> None:
    """λ = 3 doubles |x| in each step."""
    assert 1e20 < path(3.0, 16.0, 63)[-1] < 1e21
    status, failed_at, final = verdict(ended(name, 3.0, 16.0, 63))
    assert status == [LEFT_RANGE] * 3
    assert failed_at == [63] * 3
    assert np.all(np.isnan(final))


@every_method
def test_it_is_seen_at_the_first_record_point_beyond_the_limit(name: str) -> None:
    """0.9 of the limit is in range, 1.1 is not."""
    for start, first in [(1.8 / 64, 36), (2.2 / 64, 35)]:
        assert int(np.argmax(path(3.0, start, 40) > FLOAT_LIMIT)) == first
        result = ended(name, 3.0, start, 40, points=41)
        status, failed_at, _ = verdict(result)
        assert status == [LEFT_RANGE] * 3
        assert failed_at == [first] * 3
        error = result.curves.error_mean_state.values[0]
        assert np.all(np.isnan(error[first:]))
        np.testing.assert_allclose(error[first - 1], np.sqrt(2) * start * 2.0 ** (first - 1), 1e-5)
    status, failed_at, final = verdict(ended(name, 3.0, 1.8 / 64, 35))
    assert (status, failed_at) == ([OK] * 3, [-1] * 3)
    np.testing.assert_allclose(np.abs(final), 0.9 * FLOAT_LIMIT, rtol=1e-5)


@every_method
def test_a_run_that_went_out_and_came_back_is_not_sound(name: str) -> None:
    """Decreasing stepsizes: |x| grows fiftyfold within four steps, and then goes to zero."""
    stepsize, length = PowerLaw(8.5, 1.0), 40
    for start, peak, expected in [(2.0**26, 3.1, LEFT_RANGE), (2.0**24, 0.8, OK)]:
        without = path(stepsize, start, length)
        assert without.max() / FLOAT_LIMIT == pytest.approx(peak, rel=0.03)
        assert without[-1] < 1e-6 * start
        status, failed_at, final = verdict(ended(name, stepsize, start, length))
        assert status == [expected] * 3
        if expected == OK:
            np.testing.assert_allclose(np.abs(final), without[-1], rtol=1e-3)
        else:
            assert failed_at == [length] * 3
            assert np.all(np.isnan(final))


@every_method
def test_one_agent_that_leaves_takes_its_lane_along(name: str) -> None:
    """Its neighbors turn NaN by mixing; the reason stays."""
    for curvature, expected in [(0.1, OK), (30.0, LEFT_RANGE)]:
        A = np.broadcast_to(np.eye(2) * 0.1, (5, 2, 2)).copy()
        A[2, 1, 1] = curvature
        result = ended(name, 3.0, 0.0, 60, Quadratic(A, np.ones((5, 2))))
        status, _, final = verdict(result)
        assert status == [expected] * 3
        assert np.all(np.isfinite(final)) == (expected == OK)


@every_method
def test_an_infinite_or_undefined_gradient_is_non_finite(name: str) -> None:
    """At 10⁹ a curvature of 9·10²⁹ overflows float32, and the difference of two such is NaN."""
    for off_diagonal, gradient in [(0.0, np.inf), (-5e29, np.nan)]:
        matrix = np.array([[9e29, off_diagonal], [off_diagonal, 9e29]], np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            found = (matrix * np.float32(1e9)).sum(axis=1)
        np.testing.assert_array_equal(found, gradient)
        problem = Quadratic(np.broadcast_to(matrix, (5, 2, 2)).astype(float), np.zeros((5, 2)))
        assert verdict(ended(name, 3.0, 1e9, 60, problem))[0] == [NON_FINITE] * 3


def test_marks_of_elements() -> None:
    beyond = np.nextafter(8.0, 9.0)
    cases = [
        (0.0, 8.0, 8.0),
        (0.0, -8.0, -8.0),
        (7.0, beyond, np.inf),
        (7.0, -beyond, np.inf),
        (0.0, 1e300, np.inf),
        (0.0, np.inf, np.nan),
        (0.0, -np.inf, np.nan),
        (0.0, np.nan, np.nan),
        (np.inf, 1.0, np.inf),
        (np.inf, np.nan, np.inf),
        (np.nan, np.nan, np.nan),
    ]
    x, moved, expected = np.array(cases).T
    following = np.asarray(bounded(jnp.asarray(x), jnp.asarray(moved), 8.0))
    np.testing.assert_array_equal(following, expected)


# Refusals


def encrypted(stepsize: Any) -> Algorithm:
    return EncryptedDSGD(GAMMA, stepsize, delta=0.5)


@pytest.mark.parametrize(
    ("make", "limit", "named"),
    [
        *((make, 2.0**30, "2³⁰ = 1.07374e+09") for make in METHODS.values()),
        (encrypted, 2.0**27, "2²⁸ δ = 1.34218e+08"),
        (lambda stepsize: TernaryDSGD(stepsize, GAMMA, 3.0), 3.0, "range = 3"),
        (lambda _: GeometricDP(0.1, 0.8, 1.0, 0.9, 4.0, 1.0), 4.0, "radius = 4"),
    ],
)
def test_a_start_out_of_range_is_refused_in_one_short_line(make, limit: float, named: str) -> None:
    method = make(0.1)
    assert method.reach() == limit
    x0 = np.zeros((5, 2))
    x0[3, 1] = -limit
    Simulation({"m": method}, BOWL, NETWORK, 1, 1, x0=x0)
    x0[3, 1] = -1.5 * limit
    with pytest.raises(InputError) as caught:
        Simulation({"m": method}, BOWL, NETWORK, 1, 1, x0=x0)
    message = f"x0 = {1.5 * limit!r}: expected numbers of magnitude at most {named} (method m)"
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda bound: TernaryDSGD(0.1, 0.1, bound), "range"),
        (lambda bound: GeometricDP(0.1, 0.8, 1.0, 0.9, bound, 1.0), "radius"),
    ],
)
def test_a_bound_of_ones_own_lies_within_the_limit(make, named: str) -> None:
    make(2.0**30)
    with pytest.raises(InputError, match=f"{named} = 1500000000.0: expected at most 1.07374e"):
        make(1.5e9)


# Messages


def failing(tmp_path, method: dict[str, Any], **changes: Any) -> tuple[list[str], str]:
    """The notes of a run, and the detail of its first check."""
    config = small.config({"iterations": 70, "methods": {"m": method}, **changes})
    outcome = experiment.run(config, tmp_path / "out", check=True)
    [check] = [check for check in outcome.checks if check.name == "m: every run sound"]
    assert not check.passed
    return outcome.warnings, check.detail


STEEP = {"method": "ConventionalDSGD", "stepsize": {"scale": 5.0, "exponent": 0.0}}


def test_why_runs_failed_is_said(tmp_path) -> None:
    ternary = {"method": "TernaryDSGD", "gamma": small.GAMMA, "range": 2.5}
    for method, reach in [(STEEP, "1.07374e+09"), (STEEP | ternary, "2.5")]:
        notes, detail = failing(tmp_path / reach, method)
        [note] = [note for note in notes if "first by iteration" in note]
        assert note.startswith("m: of 20 runs 20 left the range, the first by iteration ")
        assert f"; the range is |x| ≤ {reach}; they are left out of means" in note
        assert detail == "20 of 20 failed: 20 left the range"
    changes = {"problem.curvature": [9e28, 9e28], "problem.spread": 1e12}
    notes, detail = failing(tmp_path / "infinite", STEEP, **changes)
    [note] = [note for note in notes if "first by iteration" in note]
    assert (
        "20 non-finite, the first by iteration 1; non-finite: a gradient or an increment was NaN"
        in note
    )
    assert detail == "20 of 20 failed: 20 non-finite"


@pytest.mark.parametrize(("c", "held"), [(30.0, True), (0.1, False)])
def test_runs_that_end_on_the_box_are_told(tmp_path, c: float, held: bool) -> None:
    """What is projected cannot leave the range, so divergence shows on the box only."""
    method = {"method": "GeometricDP", "c": c, "q": 0.999, "M": 0.1, "p": 0.9995, "radius": 4.0}
    changes = {"methods": {"geo": method | {"gradient_bound": 5.0}}}
    outcome = experiment.run(small.config(changes), tmp_path / "out")
    told = [line for line in outcome.warnings if "end on the box" in line]
    final = outcome.stored.curves.final_state.values
    expected = int((abs(final) >= 4.0).any(axis=(0, 1, 2)).sum())
    assert (expected > 0) is held
    assert told == (
        [
            f"geo: {expected} of 20 runs end on the box |x_l| ≤ 4 that x is projected on, as runs "
            "that diverge do"
        ]
        if held
        else []
    )


def test_a_start_out_of_range_is_refused_in_the_name_of_its_method() -> None:
    ternary = {"method": "TernaryDSGD", "range": 2.0}
    ternary |= {"gamma": small.GAMMA, "stepsize": small.STEPSIZE}
    changes = {"x0": [3.0, 0.0], "methods": {"plain": small.CONVENTIONAL, "short": ternary}}
    with pytest.raises(InputError, match=r"^x0 = 3\.0: .* range = 2 \(method short\)$"):
        small.config(changes).build()
