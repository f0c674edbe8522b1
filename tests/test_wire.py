"""What encrypted parties send and share: ciphertexts, and nothing else."""

import gc
import math
import types
from collections.abc import Iterator
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
from stretches import (
    COMPLETE,
    COORDINATE,
    FIRST,
    FIVE,
    LINK,
    PATH,
    PUBLIC,
    RUN,
    implementation,
    keys,
    protocol,
    replayed,
    stretch_of,
)

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import ciphertext_bytes
from dpe_jax.paillier.channel import Channel, Message
from dpe_jax.paillier.party import Party
from dpe_jax.paillier.protocol import LEVEL_LIMIT, Factors, Protocol
from dpe_jax.paillier.replay import Stretch


def encodings(value: int, moduli: list[int]) -> Iterator[bytes]:
    """Fixed-width words of both ends, decimal digits, and residues modulo every n."""
    for length in (4, 8):
        if -(2 ** (8 * length - 1)) <= value < 2 ** (8 * length - 1):
            for order in ("little", "big"):
                yield value.to_bytes(length, order, signed=True)
    yield str(value).encode()
    for n in moduli:
        residue = value % n
        # A residue of few bytes would be found by chance; it is looked for at full length as well.
        for length in {(n.bit_length() + 7) // 8, max(5, (residue.bit_length() + 7) // 8)}:
            for order in ("little", "big"):
                yield residue.to_bytes(length, order)


def plaintexts(rules: Protocol, stretch: Stretch) -> set[int]:
    """Levels, negated, packed, their differences and sums, weighted ones too."""
    values = set()
    for q, v in zip(stretch.level.tolist(), stretch.sums.tolist(), strict=True):
        for row in q:
            values |= {*row, *rules.packing.pack(row, LEVEL_LIMIT)}
        for i, j, c in rules.coupling:
            for one, other in zip(q[i], q[j], strict=True):
                values |= {other - one, c * (other - one), one + other}
        for row in v:
            values |= {*row, *rules.packing.pack(row, rules.sum_limit)}
    return {signed for value in values for signed in (value, -value)}


def leaks(transcript: list[Message], values: set[int], moduli: list[int]) -> set[int]:
    wire = [message.payload for message in transcript]
    return {
        value
        for value in values
        if any(code in payload for code in encodings(value, moduli) for payload in wire)
    }


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "fast", "short"])
def test_the_transcript_holds_no_plaintext_in_any_encoding(name, factors) -> None:
    rules = protocol(PATH, 2, factors, packed=name != "phe")
    # Levels near 2²⁷: all values have six digits and more, which are not found by chance.
    stretch = stretch_of(rules, 1, spread=2.0**59, seed=4)
    moduli = [p * q for p, q in keys(3)]
    values = plaintexts(rules, stretch)
    assert min(map(abs, values)) > 10**5
    channels = [Channel(3, keep=True) for _ in range(2)]
    for channel in channels:
        assert replayed(rules, stretch, name, channel=channel).mismatches == 0
    # Four bytes may turn up by chance once in 10⁵ replays, but what is sent turns up in both.
    both = [leaks(channel.transcript, values, moduli) for channel in channels]
    assert both[0] & both[1] == set()
    # The search finds each value in each encoding when it is there.
    sent = channels[0].transcript[-1]
    for value in sorted(values)[:6]:
        for code in encodings(value, moduli):
            planted = replace(sent, payload=sent.payload[:50] + code + sent.payload[50:])
            assert value in leaks([planted], values, moduli)


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "fast", "short"])
def test_messages_are_ciphertexts_of_one_length_and_nothing_else(name, factors) -> None:
    rules = protocol(FIVE, 5, factors, packed=name != "phe", bits=160)
    stretch = stretch_of(rules, 2)
    channel = Channel(5, keep=True)
    done = replayed(rules, stretch, name, bits=160, channel=channel)
    count = 5 if factors.kind == "coordinate" or name == "phe" else rules.packing.ciphertexts
    links = 2 * len(FIVE)
    for message in channel.transcript:
        if message.kind == "key":
            continue
        owner = message.sender if message.kind == "level" else message.recipient
        p, q = keys(5, 160)[owner]
        assert len(message.payload) == count * ciphertext_bytes(p * q)
        assert all(0 < number < (p * q) ** 2 for number in chunks(message.payload, p * q))
    kinds = [message.kind for message in channel.transcript]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "key": links,
        "level": 2 * links,
        "reply": 2 * links,
    }
    assert (done.messages, done.wire_bytes) == (4 * links, 4 * links * count * 40)
    assert done.announcements == links
    announced = [message for message in channel.transcript if message.kind == "key"]
    assert done.announcement_bytes == sum(len(message.payload) for message in announced)


