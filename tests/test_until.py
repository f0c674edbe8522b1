"""Runs to a target: the rule, its intervals, and what is there when it ends."""

import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import studies
from command_line import refusal, the_object
from interrupting import assert_same, break_off
from scipy import stats
from small import CONVENTIONAL, DIVERGING, ENCRYPTED, config, write

from dpe_jax import cli, experiment
from dpe_jax.errors import InputError
from dpe_jax.results import Stored, load
from dpe_jax.until import Target, Width, following, run_until, widths

pytestmark = pytest.mark.slow  # together over 20 s

QUICK: dict[str, Any] = {
    "runs": 10,
    "block": 8,
    "iterations": 6,
    "methods": {"encrypted": ENCRYPTED, "plain": CONVENTIONAL},
}


def test_the_interval_is_that_of_the_mean_over_sound_runs() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(5.0, 2.0, (2, 400))
    values[0, 7] = np.nan
    stored = studies.study({"gap_mean_state": values})
    first, second = widths(stored, Target(1.0))
    for width, column in ((first, np.delete(values[0], 7)), (second, values[1])):
        plain = [float(np.float32(v)) for v in column]
        assert width.runs == len(plain)
        assert width.mean == pytest.approx(statistics.fmean(plain))
        # Student's t: 1.9660 at 398 degrees of freedom, 1.9659 at 399.
        expected = stats.t.ppf(0.975, len(plain) - 1) * statistics.stdev(plain)
        expected /= math.sqrt(len(plain))
        assert width.half == pytest.approx(expected)
    [only] = widths(stored, Target(1.0, method="m1"))
    assert only == second


@pytest.mark.parametrize("factor", [1.0, 2 / 3, 1.5])
def test_the_interval_covers_the_mean_as_often_as_it_says(factor: float) -> None:
    """Of 2000 samples of 50 normal values; intervals of other widths do not."""
    samples = np.random.default_rng(8).normal(1.0, 3.0, (2000, 50))
    covered = 0
    for start in range(0, 2000, 100):
        rows = {"gap_mean_state": samples[start : start + 100]}
        found = widths(studies.study(rows), Target(1.0))
        covered += sum(abs(width.mean - 1.0) <= factor * width.half for width in found)
    # 94.4 %, with Student's t at 49 degrees of freedom in mind; the standard error is 0.5 %.
    assert (abs(covered / 2000 - 0.944) < 0.02) == (factor == 1.0)


def manifest_of(runs: int, block: int) -> Stored:
    stored = studies.study({"gap_mean_state": np.zeros((1, runs))})
    return Stored(stored.path, stored.config, {"block_lanes": block}, {}, stored.curves)


@pytest.mark.parametrize(
    ("runs", "block", "half", "most", "expected"),
    [
        (100, 10, 1.0, 10**6, None),
        (100, 10, 0.5, 10**6, None),
        # (1.2)² is 1.44: 144 runs, in whole blocks 150.
        (100, 10, 1.2, 10**6, 150),
        (100, 10, 1.001, 10**6, 110),
        (100, 10, 1.6, 10**6, 200),
        (100, 10, 40.0, 10**6, 200),
        (100, 10, math.nan, 10**6, 200),
        (100, 10, 40.0, 170, 170),
        (100, 10, 40.0, 100, None),
        (100, 64, 1.2, 10**6, 192),
        (100, 512, 1.2, 10**6, 200),
        (1, 1, math.nan, 10**6, 2),
        (7, 5, 1.01, 10**6, 10),
    ],
)
def test_how_many_runs_follow(runs: int, block: int, half: float, most: int, expected) -> None:
    found = (Width("a", runs, 2.0, 0.1), Width("b", runs, 2.0, half))
    for target in (Target(1.0), Target(0.5, relative=True)):
        assert following(manifest_of(runs, block), target, found, most) == expected


