"""What every agent knows before the first message."""

from dataclasses import dataclass
from typing import Literal

from dpe_jax.errors import InputError
from dpe_jax.paillier.packing import Packing

LEVEL_LIMIT = 2**28 + 1
"""The largest |q| of a state that is in range, |Y| ≤ 2⁶⁰, and one to spare."""

FACTOR_LIMIT = 2**15
"""The largest weight factor."""


@dataclass(frozen=True)
class Factors:
    """Random integer factors on the coupling weights, c_ij^k = c_ij a_{i→j} a_{j→i}.

    Kind `public`: all are 1. Kind `link`: one for each direction of a link and iteration. Kind
    `coordinate`: one for each direction, iteration and coordinate. Uniform on low … high
    (Ruan, Gao, Wang 2019 for `link`).
    """

    kind: Literal["public", "link", "coordinate"] = "public"
    low: int = 1
    high: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("public", "link", "coordinate"):
            raise InputError("kind", self.kind, "'public', 'link' or 'coordinate'")
        bounds = (self.low, self.high)
        if self.kind == "public" and bounds != (1, 1):
            raise InputError("factors", bounds, "(1, 1) with public weights")
        if any(type(bound) is not int for bound in bounds) or not (
            1 <= self.low <= self.high <= FACTOR_LIMIT
        ):
            raise InputError("factors", bounds, f"integers 1 ≤ low ≤ high ≤ {FACTOR_LIMIT}")


@dataclass(frozen=True)
class Protocol:
    """Network, range, rounding, weight factors and layout of the plaintexts."""

    agents: int
    dim: int
    coupling: tuple[tuple[int, int, int], ...]
    """(i, j, c_ij) once a link, i < j; positive integers, w_ij = c_ij / D."""
    packing: Packing
    """How coordinates lie in plaintexts."""
    seed: int
    """Of Philox: the parties' randomness is the simulation's."""
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    factors: Factors = Factors()
    level_limit: int = LEVEL_LIMIT

    def __post_init__(self) -> None:
        if self.agents < 2:
            raise InputError("agents", self.agents, "at least 2")
        if self.packing.dim != self.dim:
            raise InputError("packing", self.packing, f"one for {self.dim} coordinates")
        if type(self.seed) is not int or not 0 <= self.seed < 2**64:
            raise InputError("seed", self.seed, "a Python integer from 0 to 2⁶⁴ − 1")
        if self.rounding not in ("stochastic", "nearest"):
            raise InputError("rounding", self.rounding, "'stochastic' or 'nearest'")
        links = [link[:2] for link in self.coupling]
        for link in self.coupling:
            i, j, c = link
            whole = all(type(number) is int for number in link)
            if not whole or not 0 <= i < j < self.agents or c < 1:
                raise InputError("coupling", link, "Python integers (i, j, c), i < j, c positive")
        if len(set(links)) != len(links):
            raise InputError("coupling", links, "each link once")
        if {agent for link in links for agent in link} != set(range(self.agents)):
            raise InputError("coupling", links, f"a link at each of {self.agents} agents")
        if self.sum_limit >> (self.packing.plaintext_bits - 1):
            bits = self.sum_limit.bit_length() + 1
            raise InputError("packing", self.packing, f"at least {bits} plaintext bits")

    @property
    def sum_limit(self) -> int:
        """The largest |v_i|, V = 2 L max_i Σ_j c_ij high²."""
        return sum_limit(self.coupling, self.factors, self.level_limit)

    @property
    def message_ciphertexts(self) -> int:
        """Ciphertexts in one message; a factor for each coordinate forbids packing on the wire."""
        return self.dim if self.factors.kind == "coordinate" else self.packing.ciphertexts

    def weights(self, agent: int) -> dict[int, int]:
        """An agent's own c_ij by neighbor j."""
        own = {j: c for i, j, c in self.coupling if i == agent}
        own |= {i: c for i, j, c in self.coupling if j == agent}
        return dict(sorted(own.items()))


def sum_limit(
    coupling: tuple[tuple[int, int, int], ...],
    factors: Factors = Factors(),
    level_limit: int = LEVEL_LIMIT,
) -> int:
    """V = 2 L max_i Σ_j c_ij high², the largest |v_i| of levels in range.

    A packing is fitted to `sum_limit(…).bit_length() + 1` plaintext bits.
    """
    sums: dict[int, int] = {}
    for i, j, c in coupling:
        sums[i] = sums.get(i, 0) + c
        sums[j] = sums.get(j, 0) + c
    return 2 * level_limit * max(sums.values(), default=0) * factors.high**2