def chunks(payload: bytes, n: int) -> list[int]:
    length = ciphertext_bytes(n)
    starts = range(0, len(payload), length)
    return [int.from_bytes(payload[start : start + length], "big") for start in starts]


@pytest.mark.parametrize("factors", [PUBLIC, LINK, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "fast", "short"])
def test_equal_levels_never_give_equal_ciphertexts(name, factors) -> None:
    rules = protocol(COMPLETE, 3, factors, packed=name != "phe", bits=128)
    state, still = np.full((4, 3), 5 * 2**32), np.zeros((3, 4, 3), np.int64)
    stretch = stretch_of(rules, 3, state=state, increment=still)
    assert (stretch.level == 5).all()
    channel = Channel(4, keep=True)
    assert replayed(rules, stretch, name, bits=128, channel=channel, ahead=2).mismatches == 0
    seen = []
    for message in channel.transcript:
        if message.kind == "reply" or (
            # Of a broadcast, the copy to the first neighbor.
            message.kind == "level" and message.recipient == (0 if message.sender else 1)
        ):
            p, q = keys(4, 128)[message.sender if message.kind == "level" else message.recipient]
            seen += chunks(message.payload, p * q)
        elif message.kind == "level":
            assert message.payload in {
                other.payload
                for other in channel.transcript
                if other.sender == message.sender
                and other.iteration == message.iteration
                and other.recipient == (0 if message.sender else 1)
            }
    assert len(seen) == len(set(seen)) >= 3 * (4 + 12)


