"""Heterogeneous quadratics."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.problems.arrays import cast, host_array
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.held_out import HeldOut

_LARGEST = 1e30
"""Entries beyond it could overflow in products on the way to the optimum."""

_MOST_DRAWN = 1e29
"""The scale of random entries, so that they stay below that."""


class Quadratic(Problem):
    """f_i(x) = ½ (x − b_i)ᵀ A_i (x − b_i), with gradient noise σ a coordinate.

    g_i = A_i (x − b_i) + σ z, z standard normal. A_i is symmetric positive semidefinite, and their
    sum positive definite; x* = (Σ A_i)⁻¹ Σ A_i b_i. A is in cost per x², b in units of x, σ in
    those of the gradient. `InputError` for other shapes, and matrices that are not like that.
    """

    A: Float[np.ndarray, "agents dim dim"] | Float[Array, "agents dim dim"] = eqx.field(
        converter=host_array
    )
    b: Float[np.ndarray, "agents dim"] | Float[Array, "agents dim"] = eqx.field(
        converter=host_array
    )
    noise: float = 0.0
    """σ, in units of the gradient."""
    dtype: jnp.dtype = eqx.field(static=True, kw_only=True, default=jnp.dtype("float64"))

    def __check_init__(self) -> None:
        A, b = np.asarray(self.A), np.asarray(self.b)
        if self.dtype != np.float64:
            return  # a copy of what was checked
        if A.ndim != 3 or not A.size or A.shape[1] != A.shape[2]:
            raise InputError("A", f"shape {A.shape}", "shape [agents, dim, dim]")
        if b.shape != A.shape[:2]:
            raise InputError("b", f"shape {b.shape}", f"shape {A.shape[:2]}, as A has")
        if not np.all(np.abs(A) <= _LARGEST):
            raise InputError("A", A, f"matrices [agents, dim, dim] of entries up to {_LARGEST:g}")
        if not np.all(np.abs(b) <= _LARGEST):
            raise InputError("b", b, f"vectors [agents, dim] of entries up to {_LARGEST:g}")
        if not 0 <= self.noise <= _LARGEST:
            raise InputError("noise", self.noise, f"a number from 0 to {_LARGEST:g}")
        if not np.allclose(A, np.swapaxes(A, 1, 2), rtol=0, atol=1e-12 * np.max(np.abs(A))):
            raise InputError("A", A, "symmetric matrices")
        lowest = np.linalg.eigvalsh(A.astype(np.float64)).min()
        if lowest < -1e-9 * np.max(np.abs(A)):
            raise InputError("A", float(lowest), "eigenvalues of at least 0 (convex costs)")
        total = np.linalg.eigvalsh(A.mean(0).astype(np.float64)).min()
        if total <= 1e-12 * np.max(np.abs(A)):
            raise InputError("A", float(total), "matrices whose mean is positive definite")

    @classmethod
    def random(
        cls,
        agents: int,
        dim: int,
        *,
        seed: int,
        noise: float = 0.0,
        curvature: tuple[float, float] = (0.5, 1.5),
        spread: float = 1.0,
    ) -> "Quadratic":
        """Random costs: A_i = R_i diag(U(curvature)) R_iᵀ, R_i a random rotation.

        The minimizers are b_i ~ N(0, spread²): `spread` is the heterogeneity of the agents, in
        units of x.
        """
        if agents < 1:
            raise InputError("agents", agents, "a positive integer")
        if dim < 1:
            raise InputError("dim", dim, "a positive integer")
        if not 0 < curvature[0] <= curvature[1] <= _MOST_DRAWN:
            accepted = f"two numbers with 0 < low <= high, up to {_MOST_DRAWN:g}"
            raise InputError("curvature", curvature, accepted)
        if not 0 <= spread <= _MOST_DRAWN:
            raise InputError("spread", spread, f"a number from 0 to {_MOST_DRAWN:g}")
        rng = np.random.default_rng(seed)
        rotation, _ = np.linalg.qr(rng.normal(size=(agents, dim, dim)))
        eigenvalues = rng.uniform(*curvature, size=(agents, 1, dim))
        A = (rotation * eigenvalues) @ np.swapaxes(rotation, 1, 2)
        A = (A + np.swapaxes(A, 1, 2)) / 2
        return cls(A, spread * rng.normal(size=(agents, dim)), noise)

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
        """A_i (x − b_i) + σ z."""
        offset = x - jnp.asarray(self.b)[..., None]
        g = lanes.product(jnp.asarray(self.A), offset)
        return g + jnp.asarray(self.noise, self.dtype) * draws.noise(self.dtype)

    def objective(self, x: Float[Array, "*points dim lanes"]) -> Float[Array, "*points lanes"]:
        """(1/n) Σ_i ½ (x − b_i)ᵀ A_i (x − b_i)."""
        offset = x[..., None, :, :] - jnp.asarray(self.b)[..., None]
        terms = lanes.total(offset * lanes.product(jnp.asarray(self.A), offset), -2)
        return lanes.mean(terms, -2) / 2

    def excess(
        self, x: Float[Array, "*points dim lanes"], optimum: Optimum
    ) -> Float[Array, "*points lanes"]:
        """½ (x − x*)ᵀ Ā (x − x*), Ā the mean of the A_i: exact, without cancellation."""
        offset = x - jnp.asarray(optimum.x)[:, None]
        curvature = jnp.mean(jnp.asarray(self.A), axis=0)
        return lanes.total(offset * lanes.product(curvature, offset), -2) / 2

    def solve(self) -> Optimum:
        """x* = (Σ A_i)⁻¹ Σ A_i b_i."""
        A, b = np.asarray(self.A, np.float64), np.asarray(self.b, np.float64)
        x = np.linalg.solve(A.sum(0), np.einsum("ide,ie->d", A, b))
        gradient = np.einsum("ide,ie->d", A, x - b) / self.agents
        value = float(np.einsum("id,ide,ie->", x - b, A, x - b) / (2 * self.agents))
        return Optimum(x, value, float(np.linalg.norm(gradient)), "closed form")

    def describe(self) -> dict[str, Any]:
        """Sizes and noise."""
        return {
            "problem": "Quadratic",
            "agents": self.agents,
            "dim": self.dim,
            "noise": float(self.noise),
        }

    def without_noise(self) -> "Quadratic":
        """The same costs with noise 0."""
        return type(self)(self.A, self.b, dtype=self.dtype)

    def with_dtype(self, dtype: jnp.dtype) -> "Quadratic":
        """The same costs in another precision."""
        A, b = cast((self.A, self.b), dtype)
        return type(self)(A, b, self.noise, dtype=jnp.dtype(dtype))
