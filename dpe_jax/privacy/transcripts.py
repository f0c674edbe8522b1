"""What an eavesdropper has of a replay with real encryption, and attacks that have nothing else."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import Backend, ciphertext_bytes
from dpe_jax.paillier.channel import Channel, Message
from dpe_jax.paillier.checks import read_modulus
from dpe_jax.paillier.protocol import LEVEL_LIMIT, Protocol
from dpe_jax.paillier.replay import Stretch, replay
from dpe_jax.privacy.features import Classifier
from dpe_jax.privacy.intervals import Balanced, balanced


@dataclasses.dataclass(frozen=True)
class EavesdropperTranscript:
    """The wire: every message, and the public keys that were announced on it. Nothing else."""

    messages: tuple[Message, ...]
    """Sender, recipient, iteration, kind and bytes, in the order sent."""
    moduli: tuple[int, ...]
    """n of each agent, as announced."""

    def owner(self, message: Message) -> int:
        """Whose key its ciphertexts are under: of levels the sender's, of replies the other's."""
        return message.recipient if message.kind == "reply" else message.sender


def transcript(
    protocol: Protocol,
    stretch: Stretch,
    backend: Backend,
    keys: Sequence[tuple[int, int]],
    ahead: int = 0,
) -> EavesdropperTranscript:
    """Replay a stretch with real parties and keep what went over the wire.

    InputError for a stretch whose replay does not agree with the record: its plaintexts would not
    be those that are recorded.
    """
    channel = Channel(protocol.agents, keep=True)
    done = replay(protocol, stretch, backend, keys, channel, ahead=ahead)
    if done.first_mismatch is not None:
        accepted = "integers that a replay agrees with"
        raise InputError("stretch", f"{done.mismatches} other integers", accepted)
    announced = {m.sender: m.payload for m in channel.transcript if m.kind == "key"}
    moduli = tuple(read_modulus(announced[agent])[0] for agent in range(protocol.agents))
    return EavesdropperTranscript(tuple(channel.transcript), moduli)


def chosen_states(
    protocol: Protocol, levels: Int64[np.ndarray, "count agents dim"], run: int = 0
) -> Stretch:
    """A stretch in which the agents hold just these levels, iteration by iteration.

    The gain is 0 and the increments lead from each level to the next. Only with public weights, so
    that the sums are known without anybody's factors; InputError for others.
    """
    if protocol.factors.kind != "public":
        raise InputError("factors", protocol.factors.kind, "'public'")
    if np.abs(levels).max(initial=0) > LEVEL_LIMIT:
        raise InputError("levels", int(np.abs(levels).max()), f"at most {LEVEL_LIMIT} in size")
    sums = np.zeros_like(levels)
    for i, j, c in protocol.coupling:
        sums[:, i] += c * (levels[:, j] - levels[:, i])
        sums[:, j] += c * (levels[:, i] - levels[:, j])
    # Whole levels are not rounded, and after the last iteration they stay.
    state = np.concatenate([levels, levels[-1:]]) << 32
    gains = np.zeros(len(levels), np.int64)
    return Stretch("chosen", run, 0, gains, state, levels, sums, state[:-1] - state[1:])


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The lengths of the messages of a transcript."""

    lengths: dict[str, tuple[int, ...]]
    """Bytes, by kind: one each, if nothing is wrong."""
    messages: int
    whole: int
    """Messages that are so many numbers from 1 to n² − 1 of fixed length, and nothing beside."""

    @property
    def fixed(self) -> bool:
        """One length for each kind, and no message with anything beside its ciphertexts."""
        return self.whole == self.messages and all(len(n) == 1 for n in self.lengths.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fixed": self.fixed,
            "payload_bytes": {kind: list(found) for kind, found in self.lengths.items()},
            "messages": self.messages,
            "ciphertexts_only": self.whole,
        }


def sizes(seen: EavesdropperTranscript, protocol: Protocol) -> Sizes:
    """Of every level and every reply; how many ciphertexts one holds, the protocol says."""
    ciphertexts = protocol.message_ciphertexts
    lengths: dict[str, set[int]] = defaultdict(set)
    messages = [message for message in seen.messages if message.kind != "key"]
    whole = 0
    for message in messages:
        lengths[message.kind].add(len(message.payload))
        n = seen.moduli[seen.owner(message)]
        parts = _parts(message.payload, n)
        whole += len(parts) == ciphertexts and all(
            len(part) == ciphertext_bytes(n) and 0 < int.from_bytes(part, "big") < n**2
            for part in parts
        )
    found = {kind: tuple(sorted(some)) for kind, some in lengths.items()}
    return Sizes(found, len(messages), whole)


