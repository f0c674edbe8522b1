"""Private random multipliers m of the stepsizes Λ_i^k = diag(λ̄^k m_i), with E m = 1.

One uint32 word gives one multiplier, elementwise and without rejection, so the generator's counter
alone decides it. Agents whose mean stepsizes differ are a matter of the algorithm, not of m.
Parameters are numbers, or arrays over the lanes (the last axis of the words).
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Float64, UInt32

from dpe_jax.errors import InputError
from dpe_jax.philox import normal, uniform

Parameter = float | Float[Array, "*lanes"] | Float[np.ndarray, "*lanes"]
Moment = float | Float64[np.ndarray, "*lanes"]

# `normal` stays within ±5.42.
_NORMAL_RANGE = 5.45
_GAMMA_DEGREE = 20
_GAMMA_SHAPES = (0.5, 1e4)
_LOGNORMAL_SIGMA = 1.25


def _parameter(value: object) -> Parameter:
    """A Python float for a number; an array stays one, in a floating dtype."""
    if isinstance(value, jax.Array):
        return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float64)
    array = np.asarray(value, np.float64)
    return float(array) if array.ndim == 0 else array


def _require(name: str, value: Parameter, accepted: str, low: float, high: float) -> None:
    """Raise `InputError` unless all values lie in [low, high]; traced values are not looked at."""
    if isinstance(value, Tracer):
        return
    array = np.asarray(value)
    if not np.all(np.isfinite(array) & (array >= low) & (array <= high)):
        raise InputError(name, value, accepted)


def _moment(value: object) -> Moment:
    """A float, or a float64 array over the lanes."""
    array = np.asarray(value, np.float64)
    return float(array) if array.ndim == 0 else array


def _show(value: Parameter) -> str:
    """The parameter, in as few digits as it has; an array by its range."""
    array = np.asarray(value)
    low, high = float(array.min()), float(array.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _bounds(low: Parameter, high: Parameter) -> tuple[float, float]:
    """What holds in all lanes."""
    return float(np.min(low)), float(np.max(high))


class Multipliers(eqx.Module):
    """A distribution of multipliers m with E m = 1, pure numbers: Λ_i^k = diag(λ̄^k m_i).

    One word gives one multiplier, [agents, dim, lanes]; parameters are numbers, or arrays [lanes].
    That stepsizes are private, random and have a mean and a variance is claimed (Zhou et al. 2026);
    the families are ours. `InputError` for parameters out of range.
    """

    @abc.abstractmethod
    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """One multiplier for each word."""

    @property
    @abc.abstractmethod
    def variance(self) -> Moment:
        """The variance ρ² of the distribution."""

    @property
    @abc.abstractmethod
    def support(self) -> tuple[float, float]:
        """The least and the largest multiplier; infinite where the law has no bound."""

    @property
    @abc.abstractmethod
    def may_be_negative(self) -> bool:
        """Whether a multiplier can be below zero, which hides the gradient's sign."""

    @abc.abstractmethod
    def describe(self) -> str:
        """A short text, such as "uniform on [0, 2]"."""


class Uniform(Multipliers):
    """The uniform distribution on [1 − h, 1 + h], m = (1 − h) + 2hu; variance h²/3.

    `half_width` h >= 0 is finite (`InputError` otherwise); above 1, multipliers may be negative.
    """

    half_width: Parameter = eqx.field(converter=_parameter, default=1.0)

    def __check_init__(self) -> None:
        _require("half_width", self.half_width, "finite and at least 0", 0.0, np.inf)

    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """One multiplier for each word; with h <= 1 above zero."""
        h = jnp.asarray(self.half_width, dtype)
        return (1 - h) + 2 * h * uniform(word, dtype)

    @property
    def variance(self) -> Moment:
        """h²/3."""
        return _moment(np.square(self.half_width) / 3)

    @property
    def support(self) -> tuple[float, float]:
        """1 − h and 1 + h."""
        return _bounds(1 - self.half_width, 1 + self.half_width)

    @property
    def may_be_negative(self) -> bool:
        """True with h > 1."""
        return bool(np.any(np.asarray(self.half_width) > 1))

    def describe(self) -> str:
        """A short text, such as "uniform, 1 ± 1"."""
        return f"uniform, 1 ± {_show(self.half_width)}"


