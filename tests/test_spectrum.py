"""Spectra of networks against closed forms and networkx; Lemma 1."""

import json
import math
from fractions import Fraction

import equinox as eqx
import networkx as nx
import numpy as np
import pytest
from graphs import NAMES, oracle_weight, small

from dpe_jax.network import Network


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
