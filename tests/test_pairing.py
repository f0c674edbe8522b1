"""All methods of a study see the same gradient noise and the same minibatches, bit for bit.

The costs here have stochastic gradients that do not depend on x, so what a method subtracts tells
what it was given. Stepsizes and the number of agents are powers of two: dividing by them is exact.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from dpe_jax import philox
from dpe_jax.algorithms import (
    Algorithm,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.draws import MINIBATCH, Draws
from dpe_jax.exchange import Exchange
from dpe_jax.factors import LinkFactors
from dpe_jax.network import Network
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.schedules import PowerLaw
from dpe_jax.stepsizes import NoMultipliers, Uniform
from dpe_jax.study import simulate

AGENTS, DIM, LANES, SEED = 4, 2, 16, 2**40 + 9
NETWORK = Network.from_edges([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)])
BATCH, SIZES = 6, np.array([7, 1, 100, 2**20])
GAMMA, STEPSIZE, DELTA = PowerLaw(0.5, 0.6), PowerLaw(0.125, 0.0), 2.0**-7
UNIT = DELTA / 2.0**32
LITTLE = 1e-13
NEAR_ONE = 1 - 1e-12, 1 - 5e-13

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")

METHODS: dict[str, Algorithm] = {
    "encrypted": EncryptedDSGD(GAMMA, STEPSIZE, DELTA, NoMultipliers()),
    "encrypted-multipliers": EncryptedDSGD(GAMMA, STEPSIZE, DELTA, Uniform()),
    "encrypted-link": EncryptedDSGD(
        GAMMA, STEPSIZE, DELTA, NoMultipliers(), factors=LinkFactors(1, 3)
    ),
    "nearest": EncryptedDSGD(GAMMA, STEPSIZE, DELTA, NoMultipliers(), rounding="nearest"),
    "conventional": ConventionalDSGD(STEPSIZE),
    "centralized": CentralizedSGD(STEPSIZE),
    "ternary": TernaryDSGD(STEPSIZE, GAMMA, 2.0**20),
    "function-sharing": FunctionSharing(STEPSIZE, 1.5),
    "state-sharing": RandomizedStateSharing(STEPSIZE, 1.5),
    "geometric": GeometricDP(0.125, NEAR_ONE[0], LITTLE, NEAR_ONE[1], 2.0**24, 4.0),
    "tailored": TailoredDP(STEPSIZE, GAMMA, LITTLE, 4.0),
    "tailored-clipped": TailoredDP(STEPSIZE, GAMMA, LITTLE, 2.0**24, clip=True),
}


class Flat(Problem):
    """Stochastic gradients that are the draws themselves: noise, or indices of a minibatch."""

    minibatches: bool
    dtype: jnp.dtype = eqx.field(static=True, kw_only=True, default=jnp.dtype("float64"))

    @property
    def agents(self) -> int:
        return AGENTS

    @property
    def dim(self) -> int:
        return DIM

    @property
    def start(self) -> np.ndarray:
        return np.zeros(DIM)

    @property
    def has_optimum(self) -> bool:
        return False

    @property
    def held_out(self) -> None:
        return None

    def gradient(self, x: jax.Array, draws: Draws) -> jax.Array:
        if self.minibatches:
            # Six indices of an agent are two sums: one that changes would be seen.
            indices = draws.minibatch(SIZES, BATCH).reshape(AGENTS, DIM, BATCH // DIM, -1)
            return (indices * np.array([1, 3, 5])[:, None]).sum(axis=2).astype(self.dtype) / 64
        return draws.noise(self.dtype)

    def objective(self, x: jax.Array) -> jax.Array:
        return jnp.sum(x, axis=-2)

    def excess(self, x: jax.Array, optimum: Optimum) -> jax.Array:
        return self.objective(x) - optimum.value

    def solve(self) -> Optimum:
        return Optimum.none(DIM, "a straight line has none")

    def describe(self) -> dict[str, Any]:
        return {}

    def without_noise(self) -> "Flat":
        return self

    def with_dtype(self, dtype: jnp.dtype) -> "Flat":
        return Flat(self.minibatches, dtype=jnp.dtype(dtype))


def draws(time: int, seed: int = SEED) -> Draws:
    low, high = philox.seed_key(seed)
    key = jnp.uint32(low), jnp.uint32(high)
    return Draws(key, jnp.arange(LANES, dtype=jnp.uint32), jnp.uint32(time), AGENTS, DIM)


@eqx.filter_jit
def one_step(method: Algorithm, problem: Problem, before: Draws, after: Draws, row: Any):
    exchange = Exchange.of(NETWORK)
    x0 = jnp.asarray(np.random.default_rng(2).normal(size=(AGENTS, DIM)))
    state = method.init(x0, exchange, before)
    return state, method.step(state, problem, exchange, after, row)[1]


def increments(name: str, problem: Problem, time: int, seed: int = SEED):
    """What a method subtracts in the iteration that draws at `time`, over its λ, and its state."""
    method = METHODS[name]
    row = jax.tree.map(lambda c: jnp.asarray(c[0]), method.table(NETWORK, np.arange(1)))
    state, seen = one_step(method, problem, draws(time - 1, seed), draws(time, seed), row)
    return np.asarray(seen.increment) / 0.125, state


@eqx.filter_jit
def drawn(problem: Problem, given: Draws) -> jax.Array:
    x = jnp.zeros((AGENTS, DIM, LANES), problem.dtype)
    return problem.gradient(x, given)


def expected(name: str, g: np.ndarray, state: Any, time: int) -> np.ndarray:
    """What a method makes of the common stochastic gradient, by what it says of itself."""
    if name.startswith("encrypted") or name == "nearest":
        m = np.ones_like(g)
        if name == "encrypted-multipliers":
            m = np.asarray(Uniform()(draws(time).stepsize_word(), jnp.dtype(g.dtype)))
        return np.rint(np.float32(0.125 / UNIT) * m * g).astype(np.float64) / 0.125
    g = g.astype(np.float64)
    if name == "centralized":
        total = g[0]
        for i in range(1, AGENTS):
            total = total + g[i]
        return np.broadcast_to(total / AGENTS, g.shape)
    if name == "function-sharing":
        return g + np.asarray(state.mask)
    return g


def gradient_in_python(minibatches: bool, run: int, time: int) -> np.ndarray:
    """Minibatches from a second Philox; for noise the words themselves."""
    if not minibatches:
        words = [reference.words(SEED, run, time, e)[2] for e in range(AGENTS * DIM)]
        return np.array(words).reshape(AGENTS, DIM)
    out = np.zeros((AGENTS, DIM))
    for i in range(AGENTS):
        for slot in range(BATCH):
            element = i * 2 + slot // 4
            word = reference.words(SEED, run, time, element, MINIBATCH)[slot % 4]
            index = word * int(SIZES[i]) // 2**32
            out[i, slot // 3] += index * (1, 3, 5)[slot % 3] / 64
    return out


@pytest.mark.slow
@pytest.mark.parametrize("minibatches", [False, True], ids=["noise", "minibatches"])
def test_every_method_is_given_the_same_stochastic_gradient(minibatches: bool) -> None:
    problem, time = Flat(minibatches, dtype=jnp.dtype("float32")), 4
    g = np.asarray(drawn(problem, draws(time)))
    assert g.dtype == np.float32
    for run in (0, 11):
        words = gradient_in_python(minibatches, run, time)
        if minibatches:
            np.testing.assert_array_equal(g[..., run], words)
        else:
            # The normal rises with its word, which is read as a signed number.
            signed = np.where(words >= 2**31, words - 2**32, words)
            assert np.argsort(signed.ravel()).tolist() == np.argsort(g[..., run].ravel()).tolist()
    others = [np.asarray(drawn(problem, draws(*at))) for at in [(time + 1,), (time, SEED + 1)]]
    for name in METHODS:
        found, state = increments(name, problem, time)
        np.testing.assert_array_equal(found, expected(name, g, state, time), err_msg=name)
        # Another iteration's, another seed's and another run's gradients are not these.
        for other in (*others, np.roll(g, 1, axis=-1)):
            wrong = expected(name, other, state, time) == found
            # An agent with a single sample always draws that one.
            assert wrong.mean() <= (0.3 if minibatches else 0.01), name
        changed = increments(name, problem, time, SEED + 1)[0]
        assert (changed == found).mean() <= (0.3 if minibatches else 0.01), name


PATH = 20


def mean_states(problem: Problem, seed: int) -> dict[str, np.ndarray]:
    """x̄ at the end of one study, of methods whose exchange leaves it (but for a little noise)."""
    left_out = ("encrypted-multipliers", "ternary", "encrypted-link", "nearest", "tailored-clipped")
    methods = {name: method for name, method in METHODS.items() if name not in left_out}
    curves = simulate(
        methods,
        problem,
        NETWORK,
        runs=7,
        iterations=PATH,
        seed=seed,
        points=2,
        metrics=(),
    ).curves
    assert np.all(curves.status.values == 0)
    return dict(zip(methods, curves.final_state.values.mean(axis=1), strict=True))


def test_the_engine_hands_every_method_the_same_draws_at_every_iteration() -> None:
    """x̄_K = −λ Σ_k ḡ^k: the draws of times 1 to K, run by run."""
    problem = Flat(False, dtype=jnp.dtype("float32"))
    totals = [np.asarray(drawn(problem, draws(k + 1))).mean(axis=0)[:, :7] for k in range(PATH)]
    path = -0.125 * np.sum(totals, axis=0, dtype=np.float64)
    other = mean_states(problem, SEED + 1)
    for name, found in mean_states(problem, SEED).items():
        np.testing.assert_allclose(found, path, rtol=0, atol=1e-6, err_msg=name)
        assert np.abs(other[name] - path).min() > 1e-5
        # Were one iteration skipped or moved, that would be seen.
        for k in range(PATH):
            assert np.abs(found - path - 0.125 * totals[k]).max() > 1e-3
