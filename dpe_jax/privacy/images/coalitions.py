"""The channel of a method at one iteration: what a coalition around an agent computes of g_i^k."""

import numpy as np

from dpe_jax.algorithms.base import Algorithm
from dpe_jax.algorithms.conventional import ConventionalDSGD
from dpe_jax.algorithms.encrypted import EncryptedDSGD
from dpe_jax.algorithms.function_sharing import FunctionSharing
from dpe_jax.algorithms.geometric_dp import GeometricDP
from dpe_jax.algorithms.state_sharing import RandomizedStateSharing
from dpe_jax.algorithms.tailored_dp import TailoredDP
from dpe_jax.algorithms.ternary import TernaryDSGD
from dpe_jax.errors import InputError
from dpe_jax.privacy.images.observed import (
    Channel,
    LaplaceNoise,
    RandomStepsizes,
    Shares,
    States,
    TernaryMessages,
)
from dpe_jax.schedules import Schedule


def channel(
    method: Algorithm,
    iteration: int,
    *,
    states: bool = False,
    unknown_links: int = 1,
    row_sum: float = 1.0,
    agent: int = 0,
) -> Channel:
    """What the messages of iterations k and k + 1 show of g_i^k (derived).

    With `states` the coalition is granted the agent's states, of the methods that quantize them.
    `unknown_links` is the number of the agent's links whose other end is outside of the coalition
    (only shares depend on it), `row_sum` is Σ_j w_ij (only tailored noise does), and `agent` says
    whose mean stepsize it is where these differ. Raises InputError for a method of one agent.
    """
    if iteration < 0:
        raise InputError("iteration", iteration, "0 or more")
    k = iteration
    match method:
        case ConventionalDSGD():
            return States(_at(method.stepsize, k))
        case TernaryDSGD():
            stepsize = _at(method.stepsize, k)
            return States(stepsize) if states else TernaryMessages(method.range, stepsize)
        case FunctionSharing():
            return Shares(method.scale, unknown_links)
        case RandomizedStateSharing():
            ratio = _at(method.stepsize, k + 1) / _at(method.stepsize, k)
            return Shares(method.scale * ratio, unknown_links, afresh=True)
        case GeometricDP():
            scale = method.M * method.p ** (k + 1) / (method.c * method.q**k)
            return LaplaceNoise((scale,), method.gradient_bound if method.clip else None)
        case TailoredDP():
            stepsize = _at(method.stepsize, k)
            kept = abs(1 - _at(method.gamma, k) * row_sum) * _at(method.noise, k)
            scales = (_at(method.noise, k + 1) / stepsize, kept / stepsize)
            return LaplaceNoise(scales, method.gradient_bound if method.clip else None)
        case EncryptedDSGD():
            mean = 1.0 if method.means is None else method.means[agent]
            delta = 0.0 if states else float(method.delta)
            return RandomStepsizes(method.multipliers, _at(method.stepsize, k) * mean, delta)
        case _:
            accepted = "a decentralized method: there is no neighbor to see anything"
            raise InputError("method", type(method).__name__, accepted)


def _at(schedule: Schedule, iteration: int) -> float:
    return float(schedule.values(np.array([iteration]))[0])
