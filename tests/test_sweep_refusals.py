"""Sweeps that are refused: keys that nothing has, values that a configuration does not take."""

from typing import Any

import pytest
from made_sweeps import DELTA, NOISE, swept
from small import config

from dpe_jax.errors import InputError
from dpe_jax.sweeps import expand

GAMMA = "methods.encrypted.gamma.exponent"
KEYS = "delta, factors, gamma, means, method, multipliers, rounding, stepsize"


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        *(
            (key, f"a key of network, problem, methods, x0; {key} is the same for a whole sweep")
            for key in (
                *("name", "description", "runs", "iterations", "seed", "record", "checks"),
                *("sweep", "trace", "block", "precision"),
            )
        ),
        ("delta", "a key of network, problem, methods, x0"),
        ("methods.encrypted.detla", f"one of the keys of methods.encrypted: {KEYS}"),
        (
            "methods.encrypted.gamma.rate",
            "one of the keys of methods.encrypted.gamma: arguments, exponent, function, kind, "
            "offset, scale",
        ),
        ("methods.encrypted.delta.x", "no key within methods.encrypted.delta"),
        ("methods.nobody.delta", "methods. followed by * or by one of encrypted, conventional"),
        ("methods", "methods. followed by * or by one of encrypted, conventional"),
        ("methods.*", "methods. followed by * or by one of encrypted, conventional"),
        ("methods.*.radius", "a key that some method has"),
        ("x0.first", "no key within x0"),
    ],
)
def test_an_unknown_key_is_named_with_what_is_accepted(key: str, accepted: str) -> None:
    for where, axis in (
        ("key", {"key": key, "values": [1]}),
        ("zip", {"zip": {key: [1]}}),
        ("log_uniform", {"samples": 1, "log_uniform": {key: [1, 2]}}),
    ):
        with pytest.raises(InputError) as refused:
            swept(NOISE, axis)
        assert str(refused.value) == f"sweep.axis[1].{where} = {key!r}: expected {accepted}"


def test_a_key_of_another_table_is_listed() -> None:
    with pytest.raises(InputError, match=r"one of the keys of problem: .*curvature, .*omega"):
        swept({"key": "problem.nois", "values": [1]})
    with pytest.raises(InputError, match=r"one of the keys of network: agents, .*scale"):
        swept({"key": "network.size", "values": [1]})


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (
            [DELTA, {"name": "a", "key": GAMMA, "values": [0.5, -1]}],
            "sweep axis 'a' = -1.0: expected a value that the configuration takes "
            f"({GAMMA} = -1: expected a number greater than or equal to 0)",
        ),
        (
            [NOISE, {"key": "network.graph", "values": ["torus"]}],
            "sweep axis 'graph' = 'torus': expected a value that the configuration takes "
            "(network.graph = 'torus': expected 'ring', 'path', ",
        ),
        # What a value lacks elsewhere belongs to the one axis that there is.
        (
            [{"key": "network.graph", "values": ["ring"]}],
            "sweep axis 'graph' = 'ring': expected a value that the configuration takes "
            "(network.agents = None: expected a value; graph 'ring' needs agents)",
        ),
        # With several axes it is the configuration that is named.
        (
            [{"key": "network.graph", "values": ["ring"]}, NOISE],
            "sweep = 'graph = ring, noise = 0': expected configurations that can be run "
            "(network.agents = None: expected a value; graph 'ring' needs agents)",
        ),
        (
            [NOISE, {"key": "problem.dim", "linear": {"from": 1.0, "to": 2.0, "count": 2}}],
            "sweep axis 'dim' = 1.0: expected a value that the configuration takes "
            "(problem.dim = 1.0: expected an integer)",
        ),
    ],
)
def test_a_value_that_a_configuration_refuses(axes: list[Any], expected: str) -> None:
    with pytest.raises(InputError) as refused:
        swept(*axes)
    assert str(refused.value).startswith(expected)


def test_a_value_that_only_fails_when_it_is_built() -> None:
    key = "methods.encrypted.multipliers"
    tables = [{"family": "lognormal", "sigma": sigma} for sigma in (1.0, 2.0)]
    sweep = swept(NOISE, {"key": key, "values": tables})
    for index, one in enumerate(sweep.configs):
        if index % 2 == 0:
            with sweep.naming(index):
                one.build()
            continue
        with pytest.raises(InputError) as refused, sweep.naming(index):
            one.build()
        assert str(refused.value) == (
            "sweep axis 'multipliers' = 'lognormal sigma 2': expected a value that the "
            f"configuration takes ({key}.sigma = 2.0: expected within [0, 1.25])"
        )


def test_a_later_axis_does_not_undo_an_earlier_one() -> None:
    inner = {"key": "methods.encrypted.multipliers.half_width", "values": [0.25, 0.5]}
    outer = {
        "key": "methods.encrypted.multipliers",
        "values": [{"family": "uniform"}],
        "labels": ["u"],
    }
    both = swept(outer, inner)
    assert both.labels["half_width"].tolist() == [0.25, 0.5]
    found = [one.methods["encrypted"].model_dump()["multipliers"] for one in both.configs]
    assert [table["half_width"] for table in found] == [0.25, 0.5]
    for axes, key, other in (
        ((inner, outer), outer["key"], inner["key"]),
        ((DELTA, {"key": "methods.*.delta", "values": [1]}), "methods.*.delta", DELTA["key"]),
    ):
        with pytest.raises(InputError) as refused:
            swept(*axes)
        assert str(refused.value) == (
            f"sweep.axis[1].key = {key!r}: expected a key that leaves {other} alone, which is "
            "swept already"
        )


def test_tables_that_look_alike_need_labels() -> None:
    tables = [{"graph": "edges", "edges": [[0, 1]]}, {"graph": "edges", "agents": 2}]
    with pytest.raises(InputError, match=r"sweep\.axis\[0\]\.labels = None: expected labels"):
        swept({"key": "network", "values": tables})


def test_a_configuration_without_a_sweep_has_no_expansion() -> None:
    with pytest.raises(InputError, match="sweep = None: expected a table"):
        expand(config())
