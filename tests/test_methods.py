"""One contract for all methods: arrays, bits, compilation, convergence, failures, configuration."""

import dataclasses
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tomli_w
from common import FULL, NETWORK, finals, run
from test_simulation import compilations

from dpe_jax import philox
from dpe_jax.algorithms import (
    Algorithm,
    Budget,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    Step,
    TailoredDP,
    TernaryDSGD,
    Wire,
)
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.factors import CoordinateFactors, LinkFactors
from dpe_jax.network import Network
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.results import config_hash, manifest, read_config, resolved_toml
from dpe_jax.schedules import PowerGrowth, PowerLaw

GAMMA, STEPSIZE = PowerLaw(1.0, 0.6), PowerLaw(0.6, 0.85)
METHODS: dict[str, Algorithm] = {
    "encrypted": EncryptedDSGD(GAMMA, STEPSIZE),
    "encrypted-link": EncryptedDSGD(GAMMA, STEPSIZE, factors=LinkFactors(1, 3)),
    "encrypted-coordinate": EncryptedDSGD(GAMMA, STEPSIZE, factors=CoordinateFactors(1, 3)),
    "conventional": ConventionalDSGD(STEPSIZE),
    "centralized": CentralizedSGD(STEPSIZE),
    "ternary": TernaryDSGD(STEPSIZE, GAMMA, 8.0),
    "function-sharing": FunctionSharing(STEPSIZE, 1.5),
    "state-sharing": RandomizedStateSharing(STEPSIZE, 1.5),
    "geometric": GeometricDP(0.3, 0.8, 0.2, 0.9, 50.0, 4.0),
    "tailored": TailoredDP(STEPSIZE, GAMMA, PowerGrowth(0.2, 0.02), 4.0),
}
TABLES = {
    "encrypted": {"method": "EncryptedDSGD"},
    "encrypted-link": {
        "method": "EncryptedDSGD",
        "factors": {"kind": "link", "low": 1, "high": 3},
    },
    "encrypted-coordinate": {
        "method": "EncryptedDSGD",
        "factors": {"kind": "coordinate", "low": 1, "high": 3},
    },
    "conventional": {"method": "ConventionalDSGD"},
    "centralized": {"method": "CentralizedSGD"},
    "ternary": {"method": "TernaryDSGD", "range": 8.0},
    "function-sharing": {"method": "FunctionSharing", "scale": 1.5},
    "state-sharing": {"method": "RandomizedStateSharing", "scale": 1.5},
    "geometric": {
        "method": "GeometricDP",
        **{"c": 0.3, "q": 0.8, "M": 0.2, "p": 0.9, "radius": 50.0, "gradient_bound": 4.0},
    },
    "tailored": {
        "method": "TailoredDP",
        "noise": {"scale": 0.2, "exponent": 0.02},
        "gradient_bound": 4.0,
    },
}
SCHEDULES = {
    "gamma": {"scale": 1.0, "exponent": 0.6},
    "stepsize": {"scale": 0.6, "exponent": 0.85},
}
LATTICE = [name for name, method in METHODS.items() if isinstance(method, EncryptedDSGD)]
PRIVATE = ["geometric", "tailored"]

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
# The other factors take the same path through the program.
SLOWER = {"encrypted-link": pytest.mark.slow}
NAMES = [pytest.param(name, marks=SLOWER.get(name, ())) for name in METHODS]
every_method = pytest.mark.parametrize("name", NAMES)


def draws(time: int, lanes: int, problem=FULL, seed: int = 0) -> Draws:
    low, high = philox.seed_key(seed)
    run = jnp.arange(lanes, dtype=jnp.uint32)
    key = (jnp.uint32(low), jnp.uint32(high))
    return Draws(key, run, jnp.uint32(time), problem.agents, problem.dim)


@eqx.filter_jit
def start(algorithm: Algorithm, x0, exchange, draws):
    return algorithm.init(x0, exchange, draws)


