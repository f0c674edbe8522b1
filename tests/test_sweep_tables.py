"""The table [sweep]: what it stands for, and that every bad one is refused in one line."""

import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused_config
from hypothesis import given, settings
from hypothesis import strategies as st
from small import config

from dpe_jax import experiment
from dpe_jax.config import parse
from dpe_jax.errors import InputError
from dpe_jax.results import config_hash, resolved_toml
from dpe_jax.sweep_tables import RandomAxis, RangeTable, names

DELTA, GAMMA, STEPSIZE = (
    f"methods.encrypted.{key}" for key in ("delta", "gamma.exponent", "stepsize.exponent")
)
LINEAR = {"from": 1, "to": 2, "count": 1000}

BAD: list[tuple[Any, str]] = [
    ([], "sweep.axis = []: expected at least 1 of them"),
    ([3], "sweep.axis[0] = 3: expected a table"),
    ([{}], "sweep.axis[0].key = None: expected a value; the key is missing"),
    ([{"values": [1]}], "sweep.axis[0].key = None: expected a value; the key is missing"),
    (
        [{"key": DELTA}],
        f"sweep.axis[0].key = '{DELTA}': expected one of the keys values, linear and geometric "
        "beside it, not 0",
    ),
    (
        [{"key": DELTA, "values": [1], "linear": LINEAR}],
        f"sweep.axis[0].key = '{DELTA}': expected one of the keys values, linear and geometric "
        "beside it, not 2",
    ),
    (
        [{"key": DELTA, "valeus": [1]}],
        "sweep.axis[0].valeus = [1]: expected one of the keys name, key, values, linear, "
        "geometric, labels",
    ),
    ([{"key": DELTA, "values": []}], "sweep.axis[0].values = []: expected at least 1 of them"),
    (
        [{"key": DELTA, "values": [0.1, 1, 1.0]}],
        "sweep.axis[0].values = 1.0: expected values that differ; this one is there twice",
    ),
    (
        [{"key": DELTA, "values": [math.nan]}],
        "sweep.axis[0].values[0] = nan: expected finite numbers, strings, booleans, arrays and "
        "tables",
    ),
    (
        [{"key": DELTA, "values": [1, 2], "labels": ["one"]}],
        "sweep.axis[0].labels = ['one']: expected 2 labels, one for each point of the axis",
    ),
    (
        [{"key": DELTA, "values": [1, 2], "labels": ["one", "one"]}],
        "sweep.axis[0].labels = 'one': expected values that differ; this one is there twice",
    ),
    (
        [{"key": DELTA, "linear": {"from": 2, "to": 1, "count": 4}}],
        "sweep.axis[0].linear.to = 1: expected a number greater than from = 2",
    ),
    (
        [{"key": DELTA, "linear": {"from": "a", "to": 1, "count": 4}}],
        "sweep.axis[0].linear.from = 'a': expected a number",
    ),
    (
        [{"key": DELTA, "linear": {"from": 0, "to": 1, "count": 1}}],
        "sweep.axis[0].linear.count = 1: expected a number greater than or equal to 2",
    ),
    (
        [{"key": DELTA, "linear": {"from": 0, "to": 1, "start": 1}}],
        "sweep.axis[0].linear.start = 1: expected one of the keys from, to, count",
    ),
    (
        [{"key": DELTA, "geometric": {"from": 0, "to": 1, "count": 4}}],
        "sweep.axis[0].geometric.from = 0: expected a number greater than 0",
    ),
    (
        [{"zip": {DELTA: [1, 2], GAMMA: [1]}}],
        f"sweep.axis[0].zip.{GAMMA} = [1]: expected as many values as {DELTA} has (2)",
    ),
    ([{"zip": {}}], "sweep.axis[0].zip = {}: expected at least 1 of them"),
    (
        [{"samples": 4}],
        "sweep.axis[0].samples = 4: expected a key in uniform or log_uniform beside it",
    ),
    ([{"samples": 0}], "sweep.axis[0].samples = 0: expected a number greater than 0"),
    (
        [{"samples": 4, "uniform": {DELTA: [1, 1]}}],
        f"sweep.axis[0].uniform.{DELTA} = [1.0, 1.0]: expected [low, high] with low < high",
    ),
    (
        [{"samples": 4, "log_uniform": {DELTA: [0, 1]}}],
        f"sweep.axis[0].log_uniform.{DELTA} = [0.0, 1.0]: expected ends greater than 0",
    ),
    (
        [{"samples": 4, "uniform": {DELTA: [1]}}],
        f"sweep.axis[0].uniform.{DELTA} = [1]: expected at least 2 of them",
    ),
    (
        [{"key": DELTA, "values": [1]}, {"zip": {DELTA: [1]}}],
        f"sweep.axis[1] = '{DELTA}': expected each key once; this one is there twice",
    ),
    (
        [{"name": "a", "key": DELTA, "values": [1]}, {"name": "a", "key": GAMMA, "values": [1]}],
        "sweep.axis[1].name = 'a': expected a name that no other axis has",
    ),
    (
        [{"samples": 1, "uniform": {key: [0, 1]}} for key in (DELTA, GAMMA)],
        "sweep.axis[1].name = None: expected a name that tells it from other axes and keys "
        "('sample' is taken)",
    ),
    *(
        (
            [{"name": name, "key": DELTA, "values": [1]}],
            f"sweep.axis[0].name = '{name}': expected another name: results have this one for "
            "something else",
        )
        for name in ("run", "status", "gap_mean_state_mean")
    ),
    (
        [{"name": "a/b", "key": DELTA, "values": [1]}],
        "sweep.axis[0].name = 'a/b': expected a name that matches",
    ),
    (
        [{"key": DELTA, "linear": LINEAR}, {"key": GAMMA, "linear": LINEAR}],
        "sweep.axis = 1000000: expected at most 100000 configurations in all",
    ),
]


