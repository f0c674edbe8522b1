"""Centralized stochastic gradient descent, the accuracy reference."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.algorithms.base import Step
from dpe_jax.algorithms.floating import FloatMethod, SharedState, StepsizeRow
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem


class CentralizedSGD(FloatMethod):
    """One agent with all the data (Robbins & Monro 1951).

        x⁺ = x − λ^k (1/n) Σ_i g_i(x)

    It draws the same stochastic gradients as the agents do, all at its one x, so a comparison with
    a decentralized method is paired. Its start is the agents' mean start. No network is used.
    """

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Nothing to refuse."""

    def init(self, x0: Float[Array, "agents dim"], draws: Draws) -> SharedState:
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
        g = problem.gradient(x.astype(problem.dtype), draws).astype(jnp.float64)
        # Without the barrier every term of the mean would be a copy of the whole gradient.
        mean = lanes.mean(jax.lax.optimization_barrier(g), 0)
        increment = jnp.asarray(row.stepsize) * mean
        following = SharedState(state.shared - increment, state.agents)
        zero = jnp.zeros_like(x)
        return following, Step(x, x, zero, zero, zero, jnp.broadcast_to(increment, x.shape))
