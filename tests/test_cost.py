"""Forecasts: their counts are those of a real replay, and their times are near its times."""

import contextlib
import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from common import ENCRYPTED, GAMMA, STEPSIZE

from dpe_jax import cost
from dpe_jax.algorithms import ConventionalDSGD, EncryptedDSGD
from dpe_jax.cost import Forecast, Unit, calibrate, count, forecast, protocol_of
from dpe_jax.errors import InputError
from dpe_jax.factors import CoordinateFactors, LinkFactors, PublicFactors
from dpe_jax.network import Network
from dpe_jax.paillier.channel import Channel
from dpe_jax.paillier.setup import Encryption, Work
from dpe_jax.paillier.tally import OPERATIONS, Tally
from dpe_jax.problems import Quadratic
from dpe_jax.simulation import Simulation
from dpe_jax.study import simulate
from dpe_jax.verification import verify

pytestmark = pytest.mark.slow  # together over 20 s

SMALL_KEYS = Encryption(key_bits=256, insecure_test_keys=True)
RANDOM = [PublicFactors(), LinkFactors(), CoordinateFactors(2, 5)]
NETWORKS = [Network.path(2), Network.star(6), Network.ring(7), Network.complete(4)]
NO_TIME = Unit(0.0, dict.fromkeys(OPERATIONS, 0.0), 0.0)
# One operation takes a second: what is forecast is how often it is done.
EACH = {name: Unit(0.0, dict.fromkeys(OPERATIONS, 0.0) | {name: 1.0}, 0.0) for name in OPERATIONS}


def simulation(
    factors: Any = None, network: Network | None = None, dim: int = 3, **others: Any
) -> Simulation:
    network = network or Network.ring(5)
    method = EncryptedDSGD(GAMMA, STEPSIZE, factors=factors or PublicFactors())
    problem = Quadratic.random(network.agents, dim, seed=1, noise=0.3)
    chosen: dict[str, Any] = {"runs": 2, "iterations": 3, "points": 2, "metrics": ()} | others
    return Simulation({"method": method}, problem, network, **chosen)


def simulated(given: Simulation, trace: tuple[int, ...] = (0,)) -> Any:
    return simulate(
        given.algorithms, given.problem, given.network, runs=given.runs,
        iterations=given.iterations, points=2, metrics=(), trace=trace,
    )  # fmt: skip


def counted(given: Simulation, encryption: Encryption, unit: Unit = NO_TIME) -> Forecast:
    return count(protocol_of(given, "method", encryption), unit, encryption, given.iterations)


@pytest.mark.parametrize(
    ("factors", "network", "dim"),
    [
        # Also those whose operations are counted below.
        *((factors, Network.star(6), 8) for factors in RANDOM),
        (PublicFactors(), Network.path(2), 1),
        (LinkFactors(), Network.ring(5), 9),
        (CoordinateFactors(2, 5), Network.complete(4), 8),
    ],
    ids=str,
)
def test_counts_are_those_of_a_replay(factors, network, dim) -> None:
    given = simulation(factors, network, dim)
    trace = simulated(given)
    for name in ("fast", "phe"):
        encryption = dataclasses.replace(SMALL_KEYS, name=name)
        report = verify(trace, encryption=encryption)
        assert report.verified
        made = counted(given, encryption)
        packing = report.packing["method"]
        assert (made.messages, made.wire_bytes) == (report.messages, report.ciphertext_bytes)
        assert made.ciphertexts_a_message == packing["ciphertexts_a_message"]
        assert (made.plaintext_bits, made.slots) == (packing["plaintext_bits"], packing["slots"])
        assert made.slot_bits == packing["plaintext_bits"] + packing["guard_bits"]
        assert made.ciphertext_bytes == 64
        assert made.encryption == report.encryption
        links = len(network.edges)
        assert (made.agents, made.links, made.dim) == (network.agents, links, dim)
        assert (made.iterations, made.factors) == (3, factors.kind)
        # One state of float64 to each neighbor, in one message.
        assert made.plain_messages == 3 * 2 * links
        assert made.plain_bytes == 3 * 2 * links * dim * 8


@pytest.mark.parametrize("factors", RANDOM, ids=str)
def test_operations_are_counted_as_a_replay_counts_them(factors, monkeypatch) -> None:
    """A second for each: so many seconds are forecast."""
    given = simulation(factors, Network.star(6), 8)
    trace = simulated(given)
    counts: dict[str, int] = {}

    def call(self: Work, task: Any, honest: Any = Work.__call__) -> Any:
        replayed = honest(self, task)
        counts.update(replayed.tally.counts)
        return replayed

    monkeypatch.setattr(Work, "__call__", call)
    for name in ("fast", "phe"):
        encryption = dataclasses.replace(SMALL_KEYS, name=name)
        protocol = protocol_of(given, "method", encryption)
        report = verify(trace, encryption=encryption)
        assert report.verified
        for operation, unit in EACH.items():
            made = count(protocol, unit, encryption, given.iterations)
            if operation == "prepare":
                continue  # Computed when it is needed, and then part of encryption.
            assert made.seconds == counts[operation], operation
            if operation in ("keys", "tables"):
                assert (made.iteration_seconds, made.setup_seconds) == (0, counts[operation])
            else:
                assert made.operation_seconds[operation] == counts[operation] / 3
                assert made.setup_seconds == 0
        message = dataclasses.replace(NO_TIME, message=1.0)
        assert count(protocol, message, encryption, 3).seconds == report.messages
        generated = dataclasses.replace(NO_TIME, generate=1.0)
        assert count(protocol, generated, encryption, 3).seconds == 6


