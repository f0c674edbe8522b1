"""Increments recomputed in NumPy: as close as floating point lets them be, and never when wrong."""

import ast
import dataclasses
import functools
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from common import GAMMA, NETWORK, STEPSIZE, traced
from samples import METHOD

from dpe_jax import philox, recompute
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.problems import (
    EmpiricalRisk,
    Problem,
    Quadratic,
    SensorEstimation,
    breast_cancer,
    diabetes,
    digits,
    digits_network,
    fraud,
)
from dpe_jax.problems.logistic import logistic_loss
from dpe_jax.recompute import Difference, Segment, compare, unsupported
from dpe_jax.stepsizes import Gamma, LogNormal, NoMultipliers, Normal, TwoPoint, Uniform
from dpe_jax.study import simulate

# Agents with unequal mean stepsizes are warned of.
pytestmark = [
    pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning"),
    pytest.mark.slow,  # together over 20 s
]

STEPS, SEED, RUNS = 60, 2**40 + 7, (1, 4)
MEANS = (0.5, 1.0, 2.0, 1.5, 0.75)

QUADRATIC = Quadratic.random(5, 3, seed=1, noise=0.3)
QUIET = Quadratic.random(5, 12, seed=1)
SENSORS = SensorEstimation.random(5, 3, 4, seed=1, noise=0.3)
LOGISTIC = breast_cancer(5, split="dirichlet", penalty=0.05, batch=6)

RNG = np.random.default_rng(0)
# A user's own data: labels other than ±1, agents that count alike, all samples at once.
OWN = EmpiricalRisk(
    logistic_loss,
    [(RNG.normal(size=(m, 2)), RNG.normal(size=m)) for m in (2, 9, 4, 1, 30)],
    dim=2,
    weighting="agents",
    penalty=0.1,
)


def method(multipliers=None, means=None) -> EncryptedDSGD:
    return EncryptedDSGD(GAMMA, STEPSIZE, multipliers=multipliers or Uniform(), means=means)


# No normal is drawn for these: in float64 nothing but the rounding to an integer is left.
SHARP = {
    "quadratic, uniform": (QUIET, method(Uniform(0.9), MEANS)),
    "sensors, two-point": (
        eqx.tree_at(lambda p: p.noise, SENSORS, 0.0),
        method(TwoPoint(0.2, 3.0), MEANS),
    ),
    "logistic, none": (LOGISTIC, method(NoMultipliers())),
    "own samples, two-point": (OWN, method(TwoPoint(-1.0, 2.0))),
}
NORMAL = {
    "quadratic, normal": (QUADRATIC, method(Normal(0.5), MEANS)),
    "sensors, lognormal": (SENSORS, method(LogNormal(0.8))),
    "logistic, gamma": (LOGISTIC, method(Gamma(0.5), MEANS)),
}
CASES = SHARP | NORMAL


@functools.cache
def segments(case: str, precision: str) -> tuple[Segment, ...]:
    """What the program recorded of two runs."""
    problem, algorithm = CASES[case]
    trace = traced(algorithm, problem, iterations=STEPS, trace=RUNS, seed=SEED, precision=precision)
    assert not trace.status.any()
    scale = algorithm.table(NETWORK, np.arange(STEPS)).increment_scale
    return tuple(
        Segment(int(run), 0, trace.state[lane, :-1], trace.increment[lane], scale)
        for lane, run in enumerate(trace.run)
    )


def difference(
    case, precision, *, problem=None, algorithm=None, seed=SEED, parts=None
) -> Difference:
    usual_problem, usual_algorithm = CASES[case]
    found = compare(
        problem or usual_problem,
        algorithm or usual_algorithm,
        segments(case, precision) if parts is None else parts,
        seed,
        precision,
    )
    assert found is not None
    assert found.precision == precision
    return found


def programs_normal(word):
    """The program's own normals, float32 whatever the precision."""
    return np.asarray(philox.normal(jnp.asarray(word), jnp.dtype("float32")), np.float64)


@pytest.mark.parametrize("case", SHARP)
def test_float64_is_off_by_the_rounding_to_an_integer_only(case: str) -> None:
    found = difference(case, "float64")
    assert found.increments == 2 * STEPS * 5 * CASES[case][0].dim
    # Terms of U are below 1e13, in lattice units: float64 adds less than a hundredth to the half.
    assert 0.4 < found.largest_ulp < 0.51
    assert 0.15 < found.median_ulp < 0.35  # ¼ if fractions are uniform
    assert found.largest_relative < 1e-5


