"""The contract that an implementation of Paillier's cryptosystem fulfils.

Paillier, "Public-key cryptosystems based on composite degree residuosity classes", EUROCRYPT 1999:
n = pq, g = 1 + n, E(m) = g^m r^n mod n². Products of ciphertexts add plaintexts, powers multiply
them. Plaintexts are signed: m stands for m mod n, |m| ≤ `largest_plaintext(n)`.

Plaintexts and ciphertexts are Python integers here, whatever a backend computes with.
"""

import abc

from dpe_jax.errors import InputError


class PublicKey(abc.ABC):
    """What anybody may know of a key."""

    @property
    @abc.abstractmethod
    def n(self) -> int:
        """The modulus."""

    @abc.abstractmethod
    def announcement(self) -> bytes:
        """What the owner sends so that others can encrypt: n, and what else the backend needs."""

    @abc.abstractmethod
    def encrypt(self, plaintext: int) -> int:
        """A ciphertext with fresh randomness; InputError beyond `largest_plaintext(n)`."""

    @abc.abstractmethod
    def add(self, one: int, other: int) -> int:
        """The ciphertext of the sum of two plaintexts: the product mod n²."""

    @abc.abstractmethod
    def scale(self, ciphertext: int, factor: int) -> int:
        """The ciphertext of `factor` (a positive integer) times the plaintext: the power mod n²."""

    @abc.abstractmethod
    def prepare(self, count: int) -> None:
        """Compute ahead what `count` encryptions need and no plaintext decides, if anything."""


class PrivateKey(abc.ABC):
    """What the owner of a key knows."""

    @property
    @abc.abstractmethod
    def public(self) -> PublicKey:
        """The public part."""

    @abc.abstractmethod
    def encrypt(self, plaintext: int) -> int:
        """As `PublicKey.encrypt`, with what the owner knows beside."""

    @abc.abstractmethod
    def decrypt(self, ciphertext: int) -> int:
        """The signed plaintext; InputError for what is no ciphertext under this key."""

    @abc.abstractmethod
    def prepare(self, count: int) -> None:
        """As `PublicKey.prepare`, for the owner's own encryptions."""


class Backend(abc.ABC):
    """An implementation."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Its name on the command line."""

    @property
    @abc.abstractmethod
    def packs(self) -> bool:
        """Whether its users put several coordinates into one plaintext."""

    @abc.abstractmethod
    def private_key(self, p: int, q: int) -> PrivateKey:
        """The key pair of two primes from `primes.generate`."""

    @abc.abstractmethod
    def public_key(self, announcement: bytes) -> PublicKey:
        """The public key that another agent announced; InputError if it is not well formed."""

    @abc.abstractmethod
    def describe(self) -> dict[str, str]:
        """Name, library versions, kind of randomness: for reports."""


def largest_plaintext(n: int) -> int:
    """The largest |m| of a signed plaintext, n // 3 − 1: the remaining third tells an overflow."""
    return n // 3 - 1


def ciphertext_bytes(n: int) -> int:
    """The one length of all ciphertexts under a key: that of n²."""
    return (2 * n.bit_length() + 7) // 8


def check_plaintext(plaintext: int, n: int) -> None:
    """Refuse a plaintext that is no Python integer or that does not fit, before it is encrypted."""
    limit = largest_plaintext(n)
    if type(plaintext) is not int or not -limit <= plaintext <= limit:
        accepted = f"a Python integer of at most {limit.bit_length()} bits and a sign"
        raise InputError("plaintext", plaintext, accepted)
