"""The fast backend: gmpy2, the Chinese remainder theorem and fixed-base powers.

A ciphertext is (1 + mn) ρ mod n² with a random n-th residue ρ = r^n mod n². How ρ is drawn:

`full`: r uniform in Z*_n, as in Paillier's paper. Semantic security is then the decisional
composite residuosity assumption (DCRA), as there.

`short`: Damgård, Jurik and Nielsen, "A generalization of Paillier's public-key system with
applications to electronic voting", Int. J. Inf. Security 9:371-385 (2010), Section 4. The owner
draws x in Z*_n and publishes h_s = h^n mod n² for h = −x² mod n; others use ρ = h_s^a with a
random a of ⌈k/2⌉ bits, k the length of n. Where p and q are 3 mod 4, gcd(p − 1, q − 1) = 2 and
p − 1, q − 1 have no small odd prime factor (`primes.generate`), h generates the group of all
residues of Jacobi symbol 1 but with negligible probability. That the symbol is always 1 tells
nothing about m: anybody can compute it from any ciphertext. What is assumed beyond the DCRA:

    h^a mod n for random a of ⌈k/2⌉ bits cannot be told, given n and h, from a uniformly random
    element of the group that h generates.

(h_s^a is a function of h^a mod n, so nothing is assumed mod n².) Goldreich and Rosen, J.
Cryptology 16:71-93 (2003), prove, if factoring is hard, that g^x mod n is pseudorandom for
exponents x of half the size; this is asymptotic. Whoever wants the DCRA alone uses `full`.

Of those who encrypt under another's key more is asked: the owner, who could take discrete
logarithms mod p and q if it made weak primes, knows the exponent a of its own ciphertext and sees
a f + a' where another has raised that to a private f and multiplied a fresh encryption in. Others
therefore take a' with 128 bits more: a' hides a f statistically, up to 2⁻⁸² for f < 2⁴⁶ (derived).

Ciphertexts do not tell which was used, and either decrypts under either, and under phe.
Nothing here runs in constant time.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, final

import gmpy2
from gmpy2 import mpz, powmod

from dpe_jax.errors import InputError
from dpe_jax.paillier import checks
from dpe_jax.paillier.backend import (
    Backend,
    PrivateKey,
    PublicKey,
    check_plaintext,
    ciphertext_bytes,
)
from dpe_jax.paillier.fixed_base import Comb
from dpe_jax.paillier.primes import check_primes

_HIDING_BITS = 128
"""By so much the exponents of others are longer than the owner's (see above)."""


@final
class Pool:
    """Random n-th residues computed ahead; each leaves the pool when it is used.

    It cannot be pickled or copied, since a copy would use the same values again.
    """

    def __init__(self, compute: Callable[[], mpz]) -> None:
        self._compute = compute
        self._ready: list[mpz] = []

    def fill(self, count: int) -> None:
        """Compute until `count` are ready."""
        while len(self._ready) < count:
            self._ready.append(self._compute())

    def take(self) -> mpz:
        """One that is ready, or else one computed now."""
        return self._ready.pop() if self._ready else self._compute()

    def __reduce__(self) -> NoReturn:
        raise TypeError("random values are not copied; make the key again from its primes")


@final
class FastPublicKey(PublicKey):
    """What others know: n, and h_s for short exponents (None for full-length randomness)."""

    def __init__(self, n: int, h_s: int | None) -> None:
        self._n, self._n_squared, self._h_s = mpz(n), mpz(n) ** 2, h_s
        self._pool = Pool(self._residue)

    @property
    def n(self) -> int:
        """The modulus."""
        return int(self._n)

    def announcement(self) -> bytes:
        """The length of n in bits, n and, for short exponents, h_s, at fixed lengths."""
        modulus = checks.modulus_bytes(self.n)
        return modulus if self._h_s is None else modulus + _residue_bytes(self._h_s, self.n)

    def encrypt(self, plaintext: int) -> int:
        """(1 + mn) ρ mod n²."""
        check_plaintext(plaintext, self.n)
        return int((1 + self._n * plaintext) * self._pool.take() % self._n_squared)

    def add(self, one: int, other: int) -> int:
        """The product mod n²."""
        return int(mpz(one) * other % self._n_squared)

    def scale(self, ciphertext: int, factor: int) -> int:
        """The power mod n²; InputError for a factor below 1."""
        checks.check_factor(factor)
        return int(powmod(ciphertext, factor, self._n_squared))

    def prepare(self, count: int) -> None:
        """The table of powers, and ρ for the next `count` encryptions."""
        if self._h_s is not None:
            _ = self._comb
        self._pool.fill(count)

    @cached_property
    def _comb(self) -> Comb:
        return Comb(self._h_s or 1, int(self._n_squared), self._bits)

    @property
    def _bits(self) -> int:
        return _exponent_bits(self.n) + _HIDING_BITS

    def _residue(self) -> mpz:
        if self._h_s is not None:
            return self._comb.power(secrets.randbits(self._bits))
        return powmod(_random_unit(self.n), self._n, self._n_squared)


