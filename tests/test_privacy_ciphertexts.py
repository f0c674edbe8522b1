"""Ciphertexts tell nothing; the same tests catch every scheme that is broken on purpose.

The randomness of encryption is the system's. What must not be found is looked for with so small a
p-value that chance shows it about once in 10⁵ runs of this file.
"""

import functools
import importlib
import json
import math
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from phe import EncodedNumber, PaillierPublicKey
from scipy import stats
from stretches import keys
from textbook import jacobi

from dpe_jax.errors import InputError
from dpe_jax.folder import read_json
from dpe_jax.paillier.backend import Backend, largest_plaintext
from dpe_jax.paillier.backends import backend
from dpe_jax.paillier.checks import jacobi_symbol
from dpe_jax.paillier.setup import Encryption
from dpe_jax.privacy.broken import (
    FLAWS,
    POOL,
    SERIALIZATIONS,
    BrokenBackend,
    Flaw,
    Serialization,
    written,
)
from dpe_jax.privacy.ciphertexts import Case, _Play, audit, cases, controls
from dpe_jax.privacy.distinguishing import Distinguishing, distinguish, timed, timing
from dpe_jax.privacy.features import Classifier, features
from dpe_jax.privacy.oracles import PATHS, Path, oracle
from dpe_jax.privacy.uniformity import TOP, uniformity

pytestmark = pytest.mark.slow  # together over 20 s

ciphertext_checks = importlib.import_module("ciphertext_checks")

BITS = 256
RARE = 1e-6
SOUND = {"fast short": backend("fast"), "fast full": backend("fast", "full"), "phe": backend("phe")}


def played(kit: Backend, path: Path, shown: int, flaw: Serialization | None = None, seed: int = 0):
    return distinguish(oracle(kit, keys(1, BITS)[0], path, flaw), shown, shown, seed)


@functools.cache
def broken(name: str, flaw: Flaw, path: Path) -> Distinguishing:
    return played(BrokenBackend(SOUND[name], flaw), path, 300 if flaw == "biased" else 100)


