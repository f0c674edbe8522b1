"""What each view knows, and what replies show; oracles are plain Python integers."""

import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from dpe_jax.algorithms import Algorithm, CentralizedSGD, ConventionalDSGD, EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.factors import CoordinateFactors, Factors, LinkFactors, PublicFactors
from dpe_jax.network import Network
from dpe_jax.privacy.observe import audited, observed, truth_of
from dpe_jax.privacy.replies import (
    from_many_factors,
    from_mean_factors,
    from_one_factor,
    from_public_weights,
    from_two_insiders,
)
from dpe_jax.privacy.views import (
    Coalition,
    Eavesdropper,
    Neighbor,
    View,
    WorstCase,
    neighbors,
    views,
)
from dpe_jax.problems import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.simulation import Simulation

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")

GAMMA, STEPSIZE = PowerLaw(0.8, 0.6), PowerLaw(0.5, 0.9)
PATH = Network.path(5)
"""0 – 1 – 2 – 3 – 4"""


def encrypted(factors: Factors | None = None) -> EncryptedDSGD:
    return EncryptedDSGD(GAMMA, STEPSIZE, factors=factors or PublicFactors())


def known(view: View, algorithm: Algorithm) -> tuple[str, list[int]]:
    found = view.knowledge(algorithm, PATH)
    return found.source, [agent for agent, heard in enumerate(found.heard) if heard]


# Views


def test_who_sees_what_of_plaintext() -> None:
    method = ConventionalDSGD(STEPSIZE)
    everybody = [0, 1, 2, 3, 4]
    assert known(Eavesdropper(2), method) == ("messages", everybody)
    assert known(Neighbor(2, 1), method) == ("messages", [0, 1, 2])
    assert known(Coalition(2), method) == ("messages", everybody)
    assert known(WorstCase(2), method) == ("states", everybody)


@pytest.mark.parametrize(
    ("factors", "source", "one", "both"),
    [
        (PublicFactors(), "messages", [0, 1, 2], [0, 1, 2, 3, 4]),
        (LinkFactors(), "replies", [1], [1, 3]),
        (CoordinateFactors(), "replies", [1], [1, 3]),
    ],
    ids=["public", "link", "coordinate"],
)
def test_who_sees_what_of_ciphertexts(factors, source, one, both) -> None:
    method = encrypted(factors)
    assert known(Eavesdropper(2), method) == ("nothing", [])
    assert known(Neighbor(2, 1), method) == (source, one)
    assert known(Coalition(2), method) == (source, both)
    assert known(Coalition(2, (0, 4)), method)[0] == "nothing"
    assert known(WorstCase(2), method) == ("states", [0, 1, 2, 3, 4])


def test_what_is_no_view_is_refused() -> None:
    for view, name in (
        (Neighbor(2, 4), "neighbor"),
        (Neighbor(2, 2), "neighbor"),
        (Coalition(2, (2, 1)), "coalition"),
        (Coalition(2, (1, 9)), "coalition"),
        (Coalition(2, (1, 1)), "coalition"),
        (Eavesdropper(5), "target"),
        (Eavesdropper(-1), "target"),
    ):
        with pytest.raises(InputError, match=rf"^{name} = "):
            view.knowledge(encrypted(), PATH)
    assert neighbors(PATH, 2) == (1, 3)
    assert neighbors(PATH, 0) == (1,)
    assert [view.target for view in views(PATH, 3)] == [3, 3, 3, 3]
    with pytest.raises(InputError, match=r"^neighbor = 4"):
        views(PATH, 2, 4)
    with pytest.raises(InputError, match=r"^target = 9"):
        views(PATH, 9)
    assert not audited(CentralizedSGD(STEPSIZE))
    assert audited(encrypted())


def test_the_neighbor_that_hears_most_is_looked_at_unless_one_is_chosen() -> None:
    # Of the three around agent 0 only 2 hears both others; on a path none hears any.
    network = Network.from_edges([(0, 1), (0, 2), (0, 4), (1, 2), (2, 4), (2, 3)])
    assert views(network, 0)[1] == Neighbor(0, 2)
    assert views(network, 0, 4)[1] == Neighbor(0, 4)
    assert views(PATH, 2)[1] == Neighbor(2, 1)
    heard = [Neighbor(0, agent).knowledge(encrypted(), network).heard for agent in (1, 2, 4)]
    assert [sum(agents) for agents in heard] == [3, 5, 3]


