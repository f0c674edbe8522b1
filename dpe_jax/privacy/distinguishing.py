"""The distinguishing experiment on real ciphertexts: which of two messages was encrypted?

An adversary chose two messages. It is shown ciphertexts with the coins that decided between them,
and then as many challenges, each with a fair coin of its own, that it is to guess. Whoever learns
nothing is right half the time: the advantage 2 P(correct) − 1 is 0 (indistinguishability under
chosen plaintexts, Goldwasser and Micali 1984, played many times over).

A finite experiment with the adversaries below can find a scheme broken. It cannot prove one secure:
that is what the decisional composite residuosity assumption is for. What it guards against is an
implementation that does not do what the proof asks of it.

Adversaries:

`known`: strips both messages off a challenge, ρ_b = c (1 − m_b n) mod n², and looks whether one of
the two is a residue that was seen among the shown ciphertexts, or 1. Equal ciphertexts are a case
of it: it catches encryption that is deterministic and randomness that comes again.

`challenges`: the same among the challenges alone, whose coins it does not know: where ρ_0 of one is
ρ_1 of another, the first encrypts m_0 and the other m_1.

`classifier`: learns from the shown ciphertexts' bytes (`features`); of a reply also from those of
E_i(f q_j), which anybody finds by dividing out what was on the wire before.

Where they have no reason for either answer they toss a coin.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int64

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import ciphertext_bytes
from dpe_jax.privacy.features import Classifier
from dpe_jax.privacy.intervals import Advantage
from dpe_jax.privacy.oracles import Oracle, Sent
from dpe_jax.privacy.uniformity import Uniformity, uniformity

Adversary = Literal["known", "challenges", "classifier"]

LEAST = 20
"""Shown ciphertexts and challenges at least."""


@dataclasses.dataclass(frozen=True)
class Distinguishing:
    """What came of an experiment."""

    key_bits: int
    shown: int
    trials: int
    lengths: tuple[int, ...]
    """Of the payloads, in bytes: one, if nothing is wrong."""
    repeats: int
    """Payloads of challenges that came before."""
    advantages: dict[Adversary, Advantage]
    uniform: Uniformity | None
    """Of the challenges' bytes; None for payloads of several lengths."""

    @property
    def least_p(self) -> float:
        """Of the adversaries, as one test (Bonferroni)."""
        return min(1.0, len(self.advantages) * min(a.p_value for a in self.advantages.values()))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "key_bits": self.key_bits,
            "shown": self.shown,
            "trials": self.trials,
            "payload_bytes": list(self.lengths),
            "repeats": self.repeats,
            "adversaries": {name: found.to_dict() for name, found in self.advantages.items()},
            "least_p": self.least_p,
            "uniform_bytes": None if self.uniform is None else self.uniform.to_dict(),
        }


def distinguish(
    oracle: Oracle, shown: int, trials: int, seed: int | tuple[int, ...] = 0
) -> Distinguishing:
    """Play it, with `shown` labelled ciphertexts and `trials` challenges.

    `seed` decides the coins. The encryption's randomness is the system's and differs each time.
    The intervals are exact where challenges are independent, as they are of a sound scheme; of one
    with a pool of randomness they are those given the pool.
    """
    for name, number in (("shown", shown), ("trials", trials)):
        if number < LEAST:
            raise InputError(name, number, f"at least {LEAST}")
    rng = np.random.default_rng(seed)
    sizes = (shown, trials, trials, trials)
    labels, coins, tossed, thrown = (rng.random(size) < 0.5 for size in sizes)
    known = [oracle.send(int(bit)) for bit in labels]
    challenges = [oracle.send(int(bit)) for bit in coins]
    answers: dict[Adversary, Bool[np.ndarray, " trials"]] = {
        "known": _known(oracle, known, labels, challenges, tossed),
        "challenges": _challenges(oracle, challenges, thrown),
        "classifier": Classifier(_looked_at(known), [oracle.n] * shown, labels)(
            _looked_at(challenges), [oracle.n] * trials
        ),
    }
    payloads = [sent.payload for sent in challenges]
    lengths = tuple(sorted({len(sent.payload) for sent in (*known, *challenges)}))
    return Distinguishing(
        oracle.n.bit_length(),
        shown,
        trials,
        lengths,
        trials - len(set(payloads)),
        {
            name: Advantage.counted(int(np.sum(answer == coins)), trials)
            for name, answer in answers.items()
        },
        uniformity(payloads) if lengths == (ciphertext_bytes(oracle.n),) else None,
    )


