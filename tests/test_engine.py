"""The engine's integers: independent of the batch, conserved, and those of a second program."""

import hashlib
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import reference
from common import (
    DIAGONAL,
    ENCRYPTED,
    FULL,
    GAMMA,
    ITERATIONS,
    NETWORK,
    STEPSIZE,
    finals,
    run,
    traced,
)
from scipy import special

import dpe_jax
from dpe_jax import engine
from dpe_jax.algorithms import CentralizedSGD, ConventionalDSGD, EncryptedDSGD
from dpe_jax.network import Network
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.stepsizes import Gamma, LogNormal, NoMultipliers, Normal, TwoPoint, Uniform
from dpe_jax.tracing import Trace

# Bits


@pytest.mark.parametrize(
    ("problem", "precision"),
    [
        pytest.param(FULL, "float32", id="full-float32"),
        pytest.param(DIAGONAL, "float64", id="diagonal-float64", marks=pytest.mark.slow),
        pytest.param(FULL, "float64", id="full-float64", marks=pytest.mark.slow),
        pytest.param(DIAGONAL, "float32", id="diagonal-float32", marks=pytest.mark.slow),
    ],
)
def test_a_run_is_the_same_in_any_batch_and_block(problem, precision) -> None:
    settings = {"problem": problem, "precision": precision}
    many = run(runs=4096, trace=(0, 6), **settings)
    trace = many.traces["method"]
    assert trace.run.tolist() == [0, 6]
    assert trace.state.shape == (2, ITERATIONS + 1, 5, problem.dim)
    assert trace.increment.shape == (2, ITERATIONS, 5, problem.dim)
    alone = traced(runs=1, trace=(0,), **settings)
    np.testing.assert_array_equal(alone.state[0], trace.state[0])
    np.testing.assert_array_equal(alone.increment[0], trace.increment[0])
    for runs, block in [(7, 1), (500, 33)]:
        other = run(runs=runs, block=block, trace=(0, 6), **settings)
        np.testing.assert_array_equal(other.traces["method"].state, trace.state)
        np.testing.assert_array_equal(other.traces["method"].increment, trace.increment)
        np.testing.assert_array_equal(finals(other), finals(many)[..., :runs])
    untraced = run(runs=4096, block=1000, **settings)
    assert untraced.traces == {}
    np.testing.assert_array_equal(finals(untraced), finals(many))
    # What is compared can differ: other runs and other seeds do.
    assert np.all(trace.state[0, 1:] != trace.state[1, 1:])
    assert np.all(traced(seed=1, trace=(0,), **settings).state[0, 1:] != trace.state[0, 1:])
    assert len(np.unique(finals(many)[0, 0])) == 4096


