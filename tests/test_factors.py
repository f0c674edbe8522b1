"""Weight factors: the traced integers of an independent replay, and the statistics of the draws."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference
from common import DIAGONAL, GAMMA, NETWORK, STEPSIZE, run, traced

from dpe_jax import lattice
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.factors import CoordinateFactors, LinkFactors, PublicFactors
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic

pytestmark = pytest.mark.slow  # together over 20 s

STEPS = 25
RANDOM = [LinkFactors(), CoordinateFactors(2, 5), LinkFactors(3, 3), CoordinateFactors(1, 40)]


def method(factors, **settings) -> EncryptedDSGD:
    return EncryptedDSGD(GAMMA, STEPSIZE, factors=factors, **settings)


@pytest.mark.parametrize("factors", [PublicFactors(), *RANDOM], ids=str)
@pytest.mark.parametrize("network", [NETWORK, Network.star(5)], ids=["graph", "star"])
def test_an_independent_replay_agrees_in_every_integer(factors, network) -> None:
    algorithm = method(factors)
    trace = traced(algorithm, DIAGONAL, network, iterations=STEPS, trace=(2, 5), seed=2**40 + 7)
    gains = algorithm.table(network, np.arange(STEPS)).gain.tolist()
    links = [(i, j, int(network.coupling[i, j])) for i, j in network.edges]
    described = (factors.kind, factors.low, factors.high)

    def replay(described):
        return reference.replay(
            trace.state[1, 0].tolist(), trace.increment[1].tolist(), gains, links,
            2**40 + 7, 5, factors=described,
        )  # fmt: skip

    found = replay(described)
    assert trace.state[1].tolist() == found.Y
    assert found.q == trace.level[1].tolist()
    assert found.v == trace.sums[1].tolist()
    if factors.low < factors.high:
        # A factor drawn otherwise would be seen at once.
        assert replay((factors.kind, factors.low, factors.high + 1)).v[1] != found.v[1]
        assert replay(("public", 1, 1)).v[1] != found.v[1]


@pytest.mark.parametrize("factors", RANDOM, ids=str)
def test_the_average_moves_by_the_increments_alone(factors) -> None:
    trace = traced(method(factors), DIAGONAL, iterations=STEPS, trace=(0,))
    assert np.all(trace.sums.sum(axis=2) == 0)
    moved = np.diff(trace.state.sum(axis=2), axis=1)
    np.testing.assert_array_equal(moved, -trace.increment.sum(axis=2))


def test_constant_factors_cancel_in_the_gain() -> None:
    """a = 4 on both ends is the exchange without factors, if Γ^k has the room for it."""
    plain = run(method(PublicFactors()), DIAGONAL, iterations=STEPS, precision="float64")
    four = run(method(LinkFactors(4, 4)), DIAGONAL, iterations=STEPS, precision="float64")
    names = "final_state"
    np.testing.assert_allclose(four.curves[names], plain.curves[names], rtol=0, atol=1e-6)
    assert np.any(four.curves[names].values != plain.curves[names].values)


def test_many_neighbors_take_the_loop_over_slots_and_agree() -> None:
    network = Network.star(40)
    exchange = Exchange.of(network)
    rng = np.random.default_rng(0)
    q = rng.integers(-1000, 1000, (40, 3, 16))
    for products in (rng.integers(1, 200, (39, 3, 16)), rng.integers(1, 200, (39, 1, 16))):
        found = exchange.levels(jnp.asarray(q), jnp.asarray(products))
        wanted = np.zeros_like(q)
        for link, (i, j) in enumerate(network.edges):
            flow = network.coupling[i, j] * products[link] * (q[j] - q[i])
            wanted[i] += flow
            wanted[j] -= flow
        np.testing.assert_array_equal(found, wanted)
        values = exchange.values(jnp.asarray(q, jnp.float64), jnp.asarray(products), 10.0)
        np.testing.assert_allclose(values, wanted / (network.denominator * 100.0), rtol=1e-12)


def draws(runs: int, dim: int = 3, agents: int = 5, time: int = 4) -> Draws:
    key = (jnp.uint32(9), jnp.uint32(0))
    run = jnp.arange(runs, dtype=jnp.uint32)
    return Draws(key, run, jnp.uint32(time), agents, dim)


def test_mean_and_variance_of_the_weights() -> None:
    factors, runs = LinkFactors(1, 15), 40_000
    links = Exchange.of(NETWORK).links
    products = np.asarray(factors.products(draws(runs), links))[:, 0]
    ratio = products / factors.mean**2
    count = ratio.size
    error = np.sqrt(factors.variance / count)
    assert abs(ratio.mean() - 1) < 4 * error
    for wrong in (2 / 3, 1.5):
        assert abs(ratio.mean() - wrong) > 20 * error
    spread = ratio.var()
    fourth = ((ratio - ratio.mean()) ** 4).mean()
    tolerance = 4 * np.sqrt((fourth - spread**2) / count)
    assert abs(spread - factors.variance) < tolerance
    for wrong in (2 / 3, 1.5):
        assert abs(spread - wrong * factors.variance) > 5 * tolerance
    assert ratio.max() == factors.largest_ratio
    assert np.array_equal(np.unique(products), np.unique(np.outer(range(1, 16), range(1, 16))))


def test_factors_of_ends_links_coordinates_and_times_are_independent() -> None:
    runs, links = 20_000, Exchange.of(NETWORK).links
    words = np.asarray(draws(runs).link_words(links, 3)).reshape(-1, runs) / 2.0**32
    later = np.asarray(draws(runs, time=5).link_words(links, 3)).reshape(-1, runs) / 2.0**32
    both = np.concatenate([words, later])
    correlation = np.corrcoef(both) - np.eye(len(both))
    assert np.abs(correlation).max() < 5 / np.sqrt(runs)
    assert np.corrcoef(words[0], words[0])[0, 1] == pytest.approx(1)
    # A link of a subgraph draws what it draws in the whole graph.
    some = np.asarray(draws(8).link_words(links[2:4], 3))
    np.testing.assert_array_equal(some, np.asarray(draws(8).link_words(links, 3))[:, 2:4])


def test_random_weights_converge_like_their_mean() -> None:
    problem = Quadratic.random(5, 2, seed=1, noise=0.3)
    settings = {"runs": 400, "iterations": 800, "metrics": ("consensus_error", "gap_mean_state")}
    plain, random = (
        run(method(factors), problem, **settings).curves
        for factors in (PublicFactors(), LinkFactors())
    )
    for metric in settings["metrics"]:
        # Both share all noise but the factors, so runs are paired.
        difference = (random[metric] - plain[metric]).values[0, -1]
        assert abs(difference.mean()) < 0.2 * plain[metric].values[0, -1].mean()
    gap = random.gap_mean_state.values[0].mean(axis=-1)
    assert gap[-1] < 0.01 * gap[0]
    assert np.all(random.status == 0)


@pytest.mark.parametrize(("low", "high"), [(0, 5), (3, 2), (1, 2**15 + 1), (True, 3)])
def test_bad_ranges_are_refused(low, high) -> None:
    for family in (LinkFactors, CoordinateFactors):
        with pytest.raises(InputError, match=r"^(low|high) = .*1 ≤ low ≤ high ≤ 32768"):
            family(low, high)


def test_headroom_counts_the_largest_factors() -> None:
    # γ Σ_j w_ij (15/8)² must stay below 3.
    row_sum = 3.0 / (15 / 8) ** 2
    largest = float(np.max(-np.diag(NETWORK.weights)))
    ok, too_large = (
        EncryptedDSGD(part * row_sum / largest, STEPSIZE, factors=LinkFactors())
        for part in (0.999, 1.001)
    )
    ok.table(NETWORK, np.arange(3))
    with pytest.raises(InputError, match=r"^gamma = "):
        too_large.table(NETWORK, np.arange(3))
    EncryptedDSGD(1.001 * row_sum / largest, STEPSIZE).table(NETWORK, np.arange(3))


def test_sums_that_could_overflow_are_refused() -> None:
    network = Network.complete(3, weights=np.full((3, 3), 0.3) - 0.3 * np.eye(3))
    fits = method(LinkFactors(1, 2**15))
    fits.check(network, np.zeros((3, 2)))
    fine = Network.complete(3, np.full((3, 3), 1 / 7001) - np.eye(3) / 7001, 2**31)
    assert fine.denominator == 7001
    wide = Network.from_matrix(
        [[0, 0.3000001, 0], [0.3000001, 0, 0.1], [0, 0.1, 0]], max_denominator=2**31
    )
    with pytest.raises(InputError, match="smaller common denominator or smaller factors"):
        fits.check(wide, np.zeros((3, 2)))
    method(PublicFactors()).check(wide, np.zeros((3, 2)))


def test_plaintext_bits_hold_the_largest_sum() -> None:
    for factors in (PublicFactors(), LinkFactors(1, 15)):
        row_sum = method(factors).row_sum(NETWORK)
        assert row_sum == NETWORK.coupling.sum(axis=1).max() * factors.high**2
        limit = 2 * (2**28 + 1) * row_sum
        assert 2 ** (lattice.plaintext_bits(row_sum) - 1) > limit
        assert 2 ** (lattice.plaintext_bits(row_sum) - 2) <= limit