def _looked_at(sent: Sequence[Sent]) -> list[bytes]:
    return [one.derived + one.payload for one in sent]


def _known(
    oracle: Oracle,
    known: Sequence[Sent],
    labels: Bool[np.ndarray, " shown"],
    challenges: Sequence[Sent],
    tossed: Bool[np.ndarray, " trials"],
) -> Bool[np.ndarray, " trials"]:
    residues = {oracle.residue(sent, int(bit)) for sent, bit in zip(known, labels, strict=True)}
    residues.add(1)
    return _answers(
        [[oracle.residue(sent, bit) in residues for bit in (0, 1)] for sent in challenges], tossed
    )


def _challenges(
    oracle: Oracle, challenges: Sequence[Sent], tossed: Bool[np.ndarray, " trials"]
) -> Bool[np.ndarray, " trials"]:
    residues = [[oracle.residue(sent, bit) for bit in (0, 1)] for sent in challenges]
    counts = [Counter(pair[bit] for pair in residues) for bit in (0, 1)]
    # If a challenge encrypts m_0, its ρ_0 is its randomness; if another with the same randomness
    # encrypts m_1, it is that one's ρ_1.
    return _answers([[pair[bit] in counts[1 - bit] for bit in (0, 1)] for pair in residues], tossed)


def _answers(
    reasons: list[list[bool]], tossed: Bool[np.ndarray, " trials"]
) -> Bool[np.ndarray, " trials"]:
    """The bit for which there is a reason, or the coin if there is one for neither or for both."""
    zero, one = np.array(reasons, bool).T
    return np.where(zero == one, tossed, one)


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long encryptions of the two messages took, and what a threshold tells from it.

    An observation on one machine at one time: nothing in this package runs in constant time.
    """

    trials: int
    medians: tuple[float, float]
    """Seconds, by message."""
    quartiles: tuple[tuple[float, float], tuple[float, float]]
    """Seconds, by message."""
    advantage: Advantage
    """On the half of the encryptions that the threshold was not chosen on."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "trials": self.trials,
            "median_seconds": list(self.medians),
            "quartile_seconds": [list(pair) for pair in self.quartiles],
            "threshold": self.advantage.to_dict(),
        }


def timed(oracle: Oracle, trials: int, seed: int = 0) -> Timing:
    """Time encryptions of the two messages, which take turns by coins, after a few to warm up."""
    if trials < 2 * LEAST:
        raise InputError("trials", trials, f"at least {2 * LEAST}")
    coins = np.random.default_rng(seed).random(trials) < 0.5
    for bit in (0, 1) * 3:
        oracle.send(bit)
    seconds = np.array([oracle.send(int(bit)).seconds for bit in coins])
    return timing(seconds, coins)


def timing(seconds: np.ndarray, coins: Bool[np.ndarray, " trials"]) -> Timing:
    """What times tell of the coins.

    Every other encryption serves to choose the threshold and which side of it is which, so that
    both halves see the same drift of the machine.
    """
    if coins[::2].all() or not coins[::2].any() or coins.all() or not coins.any():
        raise InputError("coins", f"{coins.size} alike", "both messages")
    threshold, above = _threshold(seconds[::2], coins[::2])
    answers = (seconds[1::2] > threshold) == above
    correct = int(np.sum(answers == coins[1::2]))
    halves = [seconds[coins == bit] for bit in (False, True)]
    first, second = (np.quantile(half, [0.25, 0.5, 0.75]).tolist() for half in halves)
    return Timing(
        seconds.size,
        (first[1], second[1]),
        ((first[0], first[2]), (second[0], second[2])),
        Advantage.counted(correct, answers.size),
    )


def _threshold(seconds: np.ndarray, coins: Bool[np.ndarray, " trials"]) -> tuple[float, bool]:
    """The threshold that answers most of these rightly, and whether the coin is 1 above it."""
    order = np.argsort(seconds, kind="stable")
    ones: Int64[np.ndarray, " trials"] = coins[order].astype(np.int64)
    # With the first i at or below it: right are zeros below and ones above, or all the others.
    right = np.cumsum(1 - ones) + ones.sum() - np.cumsum(ones)
    best = int(np.argmax(np.abs(2 * right - coins.size)))
    return float(seconds[order[best]]), bool(2 * right[best] > coins.size)
