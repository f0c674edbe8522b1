"""Traces replayed with real encryption: what is sound is verified, and what is refused.

Oracles are products of sizes; keys are small.
"""

import dataclasses
import json

import numpy as np
import pytest
from common import DIAGONAL, FULL, NETWORK, STEPSIZE, run
from tasks import local_cluster
from verifying import (
    SMALL_KEYS,
    STEPS,
    lasting,
    method,
    real,
    start,
)

from dpe_jax.algorithms import ConventionalDSGD
from dpe_jax.errors import InputError
from dpe_jax.factors import CoordinateFactors, LinkFactors, PublicFactors
from dpe_jax.fanout import Cluster, Processes
from dpe_jax.network import Network
from dpe_jax.paillier.setup import Encryption
from dpe_jax.problems import Quadratic, SensorEstimation, breast_cancer
from dpe_jax.study import simulate
from dpe_jax.verification import Lane, verify

pytestmark = [
    pytest.mark.slow,  # together over 20 s
    # Nearest rounding is warned of, as are matrices whose Γ is coarse.
    pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning"),
    pytest.mark.usefixtures("same_keys"),
]


# Sound results


def odd_network() -> Network:
    """Weights c_ij / 97 on a random graph of six agents."""
    rng = np.random.default_rng(5)
    levels = np.triu(rng.integers(1, 20, (6, 6)) * (rng.random((6, 6)) < 0.5), 1)
    levels[np.arange(5), np.arange(1, 6)] = 9
    return Network.from_matrix((levels + levels.T) / 97)


CASES = [
    (method(PublicFactors(), rounding="nearest"), FULL, NETWORK, 0),
    (method(LinkFactors()), FULL, NETWORK, 2**63 + 2**31),
    (method(LinkFactors(3, 3), delta=0.3), Quadratic.random(2, 1, seed=1), Network.path(2), 1),
    (method(CoordinateFactors(2, 5)), DIAGONAL, Network.star(5), 2**64 - 1),
    (
        method(PublicFactors(), delta=0.01),
        SensorEstimation.random(6, 3, 4, seed=1, noise=0.3),
        odd_network(),
        2**32,
    ),
    (
        method(LinkFactors(), rounding="nearest"),
        breast_cancer(5, split="dirichlet"),
        Network.complete(5),
        2**32 - 1,
    ),
]