@eqx.filter_jit
def step(algorithm: Algorithm, state, problem, exchange, draws, row):
    return algorithm.step(state, problem, exchange, draws, row)


def row_of(algorithm: Algorithm, network: Network, k: int):
    table = algorithm.table(network, np.arange(k, k + 1))
    return jax.tree.map(lambda column: jnp.asarray(column[0]), table)


# What a step is made of


@every_method
def test_shapes_types_and_what_a_step_says(name: str) -> None:
    method, exchange, lanes, problem = METHODS[name], Exchange.of(NETWORK), 16, FULL
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    state = start(method, x0, exchange, draws(0, lanes))
    shape = (5, 2, lanes)
    delta = getattr(method, "delta", None)
    unit = 1.0 if delta is None else delta / 2.0**32
    expected = np.asarray(x0) if name != "centralized" else np.mean(x0, 0) * np.ones((5, 1))
    position = np.asarray(method.position(state))
    np.testing.assert_allclose(position, expected[..., None] * np.ones(lanes), rtol=1e-8)
    for k in range(3):
        before = position
        following, seen = step(
            method, state, problem, exchange, draws(k + 1, lanes), row_of(method, NETWORK, k)
        )
        # A loop carries the state: its structure and types must not change.
        assert jax.tree.structure(following) == jax.tree.structure(state)
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(following), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype)
        state, position = following, np.asarray(method.position(following))
        assert position.shape == shape
        assert position.dtype == np.float64
        assert isinstance(seen, Step)
        for field in dataclasses.fields(seen):
            value = getattr(seen, field.name)
            assert value.shape == shape, field.name
            assert np.all(np.isfinite(value)), field.name
            integer = name in LATTICE and field.name in ("message", "sums", "mixing", "increment")
            assert (value.dtype == np.int64) == integer, field.name
        np.testing.assert_array_equal(np.asarray(seen.position), before)
        # What a step says adds up to what it does.
        made = before + unit * (np.asarray(seen.mixing) - np.asarray(seen.increment))
        np.testing.assert_allclose(position, made, rtol=0, atol=1e-12)
        assert np.any(position != before)
    status = method.status(state)
    assert status.dtype == np.int8
    assert status.tolist() == [0] * lanes
    assert (method.integer_state(state) is not None) == (name in LATTICE)


@every_method
def test_what_a_method_says_of_itself(name: str) -> None:
    method = METHODS[name]
    described = method.describe()
    assert described["method"] == type(method).__name__
    json.dumps(described, allow_nan=False)
    wire, budget = method.wire(), method.budget(NETWORK, 2, 40)
    assert isinstance(wire, Wire)
    assert wire.readable == (name not in (*LATTICE, "centralized"))
    assert (budget is not None) == (name in PRIVATE)
    if budget is not None:
        assert isinstance(budget, Budget)
        assert budget.epsilon.shape == (40,)
        assert budget.total == pytest.approx(sum(budget.epsilon.tolist()), rel=1e-12)
        json.dumps(budget.describe(), allow_nan=False)
    exponent = method.predicted_exponent()
    assert exponent is None or 0 < exponent < 1
    conditions = method.conditions(NETWORK)
    assert len({condition.name for condition in conditions}) == len(conditions) >= 2
    assert all(condition.holds for condition in conditions) == (name != "geometric")


def test_only_a_private_message_is_not_the_state() -> None:
    """What `wire` calls x is x, and what it calls something else is not."""
    exchange, x0 = Exchange.of(NETWORK), jnp.asarray(np.full((5, 2), 0.7))
    for name, method in METHODS.items():
        state = start(method, x0, exchange, draws(0, 16))
        _, seen = step(method, state, FULL, exchange, draws(1, 16), row_of(method, NETWORK, 0))
        plain = np.array_equal(np.asarray(seen.message), np.asarray(seen.position))
        assert plain == (method.wire().message in ("x_i^k", "nothing")), name


