"""Paired comparison: intervals against oracles, what is told apart, failed runs, the command."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from rich.cells import cell_len
from scipy import stats
from small import CONVENTIONAL, DIVERGING, ENCRYPTED, config, write

from dpe_jax import cli, compare_figures, experiment
from dpe_jax.bootstrap import interval, p_value, resampled_means
from dpe_jax.compare import Comparison, compare, looked_at
from dpe_jax.courses import courses
from dpe_jax.errors import InputError
from dpe_jax.folder import COMPARISON
from dpe_jax.results import Stored, load

GAP = "gap_mean_state"


def study(
    curves: Mapping[str, np.ndarray], names: list[str] | None = None, failed: Any = None
) -> Stored:
    """A result of these curves [method, point, run] or, at one point, [method, run]."""
    full = {k: v if v.ndim == 3 else v[:, None] for k, v in curves.items()}
    methods, points, runs = next(iter(full.values())).shape
    names = names or ["base", *(f"m{i}" for i in range(1, methods))]
    status = np.zeros((methods, runs), np.int8)
    if failed is not None:
        status[failed] = 2
    dims = ("algorithm", "iteration", "run")
    data: dict[str, Any] = {k: (dims, v.astype(np.float32)) for k, v in full.items()}
    data["status"] = (("algorithm", "run"), status)
    labels = {"algorithm": names, "iteration": 10 ** np.arange(points), "run": np.arange(runs)}
    settings = config({"methods": dict.fromkeys(names, ENCRYPTED), "runs": runs})
    return Stored(Path("nowhere"), settings, {}, {}, xr.Dataset(data, labels))


def paired(
    methods: int, runs: int, *, shift: float = 0.0, common: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Normal values that share a run's noise; all but the first have noise of their own."""
    rng = np.random.default_rng(seed)
    values = np.tile(common * rng.normal(size=runs), (methods, 1))
    values[1:] += shift + rng.normal(size=(methods - 1, runs))
    return values.astype(np.float32)


def loop(values: np.ndarray, resamples: int, statistic: Any) -> np.ndarray:
    """The statistic of each resample, one after the other."""
    rng, runs = np.random.default_rng(0), values.shape[0]
    return np.array([statistic(values[rng.integers(runs, size=runs)]) for _ in range(resamples)])


def near(found: tuple[float, float], expected: tuple[float, float], within: float) -> bool:
    """Whether two intervals agree, within a fraction of the width of the expected one."""
    width = expected[1] - expected[0]
    return bool(np.all(np.abs(np.subtract(found, expected)) < within * width))


# Oracles


def test_resampled_means_are_those_of_a_plain_loop() -> None:
    values = np.random.default_rng(1).lognormal(size=(40, 5))
    values[3, 1] = values[30:, 2] = np.nan
    expected = loop(values, 1100, lambda drawn: np.nanmean(drawn, axis=0))
    found = resampled_means(values, 1100)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert not np.allclose(found, np.nan_to_num(expected) * 30 / 40, rtol=1e-3)
    # Where none of the runs with a value was drawn there is no mean, and the interval is of others.
    lone = np.full((40, 1), np.nan)
    lone[7] = 5.0
    drawn = resampled_means(lone, 400)
    assert 0.2 < np.isnan(drawn).mean() < 0.55
    assert interval(drawn[:, 0]) == (5.0, 5.0)


def test_p_is_that_of_a_plain_loop() -> None:
    d = np.random.default_rng(2).lognormal(size=30) - 1.4
    t = abs(d.mean()) / d.std()
    beyond = loop(d, 700, lambda x: abs(x.mean() - d.mean()) / x.std() >= t)
    columns = np.stack([d, (d - d.mean()) ** 2], axis=1)
    means, squares = resampled_means(columns, 700).T
    found = p_value(float(d.mean()), float(d.var()), means, squares)
    assert found == pytest.approx((1 + beyond.sum()) / 701, abs=1e-12)
    assert 0.05 < found < 0.95


