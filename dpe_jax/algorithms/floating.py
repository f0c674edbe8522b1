"""What methods with a float64 state share."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int8

from dpe_jax import lanes, philox
from dpe_jax.algorithms.base import Algorithm, Disclosure, Step, check_start
from dpe_jax.draws import SHARES, Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.lattice import LEFT_RANGE, NON_FINITE, OK
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem

FLOAT_LIMIT = 2.0**30
"""The largest |x_i| that a lane of a method with a float64 state may reach, in units of x.

Beyond it the lane has left the range, as one on the lattice does beyond 2²⁸ δ: a run that diverges
without ever overflowing is no sound run.
"""


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

    def status(self, state: FloatState) -> Int8[Array, " lanes"]:
        """Infinite elements have left the range, which outranks NaN; see `bounded`."""
        x = state.x
        finite = jnp.all(jnp.isfinite(x), axis=(0, 1))
        left = jnp.any(jnp.isinf(x), axis=(0, 1))
        return jnp.where(finite, OK, jnp.where(left, LEFT_RANGE, NON_FINITE)).astype(jnp.int8)


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


def clipped(
    g: Float[Array, "agents dim lanes"], bound: float | Float[Array, "*#lanes"]
) -> Float[Array, "agents dim lanes"]:
    """g · min(1, C/‖g‖₂) for each agent and lane: of norm C at most, but for rounding.

    A gradient within the bound keeps its bits. One whose norm is not finite becomes NaN, and fails.
    """

    def scaled(i: Array, g: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        norm = jnp.sqrt(lanes.total(g[i] ** 2, 0))
        scale = jnp.where(jnp.isfinite(norm), bound / jnp.maximum(norm, bound), jnp.nan)
        return g.at[i].set(g[i] * scale)

    # A loop has the gradient in memory, and scales it there. In one pass with the rest of the step
    # each term of a norm is, to XLA, a copy of a coordinate's gradient with all its random words.
    return jax.lax.fori_loop(0, g.shape[0], scaled, g)


def laplace_assumptions(clip: bool) -> tuple[str, ...]:
    """What the ε of messages with Laplace noise rests on."""
    gradients = "‖g_i(x)‖₂ ≤ gradient_bound for every stochastic gradient of either cost; "
    held = "each is clipped to that, so this holds by construction, but for rounding"
    return (
        "adjacent: the costs of one agent differ; x_0 and the other agents' do not",
        gradients + (held if clip else "nothing clips or checks them"),
        "f_i is made of agent i's data alone, and schedules, bound and noise of nobody's: features "
        "standardised over all agents, or stepsizes tuned on their data, tell more",
        "ideal Laplace noise; that of the simulation has 2³² values, within ±22.2 scales",
        "all messages of iterations 0 … iterations − 1 are seen; x itself is not",
    )


def check_clip(clip: Any) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(clip, bool):
        raise InputError("clip", clip, "True or False")


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


def known_flow(
    exchange: Exchange, flow: Float[Array, "links dim lanes"], insiders: Bool[Array, " agents"]
) -> Float[Array, "links dim lanes"]:
    """The flow over links of which at least one end is an insider; zero over the others."""
    known = jnp.any(insiders[exchange.links], axis=1)
    return jnp.where(known[:, None, None], flow, 0.0)


def plainly(step: Step, stepsize: Array | np.ndarray, gain: Array | np.ndarray) -> Disclosure:
    """What is known of messages that say all that there is to know."""
    message = step.message
    return Disclosure(
        message, message, jnp.zeros_like(message), jnp.asarray(gain), jnp.asarray(stepsize)
    )


def bounded(
    x: Float[Array, "*shape"], moved: Float[Array, "*shape"], reach: float | Float[Array, "*#lanes"]
) -> Float[Array, "*shape"]:
    """The state that follows x: `moved`, infinity beyond `reach`, or NaN where it is not finite.

    Both marks stay for good, however far a later step would lead back, so a status read at the next
    record point is that of all steps before it. An infinite gradient leaves NaN, and so does mixing
    with an infinity: one that is seen was put there because its own element left the range.
    """
    following = jnp.where(jnp.abs(moved) <= reach, moved, jnp.inf)
    following = jnp.where(jnp.isfinite(moved), following, jnp.nan)
    return jnp.where(jnp.isinf(x), x, following)


def check_float_start(x0: Float[np.ndarray, "agents dim"]) -> None:
    """Refuse a start out of range."""
    check_start(x0, FLOAT_LIMIT, "2³⁰")


def check_doubly_stochastic(network: Network) -> None:
    """Refuse weights for which A = I + W has a negative diagonal."""
    row_sum = float(np.max(-np.diag(network.weights)))
    if row_sum > 1 + 1e-12:
        accepted = "row sums Σ_j w_ij of at most 1, so that A = I + W is doubly stochastic"
        raise InputError("network.weights", row_sum, accepted)


def check_within_limit(name: str, value: float) -> None:
    """Refuse a bound on |x_i| beyond that of every float64 state."""
    if not value <= FLOAT_LIMIT:
        raise InputError(name, value, f"at most {FLOAT_LIMIT:.6g} = 2³⁰")


def positive_number(name: str, value: Any) -> None:
    """Refuse what is not a positive finite number."""
    number = isinstance(value, float | int) and not isinstance(value, bool)
    if not number or not (np.isfinite(value) and value > 0):
        raise InputError(name, value, "a positive finite number")
