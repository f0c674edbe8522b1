"""Counter-based randomness: Philox4x32-10 and what is made from its words.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123).
Every random number of a simulation is a pure function of (seed, run, iteration, element, stream),
so run r is the same run in any batch, block, order or resume.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

import dpe_jax.lattice  # noqa: F401  (turns on 64-bit types)

Words = tuple[
    UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."]
]

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

# Minimax by iterated reweighting of least squares: (log(1 + f) − f)/f² on ±⅓, in absolute error of
# the logarithm; and √2 erf⁻¹(t)/t over √(4 − log(1 − t²)) − _MIDDLE, in relative error.
_LOG = (
    -0.4999983,
    0.33338043,
    -0.2501434,
    0.19784343,
    -0.16307455,
    0.17194317,
    -0.1591859,
)
_MIDDLE = 3.2328448
_NORMAL = (
    3.35908198,
    1.77290798,
    -0.0975285656,
    -0.0110929501,
    0.0498393955,
    -0.0425915197,
    0.0157332331,
    0.00654505221,
    -0.0124839699,
    0.00440046978,
    0.00319824588,
    -0.0023065535,
    -0.000315933246,
    0.00036075695,
)


@jax.jit
def philox4x32(
    counter: tuple[
        UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."]
    ],
    key: tuple[UInt32[Array, "..."], UInt32[Array, "..."]],
) -> Words:
    """Four random 32-bit words for each counter, by ten rounds of Philox4x32.

    The counter's and the key's words broadcast against each other, and the result has their
    common shape; what does not depend on the lanes is therefore computed once.
    """
    return jax.lax.platform_dependent(counter, key, cpu=in_wide_words, default=in_narrow_words)


def in_narrow_words(
    counter: tuple[
        UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."]
    ],
    key: tuple[UInt32[Array, "..."], UInt32[Array, "..."]],
) -> Words:
    """`philox4x32` for machines with a high word of 32-bit products, such as GPUs."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + np.uint32(_WEYL[0]), k1 + np.uint32(_WEYL[1])
    return c0, c1, c2, c3


def in_wide_words(
    counter: tuple[
        UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."], UInt32[Array, "..."]
    ],
    key: tuple[UInt32[Array, "..."], UInt32[Array, "..."]],
) -> Words:
    """`philox4x32` for CPUs, whose vectors multiply the lower halves of 64-bit elements.

    Each word lies in such an element from the first round to the last. What is above it is left as
    it is: the next product masks it, at no cost.
    """
    c0, c1, c2, c3 = (word.astype(jnp.uint64) for word in counter)
    k0, k1 = key
    half, upper = np.uint64(32), np.uint64(0xFFFFFFFF)
    for _ in range(_ROUNDS):
        first = (c0 & upper) * np.uint64(_MULTIPLIERS[0])
        other = (c2 & upper) * np.uint64(_MULTIPLIERS[1])
        c0, c2 = (
            (other >> half) ^ c1 ^ k0.astype(jnp.uint64),
            (first >> half) ^ c3 ^ k1.astype(jnp.uint64),
        )
        c1, c3 = other, first
        k0, k1 = k0 + np.uint32(_WEYL[0]), k1 + np.uint32(_WEYL[1])
    return (
        c0.astype(jnp.uint32),
        c1.astype(jnp.uint32),
        c2.astype(jnp.uint32),
        c3.astype(jnp.uint32),
    )


def _multiply(
    a: UInt32[Array, "..."], factor: int
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """High and low word of the 64-bit product.

    The low word by a 32-bit product of its own: cheaper than to take the 64-bit one apart.
    """
    product = a.astype(jnp.uint64) * np.uint64(factor)
    return (product >> np.uint64(32)).astype(jnp.uint32), a * np.uint32(factor)


def seed_key(seed: int) -> tuple[np.uint32, np.uint32]:
    """The key of a seed: its low and its high 32-bit word."""
    return np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32)


def uniform(word: UInt32[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """U(0, 1) from one word: (w + ½)·2⁻³², rounded to `dtype`.

    In float64 the value is exact and lies strictly inside (0, 1). In float32 it is rounded to the
    nearest representable value, so the topmost 128 words give 1.
    """
    return (word.astype(dtype) + np.asarray(0.5, dtype)) * np.asarray(2.0**-32, dtype)


# Compiled also where it is called alone: products are then fused into sums as in a whole step.
@functools.partial(jax.jit, static_argnums=1)
def normal(word: UInt32[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """N(0, 1) from one word by inversion, √2 erf⁻¹(t), t = (s + ½)·2⁻²³, s the signed top 24 bits.

    24 bits keep t strictly inside (−1, 1) in float32, in which z is evaluated for either `dtype`:
    w = −log(1 − t²), then z/t as one polynomial in √(w + 4) (derived; erf⁻¹ of XLA evaluates two,
    and a logarithm of every argument). The relative error is below 6e-7 for every word
    (`tests/test_philox.py` tries all). The distribution is symmetric; |z| ≤ 5.42.
    """
    top = jax.lax.bitcast_convert_type(word, jnp.int32) >> 8
    t = (top.astype(jnp.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    # Of both factors every bit is right, so that little is lost near |t| = 1.
    w = -_log((1 - t) * (1 + t))
    u = jnp.sqrt(w + np.float32(4)) - np.float32(_MIDDLE)
    return (_polynomial(_NORMAL, u) * t).astype(dtype)


def _log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log x of a normal float32 from 2⁻²⁴ to 1, with an absolute error below 2e-7 − 1e-7 log x."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    # x = 2ᵉ (1 + f), −⅓ ≤ f < ⅓; the exponent in its place, then taken off.
    exponent = (bits - np.int32(0x3F2AAAAB)) & np.int32(-(2**23))
    f = jax.lax.bitcast_convert_type(bits - exponent, jnp.float32) - 1
    e = exponent.astype(jnp.float32) * np.float32(2.0**-23)
    return e * np.float32(np.log(2)) + (f + f * f * _polynomial(_LOG, f))


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Σ_i c_i xⁱ in float32, in pairs: half as deep a chain as Horner's is."""
    terms: list[Any] = [np.float32(c) for c in coefficients]
    while len(terms) > 1:
        pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
        terms = [pair[0] + pair[1] * x if len(pair) == 2 else pair[0] for pair in pairs]
        x = x * x
    return terms[0]


def laplace(word: UInt32[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Laplace noise of scale one from one word by inversion: variance 2, E|z| = 1.

    z = −sign(u) log(1 − 2|u|), u = (s + ½)·2⁻³², s the signed word. With m = 2³¹ − 1 − s, or its
    mirror image for s < 0, 1 − 2|u| = (m + ½)·2⁻³¹: it is made without a subtraction, never 0, and
    exact in float64. The distribution is symmetric; |z| ≤ 32 log 2 = 22.18, which happens for 2 of
    the 2³² words. In float32 z is off by at most 1.2e-7 (1 + |z|), and 0 for about 2⁻²⁵ of them.
    """
    signed = jax.lax.bitcast_convert_type(word, jnp.int32)
    # All bits of s are flipped where s ≥ 0; the lower 31 of them are m.
    flipped = jnp.bitwise_and(signed ^ ~(signed >> 31), np.int32(2**31 - 1))
    t = (flipped.astype(dtype) + np.asarray(0.5, dtype)) * np.asarray(2.0**-31, dtype)
    return jnp.copysign(jnp.log(t), signed.astype(dtype))
