"""The simulation's random words in plain Python integers.

Philox4x32-10 (Salmon et al. 2011), key = (seed low word, seed high word), counter = (run, time,
element, stream). Written anew and apart from the simulation's generator, so that a replay does not
repeat a mistake of it.
"""

from typing import Literal

from dpe_jax.paillier.protocol import Factors

Words = tuple[int, int, int, int]
RoundKeys = tuple[tuple[int, int], ...]

STATE, FACTORS = 0, 3
"""Streams: rounding; weight factors."""

NEAREST = 2**31
"""The constant word of rounding to the nearest level."""

_MASK = 2**32 - 1
_ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


def round_keys(seed: int) -> RoundKeys:
    """The key of each of the ten rounds."""
    low, high = seed & _MASK, seed >> 32
    return tuple(
        ((low + r * _WEYL[0]) & _MASK, (high + r * _WEYL[1]) & _MASK) for r in range(_ROUNDS)
    )


def philox4x32(counter: Words, keys: RoundKeys) -> Words:
    """The four words of a counter."""
    x0, x1, x2, x3 = counter
    m0, m1 = _MULTIPLIERS
    mask = _MASK
    for k0, k1 in keys:
        left = m0 * x0
        right = m1 * x2
        x0 = (right >> 32) ^ x1 ^ k0
        x1 = right & mask
        x2 = (left >> 32) ^ x3 ^ k1
        x3 = left & mask
    return x0, x1, x2, x3


def rounding_word(keys: RoundKeys, run: int, iteration: int, element: int) -> int:
    """The word w of q = (Y^k + w) >> 32; element = agent·dim + coordinate."""
    return philox4x32((run, iteration, element, STATE), keys)[0]


def factor_words(keys: RoundKeys, run: int, iteration: int, element: int) -> tuple[int, int]:
    """The words of a link's factors in iteration k: the lower agent's and the higher agent's.

    Elements of link {i, j}, i < j: i·agents + j, or (i·agents + j)·dim + coordinate with a factor
    for each coordinate.
    """
    lower, higher, _, _ = philox4x32((run, iteration + 1, element, FACTORS), keys)
    return lower, higher


class OwnWords:
    """One agent's randomness: its own rounding words and its own weight factors, nothing else."""

    def __init__(
        self,
        agent: int,
        agents: int,
        dim: int,
        seed: int,
        run: int,
        rounding: Literal["stochastic", "nearest"],
        factors: Factors,
    ) -> None:
        self._agent, self._agents, self._dim = agent, agents, dim
        self._keys = round_keys(seed)
        self._run = run
        self._rounding = rounding
        self._factors = factors

    def rounding(self, iteration: int) -> list[int]:
        """One word a coordinate."""
        if self._rounding == "nearest":
            return [NEAREST] * self._dim
        first = self._agent * self._dim
        return [
            rounding_word(self._keys, self._run, iteration, first + coordinate)
            for coordinate in range(self._dim)
        ]

    def factors(self, iteration: int, neighbor: int) -> list[int]:
        """a_{agent→neighbor}: one for all coordinates, or one for each."""
        if self._factors.kind == "public":
            return [1]
        link = min(self._agent, neighbor) * self._agents + max(self._agent, neighbor)
        elements = [link]
        if self._factors.kind == "coordinate":
            elements = [link * self._dim + coordinate for coordinate in range(self._dim)]
        own = 0 if self._agent < neighbor else 1
        low, span = self._factors.low, self._factors.high - self._factors.low + 1
        return [
            low + ((factor_words(self._keys, self._run, iteration, element)[own] * span) >> 32)
            for element in elements
        ]
