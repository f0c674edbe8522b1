"""What the tests of verification share."""

import functools
from typing import Any

import numpy as np
import xarray as xr
from common import GAMMA, STEPSIZE, run

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.factors import LinkFactors, PublicFactors
from dpe_jax.network import Network
from dpe_jax.paillier.setup import Encryption
from dpe_jax.problems import Quadratic
from dpe_jax.results import trace_dataset
from dpe_jax.study import Result
from dpe_jax.verification import Report

SMALL_KEYS = Encryption(key_bits=256, insecure_test_keys=True)
# With short keys full-length exponents are cheaper than the tables of short ones.
QUICK = Encryption("fast", "full", 128, insecure_test_keys=True)
STEPS = 6
ARRAYS = ("trace_state", "trace_level", "trace_sum", "trace_increment")


def method(factors: Any = None, **others: Any) -> EncryptedDSGD:
    return EncryptedDSGD(GAMMA, STEPSIZE, factors=factors or PublicFactors(), **others)


def start(agents: int, dim: int) -> np.ndarray:
    """Not on the lattice's levels, so that every word counts from the first iteration on."""
    return np.random.default_rng(agents).normal(size=(agents, dim))


LOOP = Network.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)])
SQUARE = Quadratic.random(4, 2, seed=1, noise=0.3)
INTEGERS = 2 * STEPS * 3 * 4 * 2


def private(seed: int) -> Result:
    settings: dict[str, Any] = {"seed": seed, "iterations": STEPS, "trace": (1, 4)}
    return run(method(LinkFactors(2, 9)), SQUARE, LOOP, x0=start(4, 2), **settings)


@functools.cache
def real() -> Result:
    """A result with private factors, in which every number matters from the start."""
    return private(2**40 + 9)


def traces_of(result: Result) -> dict[str, xr.Dataset]:
    return {
        name: trace_dataset(name, trace, result.simulation) for name, trace in result.traces.items()
    }


def lasting(report: Report) -> dict[str, Any]:
    """A report without what differs from one verification to the next."""
    changing = ("seconds", "wall_seconds", "fanout", "resumed", "key_bytes")
    return {name: value for name, value in report.to_dict().items() if name not in changing}
