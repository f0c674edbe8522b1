"""Every method beside `EncryptedDSGD`."""

import dataclasses
import statistics
from typing import Any

from dpe_jax.algorithms import (
    Algorithm,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.bench.engines import encrypted_alone, engine
from dpe_jax.bench.timing import Told, about, by_turns, rounded, spread
from dpe_jax.factors import CoordinateFactors, LinkFactors
from dpe_jax.schedules import PowerGrowth, PowerLaw

GAMMA, STEPSIZE = PowerLaw(1.0, 0.6), PowerLaw(0.5, 0.9)


def algorithms() -> dict[str, Algorithm]:
    """The methods, by the names under which they are reported."""
    return {
        "encrypted": EncryptedDSGD(GAMMA, STEPSIZE),
        "encrypted, factors a link": EncryptedDSGD(GAMMA, STEPSIZE, factors=LinkFactors()),
        "encrypted, factors a coordinate": EncryptedDSGD(
            GAMMA, STEPSIZE, factors=CoordinateFactors()
        ),
        "conventional": ConventionalDSGD(STEPSIZE),
        "centralized": CentralizedSGD(STEPSIZE),
        "ternary": TernaryDSGD(STEPSIZE, GAMMA, 8.0),
        "function sharing": FunctionSharing(STEPSIZE, 1.0),
        "state sharing": RandomizedStateSharing(STEPSIZE, 1.0),
        "geometric DP": GeometricDP(0.1, 0.99, 1.0, 0.995, 10.0, 1.0),
        "tailored DP": TailoredDP(STEPSIZE, GAMMA, PowerGrowth(0.1, 0.05), 1.0),
        "geometric DP, clipped": GeometricDP(0.1, 0.99, 1.0, 0.995, 10.0, 1.0, clip=True),
        "tailored DP, clipped": TailoredDP(STEPSIZE, GAMMA, PowerGrowth(0.1, 0.05), 1.0, clip=True),
    }


def measure(runs: int, iterations: int, turns: int, told: Told = lambda _: None) -> dict[str, Any]:
    """Nanoseconds per agent-coordinate-step on `five-agents`, metrics off."""
    simulation = encrypted_alone("five-agents", runs, iterations)
    timed = by_turns(
        {
            name: engine(dataclasses.replace(simulation, algorithms={"method": algorithm}))
            for name, algorithm in algorithms().items()
        },
        turns,
        told,
    )
    scale = 1e9 / (simulation.problem.agents * simulation.problem.dim * runs * iterations)
    base = timed["encrypted"].turns
    return {
        "methods": {
            name: {
                "ns": rounded(one.median * scale),
                "range_ns": spread(one.turns, scale),
                "times_encrypted": round(
                    statistics.median(t / b for t, b in zip(one.turns, base, strict=True)), 2
                ),
            }
            for name, one in timed.items()
        },
        "runs": runs,
        "iterations": iterations,
        **about(turns),
    }