def test_intervals_are_those_of_scipy() -> None:
    x = np.exp(0.3 * paired(2, 90, shift=0.8))
    found = compare(study({GAP: x})).row(GAP, "m1")
    kept = x.astype(np.float64)

    def oracle(statistic: Any, *data: np.ndarray) -> tuple[float, float]:
        done = stats.bootstrap(
            data, statistic, paired=True, vectorized=True, n_resamples=10_000,
            method="percentile", rng=np.random.default_rng(5),
        )  # fmt: skip
        return done.confidence_interval.low, done.confidence_interval.high

    def mean(a: np.ndarray, axis: int = -1) -> Any:
        return a.mean(axis)

    def difference(a: np.ndarray, b: np.ndarray, axis: int = -1) -> Any:
        return a.mean(axis) - b.mean(axis)

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> Any:
        return a.mean(axis) / b.mean(axis)

    for got, expected in (
        (found.interval, oracle(mean, kept[1])),
        (found.difference_interval, oracle(difference, kept[1], kept[0])),
        (found.ratio_interval, oracle(ratio, kept[1], kept[0])),
    ):
        assert got is not None
        # An end of either has a standard error of 0.7 % of the width: four of their difference.
        assert near(got, expected, 0.04)
        middle, half = np.mean(got), np.ptp(got) / 2
        for scale in (2 / 3, 1.5):
            assert not near((middle - scale * half, middle + scale * half), expected, 0.04)
    assert found.mean == pytest.approx(kept[1].mean(), rel=1e-12)
    assert found.difference == pytest.approx((kept[1] - kept[0]).mean(), rel=1e-12)
    assert found.ratio == pytest.approx(kept[1].mean() / kept[0].mean(), rel=1e-12)


# Statistics


def narrowed(runs: int, scale: float = 1.0) -> float:
    """How often a percentile interval, scaled, of a mean of normal values misses its mean."""
    limit = scale * stats.norm.ppf(0.975) * np.sqrt((runs - 1) / runs)
    return float(2 * stats.t.sf(limit, runs - 1))


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_intervals_cover_and_nothing_is_told_apart_too_often(shift: float) -> None:
    cases, runs = 800, 64
    found = compare(study({GAP: paired(cases + 1, runs, shift=shift)}), resamples=2000)
    rows = [row for row in found.rows if row.difference_interval is not None]
    assert len(rows) == found.comparisons == cases
    missed = np.mean([not i.low <= shift <= i.high for i in map(_difference, rows)])
    told = np.mean([row.verdict != "not told apart" for row in rows])
    error = np.sqrt(narrowed(runs) / cases)
    assert narrowed(runs) == pytest.approx(0.056, abs=1e-3)
    assert narrowed(8) == pytest.approx(0.11, abs=2e-3)
    assert abs(missed - narrowed(runs)) < 4 * error
    for scale in (2 / 3, 1.5):
        assert abs(missed - narrowed(runs, scale)) > 4 * error
    if shift:
        assert told > 0.5
        assert {row.verdict for row in rows} <= {"higher", "not told apart"}
    else:
        assert told == missed
        kinds = [row.verdict for row in rows]
        assert min(kinds.count("higher"), kinds.count("lower")) > 0.1 * told * cases


def _difference(row: Any) -> Any:
    return row.difference_interval


@pytest.mark.parametrize("runs", [8, 48])
def test_p_is_uniform_enough_and_the_correction_holds(runs: int) -> None:
    """Of 200 studies without any difference few have one that is called real."""
    studies, comparisons, resamples = 200, 20, 1500
    d = np.random.default_rng(3).normal(size=(runs, studies * comparisons))
    means = resampled_means(d, resamples)
    squares = resampled_means((d - d.mean(axis=0)) ** 2, resamples)
    p = np.array(
        [
            p_value(float(d[:, i].mean()), float(d[:, i].var()), means[:, i], squares[:, i])
            for i in range(d.shape[1])
        ]
    )
    error = np.sqrt(0.05 * 0.95 / p.size)
    if runs > 8:
        assert abs(np.mean(p < 0.05) - 0.05) < 4 * error
        assert abs(np.mean(p < 0.05 * 2 / 3) - 0.05) > 4 * error
        assert abs(np.mean(p < 0.05 * 1.5) - 0.05) > 4 * error
    else:
        # With the fewest runs that are compared it errs on the safe side.
        assert np.mean(p < 0.05) < 0.05 + 4 * error
    any_real = (p.reshape(studies, comparisons) * comparisons < 0.05).any(axis=1).mean()
    assert any_real < 0.05 + 4 * np.sqrt(0.05 * 0.95 / studies)
    assert (p.reshape(studies, comparisons) < 0.05).any(axis=1).mean() > 0.4
    # Without the studentization eight runs of one sign would do, which is one case in 128.
    if runs == 8:
        alike = (np.abs(np.sign(d).sum(axis=0)) == runs).reshape(studies, comparisons)
        assert alike.any(axis=1).mean() > 0.1


