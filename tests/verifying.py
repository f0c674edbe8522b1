"""What the tests of verification share."""

import functools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from common import GAMMA, STEPSIZE

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.factors import PublicFactors
from dpe_jax.paillier.setup import Encryption
from dpe_jax.results import trace_dataset
from dpe_jax.simulation import Result
from dpe_jax.verification import Report

SMALL_KEYS = Encryption(key_bits=256, insecure_test_keys=True)
# With short keys full-length exponents are cheaper than the tables of short ones.
QUICK = Encryption("fast", "full", 128, insecure_test_keys=True)
STEPS = 6
ARRAYS = ("trace_state", "trace_level", "trace_sum", "trace_increment")


@pytest.fixture(autouse=True)
def same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are made once for each length and number: their primes are tested elsewhere."""
    made = functools.cache(Encryption.generate)
    monkeypatch.setattr(Encryption, "generate", lambda self, agents: made(self, agents))


def method(factors: Any = None, **others: Any) -> EncryptedDSGD:
    return EncryptedDSGD(GAMMA, STEPSIZE, factors=factors or PublicFactors(), **others)


def start(agents: int, dim: int) -> np.ndarray:
    """Not on the lattice's levels, so that every word counts from the first iteration on."""
    return np.random.default_rng(agents).normal(size=(agents, dim))


def traces_of(result: Result) -> dict[str, xr.Dataset]:
    return {
        name: trace_dataset(name, trace, result.simulation) for name, trace in result.traces.items()
    }


def lasting(report: Report) -> dict[str, Any]:
    """A report without what differs from one verification to the next."""
    changing = ("seconds", "wall_seconds", "fanout", "resumed", "key_bytes")
    return {name: value for name, value in report.to_dict().items() if name not in changing}
