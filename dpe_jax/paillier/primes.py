"""Primes for Paillier keys, and the lengths that a key may have."""

import math
import secrets
from collections.abc import Iterator

import gmpy2
from gmpy2 import mpz

from dpe_jax.errors import InputError

SMALLEST_KEY_BITS, LARGEST_KEY_BITS = 2048, 16384
SMALLEST_INSECURE_KEY_BITS = 96

_FACTOR_BITS = 256
_SIEVED = [prime for prime in range(3, 200) if gmpy2.is_prime(prime)]
_SMALL_PRIMES = gmpy2.primorial(50), gmpy2.primorial(4000)


def check_key_bits(bits: int, insecure: bool) -> None:
    """Refuse a length of n that is not an even integer from 2048 (`insecure`: 96) to 16384."""
    smallest = SMALLEST_INSECURE_KEY_BITS if insecure else SMALLEST_KEY_BITS
    if type(bits) is not int or bits % 2 or not smallest <= bits <= LARGEST_KEY_BITS:
        accepted = f"an even integer from {smallest} to {LARGEST_KEY_BITS}"
        if not insecure:
            accepted += " (shorter ones are no protection, and only for tests)"
        raise InputError("key_bits", bits, accepted)


def check_primes(p: int, q: int) -> None:
    """Refuse two numbers that are no primes as `generate` makes them; neither is shown."""
    good = (
        type(p) is int
        and type(q) is int
        and min(p, q) > 3
        and p != q
        and p.bit_length() == q.bit_length()
        and p % 4 == q % 4 == 3
        and math.gcd(p - 1, q - 1) == 2
        and gmpy2.is_prime(p)
        and gmpy2.is_prime(q)
    )
    if not good:
        accepted = "two primes of one length that are 3 mod 4, with gcd(p - 1, q - 1) = 2"
        raise InputError("p, q", "two numbers that are not shown", accepted)


def generate(bits: int) -> tuple[int, int]:
    """Two random primes p ≠ q, both 3 mod 4, gcd(p − 1, q − 1) = 2, with n = pq of `bits` bits.

    Every odd prime factor of p − 1 and q − 1 is large (255 bits and more where p has 512 or more;
    (p − 1)/2 is itself a prime where p is shorter). Short exponents need that (`fast`).
    """
    check_key_bits(bits, insecure=True)
    p = q = _prime(bits // 2)
    while p == q or math.gcd(p - 1, q - 1) != 2:
        q = _prime(bits // 2)
    return p, q


def _prime(bits: int) -> int:
    """A prime p = 2 r_1 … r_s + 1 with primes r, in [¾·2^bits, 2^bits)."""
    # The product of two numbers from that interval has exactly 2·bits bits. Products of odd r
    # make p = 3 mod 4.
    known = mpz(2)
    for _ in range(bits // _FACTOR_BITS - 1):
        known *= _random_prime(_FACTOR_BITS)
    for r in _sieved(known, (3 << (bits - 2)) // known + 1, (1 << bits) // known):
        p = known * r + 1
        if not _has_small_factor(r * p) and gmpy2.is_prime(r) and gmpy2.is_prime(p):
            return int(p)
    raise AssertionError("there is always another one")


def _sieved(known: mpz, low: mpz, high: mpz) -> Iterator[mpz]:
    """Random odd r in [low, high) for which neither r nor known·r + 1 has a small odd factor.

    Each of them is as likely as any other, at each draw. What remains of r by the small primes is
    drawn, and composed by the Chinese remainder theorem, so that none of the others is ever seen.
    `known` has no small odd factor.
    """
    primes, modulus = [], mpz(2)
    for prime in _SIEVED:
        # Few multiples of the modulus would lie at the ends of the interval, and be drawn in vain.
        if 1000 * modulus * prime > high - low:
            break
        primes.append(prime)
        modulus *= prime
    remainders = []
    for prime in primes:
        others = modulus // prime
        unit = others * gmpy2.invert(others, prime)
        remainders.append([rest * unit for rest in range(1, prime) if (known * rest + 1) % prime])
    multiples = (high - low) // modulus + 1
    count = int(math.prod(map(len, remainders)) * multiples)
    while True:
        drawn = secrets.randbelow(count)
        r = modulus // 2
        for allowed in remainders:
            drawn, place = divmod(drawn, len(allowed))
            r += allowed[place]
        r = low + (r - low) % modulus + drawn * modulus
        if r < high:
            yield r


def _random_prime(bits: int) -> mpz:
    """A prime of exactly `bits` bits, each as likely as any other."""
    while True:
        r = mpz(secrets.randbits(bits - 1) | 1 << (bits - 1)) | 1
        if not _has_small_factor(r) and gmpy2.is_prime(r):
            return r


def _has_small_factor(number: mpz) -> bool:
    return any(gmpy2.gcd(number, product) > 1 for product in _SMALL_PRIMES)
