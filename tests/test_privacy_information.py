"""Mutual information where it is known, the error bound, and what is no ordinary sample."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate
from sklearn.feature_selection import mutual_info_regression

from dpe_jax.errors import InputError
from dpe_jax.privacy.information import (
    LEAST_RUNS,
    MARGIN,
    NEIGHBORS,
    Information,
    differential_entropy,
    error_bound,
    information,
    information_table,
    mutual_information,
    normal_scores,
)

pytestmark = pytest.mark.slow  # together over 20 s

RUNS = 4000


def channel(snr: float, runs: int = RUNS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    g = rng.normal(size=runs)
    return g, g + rng.normal(size=runs) / np.sqrt(snr)


def agrees(found: Information, truth: float) -> None:
    assert found.status == "measured"
    assert found.information.contains(truth)
    assert not found.information.contains(truth * 2 / 3)
    assert not found.information.contains(truth * 3 / 2)
    assert found.found


@pytest.mark.parametrize("snr", [0.5, 1, 10, 100, 1000])
def test_gaussian_channels_carry_half_the_logarithm_of_one_plus_their_ratio(snr: float) -> None:
    agrees(information(*channel(snr)), np.log1p(snr) / 2)


@pytest.mark.parametrize("snr", [1, 100])
def test_lognormal_multipliers_of_lognormal_gradients_are_such_a_channel(snr: float) -> None:
    # ln m = ln Λ + ln g. Spreads like these make the largest value 10⁵ times the median.
    g, m = channel(snr, seed=1)
    agrees(information(np.exp(3 * g), np.exp(3 * m)), np.log1p(snr) / 2)


def test_uniform_multipliers_tell_what_integrals_say() -> None:
    # m = Λ g, Λ ~ U[0, 2], g ~ N(0, 1): I = h(m) − E ln(2|g|), and
    # p(m) = ∫_{|m|/2}^∞ φ(g)/|2g| dg for either sign.
    grid = np.geomspace(1e-9, 20, 200_001)
    weight = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi) / (2 * grid)
    below = integrate.cumulative_trapezoid(weight, grid, initial=0)
    density = below[-1] - below
    # The density at m = 2·grid, on both sides.
    h = 2 * integrate.trapezoid(-density * np.log(np.maximum(density, 1e-300)), 2 * grid)
    assert 2 * integrate.trapezoid(density, 2 * grid) == pytest.approx(1, abs=1e-4)
    normal = 2 * np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
    truth = h - integrate.trapezoid(normal * np.log(2 * grid), grid)
    rng = np.random.default_rng(2)
    g = rng.normal(size=RUNS)
    agrees(information(g, g * rng.uniform(0, 2, RUNS)), truth)
    # The sign alone is one bit, so there must be more.
    assert truth > np.log(2)


def test_what_shares_nothing_tells_nothing() -> None:
    rng = np.random.default_rng(3)
    found = information(rng.normal(size=RUNS), rng.standard_cauchy(size=RUNS))
    assert found.information.contains(0)
    assert not found.found
    assert found.chance.low < 0 < found.chance.high
    assert found.chance.high < 0.04
    assert abs(found.chance.value) < 0.005


def test_intervals_hold_the_truth_as_often_as_said() -> None:
    samples, truth = 200, np.log(3) / 2
    pairs = [channel(2, 1000, seed=100 + seed) for seed in range(samples)]
    g, m = (np.array(part)[None] for part in zip(*pairs, strict=True))
    found = [cell.information for cell in information_table(g, m)[0]]
    held = [one.contains(truth) for one in found]
    narrow = [abs(one.value - truth) < (one.high - one.low) / 6 for one in found]
    # At least 95 %, but for 4 standard errors; with the allowance for bias it is more.
    assert np.mean(held) > 0.95 - 4 * np.sqrt(0.05 * 0.95 / samples)
    assert np.mean(narrow) < 0.8


def test_a_bootstrap_of_nearest_neighbors_would_be_wrong() -> None:
    g, m = channel(1, 1000)
    rng = np.random.default_rng(0)
    scores = normal_scores(g, rng), normal_scores(m, rng)
    drawn = []
    for _ in range(5):
        again = rng.integers(1000, size=1000)
        drawn.append(mutual_information(scores[0][again] + 0.0, scores[1][again] + 0.0))
    found = information(g, m).information
    assert min(drawn) > found.high + 0.1


def test_the_estimate_is_that_of_another_implementation() -> None:
    for snr in (1, 10):
        g, m = channel(snr, 1500)
        rng = np.random.default_rng(0)
        x, y = normal_scores(g, rng), normal_scores(m, rng)
        other = mutual_info_regression(x[:, None], y, n_neighbors=NEIGHBORS)[0]
        assert mutual_information(x, y) == pytest.approx(other, abs=0.01)


@pytest.mark.parametrize(
    ("draw", "entropy"),
    [
        (lambda rng: rng.normal(size=RUNS), 0.5 * np.log(2 * np.pi * np.e)),
        (lambda rng: 1e-9 * rng.uniform(size=RUNS), np.log(1e-9)),
        (lambda rng: np.exp(2 * rng.normal(size=RUNS)), 0.5 * np.log(2 * np.pi * np.e * 4)),
        (lambda rng: 1e6 * rng.laplace(size=RUNS), 1 + np.log(2e6)),
    ],
    ids=["normal", "uniform", "lognormal", "laplace"],
)
def test_entropies_are_those_of_the_law(
    draw: Callable[[np.random.Generator], np.ndarray], entropy: float
) -> None:
    rng = np.random.default_rng(5)
    found = information(draw(rng), rng.normal(size=RUNS)).entropy
    assert found.contains(entropy)
    assert found.high - found.low < 0.2
    for factor in (2 / 3, 3 / 2):
        assert not found.contains(entropy + np.log(factor))
    # Nearest neighbors by brute force.
    few = draw(rng)[:200]
    distance = np.sort(np.abs(few[:, None] - few), axis=1)[:, NEIGHBORS]
    from scipy.special import digamma

    wanted = digamma(200) - digamma(NEIGHBORS) + np.log(2 * distance).mean()
    assert differential_entropy(few) == pytest.approx(wanted)


def test_the_bound_is_reached_by_the_best_estimator_of_a_normal_gradient() -> None:
    g, m = channel(4)
    found = information(1e-5 * g, m)
    best = 1e-10 / 5
    assert found.bound.contains(best)
    assert not found.bound.contains(best * 2 / 3)
    assert not found.bound.contains(best * 3 / 2)
    assert found.relative_bound.contains(np.sqrt(1 / 5))
    assert error_bound(0.5 * np.log(2 * np.pi * np.e * 0.3)) == pytest.approx(0.3)


@pytest.mark.parametrize("law", ["uniform", "lognormal", "negative"])
def test_no_attack_is_better_than_the_bound(law: str) -> None:
    rng = np.random.default_rng(6)
    g = rng.normal(size=RUNS)
    draws = {
        "uniform": rng.uniform(0, 2, RUNS),
        "lognormal": np.exp(0.5 * rng.normal(size=RUNS) - 0.125),
        "negative": rng.normal(1, 3, RUNS),
    }
    m = g * draws[law]
    found = information(g, m)
    # The mean of g near each m is as good as any estimator, up to its own noise.
    order = np.argsort(m)
    near = np.empty(RUNS)
    near[order] = np.convolve(np.pad(g[order], 20, "edge"), np.ones(41) / 41, "valid")
    attacks = {"zero": 0 * m, "known mean": m, "linear": m * (g @ m) / (m @ m), "near": near}
    errors = {name: float(np.mean((g - estimate) ** 2)) for name, estimate in attacks.items()}
    assert min(errors.values()) > found.bound.low
    # It says something: of what carries less it asks for more.
    assert found.bound.low > 0.02
    # The comparison can fail: what m tells breaks the bound of whoever does not see m.
    blind = information(g, rng.normal(size=RUNS))
    assert (errors["near"] < blind.bound.low) == (law != "negative")


def test_an_exact_observation_has_no_end() -> None:
    rng = np.random.default_rng(7)
    g = rng.normal(size=2000)
    for m in (g, -3 * g, g**3, g + 1e-9 * rng.normal(size=2000), 7 * g.astype(np.float32)):
        found = information(g, m)
        assert found.status == "at least"
        assert found.information.high == np.inf
        assert found.information.low > 4
        assert found.bound.low == 0
        assert found.bound.high < 1e-4
        assert found.found
    assert information(*channel(1e6, 2000)).status == "at least"
    # Up to the margin estimates are right: here it is 0.3 nats away.
    assert np.log(RUNS / NEIGHBORS) - MARGIN - 0.3 > np.log1p(3000) / 2
    agrees(information(*channel(3000)), np.log1p(3000) / 2)


def test_constants_have_nothing_to_tell_or_to_hide() -> None:
    g, m = channel(1, 500)
    still = information(np.zeros(500), m)
    assert (still.status, still.information) == ("constant", (0, 0, 0))
    assert still.entropy == (-np.inf, -np.inf, -np.inf)
    assert still.bound == still.relative_bound == (0, 0, 0)
    silent = information(g, np.full(500, 7))
    assert (silent.status, silent.information) == ("constant", (0, 0, 0))
    assert silent.conditional == silent.entropy
    assert silent.bound.contains(1)
    assert silent.relative_bound.value <= 1.05
    assert not silent.found


def test_ties_are_refused_unless_they_are_broken_at_random() -> None:
    g, m = channel(3, seed=9)
    with pytest.raises(InputError, match="ties='random'"):
        information(g, np.round(m, 1))
    with pytest.raises(Exception, match=r"ties|Type-check"):
        information(g, m, ties="jitter")  # pyright: ignore[reportArgumentType]
    found = information(g, np.round(m, 1), ties="random")
    assert found.ties > 3000
    # A grid of a tenth of the spread loses next to nothing.
    agrees(found, np.log(4) / 2)
    assert found.to_dict() == information(g, np.round(m, 1), ties="random").to_dict()
    # The sign alone is one bit, whatever else is drawn at random.
    agrees(information(g, np.sign(g), ties="random"), np.log(2))


def test_a_gradient_that_is_often_zero_has_no_entropy_bound() -> None:
    rng = np.random.default_rng(9)
    g = np.where(rng.random(RUNS) < 0.5, 0.0, rng.normal(size=RUNS))
    found = information(g, g + 0.5 * rng.normal(size=RUNS), ties="random")
    assert found.status == "atoms"
    assert found.information.low > 0.3
    assert found.bound == (0, 0, 0)
    assert found.conditional.value == -np.inf
    # Whether g is zero, and nothing else of it: one bit.
    told = information(g, np.where(g == 0, 1.0, -1.0), ties="random").information
    assert told.contains(np.log(2))
    assert told.high - told.low < 0.2


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    g, m = channel(2, 1000)
    h, n = np.append(g, [np.nan, 1, np.inf]), np.append(m, [1, -np.inf, np.nan])
    found, alone = information(h, n), information(g, m)
    assert (found.excluded, found.runs) == (3, 1000)
    assert found.information == alone.information
    few = information(g[: LEAST_RUNS - 1], m[: LEAST_RUNS - 1])
    assert few.status == "too few"
    assert np.isnan(few.information.value)
    assert not few.found
    with pytest.raises(Exception, match=r"shape|Type-check"):
        information(g, m[:-1])


def test_a_table_is_made_of_its_cells() -> None:
    pairs = [channel(snr, 300) for snr in (0.5, 2, 8, 32)]
    g, m = (np.array(part).reshape(2, 2, 300) for part in zip(*pairs, strict=True))
    table = information_table(g, m)
    for row, cells in enumerate(table):
        for column, cell in enumerate(cells):
            assert cell == information(g[row, column], m[row, column])
    with pytest.raises(Exception, match=r"shape|Type-check"):
        information_table(g, m[:1])
