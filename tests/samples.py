"""Problems on data sets, and their samples and scores as the tests look at them."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.problems import (
    EmpiricalRisk,
    HeldOut,
    breast_cancer,
    diabetes,
    digits,
    digits_network,
    fraud,
)
from dpe_jax.schedules import PowerLaw


def hospitals(**keys: Any) -> EmpiricalRisk:
    return breast_cancer(test_fraction=0.2, **keys)


DATASETS: dict[str, Callable[..., EmpiricalRisk]] = {
    "breast-cancer": hospitals,
    "diabetes": diabetes,
    "digits": digits,
    "digits-network": digits_network,
    "fraud": fraud,
}


@functools.cache
def made(name: str) -> EmpiricalRisk:
    """A data set with its default settings and exact gradients."""
    return DATASETS[name](batch=None)


METHOD = EncryptedDSGD(PowerLaw(1.0, 0.6), PowerLaw(2.0, 0.9))


def pooled(problem: EmpiricalRisk) -> tuple[np.ndarray, np.ndarray]:
    features, targets = problem.data
    return np.asarray(features), np.asarray(targets)


def held_out(problem: EmpiricalRisk) -> HeldOut:
    assert problem.held_out is not None
    return problem.held_out


def scores(problem: EmpiricalRisk, x: np.ndarray) -> dict[str, float]:
    found = score(held_out(problem), x[:, None])
    return {name: float(value[0]) for name, value in found.items()}


@eqx.filter_jit
def score(test: HeldOut, x: np.ndarray) -> dict[str, Any]:
    return test.score(jnp.asarray(x))
