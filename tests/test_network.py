"""Networks against networkx and exact fractions: graphs, weights, matrices and their rounding."""

import math
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
from graphs import NAMES, oracle_weight, small, square

from dpe_jax.errors import InputError
from dpe_jax.network import Network

# Graphs and weights


@pytest.mark.parametrize("kind", NAMES)
def test_graph_is_networkx_graph(kind: str):
    network, graph = small(kind)
    assert network.agents == graph.number_of_nodes()
    assert network.edges == sorted(tuple(sorted(edge)) for edge in graph.edges)
    assert network.degrees.tolist() == [graph.degree[i] for i in range(network.agents)]
    for i in range(network.agents):
        assert network.neighbors(i) == sorted(graph.neighbors(i))


@pytest.mark.parametrize("weights", ["metropolis", "max-degree"])
@pytest.mark.parametrize("kind", NAMES)
def test_named_weights_are_exact_fractions(kind: str, weights: str):
    network, graph = small(kind, weights)
    expected = {
        (i, j): oracle_weight(graph, i, j, weights) for i, j in (sorted(e) for e in graph.edges)
    }
    found = {
        (i, j): Fraction(int(network.coupling[i, j]), network.denominator) for i, j in network.edges
    }
    assert found == expected
    assert network.denominator == math.lcm(*(w.denominator for w in expected.values()))
    assert network.rounding == 0.0


def test_metropolis_differs_from_max_degree():
    # A negative control: on a star with a tail the two rules must not agree.
    edges = [(0, 1), (0, 2), (0, 3), (3, 4)]
    metropolis = Network.from_edges(edges)
    max_degree = Network.from_edges(edges, weights="max-degree")
    assert metropolis.weights[3, 4] == pytest.approx(1 / 3, abs=1e-15)
    assert max_degree.weights[3, 4] == pytest.approx(1 / 4, abs=1e-15)


@pytest.mark.parametrize("weights", ["metropolis", "max-degree"])
@pytest.mark.parametrize("kind", NAMES)
def test_rows_sum_to_zero_and_mixing_matrix_is_doubly_stochastic(kind: str, weights: str):
    network, graph = small(kind, weights)
    levels = network.laplacian_levels
    assert levels.dtype == np.int64
    assert not levels.sum(axis=0).any()
    assert not levels.sum(axis=1).any()
    expected = np.zeros(levels.shape)
    for i, j in graph.edges:
        expected[i, j] = expected[j, i] = float(oracle_weight(graph, i, j, weights))
    expected -= np.diag(expected.sum(axis=1))
    np.testing.assert_allclose(network.weights, expected, rtol=0, atol=1e-15)
    mixing = np.eye(network.agents) + network.weights
    assert mixing.min() >= 0
    np.testing.assert_allclose(mixing.sum(axis=0), 1, atol=1e-14)
    np.testing.assert_allclose(mixing.sum(axis=1), 1, atol=1e-14)


def test_levels_give_the_weighted_differences():
    network, _ = small("grid")
    q = [int(v) for v in np.random.default_rng(0).integers(-(10**6), 10**6, network.agents)]
    c = network.coupling.tolist()
    expected = [sum(c[i][j] * (q[j] - q[i]) for j in range(len(q))) for i in range(len(q))]
    assert (network.laplacian_levels @ np.array(q)).tolist() == expected


def test_edge_lists_merge_repeats_and_take_arrays():
    path = Network.path(3)
    for edges in ([(0, 1), (1, 2), (2, 1), (0, 1)], np.array([[0, 1], [1, 2]]), [[2, 1], [1, 0]]):
        assert np.array_equal(Network.from_edges(edges).coupling, path.coupling)
    assert Network.from_edges([(0, 1), (1, 2)], agents=3).edges == path.edges


def test_graph_keeps_node_order():
    graph = nx.Graph()
    graph.add_nodes_from(["c", "a", "b"])
    graph.add_edges_from([("a", "b"), ("a", "c")])
    assert Network.from_graph(graph).edges == [(0, 1), (1, 2)]


def test_random_graphs_follow_the_seed():
    first, again, other = (Network.erdos_renyi(12, 0.5, seed) for seed in (1, 1, 2))
    assert first.edges == again.edges
    assert first.edges != other.edges
    regular = [Network.random_regular(12, 3, seed).edges for seed in (1, 1, 2)]
    assert regular[0] == regular[1]
    assert regular[0] != regular[2]


# Matrices and rationalisation


