"""The exchange gives the same sums by matrices and by lists of neighbors."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from dpe_jax import lanes
from dpe_jax.exchange import SPARSE, Dense, Exchange, Sparse, coupling_of
from dpe_jax.gathering import Gathered
from dpe_jax.network import Network

NETWORKS = {
    "small": Network.ring(7),
    "ring": Network.ring(50),
    "hub": Network.star(300),
    "regular": Network.random_regular(80, 6, seed=1),
    "dense": Network.complete(40),
    "mixed": Network.from_edges(
        [(0, i) for i in range(1, 60)] + [(i, i + 1) for i in range(1, 59)] + [(5, 40)]
    ),
}


def both(network: Network) -> tuple[Dense, Sparse]:
    """The two couplings of a network, whatever is chosen for it."""
    lists = [
        [(int(j), int(row[j])) for j in np.flatnonzero(row)] for row in network.coupling.copy()
    ]
    dense = Dense(jnp.asarray(network.laplacian_levels), jnp.asarray(network.weights))
    sums = jnp.asarray(network.coupling.sum(axis=1))
    unit = jnp.asarray(1.0 / network.denominator)
    return dense, Sparse(Gathered.of(lists), sums, unit)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_sums_over_neighbors_are_those_of_plain_integers(network: Network) -> None:
    rng = np.random.default_rng(0)
    q = rng.integers(-(2**27), 2**27, (network.agents, 2, 3))
    wanted = np.zeros_like(q)
    for i, j in network.edges:
        c = int(network.coupling[i, j])
        wanted[i] += c * (q[j] - q[i])
        wanted[j] += c * (q[i] - q[j])
    dense, sparse = both(network)
    for coupling in (dense, sparse, coupling_of(network)):
        found = np.asarray(eqx.filter_jit(coupling.levels)(jnp.asarray(q)))
        np.testing.assert_array_equal(found, wanted)
        assert not np.array_equal(found, np.roll(wanted, 1, axis=0))
    assert not np.any(wanted.sum(axis=0))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_in_floating_point(network: Network, dtype: type) -> None:
    x = np.random.default_rng(1).normal(size=(network.agents, 3, 2)).astype(dtype)
    flat = x.astype(np.float64).reshape(network.agents, -1)
    tolerance = 40 * np.finfo(dtype).eps
    W = network.weights
    for coupling in both(network):
        values, weighted = coupling.values(jnp.asarray(x)), coupling.weighted(jnp.asarray(x))
        assert values.dtype == weighted.dtype == dtype
        near = np.abs(np.asarray(values) - (W @ flat).reshape(x.shape)).max()
        assert near < tolerance
        alone = (W - np.diag(np.diag(W))) @ flat
        assert np.abs(np.asarray(weighted) - alone.reshape(x.shape)).max() < tolerance
        assert np.abs(np.asarray(values) - np.asarray(weighted)).max() > 1e3 * tolerance


def test_large_sparse_networks_have_lists_and_others_matrices() -> None:
    chosen = {name: type(Exchange.of(network).coupling) for name, network in NETWORKS.items()}
    assert chosen == {
        "small": Dense,
        "ring": Sparse,
        "hub": Sparse,
        "regular": Sparse,
        "dense": Dense,
        "mixed": Sparse,
    }
    # As many weights as n²/4, and a link more.
    edge = [(i, (i + step) % 40) for i in range(40) for step in range(1, 6)]
    assert 2 * len(edge) * SPARSE == 40**2
    assert isinstance(coupling_of(Network.from_edges(edge)), Sparse)
    assert isinstance(coupling_of(Network.from_edges([*edge, (0, 20)])), Dense)


def test_flows_over_links() -> None:
    network = NETWORKS["hub"]
    exchange = Exchange.of(network)
    flow = np.random.default_rng(2).integers(-(2**30), 2**30, (299, 2, 3)).astype(np.float64)
    found = np.asarray(exchange.circulate(jnp.asarray(flow)))
    np.testing.assert_array_equal(found[0], flow.sum(axis=0))
    np.testing.assert_array_equal(found[1:], -flow)


@pytest.mark.parametrize("slots", [1, 2, 3, 16])
def test_lists_of_any_length(slots: int) -> None:
    if slots == 1:
        # Pieces of one would never become fewer.
        with pytest.raises(ValueError, match="slots"):
            Gathered.of([[(0, 1), (1, 2)]], slots)
        return
    rng = np.random.default_rng(3)
    lengths = (0, 1, 2, 3, 4, 5, 16, 17, 40)
    lists = [
        [(int(row), int(weight)) for row, weight in rng.integers(0, 50, (length, 2))]
        for length in lengths
    ]
    x = rng.integers(-(2**40), 2**40, (50, 1, 4))
    found = np.asarray(Gathered.of(lists, slots)(jnp.asarray(x)))
    for entries, total in zip(lists, found, strict=True):
        wanted = sum((weight * x[row] for row, weight in entries), np.zeros((1, 4), np.int64))
        np.testing.assert_array_equal(total, wanted)


def test_matrices_are_mixed_in_pieces() -> None:
    rng = np.random.default_rng(4)
    for columns in (3, 32, 33, 48, 50):
        M = rng.integers(-(2**20), 2**20, (columns - 1, columns))
        x = rng.integers(-(2**40), 2**40, (columns, 2, 3))
        wanted = np.einsum("ij,jdl->idl", M, x)
        np.testing.assert_array_equal(lanes.mix(jnp.asarray(M), jnp.asarray(x)), wanted)