@pytest.mark.parametrize("case", NORMAL)
def test_float64_with_normals_is_off_by_their_float32(case: str, monkeypatch) -> None:
    plain = difference(case, "float64")
    assert 1e3 < plain.largest_ulp < 1e7
    assert plain.largest_relative < 3e-4
    monkeypatch.setattr(recompute, "_normal", programs_normal)
    if not isinstance(CASES[case][1].multipliers, Gamma):
        # exp and the like are float64 in both, and nothing else is left than the rounding.
        assert difference(case, "float64").largest_ulp < 0.51
        return
    problem, algorithm = CASES[case]
    ones = dataclasses.replace(algorithm, multipliers=NoMultipliers())
    for part in segments(case, "float64"):
        given = problem, part.run, part.first, part.state, part.scale, SEED
        exact = recompute.recompute(given[0], algorithm, *given[1:])
        unit = recompute.recompute(given[0], ones, *given[1:])
        assert exact is not None
        assert unit is not None
        # The polynomial for the quantile m is within 1e-5 of max(1, m).
        allowed = 0.51 + 1e-5 * np.maximum(np.abs(unit), np.abs(exact))
        assert np.all(np.abs(part.increment - exact) < allowed)


@pytest.mark.parametrize("case", [*NORMAL, "logistic, none"])
def test_float32_is_off_by_its_last_places(case: str) -> None:
    found = difference(case, "float32")
    # About one unit; the gamma quantile near zero is more off, the largest is a cancellation.
    assert 0.2 < found.median_ulp < (60 if case == "logistic, gamma" else 6)
    assert found.largest_ulp < 2e4
    assert 1e-8 < found.largest_relative < 3e-4


