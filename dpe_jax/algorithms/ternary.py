"""Decentralized SGD with ternary messages."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax import philox
from dpe_jax.algorithms.base import Disclosure, Step, Wire, check_start
from dpe_jax.algorithms.floating import (
    AttenuatedRow,
    FloatMethod,
    MaskedStates,
    bounded,
    check_within_limit,
    on_lanes,
    plainly,
    positive_number,
    stochastic_gradient,
)
from dpe_jax.conditions import Condition, error_exponent, quantized_conditions
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule, as_schedule


class TernaryDSGD(FloatMethod):
    r"""Wang & Başar 2023: messages of three levels, one public stepsize.

        x_i⁺ = x_i + γ^k Σ_j w_ij (T(x_j) − T(x_i)) − λ^k g_i^k,
        T(x)_l = r sign(x_l) with probability |x_l|/r, else 0.

    "Quantization enabled privacy protection in decentralized stochastic optimization", IEEE
    Transactions on Automatic Control 68(7). T is unbiased with variance |x_l| (r − |x_l|). The
    update is reconstructed; how T is drawn and what happens beyond r are ours: the
    probability is |x_l|/r rounded to a multiple of 2⁻³², so that |E T − x_l| ≤ r·2⁻³³, and an
    element with |x_l| > r, which T cannot express, has left the range.

    Neighbors and eavesdroppers see every T(x_i^k) in plaintext and know λ^k, γ^k and r.
    `InputError` for an r that is not positive and finite, or beyond 2³⁰, and for a start beyond r.
    """

    stepsize: Schedule = eqx.field(converter=as_schedule)
    """λ^k: a schedule, a number or a function of k."""

    gamma: Schedule = eqx.field(converter=as_schedule)
    """Attenuation γ^k, likewise."""

    range: float
    """r, in units of x: at least |x_l| of every state on the way; at most 2³⁰."""

    def __check_init__(self) -> None:
        positive_number("range", self.range)
        check_within_limit("range", self.range)

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> AttenuatedRow:
        """λ^k and γ^k."""
        return AttenuatedRow(self.stepsize.values(iterations), self.gamma.values(iterations))

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σγ = ∞, Σγ² < ∞, Σλ = ∞, Σλ² < ∞ and Σλ²/γ < ∞ (reconstructed)."""
        return quantized_conditions(self.gamma, self.stepsize)

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse a start that T cannot express."""
        check_start(x0, self.range, "range")

    def reach(self) -> float:
        """r."""
        return self.range

    def init(
        self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws
    ) -> MaskedStates:
        """Every run starts at x_0, and draws its first message with the word of time 0."""
        x = on_lanes(x0, draws)
        return MaskedStates(x, self._ternary(x, draws))

    def step(
        self,
        state: MaskedStates,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: AttenuatedRow,
    ) -> tuple[MaskedStates, Step]:
        """Mix the messages, subtract the stochastic gradient, and draw the next message."""
        x, message = state.x, state.mask
        g = stochastic_gradient(problem, x, draws)
        increment = jnp.asarray(row.stepsize) * g
        sums = exchange.values(message)
        mixing = jnp.asarray(row.gamma) * sums
        following = bounded(x, x + mixing - increment, self.range)
        error = exchange.values(message - x)
        step = Step(x, message, error, sums, mixing, increment, g)
        return MaskedStates(following, self._ternary(following, draws)), step

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: AttenuatedRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The three levels for the states, λ^k and γ^k."""
        return plainly(step, row.stepsize, row.gamma)

    def wire(self) -> Wire:
        """The three levels, in plaintext."""
        return Wire("T(x_i^k)", True, ("λ^k", "γ^k", "W", "r"))

    def budget(self, network: Network, dim: int, iterations: int) -> None:
        """None is computed here: the paper's (0, δ) is that of single messages, not of a run."""
        return None

    def predicted_exponent(self) -> float | None:
        """As of `EncryptedDSGD`: both quantizers have a variance that does not decay (derived)."""
        return error_exponent(self.gamma, self.stepsize)

    def describe(self) -> dict[str, Any]:
        """The method and its parameters."""
        return {
            "method": "TernaryDSGD",
            "stepsize": self.stepsize.describe(),
            "gamma": self.gamma.describe(),
            "range": self.range,
        }

    def _ternary(
        self, x: Float[Array, "agents dim lanes"], draws: Draws
    ) -> Float[Array, "agents dim lanes"]:
        u = philox.uniform(draws.message_word(), x.dtype)
        return jnp.where(u * self.range < jnp.abs(x), jnp.copysign(self.range, x), 0.0)
