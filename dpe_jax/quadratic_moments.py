"""Means and variances of the encrypted method on quadratics, without simulating (derived).

With f_i(x) = ½ (x − b_i)ᵀ A_i (x − b_i), noise σ, multipliers of mean 1 and variance ρ², and
unbiased rounding, the states of all agents, stacked, have the mean m and the covariance P of

    m⁺ = m + γ W m − λ g,   g = 𝒜 (m − b),
    P⁺ = T P Tᵀ + γ² W diag(q) Wᵀ + λ² [(1 + ρ²) σ² I + ρ² diag(g² + diag(𝒜 P 𝒜))],
    T = I + γ W − λ 𝒜,

where q is the variance that rounding adds, δ² E[u (1 − u)] with u the fraction of x/δ. All of it is
exact but q, for which x is taken as normal: with a mean M and a standard deviation s of x/δ,

    E[u (1 − u)] = 1/6 − Σ_{j ≥ 1} exp(−2 π² j² s²) cos(2 π j M) / (π j)².

Nothing depends on the family of the multipliers: only their variance is in it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.problems import Quadratic
from dpe_jax.simulation import Simulation

_TERMS = 32
"""Of the series for q; what is left is below 0.001 even where x is known."""

_KNOWN = 1e-6
"""Standard deviations of x/δ below it are none."""

_ELEMENTS = 2**18
"""Of the covariances that are carried at a time."""


class Moments(NamedTuple):
    """Expected values at the iterations 0, 1, …, K, each [configuration, iteration]."""

    gap_mean_state: np.ndarray
    """E F(x̄) − F*."""
    gap_agents: np.ndarray
    """mean_i E F(x_i) − F*."""
    consensus_square: np.ndarray
    """1/n Σ_i E‖x_i − x̄‖²."""
    message_square: np.ndarray
    """max_i E‖ξ_i‖² with ξ_i = Σ_j w_ij (e_j − e_i) and e the error of rounding."""


class Setting(NamedTuple):
    """One configuration in numbers."""

    A: Float[Array, "*#many agents dim dim"]
    b: Float[Array, "*#many agents dim"]
    x0: Float[Array, "*#many agents dim"]
    optimum: Float[Array, "*#many dim"]
    weights: Float[Array, "*#many agents agents"]
    noise: Float[Array, "*#many"]
    variance: Float[Array, "*#many"]
    delta: Float[Array, "*#many"]
    gamma: Float[Array, "*#many iterations"]
    stepsize: Float[Array, "*#many iterations"]


def moments(
    simulations: Sequence[Simulation], method: str, iterations: int | None = None
) -> Moments:
    """The recursion for configurations of one number of agents and dimensions each.

    Raises ValueError for what it does not describe: other problems and methods, unequal means,
    rounding to the nearest point and random weight factors.
    """
    settings = [_setting(one, method, iterations or one.iterations) for one in simulations]
    together: dict[tuple[int, ...], list[int]] = {}
    for place, setting in enumerate(settings):
        together.setdefault(setting.b.shape, []).append(place)
    found: list[np.ndarray] = [np.empty(0)] * len(settings)
    for (agents, dim), places in together.items():
        most = max(1, _ELEMENTS // (agents * dim) ** 2)
        for first in range(0, len(places), most):
            part = places[first : first + most]
            own = [settings[p] for p in part]
            stacked = Setting(*(jnp.stack(column) for column in zip(*own, strict=True)))
            values = np.asarray(_many(stacked))
            for place, one in zip(part, values, strict=True):
                found[place] = one
    return Moments(*np.moveaxis(np.stack(found), 2, 0))


def _setting(simulation: Simulation, method: str, iterations: int) -> Setting:
    problem, algorithm = simulation.problem, simulation.algorithms[method]
    if not isinstance(problem, Quadratic) or not isinstance(algorithm, EncryptedDSGD):
        raise ValueError("only for EncryptedDSGD on quadratics")
    if algorithm.rounding != "stochastic" or algorithm.means is not None:
        raise ValueError("only for stochastic rounding and equal means")
    if algorithm.factors.largest_ratio != 1:
        raise ValueError("only for public weight factors")
    k = np.arange(iterations, dtype=np.int64)
    numbers = (
        problem.A,
        problem.b,
        simulation.start,
        problem.solve().x,
        simulation.network.weights,
        problem.noise,
        algorithm.multipliers.variance,
        algorithm.delta,
        algorithm.gamma.values(k),
        algorithm.stepsize.values(k),
    )
    return Setting(*(jnp.asarray(value, jnp.float64) for value in numbers))


@eqx.filter_jit
@jax.vmap
def _many(setting: Setting) -> Float[Array, "iterations 4"]:
    A, b = setting.A, setting.b
    agents, dim = b.shape
    size = agents * dim
    H = jnp.mean(A, axis=0)
    W = jnp.kron(setting.weights, jnp.eye(dim))
    blocks = jax.scipy.linalg.block_diag(*A)

    def by_agent(values: Float[Array, " size"]) -> Float[Array, "agents dim"]:
        return values.reshape(agents, dim)

    def observed(mean: Float[Array, " size"], P: Float[Array, "size size"]) -> Float[Array, " 4"]:
        offset = by_agent(mean) - setting.optimum
        second = P + jnp.outer(offset, offset)
        blockwise = second.reshape(agents, dim, agents, dim)
        average = jnp.mean(blockwise, axis=(0, 2))
        own = jnp.einsum("idie->de", blockwise) / agents
        q = _rounding(by_agent(mean), jnp.diagonal(P), setting.delta)
        message = jnp.sum(by_agent((W**2) @ q), axis=1)
        return jnp.stack(
            [
                jnp.sum(H * average) / 2,
                jnp.sum(H * own) / 2,
                jnp.trace(own) - jnp.trace(average),
                jnp.max(message),
            ]
        )

    def step(carry, row):
        mean, P = carry
        gamma, stepsize = row
        gradient = blocks @ (mean - b.reshape(size))
        spread = jnp.sum(_product(blocks, P) * blocks, axis=1)
        q = _rounding(by_agent(mean), jnp.diagonal(P), setting.delta)
        noise, rho = setting.noise**2, setting.variance
        added = (1 + rho) * noise + rho * (gradient**2 + spread)
        T = jnp.eye(size) + gamma * W - stepsize * blocks
        rounded = _product(gamma**2 * W * q, W.T)
        following = _product(_product(T, P), T.T) + rounded + jnp.diag(stepsize**2 * added)
        return (mean + gamma * W @ mean - stepsize * gradient, following), observed(mean, P)

    start = setting.x0.reshape(size), jnp.zeros((size, size))
    (mean, P), values = jax.lax.scan(step, start, (setting.gamma, setting.stepsize))
    return jnp.concatenate([values, observed(mean, P)[None]])


def _product(A: Float[Array, "rows inner"], B: Float[Array, "inner columns"]) -> jax.Array:
    """A B; small ones written out, which XLA does faster in batches than its own product."""
    if A.shape[1] > 16:
        return A @ B
    total = A[:, :1] * B[:1]
    for j in range(1, A.shape[1]):
        total = total + A[:, j : j + 1] * B[j : j + 1]
    return total


def _rounding(
    mean: Float[Array, "agents dim"], variance: Float[Array, " size"], delta: Float[Array, ""]
) -> Float[Array, " size"]:
    """δ² E[u (1 − u)], x normal."""
    # Cosines and powers by recurrence: this is most of what a step takes.
    first = jnp.cos(2 * jnp.pi * (mean.reshape(-1) / delta))
    base = jnp.exp(-2 * jnp.pi**2 * (variance / delta**2))
    before, cosine = jnp.ones_like(first), first
    damping, factor = base, base * base * base
    total = jnp.full_like(first, 1 / 6)
    for j in range(1, _TERMS + 1):
        total = total - damping * cosine / (jnp.pi * j) ** 2
        before, cosine = cosine, 2 * first * cosine - before
        damping, factor = damping * factor, factor * base * base
    part = mean.reshape(-1) / delta
    part = part - jnp.floor(part)
    # Of an x that is known the series would leave 0.3 % of δ².
    return delta**2 * jnp.where(variance < (_KNOWN * delta) ** 2, part * (1 - part), total)
