"""What a sweep stands for: its configurations, their labels, and what is refused."""

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sweeps import DELTA, EXPONENT, GRAPH, NOISE, RANDOM, ZIPPED, made, swept
from small import ENCRYPTED, STEPSIZE, config
from small import GAMMA as GAMMA_TABLE

from dpe_jax.errors import InputError
from dpe_jax.results import config_hash
from dpe_jax.sweeps import Sweep, axes_of, unstack

GAMMA = "methods.encrypted.gamma.exponent"


def values(sweep: Any, path: str) -> list[Any]:
    """The value of a key in each configuration."""

    def at(value: Any, part: str) -> Any:
        return value[part] if isinstance(value, dict) else getattr(value, part)

    found = []
    for one in sweep.configs:
        value = one
        for part in path.split("."):
            value = at(value, part)
        found.append(value)
    return found


def test_a_grid_is_the_product_of_its_axes_the_last_one_fastest() -> None:
    sweep = swept(DELTA, EXPONENT, NOISE)
    deltas, exponents, noises = [0.001, 0.01, 0.1], [0.5, 0.6, 0.7, 0.8], [0.0, 0.5]
    product = list(itertools.product(deltas, exponents, noises))
    columns = [values(sweep, key) for key in ("methods.encrypted.delta", GAMMA, "problem.noise")]
    assert list(zip(*columns, strict=True)) == product
    assert list(sweep.labels) == ["delta", "a", "noise"]
    for place, name in enumerate(sweep.labels):
        assert sweep.labels[name].dtype == np.float64
        assert sweep.labels[name].tolist() == [row[place] for row in product]
    assert [axis[:3] for axis in sweep.axes] == [
        ("delta", 3, ("delta",)),
        ("a", 4, ("a",)),
        ("noise", 2, ("noise",)),
    ]
    assert sweep.axes[1].paths == (("methods", "encrypted", "gamma", "exponent"),)


def test_each_configuration_is_the_one_that_a_file_would_say() -> None:
    base: dict[str, Any] = {"trace": [0], "seed": 3}
    sweep = swept(DELTA, NOISE, **base)
    for one, (delta, noise) in zip(
        sweep.configs, itertools.product((0.001, 0.01, 0.1), (0.0, 0.5)), strict=True
    ):
        written = {"methods.encrypted.delta": delta, "problem.noise": noise, "seed": 3}
        assert one == config(written)
        assert config_hash(one) == config_hash(config(written))
        assert one.sweep is None
        assert one.trace == []
        one.build()
    # What is not swept is shared, and what is swept alike as well.
    assert all(one.network is sweep.configs[0].network for one in sweep.configs)
    assert sweep.configs[0].problem is sweep.configs[2].problem
    assert sweep.configs[0].methods["encrypted"] is sweep.configs[1].methods["encrypted"]


def test_zipped_keys_move_together() -> None:
    sweep = swept(ZIPPED, NOISE)
    assert values(sweep, GAMMA) == [0.6, 0.6, 0.65, 0.65, 0.7, 0.7]
    assert values(sweep, "methods.encrypted.stepsize.exponent") == [
        0.9,
        0.9,
        0.92,
        0.92,
        0.95,
        0.95,
    ]
    assert sweep.labels["pace"].tolist() == ["slow"] * 2 + ["middling"] * 2 + ["fast"] * 2
    assert sweep.labels["gamma.exponent"].tolist() == [0.6, 0.6, 0.65, 0.65, 0.7, 0.7]
    assert sweep.axes[0].labels == ("pace", "gamma.exponent", "stepsize.exponent")
    unnamed = swept({"zip": ZIPPED["zip"]})
    assert unnamed.labels["gamma.exponent-stepsize.exponent"].tolist() == [
        "0.6, 0.9",
        "0.65, 0.92",
        "0.7, 0.95",
    ]


def test_samples_are_the_same_whatever_else_is_swept() -> None:
    alone, beside = swept(RANDOM), swept(NOISE, RANDOM, DELTA | {"key": "methods.*.stepsize.scale"})
    assert alone.axes[0].labels == ("sample", "exponent", "delta")
    assert alone.labels["sample"].tolist() == list(range(12))
    assert values(alone, GAMMA) == alone.labels["exponent"].tolist()
    assert values(alone, "methods.encrypted.delta") == alone.labels["delta"].tolist()
    grid = beside.labels["delta"].reshape(2, 12, 3)
    assert np.array_equal(grid[1, :, 2], alone.labels["delta"])
    again = swept(RANDOM)
    assert all(np.array_equal(again.labels[name], alone.labels[name]) for name in alone.labels)
    other = swept(RANDOM | {"seed": 2})
    assert not np.isclose(other.labels["delta"], alone.labels["delta"]).any()


