"""Weight factors: how the two ends of a link share its coupling weight in the encrypted exchange.

Agent i multiplies by a_{i→j}, its neighbor j by a_{j→i}; an agent i that keeps to the protocol
decrypts the sum over its neighbors of c_ij a_{i→j} a_{j→i} (q_j − q_i), and nothing else. Private
random factors, afresh in each iteration, are those of Ruan, Gao and Wang 2019. They are part of the
dynamics.

They hide little from an agent that decrypts single replies. With public factors a reply shows q_j.
With one factor f a link it shows f (q_j − q_i), whose coordinates have the greatest common divisor
f, or a small multiple of it, as soon as there are a few of them: then q_j is known again
(`tests/test_wire.py`). Only a factor for each coordinate leaves more than divisors to guess.
"""

import abc
from typing import Any, Literal, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int64, UInt32

from dpe_jax import lattice
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError

Kind = Literal["public", "link", "coordinate"]

Ends = tuple[Int64[Array, "links #dim lanes"], Int64[Array, "links #dim lanes"]]
"""Factors of the lower and the higher agent of each link."""

LARGEST = 2**15
"""The largest factor. Products of two stay small beside 2⁶³."""


class Factors(eqx.Module):
    """Integer factors of the coupling weights; w_ij^k = c_ij a_{i→j} a_{j→i} / (D E[a]²)."""

    kind: eqx.AbstractVar[Kind]
    low: eqx.AbstractVar[int]
    high: eqx.AbstractVar[int]

    @property
    def mean(self) -> float:
        """E a of one factor."""
        return (self.low + self.high) / 2

    @property
    def largest_ratio(self) -> float:
        """The largest w_ij^k / w_ij, (high/mean)²."""
        return (self.high / self.mean) ** 2

    @property
    def variance(self) -> float:
        """Variance of w_ij^k / w_ij: (1 + s²)² − 1 with s² that of a/E a."""
        count = self.high - self.low + 1
        return (1 + (count**2 - 1) / 12 / self.mean**2) ** 2 - 1

    @abc.abstractmethod
    def ends(self, draws: Draws, links: Int64[Array, "links 2"]) -> Ends | None:
        """a_{i→j} and a_{j→i} of every link, i < j; None where all are one."""

    def products(
        self, draws: Draws, links: Int64[Array, "links 2"]
    ) -> Int64[Array, "links #dim lanes"] | None:
        """a_{i→j} a_{j→i} of every link; None where all are one."""
        ends = self.ends(draws, links)
        return None if ends is None else ends[0] * ends[1]

    def describe(self) -> dict[str, Any]:
        """Kind and range."""
        return {"kind": self.kind, "low": self.low, "high": self.high}


@final
class PublicFactors(Factors):
    """a = 1: the coupling weights are public and constant."""

    kind: Kind = eqx.field(default="public", init=False)
    low: int = eqx.field(default=1, init=False)
    high: int = eqx.field(default=1, init=False)

    def ends(self, draws: Draws, links: Int64[Array, "links 2"]) -> None:
        """None: all are one."""
        return None


@final
class LinkFactors(Factors):
    """Private a, uniform on the integers low … high, afresh for each link, end and iteration.

    After Ruan, Gao & Wang 2019. Means of weights are those of `PublicFactors`:
    E w_ij^k = c_ij / D (derived). Factors are pure numbers [link, 1, lane]. `InputError` unless
    1 ≤ low ≤ high ≤ 2¹⁵ are integers.
    """

    low: int = 1
    high: int = 15
    kind: Kind = eqx.field(default="link", init=False)

    def __check_init__(self) -> None:
        _check(self.low, self.high)

    def ends(self, draws: Draws, links: Int64[Array, "links 2"]) -> Ends:
        """Each [link, 1, lane]."""
        return _ends(draws.link_words(links, 1), self.low, self.high)


@final
class CoordinateFactors(Factors):
    """As `LinkFactors`, with factors of its own for each coordinate: private a [link, dim, lane].

    Each coordinate then has a ciphertext of its own on the wire (derived, against common divisors
    of a reply). `InputError` unless 1 ≤ low ≤ high ≤ 2¹⁵ are integers.
    """

    low: int = 1
    high: int = 15
    kind: Kind = eqx.field(default="coordinate", init=False)

    def __check_init__(self) -> None:
        _check(self.low, self.high)

    def ends(self, draws: Draws, links: Int64[Array, "links 2"]) -> Ends:
        """Each [link, coordinate, lane]."""
        return _ends(draws.link_words(links, draws.dim), self.low, self.high)


def _check(low: int, high: int) -> None:
    for name, value, least, most in (("low", low, 1, high), ("high", high, low, LARGEST)):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InputError(name, value, f"integers with 1 ≤ low ≤ high ≤ {LARGEST}")


def _ends(
    words: tuple[UInt32[Array, "links dim lanes"], UInt32[Array, "links dim lanes"]],
    low: int,
    high: int,
) -> Ends:
    return factor(words[0], low, high), factor(words[1], low, high)


def factor(word: UInt32[Array, "..."], low: int, high: int) -> Int64[Array, "..."]:
    """A factor from a word, low + ⌊w (high − low + 1) / 2³²⌋: uniform up to a bias of 2⁻¹⁷."""
    scaled = word.astype(jnp.int64) * (high - low + 1)
    return low + (scaled >> lattice.FRACTION_BITS)