# Replies


def levels(rng: np.random.Generator, dim: int, lanes: int, width: int) -> np.ndarray:
    return rng.integers(-width, width, size=(dim, lanes))


def test_public_weights_give_every_level() -> None:
    rng = np.random.default_rng(0)
    own, other = levels(rng, 3, 50, 2**27), levels(rng, 3, 50, 2**27)
    found = from_public_weights(jnp.asarray(own), jnp.asarray(7 * (other - own)), jnp.int64(7))
    np.testing.assert_array_equal(np.asarray(found), other)


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_one_factor_is_a_common_divisor(dim: int) -> None:
    rng = np.random.default_rng(1)
    lanes, c, factors = 400, 3, LinkFactors(2, 15)
    own, other = levels(rng, dim, lanes, 1000), levels(rng, dim, lanes, 1000)
    a = rng.integers(2, 16, size=lanes)
    reply = c * a * (other - own)
    found = from_one_factor(jnp.asarray(own), jnp.asarray(reply), jnp.int64(c), factors)
    expected = []
    for lane in range(lanes):
        g = math.gcd(*map(int, reply[:, lane]))
        f = max(c * s for s in range(2, 16) if g % (c * s) == 0)
        expected.append(
            [int(x) + int(r) // f for x, r in zip(own[:, lane], reply[:, lane], strict=True)]
        )
    np.testing.assert_array_equal(np.asarray(found), np.array(expected).T)
    right = np.mean(np.all(np.asarray(found) == other, axis=0))
    # One coordinate leaves the factor open; many have no other divisor in common.
    assert (right < 0.6) if dim == 1 else (right > 0.6 if dim == 2 else right > 0.99)


def test_two_insiders_meet_at_the_state_in_two_dimensions_and_not_in_one() -> None:
    rng = np.random.default_rng(2)
    for dim, least, most in ((2, 0.99, 1.0), (5, 1.0, 1.0), (1, 0.0, 0.2)):
        own = levels(rng, dim, 500, 10**6), levels(rng, dim, 500, 10**6)
        other = levels(rng, dim, 500, 10**6)
        a = rng.integers(1, 2**15, size=(2, 500))
        reply = tuple(f * (other - q) for f, q in zip(a, own, strict=True))
        pair: Any = tuple(map(jnp.asarray, own)), tuple(map(jnp.asarray, reply))
        found = np.asarray(from_two_insiders(*pair))
        assert least <= np.mean(np.abs(found - other).max(axis=0) < 1) <= most
    # A neighbor at the same place has nothing to add, and knows it.
    same: Any = (jnp.asarray(other), jnp.asarray(own[1])), (jnp.asarray(0 * reply[0]), pair[1][1])
    np.testing.assert_array_equal(np.asarray(from_two_insiders(*same)), other)


@pytest.mark.parametrize("insiders", [1, 3])
def test_factors_of_coordinates_leave_few_levels(insiders: int) -> None:
    rng = np.random.default_rng(3)
    lanes, factors, c = 200, CoordinateFactors(1, 15), [2, 1, 3][:insiders]
    other = levels(rng, 1, lanes, 500)
    own = [levels(rng, 1, lanes, 500) for _ in c]
    a = [rng.integers(1, 16, size=(1, lanes)) for _ in c]
    reply = [w * f * (other - q) for w, f, q in zip(c, a, own, strict=True)]
    seen = [[jnp.asarray(row) for row in column] for column in (own, reply)]
    found, count = from_many_factors(seen[0], seen[1], [jnp.int64(w) for w in c], factors)
    for lane in range(lanes):
        fitting = set()
        for s in range(1, 16):
            r, q = int(reply[0][0, lane]), int(own[0][0, lane])
            if r % (c[0] * s) == 0:
                fitting.add(q + r // (c[0] * s))
        for w, q, r in zip(c[1:], own[1:], reply[1:], strict=True):
            far, whole = int(q[0, lane]), int(r[0, lane])
            fitting = {
                level
                for level in fitting
                if any(w * s * (level - far) == whole for s in range(1, 16))
            }
        assert int(other[0, lane]) in fitting
        assert int(count[0, lane]) == len(fitting)
        start = int(own[0][0, lane])
        shifts = [level - start for level in fitting if level != start]
        expected = start + (len(fitting) / sum(1 / s for s in shifts) if shifts else 0)
        assert float(found[0, lane]) == pytest.approx(expected)
    certain = float(np.mean(np.asarray(count) == 1))
    assert (certain < 0.3) if insiders == 1 else (certain > 0.8)


@pytest.mark.parametrize("factors", [CoordinateFactors(1, 63), LinkFactors(2, 9)])
def test_the_law_of_factors_alone_tells_half_of_the_distance(factors) -> None:
    """√(Var a/E a²) of it is left, whatever the distance is; of two replies' mean, less."""
    rng = np.random.default_rng(4)
    dim, lanes, c = 3, 20_000, (2, 5)
    other = levels(rng, dim, lanes, 2**20)
    own = [levels(rng, dim, lanes, 2**20) for _ in c]
    a = rng.integers(factors.low, factors.high + 1, size=(2, dim, lanes))
    reply = [w * f * (other - q) for w, f, q in zip(c, a, own, strict=True)]
    seen = [[jnp.asarray(row) for row in column] for column in (own, reply)]
    weights = [jnp.int64(w) for w in c]
    found = np.asarray(from_mean_factors(seen[0][:1], seen[1][:1], weights[:1], factors))
    law = np.arange(factors.low, factors.high + 1)
    expected = law.var() / np.mean(law**2)
    ratio = ((found - other) / (own[0] - other)) ** 2
    distance = (ratio.mean() - expected) / (ratio.std() / np.sqrt(ratio.size))
    assert abs(distance) < 5
    for wrong in (2 / 3, 1.5):
        assert abs(ratio.mean() - wrong * expected) > 5 * ratio.std() / np.sqrt(ratio.size)
    # A multiple that is a tenth larger or smaller is worse.
    for scale in (0.9, 1.1):
        changed = own[0] + scale * (found - own[0])
        assert np.mean((changed - other) ** 2) > np.mean((found - other) ** 2)
    both = np.asarray(from_mean_factors(seen[0], seen[1], weights, factors))
    single = np.asarray(from_mean_factors(seen[0][1:], seen[1][1:], weights[1:], factors))
    np.testing.assert_allclose(both, (found + single) / 2, rtol=1e-12, atol=1e-6)


# On the engine


@pytest.mark.slow
@pytest.mark.parametrize(
    "factors", [LinkFactors(), CoordinateFactors()], ids=["link", "coordinate"]
)
def test_collusion_recovers_the_state_within_a_level(factors: Factors) -> None:
    delta = 2.0**-10
    method = EncryptedDSGD(GAMMA, STEPSIZE, delta=delta, factors=factors)
    problem = Quadratic.random(5, 3, seed=1, noise=0.3)
    made = Simulation({"m": method}, problem, Network.complete(5), 128, 20, points=5)
    view = Coalition(1)
    found = observed(made, "m", [view], truth_of(made, 1), start=0).views[view.name]
    within = np.mean(found["state/collusion"][1:] <= delta, axis=1)
    assert np.all(within > 0.95)
    # What stands beside it: that the target is where the first insider is.
    assert np.all(np.mean(found["state/own"][1:] <= delta, axis=1) < 0.05)


def test_every_link_is_two_ends() -> None:
    """A reply has the factor of who sends it: it differs in the two directions."""
    links = list(itertools.combinations(range(4), 2))
    method = encrypted(LinkFactors())
    from dpe_jax.draws import Draws

    draws = Draws(
        (jnp.uint32(1), jnp.uint32(2)), jnp.arange(64, dtype=jnp.uint32), jnp.uint32(3), 4, 2
    )
    low, high = method.factors.ends(draws, jnp.asarray(links))  # type: ignore[misc]
    product = method.factors.products(draws, jnp.asarray(links))
    np.testing.assert_array_equal(np.asarray(low) * np.asarray(high), np.asarray(product))
    assert np.mean(np.asarray(low) == np.asarray(high)) < 0.15
