"""The proposed method: encrypted DSGD with heterogeneous random stepsizes."""

from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int8, Int64

from dpe_jax import lattice
from dpe_jax.algorithms.base import Algorithm, Disclosure, Step, Wire, check_start
from dpe_jax.conditions import Condition, convergence_conditions, error_exponent
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.factors import Factors, PublicFactors
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem
from dpe_jax.schedules import Schedule, as_schedule
from dpe_jax.stepsizes import Multipliers, Uniform

_NEAREST = np.uint32(2**31)

_DELTAS = 2.0**-64, 2.0**64
"""Between them 2³²/δ and δ² stay far inside float32."""


def _numbers(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


class LatticeState(eqx.Module):
    """State of a method on the lattice: P = 2Y + b, x = Y·δ/2³², level q = ⌊Y/2³²⌋ + b."""

    packed: Int64[Array, "agents dim lanes"]


class Coefficients(eqx.Module):
    """Tabulated coefficients: Γ^k = round(2³² γ^k / D), and λ̄^k·2³²/δ."""

    gain: Int64[Array, "*iterations"] | Int64[np.ndarray, "*iterations"]
    increment_scale: Float[Array, "*iterations"] | Float[np.ndarray, "*iterations"]


class EncryptedDSGD(Algorithm):
    r"""Zhou, Chen, Zhi, Gao 2026; the article names its parts, the form is reconstructed.

        x_i⁺ = x_i + γ^k Σ_j w_ij (Q(x_j) − Q(x_i)) − Λ_i^k g_i^k

    Q rounds to the grid δℤ, stochastically and without bias (or, as a negative control, to the
    nearest point); γ^k attenuates the exchange; Λ_i^k = diag(λ̄^k mean_i m) with private
    multipliers m, E m = 1, drawn afresh for each agent, iteration and coordinate.

    On the lattice x = Y·δ/2³², exactly:

        q = ⌊Y/2³²⌋ + b,  v_i = Σ_j c_ij a_{i→j} a_{j→i} (q_j − q_i),  Y ← Y + Γ^k v − U,
        U = round(2³²/δ · Λ g),  Γ^k = round(2³² γ^k / (D E[a]²)),  w_ij = c_ij / D.

    v is what Paillier computes; the weight factors a are one, or private random integers of which
    w_ij is the mean (`factors`). Only U involves floating point, so Y is the same integer on any
    device given U. `InputError` for parameters out of range, a γ^k Σ_j w_ij that int64 could not
    hold, and a start beyond 2²⁸ δ.
    """

    gamma: Schedule = eqx.field(converter=as_schedule)
    """Attenuation γ^k: a schedule, a number or a function of k."""

    stepsize: Schedule = eqx.field(converter=as_schedule)
    """Mean stepsize λ̄^k, likewise."""

    delta: float = 2.0**-7
    """Quantization step δ, in units of x."""

    multipliers: Multipliers = Uniform()
    """Distribution of m."""

    means: tuple[float, ...] | None = eqx.field(converter=_numbers, default=None)
    """Per-agent factor on λ̄^k; None is one for every agent."""

    rounding: Literal["stochastic", "nearest"] = "stochastic"

    factors: Factors = PublicFactors()
    """How the ends of a link share its weight: `PublicFactors`, `LinkFactors`,
    `CoordinateFactors`."""

    def __check_init__(self) -> None:
        if not isinstance(self.delta, float | int) or not _DELTAS[0] <= self.delta <= _DELTAS[1]:
            raise InputError("delta", self.delta, "a number from 2⁻⁶⁴ to 2⁶⁴")
        if not isinstance(self.multipliers, Multipliers):
            accepted = "Uniform, LogNormal, Gamma, TwoPoint, Normal or NoMultipliers"
            raise InputError("multipliers", self.multipliers, accepted)
        if self.rounding not in ("stochastic", "nearest"):
            raise InputError("rounding", self.rounding, "'stochastic' or 'nearest'")
        if not isinstance(self.factors, Factors):
            accepted = "PublicFactors, LinkFactors or CoordinateFactors"
            raise InputError("factors", self.factors, accepted)
        if self.means is not None and not all(np.isfinite(m) and m > 0 for m in self.means):
            raise InputError("means", self.means, "positive finite numbers, one for each agent")

    def table(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> Coefficients:
        """Γ^k and λ̄^k·2³²/δ; refuses a γ^k for which an exchange could overflow int64."""
        gamma = self.gamma.values(iterations)
        row_sum = float(np.max(-np.diag(network.weights))) * self.factors.largest_ratio
        lattice.check_headroom(float(np.max(gamma, initial=0.0)), row_sum)
        scale = self.stepsize.values(iterations) * (2.0**lattice.FRACTION_BITS / self.delta)
        return Coefficients(lattice.gain(gamma, self._denominator(network)), scale)

    def gain_rounding(self, network: Network, iterations: Int64[np.ndarray, " n"]) -> float:
        """The largest |Γ^k D/2³² − γ^k| / γ^k over the given iterations (where γ^k > 0)."""
        gamma = self.gamma.values(iterations)
        gamma = gamma[gamma > 0]
        denominator = self._denominator(network)
        used = lattice.gain(gamma, denominator) * (denominator / 2.0**lattice.FRACTION_BITS)
        return float(np.max(np.abs(used / gamma - 1), initial=0.0))

    def _denominator(self, network: Network) -> float:
        """D E[a]², the mean of what the products of weights and factors are measured in."""
        return network.denominator * self.factors.mean**2

    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """The sufficient conditions of almost sure convergence (reconstructed)."""
        equal = (1.0,) * network.agents
        means = np.asarray(equal if self.means is None else self.means, np.float64)
        return convergence_conditions(
            self.gamma, self.stepsize, self.multipliers, means, self.rounding
        )

    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse a start out of range, and multipliers or means that do not fit."""
        if np.ndim(self.multipliers.variance) > 0:
            accepted = "one distribution for all runs (numbers, no arrays)"
            raise InputError("multipliers", self.multipliers.describe(), accepted)
        if self.means is not None and len(self.means) != network.agents:
            raise InputError("means", self.means, f"{network.agents} numbers, one for each agent")
        lattice.check_plaintext(self.row_sum(network))
        if network.agents**2 * x0.shape[-1] > 2**32 and self.factors.high > 1:
            accepted = "PublicFactors: there are more than 2³² pairs of agents times coordinates"
            raise InputError("factors", self.factors.describe(), accepted)
        check_start(x0, self.reach(), "2²⁸ δ")

    def reach(self) -> float:
        """2²⁸ δ: |Y| of at most 2⁶⁰."""
        return lattice.STATE_LIMIT * self.delta / 2.0**lattice.FRACTION_BITS

    def init(
        self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws
    ) -> LatticeState:
        """Y_0 = round(x_0·2³²/δ), rounded to its first level with the word of time 0."""
        on_lanes = jnp.broadcast_to(x0[..., None], (*x0.shape, draws.run.shape[0]))
        Y = lattice.from_float(on_lanes, self.delta)
        return LatticeState(lattice.pack(Y, lattice.rounding_bit(Y, self._rounding_word(draws))))

    def step(
        self,
        state: LatticeState,
        problem: Problem,
        exchange: Exchange,
        draws: Draws,
        row: Coefficients,
    ) -> tuple[LatticeState, Step]:
        """One exchange and one private increment."""
        Y, q = lattice.unpack(state.packed)
        x = lattice.to_float(Y, self.delta, problem.dtype)
        g = problem.gradient(x, draws)
        U_float = self._increment(g, draws, row)
        U = jnp.rint(U_float).astype(jnp.int64)
        products = self.factors.products(draws, exchange.links)
        v = exchange.levels(q, products)
        mixing = jnp.asarray(row.gain) * v
        following = Y + mixing - U
        word = self._rounding_word(draws)
        packed = lattice.advance(state.packed, following, word, U_float)
        error = lattice.quantization_error(Y, q, self.delta)
        xi = exchange.values(error, products, self.factors.mean)
        seen = Step(self.position(state), q, xi, v, mixing, U, g.astype(jnp.float64))
        return LatticeState(packed), seen

    def position(self, state: LatticeState) -> Float[Array, "agents dim lanes"]:
        """x = Y·δ/2³²."""
        return lattice.to_float(lattice.unpack(state.packed)[0], self.delta, jnp.dtype("float64"))

    def row_sum(self, network: Network) -> int:
        """The largest Σ_j c_ij a_{i→j} a_{j→i} of an agent."""
        return int(network.coupling.sum(axis=1).max()) * self.factors.high**2

    def integer_state(self, state: LatticeState) -> Int64[Array, "agents dim lanes"]:
        """Y."""
        return lattice.unpack(state.packed)[0]

    def status(self, state: LatticeState) -> Int8[Array, " lanes"]:
        """Read off the words that failed elements keep."""
        return lattice.lane_status(state.packed)

    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: Coefficients,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """The levels, and means of the private stepsizes: for whoever decrypts messages."""
        x = step.message.astype(jnp.float64) * self.delta
        unit = self.delta / 2.0**lattice.FRACTION_BITS
        # Γ^k is of integer weights c_ij a a; those of a disclosure are c_ij a a / (D E[a]²).
        weights = self.factors.mean**2 / exchange.unit
        gain = jnp.asarray(row.gain).astype(jnp.float64) * weights * 2.0**-lattice.FRACTION_BITS
        return Disclosure(x, x, jnp.zeros_like(x), gain, jnp.asarray(row.increment_scale) * unit)

    def wire(self) -> Wire:
        """Ciphertexts: an eavesdropper reads nothing of them."""
        private = ("Λ_i^k",) if self.factors.high == 1 else ("Λ_i^k", "a_{i→j}^k")
        return Wire(
            "E(q_i^k), q = Q(x)/δ", False, ("γ^k", "λ̄^k", "δ", "distribution of m"), private
        )

    def budget(self, network: Network, dim: int, iterations: int) -> None:
        """None is promised."""
        return None

    def predicted_exponent(self) -> float | None:
        """The slowest of three parts of the agents' error with unlike costs (derived)."""
        return error_exponent(self.gamma, self.stepsize)

    def describe(self) -> dict[str, Any]:
        """Hyper-parameters in words and numbers."""
        return {
            "method": "EncryptedDSGD",
            "gamma": self.gamma.describe(),
            "stepsize": self.stepsize.describe(),
            "delta": self.delta,
            "multipliers": self.multipliers.describe(),
            "multiplier_variance": float(self.multipliers.variance),
            "means": self.means,
            "rounding": self.rounding,
            "factors": self.factors.describe(),
        }

    def _rounding_word(self, draws: Draws):
        return draws.rounding_word() if self.rounding == "stochastic" else _NEAREST

    def _increment(
        self, g: Float[Array, "agents dim lanes"], draws: Draws, row: Coefficients
    ) -> Float[Array, "agents dim lanes"]:
        """2³²/δ · Λ g before it is rounded to an integer."""
        m = self.multipliers(draws.stepsize_word(), g.dtype)
        scale = jnp.asarray(row.increment_scale).astype(g.dtype)
        if self.means is not None:
            means = jnp.stack([jnp.asarray(mean, g.dtype) for mean in self.means])
            scale = scale * means.reshape(len(self.means), 1, -1)
        return scale * m * g
