"""Encrypted DSGD as a loop that Numba compiles, over all processors: the fastest we could write.

The update is that of `competitors`. Runs go through time in blocks, as many at a time as Numba has
threads, with all iterations of a block inside the loop; the state is float64. Every run has a
generator of its own, xoroshiro128++ (Blackman and Vigna, "Scrambled linear pseudorandom number
generators", 2021), seeded by SplitMix64 from the seed and the run's number: a run is the same in
any batch, but other than with a counter-based generator none of its iterations can be drawn without
those before it.
Three 64-bit words serve two elements: two roundings, two multipliers, and two normals by Box and
Muller in float32. The inner loops are over lanes and free of branches, so LLVM vectorises them.
"""

from typing import no_type_check

import numba
import numpy as np

from dpe_jax.bench.competitors import Study

_BLOCK = 512
"""Runs in a block: with 128 it took 1.6 times the time, with 1024 as much."""

_LOOSE = {"contract", "nsz", "arcp"}
_TO_UNIT = 2.0**-32
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1.0), np.float32(2.0)
_UNIT, _TURN = np.float32(2.0**-32), np.float32(np.pi * 2.0**-32)
_LN2 = np.float32(np.log(2.0))

# `no_type_check`: whoever decorates all functions of the package must leave these to Numba.


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _mixed(z):
    """SplitMix64's output function."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _fill(s0, s1, words):
    """The next 64-bit word of each generator."""
    for i in range(_BLOCK):
        a, b = s0[i], s1[i]
        total = a + b
        words[i] = ((total << np.uint64(17)) | (total >> np.uint64(47))) + a
        b ^= a
        s0[i] = ((a << np.uint64(49)) | (a >> np.uint64(15))) ^ b ^ (b << np.uint64(21))
        s1[i] = (b << np.uint64(28)) | (b >> np.uint64(36))


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _rounded(words, step, x, per_level, level, multiplier):
    """⌊x/δ + u⌋ with the upper half of each word, and a multiplier with the lower half."""
    for i in range(_BLOCK):
        u = np.float64(np.uint32(words[i] >> np.uint64(32))) * _TO_UNIT
        level[i] = np.floor(x[i] * per_level + u)
        multiplier[i] = step * np.float64(np.uint32(words[i]))


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _log(u):
    """ln u in float32 for u in (0, 1] (Cephes' logf): u = 2^e m, m in [√½, √2)."""
    bits = np.float32(u).view(np.int32)
    e = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    f = np.int32(bits - np.int32(e << np.int32(23))).view(np.float32) - _ONE
    p = np.float32(7.0376836292e-2)
    p = p * f + np.float32(-1.1514610310e-1)
    p = p * f + np.float32(1.1676998740e-1)
    p = p * f + np.float32(-1.2420140846e-1)
    p = p * f + np.float32(1.4249322787e-1)
    p = p * f + np.float32(-1.6668057665e-1)
    p = p * f + np.float32(2.0000714765e-1)
    p = p * f + np.float32(-2.4999993993e-1)
    p = p * f + np.float32(3.3333331174e-1)
    square = f * f
    return np.float32(e) * _LN2 + (p * square * f - _HALF * square + f)


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _normals(words, sigma, even, odd):
    """σ times two standard normals a word: √(−2 ln u) times cos θ and sin θ, by series in θ/2."""
    for i in range(_BLOCK):
        word = words[i]
        u = (np.float32(np.uint32(word >> np.uint64(32))) + _HALF) * _UNIT
        radius = np.sqrt(-_TWO * _log(u))
        h = np.float32(np.int32(np.uint32(word))) * _TURN
        t = h * h
        s = np.float32(-2.5052108e-8)
        s = s * t + np.float32(2.7557319e-6)
        s = s * t + np.float32(-1.9841270e-4)
        s = s * t + np.float32(8.3333333e-3)
        s = s * t + np.float32(-1.6666667e-1)
        s = h + h * t * s
        c = np.float32(2.0876757e-9)
        c = c * t + np.float32(-2.7557319e-7)
        c = c * t + np.float32(2.4801587e-5)
        c = c * t + np.float32(-1.3888889e-3)
        c = c * t + np.float32(4.1666667e-2)
        c = c * t + np.float32(-0.5)
        c = _ONE + t * c
        even[i] = sigma * np.float64(radius * (_ONE - _TWO * s * s))
        odd[i] = sigma * np.float64(radius * (_TWO * s * c))


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _pull(a, x, target, pull):
    for i in range(_BLOCK):
        pull[i] += a * (x[i] - target)


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _less(x, multiplier, pull):
    for i in range(_BLOCK):
        x[i] -= multiplier[i] * pull[i]


@numba.njit(fastmath=_LOOSE)
@no_type_check
def _mix(x, weight, level):
    for i in range(_BLOCK):
        x[i] += weight * level[i]


@numba.njit(parallel=True, fastmath=_LOOSE, error_model="numpy")
@no_type_check
def _simulate(A, b, sigma, W, delta, gamma, lambda_bar, x0, seed, out):
    agents, dim = x0.shape
    runs = out.shape[2]
    size = agents * dim
    rows = size + size % 2
    for piece in numba.prange((runs + _BLOCK - 1) // _BLOCK):
        first = piece * _BLOCK
        width = min(_BLOCK, runs - first)
        s0, s1 = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.uint64)
        words = np.empty(_BLOCK, np.uint64)
        for lane in range(_BLOCK):
            run = np.uint64(first + lane)
            start = _mixed(np.uint64(seed)) + run * np.uint64(0xD1342543DE82EF95)
            s0[lane] = _mixed(start + np.uint64(0x9E3779B97F4A7C15))
            s1[lane] = _mixed(start + np.uint64(0x3C6EF372FE94F82A))
        x = np.zeros((rows, _BLOCK))
        for e in range(size):
            x[e, :] = x0[e // dim, e % dim]
        level, pull = np.empty((rows, _BLOCK)), np.empty((rows, _BLOCK))
        multiplier = np.empty((rows, _BLOCK))
        for k in range(gamma.size):
            step = 2.0 * lambda_bar[k] * _TO_UNIT
            for e in range(rows):
                _fill(s0, s1, words)
                _rounded(words, step, x[e], 1.0 / delta, level[e], multiplier[e])
            for e in range(0, rows, 2):
                _fill(s0, s1, words)
                _normals(words, sigma, pull[e], pull[e + 1])
            for i in range(agents):
                for c in range(dim):
                    for d in range(dim):
                        _pull(A[i, c, d], x[i * dim + d], b[i, d], pull[i * dim + c])
            for e in range(size):
                _less(x[e], multiplier[e], pull[e])
            for i in range(agents):
                for j in range(agents):
                    if W[i, j] != 0.0:
                        for c in range(dim):
                            _mix(x[i * dim + c], gamma[k] * delta * W[i, j], level[j * dim + c])
        for e in range(size):
            for lane in range(width):
                out[e // dim, e % dim, first + lane] = x[e, lane]


def numba_runs(study: Study, runs: int, seed: int) -> np.ndarray:
    """The update as a compiled loop, on as many threads as Numba has; `[agents, dim, runs]`."""
    out = np.empty((*study.x0.shape, runs))
    A, b, W, x0, gamma, lambda_bar = (
        np.ascontiguousarray(array, np.float64)
        for array in (study.A, study.b, study.W, study.x0, study.gamma, study.lambda_bar)
    )
    sigma, delta = float(study.sigma), float(study.delta)
    _simulate(A, b, sigma, W, delta, gamma, lambda_bar, x0, seed, out)
    return out
