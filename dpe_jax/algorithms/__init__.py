"""Methods: one file each, behind the contract of `algorithms.base.Algorithm`."""

from dpe_jax.algorithms.base import Algorithm, Budget, Disclosure, Step, Wire
from dpe_jax.algorithms.centralized import CentralizedSGD
from dpe_jax.algorithms.conventional import ConventionalDSGD
from dpe_jax.algorithms.encrypted import EncryptedDSGD
from dpe_jax.algorithms.function_sharing import FunctionSharing
from dpe_jax.algorithms.geometric_dp import GeometricDP
from dpe_jax.algorithms.state_sharing import RandomizedStateSharing
from dpe_jax.algorithms.tailored_dp import TailoredDP
from dpe_jax.algorithms.ternary import TernaryDSGD

__all__ = [
    "Algorithm",
    "Budget",
    "CentralizedSGD",
    "ConventionalDSGD",
    "Disclosure",
    "EncryptedDSGD",
    "FunctionSharing",
    "GeometricDP",
    "RandomizedStateSharing",
    "Step",
    "TailoredDP",
    "TernaryDSGD",
    "Wire",
]