# Experiments.


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SOUND)
def test_nothing_tells_which_message_was_encrypted(name: str, path: Path) -> None:
    found = played(SOUND[name], path, 400)
    assert found.least_p > RARE
    assert found.repeats == 0
    assert found.lengths == (BITS // 4,)
    assert found.uniform is not None
    assert found.uniform.least_p > RARE
    for advantage in found.advantages.values():
        assert advantage.trials == 400
        assert advantage.signed.high - advantage.signed.low < 0.21


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("name", ["fast short", "phe"])
def test_every_flaw_is_caught_wherever_it_is(name: str, flaw: Flaw, path: Path) -> None:
    found = broken(name, flaw, path)
    assert found.least_p < RARE
    known, challenges = (found.advantages[who] for who in ("known", "challenges"))
    if flaw == "biased":
        # 7 of 8 last bits are the message: only the classifier sees it, and it sees no more.
        assert found.repeats == 0
        assert min(known.p_value, challenges.p_value) > RARE
        assert abs(found.advantages["classifier"].signed.value - 0.75) < 5 * math.sqrt(7 / 16 / 300)
        return
    assert known.signed.value > 0.8
    assert challenges.signed.value > 0.5
    # All payloads: of replies E_i(−q_i) may be one of 16 as well.
    different = {"pool": 2 * POOL * (POOL if path == "reply" else 1)}.get(flaw, 2)
    assert found.repeats >= 100 - different
    if flaw != "pool":
        assert found.repeats == 98
        assert known.signed.value == 1


@pytest.mark.parametrize("flaw", SERIALIZATIONS)
def test_what_is_written_beside_a_ciphertext_is_caught(flaw: Serialization) -> None:
    for kit in (SOUND["fast short"], SOUND["phe"]):
        found = played(kit, "owner", 100, flaw)
        assert found.advantages["classifier"].signed.low > 0.5
        assert found.advantages["known"].p_value > RARE
        assert found.uniform is None
        assert len(found.lengths) > 1 or found.lengths == (BITS // 4 + 2,)


def test_the_coins_are_the_seeds_and_wrong_numbers_are_refused() -> None:
    kit = BrokenBackend(SOUND["fast short"], "deterministic")
    first, again = (played(kit, "owner", 40).to_dict() for _ in range(2))
    assert first == again
    assert first["adversaries"]["known"]["advantage"][0] == 1
    for shown, trials in ((19, 40), (40, 19)):
        with pytest.raises(InputError, match="at least 20"):
            distinguish(oracle(kit, keys(1, BITS)[0], "owner"), shown, trials)
    with pytest.raises(InputError, match="replies"):
        oracle(kit, keys(1, BITS)[0], "reply", "text")


@pytest.mark.parametrize("path", PATHS)
def test_oracles_encrypt_what_they_say(path: Path) -> None:
    primes = keys(1, BITS)[0]
    asked = oracle(SOUND["fast short"], primes, path)
    key = SOUND["phe"].private_key(*primes)
    for bit in (0, 1, 1, 0):
        sent = asked.send(bit)
        assert key.decrypt(sent.ciphertext) == asked.plaintexts[bit]
        # What is left of the right message is an n-th residue, an encryption of 0.
        assert key.decrypt(asked.residue(sent, bit)) == 0
        assert key.decrypt(asked.residue(sent, 1 - bit)) != 0
        assert sent.seconds > 0
        if path == "reply":
            # f (q_j − q_i) with q_i = 1 on the wire, and f q_j when that is divided out.
            reply = key.decrypt(int.from_bytes(sent.payload, "big"))
            assert reply == asked.plaintexts[bit] - 3
            assert int.from_bytes(sent.derived, "big") == sent.ciphertext
        else:
            assert (int.from_bytes(sent.payload, "big"), sent.derived) == (sent.ciphertext, b"")


# Schemes broken on purpose.


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("name", SOUND)
def test_broken_schemes_decrypt_to_what_was_encrypted(name: str, flaw: Flaw) -> None:
    kit = BrokenBackend(SOUND[name], flaw)
    key = kit.private_key(*keys(1, BITS)[0])
    other = kit.public_key(key.public.announcement())
    limit = largest_plaintext(other.n)
    for encryptor in (key, other):
        encryptor.prepare(3)
        for plaintext in (0, 1, -1, 2**27, limit, -limit):
            assert key.decrypt(encryptor.encrypt(plaintext)) == plaintext
        with pytest.raises(InputError, match="plaintext"):
            encryptor.encrypt(limit + 1)
    total = other.add(other.scale(key.encrypt(-5), 3), other.encrypt(7))
    assert key.decrypt(total) == -8


def test_no_configuration_can_name_a_broken_scheme() -> None:
    for flaw in FLAWS:
        kit = BrokenBackend(SOUND["phe"], flaw)
        assert kit.describe()["broken"] == flaw
        with pytest.raises(InputError, match="backend"):
            backend(kit.name)
        with pytest.raises(Exception, match=r"backend|Type-check"):
            Encryption(kit.name)  # pyright: ignore[reportArgumentType]
    with pytest.raises(Exception, match=r"flaw|Type-check"):
        BrokenBackend(SOUND["phe"], "none")  # pyright: ignore[reportArgumentType]


def test_the_exponent_in_the_clear_is_that_of_phe() -> None:
    p, q = keys(1, BITS)[0]
    for plaintext in (0, 1, -3, 2**27, -(2**28) - 1, 2**100):
        exponent = EncodedNumber.encode(PaillierPublicKey(p * q), float(plaintext)).exponent
        payload = written(5, plaintext, p * q, "exponent")
        assert int.from_bytes(payload[-2:], "big", signed=True) == exponent
        assert json.loads(written(5, plaintext, p * q, "text")) == ["5", exponent]
    assert [len(written(5, m, p * q, "length")) for m in (0, 2**16 - 1, -(2**16))] == [64, 64, 128]


# What the classifier looks at.


def test_features_are_what_anybody_can_compute() -> None:
    p, q = keys(1, BITS)[0]
    n = p * q
    ciphertexts = [SOUND["phe"].private_key(p, q).encrypt(m) for m in range(6)]
    payloads = [c.to_bytes(BITS // 4, "big") for c in ciphertexts]
    rows = features(payloads, [n] * 6, BITS // 4)
    for c, row in zip(ciphertexts, rows, strict=True):
        assert row[:2].tolist() == [BITS // 4, jacobi(c, n)]
        assert jacobi_symbol(c, n) == jacobi(c, n)
        start = 2
        for prime in (3, 5, 7, 11, 13):
            assert np.flatnonzero(row[start : start + prime]).tolist() == [c % prime]
            start += prime
        assert "".join(str(int(bit)) for bit in row[-2 * BITS :]) == format(c, f"0{2 * BITS}b")
    assert jacobi_symbol(p, n) == 0


def test_one_telling_bit_among_thousands_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    n = 2**255 + 95
    payloads = [rng.bytes(256) for _ in range(600)]
    labels = rng.random(600) < 0.5
    told = [
        bytes([*payload[:100], payload[100] & 254 | int(label), *payload[101:]])
        for payload, label in zip(payloads, labels ^ (rng.random(600) < 0.25), strict=True)
    ]
    rates = []
    for some in (told, payloads):
        classifier = Classifier(some[:300], [n] * 300, labels[:300])
        rates.append(np.mean(classifier(some[300:], [n] * 300) == labels[300:]))
    assert abs(rates[0] - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 300)
    assert abs(rates[1] - 0.5) < 4 * np.sqrt(0.25 / 300)
    with pytest.raises(InputError, match="labels"):
        Classifier(payloads[:30], [n] * 30, np.ones(30, bool))


# Bytes.


def random_ciphertexts(seed: int, count: int = 200, length: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, length), dtype=np.uint8)


def rows(values: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in values]


def test_uniform_bytes_are_rejected_as_often_as_the_level_says() -> None:
    found = [uniformity(rows(random_ciphertexts(seed))) for seed in range(400)]
    for p in ([one.pooled_p for one in found], [one.positions_p for one in found]):
        assert stats.kstest(p, "uniform").pvalue > 0.001
        assert 0.01 < np.mean(np.array(p) < 0.05) < 0.1
    assert found[0].bytes == 200 * (64 - TOP)


def test_bytes_that_are_not_uniform_are_found() -> None:
    values = random_ciphertexts(1, 2000)
    rng = np.random.default_rng(2)
    tilted = np.where(rng.random(values.shape) < 0.004, 7, values).astype(np.uint8)
    assert uniformity(rows(tilted)).pooled_p < 1e-9
    # Each value as often as another, but at one position always the one of its row's number.
    still = values.copy()
    still[:, 40] = 17
    assert uniformity(rows(still)).positions_p < 1e-9
    head = values.copy()
    head[:, :TOP] = 0
    assert uniformity(rows(head)).least_p > 0.001
    for wrong in ([b"1" * 64], [b"1" * 64, b"1" * 65], [b"1" * TOP] * 9):
        with pytest.raises(InputError, match="ciphertexts"):
            uniformity(wrong)


# Times.


@pytest.mark.parametrize("separation", [0.5, 1, -2])
def test_a_threshold_gains_what_normal_times_allow(separation: float) -> None:
    rng = np.random.default_rng(5)
    coins = rng.random(20000) < 0.5
    found = timing(1e-3 + 1e-5 * (rng.normal(size=20000) + separation * coins), coins)
    truth = float(2 * stats.norm.cdf(abs(separation) / 2) - 1)
    assert found.advantage.trials == 10000
    # Within the interval, but for the threshold that is learnt.
    assert found.advantage.signed.contains(truth)
    assert not found.advantage.signed.contains(truth * 2 / 3)
    assert not found.advantage.signed.contains(min(truth * 3 / 2, 1))
    assert found.medians[1] - found.medians[0] == pytest.approx(1e-5 * separation, rel=0.1)


def test_times_that_are_alike_tell_nothing_however_they_drift() -> None:
    rng = np.random.default_rng(4)
    coins = rng.random(4000) < 0.5
    drift = np.cumsum(rng.normal(size=4000)) + np.linspace(0, 300, 4000)
    found = timing(1 + 1e-3 * drift, coins)
    assert found.advantage.signed.contains(0)
    assert found.advantage.signed.high < 0.1
    # A drift would pass for knowledge if the messages came one after the other.
    assert timing(1 + 1e-3 * drift, np.arange(4000) >= 2000).advantage.signed.low > 0.5
    for wrong in (np.ones(40, bool), np.arange(40) % 2 == 0):
        with pytest.raises(InputError, match="coins"):
            timing(np.arange(40.0), wrong)


def test_times_of_real_encryptions_are_taken() -> None:
    asked = oracle(SOUND["fast short"], keys(1, BITS)[0], "reply")
    found = timed(asked, 80)
    assert found.trials == 80
    assert min(found.medians) > 0
    assert found.quartiles[0][0] <= found.medians[0] <= found.quartiles[0][1]
    assert json.dumps(found.to_dict())
    with pytest.raises(InputError, match="trials"):
        timed(asked, 39)


# The audit.


def small(**others: Any):
    plan: dict[str, Any] = {
        "experiments": (Case("fast short", "owner", None, 60), Case("phe", "reply", None, 60)),
        "broken": (Case("fast short", "reply", "pool", 60), Case("phe", "owner", "exponent", 60)),
        "iterations": 60,
    }
    return audit(BITS, insecure_test_keys=True, **(plan | others))


def test_an_audit_passes_where_sound_schemes_are_sound_and_broken_ones_are_caught() -> None:
    found = small()
    assert [outcome.caught for outcome in found.controls] == [True, True]
    assert [wire.least_p < RARE for wire in found.wire_controls] == [True, True]
    assert found.same_outline
    assert not found.text_sizes.fixed
    assert len(found.tests) == 2 + 2 + 1
    # Passing is up to chance once in a thousand times.
    assert found.family_p > RARE
    assert found.passed == (found.family_p >= 1e-3)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["experiments"][0]["adversaries"]["known"]["chance"] == 0
    assert set(plain["timings"]) == {"fast short", "phe"}


def test_an_audit_fails_where_anything_is_broken_or_a_control_is_not_caught() -> None:
    sound = Case("fast short", "owner", None, 60)
    spoiled = small(experiments=(Case("fast short", "owner", "pool", 60),), broken=())
    assert not spoiled.passed
    assert spoiled.family_p < RARE
    assert not small(experiments=(sound,), broken=(sound,)).passed


def test_experiments_can_go_to_workers() -> None:
    encryptions = {"phe": Encryption("phe", None, BITS, True)}
    work = _Play(encryptions, keys(1, BITS)[0], 0)  # pyright: ignore[reportArgumentType]
    sent, task = pickle.loads(pickle.dumps((work, (Case("phe", "owner", "pool", 20), 3))))
    found, spent = pickle.loads(pickle.dumps(sent(task)))
    assert (found.shown, found.key_bits) == (20, BITS)
    assert spent > 0


def test_the_plan_has_each_way_to_encrypt_and_each_flaw_of_both_backends() -> None:
    plan = cases()
    assert {(case.scheme, case.path) for case in plan} == {
        (n, path) for n in SOUND for path in PATHS
    }
    assert {case.flaw for case in plan} == {None}
    for scheme in ("fast short", "phe"):
        flaws = {case.flaw for case in controls() if case.scheme == scheme}
        assert flaws == {*FLAWS, *SERIALIZATIONS}


def test_the_checks_of_ciphertexts_do_not_import_jax() -> None:
    program = (
        "import sys, dpe_jax.privacy.ciphertexts\n"
        "bad = {'jax', 'jaxlib', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(repr(sorted(bad)) if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_shows_what_the_file_holds() -> None:
    found = read_json(ciphertext_checks.OUT)
    assert found["passed"]
    assert found["encryptions"]["phe"]["key_bits"] == 2048
    page = (ciphertext_checks.OUT.parents[2] / "docs" / "privacy_ciphertexts.md").read_text("utf-8")
    for table in ciphertext_checks.tables(found):
        assert table in page
    for number in (
        f"{found['wall_seconds']:.0f} s",
        f"{found['seconds']['processor time of experiments']:.0f} s",
        f"{found['tests']} of them: p = {found['family_p']:.2f} together",
    ):
        assert number in page
