"""The randomness of ciphertexts: prepared, never reused, and of the right group; combs."""

import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textbook import (
    BACKENDS,
    KEYS,
    LAMBDA,
    OTHERS,
    N,
    P,
    Q,
    announced_h_s,
    encryptors,
    fast_kinds,
    jacobi,
    textbook_decrypt,
)

from dpe_jax.errors import InputError
from dpe_jax.paillier import fast
from dpe_jax.paillier.fast import Fast, Pool
from dpe_jax.paillier.fixed_base import Comb


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
