"""What methods without quantization share: a float64 state and one stepsize for all agents."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8, Int64

from dpe_jax.algorithms.base import Algorithm
from dpe_jax.conditions import Condition, sgd_conditions
from dpe_jax.lattice import NON_FINITE, OK
from dpe_jax.network import Network
from dpe_jax.schedules import Schedule, as_schedule


class OwnStates(eqx.Module):
    """Each agent has its own x, in float64."""

    x: Float[Array, "agents dim lanes"]


class SharedState(eqx.Module):
    """All agents have the one x, in float64, which is held and updated once."""

    shared: Float[Array, "dim lanes"]
    agents: int = eqx.field(static=True)

    @property
    def x(self) -> Float[Array, "agents dim lanes"]:
        """The one x, for each agent."""
        return jnp.broadcast_to(self.shared, (self.agents, *self.shared.shape))


FloatState = OwnStates | SharedState
"""State of a method without quantization."""


class StepsizeRow(eqx.Module):
    """Tabulated stepsize λ^k."""

    stepsize: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class FloatMethod(Algorithm):
    """A method whose state is x itself, with one public stepsize λ^k."""

    stepsize: Schedule = eqx.field(converter=as_schedule)
    """λ^k: a schedule, a number or a function of k."""

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> StepsizeRow:
        """λ^k."""
        return StepsizeRow(self.stepsize.values(iterations))

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σλ = ∞ and Σλ² < ∞."""
        return sgd_conditions(self.stepsize)

    def position(self, state: FloatState) -> Float[Array, "agents dim lanes"]:
        """The state itself."""
        return state.x

    def integer_state(self, state: FloatState) -> None:
        """Not on the lattice."""
        return None

    def status(self, state: FloatState) -> Int8[Array, " lanes"]:
        """A NaN or an infinity stays, and is seen."""
        finite = jnp.all(jnp.isfinite(state.x), axis=(0, 1))
        return jnp.where(finite, OK, NON_FINITE).astype(jnp.int8)

    def describe(self) -> dict[str, str]:
        """The method and its stepsize."""
        return {"method": type(self).__name__, "stepsize": self.stepsize.describe()}
