"""Multipliers against SciPy's distributions, with wrong values that the same sample must reject."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dpe_jax.errors import InputError
from dpe_jax.philox import normal
from dpe_jax.stepsizes import (
    Gamma,
    LogNormal,
    Multipliers,
    NoMultipliers,
    Normal,
    TwoPoint,
    Uniform,
)

COUNT = 2_000_000
STANDARD_ERRORS = 4.5
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
RANDOM = [
    Uniform(),
    Uniform(0.4),
    Uniform(1.5),
    LogNormal(0.3),
    LogNormal(0.8),
    Gamma(0.5),
    Gamma(3.0),
    Gamma(40.0),
    TwoPoint(0.5, 3.0),
    TwoPoint(-1.0, 1.5),
    Normal(0.5),
]


def name(value: Multipliers | np.dtype) -> str:
    return str(value) if isinstance(value, np.dtype) else value.describe()


@pytest.fixture(scope="module")
def words() -> jax.Array:
    return jnp.asarray(np.random.default_rng(20).integers(0, 2**32, COUNT, dtype=np.uint32))


def sample(multipliers: Multipliers, words: jax.Array, dtype: np.dtype) -> np.ndarray:
    drawn = multipliers(words, dtype)
    assert drawn.dtype == dtype
    return np.asarray(drawn, np.float64)


def scores(drawn: np.ndarray, mean: float, variance: float) -> tuple[float, float]:
    """Distance of the sample's mean and variance from the given ones, in standard errors."""
    squares = (drawn - mean) ** 2
    mean_score = (drawn.mean() - mean) / math.sqrt(drawn.var() / len(drawn))
    spread = max(squares.std(), 1e-9)  # a symmetric two-point law has constant squares
    return abs(mean_score), abs(squares.mean() - variance) / (spread / math.sqrt(len(drawn)))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("multipliers", RANDOM, ids=name)
def test_mean_and_variance(multipliers: Multipliers, dtype: np.dtype, words: jax.Array) -> None:
    drawn = sample(multipliers, words, dtype)
    variance = float(np.asarray(multipliers.variance))
    mean_score, variance_score = scores(drawn, 1.0, variance)
    assert mean_score < STANDARD_ERRORS
    assert variance_score < STANDARD_ERRORS
    # The same sample rejects what is wrong.
    for factor in (2 / 3, 1.5):
        assert scores(drawn, 1.0, factor * variance)[1] > 10
    for mean in (0.98, 1.02):
        assert scores(drawn, mean, variance)[0] > 10


def p_value(cdf: Callable[[np.ndarray], np.ndarray], drawn: np.ndarray) -> float:
    return float(stats.kstest(drawn, cdf).pvalue)


DISTRIBUTIONS = [
    (Uniform(), lambda s: stats.uniform(1 - s, 2 * s)),
    (Uniform(1.5), lambda s: stats.uniform(1 - 1.5 * s, 3 * s)),
    (LogNormal(0.5), lambda s: stats.lognorm(0.5 * s, scale=math.exp(-((0.5 * s) ** 2) / 2))),
    (Gamma(0.5), lambda s: stats.gamma(0.5 / s**2, scale=s**2 / 0.5)),
    (Gamma(3.0), lambda s: stats.gamma(3.0 / s**2, scale=s**2 / 3.0)),
    (Gamma(100.0), lambda s: stats.gamma(100.0 / s**2, scale=s**2 / 100.0)),
    (Normal(0.5), lambda s: stats.norm(1, 0.5 * s)),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize(
    ("multipliers", "law"),
    DISTRIBUTIONS,
    ids=lambda v: v.describe() if isinstance(v, Multipliers) else "",
)
def test_distribution(multipliers: Multipliers, law, dtype: np.dtype, words: jax.Array) -> None:
    """Kolmogorov-Smirnov; a standard deviation off by 5 per cent is rejected."""
    drawn = sample(multipliers, words[:100_000], dtype)
    assert p_value(law(1.0).cdf, drawn) > 1e-3
    for wrong in (0.95, 1.05):
        assert p_value(law(wrong).cdf, drawn) < 1e-9


EXTREMES = jnp.asarray(np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32))
WIDEST = [*RANDOM, LogNormal(1.25), Gamma(1e4), Normal(3.0), NoMultipliers()]


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize("multipliers", WIDEST, ids=name)
def test_extreme_words_stay_finite_and_keep_their_sign(
    multipliers: Multipliers, dtype: np.dtype, words: jax.Array
) -> None:
    drawn = np.concatenate(
        [sample(multipliers, EXTREMES, dtype), sample(multipliers, words[:100_000], dtype)]
    )
    assert np.all(np.isfinite(drawn))
    assert bool(np.any(drawn < 0)) == multipliers.may_be_negative
    if not multipliers.may_be_negative:
        assert np.all(drawn > 0)


