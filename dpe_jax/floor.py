"""What noise for differential privacy leaves of F(x̄) − F*, and no amount of data takes away."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dpe_jax.algorithms import GeometricDP, TailoredDP
from dpe_jax.algorithms.base import Algorithm
from dpe_jax.errors import InputError
from dpe_jax.network import Network
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.reference import hessian


@dataclasses.dataclass(frozen=True)
class Floor:
    r"""E F(x̄^K) − F* of a differentially private method with exact gradients, near x*.

    With F quadratic of Hessian H, the mean of all agents has

        e^{k+1} = (I − λ^k H)(e^k + ω^k)   in GeometricDP, whose gradient is that of noisy states,
        e^{k+1} = (I − λ^k H) e^k + ω^k    in TailoredDP,   E F(x̄) − F* = ½ E[eᵀ H e]   (derived),

    where ω is the mean of what Laplace noise adds: a variance of 2 (M p^k)²/n a coordinate in the
    one, 2 (γ^k ν^k)² Σ_j (Σ_i w_ij)²/n² in the other. Noise of gradients, the error of consensus,
    clipping and projection are left out.
    """

    noise: float
    """The part of the Laplace noise."""
    start: float
    """The part of x_0: how far stepsizes that sum to little can get."""

    @property
    def total(self) -> float:
        """Both together."""
        return self.noise + self.start


def floor(
    algorithm: Algorithm,
    problem: Problem,
    optimum: Optimum,
    network: Network,
    x0: Float[np.ndarray, "agents dim"],
    iterations: int,
) -> Floor:
    """The recursion in the eigenvectors of H = ∇²F(x*), in float64.

    InputError for a method that is not differentially private, and a problem without an optimum.
    """
    if not problem.has_optimum:
        raise InputError("problem", problem.describe()["problem"], "one with an optimum x*")
    k = np.arange(iterations, dtype=np.int64)
    agents = network.agents
    if isinstance(algorithm, GeometricDP):
        row = algorithm.table(network, k)
        before, after = 2 * np.asarray(row.noise) ** 2 / agents, np.zeros(iterations)
    elif isinstance(algorithm, TailoredDP):
        row = algorithm.table(network, k)
        row_sums = -np.diag(network.weights)
        scale = np.asarray(row.gamma) * np.asarray(row.noise)
        after = 2 * scale**2 * float(row_sums @ row_sums) / agents**2
        before = np.zeros(iterations)
    else:
        name = algorithm.describe()["method"]
        raise InputError("algorithm", name, "GeometricDP or TailoredDP")
    exact = problem.with_dtype(jnp.dtype("float64"))
    curvature, directions = np.linalg.eigh(hessian(exact, jnp.asarray(optimum.x, jnp.float64)))
    offset = directions.T @ (x0.mean(axis=0) - np.asarray(optimum.x))
    spread = np.zeros_like(curvature)
    for stepsize, first, last in zip(np.asarray(row.stepsize), before, after, strict=True):
        kept = 1 - stepsize * curvature
        offset, spread = kept * offset, kept**2 * (spread + first) + last
    return Floor(float(curvature @ spread) / 2, float(curvature @ offset**2) / 2)