def squares(ciphertexts: list[int], p: int) -> float:
    """The share of squares mod p, which the owner of the key can see."""
    return sum(pow(c, (p - 1) // 2, p) == 1 for c in ciphertexts) / len(ciphertexts)


@pytest.mark.parametrize("name", ["phe", "fast", "short"])
def test_replies_do_not_tell_that_a_private_factor_is_even(name) -> None:
    rules = protocol(COMPLETE, 3, Factors("link", 2, 2), packed=name != "phe", bits=128)
    stretch = stretch_of(rules, 12)
    channel = Channel(4, keep=True)
    replayed(rules, stretch, name, bits=128, channel=channel)
    p, q = keys(4, 128)[0]
    replies = [m for m in channel.transcript if m.kind == "reply" and m.recipient == 0]
    received = [c for message in replies for c in chunks(message.payload, p * q)]
    tolerance = 4 * 0.5 / np.sqrt(len(received))
    assert abs(squares(received, p) - 0.5) < tolerance < 0.4
    # Powers of ciphertexts would.
    public = implementation(name).private_key(p, q).public
    assert squares([public.scale(c, 2) for c in received], p) == 1


@pytest.mark.parametrize(("dim", "share"), [(2, 0.5), (12, 0.95)])
@pytest.mark.parametrize("factors", [LINK, COORDINATE], ids=lambda factors: factors.kind)
def test_what_a_curious_neighbor_reads_off_single_replies(factors, dim: int, share: float) -> None:
    """A leak, as the documents say: the common divisor of a reply is the link's factor."""
    rules = protocol(COMPLETE, dim, factors, bits=256)
    stretch = stretch_of(rules, 12)
    channel = Channel(4, keep=True)
    replayed(rules, stretch, "fast", bits=256, channel=channel)
    p, q = keys(4, 256)[0]
    key = implementation("fast").private_key(p, q)
    right = []
    for message in channel.transcript:
        if message.kind != "reply" or message.recipient != 0:
            continue
        plaintexts = [key.decrypt(c) for c in chunks(message.payload, p * q)]
        if factors.kind == "link":
            values = rules.packing.unpack(plaintexts, rules.sum_limit)
        else:
            values = plaintexts
        assert message.iteration is not None
        own, other = (stretch.level[message.iteration - FIRST, i] for i in (0, message.sender))
        divisor = math.gcd(*values)
        right.append(divisor > 0 and [v // divisor for v in values] == (other - own).tolist())
    if factors.kind == "link":
        assert np.mean(right) > share
    else:
        assert np.mean(right) < 0.2


# Parties.


def parties(rules: Protocol, stretch: Stretch, channel: Channel, name: str = "fast") -> list[Party]:
    kit = implementation(name)
    made = [
        Party(
            rules,
            agent,
            stretch.run,
            kit.private_key(*keys(rules.agents)[agent]),
            stretch.state[0, agent].tolist(),
            stretch.increment[:, agent].tolist(),
            channel,
        )
        for agent in range(rules.agents)
    ]
    channel.open_phase(None, "key")
    for party in made:
        party.announce_key()
    channel.open_phase(stretch.first, "level")
    for party in made:
        party.learn_keys(kit)
    return made


def test_wrong_messages_are_refused_by_the_receiver() -> None:
    rules = protocol(PATH, 2)
    length = rules.message_ciphertexts * 64
    for payload in (b"", bytes(length - 1), bytes(length + 1), bytes(2 * length)):
        channel = Channel(3)
        first = parties(rules, stretch_of(rules), channel)[0]
        first.round_state(FIRST)
        first.send_encrypted()
        channel.send(1, [0], payload)
        channel.open_phase(FIRST, "reply")
        with pytest.raises(InputError, match="payload"):
            first.reply()
    for senders in ([], [2], [1, 1], [1, 2]):
        channel = Channel(3)
        first = parties(rules, stretch_of(rules), channel)[0]
        for sender in senders:
            channel.send(sender, [0], bytes(length))
        channel.open_phase(FIRST, "reply")
        with pytest.raises(InputError, match="senders"):
            first.reply()


def test_the_channel_takes_bytes_to_others_and_delivers_them_in_the_next_phase() -> None:
    channel = Channel(3)
    channel.send(0, [1, 2], b"key")
    channel.open_phase(0, "level")
    assert (channel.announcements, channel.announcement_bytes) == (2, 6)
    channel.send(0, [1, 2], b"four")
    assert channel.receive(1) == [(0, b"key")]
    assert channel.receive(1) == []
    channel.open_phase(0, "reply")
    channel.send(2, [1], b"x")
    assert channel.receive(1) == [(0, b"four")]
    assert (channel.messages, channel.wire_bytes) == (3, 9)
    assert channel.transcript == []
    for recipient in (-1, 0, 3):
        with pytest.raises(InputError, match="recipient"):
            channel.send(0, [recipient], b"x")
    for payload in (bytearray(b"x"), "x", 7):
        with pytest.raises((InputError, TypeError)):
            channel.send(0, [1], payload)  # pyright: ignore[reportArgumentType]


IMMUTABLE = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    int,
    float,
    str,
    bytes,
    type(None),
)


def mutable(root: object, beside: set[int]) -> dict[int, object]:
    """Every mutable object that can be reached from an object, as the garbage collector sees it."""
    found, seen, open_ends = {}, set(beside), [root]
    while open_ends:
        thing = open_ends.pop()
        if id(thing) in seen or isinstance(thing, IMMUTABLE):
            continue
        seen.add(id(thing))
        frozen = is_dataclass(thing) and type(thing).__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]
        if frozen:
            # Its fields cannot be set again, so that their dictionary counts as frozen as well.
            open_ends += vars(thing).values() if hasattr(thing, "__dict__") else []
        elif not isinstance(thing, tuple | frozenset) and type(thing).__module__ != "gmpy2":
            found[id(thing)] = thing
        if not frozen:
            open_ends += gc.get_referents(thing)
    return found


@pytest.mark.parametrize("name", ["phe", "fast", "short"])
def test_parties_share_no_mutable_object_but_the_channel(name) -> None:
    rules = protocol(PATH, 2, LINK, packed=name != "phe")
    stretch = stretch_of(rules, 2)
    channel = Channel(3, keep=True)
    made = parties(rules, stretch, channel, name)
    for party in made:
        party.round_state(FIRST)
    for party in made:
        party.send_encrypted()
    channel.open_phase(FIRST, "reply")
    for party in made:
        party.reply()
    reached = [mutable(party, {id(channel)}) for party in made]
    assert all(len(found) > 10 for found in reached)
    for one in range(3):
        for other in range(one):
            shared = reached[one].keys() & reached[other].keys()
            assert [reached[one][place] for place in shared] == []
    # The search finds what is shared.
    made[0].levels = made[1].levels
    one, other = (mutable(party, {id(channel)}) for party in made[:2])
    assert [one[place] for place in one.keys() & other.keys()] == [made[1].levels]


def test_a_party_takes_python_integers_alone() -> None:
    rules = protocol(PATH, 2)
    key = implementation("fast").private_key(*keys(3)[0])
    for state, increments in (
        ([np.int64(1), 2], [[3, 4]]),
        ([1, 2], [[3, np.int64(4)]]),
        ([1, True], [[3, 4]]),
        ([1], [[3, 4]]),
        ([1, 2], [[3, 4, 5]]),
    ):
        with pytest.raises(Exception, match=r"Python integers|Type-check"):
            Party(rules, 0, RUN, key, state, increments, Channel(3))
    assert all(
        type(number) is int
        for party in parties(rules, stretch_of(rules), Channel(3))
        for number in party.state
    )
