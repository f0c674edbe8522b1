"""One agent of the encrypted network."""

import functools
from collections.abc import Sequence

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import (
    Backend,
    PrivateKey,
    PublicKey,
    ciphertext_bytes,
    largest_plaintext,
)
from dpe_jax.paillier.channel import Channel
from dpe_jax.paillier.protocol import Protocol
from dpe_jax.paillier.tally import Tally
from dpe_jax.paillier.words import OwnWords


class Party:
    """An agent with its own key pair, state and private increments.

    It meets the others only through the channel. An iteration has the phases `round_state`,
    `send_encrypted`, `reply` and `finish`, each of which all parties go through before the next.
    States, levels and sums are lists of Python integers, one a coordinate.
    """

    def __init__(
        self,
        protocol: Protocol,
        agent: int,
        run: int,
        key: PrivateKey,
        state: Sequence[int],
        increments: Sequence[Sequence[int]],
        channel: Channel,
    ) -> None:
        for row in (state, *increments):
            _check_integers("state" if row is state else "increments", row, protocol.dim)
        _check_room(protocol, key.public.n)
        self.state = list(state)
        self.levels: list[int] = []
        """q_i, after `round_state`."""
        self.sums: list[int] = []
        """v_i, after `finish`."""
        self.tally = Tally()
        self._agent = agent
        self._key = key
        self._channel = channel
        self._increments = [tuple(row) for row in increments]
        self._done = 0
        self._weights = protocol.weights(agent)
        self._neighbors = list(self._weights)
        self._packing = protocol.packing
        self._horner = protocol.factors.kind == "coordinate"
        self._count = protocol.message_ciphertexts
        self._level_limit, self._sum_limit = protocol.level_limit, protocol.sum_limit
        self._words = OwnWords(
            agent,
            protocol.agents,
            protocol.dim,
            protocol.seed,
            run,
            protocol.rounding,
            protocol.factors,
        )
        self._public: dict[int, PublicKey] = {}
        self._factors: dict[int, list[int]] = {}
        self._plaintexts: list[int] = []

    def announce_key(self) -> None:
        """Tell the neighbors the public key."""
        announcement = self._key.public.announcement()
        self._channel.send(self._agent, self._neighbors, announcement)

    def learn_keys(self, backend: Backend) -> None:
        """Take in the neighbors' public keys; make the tables of powers that a backend uses."""
        with self.tally.timing("tables", 1):
            self._key.prepare(0)
        for sender, announcement in self._mail():
            with self.tally.timing("tables", 1):
                self._public[sender] = backend.public_key(announcement)
                self._public[sender].prepare(0)

    def prepare(self, iterations: int) -> None:
        """Compute the randomness of so many iterations ahead, where the backend can."""
        count = iterations * self._count
        with self.tally.timing("prepare", count * (1 + len(self._public))):
            self._key.prepare(count)
            for public in self._public.values():
                public.prepare(count)

    def round_state(self, iteration: int) -> None:
        """Levels q = (Y + w) >> 32 and this iteration's own factors; InputError beyond the range.

        Nothing is encrypted before every party has come through here.
        """
        with self.tally.timing("round", len(self.state)):
            words = self._words.rounding(iteration)
            self.levels = [(Y + w) >> 32 for Y, w in zip(self.state, words, strict=True)]
            limit = self._level_limit
            for level in self.levels:
                if not -limit <= level <= limit:
                    place = f"at most {limit} in size (agent {self._agent}, iteration {iteration})"
                    raise InputError("level", level, place)
            self._factors = {j: self._words.factors(iteration, j) for j in self._neighbors}
            if self._horner:
                self._plaintexts = self.levels
            else:
                self._plaintexts = self._packing.pack(self.levels, limit)

    def send_encrypted(self) -> None:
        """E_i(−q_i), encrypted once, to all neighbors."""
        with self.tally.timing("encrypt_own", self._count):
            ciphertexts = [self._key.encrypt(-plaintext) for plaintext in self._plaintexts]
        payload = _serialised(ciphertexts, self._key.public.n)
        self._channel.send(self._agent, self._neighbors, payload)

    def reply(self) -> None:
        """To each neighbor i, under its key: E_i(−q_i)^f · E_i(f q_j), f = c_ij a_{j→i}.

        That is E_i(f (q_j − q_i)) like E_i(q_j − q_i)^f, but the fresh randomness comes last: of a
        power, i could tell by Legendre symbols whether the private f is even (derived).
        """
        for neighbor, payload in self._mail():
            public = self._public[neighbor]
            received = _ciphertexts(payload, public.n, self._count)
            weight = self._weights[neighbor]
            factors = [weight * factor for factor in self._factors[neighbor]]
            if len(factors) == 1:
                factors *= self._count
            with self.tally.timing("encrypt_neighbor", self._count):
                pairs = zip(self._plaintexts, factors, strict=True)
                own = [public.encrypt(plaintext * factor) for plaintext, factor in pairs]
            with self.tally.timing("combine", self._count):
                scaled = _powers(public, received, factors)
                answer = [public.add(*pair) for pair in zip(scaled, own, strict=True)]
            self._channel.send(self._agent, [neighbor], _serialised(answer, public.n))

    def finish(self, gain: int) -> None:
        """Decrypt v_i, the sum of the neighbors' replies, and nothing else; Y ← Y + Γ^k v − U."""
        public = self._key.public
        replies = [
            (neighbor, _ciphertexts(payload, public.n, self._count))
            for neighbor, payload in self._mail()
        ]
        with self.tally.timing("gather", self._count * len(replies)):
            own = (_powers(public, reply, self._factors[j]) for j, reply in replies)
            total = [functools.reduce(public.add, terms) for terms in zip(*own, strict=True)]
            if self._horner:
                total = self._packed(total)
        with self.tally.timing("decrypt", len(total)):
            plaintexts = [self._key.decrypt(ciphertext) for ciphertext in total]
        with self.tally.timing("update", len(self.state)):
            self.sums = self._packing.unpack(plaintexts, self._sum_limit)
            rows = zip(self.state, self.sums, self._increments[self._done], strict=True)
            self.state = [Y + gain * v - U for Y, v, U in rows]
            self._done += 1

    def _packed(self, ciphertexts: list[int]) -> list[int]:
        """One coordinate a ciphertext to all slots of a plaintext, by Horner's rule."""
        public, slots, shift = self._key.public, self._packing.slots, 2**self._packing.width
        packed = []
        for first in range(0, len(ciphertexts), slots):
            *lower, top = ciphertexts[first : first + slots]
            for ciphertext in reversed(lower):
                top = public.add(public.scale(top, shift), ciphertext)
            packed.append(top)
        return packed

    def _mail(self) -> list[tuple[int, bytes]]:
        """One message from every neighbor, in their order."""
        mail = sorted(self._channel.receive(self._agent), key=lambda message: message[0])
        senders = [sender for sender, _ in mail]
        if senders != self._neighbors:
            accepted = f"one message from each of {self._neighbors}"
            raise InputError("senders", senders, accepted)
        return mail


