"""Statistics of sweeps, of kept runs and of their summary, beside plain NumPy."""

import csv
import io
import json
import math

import numpy as np
import pytest
import xarray as xr
from made_sweeps import DELTA, EXPONENT, GRAPH, RANDOM, ZIPPED, failing, made, summarised, swept

from dpe_jax import sweep_statistics
from dpe_jax.errors import InputError
from dpe_jax.sweep_statistics import (
    as_csv,
    failed,
    final_table,
    metrics,
    runs,
    select,
    statistics,
)

COLUMNS = ("mean", "standard_error", "low", "median", "high", "count")


@pytest.fixture(scope="module")
def flawed() -> xr.Dataset:
    """Twelve configurations: in one all runs fail, in one all but one, in one a few."""
    dataset = made(swept(DELTA, EXPONENT))
    for place, lost in ((2, 8), (5, 7), (9, 3)):
        dataset = failing(dataset, 0, place, lost)
    return dataset


def by_hand(values: np.ndarray) -> tuple[float, ...]:
    """Sorted by hand and interpolated by hand; NaN stands for a run that has failed."""
    sound = sorted(float(value) for value in values if not math.isnan(value))
    count = len(sound)
    if not count:
        return (math.nan,) * 5 + (0,)
    mean = math.fsum(sound) / count
    squares = math.fsum((value - mean) ** 2 for value in sound)
    error = math.sqrt(squares / (count - 1) / count) if count > 1 else math.nan

    def quantile(level: float) -> float:
        below = math.floor(level * (count - 1))
        rest = level * (count - 1) - below
        return sound[below] + rest * (sound[min(below + 1, count - 1)] - sound[below])

    return (mean, error, quantile(0.05), quantile(0.5), quantile(0.95), count)


def test_kept_runs_and_their_summary_give_the_figures_of_textbooks(flawed, monkeypatch) -> None:
    values = flawed.gap_mean_state.values
    expected = np.array([by_hand(values[place]) for place in np.ndindex(values.shape[:3])])
    whole = statistics(flawed, "gap_mean_state")
    # Read in small pieces, the same numbers come out.
    monkeypatch.setattr(sweep_statistics, "_VALUES_AT_A_TIME", 20)
    pieces = statistics(flawed, "gap_mean_state")
    kept = summarised(flawed)
    for found in (whole, pieces, statistics(kept, "gap_mean_state")):
        assert found.levels == (0.05, 0.95)
        for column, name in enumerate(COLUMNS):
            array = getattr(found, name)
            assert array.dims == ("algorithm", "configuration", "iteration")
            assert array.dtype == (np.int64 if name == "count" else np.float64)
            assert array.delta.dims == ("configuration",)
            np.testing.assert_allclose(array.values.ravel(), expected[:, column], rtol=1e-12)
    assert np.isnan(expected).any()
    xr.testing.assert_identical(whole.mean, pieces.mean)


def test_dimensions_may_come_in_any_order(flawed) -> None:
    for dataset in (flawed, summarised(flawed)):
        turned = dataset.transpose(*reversed(list(dataset.sizes)))
        found, expected = (statistics(d, "gap_mean_state") for d in (turned, dataset))
        for name in COLUMNS:
            xr.testing.assert_identical(getattr(found, name), getattr(expected, name))


def test_other_quantiles_are_said() -> None:
    kept = summarised(made(swept(DELTA)))
    kept = kept.isel(quantile=[2, 0]).assign_coords(quantile=[0.9, 0.1])
    found = statistics(kept, "gap_mean_state")
    assert found.levels == (0.1, 0.9)
    assert np.array_equal(found.high, kept.gap_mean_state_quantile.isel(quantile=0))
    assert np.isnan(found.median).all()