# Bits and compilation


@every_method
def test_bits_depend_on_seed_and_run_alone_and_one_program_serves_all(name: str, caplog) -> None:
    # Settings that no other test uses, so that a program is compiled.
    problem = Quadratic.random(5, 2, seed=1, noise=0.31)

    def call(runs: int, iterations: int = 20, **settings: Any) -> np.ndarray:
        settings |= {"runs": runs, "iterations": iterations}
        return finals(run(METHODS[name], problem, NETWORK, **settings))

    whole = call(100)
    assert np.all(np.isfinite(whole))
    assert len(np.unique(whole[0, 0])) == 100
    found = []
    assert compilations(caplog, lambda: found.append(call(100, block=16))) >= 1
    for settings in [{}, {"seed": 1}, {"x0": np.ones(2)}, {"iterations": 25}]:
        assert compilations(caplog, lambda s=settings: found.append(call(7, **s))) == 0
    blocks, few, *others = found
    np.testing.assert_array_equal(blocks, whole)
    np.testing.assert_array_equal(few, whole[..., :7])
    assert all(np.any(other != few, axis=(0, 1)).all() for other in others)
    np.testing.assert_array_equal(call(1, block=1), whole[..., :1])


def test_all_methods_see_the_same_gradient_noise() -> None:
    """Increments at the same x differ by what is the method's own: none of it is noise."""
    exchange, lanes, k = Exchange.of(NETWORK), 16, 3
    x = np.full((5, 2), 0.25)
    now = draws(k + 1, lanes)
    g = np.asarray(FULL.gradient(jnp.broadcast_to(x[..., None], (5, 2, lanes)), now))
    for name in ("conventional", "ternary", "tailored", "function-sharing", "centralized"):
        method, row = METHODS[name], row_of(METHODS[name], NETWORK, k)
        state = start(method, jnp.asarray(x), exchange, draws(0, lanes))
        seen = step(method, state, FULL, exchange, now, row)[1]
        expected = g
        if name == "function-sharing":
            expected = g + np.asarray(state.mask)
        if name == "centralized":
            expected = np.broadcast_to(g.mean(0), g.shape)
        found = np.asarray(seen.increment) / np.asarray(row.stepsize)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        other = step(method, state, FULL, exchange, draws(k + 2, lanes), row)[1]
        assert np.all(np.asarray(other.increment) != np.asarray(seen.increment))


# Convergence

ALIKE = Quadratic(
    np.broadcast_to(np.array([[1.0, 0.3], [0.3, 0.8]]), (5, 2, 2)).copy(),
    np.random.default_rng(4).normal(size=(5, 2)) + np.array([1.0, -0.7]),
    0.5,
)
"""Equal curvature, unlike minimizers: E x̄ does not depend on how far the agents disagree."""
LENGTH, SAMPLE = 4000, 400


def standard_errors(result, point: np.ndarray) -> np.ndarray:
    """Distance of the mean over runs of x̄ from a point, in standard errors, coordinatewise."""
    mean_state = finals(result).mean(axis=0)
    error = mean_state.std(axis=-1, ddof=1) / np.sqrt(mean_state.shape[-1])
    return np.abs(mean_state.mean(axis=-1) - point) / error


def convergence(method: Algorithm, **settings):
    chosen = {"runs": SAMPLE, "iterations": LENGTH, "points": 80, "precision": "float64"}
    metrics = ("error_worst_agent",)
    return run(method, ALIKE, metrics=metrics, **(chosen | settings))