def test_floats_are_read_as_the_fractions_they_stand_for():
    network = Network.from_matrix(square(1 / 3, 0.35))
    assert network.denominator == 60
    assert network.coupling.tolist() == [[0, 20, 0], [20, 0, 21], [0, 21, 0]]
    assert network.rounding == 0.0
    # One unit in the last place off 3/10: still 3/10, and the difference is reported.
    near = Network.from_matrix(square(0.1 + 0.2, 0.5))
    assert near.denominator == 10
    assert near.rounding == (0.1 + 0.2) - 0.3 > 0
    single = Network.from_matrix(square(0.3, 0.5).astype(np.float32))
    assert single.denominator == 10
    assert single.rounding == abs(float(np.float32(0.3)) - 0.3) > 0


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_all_three_diagonals_mean_the_same_network(shift: float):
    bare = square(0.25, 0.2)
    full = square(0.25, 0.2, shift - bare.sum(axis=1))
    assert np.array_equal(Network.from_matrix(full).coupling, Network.from_matrix(bare).coupling)


@pytest.mark.parametrize("kind", NAMES)
def test_round_trip_through_own_matrix(kind: str):
    network, graph = small(kind)
    n = network.agents
    for matrix in (network.weights, np.eye(n) + network.weights):
        again = Network.from_matrix(matrix)
        assert np.array_equal(again.coupling, network.coupling)
        assert again.denominator == network.denominator
        assert again.rounding <= 1e-16
    by_edges = Network.from_edges(list(graph.edges), weights=network.weights)
    assert np.array_equal(by_edges.coupling, network.coupling)


def test_rounding_of_metropolis_is_reported():
    # Degrees 1, 2 and 3: weights 1/4 and 1/3 have the common denominator 12.
    edges = [(0, 1), (0, 2), (0, 3), (3, 4)]
    assert Network.from_edges(edges, max_denominator=12).rounding == 0.0
    rounded = Network.from_edges(edges, max_denominator=11)
    assert rounded.denominator == 11
    assert rounded.coupling[0, 1] == 3  # 11/4 = 2.75
    assert rounded.coupling[3, 4] == 4  # 11/3 = 3.67
    expected = max(abs(Fraction(3, 11) - Fraction(1, 4)), abs(Fraction(4, 11) - Fraction(1, 3)))
    assert rounded.rounding == pytest.approx(float(expected), abs=1e-16)


@pytest.mark.parametrize("denominator", [50, 1000, 2**16])
def test_rounding_of_irrational_weights_is_reported(denominator: int):
    wanted = square(1 / math.pi, 1 / math.sqrt(7))
    network = Network.from_matrix(wanted, denominator)
    assert network.denominator == denominator
    error = 0.0
    for i, j in network.edges:
        level = round(Fraction(float(wanted[i, j])) * denominator)
        assert network.coupling[i, j] == level
        error = max(error, abs(level / denominator - wanted[i, j]))
    assert network.rounding == pytest.approx(error, abs=1e-16)
    assert 0 < network.rounding <= 0.5 / denominator


@pytest.mark.parametrize("tiny", [1 / math.pi / 1000, 0.001, 1e-5])
def test_weight_that_rounds_to_zero_names_the_denominator_that_is_enough(tiny: float):
    matrix = square(1 / math.e, tiny)
    with pytest.raises(InputError) as caught:
        Network.from_matrix(matrix, 10)
    message = str(caught.value)
    assert "edge (1, 2)" in message
    assert repr(tiny) in message
    enough = int(message.rsplit(" ", 1)[1])
    assert Network.from_matrix(matrix, enough).coupling[1, 2] == 1
    with pytest.raises(InputError, match="rounds to 0"):
        Network.from_matrix(matrix, enough - 1)


def test_scaled_is_exact():
    network = Network.complete(5)  # weights 1/5
    for half in (0.5, Fraction(1, 2)):
        assert network.scaled(half).denominator == 10
        assert network.scaled(half).coupling.max() == 1
    assert Fraction(1, network.scaled(0.1).denominator) == Fraction(1, 50)
    full = network.scaled(5)
    assert (full.denominator, full.coupling.max()) == (1, 1)
    mixed = Network.from_matrix(square(0.2, 0.3)).scaled(Fraction(5, 7))
    assert Fraction(int(mixed.coupling[0, 1]), mixed.denominator) == Fraction(1, 7)
    assert Fraction(int(mixed.coupling[1, 2]), mixed.denominator) == Fraction(3, 14)
    rounded = Network.from_matrix(square(1 / math.pi, 0.5), 100)
    assert rounded.scaled(0.5).rounding == 0.5 * rounded.rounding > 0
    for factor in (Fraction(26, 5), 5.2, 0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="factor"):
            network.scaled(factor)
    with pytest.raises(InputError, match=r"factor.*2\*\*31"):
        network.scaled(1 / math.pi)
