"""Both backends against textbook Paillier in plain Python integers, which shares no code."""

import math
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from dpe_jax.errors import InputError
from dpe_jax.paillier import fast, primes
from dpe_jax.paillier.backend import (
    Backend,
    PrivateKey,
    PublicKey,
    ciphertext_bytes,
    largest_plaintext,
)
from dpe_jax.paillier.backends import backend
from dpe_jax.paillier.fast import Fast, Pool
from dpe_jax.paillier.fixed_base import Comb

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


@every_kind
def test_encryption_is_what_the_textbook_decrypts(kind: str) -> None:
    for key in encryptors(kind):
        for m in PLAINTEXTS:
            c = key.encrypt(m)
            assert type(c) is int
            assert textbook_decrypt(c) == m
    assert textbook_decrypt(KEYS[kind].encrypt(5) + 1) != 5


@every_kind
def test_decryption_undoes_the_textbook_encryption(kind: str) -> None:
    rng = random.Random(3)
    for m in PLAINTEXTS:
        decrypted = KEYS[kind].decrypt(textbook_encrypt(m, rng.randrange(1, N)))
        assert type(decrypted) is int
        assert decrypted == m


@every_kind
@pytest.mark.parametrize("other", list(KEYS))
def test_each_backend_decrypts_the_other_under_the_same_primes(kind: str, other: str) -> None:
    for key in encryptors(other):
        for m in (0, -123456789, 10**40):
            assert KEYS[kind].decrypt(key.encrypt(m)) == m
    # Sums under one backend of what others encrypted, decrypted by this one.
    total = OTHERS[other].add(OTHERS[kind].encrypt(-7), KEYS[other].encrypt(4))
    assert KEYS[kind].decrypt(OTHERS[other].scale(total, 9)) == -27


@every_kind
def test_products_add_and_powers_multiply_signed_plaintexts(kind: str) -> None:
    key, public, other = encryptors(kind)
    assert isinstance(key, PrivateKey)
    for one in (0, 5, -5, 2**60, -(2**60)):
        for two in (3, -3, -(2**59)):
            a, b = other.encrypt(one), key.encrypt(two)
            assert public.add(a, b) == other.add(b, a) == a * b % N**2
            assert key.decrypt(public.add(a, b)) == one + two
            assert public.scale(a, 9) == pow(a, 9, N**2)
            assert key.decrypt(other.scale(other.add(a, b), 9)) == 9 * (one + two)
            assert key.decrypt(public.scale(a, 2**80)) == one * 2**80
            assert public.scale(a, 1) == a


@every_kind
def test_negative_and_zero_factors_are_refused(kind: str) -> None:
    for public in (KEYS[kind].public, OTHERS[kind]):
        for factor in (0, -1, True):
            with pytest.raises(InputError, match="factor"):
                public.scale(public.encrypt(1), factor)


@every_kind
def test_plaintexts_that_do_not_fit_are_refused(kind: str) -> None:
    import numpy as np

    for key in encryptors(kind):
        for m in (LIMIT + 1, -LIMIT - 1, N, True):
            with pytest.raises(InputError, match="plaintext"):
                key.encrypt(m)
        for m in (np.int64(3), 3.0):
            # The annotations are checked first while tests run.
            with pytest.raises((InputError, TypeCheckError), match="plaintext"):
                key.encrypt(m)  # pyright: ignore[reportArgumentType]


@every_kind
def test_a_sum_that_overflows_is_refused_at_decryption(kind: str) -> None:
    key, public, _ = encryptors(kind)
    assert isinstance(key, PrivateKey)
    for sign in (1, -1):
        edge = public.encrypt(sign * LIMIT)
        assert key.decrypt(edge) == sign * LIMIT
        with pytest.raises(InputError, match="overflowed"):
            key.decrypt(public.add(edge, public.encrypt(sign)))


@every_kind
def test_what_is_no_ciphertext_is_refused_at_decryption(kind: str) -> None:
    key = KEYS[kind]
    good = key.encrypt(1)
    for bad in (0, -1, N * N, N * N + good, P, N, Q * 12345, P * P, True):
        with pytest.raises(InputError, match="ciphertext") as caught:
            key.decrypt(bad)
        assert "coprime" in str(caught.value) or "n^2" in str(caught.value)
    assert key.decrypt(good) == 1


