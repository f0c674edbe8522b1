"""How far a candidate's gradient is from what was observed: what gradient matching minimises."""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

Known = Float[Array, ""] | Float[Array, " dim"]


def _array(value: object) -> Float[Array, "..."]:
    # An array, so that another number is other input to the same program.
    return jnp.asarray(value, jnp.float64)


class Metric(eqx.Module):
    """A distance between what a candidate would show and what was observed."""

    floors: ClassVar[tuple[float, ...]] = (0.0,)
    """What is added to the noise in each stage, relative to the size of the observation."""
    target: ClassVar[float] = 1e-14
    """The distance at which a candidate is as good as the truth.

    With 1e-14 pictures are off by some 1e-5 at most in what was tried.
    """

    @abc.abstractmethod
    def __call__(
        self,
        candidate: Float[Array, "times dim"],
        observed: Float[Array, "times dim"],
        floor: Float[Array, ""],
    ) -> Float[Array, ""]:
        """The distance in a stage with this floor."""

    @abc.abstractmethod
    def describe(self) -> str:
        """A short text."""


class SquaredError(Metric):
    """‖G − o‖² / ‖o‖²: gradient matching as Zhu et al. 2019 have it, but for the scale."""

    def __call__(
        self,
        candidate: Float[Array, "times dim"],
        observed: Float[Array, "times dim"],
        floor: Float[Array, ""],
    ) -> Float[Array, ""]:
        """The distance."""
        return jnp.sum(jnp.square(candidate - observed)) / jnp.sum(jnp.square(observed))

    def describe(self) -> str:
        """The text "squared error"."""
        return "squared error"


class Cosine(Metric):
    """1 − ⟨G, o⟩/(‖G‖ ‖o‖), which a common factor of all coordinates leaves alone."""

    def __call__(
        self,
        candidate: Float[Array, "times dim"],
        observed: Float[Array, "times dim"],
        floor: Float[Array, ""],
    ) -> Float[Array, ""]:
        """The distance."""
        norms = jnp.sqrt(jnp.sum(jnp.square(candidate)) * jnp.sum(jnp.square(observed)))
        return 1 - jnp.sum(candidate * observed) / norms

    def describe(self) -> str:
        """The text "cosine"."""
        return "cosine"


class Likelihood(Metric):
    r"""The mean of (G − o)²/v + log v, v = ρ² G² + s² + f²: for one who knows the law of the noise.

    Minus twice the log likelihood (but for constants) of o = m G + e, where the multipliers m of
    each coordinate are normal with mean 1 and variance ρ² and e is normal with standard deviation
    s. For other laws it uses the two moments alone. Beside the mean of o it uses its size: with a
    large ρ² the terms tend to o²/(ρ²G²) + log G², so the size of o tells that of G, whatever the
    sign of m (derived).

    v is in units of the mean square of o. The floor f smooths what has no bound as G → 0; it falls
    from stage to stage, and the first stages are close to `SquaredError`.
    """

    floors: ClassVar[tuple[float, ...]] = (1.0, 0.3, 0.1, 0.03, 0.01)
    target: ClassVar[float] = -float("inf")
    """The truth has no known distance."""

    multiplier_variance: Known = eqx.field(converter=_array)
    noise: Known = eqx.field(converter=_array)

    def __call__(
        self,
        candidate: Float[Array, "times dim"],
        observed: Float[Array, "times dim"],
        floor: Float[Array, ""],
    ) -> Float[Array, ""]:
        """The distance."""
        size = jnp.mean(jnp.square(observed))
        spread = self.multiplier_variance * jnp.square(candidate) + jnp.square(self.noise)
        v = spread / size + jnp.square(floor)
        return jnp.mean(jnp.square(candidate - observed) / (size * v) + jnp.log(v))

    def describe(self) -> str:
        """The text "likelihood"."""
        return "likelihood"
