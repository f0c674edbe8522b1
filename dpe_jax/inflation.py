"""What random stepsizes cost at a finite iteration: the variance they add to the network's mean."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from dpe_jax import philox
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.reference import hessian

_DRAWS = 4096
"""Stochastic gradients of each agent at x* that the moments are estimated from."""

_DRAWS_ALONG, _POINTS = 1024, 40
"""The same at each point of a path, and how many points that has, spaced like powers of k."""


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


@dataclasses.dataclass(frozen=True)
class PathVariance:
    r"""Variance of the mean state at iteration K, summed over coordinates, along the whole path.

        V^{k+1} = (I − λ^k H) V^k (I − λ^k H) + (λ^k)² C,
        C = (1/n²) Σ_i [Cov g_i + ρ² diag E g_i²]   (derived),

    with H = ∇²F and the moments of g_i at the point where gradient descent on F is at k. Unlike
    `Inflation` it counts what the way to x* adds, where gradients are large: directions in which F
    is flat keep it for long. The error of consensus is left out.
    """

    conventional: float
    """With ρ = 0."""
    multiplied: float
    """With random multipliers."""
    largest_step: float
    """The largest λ^k ‖H‖ on the path. Far beyond 2 descent is unstable: no prediction then."""

    @property
    def ratio(self) -> float:
        """The second over the first; inf where only multipliers make any."""
        if self.conventional == 0:
            return float("inf") if self.multiplied else 1.0
        return self.multiplied / self.conventional


def variance_along_path(
    problem: Problem,
    start: Float[np.ndarray, " dim"],
    stepsize: Float[np.ndarray, " iterations"],
    multiplier_variance: float,
    seed: int = 0,
) -> PathVariance:
    """The recursion, H and C renewed at forty points of the path, from 1024 draws of each agent."""
    exact = problem.with_dtype(jnp.dtype("float64"))
    low, high = philox.seed_key(seed)
    key = jnp.uint32(low), jnp.uint32(high)
    path = np.asarray(_descent(exact, jnp.asarray(start, jnp.float64), jnp.asarray(stepsize)))
    iterations = len(stepsize)
    edges = np.unique(np.geomspace(1, iterations, _POINTS).astype(np.int64))
    dim = problem.dim
    variances, largest = [np.zeros((dim, dim)), np.zeros((dim, dim))], 0.0
    for first, end in zip([0, *edges[:-1]], edges, strict=True):
        x = jnp.asarray(path[(first + end - 1) // 2])
        g = np.asarray(_gradients(exact, x, key, _DRAWS_ALONG))
        centred = (g - g.mean(axis=2, keepdims=True)).transpose(1, 0, 2).reshape(dim, -1)
        noise = centred @ centred.T / (_DRAWS_ALONG - 1) / problem.agents**2
        random = np.diag((g**2).mean(axis=2).sum(axis=0)) / problem.agents**2
        curvature, directions = np.linalg.eigh(hessian(exact, x))
        largest = max(largest, float(abs(curvature).max() * stepsize[first:end].max()))
        for row, added in enumerate((noise, noise + multiplier_variance * random)):
            # In the eigenvectors of H a step is a product of elements.
            spread = directions.T @ variances[row] @ directions
            rotated = directions.T @ added @ directions
            for step in stepsize[first:end]:
                kept = 1 - step * curvature
                spread = kept[:, None] * spread * kept + step**2 * rotated
            variances[row] = directions @ spread @ directions.T
    conventional, multiplied = (float(np.trace(variance)) for variance in variances)
    return PathVariance(conventional, multiplied, largest)


@eqx.filter_jit
def _descent(
    problem: Problem, start: Float[Array, " dim"], stepsize: Float[Array, " iterations"]
) -> Float[Array, "iterations dim"]:
    slope = jax.grad(lambda x: problem.objective(x[:, None])[0])
    return jax.lax.scan(lambda x, step: (x - step * slope(x), x), start, stepsize)[1]


@eqx.filter_jit
def _gradients(
    problem: Problem,
    x: Float[Array, " dim"],
    key: tuple[UInt32[Array, ""], UInt32[Array, ""]],
    count: int = _DRAWS,
) -> Float[Array, "agents dim draws"]:
    run = jnp.arange(count, dtype=jnp.uint32)
    draws = Draws(key, run, jnp.uint32(0), problem.agents, problem.dim)
    at = jnp.broadcast_to(x[:, None], (problem.agents, problem.dim, count))
    return problem.gradient(at, draws)
