"""Decentralized SGD on costs that agents have masked with functions they shared."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax.algorithms.base import Disclosure, Step, Wire
from dpe_jax.algorithms.floating import (
    FLOAT_LIMIT,
    SHARE_UNIT,
    FloatMethod,
    MaskedStates,
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


class FunctionSharing(FloatMethod):
    r"""Gade & Vaidya 2018: agents mask their costs with functions that cancel in the sum.

        x_i⁺ = Σ_j A_ij x_j − λ^k (g_i(x_i) + p_i),  p_i = Σ_{j∈N_i} (s_ji − s_ij),  Σ_i p_i = 0.

    "Private learning on networks", arXiv:1612.05236, and "Private optimization on networks", ACC
    2018. Before the run agent i gives each neighbor j a random function, here the linear s_ij·x
    with the elements of s_ij uniform on ±scale (the papers allow polynomials), and then minimises
    f_i + p_i·x. Reconstructed: the papers take the gradient at the mixed point and project it on a
    bounded set; here the iteration is that of `ConventionalDSGD`, to compare with.

    Neighbors and eavesdroppers see x in plaintext and know λ^k: exact inversion yields g_i + p_i.
    The functions are given over links that only their two ends read. `InputError` for a scale that
    is not positive and finite, weights with which A is not doubly stochastic, and a start beyond
    2³⁰.
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
    ) -> MaskedStates:
        """x_0, and p from the shares of time 0."""
        p = exchange.circulate(shares(exchange, draws)) * (self.scale * SHARE_UNIT)
        return MaskedStates(on_lanes(x0, draws), p)

    def step(
        self,
        state: MaskedStates,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
    ) -> tuple[MaskedStates, Step]:
        """Mix, then subtract the stochastic gradient of the masked cost."""
        x = state.x
        g = stochastic_gradient(problem, x, draws)
        increment = jnp.asarray(row.stepsize) * (g + state.mask)
        mixing = exchange.values(x)
        step = Step(x, x, jnp.zeros_like(x), mixing, mixing, increment, g)
        following = bounded(x, x + mixing - increment, FLOAT_LIMIT)
        return MaskedStates(following, state.mask), step

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: StepsizeRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The states, λ^k, and the shares that insiders gave or were given before the run."""
        known = known_flow(exchange, shares(exchange, draws.at(0)), insiders)
        mask = exchange.circulate(known) * (self.scale * SHARE_UNIT)
        plain = plainly(step, row.stepsize, jnp.float64(1.0))
        return eqx.tree_at(lambda seen: seen.mask, plain, mask)

    def wire(self) -> Wire:
        """The state itself."""
        return Wire("x_i^k", True, ("λ^k", "A", "scale"), ("s_ij, known to both ends of a link",))

    def budget(self, network: Network, dim: int, iterations: int) -> None:
        """None is promised: the papers' privacy is of another kind."""
        return None

    def predicted_exponent(self) -> None:
        """None is predicted."""
        return None

    def describe(self) -> dict[str, Any]:
        """The method and its parameters."""
        return {
            "method": "FunctionSharing",
            "stepsize": self.stepsize.describe(),
            "scale": self.scale,
        }
