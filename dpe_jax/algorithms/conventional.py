"""Conventional decentralized stochastic gradient descent."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax.algorithms.base import Disclosure, Step, Wire
from dpe_jax.algorithms.floating import (
    FLOAT_LIMIT,
    FloatMethod,
    OwnStates,
    StepsizeRow,
    bounded,
    check_doubly_stochastic,
    check_float_start,
    own_states,
    plainly,
    stochastic_gradient,
)
from dpe_jax.conditions import Condition, sgd_conditions
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule, as_schedule


class ConventionalDSGD(FloatMethod):
    """Nedić & Ozdaglar 2009: plaintext states, one public stepsize.

        x_i⁺ = Σ_j A_ij x_j − λ^k g_i(x_i),  A = I + W doubly stochastic.

    The state is float64 and the gradient has the run's precision. Neighbors and eavesdroppers see x
    in plaintext and know λ^k. `InputError` for weights with which A is not doubly stochastic, and a
    start beyond 2³⁰.
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
        """Refuse weights for which A is not doubly stochastic, and a start out of range."""
        check_doubly_stochastic(network)
        check_float_start(x0)

    def reach(self) -> float:
        """As of every method with a float64 state."""
        return FLOAT_LIMIT

    def init(self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws) -> OwnStates:
        """Every run starts at x_0."""
        return own_states(x0, draws)

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
        g = stochastic_gradient(problem, x, draws)
        increment = jnp.asarray(row.stepsize) * g
        mixing = exchange.values(x)
        following = bounded(x, x + mixing - increment, FLOAT_LIMIT)
        return OwnStates(following), Step(x, x, jnp.zeros_like(x), mixing, mixing, increment, g)

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The states and λ^k: all of it."""
        return plainly(step, row.stepsize, jnp.float64(1.0))

    def wire(self) -> Wire:
        """The state itself."""
        return Wire("x_i^k", True, ("λ^k", "A"))

    def budget(self, network: Network, dim: int, iterations: int) -> None:
        """None is promised."""
        return None

    def predicted_exponent(self) -> None:
        """None is predicted."""
        return None

    def describe(self) -> dict[str, Any]:
        """The method and its stepsize."""
        return {"method": "ConventionalDSGD", "stepsize": self.stepsize.describe()}
