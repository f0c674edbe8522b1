"""What methods with a float64 state share."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8

from dpe_jax import philox
from dpe_jax.algorithms.base import Algorithm
from dpe_jax.draws import SHARES, Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
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


class MaskedStates(eqx.Module):
    """Each agent's own x, and what it has drawn to hide x or its cost, both in float64."""

    x: Float[Array, "agents dim lanes"]
    mask: Float[Array, "agents dim lanes"]


class BalancedStates(eqx.Module):
    """Each agent's own x, and what flows over the links; see `shares`."""

    x: Float[Array, "agents dim lanes"]
    flow: Float[Array, "links dim lanes"]


FloatState = OwnStates | SharedState | MaskedStates | BalancedStates
"""State of a method whose x is floating point."""


class StepsizeRow(eqx.Module):
    """Tabulated stepsize λ^k."""

    stepsize: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class AttenuatedRow(eqx.Module):
    """Tabulated stepsize λ^k and attenuation γ^k."""

    stepsize: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]
    gamma: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class NoisyRow(eqx.Module):
    """Tabulated stepsize λ^k and scale of the noise in messages."""

    stepsize: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]
    noise: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class NoisyAttenuatedRow(eqx.Module):
    """Tabulated stepsize λ^k, attenuation γ^k and scale of the noise in messages."""

    stepsize: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]
    gamma: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]
    noise: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class FloatMethod(Algorithm):
    """A method whose state is x itself, in float64; gradients have the run's precision."""

    def position(self, state: FloatState) -> Float[Array, "agents dim lanes"]:
        """The state itself."""
        return state.x

    def integer_state(self, state: FloatState) -> None:
        """Not on the lattice."""
        return None


def on_lanes(x0: Float[Array, "agents dim"], draws: Draws) -> Float[Array, "agents dim lanes"]:
    """x_0 for every run."""
    return jnp.broadcast_to(x0[..., None], (*x0.shape, draws.run.shape[0]))


def own_states(x0: Float[Array, "agents dim"], draws: Draws) -> OwnStates:
    """Every run starts at x_0."""
    return OwnStates(on_lanes(x0, draws))


def stochastic_gradient(
    problem: Problem, x: Float[Array, "agents dim lanes"], draws: Draws
) -> Float[Array, "agents dim lanes"]:
    """g_i(x_i), evaluated in the problem's precision, in float64."""
    return problem.gradient(x.astype(problem.dtype), draws).astype(jnp.float64)


def unit_laplace(draws: Draws, dtype: jnp.dtype) -> Float[Array, "agents dim lanes"]:
    """Laplace noise of scale one for each agent's own message, made in `dtype`, in float64."""
    return philox.laplace(draws.message_word(), dtype).astype(jnp.float64)


LAPLACE_ASSUMPTIONS = (
    "adjacent: the costs of one agent differ; x_0 and the other agents' do not",
    "‖g_i(x)‖₂ ≤ gradient_bound for every stochastic gradient of either cost; nothing clips or "
    "checks them",
    "ideal Laplace noise; that of the simulation has 2³² values, within ±22.2 scales",
    "all messages of iterations 0 … iterations − 1 are seen; x itself is not",
)
"""What the ε of messages with Laplace noise rests on."""

SHARE_UNIT = 2.0**-31
"""What `shares` are multiples of, beside their scale."""


def shares(exchange: Exchange, draws: Draws) -> Float[Array, "links dim lanes"]:
    """(s_ji − s_ij)/SHARE_UNIT for each link i < j; i gives s_ij, uniform on ±1, to j.

    These are integers below 2³², so what `Exchange.circulate` makes of them, the
    p_i = Σ_j (s_ji − s_ij) of all agents, sums to zero exactly. So it does times a scale that is a
    power of two, and otherwise but for rounding.
    """
    given, received = draws.link_words(exchange.links, draws.dim, SHARES)
    return received.astype(jnp.float64) - given.astype(jnp.float64)


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


def positive_number(name: str, value: Any) -> None:
    """Refuse what is not a positive finite number."""
    number = isinstance(value, float | int) and not isinstance(value, bool)
    if not number or not (np.isfinite(value) and value > 0):
        raise InputError(name, value, "a positive finite number")
