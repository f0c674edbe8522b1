"""Paired comparison: what is told apart how often, and what is left out."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from small import CONVENTIONAL, ENCRYPTED, config
from studies import GAP, difference_interval, loop, paired, study

from dpe_jax.bootstrap import p_value, resampled_means
from dpe_jax.compare import compare
from dpe_jax.courses import courses
from dpe_jax.errors import InputError
from dpe_jax.results import Stored

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
    missed = np.mean([not i.low <= shift <= i.high for i in map(difference_interval, rows)])
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
    np.testing.assert_allclose(difference_interval(row), expected, rtol=1e-9)
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
