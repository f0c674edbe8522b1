"""What privacy costs: leakage, accuracy, bytes and processor time of every method of an audit.

Leakage is 1 − the relative error of the best attack on single gradients by the coalition of all
neighbors: 0 where saying 0 is as good, 1 where the gradient comes back. Leakage of states likewise,
beside the best guess. All but shares and ciphertexts that a method sends is left out of its bytes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dpe_jax import cost
from dpe_jax.algorithms import (
    Algorithm,
    EncryptedDSGD,
    FunctionSharing,
    RandomizedStateSharing,
    TernaryDSGD,
)
from dpe_jax.paillier.protocol import Protocol
from dpe_jax.paillier.setup import Encryption
from dpe_jax.paillier.tally import OPERATIONS
from dpe_jax.privacy.audit import Audit
from dpe_jax.privacy.intervals import Estimate
from dpe_jax.privacy.scores import Leak
from dpe_jax.privacy.views import Coalition
from dpe_jax.simulation import Simulation

FLOAT_BITS, TERNARY_BITS = 64, 2
"""Of one coordinate in plaintext."""

CALIBRATION_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Price:
    """Of one method."""

    method: str
    leakage: Estimate
    """Of single gradients, 0 to 1."""
    state_leakage: Estimate
    """Of states, 0 to 1."""
    accuracy: float
    """Median over runs of the audit's metric at the end; infinite where half of them failed."""
    bytes: float
    """An iteration, over all links, both directions."""
    cpu_seconds: float | None
    """Of encryption, an iteration of all agents; 0 in plaintext. None where it was not measured."""
    dominated: bool = False
    """Whether another method is no worse in anything, and better in something."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = dataclasses.asdict(self)
        return plain | {name: list(plain[name]) for name in ("leakage", "state_leakage")}


def prices(
    simulation: Simulation,
    audit: Audit,
    encryption: Encryption | None = None,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> tuple[Price, ...]:
    """Of every method of an audit; processor time is calibrated if an `encryption` is given.

    Without one, ciphertexts are those of 2048-bit keys of the fast backend. Methods whose protocols
    are alike are calibrated once.
    """
    everyone = Coalition(audit.target).name
    known: dict[Protocol, tuple[float, float | None]] = {}
    found = []
    for name in audit.methods:
        algorithm, scores = simulation.algorithms[name], audit.cell(name, everyone).scores
        if isinstance(algorithm, EncryptedDSGD):
            protocol = cost.protocol_of(simulation, name, encryption or Encryption())
            if protocol not in known:
                if encryption is not None:
                    told(name)
                known[protocol] = _encrypted(simulation, name, protocol, encryption)
            sent, seconds = known[protocol]
        else:
            sent, seconds = plain_bytes(algorithm, simulation), 0.0
        leaks = _leakage(scores.gradient), _leakage(scores.state)
        found.append(Price(name, *leaks, audit.accuracy[name].median, sent, seconds))
    values = np.array(
        [[p.leakage.value, p.accuracy, p.bytes, p.cpu_seconds or 0.0] for p in found], np.float64
    )
    best = front(values)
    pairs = zip(found, best, strict=True)
    return tuple(dataclasses.replace(price, dominated=not kept) for price, kept in pairs)


def front(values: Float[np.ndarray, "points criteria"]) -> Bool[np.ndarray, " points"]:
    """Which points no other dominates, where less is better in every criterion.

    p dominates q if p ≤ q in all and p < q in some; equal points do not dominate each other.
    """
    no_worse = np.all(values[:, None] <= values[None], axis=-1)
    better = np.any(values[:, None] < values[None], axis=-1)
    return ~np.any(no_worse & better, axis=0)


def plain_bytes(algorithm: Algorithm, simulation: Simulation) -> float:
    """Bytes an iteration of a method that does not encrypt, as many bits as a coordinate needs."""
    coordinates = 2 * len(simulation.network.edges) * simulation.problem.dim
    match algorithm:
        case TernaryDSGD():
            bits = TERNARY_BITS
        case RandomizedStateSharing():
            # A share for each neighbor beside the message.
            bits = 2 * FLOAT_BITS
        case FunctionSharing():
            # Shares are exchanged once.
            bits = FLOAT_BITS * (1 + 1 / simulation.iterations)
        case _:
            bits = FLOAT_BITS
    return coordinates * bits / 8


def _encrypted(
    simulation: Simulation, name: str, protocol: Protocol, encryption: Encryption | None
) -> tuple[float, float | None]:
    if encryption is None:
        plain = Encryption()
        nothing = cost.Unit(0.0, dict.fromkeys(OPERATIONS, 0.0), 0.0)
        return float(cost.count(protocol, nothing, plain, 1).wire_bytes), None
    found = cost.forecast(simulation, name, encryption, seconds=CALIBRATION_SECONDS)
    return found.wire_bytes / found.iterations, found.iteration_seconds


def _leakage(leak: Leak | None) -> Estimate:
    """1 − error/chance, within 0 and 1."""
    if leak is None:
        return Estimate(0.0, 0.0, 0.0)
    value, low, high = (1 - error / leak.chance for error in leak.error)
    return Estimate(*(float(np.clip(one, 0.0, 1.0)) for one in (value, high, low)))
