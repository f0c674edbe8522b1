"""The step that is taken apart for the profile is the engine's own."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpe_jax import lattice, philox
from dpe_jax.bench import profile, sheets
from dpe_jax.bench.competitors import by_erf_inv
from dpe_jax.bench.engines import encrypted_alone
from dpe_jax.bench.large import engine_states
from dpe_jax.draws import Draws

pytestmark = pytest.mark.slow

RUNS, ITERATIONS = 32, 40


def states(step: profile.Step) -> np.ndarray:
    """Y after all iterations, from the engine's own start."""
    simulation = encrypted_alone("five-agents", RUNS, ITERATIONS)
    (method,) = simulation.algorithms.values()
    low, high = philox.seed_key(simulation.seed)
    key, run = (jnp.uint32(low), jnp.uint32(high)), jnp.arange(RUNS, dtype=jnp.uint32)
    x0 = jnp.asarray(simulation.start)
    draws = Draws(key, run, jnp.uint32(0), *x0.shape)
    packed = method.init(x0, step.exchange, draws).packed
    return np.asarray(lattice.unpack(step(key, run, packed))[0])


@pytest.mark.parametrize("words", [philox.in_wide_words, philox.in_narrow_words])
def test_it_is_the_step_of_the_engine(words) -> None:
    simulation = encrypted_alone("five-agents", RUNS, ITERATIONS)
    expected = engine_states(dataclasses.replace(simulation, metrics=(), points=2))
    found = states(profile.step_of(ITERATIONS, words=words))
    np.testing.assert_array_equal(found, expected)
    other = states(profile.step_of(ITERATIONS, words=words, normals=by_erf_inv))
    assert np.any(other != expected)
    assert np.abs(other - expected).max() < 1e-4 * np.abs(expected).max()


def test_every_variant_is_measured() -> None:
    report = profile.measure(16, 3, 2)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report["range_ns"]) == set(profile.VARIANTS)
    (sheet,) = sheets.sheets("profile", report)
    assert [row[0] for row in sheet.rows] == list(profile.VARIANTS)
    assert jax.devices()[0].platform in report["device"]
