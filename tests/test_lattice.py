"""Fixed point against Python integers; record points and chunks; the bound on the exchange."""

import inspect
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
import reference

from dpe_jax import lattice, timeline
from dpe_jax.bounds import quantization_bound
from dpe_jax.errors import InputError
from dpe_jax.timeline import plan, record_points

ONE = 2**32
EDGES = [0, 1, -1, ONE - 1, ONE, -ONE, -ONE - 1, ONE // 2, -(ONE // 2), 2**60, -(2**60), 2**60 - 1]
FRACTIONS = [0, 1, 2, ONE // 3, ONE // 2 - 1, ONE // 2, ONE // 2 + 1, ONE - 2, ONE - 1]


def states(count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(1)
    drawn = rng.integers(-(2**60), 2**60, count) >> rng.integers(0, 60, count)
    return np.concatenate([np.array(EDGES), drawn])


def words(count: int) -> np.ndarray:
    drawn = np.random.default_rng(2).integers(0, ONE, count, dtype=np.uint32)
    drawn[:4] = [0, 1, ONE // 2, ONE - 1]
    return drawn


def rounded(Y: np.ndarray, word: np.ndarray) -> np.ndarray:
    bit = lattice.rounding_bit(jnp.asarray(Y), jnp.asarray(word))
    assert set(np.unique(np.asarray(bit))) <= {0, 1}
    same, q = lattice.unpack(lattice.pack(jnp.asarray(Y), bit))
    np.testing.assert_array_equal(np.asarray(same), Y)
    return np.asarray(q)


def test_pack_and_unpack_are_inverse_and_round_as_python_does() -> None:
    Y = np.repeat(states(), 2)
    word = words(len(Y))
    q = rounded(Y, word)
    expected = [(y + r) // ONE for y, r in zip(Y.tolist(), word.tolist(), strict=True)]
    assert q.tolist() == expected
    wrong = [(y + r + 2**20) // ONE for y, r in zip(Y.tolist(), word.tolist(), strict=True)]
    assert q.tolist() != wrong


def test_every_state_against_every_edge_word() -> None:
    for r in (0, 1, ONE // 2 - 1, ONE // 2, ONE - 1):
        Y = states(200)
        q = rounded(Y, np.full(len(Y), r, np.uint32))
        assert q.tolist() == [(y + r) // ONE for y in Y.tolist()]


def test_nearest_rounding_is_the_constant_word() -> None:
    Y = states()
    bit = lattice.rounding_bit(jnp.asarray(Y), np.uint32(2**31))
    q = np.asarray(lattice.unpack(lattice.pack(jnp.asarray(Y), bit))[1]).tolist()
    assert q == [(2 * y + ONE) // (2 * ONE) for y in Y.tolist()]
    half = Fraction(1, 2)
    errors = [level - Fraction(y, ONE) for level, y in zip(q, Y.tolist(), strict=True)]
    assert max(errors) == half
    assert min(errors) > -half


@pytest.mark.parametrize("base", [0, 5 * ONE, -7 * ONE])
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_rounding_is_unbiased_to_the_last_bit(base: int, fraction: int) -> None:
    """Of the 2³² words exactly `fraction` round up, hence E q = Y/2³² exactly."""
    threshold = ONE - fraction
    near = {threshold + step for step in (-2, -1, 0, 1)} | {0, ONE - 1}
    word = np.array(sorted(r for r in near if 0 <= r < ONE), np.uint32)
    word = np.sort(np.concatenate([word, words(1000)]))
    bit = rounded(np.full(len(word), base + fraction), word) - base // ONE
    # The bit steps once, at the threshold: the words from there on are `fraction` many.
    np.testing.assert_array_equal(bit, word >= np.uint64(threshold))


def rounding_errors(fraction: float, count: int = 40_000) -> np.ndarray:
    """e/δ of many roundings of one state, with the generator's own words."""
    word = np.array([reference.words(3, run, 0, 0)[0] for run in range(count)], np.uint32)
    Y = np.full(count, int(fraction * ONE) - 3 * ONE)
    e = lattice.quantization_error(jnp.asarray(Y), jnp.asarray(rounded(Y, word)), 1.0)
    return np.asarray(e)


def test_rounding_variance() -> None:
    for fraction in (0.5, 0.2, 0.9):
        e = rounding_errors(fraction)
        count = len(e)
        exact = fraction * (1 - fraction)
        assert abs(e.mean()) < 5 * np.sqrt(exact / count)
        assert abs(e.mean() + 0.02) > 5 * np.sqrt(exact / count)
        # (e² has two values: f² with probability 1 − f, and (1 − f)² with probability f.)
        error = max(abs(1 - 2 * fraction) * np.sqrt(exact / count), 1e-6)
        assert abs((e**2).mean() - exact) < 5 * error
        for factor in (2 / 3, 1.5):
            assert abs((e**2).mean() - factor * exact) > 5 * error
        assert (e**2).mean() <= 0.25 + 5 * error


def test_conversion_from_and_to_floats() -> None:
    x = np.concatenate([np.random.default_rng(3).normal(size=500) * 10, [0.0, -0.0, 1e-12]])
    for delta in (2.0**-7, 0.01, 0.35, 3.0):
        Y = np.asarray(lattice.from_float(jnp.asarray(x), delta)).tolist()
        for value, integer in zip(x.tolist(), Y, strict=True):
            exact = Fraction(value) * ONE / Fraction(delta)
            assert abs(integer - exact) <= Fraction(1, 2) + abs(exact) * Fraction(2, 2**53)
        back = np.asarray(lattice.to_float(jnp.asarray(Y), delta, jnp.dtype("float64")))
        assert np.abs(back - x).max() < 0.51 * delta / ONE + 1e-14
        single = lattice.to_float(jnp.asarray(Y), delta, jnp.dtype("float32"))
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(single), x, rtol=3e-7, atol=1e-11)


def test_quantization_error_is_taken_in_integers() -> None:
    Y = np.array([2**60 - 1, -(2**60) + 1, 3 * ONE + 7])
    q = np.array([2**28, -(2**28), 3])
    e = np.asarray(lattice.quantization_error(jnp.asarray(Y), jnp.asarray(q), 2.0**32))
    assert e.tolist() == [1.0, -1.0, -7.0]


def test_gain_is_the_rounded_product() -> None:
    gamma = np.array([1.0, 0.5, 1 / 3, 1e-9, 0.0, 2.7])
    for D in (1, 3, 6, 60, 997, 2**16, 2**31):
        found = lattice.gain(gamma, D)
        assert found.dtype == np.int64
        for value, integer in zip(gamma.tolist(), found.tolist(), strict=True):
            exact = Fraction(value) * ONE / D
            assert abs(integer - exact) <= Fraction(1, 2) + exact * Fraction(2, 2**53)


def after(P, Y, increment, word=0):
    """`advance` of one lane with one element."""
    cube = [jnp.asarray(np.asarray(v).reshape(1, 1, 1)) for v in (P, Y, increment)]
    return lattice.advance(cube[0], cube[1], jnp.full((1, 1, 1), word, jnp.uint32), cube[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_failures_have_their_status(dtype) -> None:
    limit = 2**60
    sound = [(0, 0.0), (limit, 0.0), (-limit, 0.0), (5, float(limit)), (5, -float(limit))]
    left = [(limit + 1, 0.0), (-limit - 1, 0.0), (5, 1.001 * limit), (5, -1.001 * limit)]
    left += [(5, 1e30), (2**63 - 1, 0.0)]
    broken = [(5, np.nan), (5, np.inf), (5, -np.inf), (limit + 1, np.nan)]
    for cases, status in [(sound, lattice.OK), (left, 1), (broken, 2)]:
        for Y, increment in cases:
            packed = after(0, Y, dtype(increment))
            assert int(lattice.lane_status(packed)[0]) == status, (Y, increment)
            if status == lattice.OK:
                assert int(lattice.unpack(packed)[0][0, 0, 0]) == Y
            # It stays so, whatever comes next, and a sound one can fail later.
            following = after(packed, 17, dtype(0.0))
            assert int(lattice.lane_status(following)[0]) == status
            if status != lattice.OK:
                assert int(following[0, 0, 0]) == int(packed[0, 0, 0])
                assert int(after(packed, 17, dtype(np.nan))[0, 0, 0]) == int(packed[0, 0, 0])
    assert lattice.STATUS_NAMES == ("ok", "left the range", "non-finite")


def test_lane_status_looks_at_every_element_of_its_lane_only() -> None:
    agents, dim, width = 3, 2, 8
    P = np.full((agents, dim, width), 10, np.int64)
    P[2, 1, 3] = int(after(0, 2**60 + 1, 0.0)[0, 0, 0])
    P[0, 0, 5] = int(after(0, 0, np.nan)[0, 0, 0])
    P[1, 1, 6] = P[2, 1, 3]
    P[0, 1, 6] = P[0, 0, 5]
    assert np.asarray(lattice.lane_status(jnp.asarray(P))).tolist() == [0, 0, 0, 1, 0, 2, 2, 0]


def test_headroom() -> None:
    for row_sum in (0.4, 1.0, 9.0):
        lattice.check_headroom(2.999 / row_sum, row_sum)
        with pytest.raises(InputError, match=f"^gamma = .*below {3 / row_sum:.6g}"):
            lattice.check_headroom(3.0 / row_sum, row_sum)
    with pytest.raises(InputError, match=r"^gamma = nan"):
        lattice.check_headroom(float("nan"), 1.0)


@pytest.mark.parametrize("weights", [[1], [3, 5], [2**16, 1, 7]])
def test_headroom_is_what_integers_need(weights: list[int]) -> None:
    """The worst update that is let through stays below 2⁶³; without the check it need not."""
    D = max(weights)
    q = lattice.STATE_LIMIT // ONE  # the highest level, reached by rounding up as well
    v = 2 * q * sum(weights)
    for factor, fits in [(2.999, True), (3.1, False)]:
        gain = int(lattice.gain(np.array([factor * D / sum(weights)]), D)[0])
        assert (lattice.STATE_LIMIT + gain * v + lattice.INCREMENT_LIMIT < 2**63) == fits
    # A signed plaintext of that many bits holds the sum, and one bit less does not.
    bits = lattice.plaintext_bits(sum(weights))
    assert v < 2 ** (bits - 1)
    assert v >= 2 ** (bits - 2)


SETTINGS = [
    (iterations, points, spacing, limit)
    for iterations in (1, 2, 3, 17, 300, 5000)
    for points in (2, 3, 20, 200)
    for spacing in ("linear", "log")
    for limit in (1, 2, 7, 64, 10**6)
    if iterations // limit <= 1000
]


@pytest.mark.parametrize(("iterations", "points", "spacing", "limit"), SETTINGS)
def test_plan_covers_every_iteration_once(iterations, points, spacing, limit) -> None:
    record = record_points(iterations, points, spacing)
    assert record[0] == 0
    assert record[-1] == iterations
    assert np.all(np.diff(record) > 0)
    assert len(record) <= max(points, 2)
    if points > iterations:
        assert record.tolist() == list(range(iterations + 1))
    if spacing == "linear" and points <= iterations:
        assert len(record) == points
        assert np.ptp(np.diff(record)) <= 1
    chunks = plan(record, limit)
    visited, kept = [], []
    for chunk in chunks:
        assert len(chunk.start) == len(chunk.length) == len(chunk.keep) == len(chunks[0].start)
        assert len(chunk.start) <= timeline._SEGMENTS
        assert chunk.iterations <= limit
        assert chunk.first == chunk.start[0] == len(visited)
        for start, length, keep in zip(*chunk, strict=True):
            if keep:
                kept.append(int(start))
                assert start == len(visited)
            visited.extend(range(int(start), int(start) + int(length)))
    assert visited == list(range(iterations))
    assert kept == record.tolist()


def test_log_points_are_geometric() -> None:
    record = record_points(10**6, 13, "log")
    assert record.tolist() == [0, *np.rint(10 ** (6 * np.arange(12) / 11)).astype(int)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 5, "log"), "iterations"),
        ((2**32 - 1, 5, "log"), "iterations"),
        ((10, 1, "log"), "points"),
        ((10, 5, "cubic"), "spacing"),
    ],
)
def test_record_points_refuse(arguments, named) -> None:
    with pytest.raises(InputError, match=f"^{named} = "):
        inspect.unwrap(record_points)(*arguments)  # past the check of annotations in tests


def test_quantization_bound_is_the_article_s_table() -> None:
    table = {2: 5e-5, 3: 2e-4, 4: 4.5e-4, 5: 8e-4, 6: 1.25e-3, 8: 2.45e-3, 10: 4.05e-3}
    for agents, value in table.items():
        assert quantization_bound(agents, 1, 0.01) == pytest.approx(value, rel=1e-12)
        assert quantization_bound(agents, 3, 0.02) == pytest.approx(12 * value, rel=1e-12)
    # The article's entry for ten agents is a misprint of ours.
    assert quantization_bound(10, 1, 0.01) != pytest.approx(0.0004, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((0, 1, 0.1), "agents"), ((2, 0, 0.1), "dim"), ((2, 1, 0.0), "delta")]
    + [((2, 1, value), "delta") for value in (-1.0, float("nan"), float("inf"))],
)
def test_quantization_bound_refuses(arguments, named) -> None:
    with pytest.raises(InputError, match=f"^{named} = "):
        quantization_bound(*arguments)
