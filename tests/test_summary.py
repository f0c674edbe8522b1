"""Bands, fitted decay and checks, against NumPy and known sequences."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small import CONVENTIONAL, ENCRYPTED, config

from dpe_jax import experiment, summary
from dpe_jax.bands import Band, Decay, band, fit_decay, status_counts
from dpe_jax.config import ChecksTable
from dpe_jax.results import Stored

pytestmark = pytest.mark.slow  # together over 20 s

# Bands


def test_bands_are_those_of_numpy_without_the_failed_runs() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=(6, 301)).astype(np.float32)
    values[2:, :40] = np.nan
    values[4] = np.nan
    values[5, 1:] = np.nan
    values[5, 0] = 2.5
    got = band(values, 0.1, 0.9)
    wide = values.astype(np.float64)
    for row in (0, 1, 2, 3):
        sound = wide[row][~np.isnan(wide[row])]
        assert got.mean[row] == pytest.approx(np.nanmean(wide[row]), rel=1e-14)
        assert got.standard_error[row] == pytest.approx(stats.sem(sound), rel=1e-12)
        quantiles = np.nanquantile(wide[row], [0.1, 0.5, 0.9])
        np.testing.assert_allclose([got.low[row], got.median[row], got.high[row]], quantiles)
    assert got.sound.tolist() == [301, 301, 261, 261, 0, 1]
    assert all(math.isnan(column[4]) for column in got[:5])
    assert got.mean[5] == got.low[5] == got.high[5] == 2.5
    assert math.isnan(got.standard_error[5])
    assert isinstance(got, Band)


def test_a_mean_is_summed_in_double_precision_and_keeps_infinities() -> None:
    small = np.full((1, 2**20), 0.1, np.float32)
    assert band(small).mean[0] == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    large = np.array([[1.0, np.inf, 2.0]], np.float32)
    assert band(large).mean[0] == np.inf
    assert band(large).sound[0] == 3


def test_status_counts_add_up() -> None:
    status = np.array([0, 2, 0, 1, 0], np.int8)
    assert status_counts(status, ("ok", "left", "bad")) == {"ok": 3, "left": 1, "bad": 1}
    with pytest.raises(ValueError, match=r"status codes \[-1, 0\]"):
        status_counts(np.array([0, -1]), ("ok", "left", "bad"))


# Decay


def sequence(beta: float, curvature: float, seed: int, noise: float = 0.5) -> tuple[Any, Any]:
    """C k^−β (1 + c k^−β) for each of 400 runs, with a random factor a run and a point."""
    rng = np.random.default_rng(seed)
    k = np.unique(np.geomspace(1, 3000, 60).astype(np.int64))
    mean = 0.7 * k**-beta * (1 + curvature * k**-beta)
    factor = rng.lognormal(-(noise**2) / 2, noise, size=(len(k), 400))
    return k, (mean[:, None] * factor).astype(np.float32)


@pytest.mark.parametrize("beta", [0.2, 0.3, 0.5])
@pytest.mark.parametrize("curvature", [0.0, 0.8])
def test_the_fit_recovers_the_exponent_and_rejects_others(beta: float, curvature: float) -> None:
    found = [fit_decay(*sequence(beta, curvature, seed), first=20) for seed in range(6)]
    fits = [fit for fit in found if fit is not None]
    assert len(fits) == 6
    exponents = np.array([fit.exponent for fit in fits])
    error = exponents.std(ddof=1) / np.sqrt(6)
    assert abs(exponents.mean() - beta) < 4 * error + 0.01 * beta
    # 95 % intervals: fewer than four of six hold the truth 2 times in 1000.
    assert sum(fit.contains(beta) for fit in fits) >= 4
    for fit in fits:
        assert fit.low <= fit.exponent <= fit.high
        # Outside the range in which β is sought: no control, but never to be accepted.
        assert not fit.contains(beta * 1.5)
        assert (fit.first, fit.last, fit.runs, fit.level) == (22, 3000, 400, 0.95)


def test_a_plain_slope_would_miss_what_the_fit_finds() -> None:
    fit = fit_decay(*sequence(0.3, 0.8, 0, noise=0.1), first=20)
    assert fit is not None
    assert fit.contains(0.3)
    assert not fit.contains(fit.slope)
    assert fit.slope > 0.31


def test_the_fit_rejects_exponents_that_it_could_have_found() -> None:
    for seed in range(4):
        fit = fit_decay(*sequence(0.3, 0.8, seed, noise=0.05), first=20)
        assert fit is not None
        assert fit.contains(0.3) or abs(fit.exponent - 0.3) < 0.01
        for wrong in (0.3 * 0.9, 0.3 * 1.1):
            assert 0.7 * fit.slope < wrong < 1.4 * fit.slope
            assert not fit.contains(wrong)


def test_an_exponent_at_the_end_of_the_range_is_no_result() -> None:
    k = np.unique(np.geomspace(1, 3000, 60).astype(np.int64))
    # Flat, then steep: no sum of the two powers is near.
    mean = np.where(k < 300, k**-0.1, 300**-0.1 * (k / 300) ** -0.9)
    factor = np.random.default_rng(0).lognormal(0, 0.05, size=(len(k), 400))
    fit = fit_decay(k, (mean[:, None] * factor).astype(np.float32), first=20)
    assert fit is None


def test_the_interval_narrows_with_runs() -> None:
    k, values = sequence(0.3, 0.8, 1, noise=0.1)
    few, many = fit_decay(k, values[:, :25], first=20), fit_decay(k, values, first=20)
    assert few is not None
    assert many is not None
    # Sixteen times the runs: a quarter of the width.
    assert 2 < (few.high - few.low) / (many.high - many.low) < 8


def test_nothing_is_fitted_where_nothing_falls() -> None:
    k, values = sequence(0.3, 0.8, 2)
    assert fit_decay(k, values[:, :7], first=20) is None
    assert fit_decay(k, values, first=2500) is None
    assert fit_decay(k, 1 / values, first=20) is None
    assert fit_decay(k, np.full_like(values, np.nan), first=20) is None
    # A run that failed is left out, whatever it showed before.
    failing = values.copy()
    failing[:30, 0] = 1e6
    failing[30:, 0] = np.nan
    got, expected = fit_decay(k, failing, first=20), fit_decay(k, values[:, 1:], first=20)
    assert got == expected
    assert isinstance(got, Decay)
    assert got.summary()["runs"] == 399


# Summary


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    unlike = {**ENCRYPTED, "means": [1.0, 1.0, 1.0, 1.0, 40.0], "delta": 0.25}
    methods = {"encrypted": ENCRYPTED, "unlike": unlike, "conventional": CONVENTIONAL}
    changes = {"methods": methods, "runs": 64, "iterations": 200, "record.points": 40}
    return experiment.run(config(changes), tmp_path_factory.mktemp("summary") / "out").stored


def test_the_summary_is_that_of_the_curves(stored: Stored) -> None:
    for name, method in stored.summary["methods"].items():
        curves = stored.curves.sel(algorithm=name)
        assert set(method["final"]) == {
            "gap_mean_state",
            "gap_agents",
            "error_worst_agent",
            "error_mean_state",
            "consensus_error",
        }
        for metric, final in method["final"].items():
            values = curves[metric].values.astype(np.float64)
            assert final["mean"] == pytest.approx(values[-1].mean())
            assert final["start"] == pytest.approx(values[0].mean())
            assert final["standard_error"] == pytest.approx(stats.sem(values[-1]))
            np.testing.assert_allclose(
                [final["low"], final["median"], final["high"]],
                np.quantile(values[-1], [0.05, 0.5, 0.95]),
            )
            assert final["sound"] == 64
        assert method["first_failure"] is None
    quantization = stored.summary["methods"]["unlike"]["quantization"]
    means = stored.curves.quantization_error.sel(algorithm="unlike").mean("run", dtype=float)
    assert quantization["largest_mean"] == pytest.approx(float(means.max()))
    at = means.sel(iteration=quantization["iteration"], agent=quantization["agent"])
    assert float(at) == float(means.max())
    assert quantization["bound"] == pytest.approx(0.5 * 16 * 2 * 0.25**2)
    assert "quantization" not in stored.summary["methods"]["conventional"]
    assert stored.summary["methods"]["encrypted"]["predicted_exponent"] == pytest.approx(0.3)
    assert stored.summary["methods"]["conventional"]["predicted_exponent"] is None


@pytest.mark.parametrize("at_a_time", [1, 64 * 5 * 7, 10**9])
def test_the_summary_does_not_depend_on_how_much_is_read_at_a_time(
    at_a_time: int, stored: Stored, monkeypatch
) -> None:
    monkeypatch.setattr(summary, "_VALUES_AT_A_TIME", at_a_time)
    simulation = stored.config.build()
    again = summary.summarize(simulation, simulation.problem.solve(), stored.curves)
    assert again["methods"] == stored.summary["methods"]


def test_the_decay_rests_on_as_many_runs_as_it_says(stored: Stored, monkeypatch) -> None:
    monkeypatch.setattr(summary, "_FITTED_RUNS", 20)
    simulation = stored.config.build()
    again = summary.summarize(simulation, simulation.problem.solve(), stored.curves, 10)
    curves = stored.curves.sel(algorithm="encrypted")
    values = curves.error_worst_agent.values[:, :20]
    expected = fit_decay(curves.iteration.values, values, first=10)
    assert expected is not None
    assert again["methods"]["encrypted"]["decay"] == expected.summary()
    assert expected.runs == 20


# Checks


def test_checks_pass_and_fail_on_what_they_state(stored: Stored) -> None:
    def verdicts(asked: ChecksTable, **changes: Any) -> dict[str, bool]:
        method = stored.summary["methods"]["encrypted"] | changes
        made = summary.checks(asked, {"runs": 64, "methods": {"m": method}})
        return {check.name.removeprefix("m: "): check.passed for check in made}

    none = ChecksTable()
    sound, bound = "every run sound", "quantization error under its bound"
    assert verdicts(none) == {sound: True, bound: True}
    assert verdicts(none, status={"ok": 63})[sound] is False
    large = stored.summary["methods"]["encrypted"]["quantization"] | {"largest_mean": 1.0}
    assert verdicts(none, quantization=large)[bound] is False
    nothing = large | {"largest_mean": np.nan}
    assert verdicts(none, quantization=nothing)[bound] is False

    minimum = "F(x̄) − F* falls"
    gap = stored.summary["methods"]["encrypted"]["final"]["gap_mean_state"]
    ratio = gap["mean"] / gap["start"]
    assert verdicts(ChecksTable(gap_fraction=ratio * 1.01))[minimum] is True
    assert verdicts(ChecksTable(gap_fraction=ratio * 0.99))[minimum] is False
    half = ChecksTable(gap_fraction=0.5)
    assert verdicts(half, final={})[minimum] is False
    lost = {"gap_mean_state": gap | {"mean": np.nan, "sound": 0}}
    assert verdicts(half, final=lost)[minimum] is False
    at_minimum = {"gap_mean_state": gap | {"start": 0.0}}
    assert verdicts(half, final=at_minimum)[minimum] is False

    falls, from_ten = "error falls as predicted", ChecksTable(decay_from=10)
    fit = Decay(0.3, 0.28, 0.32, 0.31, 10, 200, 64).summary()
    assert verdicts(from_ten, decay=fit)[falls] is True
    for predicted, agrees in (
        (0.2, False),
        (0.25, False),
        (0.26, True),
        (0.35, True),
        (0.36, False),
    ):
        found = verdicts(from_ten, decay=fit, predicted_exponent=predicted)
        assert found[falls] is agrees
    narrow = Decay(0.292, 0.29, 0.294, 0.31, 10, 200, 4096).summary()
    assert verdicts(from_ten, decay=narrow)[falls] is True
    assert verdicts(from_ten, decay=None)[falls] is False
    assert falls not in verdicts(from_ten, predicted_exponent=None)

    both = {"gap_fraction": 0.5, "decay_from": 10}
    assert {minimum, falls} <= verdicts(ChecksTable(**both, methods=["m"]), decay=fit).keys()
    others = verdicts(ChecksTable(**both, methods=["another"]), decay=fit)
    assert others.keys() == {sound, bound}


def test_no_figure_of_a_check_is_shown_as_nan(stored: Stored) -> None:
    lost = {key: np.nan for key in ("mean", "low", "high")} | {"sound": 0, "start": 1.0}
    method = stored.summary["methods"]["encrypted"] | {
        "status": {"ok": 0},
        "final": {"gap_mean_state": lost},
        "decay": None,
        "quantization": {"largest_mean": np.nan, "bound": 1.0},
    }
    asked = ChecksTable(gap_fraction=0.5, decay_from=5)
    made = summary.checks(asked, {"runs": 64, "methods": {"m": method}})
    assert len(made) == 4
    assert not any(check.passed for check in made)
    assert not any("nan" in check.detail for check in made)


def test_a_result_survives_without_metrics_that_checks_need(tmp_path: Path) -> None:
    only = {"record.metrics": ["consensus_error"], "checks": {"gap_fraction": 0.5, "decay_from": 5}}
    outcome = experiment.run(config({**only, "runs": 8}), tmp_path / "out", check=True)
    failed = {check.name for check in outcome.checks if not check.passed}
    assert failed == {
        "encrypted: F(x̄) − F* falls",
        "encrypted: error falls as predicted",
        "conventional: F(x̄) − F* falls",
    }
