"""dpe-jax: Monte Carlo simulation of encrypted decentralized stochastic optimization.

`import dpe_jax as dpe`, then `dpe.simulate(...)`. Names are imported when they are first used, so
that the command line starts fast. Using any of them turns on JAX's 64-bit types.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpe_jax.algorithms import (
        Algorithm,
        CentralizedSGD,
        ConventionalDSGD,
        EncryptedDSGD,
    )
    from dpe_jax.bands import band, fit_decay
    from dpe_jax.bounds import quantization_bound
    from dpe_jax.errors import InputError, OptimumError
    from dpe_jax.factors import CoordinateFactors, Factors, LinkFactors, PublicFactors
    from dpe_jax.network import Network
    from dpe_jax.problems import (
        EmpiricalRisk,
        Optimum,
        Problem,
        Quadratic,
        SensorEstimation,
        breast_cancer,
    )
    from dpe_jax.results import load
    from dpe_jax.schedules import OptaxSchedule, PowerLaw, Schedule
    from dpe_jax.simulation import ConditionWarning, Result, Simulation, simulate
    from dpe_jax.stepsizes import (
        Gamma,
        LogNormal,
        Multipliers,
        NoMultipliers,
        Normal,
        TwoPoint,
        Uniform,
    )

__all__ = [
    "Algorithm",
    "CentralizedSGD",
    "ConditionWarning",
    "ConventionalDSGD",
    "CoordinateFactors",
    "EmpiricalRisk",
    "EncryptedDSGD",
    "Factors",
    "Gamma",
    "InputError",
    "LinkFactors",
    "LogNormal",
    "Multipliers",
    "Network",
    "NoMultipliers",
    "Normal",
    "OptaxSchedule",
    "Optimum",
    "OptimumError",
    "PowerLaw",
    "Problem",
    "PublicFactors",
    "Quadratic",
    "Result",
    "Schedule",
    "SensorEstimation",
    "Simulation",
    "TwoPoint",
    "Uniform",
    "band",
    "breast_cancer",
    "fit_decay",
    "load",
    "quantization_bound",
    "simulate",
]

_HOME = {
    "algorithms": ("Algorithm", "CentralizedSGD", "ConventionalDSGD", "EncryptedDSGD"),
    "bands": ("band", "fit_decay"),
    "bounds": ("quantization_bound",),
    "errors": ("InputError", "OptimumError"),
    "factors": ("CoordinateFactors", "Factors", "LinkFactors", "PublicFactors"),
    "network": ("Network",),
    "problems": (
        "EmpiricalRisk",
        "Optimum",
        "Problem",
        "Quadratic",
        "SensorEstimation",
        "breast_cancer",
    ),
    "results": ("load",),
    "schedules": ("OptaxSchedule", "PowerLaw", "Schedule"),
    "simulation": ("ConditionWarning", "Result", "Simulation", "simulate"),
    "stepsizes": (
        "Gamma",
        "LogNormal",
        "Multipliers",
        "NoMultipliers",
        "Normal",
        "TwoPoint",
        "Uniform",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            value = getattr(importlib.import_module(f"dpe_jax.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'dpe_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
