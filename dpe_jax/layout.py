"""How results are labelled, in memory and on disk."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from dpe_jax.observe import PER_AGENT

if TYPE_CHECKING:
    import xarray as xr

_DIMENSIONS = ("algorithm", "configuration", "lane", "iteration", "moment", "run", "agent")
"""The first ones of a dataset; all others follow by their names."""


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


def in_order(dataset: "xr.Dataset") -> "xr.Dataset":
    """The same with its dimensions and variables in the one order of their names.

    A store lists its arrays as they are found, which is another order on another day.
    """
    first = [name for name in _DIMENSIONS if name in dataset.coords]
    labels = [*first, *sorted(set(dataset.coords) - set(first), key=str)]
    ordered = type(dataset)(
        coords={name: dataset.variables[name] for name in labels}, attrs=dataset.attrs
    )
    return ordered.assign({name: dataset[name] for name in sorted(dataset.data_vars, key=str)})
