"""One contract for all methods: arrays, bits, compilation, configuration."""

import dataclasses
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tomli_w
from common import FULL, NETWORK, compilations, finals, run
from methods import (
    LATTICE,
    METHODS,
    PRIVATE,
    SCHEDULES,
    TABLES,
    draws,
    every_method,
    row_of,
    start,
    step,
)

from dpe_jax.algorithms import (
    Budget,
    Step,
    Wire,
)
from dpe_jax.exchange import Exchange
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.results import config_hash, manifest, read_config, resolved_toml
from dpe_jax.study import Study

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")


# What a step is made of


@every_method
def test_shapes_types_and_what_a_step_says(name: str) -> None:
    method, exchange, lanes, problem = METHODS[name], Exchange.of(NETWORK), 16, FULL
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    state = start(method, x0, exchange, draws(0, lanes))
    shape = (5, 2, lanes)
    delta = getattr(method, "delta", None)
    unit = 1.0 if delta is None else delta / 2.0**32
    expected = np.asarray(x0) if name != "centralized" else np.mean(x0, 0) * np.ones((5, 1))
    position = np.asarray(method.position(state))
    np.testing.assert_allclose(position, expected[..., None] * np.ones(lanes), rtol=1e-8)
    for k in range(3):
        before = position
        following, seen = step(
            method, state, problem, exchange, draws(k + 1, lanes), row_of(method, NETWORK, k)
        )
        # A loop carries the state: its structure and types must not change.
        assert jax.tree.structure(following) == jax.tree.structure(state)
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(following), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype)
        state, position = following, np.asarray(method.position(following))
        assert position.shape == shape
        assert position.dtype == np.float64
        assert isinstance(seen, Step)
        for field in dataclasses.fields(seen):
            value = getattr(seen, field.name)
            assert value.shape == shape, field.name
            assert np.all(np.isfinite(value)), field.name
            integer = name in LATTICE and field.name in ("message", "sums", "mixing", "increment")
            assert (value.dtype == np.int64) == integer, field.name
        np.testing.assert_array_equal(np.asarray(seen.position), before)
        # What a step says adds up to what it does.
        made = before + unit * (np.asarray(seen.mixing) - np.asarray(seen.increment))
        np.testing.assert_allclose(position, made, rtol=0, atol=1e-12)
        assert np.any(position != before)
    status = method.status(state)
    assert status.dtype == np.int8
    assert status.tolist() == [0] * lanes
    assert (method.integer_state(state) is not None) == (name in LATTICE)


@every_method
def test_what_a_method_says_of_itself(name: str) -> None:
    method = METHODS[name]
    described = method.describe()
    assert described["method"] == type(method).__name__
    json.dumps(described, allow_nan=False)
    wire, budget = method.wire(), method.budget(NETWORK, 2, 40)
    assert isinstance(wire, Wire)
    assert wire.readable == (name not in (*LATTICE, "centralized"))
    assert (budget is not None) == (name in PRIVATE)
    if budget is not None:
        assert isinstance(budget, Budget)
        assert budget.epsilon.shape == (40,)
        assert budget.total == pytest.approx(sum(budget.epsilon.tolist()), rel=1e-12)
        json.dumps(budget.describe(), allow_nan=False)
    exponent = method.predicted_exponent()
    assert exponent is None or 0 < exponent < 1
    conditions = method.conditions(NETWORK)
    assert len({condition.name for condition in conditions}) == len(conditions) >= 2
    assert all(condition.holds for condition in conditions) == (name != "geometric")


def test_only_a_private_message_is_not_the_state() -> None:
    """What `wire` calls x is x, and what it calls something else is not."""
    exchange, x0 = Exchange.of(NETWORK), jnp.asarray(np.full((5, 2), 0.7))
    for name, method in METHODS.items():
        state = start(method, x0, exchange, draws(0, 16))
        _, seen = step(method, state, FULL, exchange, draws(1, 16), row_of(method, NETWORK, 0))
        plain = np.array_equal(np.asarray(seen.message), np.asarray(seen.position))
        assert plain == (method.wire().message in ("x_i^k", "nothing")), name


# Bits and compilation


@every_method
def test_bits_depend_on_seed_and_run_alone_and_one_program_serves_all(name: str, caplog) -> None:
    # Settings that no other test uses, so that a program is compiled.
    problem = Quadratic.random(5, 2, seed=1, noise=0.31)

    def call(runs: int, iterations: int = 20, **settings: Any) -> np.ndarray:
        settings |= {"runs": runs, "iterations": iterations}
        return finals(run(METHODS[name], problem, NETWORK, **settings))

    whole = call(100)
    assert np.all(np.isfinite(whole))
    assert len(np.unique(whole[0, 0])) == 100
    found = []
    assert compilations(caplog, lambda: found.append(call(100, block=16))) >= 1
    for settings in [{}, {"seed": 1}, {"x0": np.ones(2)}, {"iterations": 25}]:
        assert compilations(caplog, lambda s=settings: found.append(call(7, **s))) == 0
    blocks, few, *others = found
    np.testing.assert_array_equal(blocks, whole)
    np.testing.assert_array_equal(few, whole[..., :7])
    assert all(np.any(other != few, axis=(0, 1)).all() for other in others)
    np.testing.assert_array_equal(call(1, block=1), whole[..., :1])


def test_all_methods_see_the_same_gradient_noise() -> None:
    """Increments at the same x differ by what is the method's own: none of it is noise."""
    exchange, lanes, k = Exchange.of(NETWORK), 16, 3
    x = np.full((5, 2), 0.25)
    now = draws(k + 1, lanes)
    everywhere = jnp.broadcast_to(x[..., None], (5, 2, lanes))
    g = np.asarray(eqx.filter_jit(FULL.gradient)(everywhere, now))
    for name in ("conventional", "ternary", "tailored", "function-sharing", "centralized"):
        method, row = METHODS[name], row_of(METHODS[name], NETWORK, k)
        state = start(method, jnp.asarray(x), exchange, draws(0, lanes))
        seen = step(method, state, FULL, exchange, now, row)[1]
        expected = g
        if name == "function-sharing":
            expected = g + np.asarray(state.mask)
        if name == "centralized":
            expected = np.broadcast_to(g.mean(0), g.shape)
        found = np.asarray(seen.increment) / np.asarray(row.stepsize)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        other = step(method, state, FULL, exchange, draws(k + 2, lanes), row)[1]
        assert np.all(np.asarray(other.increment) != np.asarray(seen.increment))


# Configuration


@every_method
def test_a_table_of_toml_makes_the_method(name: str, tmp_path) -> None:
    kind = type(METHODS[name])
    fields = {field.name for field in dataclasses.fields(kind)}
    given = {key: value for key, value in SCHEDULES.items() if key in fields}
    changes = {"methods": {name: TABLES[name] | given}}
    path = tmp_path / "one.toml"
    path.write_text(tomli_w.dumps(small.tables(changes)), encoding="utf-8")
    config = read_config(path)
    simulation = config.build()
    made = simulation.algorithms[name]
    assert type(made) is kind
    assert made.describe() == METHODS[name].describe()
    assert eqx.tree_equal(made, METHODS[name])
    path.write_text(resolved_toml(config), encoding="utf-8")
    assert config_hash(read_config(path)) == config_hash(config)
    written = manifest(config, Study((simulation,)))
    assert written["wire"][name]["message"] == made.wire().message
    assert (written["budget"][name] is not None) == (name in PRIVATE)
    if name in PRIVATE:
        budget = made.budget(simulation.network, 2, simulation.iterations)
        assert budget is not None
        assert written["budget"][name]["total"] == budget.total
