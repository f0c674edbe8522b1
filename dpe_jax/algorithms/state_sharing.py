"""Decentralized SGD whose messages are perturbed by what cancels in the sum."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax.algorithms.base import Disclosure, Step, Wire
from dpe_jax.algorithms.floating import (
    FLOAT_LIMIT,
    SHARE_UNIT,
    BalancedStates,
    FloatMethod,
    StepsizeRow,
    bounded,
    check_doubly_stochastic,
    check_float_start,
    known_flow,
    on_lanes,
    plainly,
    positive_number,
    shares,
    stochastic_gradient,
)
from dpe_jax.conditions import Condition, sgd_conditions
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule, as_schedule


class RandomizedStateSharing(FloatMethod):
    r"""Gade & Vaidya 2017, RSS-NB: network-balanced perturbations of the messages.

        y_j = x_j + λ^k d_j^k,  d_j^k = Σ_{i∈N_j} (s_ij^k − s_ji^k),  Σ_j d_j^k = 0,
        z_i = Σ_j A_ij y_j,  x_i⁺ = z_i − λ^k g_i(z_i).

    "Private learning on networks: part II", arXiv:1703.09185. The shares s_ij^k that agent i gives
    to its neighbor j are afresh in each iteration, here with elements uniform on ±scale (the paper
    asks for bounded ones). An agent mixes its own perturbed state too, so the perturbations leave
    the mean state. Reconstructed from memory of the paper: the gradient is taken at the mixed
    point z_i of the perturbed messages, not at x_i; the paper also projects on a bounded set, which
    is left out.

    Neighbors and eavesdroppers see y in plaintext and know λ^k. The shares go over links that only
    their two ends read. `InputError` for a scale that is not positive and finite, weights with
    which A is not doubly stochastic, and a start beyond 2³⁰.
    """

    stepsize: Schedule = eqx.field(converter=as_schedule)
    """λ^k: a schedule, a number or a function of k."""

    scale: float
    """The largest |s_ij|, in units of the gradient."""

    def __check_init__(self) -> None:
        positive_number("scale", self.scale)

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> StepsizeRow:
        """λ^k."""
        return StepsizeRow(self.stepsize.values(iterations))

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σλ = ∞ and Σλ² < ∞."""
        return sgd_conditions(self.stepsize)

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse weights for which A is not doubly stochastic, and a start out of range."""
        check_doubly_stochastic(network)
        check_float_start(x0)

    def reach(self) -> float:
        """As of every method with a float64 state."""
        return FLOAT_LIMIT

    def init(
        self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws
    ) -> BalancedStates:
        """x_0, and the shares of time 0."""
        return BalancedStates(on_lanes(x0, draws), shares(exchange, draws))

    def step(
        self,
        state: BalancedStates,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
    ) -> tuple[BalancedStates, Step]:
        """Mix the perturbed states, descend from there, and draw the next shares."""
        stepsize = jnp.asarray(row.stepsize)
        d = exchange.circulate(state.flow) * (self.scale * SHARE_UNIT)
        message = state.x + stepsize * d
        sums = exchange.values(message)
        z = message + sums
        g = stochastic_gradient(problem, z, draws)
        increment = stepsize * g
        step = Step(state.x, message, jnp.zeros_like(z), sums, z - state.x, increment, g)
        following = bounded(state.x, z - increment, FLOAT_LIMIT)
        return BalancedStates(following, shares(exchange, draws)), step

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The messages, λ^k, and the shares of this iteration that insiders gave or were given."""
        flow = shares(exchange, draws.at(draws.time - 1))
        known = exchange.circulate(known_flow(exchange, flow, insiders))
        plain = plainly(step, row.stepsize, jnp.float64(1.0))
        state = plain.said - plain.stepsize * known * (self.scale * SHARE_UNIT)
        return eqx.tree_at(lambda seen: seen.state, plain, state)

    def wire(self) -> Wire:
        """The perturbed state."""
        private = ("s_ij^k, known to both ends of a link",)
        return Wire("x_i^k + λ^k d_i^k", True, ("λ^k", "A", "scale"), private)

    def budget(self, network: Network, dim: int, iterations: int) -> None:
        """None is promised: the paper's privacy is of another kind."""
        return None

    def predicted_exponent(self) -> None:
        """None is predicted."""
        return None

    def describe(self) -> dict[str, Any]:
        """The method and its parameters."""
        return {
            "method": "RandomizedStateSharing",
            "stepsize": self.stepsize.describe(),
            "scale": self.scale,
        }