def test_pairing_tells_what_an_unpaired_analysis_misses() -> None:
    rng = np.random.default_rng(4)
    common, own = rng.normal(size=256), 0.05 * rng.normal(size=(2, 256))
    values = 5 + common + own + np.array([[0.0], [0.03]])
    found = compare(study({GAP: values})).row(GAP, "m1")
    assert (found.verdict, found.real) == ("higher", "yes")
    # The same values in another order are as good to whoever does not look at pairs.
    values[1] = rng.permutation(values[1])
    unpaired = compare(study({GAP: values})).row(GAP, "m1")
    assert (unpaired.verdict, unpaired.real) == ("not told apart", "no")
    assert unpaired.difference == pytest.approx(found.difference, rel=1e-5)
    done: Any = stats.ttest_ind(values[1], values[0])
    assert done.pvalue > 0.3


def test_more_comparisons_ask_for_more() -> None:
    values = np.concatenate([paired(2, 200, shift=0.25, seed=6), paired(60, 200, seed=7)[1:]])
    values[2:] -= paired(60, 200, seed=7)[0] - values[0]
    alone = compare(study({GAP: values[:2]}))
    many = compare(study({GAP: values}))
    assert (alone.comparisons, many.comparisons) == (1, 60)
    assert alone.row(GAP, "m1").p_value == many.row(GAP, "m1").p_value
    assert alone.row(GAP, "m1").real == "yes"
    assert many.row(GAP, "m1").real == "only alone"
    assert many.row(GAP, "m1").verdict == "higher"
    assert many.to_dict()["by_metric"][GAP]["methods"]["m1"]["p_bonferroni"] > 0.05
    assert "60 comparisons" in many.verdicts()[0]


def test_a_method_is_not_told_apart_from_itself() -> None:
    values = paired(3, 37, shift=9.0, common=3.0)
    values[2] = values[0]
    found = compare(study({GAP: values + 50, "test_accuracy": values + 50}))
    for metric in found.metrics:
        row = found.row(metric, "m2")
        assert (row.difference, row.difference_interval) == (0.0, (0.0, 0.0))
        assert (row.ratio, row.ratio_interval) == (1.0, (1.0, 1.0))
        assert (row.verdict, row.real, row.p_value) == ("not told apart", "no", 1.0)
        assert found.row(metric, "m1").real == "yes"
    # Where all runs agree there is no noise that could have made the difference.
    values[1] = values[0] = 1.0
    values[1] += 0.5
    assert compare(study({GAP: values})).row(GAP, "m1").real == "yes"


# What is left out


def test_failed_runs_are_left_out_and_counted() -> None:
    values = 30 + paired(4, 50, shift=2.0)
    mask = np.zeros((4, 50), bool)
    mask[0, :3] = mask[1, 2:7] = mask[2] = True
    spoiled = np.where(mask, np.nan, values)
    # A run that failed is left out even where a number is there.
    spoiled[1, 2] = 1e6
    found = compare(study({GAP: spoiled}, failed=mask))
    exact = values.astype(np.float64)
    assert found.failed == {"base": 3, "m1": 5, "m2": 50, "m3": 0}
    row = found.row(GAP, "m1")
    assert (row.runs, row.pairs) == (45, 43)
    assert row.mean == pytest.approx(np.delete(exact[1], range(2, 7)).mean(), rel=1e-12)
    assert row.difference == pytest.approx((exact[1] - exact[0])[7:].mean(), rel=1e-12)
    assert row.ratio == pytest.approx(exact[1, 7:].mean() / exact[0, 7:].mean(), rel=1e-12)
    sums = loop(
        np.stack([np.where(mask[0] | mask[1], 0, exact[1] - exact[0]), ~(mask[0] | mask[1])], 1),
        10_000,
        lambda drawn: drawn.sum(axis=0),
    )
    expected = np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])
    np.testing.assert_allclose(_difference(row), expected, rtol=1e-9)
    none = found.row(GAP, "m2")
    assert np.isnan(none.mean)
    assert (none.verdict, none.difference, none.note) == (None, None, "no sound run")
    assert found.comparisons == 2
    told = "\n".join(found.notes())
    assert "m1: 5 of 50 runs failed" in told
    assert "m2: no sound run, all 50 failed" in told
    assert "m3" not in told
    empty = compare(study({GAP: spoiled}, failed=mask), "m2")
    assert empty.comparisons == 0
    assert empty.row(GAP, "m1").note == "no run is sound in both"
    assert empty.row(GAP, "m1").interval is not None


