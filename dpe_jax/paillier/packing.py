"""Several coordinates in one plaintext, each in a slot of its own.

    M = Σ_s m_s 2^(width·s),   m_s signed.

Sums and positive multiples of plaintexts act on every slot by itself as long as each m_s stays
within its slot; a slot has guard bits above what the levels need, where an overflow shows.
"""

from dataclasses import dataclass
from typing import final

from dpe_jax.errors import InputError


@final
@dataclass(frozen=True)
class Packing:
    """`dim` coordinates in groups of at most `slots` slots of `width` bits, guard bits included."""

    dim: int
    width: int
    slots: int
    guard_bits: int = 2

    @classmethod
    def fitting(
        cls, dim: int, plaintext_bits: int, key_bits: int, packed: bool, guard_bits: int = 2
    ) -> "Packing":
        """As many slots as fit under any modulus of `key_bits` bits; one if not `packed`.

        A slot takes `plaintext_bits` (sign included) and the guard bits. InputError if none fits.
        """
        for name, value, least in (
            ("dim", dim, 1),
            ("plaintext_bits", plaintext_bits, 2),
            ("guard_bits", guard_bits, 1),
        ):
            if type(value) is not int or value < least:
                raise InputError(name, value, f"an integer of at least {least}")
        width = plaintext_bits + guard_bits
        # Let w = width ≥ 3, s slots, b = key_bits. Whatever the slots hold, guard bits included,
        # |m| ≤ 2^(w−1), so |M| ≤ 2^(w−1) (2^(ws) − 1)/(2^w − 1) < 2^(ws−1) (1 + 1/(2^w − 1)).
        # A modulus of b bits has n ≥ 2^(b−1), so n // 3 − 1 > 2^(b−1)/3 − 2 = (4/3) 2^(b−3) − 2.
        # If ws ≤ b − 2, then |M| < (8/7) 2^(b−3), and (4/3 − 8/7) 2^(b−3) > 2 from b = 7 on: it
        # fits for every n. If ws ≥ b − 1, the top slot alone reaches |M| = 2^(ws−1) ≥ 2^(b−2), and
        # that is above 2^(b−1)/3: it does not fit for the smallest n. So ⌊(b − 2)/w⌋ is the most.
        fitting = (key_bits - 2) // width
        if fitting < 1:
            smallest = width + 2 + width % 2
            accepted = f"at least {smallest} bits, so that one slot of {width} bits fits"
            raise InputError("key_bits", key_bits, accepted)
        return cls(dim, width, fitting if packed else 1, guard_bits)

    @property
    def plaintext_bits(self) -> int:
        """Bits of a slot that levels may use, sign included."""
        return self.width - self.guard_bits

    @property
    def ciphertexts(self) -> int:
        """Plaintexts, and so ciphertexts, that all coordinates take: ⌈dim / slots⌉."""
        return -(-self.dim // self.slots)

    @property
    def groups(self) -> tuple[int, ...]:
        """Coordinates in each plaintext: all slots, and in the last one those that are left."""
        last = self.dim - (self.ciphertexts - 1) * self.slots
        return (self.slots,) * (self.ciphertexts - 1) + (last,)

    def pack(self, values: list[int], limit: int) -> list[int]:
        """The plaintexts of `dim` levels; InputError for |level| > limit, before any is used."""
        self._check_limit(limit)
        if len(values) != self.dim:
            raise InputError("values", f"{len(values)} levels", f"{self.dim} levels")
        for value in values:
            if type(value) is not int or abs(value) > limit:
                accepted = f"a Python integer of magnitude at most {limit}"
                raise InputError("level", value, accepted)
        plaintexts = []
        for start in range(0, self.dim, self.slots):
            total = 0
            for value in reversed(values[start : start + self.slots]):
                total = (total << self.width) + value
            plaintexts.append(total)
        return plaintexts

    def unpack(self, plaintexts: list[int], limit: int) -> list[int]:
        """The `dim` values of the slots; InputError for a |value| > limit, which is an overflow."""
        self._check_limit(limit)
        if len(plaintexts) != self.ciphertexts:
            accepted = f"{self.ciphertexts} plaintexts"
            raise InputError("plaintexts", f"{len(plaintexts)} plaintexts", accepted)
        half, mask = 1 << (self.width - 1), (1 << self.width) - 1
        values = []
        for plaintext, size in zip(plaintexts, self.groups, strict=True):
            rest = plaintext
            for _ in range(size):
                value = ((rest + half) & mask) - half
                rest = (rest - value) >> self.width
                if abs(value) > limit:
                    accepted = f"a magnitude of at most {limit}: it overflowed into the guard bits"
                    raise InputError("value in a slot", value, accepted)
                values.append(value)
            if rest:
                accepted = f"nothing beyond {size} slots of {self.width} bits"
                raise InputError("rest of a plaintext", rest, accepted)
        return values

    def _check_limit(self, limit: int) -> None:
        if type(limit) is not int or not 0 <= limit < 1 << (self.plaintext_bits - 1):
            accepted = f"an integer from 0 to 2^{self.plaintext_bits - 1} - 1"
            raise InputError("limit", limit, accepted)
