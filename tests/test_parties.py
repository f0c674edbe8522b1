"""Encrypted parties replay traces integer for integer, and would notice one unit of difference."""

import json
import pickle
import random
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from stretches import (
    COMPLETE,
    COORDINATE,
    FIRST,
    FIVE,
    LINK,
    PATH,
    PUBLIC,
    RUN,
    STAR,
    implementation,
    keys,
    predicted,
    protocol,
    replayed,
    stretch_of,
)

from dpe_jax.errors import InputError
from dpe_jax.paillier import words
from dpe_jax.paillier.channel import Channel
from dpe_jax.paillier.protocol import LEVEL_LIMIT, Factors, Protocol, sum_limit
from dpe_jax.paillier.replay import Replayed, Stretch, replay
from dpe_jax.paillier.tally import OPERATIONS, Tally

# Replays agree.


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "fast"])
@pytest.mark.parametrize(
    ("coupling", "dim"), [(PATH, 1), (STAR, 2), (FIVE, 5), (COMPLETE, 2), (((0, 1, 1),), 5)]
)
def test_a_replay_agrees_with_the_oracle(factors, name, coupling, dim) -> None:
    rules = protocol(coupling, dim, factors, packed=name == "fast")
    stretch = stretch_of(rules, count=3)
    done = replayed(rules, stretch, name)
    assert (done.mismatches, done.first_mismatch, done.stopped) == (0, None, None)
    assert (done.iterations, done.compared) == (3, 3 * 3 * rules.agents * dim)
    assert (done.method, done.run, done.first) == ("method", RUN, FIRST)


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
def test_a_replay_agrees_with_several_ciphertexts_of_several_slots(factors) -> None:
    rules = protocol(STAR, 7, factors, bits=160)
    assert 1 < rules.packing.slots < 7
    assert rules.packing.ciphertexts > 1
    stretch = stretch_of(rules, count=3)
    channel = Channel(rules.agents, keep=True)
    done = replayed(rules, stretch, bits=160, channel=channel)
    assert done.mismatches == 0
    sent = {len(message.payload) for message in channel.transcript if message.kind != "key"}
    wanted = 7 if factors.kind == "coordinate" else rules.packing.ciphertexts
    assert sent == {wanted * 40}


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "fast"])
def test_levels_at_the_edge_of_the_range_survive(factors, name) -> None:
    rules = protocol(COMPLETE, 3, factors, packed=name == "fast")
    signs = np.array([[1, -1, 1], [-1, 1, -1], [-1, 1, 1], [1, -1, -1]])
    still = np.zeros((1, 4, 3), np.int64)
    stretch = stretch_of(rules, 1, state=signs * LEVEL_LIMIT * 2**32, gains=[0], increment=still)
    assert np.abs(stretch.level).max() == LEVEL_LIMIT
    assert replayed(rules, stretch, name).mismatches == 0


def test_rounding_to_the_nearest_level_is_replayed_where_the_protocol_says_so() -> None:
    rules = protocol(rounding="nearest")
    assert replayed(rules, stretch_of(rules)).mismatches == 0


def test_progress_is_told_after_each_iteration() -> None:
    rules, told = protocol(PATH, 1), []
    replayed(rules, stretch_of(rules, 3), progress=told.append)
    assert told == [1, 1, 1]


# Replays notice.

UNITS = st.sampled_from([-1, 1])


@dataclass(frozen=True)
class Case:
    """What makes a stretch, and what a replay of it is told."""

    protocol: Protocol
    stretch: Stretch


def changed(case: Case, what: str, place: int, unit: int) -> Case:
    """The case with one unit added somewhere; places run through the whole array."""
    rules, stretch = case.protocol, case.stretch
    if what == "seed":
        return replace(case, protocol=replace(rules, seed=rules.seed + unit))
    if what == "coupling":
        links = list(rules.coupling)
        i, j, c = links[place % len(links)]
        links[place % len(links)] = (i, j, c + 1)
        return replace(case, protocol=replace(rules, coupling=tuple(links)))
    array = getattr(stretch, what).copy()
    array.flat[place % array.size] += unit
    return replace(case, stretch=replace(stretch, **{what: array}))


