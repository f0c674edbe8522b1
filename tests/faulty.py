"""A problem whose gradients fail: one element of one run, from one time to another."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common import FULL

from dpe_jax.draws import Draws
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.quadratic import Quadratic

FOR_GOOD = 2**32 - 1


class Faulty(Problem):
    """A quadratic, but for coordinate 1 of agent 2's gradient in one run, which has a given value.

    Run, times and value are arrays, so that one program serves them all.
    """

    inner: Quadratic
    run: jax.Array
    first: jax.Array
    last: jax.Array
    value: jax.Array
    dtype: jnp.dtype = eqx.field(static=True, kw_only=True)

    @property
    def agents(self) -> int:
        return self.inner.agents

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def start(self) -> np.ndarray:
        return self.inner.start

    @property
    def has_optimum(self) -> bool:
        return True

    @property
    def held_out(self) -> None:
        return None

    def gradient(self, x: jax.Array, draws: Draws) -> jax.Array:
        g = self.inner.gradient(x, draws)
        hit = (draws.run == self.run) & (draws.time >= self.first) & (draws.time <= self.last)
        return g.at[2, 1].set(jnp.where(hit, self.value.astype(g.dtype), g[2, 1]))

    def objective(self, x: jax.Array) -> jax.Array:
        return self.inner.objective(x)

    def excess(self, x: jax.Array, optimum: Optimum) -> jax.Array:
        return self.inner.excess(x, optimum)

    def solve(self) -> Optimum:
        return self.inner.solve()

    def describe(self) -> dict[str, Any]:
        return {}

    def without_noise(self) -> "Faulty":
        return self

    def with_dtype(self, dtype: jnp.dtype) -> "Faulty":
        inner = self.inner.with_dtype(dtype)
        place = self.run, self.first, self.last, self.value
        return Faulty(inner, *place, dtype=jnp.dtype(dtype))


def failing(run: int, first: int, value: float, last: int = FOR_GOOD) -> Faulty:
    """The value is that of the gradients at times `first` to `last`."""
    times = jnp.uint32(first), jnp.uint32(last)
    dtype = jnp.dtype("float64")
    return Faulty(FULL, jnp.uint32(run), *times, jnp.float64(value), dtype=dtype)