class LogNormal(Multipliers):
    """The lognormal distribution, m = exp(σz − σ²/2); variance exp(σ²) − 1.

    `sigma` is in [0, 1.25] (`InputError` otherwise). A normal from one word ends at ±5.42, so the
    tail is cut: at σ = 1.25 the mean falls short by 3e-6 and the variance by 0.08 per cent, at
    σ = 2 they would by 9e-5 and 5 per cent.
    """

    sigma: Parameter = eqx.field(converter=_parameter)

    def __check_init__(self) -> None:
        _require("sigma", self.sigma, "within [0, 1.25]", 0.0, _LOGNORMAL_SIGMA)

    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """One multiplier for each word."""
        sigma = jnp.asarray(self.sigma, dtype)
        return jnp.exp(sigma * (normal(word, dtype) - sigma / 2))

    @property
    def variance(self) -> Moment:
        """exp(σ²) − 1."""
        return _moment(np.expm1(np.square(self.sigma)))

    @property
    def support(self) -> tuple[float, float]:
        """All positive numbers."""
        return 0.0, np.inf

    @property
    def may_be_negative(self) -> bool:
        """False."""
        return False

    def describe(self) -> str:
        """A short text, such as "lognormal, sigma 0.5"."""
        return f"lognormal, sigma {_show(self.sigma)}"


class Gamma(Multipliers):
    """The gamma distribution with mean one; variance 1/shape.

    `shape` is in [0.5, 10⁴] (`InputError` otherwise). With z a standard normal, m = exp(p(z)),
    where the polynomial p of degree 20, fitted on the host, approximates log G⁻¹(Φ(z)), G the
    distribution function: no rejection and no iteration. The quantile's error is below 1e-5 of
    max(1, quantile) in float64 and in float32.
    """

    shape: Parameter = eqx.field(converter=_parameter)
    coefficients: Float[np.ndarray, "order *lanes"]

    def __init__(self, shape: object) -> None:
        self.shape = _parameter(shape)
        if isinstance(self.shape, Tracer):
            raise InputError("shape", shape, "concrete numbers: the fit is made on the host")
        _require("shape", self.shape, "within [0.5, 10000]", *_GAMMA_SHAPES)
        shapes = np.asarray(self.shape, np.float64)
        # Many lanes share few shapes: one fit each.
        distinct, where = np.unique(shapes, return_inverse=True)
        fits = np.stack([_fit_log_quantile(float(value)) for value in distinct], axis=-1)
        self.coefficients = fits[:, where.reshape(shapes.shape)]

    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """One multiplier for each word."""
        x = normal(word, dtype) / np.asarray(_NORMAL_RANGE, dtype)
        coefficients = jnp.asarray(self.coefficients, dtype)
        # Clenshaw's recurrence: the polynomial is in the Chebyshev basis, because powers of x would
        # cancel in float32.
        twice = 2 * x
        last, before = jnp.zeros_like(x), jnp.zeros_like(x)
        for order in range(coefficients.shape[0] - 1, 0, -1):
            last, before = coefficients[order] + twice * last - before, last
        return jnp.exp(coefficients[0] + x * last - before)

    @property
    def variance(self) -> Moment:
        """1/shape."""
        return _moment(1 / np.asarray(self.shape, np.float64))

    @property
    def support(self) -> tuple[float, float]:
        """All positive numbers."""
        return 0.0, np.inf

    @property
    def may_be_negative(self) -> bool:
        """False."""
        return False

    def describe(self) -> str:
        """A short text, such as "gamma, shape 3"."""
        return f"gamma, shape {_show(self.shape)}"


