"""How results are labelled, in memory and on disk."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

from dpe_jax.observe import PER_AGENT


def dimensions(name: str, *, swept: bool = False) -> tuple[str, ...]:
    """The dimensions of a variable of the curves; a sweep has one more, `configuration`."""
    first = ("algorithm", "configuration") if swept else ("algorithm",)
    if name in ("status", "failed_at"):
        return (*first, "run")
    if name == "final_state":
        return (*first, "agent", "coordinate", "run")
    if name in PER_AGENT:
        return (*first, "iteration", "agent", "run")
    return (*first, "iteration", "run")


def coordinates(
    algorithms: Iterable[str],
    iterations: Int64[np.ndarray, " points"],
    runs: int,
    agents: int,
    dim: int,
) -> dict[str, np.ndarray]:
    """The labels of every dimension."""
    return {
        "algorithm": np.array(list(algorithms)),
        "iteration": iterations,
        "run": np.arange(runs),
        "agent": np.arange(agents),
        "coordinate": np.arange(dim),
    }