def test_the_slowest_agent_has_the_most_neighbors() -> None:
    given = simulation(network=Network.star(6), dim=1)
    for operation, number in (
        ("encrypt_own", 1), ("encrypt_neighbor", 5), ("combine", 5), ("gather", 5), ("decrypt", 1),
    ):  # fmt: skip
        assert counted(given, SMALL_KEYS, EACH[operation]).slowest_agent_seconds == number
    # All others have the hub alone.
    assert counted(given, SMALL_KEYS, EACH["combine"]).iteration_seconds == 10


def test_iterations_scale_what_is_not_set_up() -> None:
    given, unit = simulation(), Unit(2.0, dict.fromkeys(OPERATIONS, 1e-3), 1e-4)
    protocol = protocol_of(given, "method", SMALL_KEYS)
    one, ten = (count(protocol, unit, SMALL_KEYS, iterations) for iterations in (1, 10))
    assert one.setup_seconds == ten.setup_seconds
    assert one.iteration_seconds == ten.iteration_seconds
    assert ten.seconds == pytest.approx(ten.setup_seconds + 10 * ten.iteration_seconds)
    assert (ten.messages, ten.wire_bytes) == (10 * one.messages, 10 * one.wire_bytes)
    assert (ten.plain_messages, ten.plain_bytes) == (10 * one.plain_messages, 10 * one.plain_bytes)


@pytest.mark.parametrize("name", ["fast", "phe", "full"])
@pytest.mark.parametrize("factors", RANDOM, ids=str)
def test_a_calibration_is_of_the_same_layout(factors, name) -> None:
    """Any network, dimension and backend can be calibrated, also with keys of one slot."""
    encryption = SMALL_KEYS
    if name != "fast":
        encryption = dataclasses.replace(
            SMALL_KEYS, **({"name": "phe"} if name == "phe" else {"randomness": "full"})
        )
    for network, dim in itertools.product(NETWORKS, (1, 9)):
        unit = calibrate(
            protocol_of(simulation(factors, network, dim), "method", encryption), encryption, 0.01
        )
        used = {name for name, seconds in unit.operations.items() if seconds > 0}
        assert used >= set(OPERATIONS) - {"prepare"}
        assert unit.generate > 0
        assert unit.message >= 0
    one_slot = Encryption(key_bits=96, insecure_test_keys=True)
    given = simulation(LinkFactors(1, 2**12), Network.star(30), 5)
    made = forecast(given, "method", one_slot, seconds=0.01)
    assert (made.slots, made.ciphertexts_a_message) == (1, 5)


# Powers of two: a sum of them tells what it is made of.
PRICES = {name: 2.0**power for power, name in enumerate(OPERATIONS)}
MESSAGE = 2.0 ** len(OPERATIONS)


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that nothing moves but operations and messages, each by its price."""
    now = [0.0]
    made = SimpleNamespace(perf_counter=lambda: now[0])
    for module in ("cost", "verification", "paillier.tally"):
        monkeypatch.setattr(f"dpe_jax.{module}.time", made)

    @contextlib.contextmanager
    def timing(self: Tally, operation: str, number: int, honest: Any = Tally.timing) -> Any:
        with honest(self, operation, number):
            yield
            now[0] += PRICES[operation] * number

    def send(self: Channel, *message: Any, honest: Any = Channel.send) -> None:
        before = self.messages
        honest(self, *message)
        now[0] += MESSAGE * (self.messages - before)

    monkeypatch.setattr(Tally, "timing", timing)
    monkeypatch.setattr(Channel, "send", send)
    return made


@pytest.mark.parametrize("randomness", ["short", "full"])
@pytest.mark.parametrize("factors", RANDOM, ids=str)
def test_the_time_of_a_replay_is_forecast(factors, randomness, clock) -> None:
    """Exactly, where prices are known; on a real clock see `scripts/bench_paillier.py`."""
    network = Network.ring(5)
    given = simulation(factors, network, 8)
    encryption = dataclasses.replace(SMALL_KEYS, randomness=randomness)
    result = simulated(given)
    began = clock.perf_counter()
    report = verify(result, encryption=encryption)
    assert report.verified
    took = clock.perf_counter() - began
    made = forecast(given, "method", encryption, seconds=0.0)
    assert made.seconds == pytest.approx(took, rel=1e-12)
    setup = 5 * PRICES["keys"] + (5 + 10) * PRICES["tables"]
    assert made.setup_seconds == pytest.approx(setup, rel=1e-12)
    assert made.iteration_seconds == pytest.approx((took - setup) / 3, rel=1e-12)
    # Eight coordinates in one ciphertext, or in eight.
    another = RANDOM[0] if factors.kind == "coordinate" else RANDOM[-1]
    other = forecast(simulation(another, network, 8), "method", encryption, seconds=0.0)
    assert other.seconds != pytest.approx(took, rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("plain", SMALL_KEYS), "method = 'plain': expected a method whose exchange is encrypted"),
        (("other", SMALL_KEYS), "method = 'other'"),
        (("method", SMALL_KEYS, 0), "iterations = 0: expected an integer of at least 1"),
        (("method", SMALL_KEYS, -1), "iterations = -1"),
        (("method", SMALL_KEYS, True), "iterations = True"),
    ],
)
def test_bad_input_is_refused(arguments, expected) -> None:
    methods = {"method": ENCRYPTED, "plain": ConventionalDSGD(STEPSIZE)}
    given = dataclasses.replace(simulation(), algorithms=methods)
    with pytest.raises(InputError, match=f"^{expected}"):
        cost.forecast(given, *arguments)
