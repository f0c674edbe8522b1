"""The parts of a reproduction, by name, in their order."""

from dpe_jax.reproduce import (
    accuracy,
    convergence,
    coupling,
    deployment,
    leakage,
    objective,
    privacy,
    quantization,
    stepsizes,
    verification,
)
from dpe_jax.reproduce.part import Part

PARTS: dict[str, Part] = {
    "objective": objective,
    "quantization": quantization,
    "coupling": coupling,
    "privacy": privacy,
    "leakage": leakage,
    "convergence": convergence,
    "accuracy": accuracy,
    "deployment": deployment,
    "stepsizes": stepsizes,
    "verification": verification,
}
