"""A problem whose own cost does not grow with d: quadratics with diagonal curvature."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.draws import Draws
from dpe_jax.problems.arrays import cast, host_array
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.held_out import HeldOut


@final
class Separable(Problem):
    """f_i(x) = ½ Σ_d a_id (x_d − b_id)², a_id > 0, with gradient noise σ a coordinate.

    A gradient is two operations a coordinate, where that of `Quadratic` is d of them: what is
    timed is the engine.
    """

    a: Float[np.ndarray, "agents dim"] | Float[Array, "agents dim"] = eqx.field(
        converter=host_array
    )
    b: Float[np.ndarray, "agents dim"] | Float[Array, "agents dim"] = eqx.field(
        converter=host_array
    )
    noise: float = 0.0
    """σ, in units of the gradient."""
    dtype: jnp.dtype = eqx.field(static=True, kw_only=True, default=jnp.dtype("float64"))

    @classmethod
    def random(cls, agents: int, dim: int, *, seed: int, noise: float = 0.0) -> "Separable":
        """a ~ U(0.5, 1.5) and b ~ N(0, 1)."""
        rng = np.random.default_rng(seed)
        a = rng.uniform(0.5, 1.5, (agents, dim))
        return cls(a, rng.normal(size=(agents, dim)), noise)

    @property
    def agents(self) -> int:
        """Number of agents."""
        return self.b.shape[0]

    @property
    def dim(self) -> int:
        """Dimension of x."""
        return self.b.shape[1]

    @property
    def start(self) -> Float[np.ndarray, " dim"]:
        """x_0 = 0."""
        return np.zeros(self.dim)

    @property
    def has_optimum(self) -> bool:
        """In closed form."""
        return True

    @property
    def held_out(self) -> HeldOut | None:
        """There is none."""
        return None

    def gradient(
        self, x: Float[Array, "agents dim lanes"], draws: Draws
    ) -> Float[Array, "agents dim lanes"]:
        """a_i (x − b_i) + σ z."""
        a, b = jnp.asarray(self.a)[..., None], jnp.asarray(self.b)[..., None]
        return a * (x - b) + jnp.asarray(self.noise, self.dtype) * draws.noise(self.dtype)

    def objective(self, x: Float[Array, "*points dim lanes"]) -> Float[Array, "*points lanes"]:
        """(1/n) Σ_i ½ Σ_d a_id (x_d − b_id)²."""
        a, b = np.asarray(self.a), np.asarray(self.b)
        curvature, middle = a.mean(0), (a * b).mean(0) / a.mean(0)
        rest = float((a * (b - middle) ** 2).sum(1).mean())
        offset = x - jnp.asarray(middle)[:, None]
        return (lanes.total(jnp.asarray(curvature)[:, None] * offset**2, -2) + rest) / 2

    def excess(
        self, x: Float[Array, "*points dim lanes"], optimum: Optimum
    ) -> Float[Array, "*points lanes"]:
        """½ Σ_d ā_d (x_d − x*_d)²."""
        offset = x - jnp.asarray(optimum.x)[:, None]
        curvature = jnp.mean(jnp.asarray(self.a), axis=0)[:, None]
        return lanes.total(curvature * offset**2, -2) / 2

    def solve(self) -> Optimum:
        """x*_d = Σ_i a_id b_id / Σ_i a_id."""
        a, b = np.asarray(self.a, np.float64), np.asarray(self.b, np.float64)
        x = (a * b).sum(0) / a.sum(0)
        gradient = (a * (x - b)).mean(0)
        value = float((a * (x - b) ** 2).sum(1).mean()) / 2
        return Optimum(x, value, float(np.linalg.norm(gradient)), "closed form")

    def describe(self) -> dict[str, Any]:
        """Sizes and noise."""
        sizes = {"agents": self.agents, "dim": self.dim}
        return {"problem": "Separable", **sizes, "noise": float(self.noise)}

    def without_noise(self) -> "Separable":
        """The same costs with noise 0."""
        return type(self)(self.a, self.b, dtype=self.dtype)

    def with_dtype(self, dtype: jnp.dtype) -> "Separable":
        """The same costs in another precision."""
        a, b = cast((self.a, self.b), dtype)
        return type(self)(a, b, self.noise, dtype=jnp.dtype(dtype))
