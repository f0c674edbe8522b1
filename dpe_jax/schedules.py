"""Schedules: the attenuation γ^k and the mean stepsize λ̄^k as functions of the iteration k.

Values are tabulated on the host in float64: `pow` differs in the last bit between devices, so a
table made on an accelerator would tie the result to it.
"""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

import dpe_jax.lattice  # noqa: F401  (turns on 64-bit types)
from dpe_jax.errors import InputError

# Vectorised code may round the last elements of an array differently from the others, so every
# iteration is evaluated at a fixed place of a block of fixed length, however the run is cut up.
_BLOCK = 1024
# Where the tail of a schedule without a formula is looked at, and how many iterations at each
# place: the largest of them is taken, so that a zero of an oscillation is not read as the end.
_TAIL_STARTS = (10**6, 10**9, 10**12)
_TAIL_WIDTH = 64


class Schedule(eqx.Module):
    """A non-negative sequence λ^0, λ^1, …, one number an iteration, ~ k^−a where it has a tail.

    A stepsize is in x² per cost, so that λ g is in units of x; an attenuation is a pure number.
    Where a number, or a function of k, is given in place of a schedule, it becomes one;
    `InputError` for anything else. That such sequences suffice is reconstructed, see
    `conditions.convergence_conditions`.
    """

    @abc.abstractmethod
    def values(self, k: Int64[np.ndarray, "iterations"]) -> Float64[np.ndarray, "iterations"]:
        """The values at the iterations k >= 0, computed on the host in float64."""

    @abc.abstractmethod
    def decay_exponent(self) -> float:
        """The a of the tail ~ k^−a: 0 for a constant, inf for a faster decay than any power.

        It is nan where the tail cannot be evaluated.
        """

    @property
    @abc.abstractmethod
    def exact(self) -> bool:
        """Whether the exponent follows from a formula, not from an estimate."""

    @abc.abstractmethod
    def describe(self) -> str:
        """A short text, such as "0.5 (k+1)^-0.9"."""


class PowerLaw(Schedule):
    """The power law scale · (k + offset)^−exponent, for k = 0, 1, ….

    Needs scale > 0, offset > 0 and exponent >= 0, all finite; `InputError` otherwise.
    """

    scale: float = eqx.field(converter=float)
    exponent: float = eqx.field(converter=float)
    offset: float = eqx.field(converter=float, default=1.0)

    def __check_init__(self) -> None:
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(name, value, "a finite number above 0")
        if not (math.isfinite(self.exponent) and self.exponent >= 0):
            raise InputError("exponent", self.exponent, "a finite number of at least 0")
        # In logarithms, because a float power that overflows raises.
        if math.log(self.scale) - self.exponent * math.log(self.offset) > 700.0:
            raise InputError("offset", self.offset, "one that leaves the value at k = 0 finite")

    def values(self, k: Int64[np.ndarray, "iterations"]) -> Float64[np.ndarray, "iterations"]:
        """The values at the iterations k >= 0, computed on the host in float64."""
        return _by_blocks(self._block, k)

    def _block(self, k: Float64[np.ndarray, "block"]) -> Float64[np.ndarray, "block"]:
        return self.scale * np.power(k + self.offset, -self.exponent)

    def decay_exponent(self) -> float:
        """The exponent itself."""
        return self.exponent

    @property
    def exact(self) -> bool:
        """True: the exponent is a parameter."""
        return True

    def describe(self) -> str:
        """A short text, such as "0.5 (k+1)^-0.9"; a constant is its number alone."""
        if self.exponent == 0:
            return f"{self.scale:g}"
        return f"{self.scale:g} (k+{self.offset:g})^-{self.exponent:g}"