def test_tables_and_texts_as_values() -> None:
    multipliers = [
        {"family": "uniform", "half_width": 0.5},
        {"family": "normal", "sigma": 0.5},
        {"family": "normal", "sigma": 1.0},
        {"family": "none"},
    ]
    sweep = swept(GRAPH, {"key": "methods.encrypted.multipliers", "values": multipliers}, NOISE)
    assert sweep.labels["graph"].tolist() == ["ring"] * 8 + ["path"] * 8
    assert sweep.labels["multipliers"][::2].tolist()[:4] == [
        "uniform",
        "normal sigma 0.5",
        "normal sigma 1",
        "none",
    ]
    assert [one.network.graph for one in sweep.configs[::8]] == ["ring", "path"]
    # Keys of the table that was there before are gone.
    assert sweep.configs[0].network.edges is None
    rounding = swept({"key": "methods.encrypted.rounding", "values": ["nearest", "stochastic"]})
    assert rounding.labels["rounding"].tolist() == ["nearest", "stochastic"]
    labelled = swept(GRAPH | {"labels": ["closed", "open"]})
    assert labelled.labels["graph"].tolist() == ["closed", "open"]
    lists = swept({"key": "problem.curvature", "values": [[0.5, 1.5], [1.0, 1.0]]})
    assert lists.labels["curvature"].tolist() == ["[0.5, 1.5]", "[1.0, 1.0]"]
    flags = swept(
        {"key": "methods.dp.clip", "values": [True, False]},
        methods={"dp": {"method": "GeometricDP", **DP}},
    )
    assert flags.labels["clip"].tolist() == ["true", "false"]


DP = {"c": 1.0, "q": 0.9, "M": 1.0, "p": 0.95, "radius": 4.0, "gradient_bound": 4.0}


def test_a_kind_and_the_keys_that_it_needs_can_be_swept_apart() -> None:
    # The half width that a file names has its default: it does not stand in the way of a normal.
    sweep = swept(
        {
            "name": "family",
            "zip": {
                "methods.encrypted.multipliers.family": ["normal", "lognormal"],
                "methods.encrypted.multipliers.sigma": [0.2, 0.3],
            },
        },
        methods={
            "encrypted": ENCRYPTED | {"multipliers": {"family": "uniform", "half_width": 1.0}}
        },
    )
    found = [one.methods["encrypted"].model_dump()["multipliers"] for one in sweep.configs]
    assert found == [{"family": "normal", "sigma": 0.2}, {"family": "lognormal", "sigma": 0.3}]


def numbers(table: Any, path: str) -> list[str]:
    """The keys of all numbers in the tables of a file."""
    if isinstance(table, dict):
        return [key for name, item in table.items() for key in numbers(item, f"{path}.{name}")]
    return [path] if isinstance(table, int | float) and not isinstance(table, bool) else []


TWO = {"stepsize": STEPSIZE, "gamma": GAMMA_TABLE}
FAMILIES = {
    "uniform": {"half_width": 0.5},
    "lognormal": {"sigma": 0.5},
    "gamma": {"shape": 3.0},
    "two-point": {"low": 0.5, "high": 3.0},
    "normal": {"sigma": 0.5},
}
ALL = {
    **{
        family: ENCRYPTED | {"delta": 0.5, "multipliers": {"family": family, **parameters}}
        for family, parameters in FAMILIES.items()
    },
    "link": ENCRYPTED | {"factors": {"kind": "link", "low": 2, "high": 15}},
    "decay": ENCRYPTED
    | {
        "gamma": {
            "kind": "optax",
            "function": "exponential_decay",
            "arguments": {"init_value": 2.0, "decay_rate": 0.5, "transition_steps": 9},
        }
    },
    "conventional": {"method": "ConventionalDSGD", "stepsize": STEPSIZE | {"offset": 2.0}},
    "centralized": {"method": "CentralizedSGD", "stepsize": STEPSIZE},
    "ternary": {"method": "TernaryDSGD", **TWO, "range": 8.0},
    "functions": {"method": "FunctionSharing", "stepsize": STEPSIZE, "scale": 1.5},
    "states": {"method": "RandomizedStateSharing", "stepsize": STEPSIZE, "scale": 1.5},
    "geometric": {"method": "GeometricDP", **DP},
    "tailored": {
        "method": "TailoredDP",
        **TWO,
        "noise": {"scale": 0.2, "exponent": 0.02},
        "gradient_bound": 4.0,
    },
}
REACHED = numbers(ALL, "methods")


def test_every_number_of_every_method_can_be_swept() -> None:
    unswept = swept({"key": "problem.noise", "values": [0.5]}, methods=ALL)
    for key in REACHED:
        # Within every range but that of `high`, and nowhere the value that is there.
        value = 7 if key.endswith(".high") else 1.25 if "factors" not in key else 1
        if key.endswith("transition_steps"):
            value = 8
        (now,) = values(swept({"key": key, "values": [value]}, methods=ALL), key)
        assert now == value, key
        (before,) = values(unswept, key)
        assert before != value, key


