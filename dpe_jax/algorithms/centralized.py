"""Centralized stochastic gradient descent, the accuracy reference."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax import lanes
from dpe_jax.algorithms.base import Disclosure, Step, Wire
from dpe_jax.algorithms.floating import (
    FLOAT_LIMIT,
    FloatMethod,
    SharedState,
    StepsizeRow,
    bounded,
    check_float_start,
    plainly,
    stochastic_gradient,
)
from dpe_jax.conditions import Condition, sgd_conditions
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule, as_schedule


class CentralizedSGD(FloatMethod):
    """One agent with all the data (Robbins & Monro 1951).

        x⁺ = x − λ^k (1/n) Σ_i g_i(x)

    It draws the same stochastic gradients as the agents do, all at its one x, so a comparison with
    a decentralized method is paired. Its start is the agents' mean start. No network is used.
    `InputError` for a start beyond 2³⁰.
    """

    stepsize: Schedule = eqx.field(converter=as_schedule)
    """λ^k: a schedule, a number or a function of k."""

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> StepsizeRow:
        """λ^k."""
        return StepsizeRow(self.stepsize.values(iterations))

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σλ = ∞ and Σλ² < ∞."""
        return sgd_conditions(self.stepsize)

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse a start out of range."""
        check_float_start(x0)

    def reach(self) -> float:
        """As of every method with a float64 state."""
        return FLOAT_LIMIT

    def init(self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws) -> SharedState:
        """The mean of the agents' starts."""
        agents, dim = x0.shape
        start = lanes.mean(x0[..., None], 0)
        return SharedState(jnp.broadcast_to(start, (dim, draws.run.shape[0])), agents)

    def step(
        self,
        state: SharedState,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
    ) -> tuple[SharedState, Step]:
        """Subtract the mean of all stochastic gradients at x."""
        x = state.x
        g = stochastic_gradient(problem, x, draws)
        # A loop has its input in memory. Without one each term of the mean is, to XLA, a copy of
        # the whole gradient; and the order of a reduction would depend on the block.
        total = jax.lax.fori_loop(1, g.shape[0], lambda i, total: total + g[i], g[0])
        mean = total / g.shape[0]
        increment = jnp.asarray(row.stepsize) * mean
        shared = bounded(state.shared, state.shared - increment, FLOAT_LIMIT)
        following = SharedState(shared, state.agents)
        zero = jnp.zeros_like(x)
        return following, Step(x, x, zero, zero, zero, jnp.broadcast_to(increment, x.shape), g)

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The one state and λ^k: whoever holds all data has no need of them."""
        return plainly(step, row.stepsize, jnp.float64(0.0))

    def wire(self) -> Wire:
        """Nothing is sent: all data lie in one place."""
        return Wire("nothing", False, ())

    def budget(self, network: Network, dim: int, iterations: int) -> None:
        """None is promised."""
        return None

    def predicted_exponent(self) -> None:
        """None is predicted."""
        return None

    def describe(self) -> dict[str, Any]:
        """The method and its stepsize."""
        return {"method": "CentralizedSGD", "stepsize": self.stepsize.describe()}
