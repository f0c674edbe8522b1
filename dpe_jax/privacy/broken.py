"""Encryption that is broken on purpose: what the checks of ciphertexts must catch.

Nothing here protects anything. No configuration can name these schemes (`backends.backend` does not
know them); they exist so that a check that finds nothing elsewhere is seen to find something.
Every one of them decrypts to what was encrypted.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final, get_args

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import (
    Backend,
    PrivateKey,
    PublicKey,
    check_plaintext,
    ciphertext_bytes,
)

Flaw = Literal["deterministic", "constant", "pool", "biased"]
"""What is wrong with the randomness ρ of c = (1 + mn) ρ mod n².

`deterministic`: ρ = 1. `constant`: drawn once for each key at each agent. `pool`: one of 16 drawn
once. `biased`: fresh, but drawn up to three times until the last bit of c is the sign of m, which
it is then in 7 of 8 ciphertexts.
"""

Serialization = Literal["exponent", "length", "text"]
"""What is wrong with how a ciphertext is written down.

`exponent`: the exponent that phe gives the ciphertext of a float follows in the clear. `length`:
as many ciphertexts as the plaintext has digits of 16 bits. `text`: the JSON of phe's documentation,
the ciphertext in decimal digits with that exponent.
"""

FLAWS: tuple[Flaw, ...] = get_args(Flaw)
SERIALIZATIONS: tuple[Serialization, ...] = get_args(Serialization)

POOL = 16
"""Residues of the flaw `pool`."""

DRAWS = 3
"""Of the flaw `biased`, at most."""


@final
class _Randomness:
    """The broken part, of an owner's or of another's encryption."""

    def __init__(self, encrypt: Callable[[int], int], n: int, flaw: Flaw) -> None:
        self._encrypt, self._n, self._flaw = encrypt, n, flaw
        count = {"constant": 1, "pool": POOL}.get(flaw, 0)
        self._residues = [encrypt(0) for _ in range(count)] or [1]

    def encrypt(self, plaintext: int) -> int:
        """A ciphertext that gives something away."""
        check_plaintext(plaintext, self._n)
        if self._flaw == "biased":
            ciphertext = self._encrypt(plaintext)
            for _ in range(DRAWS - 1):
                if ciphertext % 2 != int(plaintext < 0):
                    ciphertext = self._encrypt(plaintext)
            return ciphertext
        residue = secrets.choice(self._residues)
        return (1 + self._n * plaintext) * residue % self._n**2


@final
class BrokenPublicKey(PublicKey):
    """A public key whose encryptions are broken."""

    def __init__(self, inner: PublicKey, flaw: Flaw) -> None:
        self._inner = inner
        self._randomness = _Randomness(inner.encrypt, inner.n, flaw)

    @property
    def n(self) -> int:
        """The modulus."""
        return self._inner.n

    def announcement(self) -> bytes:
        """That of the key that is wrapped."""
        return self._inner.announcement()

    def encrypt(self, plaintext: int) -> int:
        """A ciphertext that gives something away."""
        return self._randomness.encrypt(plaintext)

    def add(self, one: int, other: int) -> int:
        """The product mod n²."""
        return self._inner.add(one, other)

    def scale(self, ciphertext: int, factor: int) -> int:
        """The power mod n²."""
        return self._inner.scale(ciphertext, factor)

    def prepare(self, count: int) -> None:
        """The tables of the key that is wrapped."""
        self._inner.prepare(0)


@final
class BrokenPrivateKey(PrivateKey):
    """A private key whose owner's encryptions are broken."""

    def __init__(self, inner: PrivateKey, flaw: Flaw) -> None:
        self._inner = inner
        self._public = BrokenPublicKey(inner.public, flaw)
        self._randomness = _Randomness(inner.encrypt, inner.public.n, flaw)

    @property
    def public(self) -> BrokenPublicKey:
        """The public part, broken as well."""
        return self._public

    def encrypt(self, plaintext: int) -> int:
        """A ciphertext that gives something away."""
        return self._randomness.encrypt(plaintext)

    def decrypt(self, ciphertext: int) -> int:
        """The signed plaintext."""
        return self._inner.decrypt(ciphertext)

    def prepare(self, count: int) -> None:
        """The tables of the key that is wrapped."""
        self._inner.prepare(0)


@final
@dataclass(frozen=True)
class BrokenBackend(Backend):
    """A backend with a flaw, around a sound one."""

    inner: Backend
    flaw: Flaw

    def __post_init__(self) -> None:
        if self.flaw not in FLAWS:
            raise InputError("flaw", self.flaw, f"one of {', '.join(FLAWS)}")

    @property
    def name(self) -> str:
        """That of the backend inside, with the flaw."""
        return f"{self.inner.name}, broken: {self.flaw}"

    @property
    def packs(self) -> bool:
        """As the backend inside."""
        return self.inner.packs

    def private_key(self, p: int, q: int) -> BrokenPrivateKey:
        """The key pair of two primes."""
        return BrokenPrivateKey(self.inner.private_key(p, q), self.flaw)

    def public_key(self, announcement: bytes) -> BrokenPublicKey:
        """The key announced."""
        return BrokenPublicKey(self.inner.public_key(announcement), self.flaw)

    def describe(self) -> dict[str, str]:
        """As the backend inside, with the flaw."""
        return self.inner.describe() | {"broken": self.flaw}


def written(ciphertext: int, plaintext: int, n: int, flaw: Serialization) -> bytes:
    """The ciphertext as a careless program would write it."""
    exponent = _exponent(plaintext)
    if flaw == "text":
        return json.dumps([str(ciphertext), exponent]).encode()
    length = ciphertext_bytes(n)
    whole = ciphertext.to_bytes(length, "big")
    if flaw == "exponent":
        return whole + exponent.to_bytes(2, "big", signed=True)
    if flaw != "length":
        raise InputError("flaw", flaw, f"one of {', '.join(SERIALIZATIONS)}")
    digits = max(1, -(-abs(plaintext).bit_length() // 16))
    return whole + secrets.token_bytes(length * (digits - 1))


def _exponent(plaintext: int) -> int:
    """What phe writes beside the ciphertext of a float: its last bit's exponent, in powers of 16.

    A float has 53 bits, so the last one is worth 2^(b − 53) if the number has b before the point.
    """
    return (plaintext.bit_length() - 53) // 4
