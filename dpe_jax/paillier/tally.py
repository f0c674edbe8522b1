"""How often each operation ran and how long it took."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

OPERATIONS: tuple[str, ...] = (
    "keys",
    "tables",
    "prepare",
    "round",
    "encrypt_own",
    "encrypt_neighbor",
    "combine",
    "gather",
    "decrypt",
    "update",
)
"""In the order of the protocol.

keys: key pairs from primes; tables: public keys from announcements and a backend's tables, own
ones too; prepare: randomness computed ahead, if it is; round: levels, factors and packing; combine:
a neighbor's product and power; gather: the receiver's powers and products; update: unpacking and Y.
"""


class Tally:
    """Counts and seconds by operation.

    Counted are ciphertexts, for round and update coordinates, for keys and tables keys.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(OPERATIONS, 0)
        self.seconds = dict.fromkeys(OPERATIONS, 0.0)

    @contextlib.contextmanager
    def timing(self, operation: str, count: int) -> Iterator[None]:
        """Add `count` and the seconds that the body takes, unless it raises."""
        start = time.perf_counter()
        yield
        self.seconds[operation] += time.perf_counter() - start
        self.counts[operation] += count

    def __add__(self, other: "Tally") -> "Tally":
        total = Tally()
        for name in OPERATIONS:
            total.counts[name] = self.counts[name] + other.counts[name]
            total.seconds[name] = self.seconds[name] + other.seconds[name]
        return total

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return self.counts == other.counts and self.seconds == other.seconds

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """`{operation: {"count": …, "seconds": …}}`."""
        return {
            name: {"count": self.counts[name], "seconds": self.seconds[name]} for name in OPERATIONS
        }

    @classmethod
    def from_dict(cls, stored: dict[str, dict[str, Any]]) -> "Tally":
        """What `to_dict` made."""
        tally = cls()
        for name in OPERATIONS:
            tally.counts[name] = stored[name]["count"]
            tally.seconds[name] = stored[name]["seconds"]
        return tally
