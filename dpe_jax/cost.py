"""What an encrypted deployment costs: time, bytes and packing, forecast from a short calibration.

A replay of a small network on this machine, with keys of the asked length and messages of the same
layout, gives the seconds of each operation; how often each is done follows from the network.
"""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.lattice import FRACTION_BITS
from dpe_jax.paillier.backend import ciphertext_bytes
from dpe_jax.paillier.protocol import Factors, Protocol
from dpe_jax.paillier.replay import Replayed, Stretch
from dpe_jax.paillier.setup import Encryption, Work, protocol_for
from dpe_jax.paillier.tally import OPERATIONS
from dpe_jax.simulation import Simulation

CALIBRATION_SECONDS = 2.0
"""About as long a calibration repeats its iterations."""

_PLAIN_BYTES = 8
"""Of one number of a message in plaintext: a float64, or an int64 level."""

_SETUP = ("keys", "tables")

_MOST_AGENTS = 5
"""Of the calibration."""

_UNPACKED_COORDINATES = 4
"""Coordinates of the calibration where each has a ciphertext of its own."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """Seconds of each operation on this machine."""

    generate: float
    """Of one key pair: the mean over the agents of the calibration; single ones vary widely."""
    operations: dict[str, float]
    """Each of one ciphertext, key or coordinate, as `paillier.tally` counts them."""
    message: float
    """Of handling one message, beside all operations."""


@dataclasses.dataclass(frozen=True)
class Forecast:
    """The cost of a deployment of one method: times in seconds, sizes in bytes, else counts."""

    agents: int
    links: int
    dim: int
    iterations: int
    encryption: dict[str, Any]
    factors: str
    plaintext_bits: int
    slot_bits: int
    slots: int
    ciphertexts_a_message: int
    ciphertext_bytes: int
    messages: int
    wire_bytes: int
    """Of ciphertexts, over all iterations."""
    plain_messages: int
    plain_bytes: int
    """What the same run sends without encryption: one state to each neighbor and iteration."""
    setup_seconds: float
    """Key generation and tables of all agents, one after the other."""
    iteration_seconds: float
    """Of all agents, one after the other, as in `dpe verify` with one worker."""
    seconds: float
    """Setup and all iterations."""
    slowest_agent_seconds: float
    """An iteration where every agent has a machine like this one, and messages take no time: both
    phases of the agent with the most neighbors."""
    operation_seconds: dict[str, float]
    """Of one iteration, by operation."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def forecast(
    simulation: Simulation,
    method: str,
    encryption: Encryption,
    iterations: int | None = None,
    seconds: float = CALIBRATION_SECONDS,
) -> Forecast:
    """Forecast a deployment of one method: calibrate for about `seconds`, and count.

    Time = Σ over operations of how often each is done times its seconds on this machine, in a
    replay of a small network with keys and messages alike (derived; `scripts/bench_paillier.py`
    compares it with replays). Time in the network is not in it. `iterations` is by default that of
    the simulation. Seconds and bytes. `InputError` for a method whose exchange is not encrypted,
    iterations that are no positive integer, and keys too short for one coordinate.
    """
    iterations = simulation.iterations if iterations is None else iterations
    if type(iterations) is not int or iterations < 1:
        raise InputError("iterations", iterations, "an integer of at least 1")
    protocol = protocol_of(simulation, method, encryption)
    unit = calibrate(protocol, encryption, seconds)
    return count(protocol, unit, encryption, iterations)


def protocol_of(simulation: Simulation, method: str, encryption: Encryption) -> Protocol:
    """The protocol of one of a simulation's methods."""
    algorithm, network = simulation.algorithms.get(method), simulation.network
    if not isinstance(algorithm, EncryptedDSGD):
        raise InputError("method", method, "a method whose exchange is encrypted")
    factors = Factors(**algorithm.factors.describe())
    return protocol_for(
        network.coupling,
        simulation.problem.dim,
        simulation.seed,
        algorithm.rounding,
        factors,
        encryption,
    )


def calibrate(protocol: Protocol, encryption: Encryption, seconds: float) -> Unit:
    """Seconds of operations, by replays of a small complete network with as many neighbors.

    Of coordinates only as many are taken as fill a plaintext, or a few where each has its own
    ciphertext: the units are those of one ciphertext.
    """
    small = _small(protocol)
    began = time.perf_counter()
    keys = encryption.generate(small.agents)
    generate = (time.perf_counter() - began) / small.agents
    work = Work(encryption, keys)
    # The first iterations warm caches up, and say how many more there is time for.
    first = _timed(work, (small, _stretch(small, 2)))
    loop = first.seconds - sum(first.replayed.tally.seconds[name] for name in _SETUP)
    iterations = max(2, round(2 * seconds / loop))
    second = _timed(work, (small, _stretch(small, iterations)))
    tally = second.replayed.tally
    other = max(0.0, second.seconds - sum(tally.seconds.values()))
    operations = {
        name: tally.seconds[name] / tally.counts[name] if tally.counts[name] else 0.0
        for name in OPERATIONS
    }
    return Unit(generate, operations, other / second.replayed.messages)