@every_kind
def test_equal_plaintexts_never_give_equal_ciphertexts(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in encryptors(kind):
        key.prepare(5)
        assert len({key.encrypt(7) for _ in range(20)}) == 20
    # Negative control: with randomness that repeats, the same count tells.
    monkeypatch.setattr("secrets.randbits", lambda bits: 12345)
    monkeypatch.setattr("secrets.randbelow", lambda limit: 12345)
    monkeypatch.setattr("random.SystemRandom.randrange", lambda self, *limits: 12345)
    for key in encryptors(kind):
        [key.encrypt(7) for _ in range(5)]
        assert len({key.encrypt(7) for _ in range(5)}) == 1


@every_kind
def test_all_ciphertexts_of_a_key_have_one_length(kind: str) -> None:
    length = ciphertext_bytes(N)
    assert length == 96
    lengths = set()
    for key in encryptors(kind):
        for m in (0, 1, -1, LIMIT):
            serialised = key.encrypt(m).to_bytes(length, "big")
            assert KEYS[kind].decrypt(int.from_bytes(serialised, "big")) == m
            lengths.add(len(serialised))
    assert lengths == {length}


@fast_kinds
def test_prepare_moves_the_powers_away_from_encryption(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    powers: list[str] = []

    def counted(function: Any, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            powers.append(name)
            return function(*arguments)

        return call

    monkeypatch.setattr(fast, "powmod", counted(fast.powmod, "powmod"))
    monkeypatch.setattr(Comb, "power", counted(Comb.power, "comb"))
    key = BACKENDS[kind].private_key(P, Q)
    other = BACKENDS[kind].public_key(key.public.announcement())
    for encryptor, each in ((key, 2), (other, 1)):
        powers.clear()
        encryptor.prepare(4)
        assert powers == ["comb" if kind == "fast-short" else "powmod"] * (4 * each)
        encryptor.prepare(4)
        assert len(powers) == 4 * each
        assert {textbook_decrypt(encryptor.encrypt(-m)) for m in range(4)} == {0, -1, -2, -3}
        assert len(powers) == 4 * each
        encryptor.encrypt(5)
        assert len(powers) == 5 * each


def test_values_of_a_pool_are_never_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("fast-short", "fast-full"):
        key = BACKENDS[kind].private_key(P, Q)
        for encryptor in (key, key.public):
            encryptor.prepare(6)
            first = [encryptor.encrypt(0) for _ in range(3)]
            encryptor.prepare(6)
            assert len({*first, *(encryptor.encrypt(0) for _ in range(9))}) == 12
            # Negative control: a pool that only looks.
            with monkeypatch.context() as patched:
                patched.setattr(Pool, "take", lambda self: self._ready[-1])
                encryptor.prepare(6)
                assert len({encryptor.encrypt(0) for _ in range(6)}) == 1
            with pytest.raises(TypeError, match="not copied"):
                pickle.dumps(encryptor)


@fast_kinds
def test_randomness_is_an_nth_residue_of_the_right_jacobi_symbol(kind: str) -> None:
    for key in encryptors(kind):
        residues = [key.encrypt(0) for _ in range(40)]
        assert {pow(residue, LAMBDA, N * N) for residue in residues} == {1}
        symbols = {jacobi(residue, N) for residue in residues}
        assert symbols == ({1} if kind == "fast-short" else {1, -1})
    assert pow(1 + N, LAMBDA, N * N) != 1


def announced_h_s(key: PrivateKey) -> tuple[bytes, int]:
    announcement = key.public.announcement()
    length = ciphertext_bytes(key.public.n)
    return announcement[:-length], int.from_bytes(announcement[-length:], "big")


def test_h_s_generates_the_nth_residues_of_jacobi_symbol_one() -> None:
    seen = set()
    for _ in range(5):
        _, h_s = announced_h_s(Fast("short").private_key(P, Q))
        seen.add(h_s)
        # An n-th residue, and minus a square: no residue mod p or q, but of symbol 1 mod n.
        assert pow(h_s, LAMBDA, N * N) == 1
        assert jacobi(h_s, N) == 1
        assert [pow(h_s, (prime - 1) // 2, prime) for prime in (P, Q)] == [P - 1, Q - 1]
        # (p − 1)/2 and (q − 1)/2 are prime here: the order is φ(n)/2, no proper divisor of it.
        for factor in (2, (P - 1) // 2, (Q - 1) // 2):
            assert LAMBDA % factor == 0
            assert pow(h_s, LAMBDA // factor, N * N) != 1
    assert len(seen) == 5


def test_short_exponents_are_random_and_longer_under_others_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exponents: list[int] = []
    power = Comb.power

    def recorded(comb: Comb, exponent: int) -> Any:
        exponents.append(exponent)
        return power(comb, exponent)

    monkeypatch.setattr(Comb, "power", recorded)
    # The owner's have half the length of n; those of others hide the owner's times a factor.
    for key, each, bits in ((KEYS["fast-short"], 2, 192), (OTHERS["fast-short"], 1, 192 + 128)):
        exponents.clear()
        ciphertexts = [key.encrypt(0) for _ in range(60)]
        # The owner raises to the same exponent mod p² and mod q².
        assert exponents[::each] == exponents[each - 1 :: each]
        assert len(set(exponents)) == 60
        assert max(exponents).bit_length() == bits
        _, h_s = announced_h_s(KEYS["fast-short"])
        assert ciphertexts == [pow(h_s, a, N * N) for a in exponents[::each]]
        ones = sum(a.bit_count() for a in exponents[::each])
        assert abs(ones - 30 * bits) < 5 * math.sqrt(60 * bits / 4)


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


def test_workers_get_backends_and_primes_by_pickling() -> None:
    for kind, each in BACKENDS.items():
        other: Backend
        other, (p, q) = pickle.loads(pickle.dumps((each, (P, Q))))
        assert other == each
        assert other.describe() == each.describe()
        assert other.private_key(p, q).decrypt(KEYS[kind].encrypt(-5)) == -5


def test_backends_go_by_name() -> None:
    assert backend("fast") == Fast("short")
    assert backend("fast", "full") == Fast("full")
    assert (backend("fast").name, backend("fast").packs) == ("fast", True)
    assert (backend("phe").name, backend("phe").packs) == ("phe", False)
    assert backend("phe", "full") == backend("phe")
    for name, randomness in (("slow", None), ("fast", "long"), ("phe", "short")):
        with pytest.raises(InputError, match="expected"):
            backend(name, randomness)
    descriptions = [each.describe() for each in BACKENDS.values()]
    assert len({tuple(sorted(each.items())) for each in descriptions}) == 3


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 400), st.integers(1, 9), st.data())
def test_a_comb_gives_the_power(bits: int, tables: int, data: st.DataObject) -> None:
    modulus = data.draw(st.integers(2, 2**300))
    base = data.draw(st.integers(0, 2**300))
    comb = Comb(base, modulus, bits, tables)
    assert comb.bits >= bits
    exponents = [0, 1, 2**bits - 1, 2 ** (bits - 1), 2**comb.bits - 1]
    exponents += data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=5))
    for exponent in exponents:
        # Python has 0^0 mod 1 = 0, which no key reaches.
        assert comb.power(exponent) % modulus == pow(base, exponent, modulus)
    for exponent in (-1, 2**comb.bits):
        with pytest.raises(InputError, match="exponent"):
            comb.power(exponent)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(0, 2**192 - 1) | st.sampled_from([0, 1, 2**192 - 1, 2**191]))
def test_the_comb_of_a_key_gives_the_power(exponent: int) -> None:
    _, h_s = announced_h_s(KEYS["fast-short"])
    assert COMB.power(exponent) == pow(3, exponent, N * N)
    assert COMB.power(exponent) != pow(3, exponent + 1, N * N)
    assert Comb(h_s, N * N, 192, 4).power(exponent) == pow(h_s, exponent, N * N)


COMB = Comb(3, N * N, 192)


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


def test_backends_agree_at_2048_bits() -> None:
    p, q = primes.generate(2048)
    keys = [each.private_key(p, q) for each in BACKENDS.values()]
    m = -(2**1500) - 12345
    for each, giver in zip(BACKENDS.values(), keys, strict=True):
        other = each.public_key(giver.public.announcement())
        ciphertexts = [giver.encrypt(m), other.encrypt(m)]
        assert all(c.to_bytes(512, "big") for c in ciphertexts)
        assert {key.decrypt(c) for key in keys for c in ciphertexts} == {m}
        assert {textbook_decrypt(c, p, q) for c in ciphertexts} == {m}
