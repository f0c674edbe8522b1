"""The parts `deployment`, `stepsizes` and `verification`, and that their checks can fail."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from test_reproduce_parts import looked_at, made, settings

from dpe_jax import drawing
from dpe_jax.engine import run_block
from dpe_jax.errors import InputError
from dpe_jax.paillier.protocol import LEVEL_LIMIT
from dpe_jax.quadratic_moments import moments
from dpe_jax.reproduce import deployment, stepsizes, verification
from dpe_jax.reproduce.part import SCALES, Work
from dpe_jax.reproduce.settings import load
from dpe_jax.reproduce.shown import between, duration, interval, spread, standard_errors
from dpe_jax.reproduce.swept import METHOD, Swept, course, first_at
from dpe_jax.sweep_run import plan_sweep

WORK = Work("default", 0, lambda _: None, lambda _: None)

SHORT = {"runs": 32, "iterations": 40, "record": {"points": 10, "metrics": ["gap_agents"]}}


@pytest.mark.parametrize("scale", SCALES)
def test_committed_settings_are_accepted(scale: Any) -> None:
    deltas = plan_sweep(load("deployment", deployment.Settings, scale).experiment)
    assert len(deltas.study.simulations) >= 4
    families = plan_sweep(load("stepsizes", stepsizes.Settings, scale).experiment)
    for label, simulation in zip(
        families.sweep.labels["multipliers"], families.study.simulations, strict=True
    ):
        family, _, written = str(label).partition(" ")
        top, _, bottom = written.partition("/")
        multipliers = stepsizes._method(simulation).multipliers
        assert multipliers.describe().startswith(family)
        variance = float(top) / float(bottom or 1) if written else 0.0
        assert math.isclose(float(multipliers.variance), variance, rel_tol=1e-8, abs_tol=1e-12)
    assert load("verification", verification.Settings, scale).iterations


def test_a_target_is_reached_where_a_curve_stays_below_it() -> None:
    k = np.unique(np.geomspace(1, 1000, 60).astype(np.int64))
    curve = 3.0 * (k + 1.0) ** -0.7
    exact = (3.0 / 0.1) ** (1 / 0.7) - 1
    assert first_at(k, curve, 0.1) == pytest.approx(exact, rel=1e-12)
    assert first_at(k, curve, 0.9 * curve[-1]) == math.inf
    assert first_at(k, curve, 4.0) == 1.0
    late = np.flatnonzero(k > 500)[0]
    curve[late] = 0.2
    assert first_at(k, curve, 0.1) > k[late]


def test_intervals_hold_what_is_known_and_not_something_else() -> None:
    rng = np.random.default_rng(3)
    k = np.arange(200)
    noise = rng.lognormal(-0.125, 0.5, (500, 1)) * rng.lognormal(-0.005, 0.1, (500, 200))
    one = course(k, 2.0 * (k + 1.0) ** -1.0 * noise, 0)
    two = course(k, 3.0 * (k + 1.0) ** -1.0 * noise, 0)
    assert one.end.contains(2.0 / 200)
    assert not one.end.contains(1.5 * 2.0 / 200)
    reached = one.reached(0.02)
    assert reached.contains(99)
    assert not reached.contains(66)
    # Of the same draws, run by run.
    assert two.times(one).value == pytest.approx(1.5)
    assert two.times(one).high - two.times(one).low < 1e-9
    assert one.reached(0.001) == (math.inf, math.inf, math.inf)
    assert one.error[-1] == pytest.approx(2.0 / 200 * noise[:, -1].std(ddof=1) / 500**0.5)


def test_how_numbers_are_shown() -> None:
    assert between(1.234, 5.678) == "[1.23, 5.68]"
    assert between(900.0, None, ".0f") == "[900, ∞]"
    assert between(None, None) is None
    assert interval(1.23456789, 5.678) == "[1.23456789, 5.678]"
    assert interval(np.float64(1e-20), float("inf")) == "[1e-20, ∞]"
    assert interval(None, 1.0) is None
    assert spread("x", (1.0, 0.5, math.inf)) == {"x": 1.0, "x_low": 0.5, "x_high": None}
    assert [duration(s) for s in (12.3, 150.0, 7200.0)] == ["12 s", "2.5 min", "2 h"]


def test_standard_errors_are_those_under_the_prediction() -> None:
    rng = np.random.default_rng(4)
    draws = rng.exponential(3.0, (4000, 200))
    far = [standard_errors(float(x.mean()), float(x.std(ddof=1)) / 200**0.5, 3.0) for x in draws]
    # Of a normal variable 5 % are beyond 1.96, and 1 % beyond 2.58.
    assert 0.04 < np.mean(np.array(far) > 1.96) < 0.06
    assert 0.005 < np.mean(np.array(far) > 2.58) < 0.016
    wrong = [standard_errors(float(x.mean()), float(x.std(ddof=1)) / 200**0.5, 4.5) for x in draws]
    assert np.mean(np.array(wrong) > 1.96) > 0.9


def small_deployment(**changes: Any) -> deployment.Settings:
    base = load("deployment", deployment.Settings, "quick").experiment
    own = base.model_dump(mode="json", exclude_none=True)["methods"]
    axis = {"key": "methods.encrypted.delta", "values": [2.0**-7, 4.0]}
    experiment = {**SHORT, "methods": own, "sweep": {"axis": [axis]}}
    keys = {"key_bits": [192, 512], "replayed": 3, "turns": 1, "horizon": 60}
    return settings("deployment", deployment, {**keys, "experiment": experiment, **changes})


@pytest.mark.slow
def test_a_small_deployment(tmp_path: Any) -> None:
    found = made(deployment, small_deployment(), tmp_path / "part")
    looked_at(found, tmp_path)
    speeds, times, keys = found.tables
    courses = {(row["delta"], row["iteration"]): row for row in found.drawings[0].rows}
    fine, coarse = courses[2.0**-7, 40], courses[4.0, 40]
    assert coarse["ratio"] == pytest.approx(coarse["gap"] / fine["gap"])
    assert (fine["ratio_low"], fine["ratio"], fine["ratio_high"]) == (1.0, 1.0, 1.0)
    assert 1 < coarse["ratio_low"] < coarse["ratio"] < coarse["ratio_high"]
    assert len(speeds.rows) == 2
    assert len(times.rows) == 4
    for row in times.rows:
        if row["iterations"] is not None:
            assert row["seconds"] == pytest.approx(row["iterations"] * row["ms"] / 1e3)
    for row in keys.rows:
        # 16 directed links, two messages each, of one ciphertext below n².
        assert row["bytes"] == 2 * 16 * 2 * row["key_bits"] // 8
        assert row["ciphertexts"] == 1


def test_packing_beside_longhand() -> None:
    asked = small_deployment(key_bits=[1024])
    planned = plan_sweep(asked.experiment)
    network = planned.study.simulations[0].network
    row_sum = int(network.coupling.sum(axis=1).max())

    def slots(levels: int) -> tuple[int, int]:
        # Sign and two guard bits.
        width = (2 * levels * row_sum).bit_length() + 1 + 2
        return width, (1024 - 2) // width

    for delta, simulation in zip((2.0**-7, 4.0), planned.study.simulations, strict=True):
        row = deployment._packed(simulation, 1024, asked)
        assert (row["slot_bits"], row["slots"]) == slots(LEVEL_LIMIT)
        fitted = slots(math.ceil(8.0 / delta) + 1)
        assert (row["fitted_slot_bits"], row["fitted_slots"]) == fitted
        assert row["fitted_slots"] > row["slots"]


def test_a_replay_that_differs_is_no_timing() -> None:
    asked = small_deployment()
    simulation = plan_sweep(asked.experiment).study.simulations[0]
    stretch = deployment._stretch(simulation, 3)
    encryption = deployment._encryption(192)
    protocol = deployment.protocol_of(simulation, METHOD, encryption)
    keys = encryption.generate(5)
    times, counts = deployment._milliseconds(protocol, stretch, keys, 192)
    assert len(times) == 2
    # Of five agents' two coordinates in one ciphertext: one of its own an agent, 16 of neighbors.
    assert (counts["decrypt"], counts["encrypt_neighbor"]) == (3 * 5, 3 * 16)
    sums = stretch.sums.copy()
    sums[1, 2, 0] += 1
    with pytest.raises(RuntimeError, match="differs"):
        deployment._milliseconds(protocol, dataclasses.replace(stretch, sums=sums), keys, 192)


def test_deployment_checks_fail_with_what_they_are_about() -> None:
    asked = small_deployment()
    fine = {"gap": 1.0, "gap_low": 0.9, "gap_high": 1.1, "gap_standard_error": 0.05}
    speeds = [
        {"delta": 0.01, **fine, "gap_predicted": 1.1},
        {"delta": 4.0, **{key: 3 * value for key, value in fine.items()}, "gap_predicted": 3.0},
    ]
    rows = [
        {"delta": d, "key_bits": bits, "slots": 9, "ciphertexts": 1, "bytes": 100, "ms": bits / 10,
         "operations": 26.0}
        for d in (0.01, 4.0)
        for bits in (192, 512)
    ]  # fmt: skip
    keys = [{"key_bits": bits} for bits in (192, 512)]
    none = Swept((), {}, (), 0)

    def passed(found: Swept, speeds: Any, rows: Any) -> list[bool]:
        return [check.passed for check in deployment._checks(found, speeds, rows, keys, asked)]

    assert all(passed(none, speeds, rows))
    off = [speeds[0] | {"gap_predicted": 1.5}, speeds[1]]
    slow = [speeds[0], speeds[1] | {"gap_low": 0.5}]
    packed = [rows[0] | {"slots": 8}, *rows[1:]]
    more = [rows[0] | {"operations": 27.0}, *rows[1:]]
    reversed_times = [row | {"ms": 100 - row["key_bits"] / 10} for row in rows]
    cases = [
        (dataclasses.replace(none, failed=1), speeds, rows),
        (none, off, rows),
        (none, slow, rows),
        (none, speeds, packed),
        (none, speeds, reversed_times),
    ]
    for place, case in enumerate(cases):
        assert passed(*case) == [number != place for number in range(5)]
    assert passed(none, speeds, more) == [True, True, True, False, True]


def small_stepsizes() -> stepsizes.Settings:
    base = load("stepsizes", stepsizes.Settings, "quick").experiment
    axis = base.model_dump(mode="json", exclude_none=True)["sweep"]["axis"][0]
    chosen = [0, 11, 15, 16, 20]
    few = axis | {name: [axis[name][place] for place in chosen] for name in ("values", "labels")}
    record = {"points": 20, "metrics": ["gap_mean_state"]}
    experiment = {**SHORT, "runs": 256, "record": record, "sweep": {"axis": [few]}}
    return settings("stepsizes", stepsizes, {"target": 0.1, "experiment": experiment})


@pytest.mark.slow
def test_a_sweep_is_kept_until_its_part_is_made(tmp_path: Any, monkeypatch: Any) -> None:
    """An interrupt after the sweep costs nothing of it."""
    asked, blocks = small_stepsizes(), []
    folder = tmp_path / "part"
    folder.mkdir()
    whole = run_block

    def counted(program: Any, first: int, runs: int, *others: Any) -> Any:
        blocks.append(first)
        return whole(program, first, runs, *others)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("dpe_jax.blocks.run_block", counted)
    with monkeypatch.context() as patch:
        patch.setattr(stepsizes, "moments", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stepsizes.make(asked, folder, WORK)
    computed = len(blocks)
    assert computed > 0
    assert [path.name for path in folder.iterdir()] == ["sweep"]
    again = stepsizes.make(asked, folder, WORK)
    assert len(blocks) == computed
    assert not list(folder.iterdir())
    anew = stepsizes.make(asked, folder, WORK)
    assert len(blocks) == 2 * computed
    assert again.tables[0].rows == anew.tables[0].rows


@pytest.mark.slow
def test_a_small_study_of_stepsizes(tmp_path: Any) -> None:
    asked = small_stepsizes()
    found = made(stepsizes, asked, tmp_path / "part")
    looked_at(found, tmp_path)
    with drawing.style():
        figure = found.drawings[0].draw()
    assert all(axes.get_ylim()[0] > 0 for axes in figure.axes)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "predicted", "none", "uniform", "normal",
    ]  # fmt: skip
    rows = found.tables[0].rows
    assert [row["family"] for row in rows] == ["none", "uniform", "normal", "uniform", "normal"]
    assert [row["variance"] for row in rows] == pytest.approx([0, 1, 1, 2, 2], rel=1e-6)
    predicted = moments(plan_sweep(asked.experiment).study.simulations, METHOD).gap_mean_state
    np.testing.assert_allclose([row["gap_predicted"] for row in rows], predicted[:, -1])
    passed = {check.name: check.passed for check in found.checks}
    assert passed["every run sound"]
    assert passed["the gap at the end is what the recursion predicts"]


def judged(gaps: tuple[float, ...], predicted: float = 1.0, reached: float = 1.0) -> list[bool]:
    """The checks of three configurations with given mean gaps at the end."""
    rng = np.random.default_rng(0)
    k, runs = np.array([0, 10, 100]), rng.lognormal(-0.02, 0.2, (2000, 1))
    noise = [runs, runs, rng.lognormal(-0.02, 0.2, (2000, 1))]
    fall = np.array([1.0, 0.1, 0.01])
    courses = tuple(course(k, gap * fall * own, 0) for gap, own in zip(gaps, noise, strict=True))
    families = ("none", "uniform", "normal")
    rows = []
    for family, gap, one in zip(families, gaps, courses, strict=True):
        rows.append(
            {
                "family": family,
                "variance": 0.0 if family == "none" else 1.0,
                **spread("gap", one.end),
                "gap_standard_error": float(one.error[-1]),
                "gap_predicted": predicted * gap * 0.01,
                **spread("times_without", one.times(courses[0])),
                **spread("iterations", (50.0 * reached, 48.0 * reached, 52.0 * reached)),
                "iterations_predicted": 50.0,
            }
        )
    found = Swept((), {}, courses, 0)
    return [check.passed for check in stepsizes._checks(found, rows, small_stepsizes())]


def test_stepsizes_checks_fail_with_what_they_are_about() -> None:
    assert judged((1.0, 2.0, 2.0)) == [True] * 5
    assert judged((1.0, 2.0, 2.0), predicted=1.5) == [True, False, True, True, True]
    assert judged((1.0, 2.0, 2.0), predicted=2 / 3) == [True, False, True, True, True]
    assert judged((1.0, 2.0, 2.0), reached=1.5) == [True, True, False, True, True]
    assert judged((1.0, 2.0, 3.0)) == [True, True, True, False, True]
    assert judged((2.0, 2.0, 2.0)) == [True, True, True, True, False]


def small_verification(**changes: Any) -> verification.Settings:
    kept = {"five-agents": 6, "hospitals": 3}
    others = dict.fromkeys(load("verification", verification.Settings, "quick").presets, 0)
    keys = {"key_bits": 256, "insecure_test_keys": True, "lanes": [0, 2]}
    return settings("verification", verification, keys | {"presets": others | kept} | changes)


@pytest.mark.slow
def test_a_small_verification(tmp_path: Any) -> None:
    found = made(verification, small_verification(keep=True), tmp_path / "part")
    looked_at(found, tmp_path)
    assert all(check.passed for check in found.checks), found.checks
    rows = {row["preset"]: row for row in found.tables[0].rows}
    # Levels, sums and states of two lanes.
    assert rows["five-agents"]["integers"] == 2 * 6 * 3 * 5 * 2
    assert rows["hospitals"]["integers"] == 2 * 3 * 3 * 5 * 31
    assert [row["changed"] for row in found.tables[1].rows] == [
        "level", "sum", "state", "increment",
    ]  # fmt: skip
    assert (tmp_path / "part" / "five-agents" / "trace.zarr").is_dir()
    assert (tmp_path / "part" / "verifications.json").is_file()


def test_a_control_counts_only_if_its_place_is_named(tmp_path: Any) -> None:
    asked = small_verification(presets={"five-agents": 6, "hospitals": 0})
    work = Work("quick", 0, print, lambda _: None)
    stored = work.run(verification._config("five-agents", asked), tmp_path / "five-agents").stored
    encryption = verification.Encryption(key_bits=256, insecure_test_keys=True)
    keys = encryption.generate(5)
    controls = verification._controls(stored, asked, encryption, keys, work)
    assert [control.changed for control in controls] == ["level", "sum", "state", "increment"]
    assert all(control.named for control in controls)
    sound = verification.verification.verify(stored, encryption=encryption, keys=keys)
    for control in controls:
        assert not control._replace(agent=(control.agent + 1) % 5).named
        assert not control._replace(iteration=control.iteration + 1).named
        assert not control._replace(lane=control.lane + 1).named
        assert not control._replace(report=sound).named
    accepted = controls[0]._replace(report=sound)
    failing = dataclasses.replace(sound, verified=False)
    checks = verification._checks({"one": sound, "other": failing}, [controls[0], accepted])
    assert [check.passed for check in checks] == [True, False, True, False]


def test_a_control_that_is_not_replayed_is_refused() -> None:
    with pytest.raises(InputError, match="control"):
        small_verification(control="digits")
