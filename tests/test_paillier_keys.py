"""Keys: their announcements, their primes, and what is refused."""

import math
import random
from bisect import bisect
from collections import Counter
from itertools import islice

import pytest
from gmpy2 import mpz
from textbook import (
    BACKENDS,
    KEYS,
    SMALL,
    N,
    P,
    Q,
    announced_h_s,
    every_kind,
    is_prime,
    jacobi,
    textbook_decrypt,
)

from dpe_jax.errors import InputError
from dpe_jax.paillier import primes
from dpe_jax.paillier.backend import (
    ciphertext_bytes,
    largest_plaintext,
)
from dpe_jax.paillier.fast import Fast


def test_announcements_have_fixed_lengths() -> None:
    lengths = [{len(each.private_key(P, Q).public.announcement()) for _ in range(5)}
               for each in BACKENDS.values()]  # fmt: skip
    assert lengths == [{2 + 48 + 96}, {2 + 48}, {2 + 48}]


@every_kind
def test_announcements_are_read_back(kind: str) -> None:
    announcement = KEYS[kind].public.announcement()
    other = BACKENDS[kind].public_key(announcement)
    assert other.n == N
    assert other.announcement() == announcement
    assert KEYS["phe-None"].decrypt(other.encrypt(-3)) == -3


@every_kind
def test_announcements_that_are_not_well_formed_are_refused(kind: str) -> None:
    announcement = KEYS[kind].public.announcement()
    even = bytearray(announcement)
    even[2 + 48 - 1] &= 0xFE
    longer = bytearray(announcement)
    longer[1] += 2
    high = bytearray(announcement)
    high[2] = 0
    wrong = [b"", announcement[:1], announcement[:-1], announcement + b"\0", bytes(even)]
    wrong += [bytes(longer), bytes(high), b"\0" * len(announcement), b"\0\x40" + b"\xff" * 24]
    wrong += [announcement[2:], b"\xff\xfe" + announcement[2:]]
    for bad in wrong:
        with pytest.raises(InputError, match="announcement"):
            BACKENDS[kind].public_key(bad)


def test_an_h_s_out_of_its_group_is_refused() -> None:
    modulus, h_s = announced_h_s(KEYS["fast-short"])
    length = ciphertext_bytes(N)
    non_residue = next(a for a in range(2, 100) if jacobi(a, N) == -1)
    for bad in (0, 1, N * N - 1, N * N, N * N + h_s, P, N, Q * Q, pow(non_residue, N, N * N)):
        with pytest.raises(InputError, match="announcement"):
            Fast("short").public_key(modulus + bad.to_bytes(length, "big"))
    Fast("short").public_key(modulus + h_s.to_bytes(length, "big"))


def test_the_two_kinds_of_announcement_are_not_taken_for_each_other() -> None:
    for giver, taker in (("fast-short", "fast-full"), ("fast-full", "fast-short")):
        with pytest.raises(InputError, match="announcement"):
            BACKENDS[taker].public_key(KEYS[giver].public.announcement())
    assert BACKENDS["phe-None"].public_key(KEYS["fast-full"].public.announcement()).n == N


@every_kind
def test_keys_do_not_show_their_primes(kind: str) -> None:
    shown = repr(KEYS[kind]) + str(KEYS[kind]) + repr(BACKENDS[kind]) + repr(KEYS[kind].public)
    with pytest.raises(InputError) as caught:
        BACKENDS[kind].private_key(P, P)
    for text in (shown, str(caught.value), repr(caught.value), repr(caught.value.value)):
        for prime in (P, Q):
            assert str(prime)[:12] not in text
            assert f"{prime:x}"[:12] not in text


@every_kind
def test_numbers_that_are_no_primes_of_a_key_are_refused(kind: str) -> None:
    one_mod_four = next(a for a in range(P + 2, P + 10**5, 4) if is_prime(a))
    for p, q in ((P, P), (P, Q + 2), (P * Q, Q), (P, SMALL[0]), (P, one_mod_four), (0, Q), (P, -Q)):
        with pytest.raises(InputError, match="p, q"):
            BACKENDS[kind].private_key(p, q)


@pytest.mark.parametrize("bits", [96, 98, 128, 254, 512, 1030])
def test_generated_primes_are_what_the_keys_need(bits: int) -> None:
    seen = set()
    for _ in range(2):
        p, q = primes.generate(bits)
        seen |= {p, q}
        assert type(p) is type(q) is int
        assert is_prime(p)
        assert is_prime(q)
        assert p % 4 == q % 4 == 3
        assert math.gcd(p - 1, q - 1) == 2
        assert math.gcd(p * q, (p - 1) * (q - 1)) == 1
        assert (p * q).bit_length() == bits
        for prime in (p, q):
            half = (prime - 1) // 2
            assert is_prime(half) == (bits < 1024)
            assert all(half % small for small in range(2, min(4000, half)))
        m = largest_plaintext(p * q)
        assert textbook_decrypt(Fast().private_key(p, q).encrypt(-m), p, q) == -m
    assert len(seen) == 4


def test_what_is_sieved_is_as_likely_as_drawn_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each twentieth of the interval, and of every remainder by 210."""
    rng, low, high = random.Random(5), 1001, 601_013
    monkeypatch.setattr(primes.secrets, "randbelow", rng.randrange)
    sound = [r for r in range(low, high) if r % 2 and math.gcd(r * (2 * r + 1), 105) == 1]
    expected = Counter((r % 210, 20 * (r - low) // (high - low)) for r in sound)

    def distance(seen: list[int]) -> float:
        """χ² in its standard deviations from its mean."""
        counts = Counter((r % 210, 20 * (r - low) // (high - low)) for r in seen)
        assert counts.keys() <= expected.keys()
        share = len(seen) / len(sound)
        found = sum(
            (counts[at] - share * many) ** 2 / (share * many) for at, many in expected.items()
        )
        freedom = len(expected) - 1
        return (found - freedom) / math.sqrt(2 * freedom)

    seen = [int(r) for r in islice(primes._sieved(mpz(2), mpz(low), mpz(high)), 30_000)]
    assert abs(distance(seen)) < 4
    # The next one from a random place on prefers those after a gap.
    places = [bisect(sound, rng.randrange(low, sound[-1])) for _ in range(30_000)]
    assert distance([sound[place] for place in places]) > 40
    assert distance([r for r in seen if r < high - 20_000]) > 20


def test_key_lengths() -> None:
    for bits in (2048, 2050, 3072, 16384):
        primes.check_key_bits(bits, insecure=False)
    for bits in (96, 98, 2046, 2048, 16384):
        primes.check_key_bits(bits, insecure=True)
    for insecure, wrong in ((False, (2046, 2049, 256, 16386, -2048)), (True, (94, 97, 16386, 0))):
        for bits in wrong:
            with pytest.raises(InputError, match="key_bits"):
                primes.check_key_bits(bits, insecure)
    with pytest.raises(InputError, match="key_bits"):
        primes.generate(94)
