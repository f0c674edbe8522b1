"""Differentially private decentralized SGD with noise that attenuation wears down."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax.algorithms.base import Budget, Disclosure, Step, Wire
from dpe_jax.algorithms.floating import (
    FLOAT_LIMIT,
    FloatMethod,
    MaskedStates,
    NoisyAttenuatedRow,
    bounded,
    check_clip,
    check_float_start,
    clipped,
    laplace_assumptions,
    on_lanes,
    plainly,
    positive_number,
    stochastic_gradient,
    unit_laplace,
)
from dpe_jax.conditions import Condition, error_exponent, noise_conditions
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule, as_schedule


class TailoredDP(FloatMethod):
    r"""Wang & Nedić 2023: persistent Laplace noise, and an attenuated exchange.

        x_i⁺ = x_i + γ^k Σ_j w_ij (x_j + ζ_j − x_i) − λ^k g_i(x_i),  ζ_j ~ Lap(ν^k).

    "Tailoring gradient methods for differentially private distributed optimization", IEEE
    Transactions on Automatic Control; their first algorithm, with static consensus. The update is
    reconstructed; it is exact in the limit under Σγ = ∞, Σλ = ∞, Σλ²/γ < ∞ and Σγ²ν² < ∞
    (reconstructed).

    ε of differential privacy for one agent's cost (recursion after the paper, constants derived):
    given the same messages, and w̄ = min_i Σ_j w_ij as long as γ^k Σ_j w_ij ≤ 1, the states under
    two costs differ in the 1-norm by at most Δ^k,

        Δ^0 = 0,  Δ^{k+1} = (1 − w̄ γ^k) Δ^k + 2 C √d λ^k,  ε^k = Δ^k / ν^k.

    With Δ ~ λ/γ the sum of ε converges only if b − a + v > 1 (γ ~ k^−a, λ ~ k^−b, ν ~ k^v), which
    Σγ²ν² < ∞ and b ≤ 1 exclude: under this adjacency no exact setting with power laws has a finite
    bound over infinitely many iterations (derived). The paper claims a finite budget; that needs
    more than a bound on the gradients of adjacent costs, such as their agreement near the optimum.

    With `clip` every g_i is replaced by g_i · min(1, C/‖g_i‖₂), so that the bound that ε rests on
    holds by construction; without it nothing enforces the bound. The paper does not clip (added
    here). Where clipping binds, what the method settles at is biased: clipped gradients that sum to
    zero need not belong to gradients that do.

    Neighbors and eavesdroppers see x + ζ in plaintext and know λ^k, γ^k and ν^k. `InputError`
    for a bound that is not positive and finite, noise of scale 0, and a start beyond 2³⁰.
    """

    stepsize: Schedule = eqx.field(converter=as_schedule)
    """λ^k: a schedule, a number or a function of k."""

    gamma: Schedule = eqx.field(converter=as_schedule)
    """Attenuation γ^k, likewise."""

    noise: Schedule = eqx.field(converter=as_schedule)
    """ν^k, likewise, in units of x; `PowerGrowth` is one that grows."""

    gradient_bound: float
    """C ≥ ‖g_i(x)‖₂ for every stochastic gradient, which the budget rests on; see `clip`."""

    clip: bool = False
    """Whether every stochastic gradient is scaled to a norm of at most C before it is used."""

    def __check_init__(self) -> None:
        positive_number("gradient_bound", self.gradient_bound)
        check_clip(self.clip)

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> NoisyAttenuatedRow:
        """λ^k, γ^k and ν^k; refuses messages without noise."""
        noise = self.noise.values(iterations)
        if not np.all(noise > 0):
            raise InputError("noise", float(noise.min()), "a number above 0 at every k")
        return NoisyAttenuatedRow(
            self.stepsize.values(iterations), self.gamma.values(iterations), noise
        )

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σγ = ∞, Σλ = ∞, Σλ²/γ < ∞ and Σγ²ν² < ∞."""
        return noise_conditions(self.gamma, self.stepsize, self.noise)

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse a start out of range."""
        check_float_start(x0)

    def reach(self) -> float:
        """As of every method with a float64 state."""
        return FLOAT_LIMIT

    def init(
        self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws
    ) -> MaskedStates:
        """x_0, and the first noise from the word of time 0."""
        noise = unit_laplace(draws, jnp.dtype("float64"))
        return MaskedStates(on_lanes(x0, draws), noise)

    def step(
        self,
        state: MaskedStates,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: NoisyAttenuatedRow,
    ) -> tuple[MaskedStates, Step]:
        """Mix the noisy states, subtract the stochastic gradient, and draw the next noise."""
        x = state.x
        scale = jnp.asarray(row.noise)
        message = x + scale * state.mask
        g = stochastic_gradient(problem, x, draws)
        used = clipped(g, self.gradient_bound) if self.clip else g
        increment = jnp.asarray(row.stepsize) * used
        # Written so that XLA mixes what is carried: mixing the message, it is four times slower.
        sums = exchange.values(x) + scale * exchange.weighted(state.mask)
        mixing = jnp.asarray(row.gamma) * sums
        step = Step(x, message, jnp.zeros_like(x), sums, mixing, increment, g)
        following = bounded(x, x + mixing - increment, FLOAT_LIMIT)
        return MaskedStates(following, unit_laplace(draws, problem.dtype)), step

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: NoisyAttenuatedRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The noisy states, λ^k and γ^k."""
        return plainly(step, row.stepsize, row.gamma)

    def wire(self) -> Wire:
        """The noisy state."""
        return Wire("x_i^k + ζ_i^k", True, ("λ^k", "γ^k", "ν^k", "W"), ("ζ_i^k",))

    def budget(self, network: Network, dim: int, iterations: int) -> Budget:
        """ε^k = Δ^k/ν^k by the recursion."""
        row = self.table(network, np.arange(iterations, dtype=np.int64))
        row_sums = -np.diag(network.weights)
        kept = np.abs(1 - np.outer([row_sums.min(), row_sums.max()], row.gamma)).max(axis=0)
        added = 2 * self.gradient_bound * np.sqrt(dim) * np.asarray(row.stepsize)
        sensitivity, held = [], 0.0
        for factor, term in zip(kept.tolist(), added.tolist(), strict=True):
            sensitivity.append(held)
            held = factor * held + term
        epsilon = np.array(sensitivity) / np.asarray(row.noise)
        return Budget(
            epsilon,
            float(epsilon.sum()),
            None,
            laplace_assumptions(self.clip),
        )

    def predicted_exponent(self) -> float | None:
        """As of quantized messages, whose errors here grow like ν; and those of the mean state.

        Noise does not cancel in the mean of all agents: it moves that by γ^k ν^k a step, against
        a pull of λ^k, so its standard deviation falls like k^−(a−v−b/2) (derived).
        """
        a, b = self.gamma.decay_exponent(), self.stepsize.decay_exponent()
        growth = -self.noise.decay_exponent()
        others, mean = error_exponent(self.gamma, self.stepsize, growth), a - growth - b / 2
        if others is None or not mean > 0:
            return None
        return min(others, mean)

    def describe(self) -> dict[str, Any]:
        """The method and its parameters."""
        return {
            "method": "TailoredDP",
            "stepsize": self.stepsize.describe(),
            "gamma": self.gamma.describe(),
            "noise": self.noise.describe(),
            "gradient_bound": self.gradient_bound,
            **({"clip": True} if self.clip else {}),
        }
