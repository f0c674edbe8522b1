"""Slots of plaintexts: what fits, what survives real encryption, what is refused."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import largest_plaintext
from dpe_jax.paillier.fast import Fast
from dpe_jax.paillier.packing import Packing

P, Q = 0xDD4B972E1DFD52B53E5E678491AE1BCF, 0xFCBCB0AC0BED3CE09572B85A45E8F73F
KEY = Fast("short").private_key(P, Q)
LEVEL = 2**28 + 1


class Exchange(NamedTuple):
    """One agent's levels, and weight and levels of each of its neighbors."""

    own: list[int]
    neighbors: list[tuple[int, list[int]]]


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    edge = st.sampled_from([-LEVEL, LEVEL, 1 - LEVEL, LEVEL - 1, -1, 0, 1])
    level = edge | st.integers(-LEVEL, LEVEL)
    dim = draw(st.integers(1, 9))
    levels = st.lists(level, min_size=dim, max_size=dim)
    neighbor = st.tuples(st.integers(1, 40), levels)
    return Exchange(draw(levels), draw(st.lists(neighbor, min_size=1, max_size=3)))


def extreme(dim: int) -> Exchange:
    """Signs that alternate, every level at its limit: v = ±V in every slot."""
    own = [LEVEL * (-1) ** s for s in range(dim)]
    return Exchange(own, [(40, [-q for q in own])])


def packing_for(exchange: Exchange, packed: bool) -> tuple[Packing, int]:
    limit = 2 * LEVEL * sum(c for c, _ in exchange.neighbors)
    return Packing.fitting(len(exchange.own), limit.bit_length() + 1, 256, packed), limit


def encrypted_sums(exchange: Exchange, packing: Packing, limit: int) -> list[int]:
    """v = Σ_j c_j (q_j − q) as agents compute it: encrypt, add, scale, decrypt the sum."""
    public = KEY.public
    own = [KEY.encrypt(-m) for m in packing.pack(exchange.own, LEVEL)]
    totals, ones = [], [1] * len(own)
    for c, levels in exchange.neighbors:
        theirs = [public.encrypt(m) for m in packing.pack(levels, LEVEL)]
        reply = [public.scale(public.add(*pair), c) for pair in zip(own, theirs, strict=True)]
        totals = [public.add(*pair) for pair in zip(totals or ones, reply, strict=True)]
    return packing.unpack([KEY.decrypt(total) for total in totals], limit)


def plain_sums(exchange: Exchange) -> list[int]:
    return [
        sum(c * (levels[s] - q) for c, levels in exchange.neighbors)
        for s, q in enumerate(exchange.own)
    ]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(exchanges(), st.booleans())
def test_sums_of_levels_in_range_survive_real_encryption(exchange: Exchange, packed: bool) -> None:
    packing, limit = packing_for(exchange, packed)
    assert encrypted_sums(exchange, packing, limit) == plain_sums(exchange)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dim", [1, 5, 6, 7, 12, 13])
def test_the_largest_sums_survive_in_every_slot_with_mixed_signs(dim: int, packed: bool) -> None:
    exchange = extreme(dim)
    packing, limit = packing_for(exchange, packed)
    assert packing.slots == (6 if packed else 1)
    sums = encrypted_sums(exchange, packing, limit)
    assert sums == plain_sums(exchange)
    assert {abs(v) for v in sums} == {limit}


def test_one_level_beyond_its_limit_is_refused_wherever_it_is() -> None:
    packing, _ = packing_for(extreme(9), True)
    for position in range(9):
        for level in (LEVEL + 1, -LEVEL - 1, 2**200):
            levels = [LEVEL] * 9
            packing.pack(levels, LEVEL)
            levels[position] = level
            with pytest.raises(InputError, match="level = ") as caught:
                packing.pack(levels, LEVEL)
            assert (caught.value.argument, caught.value.value) == ("level", level)


def test_only_python_integers_are_packed() -> None:
    import numpy as np

    packing = Packing.fitting(2, 40, 256, True)
    with pytest.raises(InputError, match="level"):
        packing.pack([1, True], LEVEL)
    for value in (np.int64(3), 3.0):
        with pytest.raises((InputError, TypeCheckError), match=r"level|list"):
            packing.pack([1, value], LEVEL)  # pyright: ignore[reportArgumentType]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 8), st.integers(-LEVEL, LEVEL), st.sampled_from([-1, 1]))
def test_a_sum_that_eats_guard_bits_is_seen_after_decryption(
    slot: int, level: int, sign: int
) -> None:
    # Two guard bits: what is up to four times the slot's plaintext bits is told from a level.
    packing = Packing.fitting(9, 30, 256, True)
    limit = 2**29 - 1
    public = KEY.public
    levels = [level] * 9
    levels[slot] = sign * limit
    packed = [public.encrypt(m) for m in packing.pack(levels, limit)]
    assert packing.unpack([KEY.decrypt(c) for c in packed], limit) == levels
    doubled = [KEY.decrypt(public.scale(c, 3)) for c in packed]
    with pytest.raises(InputError, match="value in a slot"):
        packing.unpack(doubled, limit)