def gamma_quantile(shape: float, z: np.ndarray) -> np.ndarray:
    law = stats.gamma(shape, scale=1 / shape)
    return np.where(
        z < 0, law.ppf(stats.norm.cdf(np.minimum(z, 0))), law.isf(stats.norm.sf(np.maximum(z, 0)))
    )


@pytest.mark.parametrize("shape", [0.5, 0.55, 0.8, 1.0, 1.7, 3.0, 10.0, 100.0, 1e4])
def test_gamma_is_the_quantile_function(shape: float, words: jax.Array) -> None:
    some = jnp.concatenate([EXTREMES, words[:3000], jnp.arange(0, 2**16, 256, dtype=jnp.uint32)])
    some = jnp.concatenate([some, some ^ jnp.uint32(2**31 - 1)])  # towards either tail
    for dtype in DTYPES:
        z = np.asarray(normal(some, dtype), np.float64)
        assert z.min() < -5.3
        assert z.max() > 5.3
        expected = gamma_quantile(shape, z)
        drawn = sample(Gamma(shape), some, dtype)
        assert np.max(np.abs(drawn - expected) / np.maximum(1, expected)) < 1e-5
        # The same comparison sees a shape that is off by a tenth of a per cent.
        wrong = gamma_quantile(shape * 1.001, z)
        assert np.max(np.abs(drawn - wrong) / np.maximum(1, wrong)) > 1e-5


