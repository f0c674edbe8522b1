"""What an eavesdropper has of a real replay, and what it learns of the states: nothing."""

import dataclasses
import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from stretches import COORDINATE, FIVE, LINK, PATH, implementation, keys, protocol, stretch_of

from dpe_jax.errors import InputError
from dpe_jax.experiment import find_config, override
from dpe_jax.paillier.channel import Channel, Message
from dpe_jax.paillier.protocol import LEVEL_LIMIT
from dpe_jax.paillier.replay import replay
from dpe_jax.paillier.setup import Encryption
from dpe_jax.privacy.broken import BrokenBackend, Flaw
from dpe_jax.privacy.intervals import Balanced
from dpe_jax.privacy.recorded import wires
from dpe_jax.privacy.transcripts import (
    EavesdropperTranscript,
    as_text,
    chosen_states,
    level_attack,
    outline,
    repeats,
    sizes,
    transcript,
)

pytestmark = pytest.mark.slow  # together over 20 s

RULES = protocol(FIVE, 2, rounding="nearest")
RARE = 1e-6


def drawn(count: int = 60, dim: int = 2) -> np.ndarray:
    return np.random.default_rng(dim).integers(-(2**20), 2**20, (count, 5, dim))


@functools.cache
def seen(flaw: Flaw | None) -> EavesdropperTranscript:
    kit = implementation("short")
    kit = kit if flaw is None else BrokenBackend(kit, flaw)
    return transcript(RULES, chosen_states(RULES, drawn()), kit, keys(5))


def attacked(*arguments: Any) -> Balanced:
    found = level_attack(*arguments)
    assert found is not None
    return found


def test_a_transcript_is_the_wire_and_the_public_keys() -> None:
    stretch = stretch_of(protocol(), 2)
    wire = transcript(protocol(), stretch, implementation("fast"), keys(5))
    assert [field.name for field in dataclasses.fields(wire)] == ["messages", "moduli"]
    assert wire.moduli == tuple(p * q for p, q in keys(5))
    assert all(type(message) is Message for message in wire.messages)
    fields = [field.name for field in dataclasses.fields(Message)]
    assert fields == ["sender", "recipient", "iteration", "kind", "payload"]
    # Of another replay with the same keys all is the same but the ciphertexts.
    channel = Channel(5, keep=True)
    replay(protocol(), stretch, implementation("fast"), keys(5), channel)
    other = EavesdropperTranscript(tuple(channel.transcript), wire.moduli)
    assert outline(other) == outline(wire)
    pairs = list(zip(wire.messages, other.messages, strict=True))
    assert all((a.payload == b.payload) == (a.kind == "key") for a, b in pairs)
    with pytest.raises(dataclasses.FrozenInstanceError):
        wire.moduli = ()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_stretch_that_does_not_agree_is_refused() -> None:
    stretch = stretch_of(protocol(), 2)
    wrong = replace(stretch, sums=stretch.sums + 1)
    with pytest.raises(InputError, match="stretch"):
        transcript(protocol(), wrong, implementation("fast"), keys(5))


def test_chosen_states_are_held() -> None:
    levels = drawn(5)
    levels[2:4] = LEVEL_LIMIT
    stretch = chosen_states(RULES, levels)
    done = replay(RULES, stretch, implementation("fast"), keys(5))
    assert (done.mismatches, done.iterations) == (0, 5)
    for agent in range(5):
        weights = RULES.weights(agent)
        wanted = sum(c * (levels[:, j] - levels[:, agent]) for j, c in weights.items())
        assert np.array_equal(stretch.sums[:, agent], wanted)
    with pytest.raises(InputError, match="levels"):
        chosen_states(RULES, levels + 1)
    with pytest.raises(InputError, match="factors"):
        chosen_states(protocol(FIVE, 2, LINK), levels)


@pytest.mark.parametrize("factors", [LINK, COORDINATE], ids=lambda factors: factors.kind)
@pytest.mark.parametrize("name", ["phe", "short"])
def test_messages_have_one_size_and_nothing_beside_ciphertexts(name: str, factors) -> None:
    rules = protocol(PATH, 2, factors, packed=name != "phe")
    wire = transcript(rules, stretch_of(rules, 2), implementation(name), keys(3))
    found = sizes(wire, rules)
    assert found.fixed
    assert found.whole == found.messages == 2 * 2 * 2 * 2
    length = 64 * rules.message_ciphertexts
    assert found.lengths == {"level": (length,), "reply": (length,)}
    # Anything else is refused: text with exponents, and one message that differs in any way.
    assert not sizes(as_text(wire), rules).fixed
    last = wire.messages[-1]
    n = wire.moduli[wire.owner(last)]
    for payload in (
        last.payload + b"\0",
        last.payload[1:],
        last.payload[:-64] + (n * n).to_bytes(64, "big"),
        last.payload[:-64] + bytes(64),
        last.payload * 2,
    ):
        spoiled = (*wire.messages[:-1], replace(last, payload=payload))
        assert not sizes(EavesdropperTranscript(spoiled, wire.moduli), rules).fixed
    # All of them with an exponent: of one length, but not ciphertexts alone.
    spoiled = tuple(
        m if m.kind == "key" else replace(m, payload=m.payload + b"\0") for m in wire.messages
    )
    found = sizes(EavesdropperTranscript(spoiled, wire.moduli), rules)
    assert [len(lengths) for lengths in found.lengths.values()] == [1, 1]
    assert not found.fixed