SETTINGS = ["quadratic, normal", "sensors, lognormal", "logistic, none"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_setting_stands_out(case: str, precision: str) -> None:
    algorithm = CASES[case][1]
    usual = segments(case, precision)
    right = difference(case, precision)

    def wrong(**changes) -> float:
        """How many times larger every one of the three figures is."""
        found = difference(case, precision, **changes)
        return min(
            found.largest_ulp / right.largest_ulp,
            found.median_ulp / right.median_ulp,
            found.largest_relative / right.largest_relative,
        )

    def other(**changes) -> EncryptedDSGD:
        return dataclasses.replace(algorithm, **changes)

    def altered(change) -> list[Segment]:
        return [dataclasses.replace(part, **change(part)) for part in usual]

    assert wrong() == 1
    assert wrong(algorithm=other(delta=2 * algorithm.delta)) > 100
    assert wrong(algorithm=other(multipliers=TwoPoint(0.5, 2.0))) > 100
    assert wrong(algorithm=other(multipliers=Uniform(0.5))) > 100
    means = np.array(algorithm.means or (1.0,) * 5)
    assert wrong(algorithm=other(means=tuple(1.1 * means))) > 100
    assert wrong(parts=altered(lambda part: {"scale": 1.1 * part.scale})) > 100
    assert wrong(parts=altered(lambda part: {"state": np.roll(part.state, 1, axis=0)})) > 100
    assert wrong(seed=SEED + 1) > 100
    assert wrong(seed=SEED % 2**32) > 100
    assert wrong(parts=altered(lambda part: {"run": part.run + 1})) > 100
    assert wrong(parts=altered(lambda part: {"first": part.first + 1})) > 100


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("quadratic, normal", Quadratic(QUADRATIC.A, QUADRATIC.b, 0.31)),
        ("quadratic, normal", Quadratic(QUADRATIC.A * 1.01, QUADRATIC.b, 0.3)),
        ("sensors, lognormal", SensorEstimation(SENSORS.M, SENSORS.z, SENSORS.omega, 0.31)),
        ("sensors, lognormal", SensorEstimation(SENSORS.M, SENSORS.z, SENSORS.omega + 0.1, 0.3)),
        ("logistic, none", breast_cancer(5, split="dirichlet", penalty=0.06, batch=6)),
        ("logistic, none", breast_cancer(5, split="dirichlet", penalty=0.05, batch=7)),
        ("logistic, none", breast_cancer(5, split="dirichlet", penalty=0.05, batch=6, seed=1)),
        ("logistic, none", breast_cancer(5, penalty=0.05, batch=6)),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_another_problem_stands_out(case: str, problem, precision: str) -> None:
    right, wrong = difference(case, precision), difference(case, precision, problem=problem)
    assert wrong.median_ulp > 100 * right.median_ulp
    assert wrong.largest_relative > 50 * right.largest_relative


def test_a_program_whose_gradients_are_wrong_is_found_out(monkeypatch) -> None:
    # A dimension that no other test of this file uses: the program is compiled anew.
    problem, algorithm = Quadratic.random(5, 4, seed=1), method()
    gradient = Quadratic.gradient
    monkeypatch.setattr(
        Quadratic, "gradient", lambda self, x, draws: gradient(self, x, draws).at[2].mul(1.001)
    )
    trace = traced(algorithm, problem, iterations=STEPS, trace=(0,))
    scale = np.asarray(algorithm.table(NETWORK, np.arange(STEPS)).increment_scale)
    part = Segment(0, 0, trace.state[0, :-1], trace.increment[0], scale)
    found = compare(problem, algorithm, [part], 0, "float32")
    assert found is not None
    assert found.largest_relative == pytest.approx(1e-3, rel=0.01)
    # Agent 2 alone: without the planted thousandth all is right.
    increment = part.increment.copy()
    increment[:, 2] = np.rint(increment[:, 2] / 1.001)
    mended = compare(
        problem, algorithm, [dataclasses.replace(part, increment=increment)], 0, "float32"
    )
    assert mended is not None
    assert mended.largest_relative < 1e-5


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("case", ["sensors, lognormal", "logistic, none"])
@pytest.mark.parametrize("pick", range(5))
def test_one_increment_off_by_a_thousandth_is_found(case: str, precision: str, pick: int) -> None:
    first, second = segments(case, precision)
    rng = np.random.default_rng(pick)
    large = np.argwhere(np.abs(second.increment) > np.median(np.abs(second.increment)))
    k, agent, coordinate = (int(index) for index in rng.choice(large))
    increment = second.increment.copy()
    increment[k, agent, coordinate] += round(1e-3 * int(increment[k, agent, coordinate]))
    found = difference(
        case, precision, parts=[first, dataclasses.replace(second, increment=increment)]
    )
    assert found.where == (RUNS[1], k, agent, coordinate)
    assert found.median_ulp == pytest.approx(difference(case, precision).median_ulp, rel=0.01)


@pytest.mark.parametrize("case", CASES)
def test_segments_of_time_are_the_whole(case: str, monkeypatch) -> None:
    problem, algorithm = CASES[case]
    part = segments(case, "float64")[0]

    def of(stretch: slice) -> np.ndarray:
        state, scale = part.state[stretch], part.scale[stretch]
        found = recompute.recompute(problem, algorithm, part.run, stretch.start, state, scale, SEED)
        assert found is not None
        assert found.shape == state.shape
        return found

    whole = of(slice(0, STEPS))
    pieces = [of(slice(0, 23)), of(slice(23, 23)), of(slice(23, STEPS))]
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=1e-9, atol=1e-2)
    monkeypatch.setattr(recompute, "_VALUES_AT_ONCE", 400)
    np.testing.assert_allclose(of(slice(0, STEPS)), whole, rtol=1e-9, atol=1e-2)