def test_what_is_no_number_in_a_sound_run_is_not_averaged_away() -> None:
    values = 30 + paired(3, 50)
    values[1, :4] = np.nan
    values[2, 9] = np.inf
    found = compare(study({GAP: values, "test_auc": 30 + paired(3, 50)}))
    assert (found.row(GAP, "m1").runs, found.row(GAP, "m1").pairs) == (46, 46)
    assert "4 sound runs without a value" in found.row(GAP, "m1").note
    beyond = found.row(GAP, "m2")
    assert (beyond.mean, beyond.difference, beyond.verdict) == (np.inf, None, None)
    assert "1 sound run beyond float32" in beyond.note
    assert found.row("test_auc", "m2").verdict is not None
    other = compare(study({GAP: values}), "m2")
    assert other.row(GAP, "m1").verdict is None
    assert "baseline beyond float32" in other.row(GAP, "m1").note


@pytest.mark.parametrize("runs", [1, 7, 8])
def test_few_runs_have_no_interval(runs: int) -> None:
    found = compare(study({GAP: 9 + paired(2, runs, shift=3.0)}))
    row = found.row(GAP, "m1")
    assert row.difference == pytest.approx(row.mean - found.row(GAP, "base").mean)
    assert (row.interval is None) == (row.verdict is None) == (runs < 8)
    assert (row.ratio_interval is None) == (row.p_value is None) == (runs < 8)
    assert ("8 are needed" in row.note) == (runs < 8)
    assert found.comparisons == (runs >= 8)
    course = courses(study({GAP: 9 + paired(2, runs)}), found, GAP).mean["m1"]
    assert np.isfinite(course.mean).all()
    assert np.isnan(course.low).all() == (runs < 8)


def test_no_more_than_4096_runs_are_compared() -> None:
    values = paired(2, 5000)
    values[:, 4096:] = 1e9
    stored = study({GAP: values})
    found = compare(stored, resamples=50)
    assert (found.runs, found.recorded) == (4096, 5000)
    assert found.notes() == ["the first 4096 of 5000 runs are compared"]
    assert found.row(GAP, "m1").mean == pytest.approx(values[1, :4096].mean(), abs=1e-6)
    assert courses(stored, found, GAP, resamples=50).mean["m1"].high.max() < 1


@pytest.mark.parametrize(
    ("values", "metric", "ratio"),
    [
        (np.array([[2.0] * 9, [3.0] * 9]), GAP, 1.5),
        (np.array([[2.0] * 9, [0.0] * 9]), GAP, 0.0),
        (np.array([[0.0] * 9, [3.0] * 9]), GAP, None),
        (np.array([[-2.0] * 9, [3.0] * 9]), "objective", None),
        (np.array([[2.0] * 9, [-3.0] * 9]), "objective", None),
        (np.array([[1e-16] * 9, [3.0] * 9]), "consensus_error", None),
        (np.array([[3.0] * 9, [1e-16] * 9]), "consensus_error", None),
    ],
)
def test_a_ratio_is_given_where_it_says_something(
    values: np.ndarray, metric: str, ratio: float | None
) -> None:
    row = compare(study({metric: values})).row(metric, "m1")
    assert row.ratio == (None if ratio is None else pytest.approx(ratio))
    assert (row.ratio_interval is None) == (ratio is None)