def fall(result) -> float:
    """Mean error of the worst agent at the end, relative to that near k = LENGTH/64."""
    curve = result.curves["error_worst_agent"].isel(algorithm=0).mean("run")
    return float(curve.values[-1] / curve.sel(iteration=LENGTH // 64, method="nearest").values)


@pytest.mark.parametrize("name", [param for param in NAMES if param.values != ("geometric",)])
def test_exact_methods_reach_the_optimum(name: str) -> None:
    result = convergence(METHODS[name])
    optimum = np.asarray(ALIKE.solve().x)
    assert np.all(np.abs(optimum) > 0.1)
    assert np.all(standard_errors(result, optimum) < 5)
    for factor in (2 / 3, 1.5):
        assert np.all(standard_errors(result, factor * optimum) > 5)
    # λ/γ ~ k^−¼ and √λ ~ k^−0.43 fall to 0.35 and 0.17 over a factor of 64.
    assert fall(result) < 0.5
    assert np.all(result.curves.status.values == 0)


def test_the_same_measure_sees_that_the_error_stays() -> None:
    stalled = convergence(EncryptedDSGD(PowerLaw(1.0, 0.85), STEPSIZE))
    assert fall(stalled) > 0.8
    assert np.all(standard_errors(stalled, np.asarray(ALIKE.solve().x)) < 5)


def test_geometric_dp_stops_short_by_the_product_of_its_contractions() -> None:
    """E x̄ − x* = Π_k (I − c q^k A) (x_0 − x*), and a variance that noise leaves behind."""
    method = METHODS["geometric"]
    assert isinstance(method, GeometricDP)
    result = convergence(method, runs=4000, iterations=200)
    optimum = np.asarray(ALIKE.solve().x)
    A = ALIKE.A[0]
    bias, covariance = -optimum, np.zeros((2, 2))
    for k in range(200):
        contraction = np.eye(2) - method.c * method.q**k * A
        noise = 2 * (method.M * method.p**k) ** 2 / 5
        gradient = (method.c * method.q**k * ALIKE.noise) ** 2 / 5
        covariance = contraction @ (covariance + noise * np.eye(2)) @ contraction.T
        covariance += gradient * np.eye(2)
        bias = contraction @ bias
    assert np.all(standard_errors(result, optimum) > 5)
    assert np.all(standard_errors(result, optimum + bias) < 5)
    for factor in (2 / 3, 1.5):
        assert np.all(standard_errors(result, optimum + factor * bias) > 5)
    squares = (finals(result).mean(axis=0) - (optimum + bias)[:, None]) ** 2
    error = squares.std(axis=-1) / np.sqrt(4000)
    assert np.all(np.abs(squares.mean(axis=-1) - np.diag(covariance)) < 5 * error)
    for factor in (2 / 3, 1.5):
        assert np.all(np.abs(squares.mean(axis=-1) - factor * np.diag(covariance)) > 5 * error)


def test_nearest_rounding_on_a_coarse_grid_keeps_the_agents_apart() -> None:
    """Agents of one level exchange nothing, so their own minimizers pull them apart."""
    settings = {"runs": 200}
    stochastic = convergence(EncryptedDSGD(GAMMA, STEPSIZE, delta=2.0), **settings)
    nearest = convergence(EncryptedDSGD(GAMMA, STEPSIZE, delta=2.0, rounding="nearest"), **settings)
    ends = [
        result.curves["error_worst_agent"].values[0, -1].astype(np.float64)
        for result in (stochastic, nearest)
    ]
    error = np.hypot(*(end.std() / np.sqrt(200) for end in ends))
    assert ends[1].mean() - ends[0].mean() > 20 * error
    assert fall(nearest) > 0.8
    assert fall(stochastic) < 0.8


def test_noise_moves_the_mean_of_tailored_dp_as_its_exponent_says() -> None:
    """S⁺ = (I − λA) S (I − λA)ᵀ + 2 (γν)² Σ_j w̄_j²/n² + (λσ)²/n, S the covariance of x̄."""
    method = TailoredDP(STEPSIZE, GAMMA, PowerGrowth(1.0, 0.05), 4.0)
    k = np.arange(10**5)
    stepsize, gamma, noise = (schedule.values(k) for schedule in (STEPSIZE, GAMMA, method.noise))
    row_sums = -np.diag(NETWORK.weights)
    for length, eigenvalue, expected in [
        (1000, np.linalg.eigvalsh(ALIKE.A[0]), None),
        (10**5, np.array([1.0]), method.predicted_exponent()),
    ]:
        variance, curve = np.zeros(len(eigenvalue)), []
        added = 2 * (gamma * noise) ** 2 * (row_sums**2).sum() / 25 + (stepsize * 0.5) ** 2 / 5
        for factor, term in zip(stepsize[:length].tolist(), added[:length].tolist(), strict=True):
            variance = (1 - factor * eigenvalue) ** 2 * variance + term
            curve.append(variance)
        if expected is not None:
            slope = np.log10(curve[-1][0] / curve[len(curve) // 10][0]) / -2
            assert abs(slope - expected) < 0.01
            assert min(abs(slope - expected * 2 / 3), abs(slope - expected * 1.5)) > 0.01
            continue
        result = convergence(method, runs=4000, iterations=length, points=2)
        mean_state = finals(result).mean(axis=0)
        squares = ((mean_state - mean_state.mean(-1, keepdims=True)) ** 2).sum(axis=0)
        error = squares.std() / np.sqrt(4000)
        assert abs(squares.mean() - variance.sum()) < 5 * error
        for wrong in (2 / 3, 1.5):
            assert abs(squares.mean() - wrong * variance.sum()) > 5 * error


def test_predicted_exponents_are_the_slowest_part() -> None:
    a, b, slow = PowerLaw(1.0, 0.6), PowerLaw(1.0, 0.9), PowerLaw(1.0, 0.95)
    assert TernaryDSGD(b, a, 1.0).predicted_exponent() == pytest.approx(0.3)
    assert TernaryDSGD(slow, PowerLaw(1.0, 0.4), 1.0).predicted_exponent() == pytest.approx(0.2)
    assert TernaryDSGD(a, b, 1.0).predicted_exponent() is None
    assert TailoredDP(b, a, 0.1, 1.0).predicted_exponent() == pytest.approx(0.15)
    grown = TailoredDP(b, PowerLaw(1.0, 0.8), PowerGrowth(0.1, 0.2), 1.0)
    assert grown.predicted_exponent() == pytest.approx(0.1)
    assert TailoredDP(b, a, PowerGrowth(0.1, 0.2), 1.0).predicted_exponent() is None


# Failures


class Faulty(Problem):
    """A quadratic to whose gradient of one run, agent and coordinate a value is added."""

    inner: Quadratic
    run: jax.Array
    value: jax.Array
    dtype: jnp.dtype = eqx.field(static=True, kw_only=True, default=jnp.dtype("float64"))

    @property
    def agents(self) -> int:
        return self.inner.agents

    @property
    def dim(self) -> int:
        return self.inner.dim

    @property
    def start(self) -> np.ndarray:
        return self.inner.start

    @property
    def has_optimum(self) -> bool:
        return True

    @property
    def held_out(self) -> None:
        return None

    def gradient(self, x: jax.Array, draws: Draws) -> jax.Array:
        hit = (draws.run == self.run) & (draws.time == 13)
        fault = jnp.where(hit, self.value, 0.0).astype(x.dtype)
        return self.inner.gradient(x, draws).at[2, 1].add(fault)

    def objective(self, x: jax.Array) -> jax.Array:
        return self.inner.objective(x)

    def excess(self, x: jax.Array, optimum: Optimum) -> jax.Array:
        return self.inner.excess(x, optimum)

    def solve(self) -> Optimum:
        return self.inner.solve()

    def describe(self) -> dict[str, Any]:
        return {}

    def with_dtype(self, dtype: jnp.dtype) -> "Faulty":
        inner = self.inner.with_dtype(dtype)
        return Faulty(inner, self.run, self.value, dtype=jnp.dtype(dtype))


@every_method
def test_a_lane_that_fails_fails_alone(name: str) -> None:
    """The value takes one element of one lane away at time 13; 20 iterations follow."""

    def call(number: int, value: float):
        problem = Faulty(FULL, jnp.uint32(number), jnp.float64(value))
        return run(METHODS[name], problem, iterations=33)

    calm = finals(call(99, 0.0))
    others = np.arange(7) != 3
    bounded = name == "ternary" or name in LATTICE
    for value, expected in [(np.nan, 2), (np.inf, 2), (-np.inf, 2), (1e18, 1 if bounded else 0)]:
        result = call(3, value)
        status = np.where(others, 0, expected)
        assert result.curves.status.values[0].tolist() == status.tolist(), value
        np.testing.assert_array_equal(finals(result)[..., others], calm[..., others])
        assert np.all(np.isnan(finals(result)[..., 3])) == (expected > 0)
        assert np.any(finals(result)[..., 3] != calm[..., 3])


STEEP = Quadratic(FULL.A * 1e9, FULL.b, 0.31)


@pytest.mark.parametrize("name", [param for param in NAMES if param.values != ("geometric",)])
def test_a_stepsize_that_diverges_gives_every_lane_a_status(name: str) -> None:
    result = run(METHODS[name], STEEP, iterations=100)
    expected = 1 if name == "ternary" or name in LATTICE else 2
    assert result.curves.status.values[0].tolist() == [expected] * 7
    assert np.all(result.curves.failed_at.values[0] == 100)
    assert np.all(np.isnan(finals(result)))


def test_a_state_beyond_the_ternary_range_stops_its_own_lane() -> None:
    """The optimum lies inside; noise takes some runs out."""
    method = TernaryDSGD(STEPSIZE, GAMMA, 2.0)
    noisy = Quadratic(FULL.A, FULL.b / 4, 1.0)
    curves = run(
        method, noisy, runs=300, iterations=200, points=50, metrics=("error_worst_agent",)
    ).curves
    status = curves.status.values[0]
    assert set(status.tolist()) == {0, 1}
    error, failed = curves["error_worst_agent"].values[0], curves.failed_at.values[0]
    after = curves.iteration.values[:, None] >= failed
    np.testing.assert_array_equal(np.isnan(error), after & (failed >= 0))
    assert np.abs(curves.final_state.values[0][..., status == 0]).max() <= 2.0


def test_a_projected_method_cannot_diverge() -> None:
    method = GeometricDP(1e6, 0.8, 0.2, 0.9, 3.0, 4.0)
    final = finals(run(method, iterations=10))
    assert np.abs(final).max() == 3.0


# Configuration


@every_method
def test_a_table_of_toml_makes_the_method(name: str, tmp_path) -> None:
    kind = type(METHODS[name])
    fields = {field.name for field in dataclasses.fields(kind)}
    given = {key: value for key, value in SCHEDULES.items() if key in fields}
    changes = {"methods": {name: TABLES[name] | given}}
    path = tmp_path / "one.toml"
    path.write_text(tomli_w.dumps(small.tables(changes)), encoding="utf-8")
    config = read_config(path)
    simulation = config.build()
    made = simulation.algorithms[name]
    assert type(made) is kind
    assert made.describe() == METHODS[name].describe()
    assert eqx.tree_equal(made, METHODS[name])
    path.write_text(resolved_toml(config), encoding="utf-8")
    assert config_hash(read_config(path)) == config_hash(config)
    written = manifest(config, simulation, simulation.problem.solve())
    assert written["wire"][name]["message"] == made.wire().message
    assert (written["budget"][name] is not None) == (name in PRIVATE)
    if name in PRIVATE:
        budget = made.budget(simulation.network, 2, simulation.iterations)
        assert budget is not None
        assert written["budget"][name]["total"] == budget.total
