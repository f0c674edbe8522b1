"""Costs, stochastic gradients and reference optima."""

from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.diabetes import diabetes
from dpe_jax.problems.digits import digits, digits_network
from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.fraud import fraud
from dpe_jax.problems.held_out import HeldOut
from dpe_jax.problems.hospitals import breast_cancer
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.problems.sensors import SensorEstimation

__all__ = [
    "EmpiricalRisk",
    "HeldOut",
    "Optimum",
    "Problem",
    "Quadratic",
    "SensorEstimation",
    "breast_cancer",
    "diabetes",
    "digits",
    "digits_network",
    "fraud",
]
