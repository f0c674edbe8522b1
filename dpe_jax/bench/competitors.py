"""What the engine is timed against: NumPy, two ways of JAX with `jax.random`, and the floor.

All but the floor simulate the same update (encrypted DSGD with random stepsizes, `EncryptedDSGD`),

    x_i⁺ = x_i + γ^k Σ_j w_ij (Q(x_j) − Q(x_i)) − λ̄^k m_i ⊙ g_i,   g_i = A_i (x_i − b_i) + σ z_i,

in floating point, Q the stochastic rounding to the grid δZ, m ~ U[0, 2] and z ~ N(0, 1) afresh for
each agent, coordinate, iteration and run. As W's rows sum to zero, Σ_j w_ij (Q_j − Q_i) = (W Q)_i.
Each returns the final states as `[agents, dim, runs]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dpe_jax import philox
from dpe_jax.engine import WIDE_VECTORS


@dataclass(frozen=True)
class Study:
    """A five-agents-like problem: quadratic costs on a weighted graph, stepsizes as tables."""

    A: np.ndarray
    """Curvatures, `[agents, dim, dim]`."""
    b: np.ndarray
    """The agents' own optima, `[agents, dim]`."""
    sigma: float
    """Standard deviation of the gradient noise."""
    W: np.ndarray
    """Coupling weights, `[agents, agents]`, rows summing to zero."""
    delta: float
    """Quantization step."""
    gamma: np.ndarray
    """Attenuation γ^k, `[iterations]`."""
    lambda_bar: np.ndarray
    """Mean stepsize λ̄^k, `[iterations]`."""
    x0: np.ndarray
    """Initial states, `[agents, dim]`."""


Record = Callable[[int, slice, np.ndarray], None]
"""Called with k + 1, the block's runs and a view of its states `[agents, dim, block]`."""


# NumPy formulations tried, nanoseconds per agent, coordinate and iteration on one core (5 agents,
# dim 2, 4096 runs, 300 iterations, processor time, median of 3 interleaved rounds on a busy
# machine: compare, do not quote).
#   [runs, agents, dim], textbook expressions with einsum                        64.2
#   the same with matmul                                                         33.9
#   [runs, agents·dim], two dense GEMMs (block-diagonal A, W ⊗ I), out= buffers  13.9
#   [agents, dim, runs] in blocks of 2048, out= buffers, matmul for W Q and A x  13.8
#     einsum for W Q 14.9, loop over edges 15.0, block-diagonal A 14.1, loop over dim 14.4
#     blocks of 512: 14.8, of 128: 19.2 (call overhead); 1024, 2048 and 4096 are alike
#   the same, normals drawn in float32                                           14.0
#   the same, both uniforms from one 64-bit draw                                 12.8
#   both (kept)                                                                  12.8
#   `rng.random` twice and `rng.standard_normal` in float64, and nothing else    11.0
def numpy_runs(
    study: Study, runs: int, seed: int, record: Record | None = None, *, block: int = 2048
) -> np.ndarray:
    """The update in vectorised NumPy: float64, PCG64, one thread, preallocated buffers.

    The uniforms have 32 random bits and the normals float32's resolution, as in the engine; the
    state and the arithmetic are float64. Runs are the last axis and go through time in blocks of
    `block`, each with its own stream spawned from `seed`. `record` sees every iteration.
    """
    agents = len(study.b)
    offset = np.einsum("ide,ie->id", study.A, study.b)[..., None]
    x = np.repeat(np.asarray(study.x0, np.float64)[..., None], runs, axis=-1)
    starts = range(0, runs, block)
    for start, stream in zip(starts, np.random.SeedSequence(seed).spawn(len(starts)), strict=True):
        lanes = slice(start, min(start + block, runs))
        rng = np.random.Generator(np.random.PCG64(stream))
        x_block = np.ascontiguousarray(x[..., lanes])
        level, increment, scratch = (np.empty_like(x_block) for _ in range(3))
        normal = np.empty_like(x_block, np.float32)
        level_rows, scratch_rows = level.reshape(agents, -1), scratch.reshape(agents, -1)
        for k, (gamma, lambda_bar) in enumerate(zip(study.gamma, study.lambda_bar, strict=True)):
            # One 64-bit draw holds the rounding's and the multiplier's 32 bits.
            words = rng.bit_generator.random_raw(x_block.size).view(np.uint32)
            words = words.reshape(2, *x_block.shape)
            # level = ⌊x/δ + u⌋; the factor δ is folded into the weights below.
            np.multiply(words[0], 2.0**-32, out=level)
            np.multiply(x_block, 1 / study.delta, out=scratch)
            level += scratch
            np.floor(level, out=level)
            # increment = λ̄ m (A x − A b + σ z)
            rng.standard_normal(out=normal, dtype=np.float32)
            np.multiply(normal, study.sigma, out=increment, dtype=np.float64)
            np.matmul(study.A, x_block, out=scratch)
            scratch -= offset
            increment += scratch
            np.multiply(words[1], 2 * lambda_bar * 2.0**-32, out=scratch)
            increment *= scratch
            np.matmul((gamma * study.delta) * study.W, level_rows, out=scratch_rows)
            x_block += scratch
            x_block -= increment
            if record is not None:
                record(k + 1, lanes, x_block)
        x[..., lanes] = x_block
    return x


def _step(study: Study, x, rounding, multiplier, noise, gamma, lambda_bar):
    """One iteration for `[agents, dim, ...]`: one run, or all runs in the last axis."""
    A, b, W = (jnp.asarray(array, x.dtype) for array in (study.A, study.b, study.W))
    b = b.reshape(b.shape + (1,) * (x.ndim - 2))
    Q = study.delta * jnp.floor(x / study.delta + rounding)
    gradient = jnp.einsum("ide,ie...->id...", A, x - b) + study.sigma * noise
    return x + gamma * jnp.einsum("ij,j...->i...", W, Q) - lambda_bar * multiplier * gradient