@pytest.mark.parametrize(("algorithm", "problem", "network", "seed"), CASES)
def test_what_was_simulated_is_verified_integer_for_integer(
    algorithm, problem, network, seed
) -> None:
    agents, dim = problem.agents, problem.dim
    result = run(
        algorithm,
        problem,
        network,
        seed=seed,
        iterations=STEPS,
        trace=(0, 6),
        x0=start(agents, dim),
    )
    report = verify(result, encryption=SMALL_KEYS)
    assert report.verified
    assert (report.mismatches, report.first_mismatch, report.disagreements) == (0, None, ())
    assert report.lanes == tuple(Lane("method", r, STEPS, "ok", STEPS) for r in (0, 6))
    assert report.iterations == 2 * STEPS
    # A level, a sum and a state.
    assert report.integers_compared == 2 * STEPS * 3 * agents * dim
    links = len(network.edges)
    # There and back over each link, by both ends.
    assert report.messages == 2 * STEPS * 4 * links
    # n² of 256 bits takes 64 bytes.
    ciphertexts = report.packing["method"]["ciphertexts_a_message"]
    assert report.ciphertext_bytes == report.messages * 64 * ciphertexts
    bits = (2 * (2**28 + 1) * algorithm.row_sum(network)).bit_length() + 1
    slots = 254 // (bits + 2)
    per_coordinate = isinstance(algorithm.factors, CoordinateFactors)
    assert report.packing["method"] == {
        "plaintext_bits": bits,
        "guard_bits": 2,
        "slots": slots,
        "ciphertexts_a_message": dim if per_coordinate else -(-dim // slots),
    }
    assert report.encryption["insecure_test_keys"] is True
    assert (report.encryption["key_bits"], report.encryption["backend"]) == (256, "fast")
    assert (report.resumed, report.stopped) == (0, ())
    distance = report.increments["method"]
    assert distance["increments"] == 2 * STEPS * agents * dim
    assert distance["median_ulp"] < 20


def test_several_methods_of_one_result() -> None:
    methods = {
        "private": method(CoordinateFactors(1, 4), delta=0.5),
        "plain": ConventionalDSGD(STEPSIZE),
        "nearest": method(rounding="nearest"),
    }
    result = simulate(
        methods, FULL, NETWORK, runs=4, iterations=STEPS, points=2, trace=(3, 1), metrics=()
    )
    report = verify(result, encryption=SMALL_KEYS)
    assert report.verified
    assert [(lane.method, lane.run) for lane in report.lanes] == [
        ("private", 1), ("private", 3), ("nearest", 1), ("nearest", 3),
    ]  # fmt: skip
    assert report.integers_compared == 4 * STEPS * 3 * 5 * 2
    assert sorted(report.packing) == sorted(report.increments) == ["nearest", "private"]
    only = verify(result, encryption=SMALL_KEYS, runs=(3,), iterations=5)
    assert only.verified
    assert [(lane.method, lane.run, lane.iterations) for lane in only.lanes] == [
        ("private", 3, 5), ("nearest", 3, 5),
    ]  # fmt: skip
    assert only.iterations == 10


@pytest.mark.parametrize("name", ["phe", "full", "processes"])
def test_another_backend_randomness_or_fanout_finds_the_same(name: str) -> None:
    expected = lasting(verify(real(), encryption=SMALL_KEYS))
    other, fanout = SMALL_KEYS, Processes(1)
    if name == "phe":
        other = dataclasses.replace(SMALL_KEYS, name="phe")
    elif name == "full":
        other = dataclasses.replace(SMALL_KEYS, randomness="full")
    else:
        fanout = Processes(2)
    report = verify(real(), encryption=other, segment=3, fanout=fanout)
    found = lasting(report)
    assert found.pop("encryption") == other.describe()
    expected.pop("encryption")
    if name == "phe":
        # Without packing every coordinate takes a ciphertext.
        assert report.packing["method"]["slots"] == 1
        assert found["ciphertext_bytes"] == 2 * expected.pop("ciphertext_bytes")
        for entry in ("packing", "ciphertext_bytes"):
            found.pop(entry)
        expected.pop("packing")
    assert found == expected
    assert found["verified"]
    assert report.fanout["workers"] == (2 if name == "processes" else 1)


def test_the_workers_of_a_cluster_find_the_same() -> None:
    with local_cluster() as cluster:
        fanout = Cluster(cluster.scheduler_address)
        report = verify(real(), encryption=SMALL_KEYS, segment=4, fanout=fanout)
    assert lasting(report) == lasting(verify(real(), encryption=SMALL_KEYS))
    assert report.verified
    assert (report.fanout["kind"], report.fanout["workers"]) == ("dask", 2)


@pytest.mark.parametrize("segment", [1, 4, STEPS, 7])
def test_parts_of_any_length_make_the_same_report(segment: int) -> None:
    report = verify(real(), encryption=SMALL_KEYS, segment=segment)
    assert lasting(report) == lasting(verify(real(), encryption=SMALL_KEYS))
    # Each part announces its keys anew.
    parts = 2 * -(-STEPS // segment)
    assert (
        report.key_bytes
        == parts * verify(real(), encryption=SMALL_KEYS, runs=(1,), iterations=1).key_bytes
    )


def test_progress_adds_up() -> None:
    told: list[tuple[str, int, int]] = []
    verify(real(), encryption=SMALL_KEYS, segment=4, progress=lambda *news: told.append(news))
    assert {(name, total) for name, _, total in told} == {("method", 2 * STEPS)}
    assert [done for _, done, _ in told if done] == [4, 2, 4, 2]


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"runs": (0,)}, r"runs = 0: expected traced runs \(1, 4\)"),
        ({"runs": ()}, r"runs = \(\): expected at least one"),
        ({"runs": (1, 7)}, r"runs = 7: "),
        ({"iterations": 0}, r"iterations = 0: expected an integer of at least 1"),
        ({"iterations": STEPS + 1}, r"iterations = 7: expected at most the 6 iterations"),
        ({"iterations": True}, r"iterations = True: "),
        ({"segment": 0}, r"segment = 0: "),
        ({"segment": True}, r"segment = True: "),
        ({"encryption": Encryption(key_bits=96, insecure_test_keys=True)}, None),
    ],
)
def test_bad_arguments_are_one_line(arguments, expected) -> None:
    if expected is None:
        # Keys that hold one slot of this method suffice.
        assert verify(real(), **arguments).packing["method"]["slots"] == 2
        return
    with pytest.raises(InputError, match=f"^{expected}") as error:
        verify(real(), **{"encryption": SMALL_KEYS, **arguments})
    assert len(str(error.value).splitlines()) == 1


def test_keys_too_short_for_a_slot_are_refused() -> None:
    result = run(method(LinkFactors(1, 2**14)), iterations=2, trace=(0,))
    short = Encryption(key_bits=64 + 32, insecure_test_keys=True)
    assert verify(result, encryption=short).packing["method"]["slots"] == 1
    with pytest.raises(InputError, match=r"^key_bits = "):
        Encryption(key_bits=64, insecure_test_keys=True)


def test_without_a_trace_there_is_nothing_to_verify() -> None:
    for result in (run(iterations=2), run(ConventionalDSGD(STEPSIZE), iterations=2, trace=(0,))):
        with pytest.raises(InputError, match="one with traced runs of a method on the lattice"):
            verify(result, encryption=SMALL_KEYS)


def test_the_report_is_plain_data() -> None:
    report = verify(real(), encryption=SMALL_KEYS)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert next(iter(plain)) == "verified"
    assert plain["verified"] is True
    assert plain["lanes"][1] == {
        "method": "method",
        "run": 4,
        "iterations": STEPS,
        "status": "ok",
        "recorded": STEPS,
    }
