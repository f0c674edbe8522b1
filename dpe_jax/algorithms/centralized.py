"""Centralized stochastic gradient descent, the accuracy reference."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8, Int64

from dpe_jax import lanes
from dpe_jax.algorithms.base import Algorithm, Step, float_status
from dpe_jax.algorithms.conventional import FloatState, StepsizeRow
from dpe_jax.conditions import Condition, sgd_conditions
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule


class CentralizedSGD(Algorithm):
    """One agent with all the data (Robbins & Monro 1951).

        x⁺ = x − λ^k (1/n) Σ_i g_i(x)

    It draws the same stochastic gradients as the agents do, all at its one x, so a comparison with
    a decentralized method is paired. Its start is the agents' mean start. No network is used.
    """

    stepsize: Schedule

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> StepsizeRow:
        """λ^k."""
        return StepsizeRow(self.stepsize.values(iterations))

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σλ = ∞ and Σλ² < ∞."""
        return sgd_conditions(self.stepsize)

    def check(
        self, network: Network, x0: Float[np.ndarray, "agents dim"], largest: StepsizeRow
    ) -> None:
        """Nothing to refuse."""

    def init(self, x0: Float[Array, "agents dim"], draws: Draws) -> FloatState:
        """The mean of the agents' starts, held once for each agent."""
        start = jnp.mean(x0, axis=0)[..., None]
        return FloatState(jnp.broadcast_to(start, (*x0.shape, draws.run.shape[0])))

    def step(
        self,
        state: FloatState,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
    ) -> tuple[FloatState, Step]:
        """Subtract the mean of all stochastic gradients at x."""
        x = state.x
        g = problem.gradient(x.astype(problem.dtype), draws).astype(jnp.float64)
        increment = jnp.broadcast_to(jnp.asarray(row.stepsize) * lanes.mean(g, 0), x.shape)
        return FloatState(x - increment), Step(x, x, jnp.zeros_like(x), increment)

    def position(self, state: FloatState) -> Float[Array, "agents dim lanes"]:
        """The one x, held once for each agent."""
        return state.x

    def integer_state(self, state: FloatState) -> None:
        """Not on the lattice."""
        return None

    def status(self, state: FloatState) -> Int8[Array, " lanes"]:
        """Non-finite states stay non-finite."""
        return float_status(state.x)

    def describe(self) -> dict[str, Any]:
        """Hyper-parameters in words."""
        return {"method": "CentralizedSGD", "stepsize": self.stepsize.describe()}
