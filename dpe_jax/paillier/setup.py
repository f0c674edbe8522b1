"""How a network is encrypted: backend, keys, and the layout of plaintexts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from dpe_jax.paillier import primes
from dpe_jax.paillier.backend import Backend
from dpe_jax.paillier.backends import backend
from dpe_jax.paillier.packing import Packing
from dpe_jax.paillier.protocol import Factors, Protocol, sum_limit
from dpe_jax.paillier.replay import Replayed, Stretch, replay

_AHEAD = 25
"""Iterations that a pool of random values lasts."""

Keys = Sequence[tuple[int, int]]
"""The two primes of each agent."""


@dataclass(frozen=True)
class Encryption:
    """Which implementation, and keys of how many bits.

    `randomness` is that of ciphertexts: exponents of half the length of n ("short", Damgård, Jurik
    & Nielsen 2010) or of all of it ("full", Paillier 1999; all that `phe` has). Keys below 2048
    bits protect nothing, and are an `InputError` unless `insecure_test_keys`, as are other names.
    """

    name: Literal["fast", "phe"] = "fast"
    randomness: Literal["short", "full"] | None = None
    """None is the backend's default."""
    key_bits: int = 2048
    insecure_test_keys: bool = False

    def __post_init__(self) -> None:
        primes.check_key_bits(self.key_bits, self.insecure_test_keys)
        self.backend()

    @property
    def insecure(self) -> bool:
        """Whether keys are shorter than what is refused otherwise."""
        return self.key_bits < primes.SMALLEST_KEY_BITS

    @property
    def ahead(self) -> int:
        """Iterations whose randomness is computed at a time, where exponents have full length."""
        return _AHEAD if self.randomness == "full" else 0

    def backend(self) -> Backend:
        """The implementation."""
        return backend(self.name, self.randomness)

    def generate(self, agents: int) -> list[tuple[int, int]]:
        """New keys."""
        return [primes.generate(self.key_bits) for _ in range(agents)]

    def describe(self) -> dict[str, Any]:
        """For reports."""
        return {
            **self.backend().describe(),
            "key_bits": self.key_bits,
            "insecure_test_keys": self.insecure,
        }


@dataclass(frozen=True)
class Work:
    """Replays stretches; picklable, for workers in other processes."""

    encryption: Encryption
    keys: Keys

    def __call__(self, task: tuple[Protocol, Stretch]) -> Replayed:
        """Replay one."""
        protocol, stretch = task
        encryption = self.encryption
        return replay(protocol, stretch, encryption.backend(), self.keys, ahead=encryption.ahead)

    def __repr__(self) -> str:
        return f"Work({self.encryption!r}, {len(self.keys)} keys)"


def protocol_for(
    coupling: Int64[np.ndarray, "agents agents"],
    dim: int,
    seed: int,
    rounding: Literal["stochastic", "nearest"],
    factors: Factors,
    encryption: Encryption,
) -> Protocol:
    """The protocol of a network; InputError if not even one slot fits the key."""
    links = tuple(
        (int(i), int(j), int(coupling[i, j])) for i, j in np.argwhere(np.triu(coupling, 1))
    )
    bits = sum_limit(links, factors).bit_length() + 1
    packs = encryption.backend().packs
    packing = Packing.fitting(dim, bits, encryption.key_bits, packs)
    return Protocol(len(coupling), dim, links, packing, seed, rounding, factors)
