"""The private increments of traced runs, computed a second time without JAX.

U^k = 2³²/δ · λ̄^k mean_i m g_i(x^k), in float64 NumPy, with a Philox, normals, multipliers and
gradients of its own, from the recorded states Y^k. What a replay of the integers takes as given,
the recorded U, is thereby checked as well: not to the bit, since the program's U went through its
floating point, but to the last places of it. Only the data of a problem are taken from it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64, UInt32

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.problems import EmpiricalRisk, Problem, Quadratic, SensorEstimation
from dpe_jax.problems.diabetes import squared_loss
from dpe_jax.problems.logistic import logistic_loss
from dpe_jax.stepsizes import (
    Gamma,
    LogNormal,
    Multipliers,
    NoMultipliers,
    Normal,
    TwoPoint,
    Uniform,
)

_STATE, _MINIBATCH, _MEASUREMENT = 0, 1, 2
"""Streams of random words."""

_VALUES_AT_ONCE = 2**22
"""Numbers in one temporary array: 32 MiB."""

_Values = Float64[np.ndarray, "iterations agents dim"]
_WordGrid = UInt32[np.ndarray, "iterations rows columns"]


@dataclasses.dataclass(frozen=True)
class Segment:
    """Iterations `first`, `first` + 1, … of one traced run, as they were recorded."""

    run: int
    first: int
    state: Int64[np.ndarray, "iterations agents dim"]
    """Y^k."""
    increment: Int64[np.ndarray, "iterations agents dim"]
    """U^k."""
    scale: Float64[np.ndarray, " iterations"]
    """λ̄^k · 2³²/δ."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far recorded increments U are from recomputed ones U64."""

    precision: str
    """That of the program's gradients."""
    increments: int
    """How many were compared."""
    largest_ulp: float
    """The largest |U − U64| in units of the last place; see `compare`."""
    where: tuple[int, int, int, int] | None
    """Run, iteration, agent and coordinate of that one; None if none was compared."""
    median_ulp: float
    largest_relative: float
    """The largest |U − U64| / max |U64|, the maximum over that agent's coordinates in that
    iteration: cancellation within one coordinate does not count for much here."""


def unsupported(problem: Problem, algorithm: EncryptedDSGD) -> str | None:
    """Why nothing is recomputed for these, or None if it is.

    Quadratics, sensor estimation, logistic and linear regression are known here, with every
    distribution of multipliers of the package; digits and a user's own loss, problem or
    distribution are not.
    """
    if type(problem) not in (Quadratic, SensorEstimation, EmpiricalRisk):
        return f"no NumPy gradient is known for the problem {type(problem).__name__}"
    if isinstance(problem, EmpiricalRisk) and problem.loss not in (logistic_loss, squared_loss):
        name = getattr(problem.loss, "__name__", repr(problem.loss))
        return f"no NumPy gradient is known for the loss {name}"
    family = type(algorithm.multipliers)
    if family not in (Uniform, LogNormal, Gamma, TwoPoint, Normal, NoMultipliers):
        return f"no NumPy form is known of the multipliers {family.__name__}"
    return None


