"""What random stepsizes cost at a finite iteration: the variance they add to the network's mean."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from dpe_jax import philox
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.problems.base import Optimum, Problem

_DRAWS = 4096
"""Stochastic gradients of each agent at x* that the moments are estimated from."""


@dataclasses.dataclass(frozen=True)
class Inflation:
    """Variance that a step adds to the mean state at x*, beside that of conventional DSGD.

    Conventional DSGD adds λ² σ² d / n; random multipliers of variance ρ² make that
    λ̄² [σ² d (1 + ρ²) + ρ² G²] / n (derived, since x̄ moves by
    −(1/n) Σ_i Λ_i g_i). F(x̄) − F* follows it up to the bias of the consensus error, which also
    decays.
    """

    noise: float
    """σ² d, the mean over agents of E‖g_i − ∇f_i‖² at x*."""
    disagreement: float
    """G², the mean over agents of ‖∇f_i(x*)‖²: how unlike the agents are."""
    multiplier_variance: float
    """ρ²."""

    @property
    def ratio(self) -> float:
        """[σ² d (1 + ρ²) + ρ² G²] / (σ² d); inf where gradients have no noise but ρ and G do."""
        added = self.multiplier_variance * (self.noise + self.disagreement)
        if self.noise == 0:
            return float("inf") if added else 1.0
        return 1 + added / self.noise


def inflation(
    problem: Problem, optimum: Optimum, multiplier_variance: float, seed: int = 0
) -> Inflation:
    """The moments of the stochastic gradients at x*, from 4096 draws of each agent.

    G² is freed of the noise of its own estimate; where that makes it negative it is 0. InputError
    for a problem without an optimum.
    """
    if not problem.has_optimum:
        raise InputError("problem", problem.describe()["problem"], "one with an optimum x*")
    exact = problem.with_dtype(jnp.dtype("float64"))
    low, high = philox.seed_key(seed)
    x = jnp.asarray(optimum.x, jnp.float64)
    g = np.asarray(_gradients(exact, x, (jnp.uint32(low), jnp.uint32(high))))
    # From the first draw, so that gradients without noise have none to the last bit.
    noise = float((g - g[..., :1]).var(axis=2, ddof=1).sum(axis=1).mean())
    squares = float((g.mean(axis=2) ** 2).sum(axis=1).mean())
    return Inflation(noise, max(0.0, squares - noise / _DRAWS), multiplier_variance)


@eqx.filter_jit
def _gradients(
    problem: Problem, x: Float[Array, " dim"], key: tuple[UInt32[Array, ""], UInt32[Array, ""]]
) -> Float[Array, "agents dim draws"]:
    run = jnp.arange(_DRAWS, dtype=jnp.uint32)
    draws = Draws(key, run, jnp.uint32(0), problem.agents, problem.dim)
    at = jnp.broadcast_to(x[:, None], (problem.agents, problem.dim, _DRAWS))
    return problem.gradient(at, draws)
