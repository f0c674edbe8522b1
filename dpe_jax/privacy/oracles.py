"""Who encrypts the messages that an adversary chose: the owner, a neighbor, a party that replies.

The numbers are encrypted, and the bytes written, by the very code that replays use.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import Backend, ciphertext_bytes, largest_plaintext
from dpe_jax.paillier.channel import Channel
from dpe_jax.paillier.packing import Packing
from dpe_jax.paillier.party import Party
from dpe_jax.paillier.protocol import LEVEL_LIMIT, Protocol, sum_limit
from dpe_jax.privacy.broken import Serialization, written

Path = Literal["owner", "neighbor", "reply"]
"""E_i(−q_i) by i itself, who knows p and q; by others, with the public key alone; and the answer
E_i(−q_i)^f · E_i(f q_j) of a neighbor j."""

PATHS: tuple[Path, ...] = get_args(Path)

WEIGHT = 3
"""f of the replies, which the adversary knows (public weights are its best case)."""


@dataclass(frozen=True)
class Sent:
    """What the adversary sees of one encryption."""

    payload: bytes
    """As on the wire."""
    ciphertext: int
    """c with one of the two chosen plaintexts. Of a reply, what is left when E_i(−q_i)^f, which was
    on the wire before, is divided out: E_i(f q_j)."""
    seconds: float
    """That the encryption, or the reply, took."""
    derived: bytes = b""
    """Of a reply, `ciphertext` in bytes, which anybody computes from the wire."""


@dataclass(frozen=True)
class Oracle:
    """Encrypts one of two chosen messages, as often as it is asked."""

    n: int
    plaintexts: tuple[int, int]
    """Of `Sent.ciphertext`, by the bit."""
    send: Callable[[int], Sent]
    """From the bit to what is seen; the randomness is the system's, and fresh."""

    def residue(self, sent: Sent, bit: int) -> int:
        """ρ = c (1 − mn) mod n² if the bit is as said; some other number if it is not."""
        return sent.ciphertext * (1 - self.plaintexts[bit] * self.n) % self.n**2


def oracle(
    backend: Backend,
    primes: tuple[int, int],
    path: Path,
    flaw: Serialization | None = None,
) -> Oracle:
    """Messages 0 and the most negative plaintext; of replies, states q_j of 0 and −`LEVEL_LIMIT`.

    `flaw` has ciphertexts written down carelessly, which replies cannot be.
    """
    if path == "reply":
        if flaw is not None:
            raise InputError("flaw", flaw, "None for replies, which parties write themselves")
        return _replies(backend, primes)
    key = backend.private_key(*primes)
    n = key.public.n
    encryptor = key if path == "owner" else backend.public_key(key.public.announcement())
    encryptor.prepare(0)
    plaintexts = (0, -largest_plaintext(n))
    length = ciphertext_bytes(n)

    def send(bit: int) -> Sent:
        began = time.perf_counter()
        ciphertext = encryptor.encrypt(plaintexts[bit])
        seconds = time.perf_counter() - began
        if flaw is None:
            payload = ciphertext.to_bytes(length, "big")
        else:
            payload = written(ciphertext, plaintexts[bit], n, flaw)
        return Sent(payload, ciphertext, seconds)

    return Oracle(n, plaintexts, send)


def _replies(backend: Backend, primes: tuple[int, int]) -> Oracle:
    """Two parties: 0 holds the key and asks; 1 answers, in a state that the adversary chose."""
    coupling = ((0, 1, WEIGHT),)
    key, other = (backend.private_key(*primes) for _ in range(2))
    n = key.public.n
    bits = sum_limit(coupling).bit_length() + 1
    packing = Packing.fitting(1, bits, n.bit_length(), backend.packs)
    protocol = Protocol(2, 1, coupling, packing, seed=0, rounding="nearest")
    channel = Channel(2, keep=True)
    asks = Party(protocol, 0, 0, key, [1 << 32], [], channel)
    answers = Party(protocol, 1, 0, other, [0], [], channel)
    channel.open_phase(None, "key")
    for party in (asks, answers):
        party.announce_key()
    channel.open_phase(0, "level")
    for party in (asks, answers):
        party.learn_keys(backend)
    levels = (0, -LEVEL_LIMIT)
    asks.round_state(0)

    def send(bit: int) -> Sent:
        channel.transcript.clear()
        channel.receive(0)
        channel.open_phase(0, "level")
        asks.send_encrypted()
        channel.open_phase(0, "reply")
        answers.state = [levels[bit] << 32]
        answers.round_state(0)
        began = time.perf_counter()
        answers.reply()
        seconds = time.perf_counter() - began
        asked, reply = (message.payload for message in channel.transcript)
        before = pow(int.from_bytes(asked, "big"), -WEIGHT, n**2)
        left = int.from_bytes(reply, "big") * before % n**2
        return Sent(reply, left, seconds, left.to_bytes(ciphertext_bytes(n), "big"))

    return Oracle(n, (0, -LEVEL_LIMIT * WEIGHT), send)