class PowerGrowth(Schedule):
    """scale · (k + offset)^exponent, which grows: the scale of noise that must outlast a decay.

    Needs scale > 0, offset > 0 and an exponent from 0 to 16, finite; `InputError` otherwise.
    """

    scale: float = eqx.field(converter=float)
    exponent: float = eqx.field(converter=float)
    offset: float = eqx.field(converter=float, default=1.0)

    def __check_init__(self) -> None:
        for name, value in (("scale", self.scale), ("offset", self.offset)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(name, value, "a finite number above 0")
        if not 0 <= self.exponent <= 16:
            raise InputError("exponent", self.exponent, "a number from 0 to 16")

    def values(self, k: Int64[np.ndarray, "iterations"]) -> Float64[np.ndarray, "iterations"]:
        """The values at the iterations k >= 0, computed on the host in float64."""
        return _by_blocks(self._block, k)

    def _block(self, k: Float64[np.ndarray, "block"]) -> Float64[np.ndarray, "block"]:
        return self.scale * np.power(k + self.offset, self.exponent)

    def decay_exponent(self) -> float:
        """Minus the exponent."""
        return 0.0 - self.exponent

    @property
    def exact(self) -> bool:
        """True: the exponent is a parameter."""
        return True

    def describe(self) -> str:
        """A short text, such as "0.1 (k+1)^0.2"."""
        return f"{self.scale:g} (k+{self.offset:g})^{self.exponent:g}"


class OptaxSchedule(Schedule):
    """Any function from the iteration to a number, such as an optax schedule.

    It is evaluated on the CPU in float64: vectorised, with k a float64 scalar under `jax.vmap`, or,
    where its code needs a concrete number, once an iteration with k a Python int. Values must be
    finite and not negative, otherwise `values` raises `InputError` with the iteration.
    """

    function: Callable[[Any], Any] = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not callable(self.function):
            raise InputError("schedule", self.function, "a function of the iteration")

    def values(self, k: Int64[np.ndarray, "iterations"]) -> Float64[np.ndarray, "iterations"]:
        """The values at the iterations k >= 0, computed on the host in float64."""
        if k.size == 0:
            return np.zeros(0)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            try:
                result = _by_blocks(self._block, k)
            except (TypeError, IndexError):
                # The function branches on k or calls NumPy or `math`: give it numbers.
                result = np.array([_one_number(self.function, int(i)) for i in k], np.float64)
        bad = ~(np.isfinite(result) & (result >= 0))
        if np.any(bad):
            first = int(np.argmax(bad))
            raise InputError(
                f"schedule({k[first]})", float(result[first]), "a finite number of at least 0"
            )
        return result

    def _block(self, k: Float64[np.ndarray, "block"]) -> Float64[np.ndarray, "block"]:
        values = np.asarray(jax.vmap(self.function)(jnp.asarray(k)), np.float64)
        if values.shape != k.shape:
            raise InputError("schedule", self.function, "a function that returns one number")
        return values

    def decay_exponent(self) -> float:
        """An estimate: the slope of −log value against log k between k = 10⁹ and 10¹².

        A value of zero at the end, or a slope that more than doubles from one three decades to the
        next, is read as a faster decay than any power (inf).
        """
        try:
            tail = [
                float(np.max(self.values(start + np.arange(_TAIL_WIDTH)))) for start in _TAIL_STARTS
            ]
        except (InputError, LookupError, ArithmeticError):
            return math.nan
        if tail[-1] == 0.0:
            return math.inf
        if min(tail) == 0.0:
            return math.nan
        earlier, later = -np.diff(np.log(tail)) / np.diff(np.log(np.array(_TAIL_STARTS, float)))
        if later > 1.0 and later > 2.0 * earlier:
            return math.inf
        # Six decimals: an offset in k moves the slope of a power law by less than that.
        return round(float(later), 6) + 0.0

    @property
    def exact(self) -> bool:
        """False: the exponent is an estimate."""
        return False

    def describe(self) -> str:
        """The function's name; for a function made by another, that of the one that made it."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        made_by = name.removesuffix(".<lambda>").split(".<locals>")[0]
        return made_by


def as_schedule(value: object) -> Schedule:
    """A schedule from a schedule (itself), a number (a constant) or a function of the iteration.

    Raises `InputError` for anything else and for a number that is not finite and above 0.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return PowerLaw(float(value), 0.0)
    if callable(value):
        return OptaxSchedule(value)
    raise InputError("schedule", value, "a Schedule, a number or a function of the iteration")


def _by_blocks(
    evaluate: Callable[[Float64[np.ndarray, "block"]], Float64[np.ndarray, "block"]],
    k: Int64[np.ndarray, "iterations"],
) -> Float64[np.ndarray, "iterations"]:
    """Values at the iterations k, from whole blocks of consecutive iterations.

    Iterations are given as floats: an integer power of a large k would overflow unnoticed.
    """
    blocks, where = np.unique(k // _BLOCK, return_inverse=True)
    within = np.arange(_BLOCK)
    table = np.empty((len(blocks), _BLOCK))
    for row, block in enumerate(blocks):
        table[row] = evaluate((block * _BLOCK + within).astype(np.float64))
    return table[where, k % _BLOCK]


def _one_number(function: Callable[[Any], Any], k: int) -> float:
    """The function's value at one iteration."""
    value = np.asarray(function(k))
    if value.shape != () or value.dtype.kind not in "fiu":
        raise InputError(f"schedule({k})", value, "one real number")
    return float(value)
