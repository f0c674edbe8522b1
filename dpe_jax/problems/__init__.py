"""Costs, stochastic gradients and reference optima."""

from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.hospitals import breast_cancer
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.problems.sensors import SensorEstimation

__all__ = [
    "EmpiricalRisk",
    "Optimum",
    "Problem",
    "Quadratic",
    "SensorEstimation",
    "breast_cancer",
]
