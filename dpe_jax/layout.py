"""How results are labelled, in memory and on disk."""

from typing import TYPE_CHECKING

import numpy as np

from dpe_jax.observe import PER_AGENT

if TYPE_CHECKING:
    from dpe_jax.simulation import Simulation


def dimensions(name: str) -> tuple[str, ...]:
    """The dimensions of a variable of the curves."""
    if name in ("status", "failed_at"):
        return ("algorithm", "run")
    if name == "final_state":
        return ("algorithm", "agent", "coordinate", "run")
    if name in PER_AGENT:
        return ("algorithm", "iteration", "agent", "run")
    return ("algorithm", "iteration", "run")


def coordinates(simulation: "Simulation") -> dict[str, np.ndarray]:
    """The labels of every dimension."""
    return {
        "algorithm": np.array(list(simulation.algorithms)),
        "iteration": simulation.record,
        "run": np.arange(simulation.runs),
        "agent": np.arange(simulation.problem.agents),
        "coordinate": np.arange(simulation.problem.dim),
    }
