"""The audit of ciphertexts: what they tell without the key, and what the same tests catch.

Every part that should find nothing has a part beside it, broken on purpose, that must find
something. docs/privacy_ciphertexts.md says what the figures mean and what they cannot show. The
randomness of encryption is the system's, so that figures differ from one audit to the next; coins
and chosen states are fixed by the seed.
"""

import dataclasses
import time
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from dpe_jax.fanout import Fanout, InProcess
from dpe_jax.paillier.backend import Backend
from dpe_jax.paillier.packing import Packing
from dpe_jax.paillier.protocol import Protocol, sum_limit
from dpe_jax.paillier.replay import Stretch
from dpe_jax.paillier.setup import Encryption, Keys
from dpe_jax.privacy.broken import (
    FLAWS,
    SERIALIZATIONS,
    BrokenBackend,
    Flaw,
    Serialization,
)
from dpe_jax.privacy.distinguishing import Distinguishing, Timing, distinguish, timed
from dpe_jax.privacy.intervals import Balanced
from dpe_jax.privacy.oracles import PATHS, Oracle, Path, oracle
from dpe_jax.privacy.transcripts import (
    EavesdropperTranscript,
    Sizes,
    as_text,
    chosen_states,
    level_attack,
    outline,
    repeats,
    sizes,
    transcript,
)

Scheme = Literal["fast short", "fast full", "phe"]

SCHEMES: dict[Scheme, tuple[int, int]] = {
    "fast short": (1000, 1000),
    "fast full": (200, 100),
    "phe": (200, 100),
}
"""Backend with randomness, and how many ciphertexts an experiment shows, how many are timed. The
slow ones encrypt in 13 ms with 2048 bits."""

CAUGHT = 1e-3
"""The p-value below which a broken scheme counts as caught, and a sound one as suspect."""

ITERATIONS, LEAST_ITERATIONS, FEW_ITERATIONS = 80, 20, 6
"""Of the transcripts; of those that are attacked; of those that show no more than lengths."""

KINDS: tuple[Literal["level", "reply"], ...] = ("level", "reply")

_LINKS = ((0, 1, 1), (0, 4, 2), (1, 2, 3), (1, 3, 2), (2, 3, 1), (3, 4, 1))
_DIM = 2
_LARGEST = 2**20


