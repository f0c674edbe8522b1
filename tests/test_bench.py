"""What is measured has the shape that it is promised to have, and the guard of CI judges by it."""

import dataclasses
import json
import math
from typing import Any

import jax
import pytest
from jax.sharding import SingleDeviceSharding

from dpe_jax.bench import (
    engines,
    gpu,
    growth,
    guard,
    large,
    logistic,
    methods,
    paillier,
    parts,
    processes,
    sheets,
    startup,
    sweep,
)
from dpe_jax.bench.timing import Timed, about, by_turns, nanoseconds, over, spread, within_turns
from dpe_jax.problems import Quadratic
from dpe_jax.sweeps import expand

ABOUT = {"turns", "device", "cpus", "cpu", "machine", "versions", "date"}


def checked(part: str, report: dict[str, Any]) -> dict[str, Any]:
    """The report, which is JSON, can be shown, and says what it was measured on."""
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report) > ABOUT
    shown = sheets.sheets(part, report)
    assert shown
    for sheet in shown:
        assert sheet.rows
        assert {len(row) for row in sheet.rows} == {len(sheet.columns)}
    return report


def within(report: dict[str, Any], names: set[str]) -> None:
    """Medians lie in their ranges."""
    assert set(report["range_ns"]) == names
    for name, (low, high) in report["range_ns"].items():
        assert 0 < low <= report[f"{name}_ns"] <= high


# What is computed


def test_candidates_take_turns() -> None:
    order: list[str] = []
    candidates = {name: (lambda name=name: order.append(name)) for name in "ab"}
    timed = by_turns(candidates, 3)
    assert order == ["a", "b", "a", "b", "a", "b", "a", "b"]
    assert {name: len(one.turns) for name, one in timed.items()} == {"a": 3, "b": 3}


def test_medians_ranges_and_ratios() -> None:
    timed = {"engine": Timed(9.0, [3e-3, 1e-3, 2e-3]), "numpy": Timed(5.0, [4e-3, 9e-3, 8e-3])}
    assert nanoseconds(timed, 1000) == {
        "engine_ns": 2000.0,
        "numpy_ns": 8000.0,
        "range_ns": {"engine": [1000.0, 3000.0], "numpy": [4000.0, 9000.0]},
        "first_call_seconds": {"engine": 9.0, "numpy": 5.0},
    }
    assert over(timed, "engine", ("numpy", "missing")) == {"numpy_over_engine": 4.0}
    assert spread([0.000123456, 2.34567]) == [0.0001235, 2.346]
    # 4/3, 9/1 and 8/2 within the turns: not the ratio of the ends.
    assert within_turns(timed, "engine", ("numpy", "missing")) == {"numpy_over_engine": [1.33, 9.0]}


@pytest.mark.parametrize(
    ("numpy", "passed", "ratio"),
    [
        ([5.0, 6.0, 7.0], True, "3.00"),
        ([5.1, 5.0, 5.0], True, "2.50"),
        ([4.9, 4.9, 60.0], False, "2.45"),
        ([2.0, 2.0, 2.0], False, "1.00"),
    ],
)
def test_the_guard_asks_for_the_median_of_turns(numpy, passed, ratio) -> None:
    found = guard.verdict(Timed(1.0, [2.0, 2.0, 2.0]), Timed(1.0, numpy))
    assert found.passed is passed
    assert f"is {ratio} times" in found.said
    assert "2.5" in found.said


def test_the_guard_compares_turn_with_turn() -> None:
    # The machine is three times slower in one turn, for both.
    slow = guard.verdict(Timed(1.0, [1.0, 3.0, 1.0]), Timed(1.0, [3.0, 9.0, 3.0]))
    assert slow.passed
    assert "3.00 to 3.00" in slow.said


@pytest.mark.parametrize(
    ("verdicts", "asked", "passed"),
    [([True], 1, True), ([False, True], 2, True), ([False] * 5, 3, False)],
)
def test_the_guard_measures_again_before_it_fails(verdicts, asked, passed, monkeypatch) -> None:
    left = iter(verdicts)
    calls: list[tuple[int, int, int]] = []

    def measure(*sizes: int) -> guard.Verdict:
        calls.append((sizes[0], sizes[1], sizes[2]))
        return guard.Verdict(next(left), "")

    monkeypatch.setattr(guard, "measure", measure)
    assert guard.measured().passed is passed
    assert len(calls) == asked


def test_the_guard_measures() -> None:
    found = guard.measure(64, 10, 3)
    assert "in 3 turns" in found.said


# Parts


