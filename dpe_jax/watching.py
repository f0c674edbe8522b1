"""What looks at every step of the scan and changes nothing: attacks, above all."""

import abc

import equinox as eqx
from jaxtyping import Array, Float, Int64, PyTree

from dpe_jax.algorithms.base import Algorithm, Row, Step
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange

Watched = PyTree
"""What a watcher carries from one iteration to the next."""


class Sight(eqx.Module):
    """Iteration k before the state moves on."""

    k: Int64[Array, ""]
    algorithm: Algorithm
    step: Step
    row: Row
    exchange: Exchange
    draws: Draws
    """Those of the step, of time k + 1."""


class Watcher(eqx.Module):
    """Something that sees each iteration; a view on a run, and what it makes of it."""

    @abc.abstractmethod
    def begin(self, agents: int, dim: int, lanes: int) -> Watched:
        """What is carried, before the first iteration."""

    @abc.abstractmethod
    def look(self, watched: Watched, sight: Sight) -> Watched:
        """Take in iteration k."""

    @abc.abstractmethod
    def read(self, watched: Watched, sight: Sight) -> dict[str, Float[Array, "*shape lanes"]]:
        """What is recorded at k, from iterations before k and the messages of k."""