@pytest.mark.parametrize(
    ("key", "points"),
    [
        ("network.scale", [0.5, 1.0]),
        ("network.weights", ["metropolis", "max-degree"]),
        ("problem.noise", [0, 1.5]),
        ("problem.dim", [1, 3]),
        ("problem.seed", [4, 5]),
        ("problem.spread", [0.5]),
        ("x0", [[0.0, 0.0], [1.0, 1.0]]),
        ("methods.encrypted.means", [[1.0, 1.0, 1.0, 1.0, 2.0]]),
        ("methods.encrypted.delta", [0.25]),
        ("methods.encrypted.gamma.offset", [2.0]),
        ("methods.encrypted.multipliers.half_width", [0.25, 0.5]),
        ("methods.encrypted.factors", [{"kind": "link", "high": 3}, {"kind": "link", "high": 5}]),
    ],
)
def test_keys_that_a_file_leaves_out_can_be_swept(key: str, points: list[Any]) -> None:
    sweep = swept({"key": key, "values": points})
    assert len(sweep.configs) == len(points)
    for one, point in zip(sweep.configs, points, strict=True):
        assert one == config({key: point})
        one.build()


def test_a_star_stands_for_every_method_that_has_the_key() -> None:
    sweep = swept({"key": "methods.*.stepsize.scale", "values": [0.25, 0.75]})
    for name in ("encrypted", "conventional"):
        assert values(sweep, f"methods.{name}.stepsize.scale") == [0.25, 0.75]
    some = swept({"key": "methods.*.delta", "values": [0.25, 0.75]})
    assert some.axes[0].paths == (("methods", "encrypted", "delta"),)
    assert some.configs[0].methods["conventional"] == config().methods["conventional"]


def methods_of(sweep: Sweep, key: str) -> list[Any]:
    """A key of every method of the first configuration."""
    return [getattr(table, key) for table in sweep.configs[0].methods.values()]


def test_names_of_methods_may_have_dots_and_spaces() -> None:
    methods = {name: ENCRYPTED for name in ("v1", "v1.2", "v1.2 delta", "a b")}
    for name in methods:
        sweep = swept({"key": f"methods.{name}.delta", "values": [0.25]}, methods=methods)
        changed = dict(zip(methods, methods_of(sweep, "delta"), strict=True))
        assert [n for n, delta in changed.items() if delta == 0.25] == [name]
    dotted = swept({"key": "methods.v1.2.gamma.exponent", "values": [0.75]}, methods=methods)
    assert [gamma.exponent for gamma in methods_of(dotted, "gamma")] == [0.6, 0.75, 0.6, 0.6]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, derandomize=True, max_examples=25)
def test_any_grid_is_the_product(sizes: list[int], random: Any) -> None:
    keys = ["methods.encrypted.delta", GAMMA, "problem.noise", "methods.*.stepsize.scale"]
    points = [random.sample([0.5, 0.6, 0.7, 0.8, 0.9], size) for size in sizes]
    sweep = swept(*({"key": k, "values": v} for k, v in zip(keys, points, strict=False)))
    used = [key.replace("*", "conventional") for key in keys[: len(sizes)]]
    found = list(zip(*(values(sweep, key) for key in used), strict=True))
    assert found == list(itertools.product(*points))
    assert list(zip(*(labels.tolist() for labels in sweep.labels.values()), strict=True)) == found


# Datasets


def test_unstacking_gives_each_axis_a_dimension() -> None:
    sweep = swept(DELTA, ZIPPED, NOISE)
    flat = made(sweep, points=4, runs=3)
    grid = unstack(flat)
    assert grid.gap_mean_state.dims == (
        *("algorithm", "delta", "pace", "noise"),
        *("iteration", "run"),
    )
    assert grid.status.dims == ("algorithm", "delta", "pace", "noise", "run")
    assert grid["gamma.exponent"].dims == ("pace",)
    assert grid["gamma.exponent"].values.tolist() == [0.6, 0.65, 0.7]
    for place in range(len(sweep.configs)):
        at: Any = {name: sweep.labels[name][place] for name in ("delta", "pace", "noise")}
        expected = flat.gap_mean_state.isel(configuration=place).values
        assert np.array_equal(grid.gap_mean_state.sel(at).values, expected)
    assert "configuration" not in grid.variables
    assert [axis.name for axis in axes_of(grid)] == ["delta", "pace", "noise"]


def test_a_part_of_a_sweep_is_not_unstacked() -> None:
    flat = made(swept(DELTA, NOISE), points=4, runs=3)
    with pytest.raises(InputError, match="configurations = 5: expected all configurations"):
        unstack(flat.isel(configuration=slice(5)))
    with pytest.raises(InputError, match="configurations = 0"):
        unstack(xr.Dataset())
