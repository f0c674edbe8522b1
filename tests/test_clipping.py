"""Gradients clipped to the bound that ε rests on, against NumPy, and what clipping costs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from common import FULL, NETWORK, finals, run

from dpe_jax.algorithms import GeometricDP, TailoredDP
from dpe_jax.algorithms.floating import clipped
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic
from dpe_jax.results import config_hash, resolved_toml
from dpe_jax.schedules import PowerLaw

LANES = 200
QUIET = Quadratic(FULL.A, FULL.b, 0.0)
RADIUS = 3.0
pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")


def geometric(bound: float, clip: bool) -> GeometricDP:
    return GeometricDP(0.4, 0.8, 0.7, 0.9, RADIUS, bound, clip)


def tailored(bound: float, clip: bool) -> TailoredDP:
    return TailoredDP(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), 0.5, bound, clip)


MAKE = {"geometric": geometric, "tailored": tailored}
both = pytest.mark.parametrize("name", list(MAKE))


def reference(g: np.ndarray, bound: float) -> np.ndarray:
    """Agent by agent and lane by lane."""
    out = np.array(g, np.float64)
    for i in range(g.shape[0]):
        for lane in range(g.shape[2]):
            norm = np.linalg.norm(out[i, :, lane])
            if norm > bound:
                out[i, :, lane] *= bound / norm
    return out


@pytest.mark.parametrize("dim", [1, 2, 7, 40])
def test_clipping_is_that_of_numpy(dim: int) -> None:
    rng, bound = np.random.default_rng(dim), 1.3
    g = rng.normal(size=(5, dim, LANES)) * rng.uniform(0, 3 / np.sqrt(dim), size=(5, 1, LANES))
    norms = np.sqrt((g**2).sum(axis=1))
    found = np.asarray(eqx.filter_jit(clipped)(jnp.asarray(g), bound))
    np.testing.assert_allclose(found, reference(g, bound), rtol=1e-14)
    above = norms > bound
    assert 0.1 < above.mean() < 0.9
    below = np.broadcast_to(~above[:, None], g.shape)
    np.testing.assert_array_equal(found[below], g[below])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1)[above], bound, rtol=1e-14)
    for wrong in (bound * 2 / 3, bound * 1.5):
        assert np.abs(found - reference(g, wrong)).max() > 0.1


def test_zero_stays_zero_and_what_is_not_finite_fails() -> None:
    g = np.zeros((5, 2, 4))
    g[0, :, 1] = np.nan, 1.0
    g[1, :, 2] = np.inf, 1.0
    g[2, :, 3] = 1e200, 1e200
    found = np.asarray(clipped(jnp.asarray(g), 2.0))
    failed = np.asarray(np.all(np.isnan(found), axis=1))
    assert np.argwhere(failed).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert np.all(found[~np.broadcast_to(failed[:, None], g.shape)] == 0)


def draws(time: int) -> Draws:
    key = jnp.uint32(3), jnp.uint32(0)
    return Draws(key, jnp.arange(LANES, dtype=jnp.uint32), jnp.uint32(time), 5, 2)


@eqx.filter_jit
def first_step(method: Any, x0: jax.Array, row: Any):
    exchange = Exchange.of(NETWORK)
    state = method.init(x0, exchange, draws(0))
    return method.step(state, QUIET, exchange, draws(1), row)


@both
def test_the_clipped_step_is_that_of_numpy(name: str) -> None:
    """From the messages on, where two thirds of the gradients are too long, and where none is."""
    x0 = np.random.default_rng(5).normal(size=(5, 2))
    W, A, b = NETWORK.weights, np.asarray(QUIET.A), np.asarray(QUIET.b)

    def call(bound: float, clip: bool):
        method = MAKE[name](bound, clip)
        row = jax.tree.map(lambda c: jnp.asarray(c[0]), method.table(NETWORK, np.arange(1)))
        state, seen = first_step(method, jnp.asarray(x0), row)
        return np.asarray(state.x), seen, float(row.stepsize)

    free, seen, stepsize = call(1.0, False)
    message = np.asarray(seen.message)
    if name == "geometric":
        point = message + np.einsum("ij,jdl->idl", W, message)
    else:
        point = np.broadcast_to(x0[..., None], message.shape)
    g = np.einsum("ide,iel->idl", A, point - b[..., None])
    norms = np.linalg.norm(g, axis=1)
    bound = float(np.quantile(norms, 1 / 3))
    mixed = np.asarray(seen.position) + np.asarray(seen.mixing)

    def expected(gradient: np.ndarray) -> np.ndarray:
        moved = mixed - stepsize * gradient
        return np.clip(moved, -RADIUS, RADIUS) if name == "geometric" else moved

    np.testing.assert_allclose(free, expected(g), rtol=0, atol=1e-12)
    found = call(bound, True)[0]
    np.testing.assert_allclose(found, expected(reference(g, bound)), rtol=0, atol=1e-12)
    above = np.broadcast_to((norms > bound)[:, None], g.shape)
    assert 0.5 < above.mean() < 0.8
    np.testing.assert_array_equal(found[~above], free[~above])
    assert np.any(np.abs(found - free)[above] > 0.1)
    np.testing.assert_array_equal(call(2 * norms.max(), True)[0], free)


@both
def test_a_run_is_clipped_where_the_bound_binds(name: str) -> None:
    make = MAKE[name]
    free = finals(run(make(1e4, False)))
    np.testing.assert_array_equal(finals(run(make(1e4, True))), free)
    assert np.abs(finals(run(make(0.2, True))) - free).min(axis=(0, 1)).max() > 1e-3


def test_where_clipping_binds_the_method_settles_elsewhere() -> None:
    """Costs ½(x − b_i)², b = 0, 0, 0, 0, 10: x* = 2, but min(1, C/|g|) g sums to zero at C/4."""
    b = np.array([0.0, 0, 0, 0, 10]).reshape(5, 1)
    problem, network = Quadratic(np.ones((5, 1, 1)), b), Network.complete(5)
    for clip, point in [(False, 2.0), (True, 0.25)]:
        method = TailoredDP(PowerLaw(0.5, 0.9), PowerLaw(1.0, 0.3), 1e-6, 1.0, clip)
        result = run(method, problem, network, iterations=10_000)
        mean = finals(result).mean(axis=0)
        assert np.abs(mean - point).max() < 0.02


# What is said of it


@both
def test_the_budget_says_whether_the_bound_holds(name: str) -> None:
    free, clip = (MAKE[name](2.0, clip).budget(NETWORK, 2, 40) for clip in (False, True))
    np.testing.assert_array_equal(clip.epsilon, free.epsilon)
    assert (clip.total, clip.limit) == (free.total, free.limit)
    [(before, after)] = [
        pair for pair in zip(free.assumptions, clip.assumptions, strict=True) if pair[0] != pair[1]
    ]
    assert before.startswith("‖g_i(x)‖₂ ≤ gradient_bound")
    assert before.endswith("nothing clips or checks them")
    assert after.endswith("so this holds by construction, but for rounding")
    assert "clip" not in MAKE[name](2.0, False).describe()
    assert MAKE[name](2.0, True).describe()["clip"] is True


TABLES: dict[str, dict[str, Any]] = {
    "geometric": {
        "method": "GeometricDP",
        **{"c": 0.4, "q": 0.8, "M": 0.7, "p": 0.9, "radius": RADIUS, "gradient_bound": 2.0},
    },
    "tailored": {
        "method": "TailoredDP",
        "stepsize": {"scale": 0.5, "exponent": 0.9},
        "gamma": {"scale": 0.7, "exponent": 0.6},
        "noise": {"scale": 0.5, "exponent": 0.0},
        "gradient_bound": 2.0,
    },
}


@both
def test_a_table_may_ask_for_it(name: str) -> None:
    table = TABLES[name]
    silent = small.config({"methods": {"m": table}})
    assert "clip" not in resolved_toml(silent)
    for clip in (False, True):
        config = small.config({"methods": {"m": {**table, "clip": clip}}})
        method = config.build().algorithms["m"]
        assert isinstance(method, GeometricDP | TailoredDP)
        assert method.clip is clip
        assert (config_hash(config) == config_hash(silent)) == (not clip)
        assert ("clip = true" in resolved_toml(config)) == clip


@both
def test_what_is_neither_true_nor_false_is_refused(name: str) -> None:
    for value in (1, 0, "true", 1.0, [True]):
        with pytest.raises(InputError, match=r"^methods\.m\.clip = .*: expected true or false$"):
            small.config({"methods": {"m": {**TABLES[name], "clip": value}}})
    for value in (1, None, "yes"):
        with pytest.raises((InputError, TypeError), match="clip"):
            MAKE[name](2.0, value)  # pyright: ignore[reportArgumentType]