def _simulate(study: Study, key: jax.Array, x0: jax.Array) -> jax.Array:
    """The scan over iterations from x0, `[agents, dim]` or `[agents, dim, runs]`, under one key."""

    def body(x, inputs):
        k, gamma, lambda_bar = inputs
        # Two calls of the generator, not three: both uniforms come from one.
        uniform_key, normal_key = jax.random.split(jax.random.fold_in(key, k))
        uniforms = jax.random.uniform(uniform_key, (2, *x.shape), x.dtype)
        # float32 normals, as in the engine: float64's make the batched form 1.5 times as costly.
        noise = jax.random.normal(normal_key, x.shape, np.float32).astype(x.dtype)
        return _step(study, x, uniforms[0], 2 * uniforms[1], noise, gamma, lambda_bar), None

    k = jnp.arange(len(study.gamma))
    tables = jnp.asarray(study.gamma, x0.dtype), jnp.asarray(study.lambda_bar, x0.dtype)
    return jax.lax.scan(body, x0, (k, *tables))[0]


def vmap_program(study: Study, dtype: type = np.float64) -> Callable[[jax.Array], jax.Array]:
    """The compiled map from keys `[runs]` to final states `[runs, agents, dim]`.

    The idiomatic JAX: `one_run` is written for one run and one key, and `jit(vmap(one_run))` is
    the batch. Time this function to leave compilation out.
    """

    def one_run(key: jax.Array) -> jax.Array:
        return _simulate(study, key, jnp.asarray(study.x0, dtype))

    return jax.jit(jax.vmap(one_run))


def vmap_runs(
    study: Study, runs: int, seed: int, *, dtype: type = np.float64, impl: str = "threefry2x32"
) -> np.ndarray:
    """`vmap_program` on keys split from `seed`; `impl` is JAX's generator, threefry by default.

    "rbg" is faster in places, but under vmap it draws for the whole batch from the first key, so
    a run is no longer reproducible outside its batch.
    """
    keys = jax.random.split(jax.random.key(seed, impl=impl), runs)
    return np.moveaxis(np.asarray(vmap_program(study, dtype)(keys)), 0, -1)


def batched_program(
    study: Study, runs: int, dtype: type = np.float64
) -> Callable[[jax.Array], jax.Array]:
    """The compiled map from one key to final states `[agents, dim, runs]`, no vmap.

    JAX by hand: runs in the last axis and one key an iteration for the whole batch. The fastest
    use of `jax.random`, at a price: a run's draws depend on the number of runs beside it.
    """

    def all_runs(key: jax.Array) -> jax.Array:
        x0 = jnp.asarray(study.x0, dtype)[..., None]
        return _simulate(study, key, jnp.broadcast_to(x0, (*study.x0.shape, runs)))

    return jax.jit(all_runs)


def batched_runs(
    study: Study, runs: int, seed: int, *, dtype: type = np.float64, impl: str = "threefry2x32"
) -> np.ndarray:
    """`batched_program` on the key of `seed`."""
    return np.asarray(batched_program(study, runs, dtype)(jax.random.key(seed, impl=impl)))


Normals = Callable[[jax.Array], jax.Array]
"""From words to normals in float32."""


def by_polynomial(word: jax.Array) -> jax.Array:
    """As the engine makes them."""
    return philox.normal(word, jnp.dtype(jnp.float32))


def by_erf_inv(word: jax.Array) -> jax.Array:
    """By XLA's erf⁻¹ of the same argument."""
    top = jax.lax.bitcast_convert_type(word, jnp.int32) >> 8
    t = (top.astype(jnp.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    return jax.lax.erf_inv(t) * np.float32(np.sqrt(2.0))


@partial(
    jax.jit, static_argnames=("runs", "agents", "dim", "normals"), compiler_options=WIDE_VECTORS
)
def _floor(key, iterations, *, runs: int, agents: int, dim: int, normals: Normals) -> jax.Array:
    lanes = jnp.arange(runs, dtype=jnp.uint32)
    element = jnp.arange(agents * dim, dtype=jnp.uint32).reshape(agents, dim, 1)

    def body(k, total):
        # As in the engine: round keys that are taken out of the loop are so many inputs of it.
        zero = (k >> 32).astype(jnp.uint32)
        counter = (lanes, k.astype(jnp.uint32), element, jnp.uint32(0))
        w0, w1, w2, w3 = philox.philox4x32(counter, (key[0] + zero, key[1] + zero))
        # All four words reach the result, so XLA cannot drop a part of the last rounds.
        return total + normals(w0 ^ w1 ^ w2 ^ w3)

    return jax.lax.fori_loop(0, iterations, body, jnp.zeros((agents, dim, runs), jnp.float32))


def floor_runs(
    runs: int,
    iterations: int,
    agents: int,
    dim: int,
    seed: int,
    normals: Normals = by_polynomial,
) -> np.ndarray:
    """The floor: one Philox call and one normal an element and iteration, summed, no more.

    Returns Σ_k z^k, `[agents, dim, runs]` in float32, each N(0, iterations). Compiled once for
    each (runs, agents, dim, normals), as the engine is; `iterations` does not recompile.
    """
    low, high = philox.seed_key(seed)
    key = jnp.uint32(low), jnp.uint32(high)
    return np.asarray(
        _floor(key, jnp.int64(iterations), runs=runs, agents=agents, dim=dim, normals=normals)
    )
