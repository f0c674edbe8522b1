"""The generator against known answers and a second program, and what is made of its words."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import special, stats

from dpe_jax import philox
from dpe_jax.draws import Draws
from dpe_jax.philox import (
    in_narrow_words,
    in_wide_words,
    laplace,
    normal,
    philox4x32,
    seed_key,
    uniform,
)

FLOAT32, FLOAT64 = jnp.dtype("float32"), jnp.dtype("float64")
COUNT = 200_000

# Random123's known answers: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def array(values) -> jax.Array:
    return jnp.asarray(np.asarray(values, np.uint32))


def four(counter, key, form: Any = philox4x32) -> list[np.ndarray]:
    c0, c1, c2, c3 = (array(word) for word in counter)
    k0, k1 = (array(word) for word in key)
    return [np.asarray(word) for word in form((c0, c1, c2, c3), (k0, k1))]


@pytest.mark.parametrize("form", [philox4x32, in_narrow_words, in_wide_words])
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(form, counter, key, expected) -> None:
    assert tuple(int(word) for word in four(counter, key, form)) == expected
    assert reference.philox4x32(counter, key) == expected


def test_processors_have_the_form_that_suits_them() -> None:
    words = tuple(array([number]) for number in range(6))
    traced = jax.jit(lambda *w: philox4x32(w[:4], w[4:])).trace(*words)

    def wide(platform: str) -> int:
        """Exclusive ors of 64-bit words."""
        lines = traced.lower(lowering_platforms=(platform,)).as_text().splitlines()
        return sum("stablehlo.xor" in line and "ui64" in line for line in lines)

    assert wide("cpu") >= 40
    assert wide("cuda") == 0


def test_agrees_with_the_reference_on_random_counters() -> None:
    rng = np.random.default_rng(0)
    counter = rng.integers(0, 2**32, (4, 500))
    key = rng.integers(0, 2**32, (2, 500))
    found = np.stack(four(counter, key))
    np.testing.assert_array_equal(np.stack(four(counter, key, in_narrow_words)), found)
    expected = [
        reference.philox4x32(tuple(c), tuple(k))
        for c, k in zip(counter.T.tolist(), key.T.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(found, np.array(expected).T)
    # One flipped bit of the counter changes about half of the 128 bits that come out.
    flipped = np.stack(four(counter ^ np.array([[1], [0], [0], [0]]), key))
    changed = np.bitwise_count(found ^ flipped).sum(0)
    assert abs(changed.mean() - 64) < 5 * np.sqrt(32 / 500)


def test_counter_and_key_broadcast() -> None:
    run, time = np.arange(7), 9
    element = np.arange(6).reshape(2, 3, 1)
    found = four((run, time, element, 1), (5, 0))
    assert all(word.shape == (2, 3, 7) for word in found)
    for i, c, r in [(0, 0, 0), (1, 2, 6), (0, 2, 3)]:
        expected = reference.words(5, r, time, i * 3 + c, 1)
        assert tuple(int(word[i, c, r]) for word in found) == expected


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 0x0123456789ABCDEF, 2**64 - 1])
def test_seed_key_holds_both_words(seed: int) -> None:
    low, high = seed_key(seed)
    assert int(low) + 2**32 * int(high) == seed


def draws(seed: int, run: np.ndarray, time: int, agents: int, dim: int) -> Draws:
    low, high = seed_key(seed)
    return Draws((jnp.uint32(low), jnp.uint32(high)), array(run), jnp.uint32(time), agents, dim)


def quantile(word: int) -> float:
    """The standard normal that a word makes."""
    signed = word - 2**32 if word >= 2**31 else word
    return float(np.sqrt(2) * special.erfinv(((signed >> 8) + 0.5) / 2**23))


def test_draws_keep_their_contract() -> None:
    """Counter = (run, time, element, stream); which word serves what."""
    seed, run, time, agents, dim = 2**40 + 3, np.array([0, 5, 2**32 - 1]), 77, 4, 3
    made = draws(seed, run, time, agents, dim)
    rounding = np.asarray(made.rounding_word())
    stepsize = np.asarray(made.stepsize_word())
    noise = np.asarray(made.noise(FLOAT64))
    measured = np.asarray(made.measurement_noise(5, FLOAT64))
    sizes = np.array([1, 10, 1000, 2**20], np.int64)
    samples = np.asarray(made.minibatch(sizes, 6))
    assert rounding.shape == stepsize.shape == noise.shape == (agents, dim, 3)
    assert measured.shape == (agents, 5, 3)
    assert samples.shape == (agents, 6, 3)
    for lane, number in enumerate(run.tolist()):
        for i in range(agents):
            for c in range(dim):
                w = reference.words(seed, number, time, i * dim + c)
                assert (rounding[i, c, lane], stepsize[i, c, lane]) == w[:2]
                assert noise[i, c, lane] == pytest.approx(quantile(w[2]), rel=6e-7)
            for row in range(5):
                w = reference.words(seed, number, time, i * 5 + row, reference.MEASUREMENT)
                assert measured[i, row, lane] == pytest.approx(quantile(w[0]), rel=6e-7)
            for slot in range(6):
                w = reference.words(seed, number, time, i * 2 + slot // 4, reference.MINIBATCH)
                assert samples[i, slot, lane] == w[slot % 4] * int(sizes[i]) >> 32


def test_uniform_covers_its_range() -> None:
    words = np.array([0, 1, 2**31, 2**32 - 129, 2**32 - 128, 2**32 - 1], np.uint32)
    double = np.asarray(uniform(array(words), FLOAT64))
    np.testing.assert_array_equal(double, (words + 0.5) / 2**32)
    assert double.min() > 0
    assert double.max() < 1
    single = np.asarray(uniform(array(words), FLOAT32))
    assert single.dtype == np.float32
    assert single[0] == 2.0**-33
    assert (single < 1).tolist() == [True, True, True, True, False, False]
    assert single.max() == 1


def test_normal_covers_its_range() -> None:
    # In order of the value: the lowest, the two beside zero, the highest.
    words = np.array([2**31, 2**32 - 1, 0, 2**31 - 1], np.uint32)
    for dtype in (FLOAT32, FLOAT64):
        z = np.asarray(normal(array(words), dtype))
        assert z.dtype == dtype
        assert np.all(np.isfinite(z))
        assert np.all(np.diff(z) > 0)
        np.testing.assert_array_equal(z, -z[::-1])
        assert 5.40 < z[3] < 5.42
        assert 0 < z[2] < 1e-6


def test_laplace_covers_its_range() -> None:
    # In order of the value, as for the normal.
    words = np.array([2**31, 2**32 - 1, 0, 2**31 - 1], np.uint32)
    for dtype in (FLOAT32, FLOAT64):
        z = np.asarray(laplace(array(words), dtype))
        assert z.dtype == dtype
        assert np.all(np.isfinite(z))
        np.testing.assert_array_equal(z, -z[::-1])
        assert z[3] == pytest.approx(32 * np.log(2), rel=1e-6)
        assert 0 <= z[2] < 1e-9
    # In float64 also the values beside zero, and one at a time.
    assert z[2] == pytest.approx(2.0**-32, rel=1e-6)
    ordered = np.arange(-(2**31), 2**31, 2**20 - 7, dtype=np.int64).astype(np.int32)
    assert np.all(np.diff(np.asarray(laplace(array(ordered.view(np.uint32)), FLOAT64))) > 0)


def test_laplace_is_the_quantile_function() -> None:
    """Over both tails, around zero and between."""
    end = np.arange(2**31 - 4096, 2**31)
    signed = np.concatenate(
        [-end - 1, np.arange(-4096, 4096), end, np.arange(-(2**31), 2**31, 2**15 + 1)]
    )
    u = (signed + 0.5) / 2**32
    exact = -np.sign(u) * np.log1p(-2 * np.abs(u))
    word = array(signed.astype(np.int32).view(np.uint32))
    np.testing.assert_allclose(np.asarray(laplace(word, FLOAT64)), exact, rtol=2e-15, atol=2e-16)
    single = np.asarray(laplace(word, FLOAT32), np.float64)
    allowed = 1.2e-7 * (1 + np.abs(exact))
    assert np.all(np.abs(single - exact) < allowed)
    # The same comparison sees half a step of u in the tail, and a factor of 1.000001.
    shifted = -np.sign(u) * np.log1p(-2 * np.abs(signed / 2**32) * (1 - 2.0**-40))
    assert np.any(np.abs(shifted - exact) > allowed)
    assert np.any(np.abs(1.000001 * exact - exact) > allowed)


@pytest.fixture(scope="module")
def sample() -> list[np.ndarray]:
    made = draws(11, np.arange(COUNT), 3, 1, 1)
    return [np.asarray(word)[0, 0] for word in made.words(0, 1, 1)]


def test_normal_is_the_quantile_function() -> None:
    """All 2²⁴ values."""
    top = np.arange(-(2**23), 2**23)
    exact = np.sqrt(2) * special.erfinv((top + 0.5) / 2**23)
    word = (top * 256).astype(np.int32).view(np.uint32)
    for dtype in (FLOAT32, FLOAT64):
        error = np.asarray(normal(array(word), dtype), np.float64) / exact - 1
        assert np.abs(error).max() < 6e-7
        assert np.median(np.abs(error[4096:-4096])) < 1.2e-7
    # The same comparison sees half a step of t, and a factor of 1.000001.
    shifted = np.sqrt(2) * special.erfinv(top[1:] / 2**23)
    assert np.abs(shifted / exact[1:] - 1).max() > 1e-5
    assert np.abs(1.000001 * (1 + error) - 1).max() > 6e-7


def test_the_logarithm_of_normals_is_as_near_as_it_says() -> None:
    x = np.exp(-np.linspace(0, 24 * np.log(2), 400_001)).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    limit = 2e-7 - 1e-7 * exact
    found = np.asarray(philox._log(jnp.asarray(x)), np.float64)
    assert np.all(np.abs(found - exact) < limit)
    assert np.any(np.abs(1.000001 * found - exact) > limit)


def moment_scores(x: np.ndarray, mean: float, variance: float) -> tuple[float, float]:
    """Distance of the sample's mean and variance from the given ones, in standard errors."""
    squares = (x - mean) ** 2
    root = np.sqrt(len(x))
    return (
        abs(x.mean() - mean) / x.std() * root,
        abs(squares.mean() - variance) / squares.std() * root,
    )


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_distributions(sample, dtype) -> None:
    z = np.asarray(normal(array(sample[2]), dtype), np.float64)
    u = np.asarray(uniform(array(sample[1]), dtype), np.float64)
    for x, mean, variance in [(z, 0.0, 1.0), (u, 0.5, 1 / 12)]:
        assert max(moment_scores(x, mean, variance)) < 5
        assert moment_scores(x, mean + 0.05, variance)[0] > 5
        for factor in (2 / 3, 1.5):
            assert moment_scores(x, mean, variance * factor)[1] > 5
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / COUNT)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    for factor in (2 / 3, 0.95, 1.05, 1.5):
        assert stats.kstest(z * factor, "norm").pvalue < 1e-5
    assert stats.kstest(u**1.05, "uniform").pvalue < 1e-5


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_laplace_distribution(sample, dtype) -> None:
    z = np.asarray(laplace(array(sample[3]), dtype), np.float64)
    assert max(moment_scores(z, 0.0, 2.0)) < 5
    assert moment_scores(z, 0.05, 2.0)[0] > 5
    # |z| is exponential: mean and variance one.
    assert max(moment_scores(np.abs(z), 1.0, 1.0)) < 5
    assert stats.kstest(z, "laplace").pvalue > 1e-3
    for factor in (2 / 3, 1.5):
        assert moment_scores(z, 0.0, 2.0 * factor)[1] > 5
        assert moment_scores(np.abs(z), factor, 1.0)[0] > 5
    for factor in (2 / 3, 0.95, 1.05, 1.5):
        assert stats.kstest(z * factor, "laplace").pvalue < 1e-5


def test_words_runs_times_and_elements_are_uncorrelated(sample) -> None:
    limit = 5 / np.sqrt(COUNT)
    columns = [word / 2**32 for word in sample]
    columns.append(columns[0][::-1])
    columns.append(np.asarray(draws(11, np.arange(COUNT), 4, 1, 1).rounding_word())[0, 0] / 2**32)
    elements = np.asarray(draws(11, np.arange(COUNT), 3, 2, 1).rounding_word())[:, 0] / 2**32
    np.testing.assert_array_equal(elements[0], columns[0])
    columns.append(elements[1])
    correlation = np.corrcoef(columns)[np.triu_indices(len(columns), 1)]
    assert np.abs(correlation).max() < limit
    neighbors = np.corrcoef(columns[0][1:], columns[0][:-1])[0, 1]
    assert abs(neighbors) < limit
    # A mixture with a fiftieth of another column is seen.
    assert abs(np.corrcoef(columns[0], columns[1] + 0.02 * columns[0])[0, 1]) > limit