def test_what_is_no_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        parts.measure("nonsense", 1, True)


@pytest.mark.slow
def test_the_engine_beside_all_others() -> None:
    report = checked("engine", engines.measure(64, 10, 2))
    names = {"engine", "engine_metrics", "engine_float64", "numpy", "vmap", "batched"}
    within(report, names | {"floor", "floor_erf_inv", "numba"})
    assert set(report["ratios"]) == {
        *(f"{name}_over_engine" for name in ("numpy", "vmap", "batched", "numba")),
        *("engine_over_floor", "engine_over_floor_erf_inv", "metrics_overhead"),
    }
    assert "numba" in report["versions"]


def test_without_numba_it_is_left_out(monkeypatch) -> None:
    monkeypatch.setattr(engines, "has_numba", lambda: False)
    said: list[str] = []
    simulation = engines.encrypted_alone("five-agents", 16, 4)
    assert "numba" not in engines.candidates(simulation, told=said.append)
    assert said == ["numba is not installed: its loop is left out"]


@pytest.mark.slow
def test_minibatches_beside_numpy() -> None:
    report = checked("minibatch", logistic.measure(16, 5, 2))
    within(report, {"engine", "numpy", "vmap"})
    assert report["dim"] == 31
    assert report["numpy_over_engine"] > 0


def test_every_method_beside_the_encrypted_one(monkeypatch) -> None:
    few = {name: methods.algorithms()[name] for name in ("encrypted", "conventional")}
    assert len(methods.algorithms()) == 12
    monkeypatch.setattr(methods, "algorithms", lambda: few)
    found = checked("methods", methods.measure(16, 5, 2))["methods"]
    assert list(found) == list(few)
    assert found["encrypted"]["times_encrypted"] == 1.0
    for one in found.values():
        assert one["range_ns"][0] <= one["ns"] <= one["range_ns"][1]


@pytest.mark.slow
def test_a_large_network_beside_the_matrix() -> None:
    report = checked("large", large.measure(40, 6, 2, 16, 3, 2))
    within(report, {"engine", "einsum", "pieces"})
    assert report["integers"] == report["integers_equal"] == 2 * 40 * 2 * 16


def test_integers_that_differ_are_counted() -> None:
    states = {"a": [[1, 2], [3, 4]], "b": [[1, 2], [3, 5]], "c": [[1, 2], [3, 4]]}
    report = large.beside({name: lambda x=x: x for name, x in states.items()}, 1.0, 1)
    assert (report["integers"], report["integers_equal"]) == (8, 7)
    assert set(report["ratios"]) == {"b_over_a", "c_over_a"}


@pytest.mark.slow
def test_growth_along_one_curve() -> None:
    (runs, *_, iterations, _) = growth.curves(quick=True)
    for curve, values in ((runs, [4, 16]), (iterations, [10, 30])):
        short = curve._replace(values=values)
        found = growth.along(short, 2, 0.002)
        assert [len(found[name]) for name in ("iterations", "seconds", "ns", "range_ns")] == [2] * 4
        for ns, (low, high) in zip(found["ns"], found["range_ns"], strict=True):
            assert 0 < low <= ns <= high
        assert found["values"] == values
        if curve is iterations:
            assert found["iterations"] == values
    report = {"curves": {"runs": found}, **about(2)}
    checked("growth", report)


def test_every_curve_grows_by_its_factor_alone() -> None:
    sizes = {
        "runs": lambda one: one.runs,
        "agents, degree 6": lambda one: one.network.agents,
        "agents, complete graph": lambda one: one.network.agents,
        "d, diagonal curvature": lambda one: one.problem.dim,
        "d, dense curvature": lambda one: one.problem.dim,
        "iterations": lambda one: one.iterations,
        "record points": lambda one: len(one.record),
    }
    curves = growth.curves(quick=False)
    assert [curve.factor for curve in curves] == list(sizes)
    for curve in curves:
        for value in curve.values[:3]:
            assert sizes[curve.factor](curve.make(value)) == value
    ends = {curve.factor: curve.values[-1] for curve in curves}
    assert ends["runs"] == 2**20
    assert ends["agents, degree 6"] == 1000
    assert ends["d, diagonal curvature"] == 10_000
    agents = next(curve for curve in curves if curve.factor == "agents, degree 6").make(16)
    assert set(agents.network.degrees.tolist()) == {6}