def test_the_choice_of_baseline_and_metrics() -> None:
    stored = study(dict.fromkeys(("consensus_error", GAP, "quantization_error"), paired(3, 9)))
    found = compare(stored)
    assert (found.baseline, found.metrics) == ("base", (GAP, "consensus_error"))
    assert compare(stored, "m2", ["consensus_error"]).metrics == ("consensus_error",)
    mixed = stored.config.model_copy(
        update={
            "methods": config(
                {"methods": {"base": ENCRYPTED, "m1": CONVENTIONAL, "m2": CONVENTIONAL}}
            ).methods
        }
    )
    other = Stored(stored.path, mixed, {}, {}, stored.curves)
    assert compare(other).baseline == "m1"
    with pytest.raises(InputError, match="baseline = 'm9': expected one of base, m1, m2"):
        compare(stored, "m9")
    for name in ("quantization_error", "error_worst_agent", "nothing", "status"):
        with pytest.raises(InputError, match=f"{name}': expected some of gap_mean_state, cons"):
            compare(stored, metrics=[name])
    with pytest.raises(InputError, match="a metric of one value a run"):
        compare(study({"quantization_error": paired(3, 9)}))


# Courses and figures


def test_courses_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(8)
    values = rng.lognormal(size=(3, 70, 20)).astype(np.float32)
    mask = np.zeros((3, 20), bool)
    mask[1, 4:6] = mask[0, 5:7] = True
    for failed in (None, mask):
        stored = study({GAP: values}, failed=failed)
        stored = Stored(
            stored.path, stored.config, {}, {}, stored.curves.assign_coords(iteration=range(70))
        )
        found = courses(stored, compare(stored, resamples=10), GAP, resamples=300)
        exact = values.astype(np.float64)
        if failed is not None:
            exact[np.broadcast_to(mask[:, None], exact.shape)] = np.nan
        pair = exact + 0 * exact[0]
        base = exact[0] + 0 * exact[1]
        rows = np.concatenate([exact[1], pair[1], base]).T
        drawn = loop(rows, 300, lambda drawn: np.nanmean(drawn, axis=0)).reshape(300, 3, 70)
        real = np.nanmean(rows, axis=0).reshape(3, 70)
        for course, means, sample in (
            (found.mean["m1"], real[0], drawn[:, 0]),
            (found.difference["m1"], real[1] - real[2], drawn[:, 1] - drawn[:, 2]),
            (found.ratio["m1"], real[1] / real[2], drawn[:, 1] / drawn[:, 2]),
        ):
            low, high = np.quantile(sample, [0.025, 0.975], axis=0)
            for got, expected in zip(course, (means, low, high), strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-9)
        assert set(found.ratio) == set(found.difference) == {"m1", "m2"}


def figure(stored: Stored, metric: str = GAP) -> Any:
    seen = Stored(stored.path, stored.config, {}, {}, looked_at(stored.curves))
    methods = compare_figures.drawing.methods(seen)
    return compare_figures._figure(seen, compare(seen, resamples=10), metric, methods)


def test_figures_show_ratios_where_decades_are_spanned() -> None:
    fall = np.array([1.0, 0.1, 0.01])[:, None]
    values = 3 + np.abs(paired(3, 12))[:, None] * np.ones((3, 1))
    gap = figure(study({GAP: values * fall}))
    left, right = gap.axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert right.get_ylabel() == "ratio to base"
    assert "3 decades" not in gap._suptitle.get_text()
    (line,) = [line for line in right.get_lines() if line.get_label() == "m1"]
    np.testing.assert_allclose(line.get_ydata(), values[1, 0].mean() / values[0, 0].mean(), 1e-6)
    for flat in (values, values * fall - 1):
        left, right = figure(study({"objective": flat}), "objective").axes
        assert (left.get_yscale(), right.get_yscale()) == ("linear", "linear")
        assert right.get_ylabel() == "difference from base"
        (line,) = [line for line in right.get_lines() if line.get_label() == "m1"]
        means = flat.mean(axis=2)
        np.testing.assert_allclose(line.get_ydata(), means[1] - means[0], rtol=1e-4)
    # A baseline whose error is only rounding has no ratios.
    exact = values * fall
    exact[0] = 1e-17
    centralized = figure(study({"consensus_error": exact}), "consensus_error")
    left, right = centralized.axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert "base: consensus error zero up to rounding" in centralized._suptitle.get_text()