def _powers(public: PublicKey, ciphertexts: list[int], factors: list[int]) -> list[int]:
    """Each to its factor, or all to the one there is."""
    if len(factors) == 1:
        factors = factors * len(ciphertexts)
    pairs = zip(ciphertexts, factors, strict=True)
    return [public.scale(c, factor) if factor > 1 else c for c, factor in pairs]


def _serialised(ciphertexts: list[int], n: int) -> bytes:
    length = ciphertext_bytes(n)
    return b"".join(ciphertext.to_bytes(length, "big") for ciphertext in ciphertexts)


def _ciphertexts(payload: bytes, n: int, count: int) -> list[int]:
    length = ciphertext_bytes(n)
    if len(payload) != count * length:
        accepted = f"{count} ciphertexts of {length} bytes, not {len(payload)} bytes"
        raise InputError("payload", payload, accepted)
    starts = range(0, len(payload), length)
    return [int.from_bytes(payload[start : start + length], "big") for start in starts]


def _check_integers(name: str, values: Sequence[int], dim: int) -> None:
    """Python integers alone: NumPy's wrap around."""
    if len(values) != dim or any(type(value) is not int for value in values):
        raise InputError(name, values, f"{dim} Python integers")


def _check_room(protocol: Protocol, n: int) -> None:
    """Refuse a key whose plaintexts do not hold every sum in all slots."""
    packing = protocol.packing
    slots = min(packing.slots, packing.dim)
    largest = protocol.sum_limit * sum(2 ** (packing.width * slot) for slot in range(slots))
    if largest > largest_plaintext(n):
        accepted = f"over {largest.bit_length() + 1} bits for {slots} slots of {packing.width}"
        raise InputError("key", f"{n.bit_length()} bits", accepted)
