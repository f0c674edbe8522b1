"""Every method with settings and the table that makes it, and how to take one step of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import FULL

from dpe_jax import philox
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
from dpe_jax.draws import Draws
from dpe_jax.factors import CoordinateFactors, LinkFactors
from dpe_jax.network import Network
from dpe_jax.schedules import PowerGrowth, PowerLaw

GAMMA, STEPSIZE = PowerLaw(1.0, 0.6), PowerLaw(0.6, 0.85)
METHODS: dict[str, Algorithm] = {
    "encrypted": EncryptedDSGD(GAMMA, STEPSIZE),
    "encrypted-link": EncryptedDSGD(GAMMA, STEPSIZE, factors=LinkFactors(1, 3)),
    "encrypted-coordinate": EncryptedDSGD(GAMMA, STEPSIZE, factors=CoordinateFactors(1, 3)),
    "conventional": ConventionalDSGD(STEPSIZE),
    "centralized": CentralizedSGD(STEPSIZE),
    "ternary": TernaryDSGD(STEPSIZE, GAMMA, 8.0),
    "function-sharing": FunctionSharing(STEPSIZE, 1.5),
    "state-sharing": RandomizedStateSharing(STEPSIZE, 1.5),
    "geometric": GeometricDP(0.3, 0.8, 0.2, 0.9, 50.0, 4.0),
    "tailored": TailoredDP(STEPSIZE, GAMMA, PowerGrowth(0.2, 0.02), 4.0),
}
TABLES = {
    "encrypted": {"method": "EncryptedDSGD"},
    "encrypted-link": {
        "method": "EncryptedDSGD",
        "factors": {"kind": "link", "low": 1, "high": 3},
    },
    "encrypted-coordinate": {
        "method": "EncryptedDSGD",
        "factors": {"kind": "coordinate", "low": 1, "high": 3},
    },
    "conventional": {"method": "ConventionalDSGD"},
    "centralized": {"method": "CentralizedSGD"},
    "ternary": {"method": "TernaryDSGD", "range": 8.0},
    "function-sharing": {"method": "FunctionSharing", "scale": 1.5},
    "state-sharing": {"method": "RandomizedStateSharing", "scale": 1.5},
    "geometric": {
        "method": "GeometricDP",
        **{"c": 0.3, "q": 0.8, "M": 0.2, "p": 0.9, "radius": 50.0, "gradient_bound": 4.0},
    },
    "tailored": {
        "method": "TailoredDP",
        "noise": {"scale": 0.2, "exponent": 0.02},
        "gradient_bound": 4.0,
    },
}
SCHEDULES = {
    "gamma": {"scale": 1.0, "exponent": 0.6},
    "stepsize": {"scale": 0.6, "exponent": 0.85},
}
LATTICE = [name for name, method in METHODS.items() if isinstance(method, EncryptedDSGD)]
PRIVATE = ["geometric", "tailored"]
# The other factors take the same path through the program.
SLOWER = {"encrypted-link": pytest.mark.slow}
NAMES = [pytest.param(name, marks=SLOWER.get(name, ())) for name in METHODS]
every_method = pytest.mark.parametrize("name", NAMES)


def draws(time: int, lanes: int, problem=FULL, seed: int = 0) -> Draws:
    low, high = philox.seed_key(seed)
    run = jnp.arange(lanes, dtype=jnp.uint32)
    key = (jnp.uint32(low), jnp.uint32(high))
    return Draws(key, run, jnp.uint32(time), problem.agents, problem.dim)


@eqx.filter_jit
def start(algorithm: Algorithm, x0, exchange, draws):
    return algorithm.init(x0, exchange, draws)


@eqx.filter_jit
def step(algorithm: Algorithm, state, problem, exchange, draws, row):
    return algorithm.step(state, problem, exchange, draws, row)


def row_of(algorithm: Algorithm, network: Network, k: int):
    table = algorithm.table(network, np.arange(k, k + 1))
    return jax.tree.map(lambda column: jnp.asarray(column[0]), table)