@final
class FastPrivateKey(PrivateKey):
    """What the owner knows: p and q, so that all powers are taken mod p² and q²."""

    def __init__(self, p: int, q: int, short: bool) -> None:
        self._p, self._q = mpz(p), mpz(q)
        self._p_squared, self._q_squared = self._p**2, self._q**2
        self._inverse = gmpy2.invert(self._q_squared, self._p_squared)
        # L_p((1 + n)^(p−1) mod p²) = (p − 1) q = −q mod p, and likewise for q.
        self._h_p, self._h_q = gmpy2.invert(-self._q, self._p), gmpy2.invert(-self._p, self._q)
        self._q_inverse = gmpy2.invert(self._q, self._p)
        n = p * q
        h_s = None
        if short:
            h = -(mpz(_random_unit(n)) ** 2) % n
            h_s = int(self._combine(*(powmod(h, n, m) for m in self._squares)))
        self._h_s = h_s
        self._public = FastPublicKey(n, h_s)
        self._pool = Pool(self._residue)

    @property
    def public(self) -> FastPublicKey:
        """The public part."""
        return self._public

    def encrypt(self, plaintext: int) -> int:
        """(1 + mn) ρ mod n², with ρ by the Chinese remainder theorem."""
        n = self._public.n
        check_plaintext(plaintext, n)
        n_squared = self._p_squared * self._q_squared
        return int((1 + mpz(n) * plaintext) * self._pool.take() % n_squared)

    def decrypt(self, ciphertext: int) -> int:
        """The signed plaintext; InputError for no ciphertext and for an overflow."""
        n = self._public.n
        checks.check_ciphertext(ciphertext, n)
        c = mpz(ciphertext)
        if c % self._p == 0 or c % self._q == 0:
            raise checks.not_coprime(ciphertext)
        m_p = (powmod(c, self._p - 1, self._p_squared) - 1) // self._p * self._h_p % self._p
        m_q = (powmod(c, self._q - 1, self._q_squared) - 1) // self._q * self._h_q % self._q
        m = m_q + self._q * ((m_p - m_q) * self._q_inverse % self._p)
        return checks.signed(int(m), n)

    def prepare(self, count: int) -> None:
        """The tables of powers, and ρ for the next `count` encryptions."""
        if self._h_s is not None:
            _ = self._combs
        self._pool.fill(count)

    @property
    def _squares(self) -> tuple[mpz, mpz]:
        return self._p_squared, self._q_squared

    @cached_property
    def _combs(self) -> tuple[Comb, Comb]:
        bits = _exponent_bits(self._public.n)
        h_s = self._h_s or 1
        return Comb(h_s, int(self._p_squared), bits), Comb(h_s, int(self._q_squared), bits)

    def _residue(self) -> mpz:
        if self._h_s is not None:
            exponent = secrets.randbits(_exponent_bits(self._public.n))
            return self._combine(*(comb.power(exponent) for comb in self._combs))
        # r^n mod p² = (r^q mod p)^p mod p², and r^q is as uniform in Z*_p as r is, since
        # gcd(q, p − 1) = 1. So draw it: what is raised here is r^q mod p and r^p mod q.
        p, q = self._p, self._q
        return self._combine(
            powmod(1 + secrets.randbelow(int(p) - 1), p, self._p_squared),
            powmod(1 + secrets.randbelow(int(q) - 1), q, self._q_squared),
        )

    def _combine(self, mod_p: mpz, mod_q: mpz) -> mpz:
        """The number mod n² from its residues mod p² and q²."""
        lift = (mod_p - mod_q) * self._inverse % self._p_squared
        return mod_q + self._q_squared * lift


@final
@dataclass(frozen=True)
class Fast(Backend):
    """gmpy2, with `short` exponents or `full` randomness (see the module)."""

    randomness: str = "short"

    def __post_init__(self) -> None:
        if self.randomness not in ("short", "full"):
            raise InputError("randomness", self.randomness, "'short' or 'full'")

    @property
    def name(self) -> str:
        """fast."""
        return "fast"

    @property
    def packs(self) -> bool:
        """Yes."""
        return True

    def private_key(self, p: int, q: int) -> FastPrivateKey:
        """The key pair of two primes, with an h_s of its own; InputError for other numbers."""
        check_primes(p, q)
        return FastPrivateKey(p, q, self.randomness == "short")

    def public_key(self, announcement: bytes) -> FastPublicKey:
        """The key announced; InputError unless it is n, or n and h_s, as `randomness` needs."""
        n, rest = checks.read_modulus(announcement)
        expected = ciphertext_bytes(n) if self.randomness == "short" else 0
        if len(rest) != expected:
            accepted = f"{len(announcement) - len(rest) + expected} bytes ({self.randomness})"
            raise InputError("announcement", f"{len(announcement)} bytes", accepted)
        if self.randomness == "full":
            return FastPublicKey(n, None)
        h_s = int.from_bytes(rest, "big")
        # ±1 would not hide anything; an h_s = (−x²)^n has Jacobi symbol 1 (0: no unit).
        if not 1 < h_s < n * n - 1 or gmpy2.jacobi(h_s, n) != 1:
            accepted = "an h_s between 1 and n^2 - 1 of Jacobi symbol 1"
            raise InputError("announcement", announcement, accepted)
        return FastPublicKey(n, h_s)

    def describe(self) -> dict[str, str]:
        """Name, versions, randomness."""
        kinds = {
            "short": "Damgard-Jurik-Nielsen, exponents of half the length of n",
            "full": "r^n mod n^2, r uniform in Z*_n",
        }
        return {
            "backend": "fast",
            "gmpy2": gmpy2.version(),
            "gmp": gmpy2.mp_version(),
            "randomness": kinds[self.randomness],
        }


def _exponent_bits(n: int) -> int:
    return (n.bit_length() + 1) // 2


def _random_unit(n: int) -> int:
    """Uniform in Z*_n."""
    while True:
        r = secrets.randbelow(n)
        if gmpy2.gcd(r, n) == 1:
            return r


def _residue_bytes(residue: int, n: int) -> bytes:
    return residue.to_bytes(ciphertext_bytes(n), "big")