def recompute(
    problem: Problem,
    algorithm: EncryptedDSGD,
    run: int,
    first: int,
    state: Int64[np.ndarray, "iterations agents dim"],
    scale: Float64[np.ndarray, " iterations"],
    seed: int,
) -> Float64[np.ndarray, "iterations agents dim"] | None:
    """U64^k = scale^k mean_i m g_i(Y^k δ/2³²) in float64, before it is rounded to an integer.

    `state` holds Y^k of the iterations k = first, first + 1, … of one run, all of them sound, and
    `scale` their λ̄^k·2³²/δ. `problem` is the one that was simulated, in float64. None where
    `unsupported` gives a reason.
    """
    if unsupported(problem, algorithm) is not None:
        return None
    at_once = max(1, _VALUES_AT_ONCE // _values_an_iteration(problem))
    pieces = [
        _recompute(
            problem,
            algorithm,
            _Words(run, first + start, len(state[start : start + at_once]), seed),
            state[start : start + at_once],
            scale[start : start + at_once],
        )
        for start in range(0, len(state), at_once)
    ]
    return np.concatenate([np.empty((0, *state.shape[1:])), *pieces])


def compare(
    problem: Problem,
    algorithm: EncryptedDSGD,
    segments: Sequence[Segment],
    seed: int,
    precision: str,
) -> Difference | None:
    """Recompute the increments of all segments and compare; None where `unsupported`.

    The unit of one increment is max(1, spacing of |U64| in `precision`): one lattice unit, or one
    unit in the last place of the program's floating point where that is coarser. In that unit the
    difference is made of:

    - Rounding to an integer: up to ½. Where the program's gradients are in float64 and nothing is
      made from a normal, that is all (while 2³²/δ · Λ g stays far below 2⁵³).
    - Cancellation. Errors are as large as the terms of g that produced them, the unit as small as
      their sum U64: a coordinate that happens to be near zero may be thousands of units off. In
      float32 the terms carry rounded data, noise and x = Y δ/2³² (24 bits of it, where here x has
      all), and sums of float32. Hence a median and a relative difference beside the largest.
    - Normals. The program evaluates them in float32 in either precision, to a relative 1e-7 in the
      median over all words and 6e-7 at worst; here they are exact. Where gradients have normal
      noise, or multipliers are made from normals, float64 is therefore hardly closer than float32:
      its unit, one of the lattice, is finer, and large increments are thousands of units off.
    - Gamma multipliers. The program's quantile is a polynomial, within 1e-5 of max(1, quantile);
      here it is exact.

    Increments that cannot be compared (NaN) count as infinitely far away.
    """
    if unsupported(problem, algorithm) is not None:
        return None
    ulps, relative = [np.empty(0)], [0.0]
    for part in segments:
        exact = recompute(problem, algorithm, part.run, part.first, part.state, part.scale, seed)
        assert exact is not None  # supported
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.abs(part.increment - exact)
            ulps.append(_nan_is_far(distance / _unit(exact, precision)).ravel())
            largest = np.abs(exact).max(axis=2, keepdims=True)
            shares = np.where(distance == 0, 0.0, distance / largest)
        relative.append(float(_nan_is_far(shares).max(initial=0.0)))
    everything = np.concatenate(ulps)
    if everything.size == 0:
        return Difference(precision, 0, 0.0, None, 0.0, 0.0)
    worst = int(np.argmax(everything))
    return Difference(
        precision,
        everything.size,
        float(everything[worst]),
        _place(segments, worst),
        float(np.median(everything)),
        max(relative),
    )


def _unit(exact: _Values, precision: str) -> _Values:
    """max(1, spacing of |U64|); beyond the lattice's range the spacing at its edge."""
    size = np.minimum(np.abs(exact), 2.0**61).astype(np.dtype(precision))
    return np.maximum(1.0, np.spacing(size).astype(np.float64))


def _nan_is_far(values: _Values) -> _Values:
    return np.where(np.isnan(values), np.inf, values)


def _place(segments: Sequence[Segment], position: int) -> tuple[int, int, int, int]:
    """Run, iteration, agent and coordinate of one of all increments."""
    for part in segments:
        if position < part.increment.size:
            k, agent, coordinate = np.unravel_index(position, part.increment.shape)
            return part.run, part.first + int(k), int(agent), int(coordinate)
        position -= part.increment.size
    raise IndexError(position)


class _Words:
    """Philox4x32-10 (Salmon et al., SC 2011) at the times of the updates of some iterations.

    The update of iteration k draws at time k + 1.
    """

    def __init__(self, run: int, first: int, iterations: int, seed: int) -> None:
        self._key = seed & 0xFFFFFFFF, seed >> 32
        self._run = run
        self._time = np.arange(first + 1, first + 1 + iterations, dtype=np.uint64)

    def __call__(
        self, stream: int, rows: int, columns: int
    ) -> tuple[_WordGrid, _WordGrid, _WordGrid, _WordGrid]:
        """The four words of elements row·columns + column of a stream, at each time."""
        low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
        shape = len(self._time), rows, columns
        element = np.arange(rows * columns, dtype=np.uint64).reshape(rows, columns)
        c0 = np.full(shape, self._run, np.uint64)
        c1 = np.broadcast_to(self._time[:, None, None], shape)
        c2 = np.broadcast_to(element, shape)
        c3 = np.full(shape, stream, np.uint64)
        for step in range(10):
            k0 = np.uint64((self._key[0] + step * 0x9E3779B9) & 0xFFFFFFFF)
            k1 = np.uint64((self._key[1] + step * 0xBB67AE85) & 0xFFFFFFFF)
            one, two = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
            c0, c1 = (two >> shift) ^ c1 ^ k0, two & low
            c2, c3 = (one >> shift) ^ c3 ^ k1, one & low
        w0, w1, w2, w3 = (word.astype(np.uint32) for word in (c0, c1, c2, c3))
        return w0, w1, w2, w3


def _recompute(
    problem: Problem,
    algorithm: EncryptedDSGD,
    words: _Words,
    state: Int64[np.ndarray, "iterations agents dim"],
    scale: Float64[np.ndarray, " iterations"],
) -> _Values:
    agents, dim = state.shape[1:]
    x = state * (algorithm.delta / 2.0**32)
    _, stepsize_word, noise_word, _ = words(_STATE, agents, dim)
    means = np.ones(agents) if algorithm.means is None else np.array(algorithm.means)
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(problem, Quadratic):
            g = _quadratic(problem, x, noise_word)
        elif isinstance(problem, SensorEstimation):
            g = _sensors(problem, x, words)
        else:
            assert isinstance(problem, EmpiricalRisk)  # supported
            g = _regression(problem, x, words)
        m = _multipliers(algorithm.multipliers, stepsize_word)
        return scale[:, None, None] * means[:, None] * m * g


def _values_an_iteration(problem: Problem) -> int:
    """Numbers that one iteration needs in the largest temporary array."""
    if isinstance(problem, EmpiricalRisk):
        samples = int(np.max(np.asarray(problem.sizes)))
        own = samples if problem.batch is None else problem.batch * problem.dim
        return max(problem.agents * problem.dim, own)
    if isinstance(problem, SensorEstimation):
        return problem.agents * max(problem.dim, problem.rows)
    return problem.agents * problem.dim


def _normal(word: UInt32[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """√2 erf⁻¹((s + ½)·2⁻²³), s the signed top 24 bits."""
    from scipy.special import erfinv

    top = word.view(np.int32) >> 8
    return np.sqrt(2.0) * erfinv((top + 0.5) * 2.0**-23)


def _multipliers(
    family: Multipliers, word: UInt32[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """One multiplier for each word."""
    from scipy.special import gammainccinv, gammaincinv, ndtr

    if isinstance(family, Uniform):
        u = (word + 0.5) * 2.0**-32
        return 1 + float(family.half_width) * (2 * u - 1)
    if isinstance(family, TwoPoint):
        low, high = float(family.low), float(family.high)
        # Of 2³² words those below this many are `high`; at least one is `low`.
        count = min(np.rint((1 - low) / (high - low) * 2.0**32), 2.0**32 - 1)
        return np.where(word < count, high, low)
    if isinstance(family, LogNormal):
        sigma = float(family.sigma)
        return np.exp(sigma * _normal(word) - sigma**2 / 2)
    if isinstance(family, Normal):
        return 1 + float(family.sigma) * _normal(word)
    if isinstance(family, Gamma):
        shape, z = float(family.shape), _normal(word)
        # Each tail from its own side.
        lower, upper = gammaincinv(shape, ndtr(z)), gammainccinv(shape, ndtr(-z))
        return np.where(z < 0, lower, upper) / shape
    return np.ones(word.shape)


def _quadratic(problem: Quadratic, x: _Values, word: _WordGrid) -> _Values:
    """A_i (x − b_i) + σ z."""
    A, b = np.asarray(problem.A, np.float64), np.asarray(problem.b, np.float64)
    exact = np.einsum("ide,kie->kid", A, x - b)
    return exact + float(problem.noise) * _normal(word) if problem.noise else exact


def _sensors(problem: SensorEstimation, x: _Values, words: _Words) -> _Values:
    """2 M_iᵀ(M_i θ − z̄_i − s ε) + 2 ω_i θ."""
    M, z = np.asarray(problem.M, np.float64), np.asarray(problem.z, np.float64)
    omega = np.asarray(problem.omega, np.float64)
    residual = np.einsum("ird,kid->kir", M, x) - z
    if problem.noise:
        word = words(_MEASUREMENT, problem.agents, problem.rows)[0]
        residual -= float(problem.noise) * _normal(word)
    return 2 * np.einsum("ird,kir->kid", M, residual) + 2 * omega[:, None] * x


def _regression(problem: EmpiricalRisk, x: _Values, words: _Words) -> _Values:
    """−ρ_i times the mean of a · pull(xᵀa, y) over samples (a, y), plus penalty · x."""
    features, labels = (np.asarray(leaf, np.float64) for leaf in problem.data)
    sizes = np.asarray(problem.sizes)
    shares = sizes * problem.agents / sizes.sum()
    ends = np.cumsum(sizes)
    slots = 0 if problem.batch is None else problem.batch
    groups = -(-slots // 4)
    # Words [iteration, agent, slot]: the four words of an element are four slots.
    drawn = np.stack(words(_MINIBATCH, problem.agents, groups), axis=-1)
    drawn = drawn.reshape(len(x), problem.agents, 4 * groups)[..., :slots].astype(np.uint64)
    g = np.empty_like(x)
    for i, (size, end) in enumerate(zip(sizes.tolist(), ends.tolist(), strict=True)):
        a, y = features[end - size : end], labels[end - size : end]
        if problem.batch is None:
            pull = _pull(problem, x[:, i] @ a.T, y)
            mean = pull @ a / size
        else:
            rows = ((drawn[:, i] * np.uint64(size)) >> np.uint64(32)).astype(np.int64)
            a, y = a[rows], y[rows]
            pull = _pull(problem, np.einsum("ksd,kd->ks", a, x[:, i]), y)
            mean = np.einsum("ks,ksd->kd", pull, a) / slots
        weight = shares[i] if problem.weighting == "samples" else 1.0
        g[:, i] = problem.penalty * x[:, i] - weight * mean
    return g


def _pull(
    problem: EmpiricalRisk,
    predicted: Float64[np.ndarray, "iterations samples"],
    y: Float64[np.ndarray, "*iterations samples"],
) -> Float64[np.ndarray, "iterations samples"]:
    """−∂loss/∂xᵀa: y − xᵀa for squares, y / (1 + exp(y xᵀa)) for the logistic loss."""
    from scipy.special import expit

    if problem.loss is squared_loss:
        return y - predicted
    return y * expit(-y * predicted)
