"""Estimation of a parameter that sensors measure linearly, each with its own matrix."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.problems.arrays import cast, host_array
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.held_out import HeldOut

_LARGEST = 1e30
"""Numbers beyond it could overflow in products on the way to the optimum."""

_MOST_DISTURBANCE = 1e29
"""So that random measurements stay below that."""

_REACH = 1e-6, 1e6
"""The least and the largest reach, whose squares are divided by."""


class SensorEstimation(Problem):
    """f_i(θ) = E‖z_i − M_i θ‖² + ω_i ‖θ‖², z_i = z̄_i + s ε, ε standard normal.

    g_i = 2 M_iᵀ(M_i θ − z_i) + 2 ω_i θ, with a fresh measurement z_i at every iteration, so that
    the gradient noise of agent i has covariance 4 s² M_iᵀ M_i. Σ_i (M_iᵀ M_i + ω_i I) is positive
    definite. `noise` is s, in units of z, θ [dim] in units of the sources' strengths. `InputError`
    for other shapes, and sums that are not definite.
    """

    M: Float[np.ndarray, "agents rows dim"] | Float[Array, "agents rows dim"] = eqx.field(
        converter=host_array
    )
    z: Float[np.ndarray, "agents rows"] | Float[Array, "agents rows"] = eqx.field(
        converter=host_array
    )
    omega: Float[np.ndarray, " agents"] | Float[Array, " agents"] = eqx.field(converter=host_array)
    noise: float = 0.0
    details: dict[str, np.ndarray | Array] = eqx.field(kw_only=True, default_factory=dict)
    """What the sensors were made from, for the manifest; arrays, so that they do not decide what is
    compiled."""
    dtype: jnp.dtype = eqx.field(static=True, kw_only=True, default=jnp.dtype("float64"))

    def __check_init__(self) -> None:
        M, z, omega = np.asarray(self.M), np.asarray(self.z), np.asarray(self.omega)
        if self.dtype != np.float64:
            return  # a copy of what was checked
        if M.ndim != 3 or 0 in M.shape or not np.all(np.abs(M) <= _LARGEST):
            accepted = f"finite matrices [agents, rows, dim] of entries up to {_LARGEST:g}"
            raise InputError("M", M, accepted)
        if z.shape != M.shape[:2] or not np.all(np.abs(z) <= _LARGEST):
            accepted = f"finite mean measurements {list(M.shape[:2])} up to {_LARGEST:g}"
            raise InputError("z", z, accepted)
        if omega.shape != M.shape[:1] or not np.all((omega >= 0) & (omega <= _LARGEST)):
            accepted = f"{M.shape[0]} numbers from 0 to {_LARGEST:g}"
            raise InputError("omega", omega, accepted)
        if not 0 <= self.noise <= _LARGEST:
            raise InputError("noise", self.noise, f"a number from 0 to {_LARGEST:g}")
        eigenvalues = np.linalg.eigvalsh(self._mean_curvature())
        if not eigenvalues[0] > 1e-12 * eigenvalues[-1]:
            alike = np.all(omega == omega[0])
            accepted = (
                "a larger number: these sensors alone do not identify θ, Σ(MᵀM + ωI) must be "
                "positive definite"
            )
            raise InputError("omega", float(omega[0]) if alike else omega.tolist(), accepted)

    @classmethod
    def random(
        cls,
        agents: int,
        dim: int,
        rows: int,
        *,
        seed: int,
        noise: float = 0.1,
        omega: float = 0.01,
        disturbance: float = 0.1,
    ) -> "SensorEstimation":
        """Random sensors: M_i of entries N(0, 1/rows), z̄_i = M_i θ° + disturbance · N(0, I).

        θ° ~ N(0, I) is one parameter for all. `disturbance` is a fixed bias of each sensor, in
        units of z: the heterogeneity of the agents. All have the same ω_i = `omega`.
        """
        for name, value in (("agents", agents), ("dim", dim), ("rows", rows)):
            if value < 1:
                raise InputError(name, value, "a positive integer")
        _check_uniform(omega, disturbance)
        rng = np.random.default_rng(seed)
        M = rng.normal(size=(agents, rows, dim)) / np.sqrt(rows)
        z = M @ rng.normal(size=dim) + disturbance * rng.normal(size=(agents, rows))
        made = {"seed": np.asarray(seed), "disturbance": np.asarray(disturbance, np.float64)}
        return cls(M, z, np.full(agents, omega, np.float64), noise, details=made)

    @classmethod
    def of_sources(
        cls,
        positions: Float[np.ndarray, "agents 2"],
        *,
        side: int = 3,
        reach: float = 0.2,
        seed: int = 0,
        noise: float = 0.1,
        omega: float = 0.01,
        disturbance: float = 0.1,
    ) -> "SensorEstimation":
        """Sensors in the unit square that find the strengths of sources at known places.

        side × side sources at c_b, the centers of a grid, of strengths θ° ~ N(0, I): d = side².
        Sensor i at p_i measures one number, z̄_i = Σ_b θ°_b exp(−‖p_i − c_b‖²/(2 reach²)) +
        disturbance · N(0, 1): strong where a source is within `reach`, in units of the square's
        side, and next to nothing of those far off, so that no sensor can find θ alone. All have
        the same ω_i = `omega`.

        Raises InputError for a position outside of the square, for numbers out of range, and for an
        `omega` of 0 where the sensors alone do not identify θ, as fewer than side² never do.
        """
        if side < 1:
            raise InputError("side", side, "a positive integer")
        if not _REACH[0] <= reach <= _REACH[1]:
            raise InputError("reach", reach, f"a number from {_REACH[0]:g} to {_REACH[1]:g}")
        _check_uniform(omega, disturbance)
        for agent, place in enumerate(positions):
            if not np.all((place >= 0) & (place <= 1)):
                accepted = "coordinates from 0 to 1, the square that the sources are in"
                raise InputError(f"positions[{agent}]", place.tolist(), accepted)
        agents = len(positions)
        rng = np.random.default_rng(seed)
        middle = (np.arange(side) + 0.5) / side
        sources = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
        squares = np.sum((positions[:, None] - sources) ** 2, axis=-1)
        M = np.exp(-squares / (2 * reach**2))[:, None]
        z = M @ rng.normal(size=side**2) + disturbance * rng.normal(size=(agents, 1))
        made = {
            "seed": np.asarray(seed),
            "disturbance": np.asarray(disturbance, np.float64),
            "side": np.asarray(side),
            "reach": np.asarray(reach, np.float64),
            "positions": np.asarray(positions, np.float64),
            "sources": sources,
        }
        return cls(M, z, np.full(agents, omega, np.float64), noise, details=made)

    @property
    def agents(self) -> int:
        """Number of agents."""
        return self.M.shape[0]

    @property
    def rows(self) -> int:
        """Measurements of one agent at one iteration."""
        return self.M.shape[1]

    @property
    def dim(self) -> int:
        """Dimension of θ."""
        return self.M.shape[2]

    @property
    def start(self) -> Float[np.ndarray, " dim"]:
        """x_0 = 0."""
        return np.zeros(self.dim)

    @property
    def has_optimum(self) -> bool:
        """In closed form."""
        return True

    @property
    def held_out(self) -> HeldOut | None:
        """There is none."""
        return None

    def gradient(
        self, x: Float[Array, "agents dim lanes"], draws: Draws
    ) -> Float[Array, "agents dim lanes"]:
        """2 M_iᵀ(M_i θ − z̄_i − s ε) + 2 ω_i θ."""
        M = jnp.asarray(self.M)
        noise = jnp.asarray(self.noise, self.dtype) * draws.measurement_noise(self.rows, self.dtype)
        residual = lanes.product(M, x) - jnp.asarray(self.z)[..., None] - noise
        # A `dot_general` here: written out, XLA would generate the noise anew for every coordinate.
        pull = jnp.einsum("ird,irl->idl", M, residual)
        return 2 * (pull + jnp.asarray(self.omega)[:, None, None] * x)

    def objective(self, x: Float[Array, "*points dim lanes"]) -> Float[Array, "*points lanes"]:
        """(1/n) Σ_i (‖z̄_i − M_i θ‖² + rows s² + ω_i ‖θ‖²)."""
        residual = self._measure(x) - jnp.asarray(self.z)[..., None]
        fit = lanes.mean(lanes.total(residual**2, -2), -2)
        return fit + self.rows * self.noise**2 + self._ridge(x)

    def excess(
        self, x: Float[Array, "*points dim lanes"], optimum: Optimum
    ) -> Float[Array, "*points lanes"]:
        """(θ − θ*)ᵀ H̄ (θ − θ*), H̄ the mean of M_iᵀM_i + ω_i I: exact, without cancellation."""
        offset = x - jnp.asarray(optimum.x)[:, None]
        return lanes.mean(lanes.total(self._measure(offset) ** 2, -2), -2) + self._ridge(offset)

    def _measure(
        self, x: Float[Array, "*points dim lanes"]
    ) -> Float[Array, "*points agents rows lanes"]:
        """M_i θ of every agent at every point."""
        points, size = x.shape[:-2], x.shape[-2:]
        everywhere = jnp.broadcast_to(x[..., None, :, :], (*points, self.agents, *size))
        return lanes.product(jnp.asarray(self.M), everywhere)

    def _ridge(self, x: Float[Array, "*points dim lanes"]) -> Float[Array, "*points lanes"]:
        """‖θ‖² times the mean ω_i."""
        return jnp.mean(jnp.asarray(self.omega)) * lanes.total(x**2, -2)

    def solve(self) -> Optimum:
        """θ* = (Σ M_iᵀM_i + ω_i I)⁻¹ Σ M_iᵀ z̄_i."""
        M, z = np.asarray(self.M, np.float64), np.asarray(self.z, np.float64)
        omega = np.asarray(self.omega, np.float64)
        x = np.linalg.solve(self._mean_curvature(), np.einsum("ird,ir->d", M, z) / self.agents)
        residual = M @ x - z
        gradient = 2 * (np.einsum("ird,ir->d", M, residual) / self.agents + omega.mean() * x)
        fit = np.sum(residual**2) / self.agents + self.rows * self.noise**2
        value = float(fit + omega.mean() * np.sum(x**2))
        return Optimum(x, value, float(np.linalg.norm(gradient)), "closed form")

    def describe(self) -> dict[str, Any]:
        """Sizes, noise, regularisation, and what the sensors were made from."""
        return {
            "problem": "SensorEstimation",
            "agents": self.agents,
            "dim": self.dim,
            "rows": self.rows,
            "noise": float(self.noise),
            "omega": np.asarray(self.omega).tolist(),
            **{key: np.asarray(value).tolist() for key, value in self.details.items()},
        }

    def without_noise(self) -> "SensorEstimation":
        """The same sensors with noise 0: F falls by the noise of the measurements."""
        return eqx.tree_at(lambda problem: problem.noise, self, 0.0)

    def with_dtype(self, dtype: jnp.dtype) -> "SensorEstimation":
        """The same costs in another precision."""
        M, z, omega = cast((self.M, self.z, self.omega), dtype)
        details: dict[str, np.ndarray | Array] = {
            key: np.asarray(value) for key, value in self.details.items()
        }
        return type(self)(M, z, omega, self.noise, details=details, dtype=jnp.dtype(dtype))

    def _mean_curvature(self) -> Float[np.ndarray, "dim dim"]:
        """H̄ = (1/n) Σ_i (M_iᵀM_i + ω_i I), on the host."""
        M, omega = np.asarray(self.M, np.float64), np.asarray(self.omega, np.float64)
        return np.einsum("ird,ire->de", M, M) / self.agents + omega.mean() * np.eye(self.dim)


def _check_uniform(omega: float, disturbance: float) -> None:
    """Refuse what all sensors have in common, as the one number that it was given as."""
    if not 0 <= omega <= _LARGEST:
        raise InputError("omega", omega, f"a number from 0 to {_LARGEST:g}")
    if not 0 <= disturbance <= _MOST_DISTURBANCE:
        raise InputError("disturbance", disturbance, f"a number from 0 to {_MOST_DISTURBANCE:g}")