def test_figures_say_what_failed(tmp_path: Path) -> None:
    values = 3 + np.abs(paired(3, 12))[:, None] * np.ones((3, 1))
    mask = np.zeros((3, 12), bool)
    mask[1, :4] = mask[2] = True
    stored = study({GAP: values, "test_accuracy": values}, failed=mask)
    told = figure(stored)._suptitle.get_text()
    assert "m1: 4 of 12 runs failed, left out" in told
    assert "m2: 12 of 12 runs failed, not shown" in told
    paths = compare_figures.draw(stored, compare(stored), tmp_path / "figures")
    assert [path.name for path in paths] == [
        f"compare-{metric}.{kind}" for metric in (GAP, "test_accuracy") for kind in ("png", "pdf")
    ]
    assert all(path.stat().st_size > 5000 for path in paths)
    ruin = study({GAP: values}, failed=np.ones((3, 12), bool))
    assert "no sound run" in [text.get_text() for text in figure(ruin).axes[1].texts]
    no_base = figure(study({GAP: values}, failed=mask[::-1]))
    assert "base, the baseline, has no sound run" in no_base._suptitle.get_text()


# The command


def the_object(text: str) -> dict[str, Any]:
    value = json.loads(text, parse_constant=pytest.fail)
    assert text.count("\n") == 1
    return value


