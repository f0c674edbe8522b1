"""Every backend against textbook Paillier in plain Python integers."""

import pickle
import random

import pytest
from jaxtyping import TypeCheckError
from textbook import (
    BACKENDS,
    KEYS,
    LIMIT,
    OTHERS,
    PLAINTEXTS,
    N,
    P,
    Q,
    encryptors,
    every_kind,
    textbook_decrypt,
    textbook_encrypt,
)

from dpe_jax.errors import InputError
from dpe_jax.paillier import primes
from dpe_jax.paillier.backend import (
    Backend,
    PrivateKey,
    ciphertext_bytes,
)
from dpe_jax.paillier.backends import backend
from dpe_jax.paillier.fast import Fast


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
