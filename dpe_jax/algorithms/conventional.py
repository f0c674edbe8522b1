"""Conventional decentralized stochastic gradient descent."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.algorithms.base import Step
from dpe_jax.algorithms.floating import FloatMethod, OwnStates, StepsizeRow
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem


class ConventionalDSGD(FloatMethod):
    """Nedić & Ozdaglar 2009: plaintext states, one public stepsize.

        x_i⁺ = Σ_j A_ij x_j − λ^k g_i(x_i),  A = I + W doubly stochastic.

    The state is float64 and the gradient has the run's precision. Neighbors and eavesdroppers see
    x in plaintext and know λ^k.
    """

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse weights for which A = I + W has a negative diagonal."""
        row_sum = float(np.max(-np.diag(network.weights)))
        if row_sum > 1 + 1e-12:
            accepted = "row sums Σ_j w_ij of at most 1, so that A = I + W is doubly stochastic"
            raise InputError("network.weights", row_sum, accepted)

    def init(self, x0: Float[Array, "agents dim"], draws: Draws) -> OwnStates:
        """Every run starts at x_0."""
        return OwnStates(jnp.broadcast_to(x0[..., None], (*x0.shape, draws.run.shape[0])))

    def step(
        self,
        state: OwnStates,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
    ) -> tuple[OwnStates, Step]:
        """Mix, then subtract the local stochastic gradient."""
        x = state.x
        g = problem.gradient(x.astype(problem.dtype), draws)
        increment = jnp.asarray(row.stepsize) * g.astype(jnp.float64)
        mixing = exchange.values(x)
        following = x + mixing - increment
        return OwnStates(following), Step(x, x, jnp.zeros_like(x), mixing, mixing, increment)
