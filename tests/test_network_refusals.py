"""Each refusal of a network names the argument, the value and what is accepted."""

import math

import networkx as nx
import numpy as np
import pytest
from graphs import square

from dpe_jax.errors import InputError
from dpe_jax.network import Network

REFUSALS = {
    "one agent": (lambda: Network.ring(1), ["agents", "1", "at least 2"]),
    "no agent": (lambda: Network.from_edges([]), ["agents", "0", "at least 2"]),
    "one by one grid": (lambda: Network.grid(1, 1), ["agents", "1", "at least 2"]),
    "empty grid": (lambda: Network.grid(0, 3), ["rows", "0", "at least 1"]),
    "disconnected edges": (
        lambda: Network.from_edges([(0, 1), (2, 3)], agents=5),
        ["connected components of from_edges(5)", "= 3", "connected graph"],
    ),
    "disconnected matrix": (
        lambda: Network.from_matrix(np.kron(np.eye(2), [[0, 0.5], [0.5, 0]])),
        ["connected components", "= 2", "connected graph"],
    ),
    "disconnected draw": (
        lambda: Network.erdos_renyi(10, 0.01, 1),
        ["connected components of erdos_renyi(10, 0.01, seed=1)", "expected 1"],
    ),
    "no edge": (
        lambda: Network.from_edges([], agents=2),
        ["connected components", "= 2", "connected graph"],
    ),
    "asymmetric": (
        lambda: Network.from_matrix([[0, 0.25, 0.5], [0.25, 0, 0.125], [0.5, 0.375, 0]]),
        ["weights[1, 2]", "0.125", "weights[2, 1] = 0.375", "symmetric"],
    ),
    "asymmetric in the last place": (
        lambda: Network.from_matrix([[0, 0.3], [0.1 + 0.2, 0]]),
        ["weights[0, 1]", "0.3", "symmetric"],
    ),
    "above one": (lambda: Network.from_matrix([[0, 1.5], [1.5, 0]]), ["weights[0, 1]", "1.5"]),
    "negative": (
        lambda: Network.from_matrix([[0, -0.5], [-0.5, 0]]),
        ["weights[0, 1]", "-0.5", "not negative"],
    ),
    "nan": (lambda: Network.from_matrix([[0, math.nan], [math.nan, 0]]), ["nan", "finite"]),
    "infinite": (lambda: Network.from_matrix([[0, math.inf], [math.inf, 0]]), ["inf", "finite"]),
    "nan diagonal": (
        lambda: Network.from_matrix(square(0.5, 0.5, math.nan)),
        ["diagonal of weights", "nan", "row sums"],
    ),
    "other diagonal": (
        lambda: Network.from_matrix(square(0.25, 0.25, 0.5)),
        ["diagonal of weights", "0.5", "1 minus the row sums"],
    ),
    "not square": (
        lambda: Network.from_matrix(np.zeros((2, 3))),
        ["weights", "(2, 3)", "square matrix"],
    ),
    "vector": (lambda: Network.from_matrix(np.zeros(4)), ["weights", "(4,)", "square matrix"]),
    "ragged": (lambda: Network.from_matrix([[0, 1], [1]]), ["weights", "[1]", "square matrix"]),
    "complex": (
        lambda: Network.from_matrix(np.zeros((2, 2), complex)),
        ["weights", "complex128", "real"],
    ),
    "unknown weights": (
        lambda: Network.ring(4, "uniform"),
        ["weights", "uniform", "metropolis", "max-degree"],
    ),
    "matrix of another size": (
        lambda: Network.ring(4, np.eye(3)),
        ["weights", "(3, 3)", "(4, 4)"],
    ),
    "matrix lacks an edge": (
        lambda: Network.ring(3, square(0.5, 0.5)),
        ["weights[0, 2]", "0.0", "nonzero"],
    ),
    "matrix has another edge": (
        lambda: Network.path(3, (np.ones((3, 3)) - np.eye(3)) / 4),
        ["weights[0, 2]", "0.25", "0 where no edge"],
    ),
    "probability 0": (lambda: Network.erdos_renyi(4, 0.0, 1), ["probability", "0.0", "above 0"]),
    "probability 1.1": (
        lambda: Network.erdos_renyi(4, 1.1, 1),
        ["probability", "1.1", "at most 1"],
    ),
    "probability nan": (
        lambda: Network.erdos_renyi(4, math.nan, 1),
        ["probability", "nan", "at most 1"],
    ),
    "odd degree": (lambda: Network.random_regular(5, 3, 1), ["degree", "3", "even", "agents = 5"]),
    "degree too high": (lambda: Network.random_regular(4, 4, 1), ["degree", "4", "from 1 to 3"]),
    "degree 0": (lambda: Network.random_regular(4, 0, 1), ["degree", "0", "from 1 to 3"]),
    "self-loop": (lambda: Network.from_edges([(0, 1), (1, 1)]), ["edge", "(1, 1)", "self-loop"]),
    "edge out of range": (
        lambda: Network.from_edges([(0, 3)], agents=3),
        ["edge", "(0, 3)", "from 0 to 2"],
    ),
    "negative edge": (lambda: Network.from_edges([(0, -1)]), ["edge", "(0, -1)", "from 0 on"]),
    "triple": (lambda: Network.from_edges([(0, 1, 2)]), ["edge", "(0, 1, 2)", "pair of integers"]),
    "directed": (
        lambda: Network.from_graph(nx.path_graph(3, create_using=nx.DiGraph)),
        ["graph", "DiGraph", "undirected"],
    ),
    "multigraph": (
        lambda: Network.from_graph(nx.path_graph(3, create_using=nx.MultiGraph)),
        ["graph", "MultiGraph", "parallel edges"],
    ),
    "graph with a self-loop": (
        lambda: Network.from_graph(nx.Graph([(0, 1), (1, 1)])),
        ["edge", "(1, 1)", "self-loop"],
    ),
    "denominator 0": (lambda: Network.ring(4, max_denominator=0), ["max_denominator", "0", "1 to"]),
    "denominator 2**40": (
        lambda: Network.from_matrix(square(0.5, 0.5), 2**40),
        ["max_denominator", str(2**40), "2**31"],
    ),
    "no such agent": (lambda: Network.ring(4).neighbors(4), ["i = 4", "from 0 to 3"]),
    "gamma nan": (lambda: Network.ring(4).contraction(math.nan), ["gamma", "nan", "finite"]),
}


@pytest.mark.parametrize("case", sorted(REFUSALS))
def test_refusal_names_argument_value_and_what_is_accepted(case: str):
    build, parts = REFUSALS[case]
    with pytest.raises(InputError) as caught:
        build()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("coupling", "denominator", "part"),
    [
        ([[0, 1], [2, 0]], 3, "symmetric"),
        ([[1, 1], [1, 0]], 3, "zero diagonal"),
        ([[0, 4], [4, 0]], 3, "levels from 0 to D = 3"),
        ([[0, -1], [-1, 0]], 3, "levels from 0 to D = 3"),
        ([[0, 0], [0, 0]], 3, "connected"),
        ([[0, 1], [1, 0]], 0, "denominator"),
        ([[0]], 3, "at least 2"),
    ],
)
def test_levels_given_directly_are_checked(coupling: list, denominator: int, part: str):
    with pytest.raises(InputError, match=part):
        Network(np.array(coupling, dtype=np.int64), denominator, 0.0, "direct")
