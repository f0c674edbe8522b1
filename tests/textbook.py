"""Textbook Paillier in plain Python integers, which shares no code; and keys of every backend."""

import math
import random

import pytest

from dpe_jax.paillier.backend import (
    PrivateKey,
    PublicKey,
    ciphertext_bytes,
    largest_plaintext,
)
from dpe_jax.paillier.backends import backend

SMALL = 0xDD4B972E1DFD52B53E5E678491AE1BCF, 0xFCBCB0AC0BED3CE09572B85A45E8F73F
P, Q = (
    0xE367631D2CBE1E5766286B00B271E9548224A191A85486C7,
    0xC86E642212FBC0009AF33B5FB70A3FAAB16A9E600D8E3E93,
)
N = P * Q
LAMBDA = math.lcm(P - 1, Q - 1)
LIMIT = largest_plaintext(N)
PLAINTEXTS = (0, 1, -1, 2**28 + 1, -(2**28) - 1, 10**50, -(10**50), LIMIT, -LIMIT)
KINDS = (("fast", "short"), ("fast", "full"), ("phe", None))
BACKENDS = {f"{name}-{randomness}": backend(name, randomness) for name, randomness in KINDS}
KEYS = {name: each.private_key(P, Q) for name, each in BACKENDS.items()}
OTHERS = {
    name: each.public_key(KEYS[name].public.announcement()) for name, each in BACKENDS.items()
}

every_kind = pytest.mark.parametrize("kind", list(KEYS))
fast_kinds = pytest.mark.parametrize("kind", ["fast-short", "fast-full"])


def textbook_encrypt(m: int, r: int) -> int:
    return pow(1 + N, m % N, N * N) * pow(r, N, N * N) % (N * N)


def textbook_decrypt(c: int, p: int = P, q: int = Q) -> int:
    n, order = p * q, math.lcm(p - 1, q - 1)
    m = (pow(c, order, n * n) - 1) // n * pow(order, -1, n) % n
    return m - n if m > n // 2 else m


def jacobi(a: int, n: int) -> int:
    """The symbol (a/n) by quadratic reciprocity."""
    a, symbol = a % n, 1
    while a:
        while a % 2 == 0:
            a //= 2
            symbol *= -1 if n % 8 in (3, 5) else 1
        a, n = n, a
        symbol *= -1 if a % 4 == n % 4 == 3 else 1
        a %= n
    return symbol if n == 1 else 0


def is_prime(number: int) -> bool:
    """Miller and Rabin's test to fixed random bases."""
    if number < 4:
        return number > 1
    odd = (number - 1) // ((number - 1) & -(number - 1))
    for base in random.Random(1).choices(range(2, min(number - 1, 2**40)), k=20):
        power, exponent = pow(base, odd, number), odd
        while exponent != number - 1 and power not in (1, number - 1):
            power, exponent = power * power % number, 2 * exponent
        if power != number - 1 and exponent % 2 == 0:
            return False
    return True


def encryptors(kind: str) -> tuple[PrivateKey, PublicKey, PublicKey]:
    """Everybody who encrypts under a key: its owner, the owner's public part, and others."""
    return KEYS[kind], KEYS[kind].public, OTHERS[kind]


def announced_h_s(key: PrivateKey) -> tuple[bytes, int]:
    announcement = key.public.announcement()
    length = ciphertext_bytes(key.public.n)
    return announcement[:-length], int.from_bytes(announcement[-length:], "big")