def over_all_normals(map_: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Mean and variance of a map of words, over evenly spaced words in the normals' order.

    The midpoints of 2^20 equal cells, and every one of the 16 normals in either outermost cell.
    """
    cells = 2**20
    inner = ((np.arange(1, cells - 1) + 0.5) / cells * 2**32).astype(np.uint32)
    outer = (np.arange(16) * 256 + 128).astype(np.uint32)
    ranks = np.concatenate([inner, outer, (2**32 - 1 - outer.astype(np.int64)).astype(np.uint32)])
    weights = np.concatenate([np.full(cells - 2, 1 / cells), np.full(32, 1 / cells / 16)])
    values = map_(ranks ^ np.uint32(2**31))
    mean = float(np.sum(weights * values))
    return mean, float(np.sum(weights * (values - mean) ** 2))


@pytest.mark.parametrize(
    ("multipliers", "mean_tolerance", "variance_tolerance"),
    [
        (Gamma(0.5), 1e-5, 1e-5),
        (Gamma(0.7), 1e-5, 1e-5),
        (Gamma(2.0), 1e-5, 1e-5),
        (Gamma(100.0), 1e-5, 1e-5),
        (LogNormal(0.5), 1e-5, 1e-5),
        (LogNormal(1.25), 1e-5, 1e-3),
        (Normal(1.0), 1e-5, 1e-5),
    ],
    ids=lambda value: value.describe() if isinstance(value, Multipliers) else None,
)
def test_moments_integrate(
    multipliers: Multipliers, mean_tolerance: float, variance_tolerance: float
) -> None:
    """No sampling error: the whole range of words, evenly."""
    mean, variance = over_all_normals(
        lambda ranks: sample(multipliers, jnp.asarray(ranks), DTYPES[1])
    )
    exact = float(np.asarray(multipliers.variance))
    assert abs(mean - 1) < mean_tolerance
    assert abs(variance / exact - 1) < variance_tolerance


@pytest.mark.parametrize(("low", "high"), [(0.5, 3.0), (0.0, 2.0), (-1.0, 1.5), (0.9, 1e6)])
def test_two_point_is_exact_at_the_threshold(low: float, high: float) -> None:
    threshold = round((1 - low) / (high - low) * 2**32)
    near = np.array([0, threshold - 1, threshold, 2**32 - 1], np.uint32)
    for dtype in DTYPES:
        drawn = np.asarray(TwoPoint(low, high)(jnp.asarray(near), dtype))
        expected = np.array([high, high, low, low], dtype)
        np.testing.assert_array_equal(drawn, expected)


def test_two_point_keeps_both_values_near_certainty() -> None:
    drawn = np.asarray(TwoPoint(-1e12, 1.0000000001)(EXTREMES, DTYPES[1]))
    assert drawn[0] == 1.0000000001
    assert drawn[-1] == -1e12


def test_uniform_on_zero_two_is_the_word() -> None:
    drawn = np.asarray(Uniform()(EXTREMES, DTYPES[1]))
    expected = (2 * np.asarray(EXTREMES, np.float64) + 1) / 2**32
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (Uniform, ([0.3, 1.0, 2.0],)),
        (LogNormal, ([0.1, 0.5, 1.0],)),
        (Gamma, ([0.5, 4.0, 4.0],)),
        (TwoPoint, ([0.5, 0.0, -1.0], [2.0, 3.0, 1.5])),
        (Normal, ([0.0, 0.5, 2.0],)),
    ],
)
def test_parameters_may_differ_between_lanes(make, parameters, dtype, words: jax.Array) -> None:
    """A sweep's lane is the multiplier of that lane's parameters alone, also under `jit`."""
    block = words[:60].reshape(5, 4, 3)
    lanes = make(*(np.array(values) for values in parameters))
    swept = np.asarray(lanes(block, dtype))
    compiled = np.asarray(eqx.filter_jit(lambda m, w: m(w, dtype))(lanes, block))
    for lane, single in enumerate(zip(*parameters, strict=True)):
        alone = make(*single)
        expected = np.asarray(alone(block[..., lane], dtype))
        tolerance = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(swept[..., lane], expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(compiled[..., lane], expected, rtol=1e-5, atol=1e-5)
        assert np.asarray(lanes.variance)[lane] == alone.variance
    assert lanes.may_be_negative == any(
        make(*single).may_be_negative for single in zip(*parameters, strict=True)
    )


def test_no_multipliers() -> None:
    none = NoMultipliers()
    assert np.asarray(none(EXTREMES, DTYPES[0])).tolist() == [1.0] * 6
    assert none.variance == 0.0
    assert not none.may_be_negative


@pytest.mark.parametrize(
    ("multipliers", "text"),
    [
        (Uniform(), "uniform, 1 ± 1"),
        (LogNormal(0.5), "lognormal, sigma 0.5"),
        (Gamma(3), "gamma, shape 3"),
        (TwoPoint(0.5, 3), "two-point, 0.5 or 3"),
        (Normal(np.array([0.5, 1.0])), "normal, sigma 0.5..1"),
        (NoMultipliers(), "none"),
    ],
)
def test_descriptions(multipliers: Multipliers, text: str) -> None:
    assert multipliers.describe() == text


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Uniform(-0.1), "half_width"),
        (lambda: Uniform(math.inf), "half_width"),
        (lambda: Uniform(np.array([0.5, math.nan])), "half_width"),
        (lambda: LogNormal(-1.0), "sigma"),
        (lambda: LogNormal(1.3), "sigma"),
        (lambda: Normal(-0.5), "sigma"),
        (lambda: Normal(math.nan), "sigma"),
        (lambda: Gamma(0.49), "shape"),
        (lambda: Gamma(1.1e4), "shape"),
        (lambda: Gamma(np.array([1.0, 0.0])), "shape"),
        (lambda: jax.jit(lambda shape: Gamma(shape).variance)(2.0), "shape"),
        (lambda: TwoPoint(1.0, 2.0), "low"),
        (lambda: TwoPoint(0.5, 1.0), "high"),
        (lambda: TwoPoint(-math.inf, 2.0), "low"),
    ],
)
def test_refusals(make: Callable[[], Multipliers], named: str) -> None:
    with pytest.raises(InputError, match=f"^{named} = "):
        make()
