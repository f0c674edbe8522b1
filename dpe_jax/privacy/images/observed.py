"""What a coalition can compute of one stochastic gradient, for each method.

The coalition is all neighbors of an agent and the eavesdropper; it knows the weights, the
schedules, and the agent's parameters x_i^k at which the gradient was taken. That is more than it
has where messages are noisy (there it knows x_i^k up to the noise), so that what is measured is an
upper bound of what leaks. All estimates are unbiased, in units of the gradient.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from dpe_jax import philox
from dpe_jax.draws import SHARES, STATE, Draws
from dpe_jax.errors import InputError
from dpe_jax.stepsizes import Multipliers

_LAPLACE_VARIANCE = 2.0
_SHARE_VARIANCE = 2.0 / 3.0
"""Of the difference of two uniforms on ±1."""


class Knowledge(NamedTuple):
    """The law of an observation o = m g + e, as the attacker knows it."""

    multiplier_variance: float
    """ρ², of m with mean one."""
    noise: float | Float[np.ndarray, " dim"]
    """Standard deviation of e, which has mean zero."""
    clip: float | None
    """The norm that g was clipped to before it was used."""


class Channel(eqx.Module):
    """From a gradient to what is observed of it, in one iteration."""

    @abc.abstractmethod
    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The estimate of each target's gradient; the targets are the lanes of `draws`."""

    @abc.abstractmethod
    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """The law of `observe`."""

    @abc.abstractmethod
    def describe(self) -> str:
        """A short text."""


class States(Channel):
    """(x − x⁺ + mixing)/λ of float64 states in plaintext: g, but for the states' rounding.

    Conventional DSGD; and the ternary method for whom its states are granted.
    """

    stepsize: float
    """λ^k."""

    def __check_init__(self) -> None:
        _positive("stepsize", self.stepsize)

    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The difference of two states over λ^k."""
        # A difference that a compiler could see through would be exact.
        following = jax.lax.optimization_barrier(parameters - self.stepsize * gradient)
        return (parameters - following) / self.stepsize

    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """Nothing is hidden."""
        return Knowledge(0.0, 0.0, None)

    def describe(self) -> str:
        """A short text."""
        return "plaintext states"


class TernaryMessages(Channel):
    """g + (e^k − e^{k+1})/λ^k, e = T(x) − x: two ternary messages, and no state.

    T(x)_l = r sign(x_l) with probability |x_l|/r, else 0; variance |x_l| (r − |x_l|).
    """

    range: float
    """r."""

    stepsize: float
    """λ^k."""

    def __check_init__(self) -> None:
        _positive("range", self.range)
        _positive("stepsize", self.stepsize)

    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The difference of the messages over λ^k; mixing is known, and left out of both."""
        following = parameters - self.stepsize * gradient
        before = self._message(jnp.broadcast_to(parameters, gradient.shape), _word(draws, 0))
        return (before - self._message(following, _word(draws, 3))) / self.stepsize

    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """The variance of both messages, that of the second one as at the same x."""
        sizes = np.abs(parameters)
        variance = 2 * sizes * np.maximum(self.range - sizes, 0.0)
        return Knowledge(0.0, np.sqrt(variance) / self.stepsize, None)

    def describe(self) -> str:
        """A short text."""
        return f"ternary messages, r = {self.range:g}"

    def _message(self, x: Float[Array, "targets dim"], word: Array) -> Float[Array, "targets dim"]:
        u = philox.uniform(word, x.dtype)
        return jnp.where(u * self.range < jnp.abs(x), jnp.copysign(self.range, x), 0.0)


class Shares(Channel):
    """g + p, p the differences of shares over the links whose other end is not in the coalition.

    Function sharing, where p is drawn once; randomized state sharing, where it is λ^{k+1}/λ^k times
    the perturbation of the next message, drawn afresh. A coalition with all neighbors knows all
    shares, and `links` is 0: both methods then show g.
    """

    scale: float
    """The largest share, in units of the gradient."""

    links: int = 1
    """Links to agents outside of the coalition."""

    afresh: bool = False

    def __check_init__(self) -> None:
        _positive("scale", self.scale)
        if self.links < 0:
            raise InputError("links", self.links, "0 or more")

    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The gradient and the shares."""
        if self.links == 0:
            return gradient
        at = draws if self.afresh else eqx.tree_at(lambda d: d.time, draws, jnp.uint32(0))
        given, taken = (
            philox.uniform(_words(at, SHARES, self.links, which), gradient.dtype)
            for which in (0, 1)
        )
        return gradient + 2 * self.scale * jnp.sum(taken - given, axis=0).T

    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """Two uniform shares a link."""
        return Knowledge(0.0, self.scale * float(np.sqrt(_SHARE_VARIANCE * self.links)), None)

    def describe(self) -> str:
        """A short text."""
        kind = "state" if self.afresh else "function"
        return f"{kind} sharing, ± {self.scale:g}, {self.links} links unknown"


class LaplaceNoise(Channel):
    """g + Σ b ζ, ζ ~ Lap(1): the noise of one or two messages, over the stepsize.

    With `clip`, g · min(1, C/‖g‖₂) in place of g.
    """

    scales: tuple[float, ...]
    """b of each message, in units of the gradient; at most two."""

    clip: float | None = None
    """C."""

    def __check_init__(self) -> None:
        for scale in self.scales:
            _positive("scales", scale)
        if len(self.scales) not in (1, 2):
            raise InputError("scales", self.scales, "one or two numbers")
        if self.clip is not None:
            _positive("clip", self.clip)

    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The gradient, clipped, and the noise."""
        if self.clip is not None:
            norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=1, keepdims=True))
            gradient = gradient * (self.clip / jnp.maximum(norm, self.clip))
        for scale, word in zip(self.scales, (3, 0), strict=False):
            gradient = gradient + scale * philox.laplace(_word(draws, word), gradient.dtype)
        return gradient

    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """Variance 2 b² a message."""
        variance = _LAPLACE_VARIANCE * float(np.sum(np.square(self.scales)))
        return Knowledge(0.0, float(np.sqrt(variance)), self.clip)

    def describe(self) -> str:
        """A short text."""
        return "Laplace noise, " + " and ".join(f"{scale:.3g}" for scale in self.scales)