@cache
def recorded(index: int) -> Case:
    factors = [PUBLIC, LINK, COORDINATE][index % 3]
    coupling = [STAR, PATH][index // 3]
    rules = protocol(coupling, [2, 3][index // 3], factors)
    return Case(rules, stretch_of(rules, 4, seed=index))


@pytest.mark.parametrize(
    "what", ["state", "level", "sums", "increment", "gains", "coupling", "seed"]
)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(index=st.integers(0, 5), place=st.integers(0, 10**6), unit=UNITS)
def test_one_unit_anywhere_is_found_where_the_oracle_finds_it(what, index, place, unit) -> None:
    case = changed(recorded(index), what, place, unit)
    first, number = predicted(case.protocol, case.stretch)
    assert first is not None
    done = replayed(case.protocol, case.stretch)
    assert done.first_mismatch == first
    assert done.mismatches == number
    assert done.iterations == case.stretch.count


def test_the_predicted_places_are_those_that_were_changed() -> None:
    case = recorded(0)
    shape = case.stretch.level.shape
    for what in ("level", "sums", "state"):
        # In arrays of this shape; of the states, those after the first.
        for place in range(0, int(np.prod(shape)), 5):
            step, agent, coordinate = (int(number) for number in np.unravel_index(place, shape))
            shift = shape[1] * shape[2] if what == "state" else 0
            stretch = changed(case, what, place + shift, 1).stretch
            first, number = predicted(case.protocol, stretch)
            assert number == 1
            assert first is not None
            found = (first.iteration - FIRST, first.quantity, first.agent, first.coordinate)
            assert found == (step, what.removesuffix("s"), agent, coordinate)
            assert first.expected == first.got + 1


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
def test_a_gain_shows_in_its_own_iteration_unless_nothing_is_exchanged(factors) -> None:
    rules = protocol(STAR, 2, factors)
    # Until iteration 2 all agents hold the same whole level, so v = 0 and Γ decides nothing.
    increment = np.zeros((5, 4, 2), np.int64)
    increment[1, 2, 1] = 3 * 2**32
    state = np.full((4, 2), 7 * 2**32)
    stretch = stretch_of(rules, 5, gains=[2**26] * 5, state=state, increment=increment)
    assert np.flatnonzero(np.any(stretch.sums != 0, axis=(1, 2))).tolist() == [2, 3, 4]
    for step in range(5):
        gains = stretch.gains.copy()
        gains[step:] += 1
        first = replayed(rules, replace(stretch, gains=gains)).first_mismatch
        assert first is not None
        # Agent 0 is the neighbor of agent 2, whose coordinate 1 moved.
        place = (first.iteration, first.quantity, first.agent, first.coordinate)
        assert place == (FIRST + max(step, 2), "state", 0, 1)
        gains = stretch.gains.copy()
        gains[step] += 1
        assert (replayed(rules, replace(stretch, gains=gains)).mismatches == 0) == (step < 2)


@pytest.mark.parametrize("name", ["phe", "fast"])
def test_parties_that_round_to_the_nearest_level_are_found_out(name) -> None:
    rules = protocol(packed=name == "fast")
    stretch = stretch_of(rules)
    nearest = replace(rules, rounding="nearest")
    done = replayed(nearest, stretch, name)
    assert done.first_mismatch == predicted(nearest, stretch)[0]
    assert done.first_mismatch is not None
    assert done.first_mismatch.quantity == "level"
    assert done.mismatches > stretch.count


def test_the_other_agents_factors_are_found_out() -> None:
    rules = protocol(PATH, 2, LINK)
    assert replayed(replace(rules, factors=Factors("link", 1, 8)), stretch_of(rules)).mismatches
    assert replayed(replace(rules, factors=COORDINATE), stretch_of(rules)).mismatches


# The range.


@pytest.mark.parametrize("factors", [PUBLIC, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "fast"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_level_beyond_the_range_is_refused_before_anything_is_encrypted(
    name, sign, factors
) -> None:
    rules = protocol(factors=factors, packed=name == "fast")
    increment = np.zeros((3, 5, 2), np.int64)
    # The last agent leaves the range in the third iteration.
    increment[1, 4, 1] = -sign * (LEVEL_LIMIT + 1) * 2**32
    stretch = stretch_of(rules, 3, increment=increment, spread=0.0)
    channel = Channel(5, keep=True)
    with pytest.raises(InputError, match="level = ") as caught:
        replayed(rules, stretch, name, channel=channel)
    assert caught.value.argument == "level"
    assert {message.iteration for message in channel.transcript} == {None, FIRST, FIRST + 1}
    assert {message.kind for message in channel.transcript[-12:]} == {"reply"}
    assert channel.messages == 2 * 2 * 12


def test_after_a_mismatch_a_level_beyond_the_range_ends_the_replay() -> None:
    rules = protocol()
    stretch = stretch_of(rules)
    increment = stretch.increment.copy()
    increment[1, 2, 0] -= 2**61
    done = replayed(rules, replace(stretch, increment=increment))
    assert done.first_mismatch is not None
    place = (done.first_mismatch.iteration, done.first_mismatch.agent, done.mismatches)
    assert place == (FIRST + 1, 2, 1)
    assert (done.iterations, done.compared) == (2, 2 * 3 * 10)
    assert done.stopped is not None
    assert "level = 536870" in done.stopped
    assert f"agent 2, iteration {FIRST + 2}" in done.stopped


def test_a_key_too_small_for_the_sums_is_refused_before_anything_is_sent() -> None:
    rules = protocol(FIVE, 6)
    channel = Channel(5)
    with pytest.raises(InputError, match="key = '128 bits'"):
        replayed(rules, stretch_of(rules), bits=128, channel=channel)
    assert channel.announcements == 0


# What a replay is told and what it tells.


def test_stretches_that_do_not_fit_are_refused() -> None:
    rules = protocol(PATH, 2)
    stretch = stretch_of(rules, 3)
    nothing = replace(
        stretch,
        gains=stretch.gains[:0],
        state=stretch.state[:1],
        **{name: getattr(stretch, name)[:0] for name in ("level", "sums", "increment")},
    )
    with pytest.raises(InputError, match="at least one iteration"):
        replayed(rules, nothing)
    with pytest.raises(InputError, match="state"):
        replayed(protocol(PATH, 3), stretch)
    with pytest.raises(InputError, match="run"):
        replayed(rules, replace(stretch, run=2**32))
    with pytest.raises(InputError, match="first"):
        replayed(rules, replace(stretch, first=2**32 - 3))
    with pytest.raises(InputError, match="pairs of primes"):
        replay(rules, stretch, implementation("fast"), keys(5))


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("agents", {"agents": 1}),
        ("packing", {"dim": 3}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 2**64}),
        ("rounding", {"rounding": "up"}),
        ("coupling", {"coupling": ((1, 0, 1), (1, 2, 1))}),
        ("coupling", {"coupling": ((0, 1, 0), (1, 2, 1))}),
        ("coupling", {"coupling": ((0, 1, 1), (0, 1, 1), (1, 2, 1))}),
        ("coupling", {"coupling": ((0, 1, 1),)}),
        ("packing", {"level_limit": 2**60}),
    ],
)
def test_protocols_that_cannot_be_are_refused(argument, wrong) -> None:
    with pytest.raises(Exception, match=argument) as caught:
        replace(protocol(PATH, 2), **wrong)
    # The checker of annotations may see a wrong literal first.
    assert isinstance(caught.value, InputError) or argument == "rounding"


@pytest.mark.parametrize("bounds", [(0, 3), (3, 2), (1, 2**31 + 1)])
def test_factors_that_cannot_be_are_refused(bounds) -> None:
    with pytest.raises(InputError, match="factors"):
        Factors("link", *bounds)
    with pytest.raises(InputError, match="factors"):
        Factors("public", 1, 2)


def test_the_limit_of_the_sums_is_that_of_the_headroom() -> None:
    assert sum_limit(STAR) == 2 * LEVEL_LIMIT * 8
    assert sum_limit(STAR, LINK) == 2 * LEVEL_LIMIT * 8 * 81
    assert protocol(FIVE).sum_limit == 2 * LEVEL_LIMIT * max(
        sum(c for *ends, c in FIVE if agent in ends) for agent in range(5)
    )


def test_results_survive_json_and_pickle() -> None:
    rules = protocol(PATH, 2)
    case = changed(Case(rules, stretch_of(rules)), "level", 5, 1)
    for done in (replayed(rules, case.stretch), replayed(rules, stretch_of(rules))):
        assert Replayed.from_dict(json.loads(json.dumps(done.to_dict()))) == done
        assert pickle.loads(pickle.dumps(done)) == done
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_the_tally_counts_operations() -> None:
    rules = protocol(FIVE, 5, COORDINATE, bits=160)
    packing, links = rules.packing, 2 * len(FIVE)
    assert packing.ciphertexts > 1
    tally = replayed(rules, stretch_of(rules, 3), bits=160).tally
    assert tally.counts == {
        "keys": 5,
        "tables": 5 + links,
        "prepare": 0,
        "round": 3 * 25,
        "encrypt_own": 3 * 25,
        "encrypt_neighbor": 3 * 5 * links,
        "combine": 3 * 5 * links,
        "gather": 3 * 5 * links,
        "decrypt": 3 * 5 * packing.ciphertexts,
        "update": 3 * 25,
    }
    assert all((seconds > 0) == (name != "prepare") for name, seconds in tally.seconds.items())


def test_randomness_computed_ahead_is_counted_and_changes_nothing() -> None:
    rules = protocol(FIVE, 5, bits=160)
    stretch = stretch_of(rules, 5)
    told = []
    done = replayed(rules, stretch, bits=160, ahead=2, progress=told.append)
    ciphertexts = 5 * rules.packing.ciphertexts * (5 + 2 * len(FIVE))
    assert (done.mismatches, done.tally.counts["prepare"]) == (0, ciphertexts)
    assert (
        sum(done.tally.counts[f"encrypt_{whose}"] for whose in ("own", "neighbor")) == ciphertexts
    )


def test_tallies_add_up() -> None:
    one, other = Tally(), Tally()
    with one.timing("round", 3):
        pass
    with other.timing("round", 4), other.timing("decrypt", 1):
        pass
    total = one + other
    assert (total.counts["round"], total.counts["decrypt"], one.counts["round"]) == (7, 1, 3)
    assert total.seconds["round"] == one.seconds["round"] + other.seconds["round"]
    assert Tally.from_dict(json.loads(json.dumps(total.to_dict()))) == total
    assert list(total.to_dict()) == list(OPERATIONS)
    assert total != one


# Words.


def test_words_are_those_of_the_generator() -> None:
    # Known answers of Random123: https://github.com/DEShawResearch/random123
    ones = 2**32 - 1
    zero_answer = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones_answer = (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    assert words.philox4x32((0, 0, 0, 0), words.round_keys(0)) == zero_answer
    assert words.philox4x32((ones, ones, ones, ones), words.round_keys(2**64 - 1)) == ones_answer
    rng = random.Random(1)
    for _ in range(50):
        seed = rng.getrandbits(64)
        keys = words.round_keys(seed)
        run, k, element = (rng.getrandbits(31) for _ in range(3))
        rounding = reference.words(seed, run, k, element)[0]
        assert words.rounding_word(keys, run, k, element) == rounding
        pair = reference.words(seed, run, k + 1, element, 3)[:2]
        assert words.factor_words(keys, run, k, element) == pair


def test_factors_are_uniform_on_their_range_and_differ_by_direction() -> None:
    drawn = {
        (agent, neighbor): [
            words.OwnWords(agent, 4, 2, 9, run, "stochastic", LINK).factors(5, neighbor)[0]
            for run in range(3000)
        ]
        for agent, neighbor in [(0, 1), (1, 0), (2, 3)]
    }
    for values in drawn.values():
        assert (min(values), max(values)) == (1, 9)
        # Nine values, standard deviation √(80/12).
        error = (80 / 12 / 3000) ** 0.5
        assert abs(np.mean(values) - 5) < 5 * error
    assert drawn[0, 1] != drawn[1, 0] != drawn[2, 3]