@pytest.mark.slow
def test_a_target_is_reached_and_no_sooner(tmp_path: Path) -> None:
    settings, out = config(QUICK), tmp_path / "out"
    told: list[int] = []
    [first] = widths(experiment.run(settings, tmp_path / "a").stored, Target(1.0, method="plain"))
    target = Target(first.half / 3, method="plain")
    found = run_until(settings, out, target, told=lambda _, runs: told.append(runs))
    assert found.reached
    assert [width.method for width in found.widths] == ["plain"]
    assert found.widths[0].half <= target.half_width
    runs = found.outcome.stored.config.runs
    assert told[0] == 10
    assert told[-1] == runs
    assert told == sorted(set(told))
    assert all(later <= 2 * before for before, later in itertools.pairwise(told))
    # About nine times as many.
    assert 60 <= runs <= 140
    before = [entry["runs"] for entry in found.outcome.stored.manifest["extended"]]
    assert before == told[:-1]
    assert_same(
        found.outcome.stored, experiment.run(config({**QUICK, "runs": runs}), tmp_path / "b").stored
    )
    # Once more adds nothing, and from elsewhere it comes to the same.
    again = run_until(settings, out, target)
    assert again.reached
    assert not again.outcome.new
    other = run_until(settings, tmp_path / "c", target)
    assert_same(other.outcome.stored, found.outcome.stored)


def test_the_most_runs_bound_it(tmp_path: Path) -> None:
    found = run_until(config(QUICK), tmp_path / "out", Target(1e-12, relative=True), most=25)
    assert not found.reached
    assert found.outcome.stored.config.runs == 25
    assert len(found.widths) == 2
    assert min(width.half for width in found.widths) > 0
    with pytest.raises(InputError, match="max_runs = 9"):
        run_until(config(QUICK), tmp_path / "out", Target(1.0), most=9)


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_target_that_is_broken_off_goes_on(blocks: int, tmp_path: Path) -> None:
    """In the first runs, or while some are added."""
    settings, target = config(QUICK), Target(1e-12)
    options: dict[str, Any] = {"target": target, "most": 30}
    whole = run_until(settings, tmp_path / "whole", **options).outcome.stored
    out = tmp_path / "out"
    break_off(settings, out, blocks, run=run_until, **options)
    assert out.exists() == (blocks == 4)
    with pytest.raises(InputError, match="--resume"):
        run_until(settings, out, **options)
    again = run_until(settings, out, mode="resume", **options).outcome.stored
    assert_same(again, whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]


def test_a_metric_without_an_interval_is_refused(tmp_path: Path) -> None:
    for target, argument in (
        (Target(1.0, metric="quantization_error"), "metric"),
        (Target(1.0, metric="speed"), "metric"),
        (Target(1.0, method="nobody"), "method"),
    ):
        with pytest.raises(InputError) as refused:
            run_until(config(QUICK), tmp_path / "out", target)
        assert refused.value.argument == argument
        assert list(tmp_path.iterdir()) == []
    broken = config({**QUICK, "methods": {"broken": DIVERGING}})
    with pytest.raises(InputError, match=r"broken has finite values of \(0 runs are sound\)"):
        run_until(broken, tmp_path / "out", Target(1.0))
    # What was computed is there.
    assert load(tmp_path / "out").config == broken


def test_until(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, QUICK)
    common = ["run", path, "--out", "o", "--no-figures"]
    reachable = [*common, "--until", "half-width=40%", "--method", "plain"]
    assert cli.main([*reachable, "--metric", "error_worst_agent", "--json"]) == 0
    captured = capsys.readouterr()
    report = the_object(captured.out)
    until = report["until"]
    assert (until["reached"], until["asked"]) == (True, "40% of the mean")
    assert until["runs"] == report["runs"] >= 10
    assert set(until["half_widths"]) == {"plain"}
    assert captured.err.splitlines()[0].startswith("10 runs: half-widths of error_worst_agent: ")
    # From the folder, further; and not as far as is asked.
    assert (
        cli.main(["run", "o", "--no-figures", "--until", "half-width=1e-9", "--max-runs", "40"])
        == 1
    )
    captured = capsys.readouterr()
    assert "not reached with 40 runs (--max-runs 40)" in captured.err
    assert "small: 40 runs" in captured.out
    assert json.loads(Path("o/manifest.json").read_text())["runs"] == 40
    for text in ("0.1", "half-width=0", "half-width=-1", "half-width=x", "half-width=1e999", ""):
        assert "--until" in refusal([*common, "--until", text], capsys)
    for more, word in (
        (["--metric", "speed"], "--metric = 'speed': expected one of gap_mean_state"),
        (["--method", "nobody"], "--method = 'nobody': expected one of encrypted, plain"),
        (["--max-runs", "3"], "--max-runs = 3: expected at least the 10 runs"),
        (["--max-runs", "0"], "--max-runs"),
    ):
        assert word in refusal([*common, "--until", "half-width=1", *more], capsys)
    assert "--until" in refusal([*common, "--max-runs", "3"], capsys)
