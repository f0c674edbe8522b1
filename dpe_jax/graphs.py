"""Graphs as adjacency matrices: edge lists, and agents at places with links within a radius."""

import operator
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from dpe_jax.errors import InputError

_LARGEST = 1e100
"""Coordinates beyond it could overflow when squared."""


def adjacency_of(
    agents: int, edges: Iterable[tuple[int, int]]
) -> Bool[np.ndarray, "agents agents"]:
    """The matrix of an edge list, or InputError for self-loops and for agents that do not exist."""
    check_count("agents", agents)
    adjacency = np.zeros((agents, agents), dtype=bool)
    for i, j in edges:
        if i == j:
            raise InputError("edge", (int(i), int(j)), "two different agents (no self-loops)")
        if not (0 <= i < agents and 0 <= j < agents):
            raise InputError("edge", (int(i), int(j)), f"agents from 0 to {agents - 1}")
        adjacency[i, j] = adjacency[j, i] = True
    return adjacency


def count_components(adjacency: Bool[np.ndarray, "agents agents"]) -> int:
    """The number of connected components."""
    from scipy.sparse.csgraph import connected_components

    return int(connected_components(adjacency, directed=False, return_labels=False))


def as_edge(edge: Sequence[int] | np.ndarray) -> tuple[int, int]:
    """An edge as two Python integers."""
    try:
        i, j = (operator.index(end) for end in edge)
    except (TypeError, ValueError) as error:
        raise InputError("edge", edge, "a pair of integers") from error
    if min(i, j) < 0:
        raise InputError("edge", (i, j), "agents from 0 on")
    return i, j


def as_positions(
    positions: np.ndarray | Sequence[Sequence[float | int]],
) -> Float64[np.ndarray, "n 2"]:
    """Where agents are, as an array of finite coordinates, two an agent."""
    accepted = "two coordinates [x, y] for each of at least 2 agents"
    try:
        places = np.array(positions, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("positions", positions, accepted) from error
    if places.ndim != 2 or places.shape[1] != 2 or len(places) < 2:
        raise InputError("positions", positions, accepted)
    for agent, place in enumerate(places):
        if not np.all(np.abs(place) <= _LARGEST):
            accepted = f"two finite coordinates, up to {_LARGEST:g}"
            raise InputError(f"positions[{agent}]", place.tolist(), accepted)
    return places


def within_radius(
    positions: Float64[np.ndarray, "n 2"], radius: float | int
) -> Bool[np.ndarray, "n n"]:
    """Links between any two agents at most `radius` apart, or InputError if they leave some out."""
    import networkx

    if not 0 < radius < np.inf:
        raise InputError("radius", radius, "a finite number above 0")
    places = dict(enumerate(positions.tolist()))
    edges = networkx.random_geometric_graph(len(positions), radius, pos=places).edges
    adjacency = adjacency_of(len(positions), edges)
    components = count_components(adjacency)
    if components > 1:
        # Rounded up, so that the number that is shown is enough.
        enough = _connecting_radius(positions) * (1 + 1e-5)
        accepted = f"at least {enough:.6g} for a connected graph (with this: {components} parts)"
        raise InputError("radius", radius, accepted)
    return adjacency


def _connecting_radius(positions: Float64[np.ndarray, "n 2"]) -> float:
    """The least radius that connects all: the longest edge of a minimum spanning tree (Prim)."""
    longest, reached = 0.0, np.zeros(len(positions), bool)
    distance = np.where(np.arange(len(positions)) == 0, 0.0, np.inf)
    for _ in positions:
        nearest = int(np.argmin(np.where(reached, np.inf, distance)))
        longest = max(longest, float(distance[nearest]))
        reached[nearest] = True
        distance = np.minimum(distance, np.hypot(*(positions - positions[nearest]).T))
    return longest


def check_count(argument: str, value: object, least: int = 2) -> None:
    """Refuse anything but an integer of at least `least`."""
    if not isinstance(value, int | np.integer) or value < least:
        raise InputError(argument, value, f"an integer, at least {least}")