def test_what_a_curve_holds_is_what_is_run(monkeypatch) -> None:
    run: list[Any] = []

    class Recorded:
        def __init__(self, simulations: tuple[Any, ...]) -> None:
            run.extend(simulations)

        def recordings(self) -> list[Any]:
            return []

    monkeypatch.setattr(engines, "Study", Recorded)
    made = {curve.factor: curve for curve in growth.curves(quick=True)}["record points"]
    growth.along(made, 1, 1)
    assert {(len(one.record), len(one.metrics)) for one in run} == {(2, 6), (5, 6), (20, 6)}
    run.clear()
    growth.along({curve.factor: curve for curve in growth.curves(quick=True)}["runs"], 1, 1e-9)
    assert {(one.runs, len(one.record), len(one.metrics)) for one in run} == {
        (1, 2, 0),
        (4, 2, 0),
        (16, 2, 0),
    }


@pytest.mark.slow
def test_rates_of_the_device() -> None:
    place = SingleDeviceSharding(jax.devices("cpu")[0])
    report = checked("gpu", gpu.measure(place, ((16, 4),), 2, copied=2**16, chains=(64, 2)))
    names = {
        "engine",
        "floor",
        "floor_erf_inv",
        "vmap",
        "vmap_float32",
        "batched",
        "batched_float32",
    }
    within(report["runs"]["16"], names)
    engine = report["runs"]["16"]
    steps = engine["run_steps_per_second"]["engine"]
    assert steps * engine["engine_ns"] * 10 == pytest.approx(1e9, rel=1e-2)
    for rate, work in (("copy_bytes", 2**17), ("integer_multiply_adds", 64 * 2 * 256)):
        low, high = report[rate]["range_per_second"]
        assert low <= report[rate]["per_second"] <= high
        assert math.isclose(
            report[rate]["per_second"] * report[rate]["seconds"], work, rel_tol=1e-2
        )


@pytest.mark.slow
def test_encrypted_replays() -> None:
    report = paillier.measure(256, 1, forecasts=False)
    assert set(report["exchange"]) == {"five-agents", "hospitals"}
    for found in report["exchange"].values():
        assert found["times_fast"]["fast"] == 1.0
    assert [len(sheet.rows) for sheet in sheets.sheets("paillier", report)] == [3, 3]
    assert set(report) > ABOUT


@pytest.mark.slow
def test_whole_processes() -> None:
    report = checked("sweep", parts.measure("sweep", 1, True))
    assert list(report["first_call_seconds"]) == ["1", "4"]
    assert set(report["command"]) == {"runs", "summary"}
    report = parts.measure("memory", 1, True)
    assert report["peak_bytes"] > 10**7
    assert report["range_seconds"][0] <= report["seconds"] <= report["range_seconds"][1]
    assert report["stored_bytes"] > 0
    assert sheets.sheets("memory", report)[0].rows
    report = checked("startup", startup.measure(1))
    assert set(report["seconds"]) == {*startup.TARGETS, startup.UNTARGETED}
    assert set(report["met"]) == set(startup.TARGETS)
    shares = report["shares_seconds"]
    assert set(shares) == {"compile_cold", "compile_kept", "compile_traced"}
    for parts_of in shares.values():
        assert set(parts_of) == {"trace", "lower", "compile"}
    for name in ("compile_cold", "compile_traced"):
        assert min(shares[name].values()) > 0
    # A program that is kept whole is found without any of them.
    assert max(shares["compile_kept"].values()) < 0.1 * shares["compile_traced"]["trace"]


def test_a_grid_has_as_many_configurations_as_asked_for() -> None:
    for count in (1, 16, 64, 256):
        found = expand(sweep.configuration(count, 8, 5))
        assert len(found.configs) == count


def test_processes_say_what_they_return(monkeypatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
    variables = processes.environment(XDG_CACHE_HOME="there")
    assert "JAX_COMPILATION_CACHE_DIR" not in variables
    assert variables["XDG_CACHE_HOME"] == "there"
    assert processes.in_process("math", "gcd", 12, 18) == 6
    assert processes.python("import sys; print(sys.argv[1])", "word") == "word\n"


def test_the_competitors_problem_is_the_presets() -> None:
    simulation = engines.encrypted_alone("five-agents", 4, 10)
    study, problem = engines.as_study(simulation), simulation.problem
    assert isinstance(problem, Quadratic)
    assert study.sigma == problem.noise == 0.5
    assert study.delta == 2.0**-7
    assert len(study.gamma) == len(study.lambda_bar) == 10
    assert study.gamma[0] == 1.0
    assert study.lambda_bar[0] == 0.5
    longer = dataclasses.replace(simulation, iterations=20)
    assert len(engines.as_study(longer).gamma) == 20