class RandomStepsizes(Channel):
    """m g + (e^k − e^{k+1})/λ̄^k, m the private multipliers and e = Q(x) − x: the proposed method.

    What decryption of single replies tells a coalition are the levels Q(x)/δ. With δ = 0 the states
    themselves are granted, and m g is what remains.
    """

    multipliers: Multipliers
    stepsize: float = 1.0
    """λ̄^k."""

    delta: float = 0.0
    """δ, in units of x."""

    def __check_init__(self) -> None:
        if not isinstance(self.multipliers, Multipliers):
            raise InputError("multipliers", self.multipliers, "a distribution of multipliers")
        _positive("stepsize", self.stepsize)
        if not (np.isfinite(self.delta) and self.delta >= 0):
            raise InputError("delta", self.delta, "a finite number, 0 or more")

    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The private increment, as far as two levels tell it."""
        moved = self.multipliers(_word(draws, 1), gradient.dtype) * gradient
        if self.delta == 0:
            return moved
        before = self._rounded(jnp.broadcast_to(parameters, gradient.shape), _word(draws, 0))
        after = self._rounded(parameters - self.stepsize * moved, _word(draws, 3))
        return (before - after) / self.stepsize

    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """ρ², and δ²/6 for each rounding, the mean of f (1 − f) δ² over its fraction f."""
        noise = self.delta / (np.sqrt(3.0) * self.stepsize)
        return Knowledge(float(self.multipliers.variance), float(noise), None)

    def describe(self) -> str:
        """A short text."""
        what = "states" if self.delta == 0 else f"levels of {self.delta:.3g}"
        return f"multipliers {self.multipliers.describe()}, {what}"

    def _rounded(self, x: Float[Array, "targets dim"], word: Array) -> Float[Array, "targets dim"]:
        return self.delta * jnp.floor(x / self.delta + philox.uniform(word, x.dtype))


class Nothing(Channel):
    """Independent normal noise, whatever the gradient: the negative control of every attack.

    The attacker takes it for a gradient with as much noise on it.
    """

    size: float
    """Standard deviation, in units of the gradient."""

    def __check_init__(self) -> None:
        _positive("size", self.size)

    def observe(
        self,
        gradient: Float[Array, "targets dim"],
        parameters: Float[Array, " dim"],
        draws: Draws,
    ) -> Float[Array, "targets dim"]:
        """The noise."""
        return self.size * philox.normal(_word(draws, 3), gradient.dtype)

    def knowledge(self, parameters: Float[np.ndarray, " dim"]) -> Knowledge:
        """As of an additive noise."""
        return Knowledge(0.0, self.size, None)

    def describe(self) -> str:
        """A short text."""
        return "noise alone"


def observations(
    channel: Channel,
    gradient: Float[Array, "targets dim"],
    parameters: Float[Array, " dim"],
    *,
    times: int = 1,
    seed: int = 0,
) -> Float[Array, "targets times dim"]:
    """What is observed of the same gradients at `times` iterations, each with its own draws.

    At one x, as late iterations with full batches nearly are.
    """
    if times < 1:
        raise InputError("times", times, "a positive number")
    targets, dim = gradient.shape
    low, high = philox.seed_key(seed)
    key = (jnp.asarray(low), jnp.asarray(high))
    run = jnp.arange(targets, dtype=jnp.uint32)
    return jnp.stack(
        [
            channel.observe(gradient, parameters, Draws(key, run, jnp.uint32(time), 1, dim))
            for time in range(times)
        ],
        axis=1,
    )


def _word(draws: Draws, which: int) -> Array:
    """A word of each target and coordinate."""
    return _words(draws, STATE, 1, which)[0].T


@eqx.filter_jit
def _words(draws: Draws, stream: int, rows: int, which: int) -> UInt32[Array, "rows dim lanes"]:
    # A program of its own: one after the other, its many operations would each be compiled.
    return draws.words(stream, rows, draws.dim)[which]


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InputError(name, value, "a positive finite number")