@dataclasses.dataclass(frozen=True)
class Case:
    """One experiment."""

    scheme: Scheme
    path: Path
    flaw: Flaw | Serialization | None
    """None of a sound scheme."""
    shown: int
    """Ciphertexts shown, and as many challenges."""

    def oracle(self, encryption: Encryption, primes: tuple[int, int]) -> Oracle:
        """Who encrypts."""
        backend = encryption.backend()
        match self.flaw:
            case "deterministic" | "constant" | "pool" | "biased" as flaw:
                return oracle(BrokenBackend(backend, flaw), primes, self.path)
            case flaw:
                return oracle(backend, primes, self.path, flaw)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one."""

    case: Case
    found: Distinguishing

    @property
    def caught(self) -> bool:
        """Whether an adversary was right (or wrong) more often than coins are."""
        return self.found.least_p < CAUGHT

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        named = {name: getattr(self.case, name) for name in ("scheme", "path", "flaw")}
        return named | self.found.to_dict() | {"caught": self.caught}


@dataclasses.dataclass(frozen=True)
class Wire:
    """What an eavesdropper has of a replay, and what it learns of the states."""

    scheme: str
    iterations: int
    messages: int
    sizes: Sizes
    repeats: int
    """Ciphertexts that were on the wire before."""
    attacks: dict[str, Balanced]
    """Whether a coordinate is above its threshold, from the bytes of levels and of replies."""

    @property
    def least_p(self) -> float:
        """Of the attacks, as one test (Bonferroni); 1 without any."""
        found = [attack.p_value for attack in self.attacks.values()]
        return min([1.0, *(len(found) * p for p in found)])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scheme": self.scheme,
            "iterations": self.iterations,
            "messages": self.messages,
            "sizes": self.sizes.to_dict(),
            "repeats": self.repeats,
            "attacks": {name: found.to_dict() for name, found in self.attacks.items()},
            "least_p": self.least_p,
            "caught": self.least_p < CAUGHT,
        }


@dataclasses.dataclass(frozen=True)
class CiphertextAudit:
    """Everything that the checks of ciphertexts found."""

    encryptions: dict[Scheme, dict[str, Any]]
    """Versions, randomness and key length of each scheme."""
    experiments: tuple[Outcome, ...]
    controls: tuple[Outcome, ...]
    """Broken schemes, each of which must be caught."""
    wires: tuple[Wire, ...]
    wire_controls: tuple[Wire, ...]
    same_outline: bool
    """Whether replays of unlike states send messages of the same lengths in the same order."""
    text_sizes: Sizes
    """The same ciphertexts written as JSON: the check of lengths must refuse them."""
    timings: dict[Scheme, dict[Path, Timing]]
    seconds: dict[str, float]

    @property
    def tests(self) -> tuple[float, ...]:
        """p-values of everything that should find nothing (not of times)."""
        found = [outcome.found.least_p for outcome in self.experiments]
        found += [o.found.uniform.least_p for o in self.experiments if o.found.uniform is not None]
        return (*found, *(wire.least_p for wire in self.wires if wire.attacks))

    @property
    def family_p(self) -> float:
        """Of all of them as one test (Bonferroni)."""
        return min(1.0, len(self.tests) * min(self.tests))

    @property
    def passed(self) -> bool:
        """Nothing was found where nothing should be, and everything that was planted was found."""
        sound = self.family_p >= CAUGHT and all(
            outcome.found.repeats == 0 and len(outcome.found.lengths) == 1
            for outcome in self.experiments
        )
        sound = sound and all(wire.sizes.fixed and wire.repeats == 0 for wire in self.wires)
        planted = [outcome.caught for outcome in self.controls]
        planted += [wire.least_p < CAUGHT for wire in self.wire_controls]
        return sound and self.same_outline and all(planted) and not self.text_sizes.fixed

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "passed": self.passed,
            "tests": len(self.tests),
            "family_p": self.family_p,
            "caught_below": CAUGHT,
            "encryptions": self.encryptions,
            "experiments": [outcome.to_dict() for outcome in self.experiments],
            "controls": [outcome.to_dict() for outcome in self.controls],
            "transcripts": [wire.to_dict() for wire in self.wires],
            "transcript_controls": [wire.to_dict() for wire in self.wire_controls],
            "same_outline_for_unlike_states": self.same_outline,
            "sizes_as_text": self.text_sizes.to_dict(),
            "timings": {
                scheme: {path: found.to_dict() for path, found in paths.items()}
                for scheme, paths in self.timings.items()
            },
            "seconds": self.seconds,
        }


def cases() -> tuple[Case, ...]:
    """The experiments on sound schemes."""
    return tuple(
        Case(scheme, path, None, shown) for scheme, (shown, _) in SCHEMES.items() for path in PATHS
    )


def controls() -> tuple[Case, ...]:
    """The experiments on broken ones, around both backends.

    Parties write replies themselves, so that carelessness about it is the others'.
    """
    found: list[Case] = []
    numbers: dict[Scheme, tuple[int, int]] = {"fast short": (200, 300), "phe": (60, 120)}
    for scheme, (few, more) in numbers.items():
        for flaw in FLAWS:
            shown = more if flaw == "biased" else few
            # phe has one way to encrypt, and twice for a bias takes long.
            paths = PATHS if scheme != "phe" or flaw != "biased" else PATHS[:1]
            found += [Case(scheme, path, flaw, shown) for path in paths]
        found += [Case(scheme, "owner", flaw, few) for flaw in SERIALIZATIONS]
    return tuple(found)


def audit(
    key_bits: int = 2048,
    *,
    insecure_test_keys: bool = False,
    seed: int = 0,
    fanout: Fanout | None = None,
    experiments: tuple[Case, ...] | None = None,
    broken: tuple[Case, ...] | None = None,
    iterations: int = ITERATIONS,
) -> CiphertextAudit:
    """All checks; a minute on two processors with keys of 2048 bits.

    The experiments (`cases()` and `controls()` unless others are given) go to the workers of
    `fanout`; times are then measured in this process, alone. Shorter keys than 2048 bits need
    `insecure_test_keys`.
    """
    experiments = cases() if experiments is None else experiments
    broken = controls() if broken is None else broken
    encryptions: dict[Scheme, Encryption] = {
        scheme: _encryption(scheme, key_bits, insecure_test_keys) for scheme in SCHEMES
    }
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        seconds[name], began = time.perf_counter() - began, time.perf_counter()

    keys = encryptions["fast short"].generate(5)
    lap("keys")
    work = _Play(encryptions, keys[0], seed)
    # The longest first, so that no worker is left with it at the end.
    plan = [*experiments, *broken]
    order = sorted(range(len(plan)), key=lambda i: (plan[i].scheme == "fast short", -plan[i].shown))
    done: dict[int, Distinguishing] = {}
    processor = 0.0
    for index, (found, spent) in (fanout or InProcess()).results(
        work, [(plan[i], i) for i in order]
    ):
        done[order[index]] = found
        processor += spent
    outcomes = [Outcome(case, done[number]) for number, case in enumerate(plan)]
    lap("experiments")
    seconds["processor time of experiments"] = processor
    wires, spoiled, same, text = _wires(encryptions, keys, seed, iterations)
    lap("transcripts")
    timings: dict[Scheme, dict[Path, Timing]] = {}
    for case in experiments:
        made = case.oracle(encryptions[case.scheme], keys[0])
        count = min(SCHEMES[case.scheme][1], 4 * case.shown)
        timings.setdefault(case.scheme, {})[case.path] = timed(made, count, seed)
    lap("timings")
    described: dict[Scheme, dict[str, Any]] = {
        scheme: encryption.describe() for scheme, encryption in encryptions.items()
    }
    return CiphertextAudit(
        described,
        tuple(outcomes[: len(experiments)]),
        tuple(outcomes[len(experiments) :]),
        wires,
        spoiled,
        same,
        text,
        timings,
        seconds,
    )


def watched(
    scheme: str,
    protocol: Protocol,
    stretch: Stretch,
    seen: EavesdropperTranscript,
    threshold: float | None = None,
) -> Wire:
    """The checks of one transcript; `threshold` as in `level_attack`.

    Attacked is the coordinate in the top slot, whose sign is the plaintext's, if there are at least
    `LEAST_ITERATIONS` to learn from.
    """
    last = min(protocol.dim, protocol.packing.slots) - 1
    attacks: dict[str, Balanced] = {}
    if stretch.count >= LEAST_ITERATIONS:
        tried = {
            kind: level_attack(seen, protocol, stretch.level, kind, last, threshold)
            for kind in KINDS
        }
        attacks = {kind: found for kind, found in tried.items() if found is not None}
    looked = sizes(seen, protocol), repeats(seen)
    return Wire(scheme, stretch.count, len(seen.messages), *looked, attacks)


@dataclasses.dataclass(frozen=True)
class _Play:
    """Plays experiments; picklable, for workers in other processes."""

    encryptions: dict[Scheme, Encryption]
    primes: tuple[int, int]
    seed: int

    def __call__(self, task: tuple[Case, int]) -> tuple[Distinguishing, float]:
        """What came of it, and the processor's seconds."""
        began = time.process_time()
        case, number = task
        made = case.oracle(self.encryptions[case.scheme], self.primes)
        # Other coins for each, so that their figures are independent.
        found = distinguish(made, case.shown, case.shown, (self.seed, number))
        return found, time.process_time() - began

    def __repr__(self) -> str:
        return "Play(1 key)"


