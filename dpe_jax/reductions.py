"""Statistics over the runs of each configuration, computed where the runs are.

What leaves the device is a few numbers for each configuration and record point instead of one for
each run. A run that has failed (NaN) is left out from then on, and counted.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int64, UInt32

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Which quantiles a summary has."""

FRACTIONS = (0.5, 0.1, 0.01, 0.001)
"""Of a run's own value at k = 0: how many runs lie above these."""

_ORDERED = np.uint32(0x80000000)


class Moments(NamedTuple):
    """Statistics of one metric: over the sound runs of each configuration, at each record point."""

    sound: Int64[Array, "points configurations"] | Int64[np.ndarray, "points configurations"]
    mean: Float[Array, "points configurations"] | Float[np.ndarray, "points configurations"]
    squares: Float[Array, "points configurations"] | Float[np.ndarray, "points configurations"]
    """Σ (value − mean)² over the runs."""
    quantile: (
        Float[Array, "points configurations quantiles"]
        | Float[np.ndarray, "points configurations quantiles"]
    )
    """By linear interpolation between order statistics, as `numpy.quantile`."""
    exceedance: (
        Int64[Array, "points configurations fractions"]
        | Int64[np.ndarray, "points configurations fractions"]
    )
    """How many sound runs are above each fraction of their own value at k = 0."""


@functools.partial(jax.jit, static_argnums=2)
def reduce(
    values: Float[Array, "points lanes"],
    start: Float[Array, " lanes"],
    shape: tuple[int, int],
) -> Moments:
    """Statistics of each configuration; the first configurations · runs lanes are looked at.

    `shape` is (configurations, runs), and NaN stands for a run that is not sound. Means and
    variances are in float64; quantiles are exact: each is found by bisection on the order of the
    32 bits of its value, which takes 32 passes over the values and sorts nothing.
    """
    used = shape[0] * shape[1]
    x = values[:, :used].reshape(-1, *shape)
    first = start[:used].reshape(shape)
    sound = ~jnp.isnan(x)
    count = jnp.sum(sound, axis=-1)
    x64 = x.astype(jnp.float64)
    mean = jnp.sum(jnp.where(sound, x64, 0.0), axis=-1) / count
    squares = jnp.sum(jnp.where(sound, (x64 - mean[..., None]) ** 2, 0.0), axis=-1)
    above = [jnp.sum(sound & (x64 > f * first), axis=-1) for f in FRACTIONS]
    quantiles = [_quantile(x, sound, count, q) for q in QUANTILES]
    return Moments(
        count.astype(jnp.int64),
        mean,
        squares,
        jnp.stack(quantiles, axis=-1),
        jnp.stack(above, axis=-1).astype(jnp.int64),
    )


def _quantile(
    x: Float[Array, "points configurations runs"],
    sound: Bool[Array, "points configurations runs"],
    count: Int64[Array, "points configurations"],
    q: float,
) -> Float[Array, "points configurations"]:
    """The q-quantile of the sound values, NaN where there are none."""
    place = q * (count - 1).astype(jnp.float64)
    rank = jnp.maximum(jnp.floor(place), 0).astype(count.dtype)
    keys = _ordered(x)
    low = _ranked(keys, sound, rank)
    # The next order statistic is the same value again, or the least one above it.
    at_most = jnp.sum(sound & (keys <= low[..., None]), axis=-1)
    higher = sound & (keys > low[..., None])
    following = jnp.min(jnp.where(higher, keys, np.uint32(2**32 - 1)), axis=-1)
    high = jnp.where((at_most >= rank + 2) | ~jnp.any(higher, axis=-1), low, following)
    below, above = (_value(key).astype(jnp.float64) for key in (low, high))
    weight = place - rank
    # An infinite value times a weight of zero would be NaN.
    between = jnp.where(weight > 0, below + weight * (above - below), below)
    return jnp.where(count > 0, jnp.where(below == above, below, between), jnp.nan)


def _ordered(x: Float[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """Unsigned integers in the order of the values."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    return jnp.where(bits >= _ORDERED, ~bits, bits | _ORDERED)


def _value(key: UInt32[Array, "*shape"]) -> Float[Array, "*shape"]:
    bits = jnp.where(key >= _ORDERED, key ^ _ORDERED, ~key)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _ranked(
    keys: UInt32[Array, "points configurations runs"],
    sound: Bool[Array, "points configurations runs"],
    rank: Int64[Array, "points configurations"],
) -> UInt32[Array, "points configurations"]:
    """The sound key with `rank` others below it: its bits, from the highest to the lowest."""

    def bit(i: Array, found: UInt32[Array, "points configurations"]):
        tried = found | (np.uint32(1) << (31 - i).astype(jnp.uint32))
        below = jnp.sum(sound & (keys < tried[..., None]), axis=-1)
        return jnp.where(below <= rank, tried, found)

    return jax.lax.fori_loop(0, 32, bit, jnp.zeros(rank.shape, jnp.uint32))


def merged(parts: Sequence[Moments]) -> Moments:
    """Statistics of several blocks of runs as those of all of them.

    Counts, means and squares are those of the union (Chan, Golub & LeVeque 1979). Quantiles are the
    means of the blocks' own, weighted by their runs: exact for one block only, and biased by about
    1/(runs of a block) of the distribution's width.
    """
    if len(parts) == 1:
        return parts[0]
    count = np.sum([part.sound for part in parts], axis=0)
    weights = np.stack([np.asarray(part.sound, np.float64) for part in parts])
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = weights / count
        mean = _weighted(shares, [part.mean for part in parts])
        quantile = _weighted(shares[..., None], [part.quantile for part in parts])
    squares = np.sum([part.squares for part in parts], axis=0)
    for part in parts:
        offset = np.where(part.sound > 0, np.asarray(part.mean) - mean, 0.0)
        squares = squares + part.sound * offset**2
    exceedance = np.sum([part.exceedance for part in parts], axis=0)
    return Moments(count, mean, squares, quantile, exceedance)


def _weighted(shares: np.ndarray, values: Sequence[Array | np.ndarray]) -> np.ndarray:
    """Σ shares · values, leaving out what has no share; NaN where nothing has one."""
    terms = [
        np.where(share > 0, share * np.asarray(value), 0.0)
        for share, value in zip(shares, values, strict=True)
    ]
    return np.where(np.isnan(shares).all(axis=0), np.nan, np.sum(terms, axis=0))