def test_figures_are_those_of_the_definition() -> None:
    """One quadratic in one dimension, x = b + 1 throughout: U64 = scale · A · m."""
    problem = Quadratic(np.array([[[2.0]], [[1.0]]]), np.array([[-1.0], [-1.0]]))
    algorithm = EncryptedDSGD(GAMMA, STEPSIZE, multipliers=NoMultipliers())
    scale = np.array([1e3, 2.0**40])
    exact = scale[:, None, None] * np.array([2.0, 1.0])[:, None]
    off = np.array([[[3], [-8]], [[2**20], [0]]])
    part = Segment(7, 11, np.zeros((2, 2, 1), np.int64), exact.astype(np.int64) + off, scale)
    found = compare(problem, algorithm, [part], 0, "float32")
    # 2000 ± 3 and 1000 ± 8 in whole units; 2⁴¹ has a float32 spacing of 2¹⁸.
    assert found == Difference("float32", 4, 8.0, (7, 11, 1, 0), 3.5, 8 / 1000)
    found = compare(problem, algorithm, [part], 0, "float64")
    assert found == Difference("float64", 4, 2.0**20, (7, 12, 0, 0), 5.5, 8 / 1000)
    # Nothing to compare, and what is no number.
    assert compare(problem, algorithm, [], 0, "float32") == Difference(
        "float32", 0, 0.0, None, 0.0, 0.0
    )
    broken = dataclasses.replace(part, scale=np.array([1e3, np.nan]))
    found = compare(problem, algorithm, [broken], 0, "float32")
    assert found is not None
    assert found.largest_ulp == found.largest_relative == np.inf
    assert found.where == (7, 12, 0, 0)


def test_words_are_those_of_the_reference() -> None:
    words = recompute._Words(3, 2**32 - 5, 3, SEED)
    for stream, rows, columns in ((0, 3, 2), (1, 2, 4), (2, 1, 1)):
        found = np.stack(words(stream, rows, columns), axis=-1)
        for k, row, column in np.ndindex(3, rows, columns):
            expected = reference.words(SEED, 3, 2**32 - 4 + k, row * columns + column, stream)
            assert tuple(found[k, row, column].tolist()) == expected


class Steep(Uniform):
    """No multipliers of the package."""


def hinge(x, sample):
    features, label = sample
    return jnp.maximum(0.0, 1 - label * jnp.dot(features, x))


@pytest.mark.parametrize(
    ("problem", "algorithm", "reason"),
    [
        (EmpiricalRisk(hinge, [(np.ones((2, 2)), np.ones(2))], dim=2), method(), "loss hinge"),
        (type("Mine", (Quadratic,), {})(QUIET.A, QUIET.b), method(), "problem Mine"),
        (QUIET, method(Steep()), "multipliers Steep"),
    ],
    ids=["loss", "problem", "multipliers"],
)
def test_nothing_is_said_of_what_is_not_known(problem, algorithm, reason: str) -> None:
    state = np.zeros((2, problem.agents, problem.dim), np.int64)
    scale = np.ones(2)
    told = unsupported(problem, algorithm)
    assert told is not None
    assert reason in told
    assert recompute.recompute(problem, algorithm, 0, 0, state, scale, 0) is None
    assert compare(problem, algorithm, [Segment(0, 0, state, state, scale)], 0, "float32") is None
    assert unsupported(QUIET, method()) is None


def test_nothing_of_the_program_is_computed_with(monkeypatch) -> None:
    part = segments("quadratic, normal", "float64")[0]
    expected = difference("quadratic, normal", "float64", parts=[part])

    def refuse(*_):
        raise AssertionError

    for owner, name in (
        (Quadratic, "gradient"),
        (Normal, "__call__"),
        (philox, "philox4x32"),
        (philox, "normal"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    assert difference("quadratic, normal", "float64", parts=[part]) == expected
    tree = ast.parse(Path(recompute.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names = {part for module in modules for part in (module or "").split(".")}
    assert not {"jax", "philox", "draws", "lattice", "lanes"} & names


def test_increments_are_known_for_regression_and_not_for_digits() -> None:
    problem = diabetes(split="dirichlet")
    settings: dict[str, Any] = {
        "runs": 2,
        "iterations": 25,
        "trace": (1,),
        "metrics": (),
        "points": 2,
    }
    result = simulate(METHOD, problem, NETWORK, precision="float64", **settings)
    trace = result.traces["EncryptedDSGD"]
    scale = METHOD.table(NETWORK, np.arange(25)).increment_scale
    part = Segment(1, 0, trace.state[0, :-1], trace.increment[0], np.asarray(scale))

    def difference(of: Problem, method: EncryptedDSGD = METHOD) -> float:
        found = compare(of, method, [part], 0, "float64")
        assert found is not None
        return found.largest_relative

    assert difference(problem) < 1e-6
    assert difference(diabetes(split="dirichlet", penalty=0.011)) > 1e-5
    for other in (digits(), digits_network()):
        reason = unsupported(other, METHOD)
        assert reason is not None
        assert "_loss" in reason
    assert unsupported(fraud(), METHOD) is None