@pytest.mark.parametrize(("axes", "expected"), BAD)
def test_a_bad_table_is_refused_in_one_line(axes, expected, tmp_path, capsys) -> None:
    line = refused_config({"sweep": {"axis": axes}}, tmp_path, capsys)
    assert line.startswith(f"dpe: {expected}")


def test_a_sweep_is_no_single_experiment(tmp_path: Path, capsys) -> None:
    line = refused_config({"sweep": {"axis": [{"key": DELTA, "values": [0.1]}]}}, tmp_path, capsys)
    assert line == (
        f"dpe: sweep = ['{DELTA}']: expected no such table: this is one experiment, and a "
        "sweep is for dpe sweep"
    )


def test_a_configuration_without_a_sweep_keeps_its_hash() -> None:
    without = config()
    assert "sweep" not in without.model_dump(mode="json")
    assert "sweep" not in resolved_toml(without)
    # Those of version 0.2.0.
    known = {
        "five-agents": "8605eb656840ec84",
        "hospitals": "27b0ab20331bd1ec",
    }
    presets = experiment.presets()
    assert {name: config_hash(presets[name])[:16] for name in known} == known
    swept = config({"sweep": {"axis": [{"key": DELTA, "values": [0.1]}]}})
    assert config_hash(swept) != config_hash(without)


def test_a_sweep_survives_being_written() -> None:
    axes = [
        {"name": "d", "key": DELTA, "values": [0.1, 0.2], "labels": ["x", "y"]},
        {"key": GAMMA, "linear": {"from": 0.5, "to": 0.9, "count": 5}},
        {"zip": {"problem.noise": [0.0, 1.0], "network": [{"graph": "ring", "agents": 5}] * 2}},
        {"samples": 3, "seed": 4, "uniform": {STEPSIZE: [0.5, 1]}},
    ]
    swept = config({"sweep": {"axis": axes}})
    assert parse(tomllib.loads(resolved_toml(swept))) == swept
    changed = experiment.override(swept, {"runs": 3})
    assert changed.sweep == swept.sweep


@pytest.mark.parametrize(
    ("axes", "titles", "labels"),
    [
        ([{"key": DELTA, "values": [1]}], ["delta"], [["delta"]]),
        (
            [{"key": GAMMA, "values": [1]}, {"key": STEPSIZE, "values": [1]}],
            ["gamma.exponent", "stepsize.exponent"],
            [["gamma.exponent"], ["stepsize.exponent"]],
        ),
        # The end of one key is the whole of the other's end.
        (
            [{"key": "problem.noise", "values": [1]}, {"key": "methods.t.noise", "values": [1]}],
            ["problem.noise", "t.noise"],
            [["problem.noise"], ["t.noise"]],
        ),
        ([{"name": "a", "key": GAMMA, "values": [1]}], ["a"], [["a"]]),
        (
            [{"zip": {GAMMA: [1], DELTA: [1]}}, {"key": STEPSIZE, "values": [1]}],
            ["gamma.exponent-delta", "stepsize.exponent"],
            [["gamma.exponent", "delta"], ["stepsize.exponent"]],
        ),
        ([{"zip": {DELTA: [1]}}], ["delta point"], [["delta"]]),
        # A name that is given goes before a key's.
        ([{"name": "delta", "zip": {DELTA: [1]}}], ["delta"], [["encrypted.delta"]]),
        ([{"samples": 1, "uniform": {DELTA: [0, 1]}}], ["sample"], [["delta"]]),
        # Results have runs.
        ([{"key": "methods.x.runs", "values": [1]}], ["x.runs"], [["x.runs"]]),
    ],
)
def test_names(axes, titles, labels) -> None:
    sweep = config({"sweep": {"axis": axes}}).sweep
    assert sweep is not None
    own, of_keys = names(sweep)
    assert own == titles
    assert [list(of.values()) for of in of_keys] == labels


