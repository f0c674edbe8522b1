"""The contract of a problem: F(x) = (1/n) Σ_i f_i(x), agent i alone knows f_i."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.draws import Draws
from dpe_jax.problems.held_out import HeldOut


class Optimum(eqx.Module):
    """Reference optimum: x*, F* = F(x*), and ‖∇F(x*)‖ that shows how well it is known.

    x [dim] in the problem's units, the value in those of F, the norm in those of a gradient;
    `method` says how it was found. NaN where no optimum is known (`Optimum.none`).
    """

    x: Float[np.ndarray, " dim"]
    value: float | Float[Array, "*lanes"]
    gradient_norm: float | Float[Array, "*lanes"]
    method: str = eqx.field(static=True)

    @classmethod
    def none(cls, dim: int, reason: str) -> "Optimum":
        """No optimum is known: all numbers are NaN, and `method` says why."""
        return cls(np.full(dim, np.nan), np.nan, np.nan, f"none: {reason}")


class Problem(eqx.Module):
    """Costs of all agents, F(x) = (1/n) Σ_i f_i(x); a subclass is a problem of one's own.

    Arrays are [agent, coordinate, lane], lanes last. Array fields are NumPy float64 until
    `with_dtype` casts them. Stochastic gradients have E g_i = ∇f_i (Zhou et al. 2026 ask for that
    and for a bounded variance). Settings that make no problem are an `InputError` of its
    constructor.
    """

    dtype: eqx.AbstractVar[jnp.dtype]
    """Precision of gradients, float32 or float64."""

    @property
    @abc.abstractmethod
    def agents(self) -> int:
        """Number of agents n."""

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Dimension d of x."""

    @property
    @abc.abstractmethod
    def start(self) -> Float[np.ndarray, "*agents dim"]:
        """x_0 where none is given: [dim] for all agents alike, or [agents, dim]."""

    @property
    @abc.abstractmethod
    def has_optimum(self) -> bool:
        """Whether `solve` finds x* and F*; if not, metrics that need them are refused."""

    @property
    @abc.abstractmethod
    def held_out(self) -> HeldOut | None:
        """The test set; without one, test metrics are refused."""

    @abc.abstractmethod
    def gradient(
        self, x: Float[Array, "agents dim lanes"], draws: Draws
    ) -> Float[Array, "agents dim lanes"]:
        """Stochastic gradients g_i(x_i), with E g_i = ∇f_i(x_i), in the problem's dtype."""

    @abc.abstractmethod
    def objective(self, x: Float[Array, "*points dim lanes"]) -> Float[Array, "*points lanes"]:
        """F at each point: one for each lane, or several."""

    @abc.abstractmethod
    def excess(
        self, x: Float[Array, "*points dim lanes"], optimum: Optimum
    ) -> Float[Array, "*points lanes"]:
        """F(x) − F*, without cancellation where a closed form allows it."""

    @abc.abstractmethod
    def solve(self) -> Optimum:
        """The reference optimum in float64 on the host, to ‖∇F(x*)‖ < 1e-10.

        `Optimum.none` where there is none (see `has_optimum`).
        """

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """The problem and its sizes, for the manifest."""

    @abc.abstractmethod
    def without_noise(self) -> "Problem":
        """The same costs; `gradient` is the exact ∇f_i, whatever is drawn."""

    @abc.abstractmethod
    def with_dtype(self, dtype: jnp.dtype) -> "Problem":
        """The same problem with gradients evaluated in `dtype`."""