def test_what_is_left_beyond_the_slots_is_refused() -> None:
    packing = Packing.fitting(3, 30, 256, True)
    plaintext = packing.pack([1, -2, 3], 5)[0]
    assert packing.unpack([plaintext], 5) == [1, -2, 3]
    for extra in (1, -1, 12345):
        with pytest.raises(InputError, match="rest of a plaintext"):
            packing.unpack([plaintext + (extra << 3 * packing.width)], 5)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data())
def test_packing_is_the_sum_of_slots_and_unpacking_undoes_it(data: st.DataObject) -> None:
    dim = data.draw(st.integers(1, 20))
    bits = data.draw(st.integers(2, 70))
    packing = Packing.fitting(
        dim, bits, 256, data.draw(st.booleans()), data.draw(st.integers(1, 3))
    )
    limit = data.draw(st.integers(0, 2 ** (bits - 1) - 1))
    values = data.draw(st.lists(st.integers(-limit, limit), min_size=dim, max_size=dim))
    plaintexts = packing.pack(values, limit)
    starts = range(0, dim, packing.slots)
    assert plaintexts == [
        sum(m * 2 ** (packing.width * s) for s, m in enumerate(values[a : a + packing.slots]))
        for a in starts
    ]
    assert len(plaintexts) == packing.ciphertexts == len(starts)
    assert sum(packing.groups) == dim
    assert packing.unpack(plaintexts, limit) == values


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(2, 300), st.integers(1, 5), st.integers(48, 8192))
def test_full_slots_fit_under_every_modulus_and_one_more_does_not(
    bits: int, guard_bits: int, half_key: int
) -> None:
    key_bits, width = 2 * half_key, bits + guard_bits
    smallest_n = 2 ** (key_bits - 1) + 1
    fits = [
        sum(2 ** (width - 1) << width * s for s in range(slots)) <= largest_plaintext(smallest_n)
        for slots in ((key_bits - 2) // width, (key_bits - 2) // width + 1)
    ]
    if key_bits - 2 < width:
        with pytest.raises(InputError, match="key_bits"):
            Packing.fitting(3, bits, key_bits, True, guard_bits)
        assert not fits[1]
    else:
        packing = Packing.fitting(3, bits, key_bits, True, guard_bits)
        assert packing.slots == (key_bits - 2) // width
        assert fits == [True, False]
        assert Packing.fitting(3, bits, key_bits, False, guard_bits).slots == 1


def test_the_smallest_key_that_would_do_is_named_and_does() -> None:
    for bits in range(150, 160):
        with pytest.raises(InputError, match="at least") as caught:
            Packing.fitting(3, bits, 128, True)
        named = int(caught.value.accepted.split()[2])
        assert Packing.fitting(3, bits, named, True).slots == 1
        with pytest.raises(InputError, match="at least"):
            Packing.fitting(3, bits, named - 2, True)


def test_limits_beyond_the_slots_plaintext_bits_are_refused() -> None:
    packing = Packing.fitting(1, 30, 256, True)
    edge = 2**29 - 1
    assert packing.unpack(packing.pack([-edge], edge), edge) == [-edge]
    for limit in (edge + 1, -1):
        with pytest.raises(InputError, match="limit"):
            packing.pack([0], limit)
        with pytest.raises(InputError, match="limit"):
            packing.unpack([0], limit)


def test_wrong_numbers_of_values_and_plaintexts_are_refused() -> None:
    packing = Packing.fitting(3, 30, 256, True)
    for values in ([], [1, 2], [1, 2, 3, 4]):
        with pytest.raises(InputError, match="values"):
            packing.pack(values, 5)
    for plaintexts in ([], [0, 0]):
        with pytest.raises(InputError, match="plaintexts"):
            packing.unpack(plaintexts, 5)
    for dim in (0, -1):
        with pytest.raises(InputError, match="dim"):
            Packing.fitting(dim, 30, 256, True)


def test_the_last_group_holds_what_is_left() -> None:
    slots = Packing.fitting(1, 30, 256, True).slots
    assert slots == 7
    for dim, groups in ((6, (6,)), (7, (7,)), (8, (7, 1)), (14, (7, 7)), (20, (7, 7, 6))):
        assert Packing.fitting(dim, 30, 256, True).groups == groups
    counts = [Packing.fitting(dim, 30, 256, True).ciphertexts for dim in range(1, 30)]
    assert all(after - before in (0, 1) for before, after in pairwise(counts))
