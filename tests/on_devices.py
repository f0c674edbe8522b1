"""Digests of a study's results on the devices that a process finds; also as one of its own."""

import hashlib
import json
import sys

import jax
import numpy as np

from dpe_jax import EncryptedDSGD, Network, PowerLaw, Quadratic, Simulation, Study, breast_cancer
from dpe_jax.problems import Problem
from dpe_jax.recording import Keep


def digests() -> dict[str, str]:
    """By case and name of the array; SHA-256 of its bytes."""
    network = Network.ring(5)
    found: dict[str, str] = {}
    # Every device compiles for itself, which is all of what this takes: fourteen blocks for all
    # of the devices, each of which computes several, and two of the problem that takes longer.
    cases: tuple[tuple[str, Problem, int, Keep], ...] = (
        ("quadratic", Quadratic.random(5, 2, seed=2, noise=0.5), 18, "runs"),
        ("hospitals", breast_cancer(agents=5, batch=8), 120, "summary"),
    )
    for name, problem, block, keep in cases:
        simulations = tuple(
            Simulation(
                {"encrypted": EncryptedDSGD(PowerLaw(0.8, 0.6), PowerLaw(0.5, 0.9), delta)},
                problem,
                network,
                120,
                20,
                points=6,
                metrics=("gap_mean_state", "consensus_error", "peak_error"),
                block=block,
            )
            for delta in (0.01, 0.1)
        )
        for block_of, recording in Study(simulations, keep).recordings():
            where = f"{name}/{keep}/{block_of.configurations}/{block_of.first}"
            arrays: dict[str, np.ndarray] = {
                **recording.curves,
                "status": recording.status,
                "final": recording.final,
            }
            for metric, moments in recording.moments.items():
                arrays |= {
                    f"{metric}.{field}": np.asarray(value)
                    for field, value in moments._asdict().items()
                }
            for array, value in arrays.items():
                digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
                found[f"{where}/{array}"] = digest
    return found


if __name__ == "__main__":
    json.dump({"devices": len(jax.local_devices()), "digests": digests()}, sys.stdout)