@dataclasses.dataclass(frozen=True)
class _Timed:
    seconds: float
    replayed: Replayed


def _timed(work: Work, task: tuple[Protocol, Stretch]) -> _Timed:
    began = time.perf_counter()
    replayed = work(task)
    return _Timed(time.perf_counter() - began, replayed)


def _small(protocol: Protocol) -> Protocol:
    """A complete network of two to five agents with the mean degree and weight of the large one."""
    mean_degree = 2 * len(protocol.coupling) / protocol.agents
    agents = min(_MOST_AGENTS, round(mean_degree) + 1)
    weights = sorted(c for _, _, c in protocol.coupling)
    c = weights[len(weights) // 2]
    packed = protocol.message_ciphertexts == protocol.packing.ciphertexts < protocol.dim
    dim = min(protocol.dim, protocol.packing.slots if packed else _UNPACKED_COORDINATES)
    # At these levels no sum leaves its slot, whatever the small network's rows add up to.
    row = max(sum(protocol.weights(agent).values()) for agent in range(protocol.agents))
    limit = max(1, protocol.level_limit * row // (c * (agents - 1)) - 1)
    return dataclasses.replace(
        protocol,
        agents=agents,
        dim=dim,
        coupling=tuple((i, j, c) for i, j in itertools.combinations(range(agents), 2)),
        packing=dataclasses.replace(protocol.packing, dim=dim),
        level_limit=min(protocol.level_limit, limit),
    )


def _stretch(protocol: Protocol, iterations: int) -> Stretch:
    """Random levels that stay (Γ = 0, U = 0). The recorded sums are wrong, and go unread."""
    shape = iterations, protocol.agents, protocol.dim
    largest = protocol.level_limit - 1
    state = np.random.default_rng(0).integers(-largest, largest, shape[1:]) << FRACTION_BITS
    nothing = np.zeros(shape, np.int64)
    states = np.broadcast_to(state, (iterations + 1, *shape[1:])).copy()
    return Stretch("", 0, 0, np.zeros(iterations, np.int64), states, nothing, nothing, nothing)


def count(protocol: Protocol, unit: Unit, encryption: Encryption, iterations: int) -> Forecast:
    """The forecast of a protocol from the seconds of its operations."""
    packing, dim = protocol.packing, protocol.dim
    neighbors = [len(protocol.weights(agent)) for agent in range(protocol.agents)]
    directed, ciphertexts = sum(neighbors), protocol.message_ciphertexts
    size = ciphertext_bytes(2**encryption.key_bits - 1)

    def seconds(degrees: Sequence[int]) -> dict[str, float]:
        """Of one iteration of agents with so many neighbors each."""
        agents, links = len(degrees), sum(degrees)
        counts = {
            "prepare": ciphertexts * (agents + links),
            "round": dim * agents,
            "encrypt_own": ciphertexts * agents,
            "encrypt_neighbor": ciphertexts * links,
            "combine": ciphertexts * links,
            "gather": ciphertexts * links,
            "decrypt": packing.ciphertexts * agents,
            "update": dim * agents,
        }
        spent = {name: number * unit.operations[name] for name, number in counts.items()}
        return spent | {"messages": 2 * links * unit.message}

    of_all = seconds(neighbors)
    setup = protocol.agents * (unit.generate + unit.operations["keys"])
    # An agent's own key has a table as well.
    setup += (protocol.agents + directed) * unit.operations["tables"]
    iteration = sum(of_all.values())
    return Forecast(
        agents=protocol.agents,
        links=len(protocol.coupling),
        dim=dim,
        iterations=iterations,
        encryption=encryption.describe(),
        factors=protocol.factors.kind,
        plaintext_bits=packing.plaintext_bits,
        slot_bits=packing.width,
        slots=packing.slots,
        ciphertexts_a_message=ciphertexts,
        ciphertext_bytes=size,
        messages=2 * directed * iterations,
        wire_bytes=2 * directed * ciphertexts * size * iterations,
        plain_messages=directed * iterations,
        plain_bytes=directed * dim * _PLAIN_BYTES * iterations,
        setup_seconds=setup,
        iteration_seconds=iteration,
        seconds=setup + iteration * iterations,
        slowest_agent_seconds=sum(seconds([max(neighbors)]).values()),
        operation_seconds=of_all,
    )