def outline(seen: EavesdropperTranscript) -> tuple[tuple[Any, ...], ...]:
    """All of a transcript but the bytes themselves: who, to whom, when, what kind, how long.

    Two runs of one protocol have the same, whatever the agents' states are.
    """
    return tuple(
        (m.sender, m.recipient, m.iteration, m.kind, len(m.payload)) for m in seen.messages
    )


def as_text(seen: EavesdropperTranscript) -> EavesdropperTranscript:
    """The same ciphertexts in decimal digits with an exponent, as JSON: what `sizes` must catch."""

    def rewritten(message: Message) -> Message:
        if message.kind == "key":
            return message
        parts = _parts(message.payload, seen.moduli[seen.owner(message)])
        text = json.dumps([[str(int.from_bytes(part, "big")), 0] for part in parts])
        return dataclasses.replace(message, payload=text.encode())

    return EavesdropperTranscript(tuple(map(rewritten, seen.messages)), seen.moduli)


def repeats(seen: EavesdropperTranscript) -> int:
    """Ciphertexts that were on the wire before, but for the copies of a broadcast."""
    found: list[bytes] = []
    broadcast: dict[tuple[int, int | None], bytes] = {}
    for message in seen.messages:
        place = message.sender, message.iteration
        if message.kind == "level" and broadcast.get(place) == message.payload:
            continue
        if message.kind == "level":
            broadcast[place] = message.payload
        if message.kind != "key":
            found += _parts(message.payload, seen.moduli[seen.owner(message)])
    return len(found) - len(set(found))


def level_attack(
    seen: EavesdropperTranscript,
    protocol: Protocol,
    levels: Int64[np.ndarray, "count agents dim"],
    kind: Literal["level", "reply"],
    coordinate: int = 0,
    threshold: float | None = None,
) -> Balanced | None:
    """Whether bytes tell if a coordinate of the plaintext is above a threshold.

    The plaintext is −q_i of a level, and q_j − q_i (up to its weight) of a reply. A classifier is
    trained on the bytes of the even iterations, with the plaintexts beside, and answers for the odd
    ones. The threshold is 0, or, if None, the median of each sender and recipient in the even
    iterations, which the states of a run that converges are not all on one side of.

    None where the plaintexts of either half are all on one side: there is nothing to tell apart.

    `levels` is what the auditor knows and the eavesdropper does not; it decides which answers are
    right.
    """
    messages = [m for m in seen.messages if m.kind == kind]
    if kind == "level":
        # Of a broadcast, one copy.
        messages = list({(m.sender, m.iteration): m for m in reversed(messages)}.values())
    first = min((m.iteration or 0 for m in messages), default=0)
    steps = np.array([(m.iteration or 0) - first for m in messages])
    senders = np.array([m.sender for m in messages])
    others = np.array([m.recipient for m in messages])
    values = -levels[steps, senders, coordinate]
    if kind == "reply":
        values = levels[steps, senders, coordinate] - levels[steps, others, coordinate]
    even = steps % 2 == 0
    borders = np.zeros(len(messages)) if threshold is None else np.full(len(messages), threshold)
    if threshold is None:
        pairs = senders if kind == "level" else senders * len(seen.moduli) + others
        for pair in np.unique(pairs):
            borders[pairs == pair] = np.median(values[(pairs == pair) & even])
    truth = values > borders
    if any(np.unique(truth[half]).size < 2 for half in (even, ~even)):
        return None
    moduli = [seen.moduli[seen.owner(message)] for message in messages]
    # Several coordinates may share a plaintext.
    alone = protocol.message_ciphertexts == protocol.dim
    part = coordinate if alone else coordinate // protocol.packing.slots
    payloads = [_parts(m.payload, n)[part] for m, n in zip(messages, moduli, strict=True)]
    train, test = (np.flatnonzero(half).tolist() for half in (even, ~even))
    classifier = Classifier([payloads[i] for i in train], [moduli[i] for i in train], truth[train])
    answers = classifier([payloads[i] for i in test], [moduli[i] for i in test])
    right = truth[test]
    hits, alarms = int(np.sum(answers & right)), int(np.sum(answers & ~right))
    return balanced(hits, int(right.sum()), alarms, int(np.sum(~right)))


def _parts(payload: bytes, n: int) -> list[bytes]:
    length = ciphertext_bytes(n)
    return [payload[start : start + length] for start in range(0, len(payload), length)]
