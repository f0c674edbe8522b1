"""Small networks beside networkx's graphs, and their weights as fractions."""

from fractions import Fraction
from typing import Any

import networkx as nx
import numpy as np

from dpe_jax.network import Network

SMALL = {
    "ring": (lambda weights: Network.ring(7, weights), nx.cycle_graph(7)),
    "path": (lambda weights: Network.path(6, weights), nx.path_graph(6)),
    "star": (lambda weights: Network.star(6, weights), nx.star_graph(5)),
    "complete": (lambda weights: Network.complete(5, weights), nx.complete_graph(5)),
    "grid": (
        lambda weights: Network.grid(3, 4, weights),
        nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4), ordering="sorted"),
    ),
    "erdos_renyi": (
        lambda weights: Network.erdos_renyi(12, 0.4, 3, weights),
        nx.gnp_random_graph(12, 0.4, seed=3),
    ),
    "random_regular": (
        lambda weights: Network.random_regular(10, 3, 5, weights),
        nx.random_regular_graph(3, 10, seed=5),
    ),
}
NAMES = sorted(SMALL)


def small(kind: str, weights: Any = "metropolis") -> tuple[Network, nx.Graph]:
    build, graph = SMALL[kind]
    return build(weights), graph


def oracle_weight(graph: nx.Graph, i: int, j: int, weights: str) -> Fraction:
    degrees = [degree for _, degree in graph.degree]
    reach = max(degrees) if weights == "max-degree" else max(graph.degree[i], graph.degree[j])
    return Fraction(1, 1 + reach)


def square(w01: float, w12: float, diagonal: Any = 0.0) -> np.ndarray:
    return np.array([[0.0, w01, 0.0], [w01, 0.0, w12], [0.0, w12, 0.0]]) + np.diag(
        np.broadcast_to(diagonal, 3)
    )