def _wires(
    encryptions: dict[Scheme, Encryption], keys: Keys, seed: int, iterations: int
) -> tuple[tuple[Wire, ...], tuple[Wire, ...], bool, Sizes]:
    """Transcripts of sound and of broken schemes, whose agents hold states drawn at random."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(-_LARGEST, _LARGEST + 1, (iterations, 5, _DIM))
    few = levels[:FEW_ITERATIONS]
    sound, phe = encryptions["fast short"], encryptions["phe"]
    protocol, alone = _protocol(sound), _protocol(phe)
    seen = _seen(protocol, levels, sound.backend(), keys)
    wires = (
        watched("fast short", protocol, chosen_states(protocol, levels), seen, 0.0),
        # phe takes a ciphertext a coordinate.
        watched("phe", alone, chosen_states(alone, few), _seen(alone, few, phe.backend(), keys)),
    )
    flaws: tuple[Flaw, ...] = ("deterministic", "biased")
    spoiled = []
    for flaw in flaws:
        backend = BrokenBackend(sound.backend(), flaw)
        heard = _seen(protocol, levels, backend, keys)
        spoiled.append(watched(backend.name, protocol, chosen_states(protocol, levels), heard, 0.0))
    still = _seen(protocol, np.zeros_like(few), sound.backend(), keys)
    same = outline(still) == outline(seen)[: len(still.messages)]
    return wires, tuple(spoiled), same, sizes(as_text(seen), protocol)


def _seen(
    protocol: Protocol,
    levels: Int64[np.ndarray, "count agents dim"],
    backend: Backend,
    keys: Keys,
) -> EavesdropperTranscript:
    return transcript(protocol, chosen_states(protocol, levels), backend, keys)


def _protocol(encryption: Encryption) -> Protocol:
    bits = sum_limit(_LINKS).bit_length() + 1
    packing = Packing.fitting(_DIM, bits, encryption.key_bits, encryption.backend().packs)
    return Protocol(5, _DIM, _LINKS, packing, seed=0, rounding="nearest")


def _encryption(scheme: Scheme, key_bits: int, insecure: bool) -> Encryption:
    if scheme == "phe":
        return Encryption("phe", None, key_bits, insecure)
    return Encryption("fast", "short" if scheme == "fast short" else "full", key_bits, insecure)
