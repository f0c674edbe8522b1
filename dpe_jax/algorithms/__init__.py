"""Methods: one file each, behind the contract of `algorithms.base.Algorithm`."""

from dpe_jax.algorithms.base import Algorithm, Step
from dpe_jax.algorithms.centralized import CentralizedSGD
from dpe_jax.algorithms.conventional import ConventionalDSGD
from dpe_jax.algorithms.encrypted import EncryptedDSGD

__all__ = ["Algorithm", "CentralizedSGD", "ConventionalDSGD", "EncryptedDSGD", "Step"]
