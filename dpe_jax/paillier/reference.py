"""The reference backend: the library phe, called by its high-level interface.

Three of phe's traps: it raises for NumPy integers and writes the exponent of a float next to the
ciphertext, so only Python integers get in and every exponent is 0; and `.ciphertext()` randomises
anew whatever is not fresh. Here `be_secure=False` says not to: a fresh encryption is randomised
already, and its product with others is, since its factor r^n, r uniform, is multiplied in; the
other backend does no more. A power is one of a random ciphertext, which hides the plaintext but
not quite the exponent: the owner of the key can tell that r^a is a square, as it is for even a.
A party therefore multiplies the fresh encryption in after the power (`party`).
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import final

import gmpy2
from phe import EncryptedNumber, PaillierPrivateKey, PaillierPublicKey

from dpe_jax.errors import InputError
from dpe_jax.paillier import checks
from dpe_jax.paillier.backend import Backend, PrivateKey, PublicKey, check_plaintext
from dpe_jax.paillier.primes import check_primes


@final
class ReferencePublicKey(PublicKey):
    """A public key of phe."""

    def __init__(self, n: int) -> None:
        self._key = PaillierPublicKey(n)

    @property
    def n(self) -> int:
        """The modulus."""
        return self._key.n

    def announcement(self) -> bytes:
        """The length of n in bits, and n."""
        return checks.modulus_bytes(self.n)

    def encrypt(self, plaintext: int) -> int:
        """(1 + n)^m r^n mod n², r uniform."""
        check_plaintext(plaintext, self.n)
        return self._key.encrypt(plaintext).ciphertext(be_secure=False)

    def add(self, one: int, other: int) -> int:
        """The product mod n²."""
        total = EncryptedNumber(self._key, one) + EncryptedNumber(self._key, other)
        return total.ciphertext(be_secure=False)

    def scale(self, ciphertext: int, factor: int) -> int:
        """The power mod n²; InputError unless 1 ≤ factor ≤ n // 3 − 1, which phe can encode."""
        checks.check_factor(factor)
        check_plaintext(factor, self.n)
        return (EncryptedNumber(self._key, ciphertext) * factor).ciphertext(be_secure=False)

    def prepare(self, count: int) -> None:
        """Nothing: phe computes r^n when it encrypts."""


@final
class ReferencePrivateKey(PrivateKey):
    """A private key of phe."""

    def __init__(self, p: int, q: int) -> None:
        self._public = ReferencePublicKey(p * q)
        self._key = PaillierPrivateKey(PaillierPublicKey(p * q), p, q)

    @property
    def public(self) -> ReferencePublicKey:
        """The public part."""
        return self._public

    def encrypt(self, plaintext: int) -> int:
        """As anybody else: phe does not use p and q here."""
        return self._public.encrypt(plaintext)

    def decrypt(self, ciphertext: int) -> int:
        """The signed plaintext; InputError for no ciphertext and for an overflow."""
        n = self._public.n
        checks.check_ciphertext(ciphertext, n)
        if gmpy2.gcd(ciphertext, n) != 1:
            raise checks.not_coprime(ciphertext)
        try:
            return self._key.decrypt(EncryptedNumber(self._key.public_key, ciphertext))
        except OverflowError:
            return checks.signed(self._key.raw_decrypt(ciphertext), n)

    def prepare(self, count: int) -> None:
        """Nothing: phe computes r^n when it encrypts."""


@final
@dataclass(frozen=True)
class Reference(Backend):
    """The library phe."""

    @property
    def name(self) -> str:
        """phe."""
        return "phe"

    @property
    def packs(self) -> bool:
        """No: one coordinate a ciphertext."""
        return False

    def private_key(self, p: int, q: int) -> ReferencePrivateKey:
        """The key pair of two primes; InputError for others."""
        check_primes(p, q)
        return ReferencePrivateKey(p, q)

    def public_key(self, announcement: bytes) -> ReferencePublicKey:
        """The key announced; InputError if it is not n alone."""
        n, rest = checks.read_modulus(announcement)
        if rest:
            accepted = f"{len(announcement) - len(rest)} bytes: phe takes n alone"
            raise InputError("announcement", f"{len(announcement)} bytes", accepted)
        return ReferencePublicKey(n)

    def describe(self) -> dict[str, str]:
        """Name, versions, randomness."""
        return {
            "backend": "phe",
            "phe": version("phe"),
            "gmpy2": gmpy2.version(),
            "gmp": gmpy2.mp_version(),
            "randomness": "r^n mod n^2, r uniform below n",
        }
