"""Conventional decentralized stochastic gradient descent."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8, Int64

from dpe_jax.algorithms.base import Algorithm, Step, float_status
from dpe_jax.conditions import Condition, sgd_conditions
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule


class FloatState(eqx.Module):
    """State of a method without quantization: x in float64."""

    x: Float[Array, "agents dim lanes"]


class StepsizeRow(eqx.Module):
    """Tabulated stepsize λ^k."""

    stepsize: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class ConventionalDSGD(Algorithm):
    """Nedić & Ozdaglar 2009: plaintext states, one public stepsize.

        x_i⁺ = Σ_j A_ij x_j − λ^k g_i(x_i),  A = I + W doubly stochastic.

    The state is float64 and the gradient has the run's precision. Neighbors and eavesdroppers see
    x in plaintext and know λ^k.
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
        """Refuse weights for which A = I + W has a negative diagonal."""
        diagonal = 1.0 + np.diag(network.weights)
        if np.any(diagonal < -1e-12):
            raise InputError(
                "network.weights",
                float(np.max(-np.diag(network.weights))),
                "row sums Σ_j w_ij of at most 1, so that A = I + W is doubly stochastic",
            )

    def init(self, x0: Float[Array, "agents dim"], draws: Draws) -> FloatState:
        """Every run starts at x_0."""
        x = jnp.asarray(x0, jnp.float64)[..., None]
        return FloatState(jnp.broadcast_to(x, (*x0.shape, draws.run.shape[0])))

    def step(
        self,
        state: FloatState,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
    ) -> tuple[FloatState, Step]:
        """Mix, then subtract the local stochastic gradient."""
        x = state.x
        g = problem.gradient(x.astype(problem.dtype), draws)
        increment = jnp.asarray(row.stepsize) * g.astype(jnp.float64)
        mixed = x + exchange.values(x)
        return FloatState(mixed - increment), Step(x, x, jnp.zeros_like(x), increment)

    def position(self, state: FloatState) -> Float[Array, "agents dim lanes"]:
        """The state itself."""
        return state.x

    def integer_state(self, state: FloatState) -> None:
        """Not on the lattice."""
        return None

    def status(self, state: FloatState) -> Int8[Array, " lanes"]:
        """Non-finite states stay non-finite."""
        return float_status(state.x)

    def describe(self) -> dict[str, Any]:
        """Hyper-parameters in words."""
        return {"method": "ConventionalDSGD", "stepsize": self.stepsize.describe()}