def test_unlike_states_make_transcripts_of_one_outline() -> None:
    outlines = [
        outline(transcript(RULES, chosen_states(RULES, levels), implementation("fast"), keys(5)))
        for levels in (drawn(3), 0 * drawn(3), 0 * drawn(3) - LEVEL_LIMIT)
    ]
    assert outlines[0] == outlines[1] == outlines[2]
    assert outlines[0] != outline(as_text(seen(None)))[: len(outlines[0])]


def test_no_ciphertext_comes_again_unless_randomness_does() -> None:
    assert repeats(seen(None)) == 0
    # States of random levels never come again by themselves; levels that stand still do.
    still = chosen_states(RULES, 0 * drawn(4))
    assert repeats(transcript(RULES, still, implementation("short"), keys(5))) == 0
    kit = BrokenBackend(implementation("short"), "deterministic")
    links = 2 * len(FIVE)
    # Of n keys all zeros are the number 1, and so is each reply.
    assert repeats(transcript(RULES, still, kit, keys(5))) == 4 * (5 + links) - 1
    wire = seen(None)
    reply = next(m for m in wire.messages if m.kind == "reply")
    assert repeats(EavesdropperTranscript((*wire.messages, reply), wire.moduli)) == 1


@pytest.mark.parametrize("kind", ["level", "reply"])
@pytest.mark.parametrize("threshold", [0.0, None])
def test_bytes_of_a_transcript_do_not_tell_the_sign_of_a_state(kind, threshold) -> None:
    found = attacked(seen(None), RULES, drawn(), kind, 1, threshold)
    assert found.p_value > RARE
    assert found.advantage.high - found.advantage.low < 0.65
    assert found.positives + found.negatives == 30 * (5 if kind == "level" else 2 * len(FIVE))
    caught = attacked(seen("deterministic"), RULES, drawn(), kind, 1, threshold)
    assert caught.p_value < RARE
    if threshold == 0:
        assert caught.advantage.value == 1


def test_a_bias_of_one_bit_is_found_and_measured() -> None:
    found = attacked(seen("biased"), RULES, drawn(), "level", 1, 0.0)
    assert found.p_value < RARE
    assert abs(found.advantage.value - 0.75) < 5 * np.sqrt(7 / 16 / 150)
    # The other coordinate lies below in the plaintext and does not make its sign.
    assert attacked(seen("biased"), RULES, drawn(), "level", 0, 0.0).p_value > RARE


def test_plaintexts_on_one_side_leave_nothing_to_tell_apart() -> None:
    levels = np.abs(drawn()) + 1
    wire = transcript(RULES, chosen_states(RULES, levels), implementation("short"), keys(5))
    assert level_attack(wire, RULES, levels, "level", 1, 0.0) is None
    assert level_attack(wire, RULES, levels, "level", 1, None) is not None


@pytest.mark.parametrize("flaw", [None, "deterministic"])
def test_runs_of_a_simulation_are_replayed_and_listened_to(flaw, monkeypatch) -> None:
    config = override(find_config("audit"), {"runs": 1, "iterations": 60})
    made = config.build()
    chosen = ("encrypted", "signed", "link-factors", "coordinate-factors", "conventional")
    made = replace(made, algorithms={name: made.algorithms[name] for name in chosen})
    if flaw is not None:
        broken = BrokenBackend(implementation("short"), flaw)
        monkeypatch.setattr(Encryption, "backend", lambda _: broken)
    found = wires(made, Encryption("fast", "short", 256, True))
    # `signed` has the protocol of `encrypted`, and what is in plaintext has no ciphertexts.
    assert list(found) == ["encrypted", "link-factors", "coordinate-factors"]
    for wire in found.values():
        assert (wire.iterations, wire.sizes.fixed) == (60, True)
        # Both ways over each of 8 links: a key, and each iteration a level and a reply.
        assert wire.messages == 2 * 8 * (1 + 2 * 60)
        assert set(wire.attacks) == {"level", "reply"}
        if flaw is None:
            assert wire.repeats == 0
            assert wire.least_p > RARE
        else:
            assert wire.repeats > 0


def test_the_ciphertext_that_holds_a_coordinate_is_attacked() -> None:
    rules = protocol(FIVE, 7, bits=160, rounding="nearest")
    assert 1 < rules.packing.slots < 7
    levels = drawn(40, 7)
    kit = BrokenBackend(implementation("fast"), "deterministic")
    wire = transcript(rules, chosen_states(rules, levels), kit, keys(5, 160))
    top = rules.packing.slots - 1
    for coordinate, telling in ((top, True), (top + 1, False), (6, True)):
        found = attacked(wire, rules, levels, "level", coordinate, 0.0)
        assert (found.advantage.value == 1) == telling