def test_the_command(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    methods = {
        "encrypted": ENCRYPTED,
        "conventional": CONVENTIONAL,
        "randomized-state-sharing": CONVENTIONAL,
        "bad": DIVERGING,
    }
    metrics = {"record.metrics": [GAP, "consensus_error", "quantization_error"]}
    path = write(tmp_path, {"methods": methods, **metrics})
    assert cli.main(["compare", path, "--runs", "12"]) == 0
    captured = capsys.readouterr()
    tables = captured.out.splitlines()
    assert [line for line in tables[:-1] if cell_len(line) > 80] == []
    shown = "\n".join(tables)
    assert "12 paired runs at k = 30, beside conventional" in shown
    assert "bad: no sound run, all 12 failed: not compared" in shown
    assert "not told" in shown
    assert "[0, 0]" in shown
    assert re.search(r"\n4 comparisons: \d+ real, \d+ only alone, \d+ not told apart\n", shown)
    assert "bad: of 12 runs 12 left the range" in captured.err
    (folder,) = (tmp_path / "dpe-results").iterdir()
    stored = load(folder)
    assert stored.config.runs == 12
    held = json.loads((folder / COMPARISON).read_text())
    assert len(list((folder / "figures").glob("compare-*.p*"))) == 4 == 2 * len(held["metrics"])

    # A finished result is compared again, not simulated again.
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(experiment, "run", fail)
        assert cli.main(["compare", path, "--runs", "12", "--json", "--no-figures"]) == 0
        captured = capsys.readouterr()
        report = the_object(captured.out)
        assert "has this result already" in captured.err
        assert report == {"folder": str(folder.relative_to(tmp_path)), "figures": [], **held}
        with pytest.raises(AssertionError):
            cli.main(["compare", path, "--runs", "13"])
        arguments = ["compare", str(folder), "--json", "--no-figures"]
        chosen = ["--baseline", "encrypted", "--metrics", "consensus_error,gap_mean_state"]
        assert cli.main([*arguments, *chosen]) == 0
        report = the_object(capsys.readouterr().out)
    assert report["metrics"] == [GAP, "consensus_error"]
    assert (report["baseline"], report["comparisons"], report["runs"]) == ("encrypted", 4, 12)
    rows = report["by_metric"][GAP]["methods"]
    expected = compare(stored, "encrypted").row(GAP, "conventional")
    assert rows["conventional"]["difference_interval"] == pytest.approx(_difference(expected))
    assert rows["conventional"]["verdict"] == expected.verdict
    assert rows["bad"]["mean"] is None
    assert json.loads((folder / COMPARISON).read_text())["baseline"] == "encrypted"
    # The copy of the baseline is exactly as good as the baseline.
    same = held["by_metric"][GAP]["methods"]["randomized-state-sharing"]
    assert (same["difference"], same["verdict"], same["real"]) == (0, "not told apart", "no")
    # What was written is no obstacle to anything else.
    assert load(folder).curves.equals(stored.curves)
    assert cli.main(["run", path, "--runs", "12", "--no-figures"]) == 0
    assert not (folder / COMPARISON).exists()


def test_an_unfinished_result_is_run_again(tmp_path: Path, capsys: Any) -> None:
    path, out = write(tmp_path, {"runs": 9, "iterations": 4}), tmp_path / "out"
    arguments = ["compare", path, "--out", str(out), "--no-figures", "--json"]
    assert cli.main(arguments) == 0
    first = the_object(capsys.readouterr().out)
    (out / "summary.json").unlink()
    assert cli.main(arguments) == 0
    assert the_object(capsys.readouterr().out) == first
    load(out)
    # Of other settings it is only replaced when asked.
    assert cli.main([*arguments, "--seed", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert the_object(capsys.readouterr().out) != first


def test_one_method_and_one_run(tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path, {"runs": 1, "iterations": 4, "methods": {"m": ENCRYPTED}})
    assert cli.main(["compare", path, "--out", str(tmp_path / "o"), "--no-figures"]) == 0
    shown = capsys.readouterr().out
    assert "1 paired run at k = 4, beside m" in shown
    assert "no interval: 1 run, 8 are needed: m" in shown
    assert "one method: there is nothing to compare it with" in shown
    assert "0 comparisons" in shown
    assert "nan" not in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["five-agents", "--baseline", "best"], ["--baseline = 'best'", "encrypted, conv"]),
        (["five-agents", "--metrics", "speed"], ["--metrics = 'speed'", "gap_mean_state, "]),
        (["five-agents", "--metrics", ""], ["--metrics = ''", "gap_mean_state"]),
        (["five-agents", "--metrics", "quantization_error"], ["'quantization_error'", "some of"]),
        (["five-agents", "--runs", "0"], ["--runs = '0'", "from 1"]),
        (["five-agents", "--trace", "0"], ["'--trace 0'", "dpe compare"]),
        (["six-agents"], ["PRESET|CONFIG|DIR", "'six-agents'", "or a folder that dpe run wrote"]),
        (["nothing.toml"], ["'nothing.toml'", "No such file"]),
        ([], ["PRESET|CONFIG|DIR"]),
        (["old", "--baseline", "best"], ["--baseline = 'best'", "one of encrypted, conv"]),
        (["old", "--metrics", "speed"], ["--metrics = 'speed'", "some of gap_mean_state"]),
        (["old", "--runs", "5"], ["--runs = 5", "folder with a result"]),
        (["old", "--out", "new"], ["--out = 'new'", "folder with a result"]),
        (["broken"], ["DIR = 'broken'", "summary.json is missing"]),
        (["empty"], ["PRESET|CONFIG|DIR", "'empty'", "or a folder that dpe run wrote"]),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    expected: list[str],
    finished: Path,
    tmp_path: Path,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").symlink_to(finished)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{}")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert cli.main(["compare", *arguments]) == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("dpe: ")
    for part in expected:
        assert part in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "out"
    experiment.run(config({"runs": 9, "iterations": 4}), out)
    return out


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.00012, 0.000123, "[1.20, 1.23]e-4"),
        (-2.56e-6, -1.31e-8, "[-2.56, -0.01]e-6"),
        (0.9713, 0.9998, "[0.971, 1.000]"),
        (0.998, 1.0004, "[0.998, 1.000]"),
        (7.41, 7.68, "[7.41, 7.68]"),
        (98.2, 123.4, "[98, 123]"),
        (0.0, 0.0, "[0, 0]"),
        (12345.0, 23456.0, "[1.23, 2.35]e4"),
        (9.996e-5, 9.998e-5, "[1.00, 1.00]e-4"),
    ],
)
def test_intervals_are_short(low: float, high: float, expected: str) -> None:
    from dpe_jax import comparisons
    from dpe_jax.bootstrap import Interval

    assert comparisons._interval(Interval(low, high)) == expected
    assert isinstance(compare(study({GAP: paired(2, 9)}), resamples=10), Comparison)
