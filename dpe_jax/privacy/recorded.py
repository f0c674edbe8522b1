"""What an eavesdropper has of a simulation's own runs, replayed with real encryption."""

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.cost import protocol_of
from dpe_jax.paillier.protocol import Protocol
from dpe_jax.paillier.replay import Stretch
from dpe_jax.paillier.setup import Encryption
from dpe_jax.privacy.ciphertexts import ITERATIONS, Wire, watched
from dpe_jax.privacy.transcripts import transcript
from dpe_jax.simulation import Simulation
from dpe_jax.study import simulate

MOST_CIPHERTEXTS = 20_000
"""In a transcript: some 20 s of encryption with 2048 bits."""


def wires(simulation: Simulation, encryption: Encryption) -> dict[str, Wire]:
    """The checks of the first iterations of run 0, by method; of those with one protocol, once.

    As many iterations as `ciphertexts.ITERATIONS`, or fewer where messages are long.
    """
    found: dict[Protocol, tuple[str, Wire]] = {}
    for name, algorithm in simulation.algorithms.items():
        if isinstance(algorithm, EncryptedDSGD):
            protocol = protocol_of(simulation, name, encryption)
            if protocol not in found:
                found[protocol] = name, _wire(simulation, name, algorithm, protocol, encryption)
    return dict(found.values())


def _wire(
    simulation: Simulation,
    name: str,
    algorithm: EncryptedDSGD,
    protocol: Protocol,
    encryption: Encryption,
) -> Wire:
    each = (protocol.agents + 2 * len(protocol.coupling)) * protocol.message_ciphertexts
    count = min(ITERATIONS, simulation.iterations, max(1, MOST_CIPHERTEXTS // each))
    result = simulate(
        {name: algorithm},
        simulation.problem,
        simulation.network,
        runs=1,
        iterations=count,
        trace=(0,),
        metrics=(),
        points=2,
        seed=simulation.seed,
        x0=simulation.x0,
    )
    trace = result.traces[name]
    gains = np.asarray(algorithm.table(simulation.network, np.arange(count)).gain)
    arrays = (trace.state[0], trace.level[0], trace.sums[0], trace.increment[0])
    stretch = Stretch(name, 0, 0, gains, *arrays)
    keys = encryption.generate(protocol.agents)
    seen = transcript(protocol, stretch, encryption.backend(), keys)
    return watched("fast short", protocol, stretch, seen)