class TwoPoint(Multipliers):
    """Two values, P(m = high) = (1 − low)/(high − low); variance (1 − low)(high − 1).

    Needs low < 1 < high, finite; `InputError` otherwise. The probability is a multiple of 2⁻³².
    """

    low: Parameter = eqx.field(converter=_parameter)
    high: Parameter = eqx.field(converter=_parameter)

    def __check_init__(self) -> None:
        below_one, above_one = np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)
        _require("low", self.low, "finite and below 1", -np.inf, float(below_one))
        _require("high", self.high, "finite and above 1", float(above_one), np.inf)

    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """One multiplier for each word: high below an integer threshold, else low."""
        low, high = jnp.asarray(self.low, jnp.float64), jnp.asarray(self.high, jnp.float64)
        threshold = jnp.round((1 - low) / (high - low) * 2.0**32)
        # A probability that rounds to one keeps its last word for `low`.
        threshold = jnp.minimum(threshold, 2.0**32 - 1).astype(jnp.uint32)
        return jnp.where(word < threshold, high.astype(dtype), low.astype(dtype))

    @property
    def variance(self) -> Moment:
        """(1 − low)(high − 1)."""
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        return _moment((1 - low) * (high - 1))

    @property
    def support(self) -> tuple[float, float]:
        """The two values."""
        return _bounds(self.low, self.high)

    @property
    def may_be_negative(self) -> bool:
        """True with low < 0."""
        return bool(np.any(np.asarray(self.low) < 0))

    def describe(self) -> str:
        """A short text, such as "two-point, 0.5 or 3"."""
        return f"two-point, {_show(self.low)} or {_show(self.high)}"


class Normal(Multipliers):
    """The normal distribution, m = 1 + σz; variance σ². Multipliers may be negative.

    `sigma` >= 0 is finite (`InputError` otherwise).
    """

    sigma: Parameter = eqx.field(converter=_parameter)

    def __check_init__(self) -> None:
        _require("sigma", self.sigma, "finite and at least 0", 0.0, np.inf)

    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """One multiplier for each word."""
        return 1 + jnp.asarray(self.sigma, dtype) * normal(word, dtype)

    @property
    def variance(self) -> Moment:
        """σ²."""
        return _moment(np.square(self.sigma))

    @property
    def support(self) -> tuple[float, float]:
        """All numbers."""
        return -np.inf, np.inf

    @property
    def may_be_negative(self) -> bool:
        """True with σ > 0."""
        return bool(np.any(np.asarray(self.sigma) > 0))

    def describe(self) -> str:
        """A short text, such as "normal, sigma 0.5"."""
        return f"normal, sigma {_show(self.sigma)}"


class NoMultipliers(Multipliers):
    """The constant m = 1: a stepsize without randomness; variance 0."""

    def __call__(self, word: UInt32[Array, "*shape"], dtype: jnp.dtype) -> Float[Array, "*shape"]:
        """A one for each word."""
        return jnp.ones(word.shape, dtype)

    @property
    def variance(self) -> Moment:
        """Zero."""
        return 0.0

    @property
    def support(self) -> tuple[float, float]:
        """One."""
        return 1.0, 1.0

    @property
    def may_be_negative(self) -> bool:
        """False."""
        return False

    def describe(self) -> str:
        """The text "none"."""
        return "none"


def _fit_log_quantile(shape: float) -> Float64[np.ndarray, "order"]:
    """Chebyshev coefficients of log G⁻¹(Φ(z)) in z / 5.45, G the gamma distribution of mean one."""
    from scipy.special import gammainccinv, gammaincinv, ndtr

    nodes = 8 * (_GAMMA_DEGREE + 1)
    x = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    z = _NORMAL_RANGE * x
    # Each tail from its own side: 1 − Φ(z) would lose the digits of the upper one.
    quantile = np.where(
        z < 0,
        gammaincinv(shape, ndtr(np.minimum(z, 0.0))),
        gammainccinv(shape, ndtr(-np.maximum(z, 0.0))),
    )
    quantile = quantile / shape
    # The error that counts is that of the multiplier, not that of its logarithm.
    weights = np.minimum(quantile, 1.0) + 0.01
    return np.polynomial.chebyshev.chebfit(x, np.log(quantile), _GAMMA_DEGREE, w=weights)
