"""Differentially private decentralized SGD with geometric stepsizes and noise."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax.algorithms.base import Budget, Disclosure, Step, Wire, check_start
from dpe_jax.algorithms.floating import (
    FloatMethod,
    MaskedStates,
    NoisyRow,
    check_clip,
    check_doubly_stochastic,
    check_within_limit,
    clipped,
    laplace_assumptions,
    on_lanes,
    plainly,
    positive_number,
    stochastic_gradient,
    unit_laplace,
)
from dpe_jax.conditions import Condition, geometric_conditions
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem


class GeometricDP(FloatMethod):
    r"""Huang, Mitra & Vaidya 2015: Laplace noise and stepsizes that both decay geometrically.

        y_i = x_i + Lap(M p^k),  z_i = Σ_j A_ij y_j,  x_i⁺ = P[z_i − c q^k g_i(z_i)],  q < p < 1.

    "Differentially private distributed optimization", ICDCN 2015; the update is reconstructed. The
    gradient is taken at the mixed point z_i of the noisy messages, not at x_i. P projects on a
    compact set; which one is ours: the box |x_l| ≤ radius, on which projection is elementwise.
    Private, but not exact: the stepsizes sum to c/(1 − q), so x stops short of the optimum, and
    what the noise has done to the mean state stays.

    ε of differential privacy for one agent's cost (derived; the paper's form up to its norm and
    the index of the noise): given all messages so far, z^{k−1} does not depend on the cost, so x^k
    differs by at most 2 C c q^{k−1} in the 2-norm, √d times that in the 1-norm, and k ≥ 1 spends
    2 C √d c q^{k−1} / (M p^k); k = 0 spends nothing. Over all k that is 2 C √d c / (M (p − q)).

    With `clip` every g_i is replaced by g_i · min(1, C/‖g_i‖₂), so that the bound that ε rests on
    holds by construction; without it nothing enforces the bound. The paper does not clip (added
    here). Where clipping binds, what the method settles at is biased: clipped gradients that sum to
    zero need not belong to gradients that do.

    Neighbors and eavesdroppers see y in plaintext and know all parameters. `InputError` for
    parameters that are not positive and finite, unless q < p < 1, for weights with which A is not
    doubly stochastic, and for a start outside of the box.
    """

    c: float
    """The first stepsize."""

    q: float
    """Decay of the stepsize, 0 < q < p."""

    M: float
    """Scale of the first noise, in units of x."""

    p: float
    """Decay of the noise, q < p < 1."""

    radius: float
    """Half width of the box that x is projected on; at most 2³⁰."""

    gradient_bound: float
    """C ≥ ‖g_i(x)‖₂ for every stochastic gradient, which the budget rests on; see `clip`."""

    clip: bool = False
    """Whether every stochastic gradient is scaled to a norm of at most C before it is used."""

    def __check_init__(self) -> None:
        for name in ("c", "q", "M", "p", "radius", "gradient_bound"):
            positive_number(name, getattr(self, name))
        check_within_limit("radius", self.radius)
        check_clip(self.clip)
        if not self.p < 1:
            raise InputError("p", self.p, "a number below 1")
        if not self.q < self.p:
            raise InputError("q", self.q, f"a number below p = {self.p:g}")

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> NoisyRow:
        """Stepsize c q^k and noise scale M p^k."""
        k = iterations.astype(np.float64)
        return NoisyRow(self.c * np.power(self.q, k), self.M * np.power(self.p, k))

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """Σλ = ∞, which does not hold, and Σλ² < ∞."""
        return geometric_conditions(self.c, self.q)

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse weights for which A is not doubly stochastic, and a start outside of the box."""
        check_doubly_stochastic(network)
        check_start(x0, self.radius, "radius")

    def reach(self) -> float:
        """The box: a state is projected on it, and leaves no range."""
        return self.radius

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
        row: NoisyRow,
    ) -> tuple[MaskedStates, Step]:
        """Mix the noisy states, descend from there, project, and draw the next noise."""
        x = state.x
        message = x + jnp.asarray(row.noise) * state.mask
        sums = exchange.values(message)
        z = message + sums
        g = stochastic_gradient(problem, z, draws)
        used = clipped(g, self.gradient_bound) if self.clip else g
        increment = jnp.asarray(row.stepsize) * used
        moved = z - increment
        # An infinity must not be projected out of sight.
        following = jnp.where(
            jnp.isfinite(moved), jnp.clip(moved, -self.radius, self.radius), jnp.nan
        )
        step = Step(x, message, jnp.zeros_like(x), sums, z - x, increment, g)
        return MaskedStates(following, unit_laplace(draws, problem.dtype)), step

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: NoisyRow,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The noisy states and λ^k."""
        return plainly(step, row.stepsize, jnp.float64(1.0))

    def wire(self) -> Wire:
        """The noisy state."""
        return Wire("x_i^k + ζ_i^k", True, ("c q^k", "M p^k", "A", "radius"), ("ζ_i^k",))

    def budget(self, network: Network, dim: int, iterations: int) -> Budget:
        """ε^0 = 0, ε^k = 2 C √d c q^{k−1} / (M p^k)."""
        first = 2 * self.gradient_bound * np.sqrt(dim) * self.c / (self.M * self.p)
        k = np.arange(iterations, dtype=np.float64)
        epsilon = np.where(k > 0, first * np.power(self.q / self.p, k - 1), 0.0)
        return Budget(
            epsilon,
            float(epsilon.sum()),
            float(first * self.p / (self.p - self.q)),
            laplace_assumptions(self.clip),
        )

    def predicted_exponent(self) -> None:
        """None: the error does not go to zero."""
        return None

    def describe(self) -> dict[str, Any]:
        """The method and its parameters."""
        return {
            "method": "GeometricDP",
            "stepsize": f"{self.c:g} · {self.q:g}^k",
            "noise": f"{self.M:g} · {self.p:g}^k",
            "radius": self.radius,
            "gradient_bound": self.gradient_bound,
            **({"clip": True} if self.clip else {}),
        }
