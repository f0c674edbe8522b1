"""What `dpe compare` says beside its numbers, and what it refuses before anything runs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import FULL, NETWORK
from small import CONVENTIONAL, DIVERGING, ENCRYPTED, STEPSIZE, config, write
from studies import GAP, paired, study

from dpe_jax import algorithms, cli, comparisons, experiment
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
from dpe_jax.bootstrap import Interval
from dpe_jax.compare import MIXED_POINT, chosen_metrics, compare
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.folder import COMPARISON
from dpe_jax.problems import Quadratic
from dpe_jax.results import Stored
from dpe_jax.schedules import PowerGrowth, PowerLaw

# Where gradients are taken

GAMMA, STEPS = PowerLaw(1.0, 0.6), PowerLaw(0.5, 0.9)
METHODS: list[Algorithm] = [
    EncryptedDSGD(GAMMA, STEPS),
    ConventionalDSGD(STEPS),
    CentralizedSGD(STEPS),
    TernaryDSGD(STEPS, GAMMA, 8.0),
    FunctionSharing(STEPS, 1.5),
    RandomizedStateSharing(STEPS, 1.5),
    GeometricDP(0.3, 0.8, 0.2, 0.9, 50.0, 4.0),
    TailoredDP(STEPS, GAMMA, PowerGrowth(0.2, 0.02), 4.0),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_who_takes_gradients_at_the_mixed_point(method: Algorithm, monkeypatch: Any) -> None:
    taken: list[np.ndarray] = []
    original = Quadratic.gradient

    def spy(self: Quadratic, x: Any, draws: Draws) -> Any:
        taken.append(np.asarray(x, np.float64))
        return original(self, x, draws)

    monkeypatch.setattr(Quadratic, "gradient", spy)
    draws = Draws(
        (jnp.uint32(0), jnp.uint32(0)), jnp.arange(16, dtype=jnp.uint32), jnp.uint32(1), 5, 2
    )
    exchange, problem = Exchange.of(NETWORK), FULL.with_dtype(jnp.dtype("float64"))
    row = jax.tree.map(lambda column: jnp.asarray(column[0]), method.table(NETWORK, np.arange(1)))
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    state = method.init(x0, exchange, draws)
    taken.clear()
    _, step = method.step(state, problem, exchange, draws, row)
    [at] = taken
    here = np.allclose(at, step.position, rtol=0, atol=1e-6)
    assert here == (type(method).__name__ not in MIXED_POINT)
    if not here:
        mixed = np.asarray(step.message) + np.asarray(exchange.values(step.message))
        np.testing.assert_allclose(at, mixed, rtol=0, atol=1e-6)


def test_all_methods_are_looked_at() -> None:
    known = {
        value
        for value in vars(algorithms).values()
        if isinstance(value, type) and issubclass(value, Algorithm) and value is not Algorithm
    }
    assert known == {type(method) for method in METHODS}
    assert set(MIXED_POINT) < {method.__name__ for method in known}


def test_the_mixed_point_is_said_where_it_is_compared() -> None:
    stored = study({GAP: paired(3, 9)}, ["base", "shares", "other"])
    sharing = {"method": "RandomizedStateSharing", "stepsize": STEPSIZE, "scale": 1.0}
    tables = {"base": CONVENTIONAL, "shares": sharing, "other": ENCRYPTED}
    settings = config({"methods": tables, "runs": 9})
    found = compare(Stored(stored.path, settings, {}, {}, stored.curves), resamples=400)
    assert found.mixed_point == ("shares",)
    [note] = found.notes()
    assert note.startswith("shares: gradients are taken at the mixed point z_i")
    assert "x_i" in note
    assert found.to_dict()["mixed_point"] == ("shares",)
    assert compare(stored, resamples=400).notes() == []


# Why runs failed


def test_the_reasons_of_failures_are_counted() -> None:
    status = np.zeros((4, 12), np.int8)
    status[1, :2], status[1, 2:5], status[2] = 1, 2, 2
    stored = study({GAP: paired(4, 12)})
    curves = stored.curves.assign(status=(("algorithm", "run"), status))
    found = compare(Stored(stored.path, stored.config, {}, {}, curves), resamples=400)
    assert found.status["m1"] == {"ok": 7, "left the range": 2, "non-finite": 3}
    assert found.failed == {"base": 0, "m1": 5, "m2": 12, "m3": 0}
    one, all_of_them = found.notes()
    assert one.startswith("m1: 5 of 12 runs failed (2 left the range, 3 non-finite); left out")
    assert all_of_them.endswith("all 12 failed: not compared (12 non-finite)")
    report = found.to_dict()
    assert (report["status"], report["failed"]) == (found.status, found.failed)


def test_reasons_are_printed(tmp_path: Path, capsys: Any) -> None:
    methods = {"good": CONVENTIONAL, "bad": DIVERGING}
    path = write(tmp_path, {"methods": methods, "runs": 3, "iterations": 4, "block": 3})
    assert cli.main(["compare", path, "--out", str(tmp_path / "out"), "--no-figures"]) == 0
    assert "not compared (3 left the range)" in " ".join(capsys.readouterr().out.split())
    held = json.loads((tmp_path / "out" / COMPARISON).read_text())
    assert held["status"]["bad"] == {"ok": 0, "left the range": 3, "non-finite": 0}


# What p can resolve


def test_what_no_p_can_survive_is_said() -> None:
    """Differences that are as clear as can be, too many of them for the resamples."""
    values = np.repeat(np.array([[0.0], [9.0], [9.0], [9.0]]), 40, axis=1)
    values += 0.01 * paired(4, 40)
    enough = compare(study({GAP: values[:3]}), resamples=50)
    assert (enough.comparisons, enough.resolved) == (2, True)
    assert [row.real for row in enough.rows[1:]] == ["yes"] * 2
    assert enough.notes() == []
    many = compare(study({GAP: values}), resamples=50)
    assert (many.comparisons, many.resolved) == (3, False)
    assert [row.real for row in many.rows[1:]] == ["only alone"] * 3
    [note] = many.notes()
    assert note.startswith("no difference can be called real: with 50 resamples p is at least")
    assert note.endswith("up to 2 comparisons")
    assert many.least_p == min(row.p_value or 1.0 for row in many.rows) == 1 / 51
    report = many.to_dict()
    assert (report["resolved"], report["least_p"]) == (False, 1 / 51)
    assert note in report["notes"]


@pytest.mark.parametrize(("comparisons", "resolved"), [(1, True), (500, True), (501, False)])
def test_five_hundred_comparisons_are_resolved(comparisons: int, resolved: bool) -> None:
    found = dataclasses.replace(compare(study({GAP: paired(2, 9)})), comparisons=comparisons)
    assert found.resolved == resolved
    assert ("no difference can be called real" in " ".join(found.notes())) != resolved


# Reading it


def test_better_and_worse_are_said_by_method() -> None:
    gap = 5 + 0.01 * paired(4, 64)
    gap[1] *= 0.5
    gap[2] *= 3
    accuracy = 0.5 + 0.001 * paired(4, 64)
    accuracy[1] += 0.1
    accuracy[2] -= 0.1
    found = compare(study({GAP: gap, "test_accuracy": accuracy}))
    assert [found.row(GAP, f"m{i}").verdict for i in (1, 2)] == ["lower", "higher"]
    lines = comparisons._differences(found)
    assert lines[1:4] == [
        "Beside base, real differences:",
        "  m1 is better in gap_mean_state (×0.500), test_accuracy (×1.200)",
        "  m2 is worse in gap_mean_state (×3.00), test_accuracy (×0.800)",
    ]
    assert not any("m3" in line for line in lines)
    assert comparisons._differences(compare(study({GAP: paired(1, 9)}))) == []


@pytest.mark.parametrize(
    ("value", "found", "sign", "expected"),
    [
        (9.07e-5, (8.02e-5, 1.031e-4), "", "9.07e-5\n[8.0, 10.3]e-5"),
        (1.08e-4, (9.4e-5, 1.24e-4), "", "1.08e-4\n[0.94, 1.24]e-4"),
        (-6.34e-7, (-1.07e-6, -1.9e-7), "+", "-6.34e-7\n[-10.7, -1.9]e-7"),
        # An interval that is far wider than its middle keeps a power of its own.
        (1e-9, (-1e-4, 1.1e-4), "+", "+1.00e-9\n[-1.00, +1.10]e-4"),
        (0.5, (0.4, 0.6), "", "0.500\n[0.400, 0.600]"),
        (0.0, (-1e-3, 1e-3), "+", "0\n[-1.00, +1.00]e-3"),
    ],
)
def test_a_number_and_its_interval_share_a_power_of_ten(
    value: float, found: tuple[float, float], sign: str, expected: str
) -> None:
    assert comparisons._cell(value, Interval(*found), sign) == expected


def test_why_there_is_no_ratio_is_said() -> None:
    rounding = np.abs(paired(3, 20)) + 1
    rounding[1] = 1e-17
    found = compare(study({"consensus_error": rounding, "objective": rounding - 4}), resamples=50)
    assert found.row("consensus_error", "m1").note == "no ratio, zero up to rounding"
    assert found.row("consensus_error", "m2").note == ""
    assert found.row("objective", "m1").note == "no ratio, a mean is not positive"
    other = compare(study({"consensus_error": rounding}), "m1", resamples=50)
    assert other.row("consensus_error", "m2").note == (
        "no ratio, the baseline is zero up to rounding"
    )


# Refused before anything runs


RECORD = {"record.metrics": [GAP, "quantization_error"]}


@pytest.mark.parametrize(
    ("changes", "metrics", "expected"),
    [
        (RECORD, "speed", ["--metrics = 'speed'", "some of gap_mean_state"]),
        (RECORD, "status", ["--metrics = 'status'", "some of gap_mean_state"]),
        (RECORD, "quantization_error", ["--metrics = 'quant", "has a value for each agent"]),
        (RECORD, "objective", ["--metrics = 'objective'", "what record.metrics names"]),
        (RECORD, "gap_mean_state,test_auc", ["--metrics = 'test_auc'", "some of gap_mean_state"]),
        ({"record.metrics": ["quantization_error"]}, None, ["record.metrics = ", "stationarity"]),
        ({"record.metrics": ["quantization_error"]}, GAP, ["record.metrics = ", GAP]),
    ],
)
def test_metrics_are_refused_before_anything_runs(
    changes: dict[str, Any],
    metrics: str | None,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(experiment, "run", fail)
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", write(tmp_path, changes)]
    assert cli.main(arguments + ([] if metrics is None else ["--metrics", metrics])) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    for part in expected:
        assert part in line
    for internal in ("final_state", "failed_at", "test_"):
        assert internal not in line.partition(": expected ")[2]
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]
    with pytest.raises(AssertionError):
        cli.main([*arguments[:1], write(tmp_path, RECORD), "--metrics", GAP])


def test_a_metric_of_the_problem_is_told_from_others() -> None:
    with pytest.raises(InputError, match=r"some of gap_mean_state \(what record.metrics names"):
        chosen_metrics([GAP], ["objective"], [GAP, "objective"])
    with pytest.raises(InputError, match=r"some of gap_mean_state$"):
        chosen_metrics([GAP], ["objective"], [GAP])


def test_options_of_a_run_are_refused_beside_a_result(tmp_path: Path, capsys: Any) -> None:
    out = str(tmp_path / "out")
    experiment.run(config({"runs": 9, "iterations": 2}), tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["compare", out, "--overwrite", "--no-figures"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == "dpe: --overwrite: not together with a folder with a result"
    assert sorted(tmp_path.rglob("*")) == before
    spaced = ["--metrics", " gap_mean_state , consensus_error"]
    assert cli.main(["compare", out, "--no-figures", "--json", *spaced]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == [GAP, "consensus_error"]
    assert cli.main(["compare", "x" * 5000]) == 2
    assert capsys.readouterr().err.startswith("dpe: PRESET|CONFIG|DIR")
