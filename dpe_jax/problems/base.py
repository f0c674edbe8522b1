"""The contract of a problem: F(x) = (1/n) Σ_i f_i(x), agent i alone knows f_i."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.draws import Draws


class Optimum(eqx.Module):
    """Reference optimum: x*, F* = F(x*), and ‖∇F(x*)‖ that shows how well it is known."""

    x: Float[np.ndarray, " dim"]
    value: float | Float[Array, ""]
    gradient_norm: float | Float[Array, ""]
    method: str = eqx.field(static=True)


class Problem(eqx.Module):
    """Costs of all agents. Array fields are NumPy float64 until `with_dtype` casts them."""

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
        """The reference optimum in float64 on the host, to ‖∇F(x*)‖ < 1e-10."""

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """The problem and its sizes, for the manifest."""

    @abc.abstractmethod
    def with_dtype(self, dtype: jnp.dtype) -> "Problem":
        """The same problem with gradients evaluated in `dtype`."""


def cast(tree: Any, dtype: jnp.dtype) -> Any:
    """Every floating-point array leaf of a pytree in `dtype`."""

    def leaf(value: object) -> object:
        if isinstance(value, np.ndarray | jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
            return np.asarray(value).astype(dtype)
        return value

    return jax.tree.map(leaf, tree)


def host_array(value: Any) -> np.ndarray:
    """An array of a problem's field on the host; whole numbers become float64."""
    array = np.asarray(value)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
