"""What methods with a float64 state share."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8

from dpe_jax.algorithms.base import Algorithm
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.lattice import NON_FINITE, OK
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem


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
    """A method whose state is x itself, in float64; gradients have the run's precision."""

    def position(self, state: FloatState) -> Float[Array, "agents dim lanes"]:
        """The state itself."""
        return state.x

    def integer_state(self, state: FloatState) -> None:
        """Not on the lattice."""
        return None


def own_states(x0: Float[Array, "agents dim"], draws: Draws) -> OwnStates:
    """Every run starts at x_0."""
    return OwnStates(jnp.broadcast_to(x0[..., None], (*x0.shape, draws.run.shape[0])))


def stochastic_gradient(
    problem: Problem, x: Float[Array, "agents dim lanes"], draws: Draws
) -> Float[Array, "agents dim lanes"]:
    """g_i(x_i), evaluated in the problem's precision, in float64."""
    return problem.gradient(x.astype(problem.dtype), draws).astype(jnp.float64)


def finite_status(state: FloatState) -> Int8[Array, " lanes"]:
    """Ok or non-finite: a NaN or an infinity stays in the state, and is seen."""
    finite = jnp.all(jnp.isfinite(state.x), axis=(0, 1))
    return jnp.where(finite, OK, NON_FINITE).astype(jnp.int8)


def check_doubly_stochastic(network: Network) -> None:
    """Refuse weights for which A = I + W has a negative diagonal."""
    row_sum = float(np.max(-np.diag(network.weights)))
    if row_sum > 1 + 1e-12:
        accepted = "row sums Σ_j w_ij of at most 1, so that A = I + W is doubly stochastic"
        raise InputError("network.weights", row_sum, accepted)
