"""Centralized stochastic gradient descent, the accuracy reference."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.algorithms.base import Step
from dpe_jax.algorithms.floating import FloatMethod, FloatState, StepsizeRow
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem


class CentralizedSGD(FloatMethod):
    """One agent with all the data (Robbins & Monro 1951).

        x⁺ = x − λ^k (1/n) Σ_i g_i(x)

    It draws the same stochastic gradients as the agents do, all at its one x, so a comparison with
    a decentralized method is paired. Its start is the agents' mean start. No network is used; the
    one x is held once for each agent.
    """

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Nothing to refuse."""

    def init(self, x0: Float[Array, "agents dim"], draws: Draws) -> FloatState:
        """The mean of the agents' starts."""
        start = lanes.mean(x0[..., None], 0)
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
        zero = jnp.zeros_like(x)
        return FloatState(x - increment), Step(x, x, zero, zero, increment)
