"""dpe-jax: Monte Carlo simulation of encrypted decentralized stochastic optimization.

`import dpe_jax as dpe`, then `dpe.simulate(...)`. Names are imported when they are first used, so
that the command line starts fast. Using any of them turns on JAX's 64-bit types.
"""

import importlib
import time
from typing import TYPE_CHECKING, Any

_IMPORTED = time.time()
"""Before any module of the package was read: what changes later may be other than what runs."""

if TYPE_CHECKING:
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
    from dpe_jax.bands import band, fit_decay
    from dpe_jax.bounds import quantization_bound
    from dpe_jax.cost import Forecast, forecast
    from dpe_jax.errors import InputError, OptimumError, WorkerDiedError
    from dpe_jax.factors import CoordinateFactors, Factors, LinkFactors, PublicFactors
    from dpe_jax.fanout import Cluster, InProcess, Processes
    from dpe_jax.network import Network
    from dpe_jax.paillier.setup import Encryption
    from dpe_jax.problems import (
        EmpiricalRisk,
        HeldOut,
        Optimum,
        Problem,
        Quadratic,
        SensorEstimation,
        breast_cancer,
        diabetes,
        digits,
        digits_network,
        fraud,
    )
    from dpe_jax.results import load
    from dpe_jax.schedules import OptaxSchedule, PowerGrowth, PowerLaw, Schedule
    from dpe_jax.simulation import ConditionWarning, Simulation
    from dpe_jax.stepsizes import (
        Gamma,
        LogNormal,
        Multipliers,
        NoMultipliers,
        Normal,
        TwoPoint,
        Uniform,
    )
    from dpe_jax.study import Result, Study, simulate
    from dpe_jax.verification import Report, verify

__all__ = [
    "Algorithm",
    "CentralizedSGD",
    "Cluster",
    "ConditionWarning",
    "ConventionalDSGD",
    "CoordinateFactors",
    "EmpiricalRisk",
    "EncryptedDSGD",
    "Encryption",
    "Factors",
    "Forecast",
    "FunctionSharing",
    "Gamma",
    "GeometricDP",
    "HeldOut",
    "InProcess",
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
    "PowerGrowth",
    "PowerLaw",
    "Problem",
    "Processes",
    "PublicFactors",
    "Quadratic",
    "RandomizedStateSharing",
    "Report",
    "Result",
    "Schedule",
    "SensorEstimation",
    "Simulation",
    "Study",
    "TailoredDP",
    "TernaryDSGD",
    "TwoPoint",
    "Uniform",
    "WorkerDiedError",
    "band",
    "breast_cancer",
    "diabetes",
    "digits",
    "digits_network",
    "fit_decay",
    "forecast",
    "fraud",
    "load",
    "quantization_bound",
    "simulate",
    "verify",
]

_HOME = {
    "algorithms": (
        "Algorithm",
        "CentralizedSGD",
        "ConventionalDSGD",
        "EncryptedDSGD",
        "FunctionSharing",
        "GeometricDP",
        "RandomizedStateSharing",
        "TailoredDP",
        "TernaryDSGD",
    ),
    "bands": ("band", "fit_decay"),
    "bounds": ("quantization_bound",),
    "cost": ("Forecast", "forecast"),
    "errors": ("InputError", "OptimumError", "WorkerDiedError"),
    "factors": ("CoordinateFactors", "Factors", "LinkFactors", "PublicFactors"),
    "fanout": ("Cluster", "InProcess", "Processes"),
    "network": ("Network",),
    "paillier.setup": ("Encryption",),
    "problems": (
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
    ),
    "results": ("load",),
    "schedules": ("OptaxSchedule", "PowerGrowth", "PowerLaw", "Schedule"),
    "simulation": ("ConditionWarning", "Simulation"),
    "stepsizes": (
        "Gamma",
        "LogNormal",
        "Multipliers",
        "NoMultipliers",
        "Normal",
        "TwoPoint",
        "Uniform",
    ),
    "study": ("Result", "Study", "simulate"),
    "verification": ("Report", "verify"),
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