def test_values_that_overflowed() -> None:
    dataset = made(swept(DELTA))
    dataset.gap_mean_state.values[0, 0, -1, 0] = np.inf
    found = statistics(dataset, "gap_mean_state")
    assert found.mean.values[0, 0, -1] == np.inf
    assert np.isfinite(found.mean.values[0, 0, :-1]).all()
    assert np.isfinite(found.mean.values[0, 1]).all()


def test_metrics_and_failures(flawed) -> None:
    kept = summarised(flawed)
    for dataset in (flawed, kept):
        assert metrics(dataset) == ["gap_mean_state"]
        assert runs(dataset) == 8
        expected = np.zeros((2, 12), int)
        expected[0, [2, 5, 9]] = 8, 7, 3
        assert np.array_equal(failed(dataset).values, expected)
        with pytest.raises(InputError, match="metric = 'objective': expected one of gap_mean"):
            statistics(dataset, "objective")
    per_agent = flawed.assign(quantization_error=flawed.gap_mean_state)
    assert metrics(per_agent) == ["gap_mean_state"]


def test_the_final_table(flawed) -> None:
    rows = final_table(flawed, "gap_mean_state")
    assert len(rows) == 24
    assert [(row["configuration"], row["algorithm"]) for row in rows[:3]] == [
        (0, "encrypted"),
        (0, "conventional"),
        (1, "encrypted"),
    ]
    assert list(rows[0]) == [
        *("configuration", "algorithm", "delta", "a", "runs", "failed"),
        *(f"gap_mean_state_{name}" for name in COLUMNS[:-1]),
    ]
    for row in rows:
        place, which = row["configuration"], ["encrypted", "conventional"].index(row["algorithm"])
        last = by_hand(flawed.gap_mean_state.values[which, place, -1])
        assert (row["delta"], row["a"]) == (flawed.delta.values[place], flawed.a.values[place])
        assert (row["runs"], row["failed"]) == (8, 8 - last[-1])
        for name, value in zip(COLUMNS[:-1], last, strict=False):
            found = row[f"gap_mean_state_{name}"]
            assert (found is None) == math.isnan(value)
            assert found is None or found == pytest.approx(value, rel=1e-12)
    assert rows[4]["gap_mean_state_mean"] is None
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    kept = final_table(summarised(flawed), "gap_mean_state")
    assert [row["failed"] for row in kept] == [row["failed"] for row in rows]


def test_a_table_as_csv() -> None:
    dataset = failing(made(swept(GRAPH, ZIPPED)), 0, 1, 8)
    rows = final_table(dataset, "gap_mean_state")
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert len(read) == len(rows)
    assert list(read[0]) == list(rows[0])
    for line, row in zip(read, rows, strict=True):
        for name, value in row.items():
            assert line[name] == ("" if value is None else str(value))


def test_configurations_are_chosen_by_their_labels() -> None:
    dataset = made(swept(DELTA, ZIPPED, GRAPH))
    chosen = select(dataset, {"delta": "1e-2", "graph": "path"})
    assert chosen.pace.values.tolist() == ["slow", "middling", "fast"]
    assert set(chosen.delta.values) == {0.01}
    assert select(chosen, {"gamma.exponent": 0.65}).configuration.values.tolist() == [9]
    # A number in the digits that are shown is that of the sweep.
    random = made(swept(RANDOM))
    for value in random.delta.values:
        assert select(random, {"delta": f"{value:.7g}"}).delta.values.tolist() == [value]
    for at, line in (
        ({"delt": 1}, "--at = 'delt': expected one of delta, pace, gamma.exponent, stepsize.exp"),
        ({"delta": 0.02}, "--at = 'delta=0.02': expected one of 0.001, 0.01, 0.1"),
        ({"delta": "x"}, "--at = 'delta=x': expected one of 0.001, 0.01, 0.1"),
        ({"graph": "star"}, "--at = 'graph=star': expected one of ring, path"),
    ):
        with pytest.raises(InputError) as refused:
            select(dataset, at)
        assert str(refused.value).startswith(line)