@pytest.mark.slow
@pytest.mark.parametrize(
    ("multipliers", "precision"),
    [
        *((Uniform(1.5), precision) for precision in ("float32", "float64")),
        *((Gamma(3.0), precision) for precision in ("float32", "float64")),
        *((m, "float32") for m in (LogNormal(0.8), TwoPoint(0.5, 3.0), Normal(0.5))),
        (NoMultipliers(), "float32"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_family_of_multipliers_keeps_the_bits(multipliers, precision) -> None:
    algorithm = EncryptedDSGD(GAMMA, STEPSIZE, multipliers=multipliers)
    many = traced(algorithm, runs=4096, trace=(5,), precision=precision)
    few = traced(algorithm, runs=6, block=1, trace=(5,), precision=precision)
    np.testing.assert_array_equal(few.state, many.state)
    np.testing.assert_array_equal(few.increment, many.increment)


def test_chunks_and_record_points_do_not_change_the_bits(monkeypatch) -> None:
    metrics = ("gap_mean_state", "quantization_error")
    whole = run(runs=20, trace=(3, 17), points=200, metrics=metrics)
    assert whole.curves.iteration.values.tolist() == list(range(ITERATIONS + 1))
    for steps, points, spacing in [(1, 200, "log"), (13, 8, "linear")]:
        monkeypatch.setattr(engine, "_CHUNK_ELEMENT_STEPS", steps * 5 * 2 * 32)
        part = run(runs=20, trace=(3, 17), points=points, spacing=spacing, metrics=metrics)
        for mine, theirs in zip(part.traces["method"], whole.traces["method"], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(finals(part), finals(whole))
        same = whole.curves.sel(iteration=part.curves.iteration)
        for name in metrics:
            np.testing.assert_array_equal(part.curves[name].values, same[name].values)


def test_a_longer_run_begins_as_the_shorter() -> None:
    short, long = (run(iterations=k, trace=(2,)) for k in (300, 500))
    for mine, theirs in zip(short.traces["method"], long.traces["method"], strict=True):
        np.testing.assert_array_equal(mine, theirs[:, : mine.shape[1]] if mine.ndim > 1 else theirs)
    state = short.traces["method"].state[0, -1]
    np.testing.assert_array_equal(finals(short)[..., 2], state * (2.0**-7 / 2**32))
    assert np.any(finals(short) != finals(long))


@pytest.mark.parametrize("points", [2, 3, 10])
@pytest.mark.parametrize("spacing", ["linear", "log"])
def test_all_iterations_are_run(points, spacing) -> None:
    result = run(points=points, spacing=spacing, trace=(0,))
    assert result.curves.iteration.values[-1] == ITERATIONS
    assert result.traces["method"].increment.shape[1] == ITERATIONS


def test_precision_matters_to_the_bits_and_hardly_to_the_state() -> None:
    single, double = (run(runs=50, precision=p, trace=(0,)) for p in ("float32", "float64"))
    assert np.any(single.traces["method"].state != double.traces["method"].state)
    close = np.abs(finals(single) - finals(double)) < 1e-4
    # One level apart in one message is enough for a visible difference; few runs see that.
    assert close.mean() > 0.9


DIGEST = """
import hashlib
from dpe_jax.algorithms import CentralizedSGD, ConventionalDSGD, EncryptedDSGD
from dpe_jax.network import Network
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.study import simulate
import jax
result = simulate(
    EncryptedDSGD(PowerLaw(0.5, 0.6), PowerLaw(0.5, 0.9)),
    Quadratic.random(5, 2, seed=1, noise=0.3),
    Network.from_edges([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2), (1, 3)]),
    runs=300, iterations=60, points=2, metrics=(), trace=(0, 6, 299),
)
state = result.traces["EncryptedDSGD"].state
print(jax.device_count(), hashlib.sha256(state.astype("<i8").tobytes()).hexdigest())
"""


def test_another_process_with_eight_devices_computes_the_same_integers() -> None:
    root = str(Path(dpe_jax.__file__).parents[1])
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": root,
    }
    done = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
    )
    state = traced(runs=300, trace=(0, 6, 299)).state
    expected = hashlib.sha256(state.astype("<i8").tobytes()).hexdigest()
    assert done.stdout.split() == ["8", expected]


# The reference in Python integers


def coupling_of(network: Network) -> list[tuple[int, int, int]]:
    return [(i, j, int(network.coupling[i, j])) for i, j in network.edges]


def gains_of(algorithm: EncryptedDSGD, network: Network, iterations: int) -> list[int]:
    return algorithm.table(network, np.arange(iterations)).gain.tolist()


def replay(trace: Trace, lane: int, algorithm: EncryptedDSGD, network: Network, seed: int):
    iterations = trace.increment.shape[1]
    return reference.replay(
        trace.state[lane, 0].tolist(),
        trace.increment[lane].tolist(),
        gains_of(algorithm, network, iterations),
        coupling_of(network),
        seed,
        int(trace.run[lane]),
        algorithm.rounding,
    )


def odd_matrix() -> np.ndarray:
    """Weights c_ij / 997 on a random graph."""
    rng = np.random.default_rng(5)
    levels = np.triu(rng.integers(1, 240, (6, 6)) * (rng.random((6, 6)) < 0.6), 1)
    levels[np.arange(5), np.arange(1, 6)] = 100
    return (levels + levels.T) / 997


CASES = [
    (Network.ring(5), 2.0**-7, "stochastic", 1),
    (Network.star(6), 0.01, "stochastic", 3),
    (Network.from_matrix(odd_matrix()), 0.35, "stochastic", 2),
    (Network.from_matrix(odd_matrix()), 0.35, "nearest", 2),
    (Network.erdos_renyi(9, 0.4, seed=3), 1e-4, "stochastic", 2),
    pytest.param(Network.ring(40), 3.0, "stochastic", 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    ("network", "delta", "rounding", "dim"), CASES, ids=lambda v: getattr(v, "name", str(v))
)
@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
def test_the_reference_reproduces_every_integer(network, delta, rounding, dim) -> None:
    problem = Quadratic.random(network.agents, dim, seed=4, noise=0.3)
    algorithm = EncryptedDSGD(GAMMA, STEPSIZE, delta=delta, rounding=rounding)
    x0 = np.random.default_rng(6).normal(size=(network.agents, dim))
    seed = 2**40 + 9
    trace = traced(
        algorithm, problem, network, runs=50, block=20, trace=(0, 19, 41), seed=seed, x0=x0
    )
    assert trace.run.tolist() == [0, 19, 41]
    for lane in range(3):
        found = replay(trace, lane, algorithm, network, seed)
        assert trace.state[lane].tolist() == found.Y
        exact = [[round(Fraction(x) * 2**32 / Fraction(delta)) for x in row] for row in x0]
        assert np.abs(np.array(exact) - trace.state[lane, 0]).max() <= 1
        for v in found.v:
            assert [sum(column) for column in zip(*v, strict=True)] == [0] * dim
        assert any(v != found.v[0] for v in found.v)


def first_mismatch(Y: list, state: np.ndarray) -> tuple[int, ...] | None:
    """(iteration, agent, coordinate) of the first integer that differs."""
    different = np.argwhere(np.array(Y) != state)
    return tuple(int(index) for index in different[0]) if len(different) else None


def test_the_comparison_notices_a_single_unit() -> None:
    trace = traced(trace=(0, 6))
    gains, coupling = gains_of(ENCRYPTED, NETWORK, ITERATIONS), coupling_of(NETWORK)
    Y0, U = trace.state[1, 0].tolist(), trace.increment[1].tolist()
    state = trace.state[1]

    def mismatch(Y0=Y0, U=U, gains=gains, coupling=coupling, seed=0, number=6, rule="stochastic"):
        return first_mismatch(reference.replay(Y0, U, gains, coupling, seed, number, rule).Y, state)

    assert mismatch() is None
    changed = [[list(row) for row in grid] for grid in U]
    changed[20][3][1] += 1
    assert mismatch(U=changed) == (21, 3, 1)
    started = [list(row) for row in Y0]
    started[4][0] -= 1
    assert mismatch(Y0=started) == (0, 4, 0)
    wrong_gain = list(gains)
    wrong_gain[30] += 1
    # All agents start at zero, an exact level: Y first differs where levels do.
    assert (mismatch(gains=wrong_gain) or (0,))[0] == 31
    assert (mismatch(coupling=coupling[1:]) or (0,))[0] == 2
    # x_0 = 0 needs no rounding, so the first word that matters is that of time 1.
    for other in (mismatch(seed=1), mismatch(number=5), mismatch(rule="nearest")):
        assert other is not None
        assert other[0] in (2, 3)


def test_the_comparison_notices_one_wrong_rounding_word(monkeypatch) -> None:
    trace = traced(trace=(6,))
    honest = reference.words

    def flipped(seed, run, time, element, stream=reference.STATE):
        first, *rest = honest(seed, run, time, element, stream)
        return (first ^ 2**31 if (time, element) == (25, 7) else first, *rest)

    monkeypatch.setattr(reference, "words", flipped)
    found = replay(trace, 0, ENCRYPTED, NETWORK, 0)
    # Half a level more or less changes this level, of agent 3 and coordinate 1, at k = 25 ...
    mismatch = first_mismatch(found.Y, trace.state[0])
    assert mismatch is not None
    # ... and with it the next state of its neighbors and its own.
    assert mismatch[0] == 26
    assert mismatch[2] == 1
    different = np.array(found.Y[26]) != trace.state[0, 26]
    assert set(np.flatnonzero(different[:, 1])) == {3, *NETWORK.neighbors(3)}
    assert not different[:, 0].any()


def test_increments_are_those_of_a_numpy_gradient() -> None:
    """U = 2³²/δ · λ̄^k m (A (x − b) + σ z), with the words of time k + 1."""
    trace = traced(trace=(6,), precision="float64")
    delta = 2.0**-7

    def increment(k: int, time: int) -> np.ndarray:
        w = np.array(
            [[reference.words(0, 6, time, 2 * i + c) for c in range(2)] for i in range(5)], object
        )
        m = 2 * (w[..., 1].astype(float) + 0.5) / 2**32
        signed = np.where(w[..., 2] >= 2**31, w[..., 2] - 2**32, w[..., 2]).astype(int)
        z = np.sqrt(2) * special.erfinv(((signed >> 8) + 0.5) / 2**23)
        x = trace.state[0, k] * (delta / 2**32)
        g = np.einsum("ide,ie->id", FULL.A, x - FULL.b) + 0.3 * z
        return 2**32 / delta * 0.5 * (k + 1) ** -0.9 * m * g

    for k in (0, 1, 17, ITERATIONS - 1):
        tolerance = 2**32 / delta * 0.5 * (k + 1) ** -0.9 * 1e-5
        found = trace.increment[0, k]
        assert np.abs(found - increment(k, k + 1)).max() < tolerance
        assert np.abs(found - increment(k, k)).max() > tolerance


# Conservation


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
def test_the_sum_of_the_states_is_conserved_exactly(rounding) -> None:
    algorithm = EncryptedDSGD(PowerLaw(0.9, 0.6), STEPSIZE, delta=0.3, rounding=rounding)
    x0 = np.random.default_rng(0).normal(size=(5, 3)) * 100
    trace = traced(algorithm, DIAGONAL, trace=(0, 3, 6), x0=x0, iterations=200)
    for Y, U in zip(trace.state.tolist(), trace.increment.tolist(), strict=True):
        for coordinate in range(3):
            total = sum(row[coordinate] for row in Y[0])
            for k in range(200):
                total -= sum(row[coordinate] for row in U[k])
                assert sum(row[coordinate] for row in Y[k + 1]) == total
    # The exchange did move the single states.
    assert np.any(np.diff(trace.state, axis=1) != -trace.increment)


@pytest.mark.parametrize("method", [ConventionalDSGD(STEPSIZE), CentralizedSGD(STEPSIZE)], ids=repr)
def test_floating_point_methods_have_the_same_bits_in_any_block(method) -> None:
    whole = finals(run(method, runs=300))
    for runs, block in [(300, 33), (7, 7), (1, 1)]:
        assert np.array_equal(finals(run(method, runs=runs, block=block)), whole[..., :runs])
