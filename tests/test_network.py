"""Networks against closed forms, networkx and exact fractions; Lemma 1; each refusal."""

import json
import math
from fractions import Fraction
from typing import Any

import equinox as eqx
import networkx as nx
import numpy as np
import pytest

from dpe_jax.errors import InputError
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


class PowerLaw(eqx.Module):
    scale: float
    power: float

    def values(self, k: np.ndarray) -> np.ndarray:
        return self.scale * (k + 1.0) ** -self.power


class Table(eqx.Module):
    """Zero, except for the values given at some iterations."""

    at: dict[int, float]

    def values(self, k: np.ndarray) -> np.ndarray:
        out = np.zeros(k.shape)
        for iteration, value in self.at.items():
            out[k == iteration] = value
        return out


# ---- graphs and weights


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


# ---- matrices and rationalisation


def square(w01: float, w12: float, diagonal: Any = 0.0) -> np.ndarray:
    return np.array([[0.0, w01, 0.0], [w01, 0.0, w12], [0.0, w12, 0.0]]) + np.diag(
        np.broadcast_to(diagonal, 3)
    )


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


# ---- spectrum and Lemma 1


def test_spectrum_in_closed_form():
    n = 9
    ring = np.sort((2 * np.cos(2 * np.pi * np.arange(n) / n) - 2) / 3)[::-1]
    path = np.sort((2 * np.cos(np.pi * np.arange(n) / n) - 2) / 3)[::-1]
    star = np.array([0.0] + [-1 / n] * (n - 2) + [-1.0])
    complete = np.array([0.0] + [-1.0] * (n - 1))
    for network, expected in (
        (Network.ring(n), ring),
        (Network.path(n), path),
        (Network.star(n), star),
        (Network.complete(n), complete),
    ):
        np.testing.assert_allclose(network.spectrum, expected, atol=1e-13)
        assert network.spectrum[0] == 0.0
        assert network.mu == pytest.approx(-expected[1], abs=1e-13)
        assert network.gamma_limit == pytest.approx(2 / -(expected[1] + expected[-1]), rel=1e-12)


@pytest.mark.parametrize("kind", NAMES)
def test_spectrum_is_that_of_the_networkx_laplacian(kind: str):
    network, graph = small(kind)
    for i, j in graph.edges:
        graph[i][j]["w"] = float(oracle_weight(graph, i, j, "metropolis"))
    expected = -np.sort(nx.laplacian_spectrum(graph, weight="w"))
    np.testing.assert_allclose(network.spectrum, expected, atol=1e-13)


@pytest.mark.parametrize("weights", ["metropolis", "max-degree"])
@pytest.mark.parametrize("kind", NAMES)
def test_lemma_1_holds_exactly_up_to_gamma_limit(kind: str, weights: str):
    network, _ = small(kind, weights)
    limit, mu = network.gamma_limit, network.mu
    for gamma in limit * np.array([0.0, 1e-3, 0.3, 2 / 3, 0.999, 1.0]):
        assert network.contraction(float(gamma)) == pytest.approx(1 - mu * gamma, abs=1e-13)
    for gamma in limit * np.array([1.001, 1.5]):
        # Above the limit the other end of the spectrum decides, by |ρ_n| γ − 1.
        excess = network.contraction(float(gamma)) - (1 - mu * gamma)
        assert excess == pytest.approx(2 * (gamma / limit - 1), rel=1e-6)


def test_table_of_the_article_by_formula_and_by_measurement():
    network = Network.complete(5).scaled(Fraction(1, 2))  # every weight 1/10: μ = 5/10
    assert np.unique(network.weights[~np.eye(5, dtype=bool)]).tolist() == [0.1]
    assert network.mu == pytest.approx(0.5, abs=1e-14)
    article = {1: 0.75, 5: 0.917, 10: 0.955, 20: 0.976, 50: 0.990, 100: 0.995, 200: 0.998}
    wrong = Network.complete(5).scaled(Fraction(1, 3))  # two thirds of that μ
    for k, entry in article.items():
        gamma = 1 / (k + 1)
        assert abs(1 - network.mu * gamma - entry) <= 0.0005 + 1e-12
        assert abs(network.contraction(gamma) - entry) <= 0.0005 + 1e-12
        if k <= 100:  # beyond, three decimals no longer tell the two apart
            assert abs(wrong.contraction(gamma) - entry) > 0.0005


def test_lemma_1_from_which_iteration():
    network = Network.complete(5).scaled(5)  # W = −5 on the complement: limit 1/5
    assert network.gamma_limit == pytest.approx(0.2, rel=1e-13)
    # Equality counts: 1/(k + 1) is 1/5 at k = 4.
    assert network.lemma1_from(PowerLaw(1.0, 1.0)) == 4
    assert network.lemma1_from(PowerLaw(1.001, 1.0)) == 5
    assert network.lemma1_from(PowerLaw(0.2, 0.5)) == 0
    assert network.lemma1_from(PowerLaw(0.2, 0.0)) == 0
    assert network.lemma1_from(PowerLaw(0.201, 0.0)) is None
    # The last violation, c/k > 1/5 at k = 5c − 2, beyond the first chunks searched.
    assert network.lemma1_from(PowerLaw(123456.1, 1.0)) == 617280
    assert network.lemma1_from(PowerLaw(200000.2, 1.0)) == 10**6
    assert network.lemma1_from(PowerLaw(200000.4, 1.0)) is None


@pytest.mark.parametrize("bad", [0.5, -0.1, math.nan, math.inf])
def test_lemma_1_of_a_schedule_that_rises_again(bad: float):
    network = Network.complete(5).scaled(5)
    assert network.lemma1_from(Table({0: 0.5, 99_999: bad, 7: 0.3})) == 100_000
    assert network.lemma1_from(Table({543_210: bad})) == 543_211
    assert network.lemma1_from(Table({10**6: bad})) is None
    assert network.lemma1_from(Table({10**6 + 1: bad})) == 0


def test_summary_is_json():
    network = Network.ring(6)
    summary = json.loads(json.dumps(network.summary()))
    assert summary["spectrum"] == network.spectrum.tolist()
    assert summary.pop("spectrum")[0] == 0.0
    assert summary == {
        "name": "ring(6)",
        "agents": 6,
        "edges": 6,
        "levels": [[0, 1, 1], [0, 5, 1], [1, 2, 1], [2, 3, 1], [3, 4, 1], [4, 5, 1]],
        "denominator": 3,
        "rounding": 0.0,
        "mu": pytest.approx(1 / 3),
        "gamma_limit": pytest.approx(2 / (1 / 3 + 4 / 3)),
    }


def test_large_networks():
    network = Network.grid(1, 400)
    assert np.array_equal(network.coupling, Network.path(400).coupling)
    dense = Network.erdos_renyi(200, 0.3, 0)  # denominators too many for one small D
    assert dense.denominator == 2**16
    assert 0 < dense.rounding <= 0.5 / 2**16


# ---- refusals


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
