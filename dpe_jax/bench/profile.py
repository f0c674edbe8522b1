"""Where the time of a step goes: its parts alone, and the designs that were not taken.

`five-agents`: the loop that the engine's program contains, written down once more
so that single parts can be taken out or made otherwise. What it computes is what the engine does,
to the last bit (`tests/test_bench_profile.py`).
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int64, UInt32

from dpe_jax import lanes, lattice, philox
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.algorithms.encrypted import Coefficients
from dpe_jax.bench.competitors import Normals, by_erf_inv, by_polynomial
from dpe_jax.bench.timing import Told, about, by_turns, nanoseconds
from dpe_jax.exchange import Exchange
from dpe_jax.experiment import find_config
from dpe_jax.problems import Quadratic

Part = Literal["all", "generator", "numbers", "rest"]
"""All of a step; the generator alone; it and the normals; all but both."""

Words = Callable[..., philox.Words]

FLOAT32 = jnp.dtype("float32")


class Step(eqx.Module):
    """The step of `EncryptedDSGD` on a quadratic, in float32, with public weights."""

    problem: Quadratic
    exchange: Exchange
    table: Coefficients
    delta: float = eqx.field(static=True)
    words: Words = eqx.field(static=True, default=philox.in_wide_words)
    normals: Normals = eqx.field(static=True, default=by_polynomial)
    part: Part = eqx.field(static=True, default="all")

    def __call__(
        self, key: tuple[Array, Array], run: UInt32[Array, " lanes"], packed: Int64[Array, "a d l"]
    ) -> Int64[Array, "a d l"]:
        """The packed state after all iterations of the table."""
        agents, dim, _ = packed.shape
        element = jnp.arange(agents * dim, dtype=jnp.uint32).reshape(agents, dim, 1)

        def body(k: Array, packed: Array) -> Array:
            # As in the engine: else the round keys are taken out of the loop.
            zero = ((k + 1) >> 32).astype(jnp.uint32)
            counter = (run, (k + 1).astype(jnp.uint32), element, jnp.uint32(0))
            if self.part == "rest":
                w = (run ^ element, run + element, run - element, run | element)
            else:
                w = self.words(counter, (key[0] + zero, key[1] + zero))
            if self.part == "generator":
                return packed + (w[0] ^ w[1] ^ w[2] ^ w[3]).astype(jnp.int64)
            if self.part == "numbers":
                return packed + self.normals(w[0] ^ w[1] ^ w[2] ^ w[3]).astype(jnp.int32)
            z = w[2].astype(jnp.float32) if self.part == "rest" else self.normals(w[2])
            return self.advanced(k, packed, w[0], w[1], z)

        return jax.lax.fori_loop(0, self.table.gain.shape[0], body, packed)

    def advanced(
        self, k: Array, packed: Array, rounding: Array, stepsize: Array, z: Array
    ) -> Array:
        """One update from its random numbers."""
        Y, q = lattice.unpack(packed)
        x = lattice.to_float(Y, self.delta, FLOAT32)
        b, A = (jnp.asarray(array, FLOAT32) for array in (self.problem.b, self.problem.A))
        g = lanes.product(A, x - b[..., None]) + np.float32(self.problem.noise) * z
        scale = jnp.asarray(self.table.increment_scale)[k].astype(FLOAT32)
        increment = scale * (2 * philox.uniform(stepsize, FLOAT32)) * g
        U = jnp.rint(increment).astype(jnp.int64)
        following = Y + jnp.asarray(self.table.gain)[k] * self.exchange.levels(q) - U
        return lattice.advance(packed, following, rounding, increment)


def step_of(iterations: int, **how: Any) -> Step:
    """The step of the preset's method."""
    simulation = find_config("five-agents").build()
    method, problem = simulation.algorithms["encrypted"], simulation.problem
    assert isinstance(method, EncryptedDSGD)
    assert isinstance(problem, Quadratic)
    table = jax.tree.map(
        jnp.asarray, method.table(simulation.network, np.arange(iterations, dtype=np.int64))
    )
    return Step(problem, Exchange.of(simulation.network), table, float(method.delta), **how)


def program(step: Step, width: int, runs: int) -> Callable[[], object]:
    """The compiled loop with vectors of so many bits, as a candidate."""
    options = {"xla_cpu_prefer_vector_width": width}
    arrays, rest = eqx.partition(step, eqx.is_array)
    # Arrays as inputs, as in the engine: they are no constants of the program.
    compiled = jax.jit(
        lambda arrays, *inputs: eqx.combine(arrays, rest)(*inputs), compiler_options=options
    )
    low, high = philox.seed_key(0)
    key = jnp.uint32(low), jnp.uint32(high)
    run = jnp.arange(runs, dtype=jnp.uint32)
    state = jnp.zeros((step.problem.agents, step.problem.dim, runs), jnp.int64)
    return lambda: jax.block_until_ready(compiled(arrays, key, run, state))


VARIANTS: dict[str, tuple[int, dict[str, Any]]] = {
    "step": (512, {}),
    "generator": (512, {"part": "generator"}),
    "generator and normals": (512, {"part": "numbers"}),
    "without both": (512, {"part": "rest"}),
    "erf_inv": (512, {"normals": by_erf_inv}),
    "narrow words": (512, {"words": philox.in_narrow_words}),
    "vectors of 256 bits": (256, {}),
    "erf_inv, vectors of 256 bits": (256, {"normals": by_erf_inv}),
    "all three": (256, {"normals": by_erf_inv, "words": philox.in_narrow_words}),
}


def measure(runs: int, iterations: int, turns: int, told: Told = lambda _: None) -> dict[str, Any]:
    """Nanoseconds per agent-coordinate-step of every variant, as one block of lanes."""
    candidates = {
        name: program(step_of(iterations, **how), width, runs)
        for name, (width, how) in VARIANTS.items()
    }
    timed = by_turns(candidates, turns, told)
    elements = runs * iterations * 10
    report = nanoseconds(timed, elements)
    return {**report, "runs": runs, "iterations": iterations, **about(turns)}