def test_ranges() -> None:
    def values(kind: str, start: float, to: float, count: int) -> list[float]:
        return getattr(RangeTable.model_validate({"from": start, "to": to, "count": count}), kind)()

    assert values("linear", 0.5, 0.9, 5) == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert values("geometric", 1e-3, 1e-1, 3) == [0.001, 0.01, 0.1]
    for kind, ends, expected in (
        ("linear", (4, 10, 3), [4, 7, 10]),
        ("geometric", (2, 32, 5), [2, 4, 8, 16, 32]),
    ):
        whole = values(kind, *ends)
        assert whole == expected
        assert all(type(value) is int for value in whole)
    assert [type(value) for value in values("linear", 1, 2, 3)] == [float] * 3
    assert [type(value) for value in values("linear", 4.0, 10.0, 3)] == [float] * 3


@settings(deadline=None, derandomize=True)
@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e6), st.integers(2, 40))
def test_ranges_have_equal_steps_and_ratios(start: float, ratio: float, count: int) -> None:
    table = RangeTable.model_validate({"from": start, "to": start * ratio, "count": count})
    linear, geometric = np.array(table.linear()), np.array(table.geometric())
    assert len(linear) == len(geometric) == count
    assert linear[0] == geometric[0] == start
    assert linear[-1] == geometric[-1] == start * ratio
    step = start * (ratio - 1) / (count - 1)
    np.testing.assert_allclose(np.diff(linear), step, rtol=1e-6)
    np.testing.assert_allclose(
        geometric[1:] / geometric[:-1], ratio ** (1 / (count - 1)), rtol=1e-9
    )


def drawn(samples: int, seed: int, **keys: dict[str, list[float]]) -> dict[str, np.ndarray]:
    axis = RandomAxis.model_validate({"samples": samples, "seed": seed, **keys})
    return {column.key: np.array(column.values) for column in axis.columns()}


def test_samples_depend_on_the_seed_and_the_key_alone() -> None:
    both = drawn(50, 1, uniform={"a": [0, 1]}, log_uniform={"b": [1e-3, 1]})
    assert np.array_equal(drawn(50, 1, uniform={"a": [0, 1]})["a"], both["a"])
    assert np.array_equal(drawn(80, 1, uniform={"a": [0, 1]})["a"][:50], both["a"])
    swapped = drawn(50, 1, uniform={"c": [0, 1], "a": [0, 1]})
    assert np.array_equal(swapped["a"], both["a"])
    assert not np.isclose(swapped["a"], swapped["c"]).any()
    assert not np.isclose(drawn(50, 2, uniform={"a": [0, 1]})["a"], both["a"]).any()


def test_samples_have_the_distributions_they_are_named_after() -> None:
    from scipy.stats import kstest

    found = drawn(4000, 3, uniform={"a": [2, 5]}, log_uniform={"b": [1e-4, 1e-1]})
    uniform, logarithmic = (found["a"] - 2) / 3, np.log10(found["b"] / 1e-4) / 3
    for unit in (uniform, logarithmic):
        assert 0 <= unit.min() < unit.max() <= 1
        assert kstest(unit, "uniform").pvalue > 1e-3
        # Power: half and one and a half times the exponent are seen.
        assert kstest(unit**1.5, "uniform").pvalue < 1e-6
        assert kstest(unit ** (2 / 3), "uniform").pvalue < 1e-6
    assert abs(np.corrcoef(uniform, logarithmic)[0, 1]) < 4 / math.sqrt(4000)


def test_an_unknown_sort_of_value_is_refused() -> None:
    date = tomllib.loads("d = 2020-01-01")["d"]
    with pytest.raises(InputError, match=r"sweep\.axis\[0\]\.values\[1\] = datetime\.date"):
        config({"sweep": {"axis": [{"key": DELTA, "values": [1, date]}]}})
