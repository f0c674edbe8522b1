"""The baselines as their tests set them, on the small network."""

import numpy as np
from common import FULL, NETWORK

from dpe_jax.algorithms import (
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.exchange import Exchange
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerGrowth, PowerLaw

AGENTS, DIM, SEED = 5, 2, 2**40 + 9
QUIET = Quadratic(FULL.A, FULL.b, 0.0)
WEIGHTS = NETWORK.weights - np.diag(np.diag(NETWORK.weights))
ROW_SUMS = WEIGHTS.sum(axis=1)
X0 = np.random.default_rng(7).normal(size=(AGENTS, DIM))
EXCHANGE = Exchange.of(NETWORK)

TERNARY = TernaryDSGD(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), 6.5)
FUNCTION = FunctionSharing(PowerLaw(0.5, 0.9), 1.3)
STATE = RandomizedStateSharing(PowerLaw(0.5, 0.9), 1.3)
GEOMETRIC = GeometricDP(0.4, 0.8, 0.7, 0.9, 1.1, 4.0)
TAILORED = TailoredDP(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), PowerGrowth(0.3, 0.1), 4.0)
LANES = 20_000


def within(values: np.ndarray, expected: float | np.ndarray) -> bool:
    """Whether the mean of the last axis is within five standard errors of what is expected."""
    error = values.std(axis=-1) / np.sqrt(values.shape[-1])
    return bool(np.all(np.abs(values.mean(axis=-1) - expected) < 5 * error))
