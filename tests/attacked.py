"""Simulations that are attacked, with what is seen of them; several tests look at each."""

import dataclasses
import functools
from typing import Any

import numpy as np

from dpe_jax.algorithms import (
    Algorithm,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    RandomizedStateSharing,
    TernaryDSGD,
)
from dpe_jax.network import Network
from dpe_jax.privacy.attacks import ErrorCurve, gradient_curves
from dpe_jax.privacy.observe import Observed, observed, truth_of
from dpe_jax.privacy.views import Coalition, Eavesdropper, View, WorstCase, views
from dpe_jax.problems import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.simulation import Simulation
from dpe_jax.stepsizes import Multipliers, NoMultipliers, Normal, Uniform

NETWORK = Network.from_edges([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)])
GAMMA, STEPSIZE = PowerLaw(0.8, 0.6), PowerLaw(0.5, 0.9)
RUNS = 400
SCALE = 2.0
"""Of what is shared among neighbors."""
BLOCK = 200
"""Lanes of every block, so that simulations of one kind share a program whatever their runs."""


def quadratic(noise: float = 0.0) -> Quadratic:
    return Quadratic.random(4, 2, seed=3, noise=noise)


def constant() -> Quadratic:
    """Gradients that are the same everywhere to five digits."""
    A = np.tile(1e-6 * np.eye(2), (4, 1, 1))
    b = -1e6 * np.random.default_rng(0).uniform(0.5, 1.5, size=(4, 2))
    return Quadratic(A, b)


def simulation(algorithm: Algorithm, **changes: Any) -> Simulation:
    made = Simulation(
        {"m": algorithm},
        quadratic(),
        NETWORK,
        RUNS,
        60,
        points=12,
        metrics=("gap_mean_state",),
        block=BLOCK,
    )
    return dataclasses.replace(made, **changes)


def seen(made: Simulation, *several: View, control: bool = False) -> Observed:
    truth = truth_of(made, several[0].target)
    return observed(made, "m", several, truth, start=0, control=control)


def curves(found: Observed, view: View) -> dict[str, ErrorCurve]:
    recorded = found.views[view.name]
    made = gradient_curves(recorded, found.iteration, found.start, found.goal)
    return {curve.attack: curve for curve in made}


def encrypted(multipliers: Multipliers | None = None, **settings: Any) -> EncryptedDSGD:
    settings = {"delta": 2.0**-7, **settings}
    return EncryptedDSGD(GAMMA, STEPSIZE, multipliers=multipliers or Uniform(), **settings)


# What several tests look at is simulated once, with all their views.


def positive() -> Simulation:
    """Multipliers on [0, 2] and gradients with noise."""
    return simulation(encrypted(), problem=quadratic(0.5), runs=2000)


@functools.cache
def positive_seen() -> Observed:
    """By the views of an audit."""
    return seen(positive(), *views(NETWORK, 1))


def signed_seen(sigma: float, start: float, runs: int) -> Observed:
    """Multipliers of either sign and gradients with noise, from x_0 all `start`."""
    x0 = np.full((4, 2), start)
    made = simulation(encrypted(Normal(sigma)), problem=quadratic(0.5), x0=x0, runs=runs)
    return seen(made, WorstCase(1))


def partly_seen(delta: float, runs: int) -> Observed:
    """Public stepsizes in float64, by all neighbors, one of them and who has the states.

    Each iteration is recorded.
    """
    made = simulation(encrypted(NoMultipliers(), delta=delta), problem=quadratic(0.5), runs=runs)
    made = dataclasses.replace(made, points=60, iterations=59, precision="float64")
    return seen(made, Coalition(0), Coalition(0, (1,)), WorstCase(0))


@functools.cache
def lasting_seen(*, control: bool) -> Observed:
    """Multipliers on [0, 2] and gradients that stay as they are."""
    made = simulation(encrypted(), problem=constant(), iterations=400, points=40, runs=1000)
    return seen(made, WorstCase(1), control=control)


@functools.cache
def shared_seen(*, functions: bool) -> Observed:
    """Functions or states that neighbors share, seen from outside and by all of them."""
    method = FunctionSharing if functions else RandomizedStateSharing
    made = simulation(method(STEPSIZE, SCALE), problem=quadratic(0.5), runs=2000, points=5)
    return seen(made, Eavesdropper(1), Coalition(1))


def ternary(method: TernaryDSGD, x0: np.ndarray, iterations: int, **changes: Any) -> Simulation:
    """Few record points, the first iteration among them; above 512 iterations all run alike."""
    return simulation(method, x0=x0, iterations=iterations, points=5, **changes)


@functools.cache
def regressed(*, control: bool) -> dict[str, ErrorCurve]:
    """Attacks on conventional DSGD without noise, far from x* at first."""
    x0 = np.random.default_rng(2).normal(size=(4, 2)) * 3
    made = simulation(ConventionalDSGD(STEPSIZE), x0=x0, iterations=200)
    return curves(seen(made, Eavesdropper(1), control=control), Eavesdropper(1))
