"""The baselines against a second program in NumPy, and what each of them promises."""

import functools
import json
import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from common import FULL, NETWORK
from scipy import special, stats
from test_methods import draws, row_of, start, step

from dpe_jax.algorithms import (
    Algorithm,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.algorithms.floating import shares
from dpe_jax.conditions import violated
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import OptaxSchedule, PowerGrowth, PowerLaw
from dpe_jax.simulation import simulate

AGENTS, DIM, SEED, SHARES = 5, 2, 2**40 + 9, 4
QUIET = Quadratic(FULL.A, FULL.b, 0.0)
WEIGHTS = NETWORK.weights - np.diag(np.diag(NETWORK.weights))
X0 = np.random.default_rng(7).normal(size=(AGENTS, DIM))
EXCHANGE = Exchange.of(NETWORK)

TERNARY = TernaryDSGD(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), 6.5)
FUNCTION = FunctionSharing(PowerLaw(0.5, 0.9), 1.3)
STATE = RandomizedStateSharing(PowerLaw(0.5, 0.9), 1.3)
GEOMETRIC = GeometricDP(0.4, 0.8, 0.7, 0.9, 1.1, 4.0)
TAILORED = TailoredDP(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), PowerGrowth(0.3, 0.1), 4.0)

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")

# A second program: one lane, [agent, coordinate], loops over agents and neighbors


class Lane(NamedTuple):
    """Where the random words of one run come from, and its gradients."""

    run: int
    problem: Quadratic

    def word(self, time: int, place: int) -> np.ndarray:
        made = [reference.words(SEED, self.run, time, e)[place] for e in range(AGENTS * DIM)]
        return np.array(made, np.int64).reshape(AGENTS, DIM)

    def gradient(self, x: np.ndarray, time: int) -> np.ndarray:
        word = self.word(time, 2)
        signed = np.where(word >= 2**31, word - 2**32, word)
        z = math.sqrt(2) * special.erfinv(((signed >> 8) + 0.5) / 2**23)
        A, b = np.asarray(self.problem.A), np.asarray(self.problem.b)
        return np.stack([A[i] @ (x[i] - b[i]) for i in range(AGENTS)]) + self.problem.noise * z

    def laplace(self, time: int) -> np.ndarray:
        word = self.word(time, 3)
        u = (np.where(word >= 2**31, word - 2**32, word) + 0.5) / 2**32
        return -np.sign(u) * np.log1p(-2 * np.abs(u))

    def share(self, time: int, giver: int, taker: int, scale: float) -> np.ndarray:
        """s_ij of all coordinates."""
        low, high = sorted((giver, taker))
        place = 0 if giver == low else 1
        words = [
            reference.words(SEED, self.run, time, (low * AGENTS + high) * DIM + c, SHARES)[place]
            for c in range(DIM)
        ]
        return scale * ((np.array(words) + 0.5) / 2**31 - 1)

    def balanced(self, time: int, scale: float) -> np.ndarray:
        d = np.zeros((AGENTS, DIM))
        for i in range(AGENTS):
            for j in NETWORK.neighbors(i):
                d[i] += self.share(time, j, i, scale) - self.share(time, i, j, scale)
        return d

    def ternary(self, x: np.ndarray, time: int, r: float) -> np.ndarray:
        chosen = (self.word(time, 3) + 0.5) / 2**32 < np.abs(x) / r
        return r * np.sign(x) * chosen


def mixed(own: np.ndarray, message: np.ndarray) -> np.ndarray:
    """Σ_j w_ij (m_j − own_i)."""
    total = np.zeros_like(own)
    for i in range(AGENTS):
        for j in NETWORK.neighbors(i):
            total[i] += WEIGHTS[i, j] * (message[j] - own[i])
    return total


def ternary_step(lane: Lane, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    message = lane.ternary(x, k, 6.5)
    attenuated = 0.7 * (k + 1) ** -0.6 * mixed(message, message)
    return x + attenuated - 0.5 * (k + 1) ** -0.9 * lane.gradient(x, k + 1), message


def function_step(lane: Lane, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    masked = lane.gradient(x, k + 1) + lane.balanced(0, 1.3)
    return x + mixed(x, x) - 0.5 * (k + 1) ** -0.9 * masked, x


def state_step(lane: Lane, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    stepsize = 0.5 * (k + 1) ** -0.9
    message = x + stepsize * lane.balanced(k, 1.3)
    z = message + mixed(message, message)
    return z - stepsize * lane.gradient(z, k + 1), message


def geometric_step(lane: Lane, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    message = x + 0.7 * 0.9**k * lane.laplace(k)
    z = message + mixed(message, message)
    return np.clip(z - 0.4 * 0.8**k * lane.gradient(z, k + 1), -1.1, 1.1), message


def tailored_step(lane: Lane, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    message = x + 0.3 * (k + 1) ** 0.1 * lane.laplace(k)
    attenuated = 0.7 * (k + 1) ** -0.6 * mixed(x, message)
    return x + attenuated - 0.5 * (k + 1) ** -0.9 * lane.gradient(x, k + 1), message


STEPS = {
    "ternary": (TERNARY, ternary_step),
    "function-sharing": (FUNCTION, function_step),
    "state-sharing": (STATE, state_step),
    "geometric": (GEOMETRIC, geometric_step),
    "tailored": (TAILORED, tailored_step),
}


@pytest.mark.parametrize("name", list(STEPS))
def test_a_lane_is_that_of_the_second_program(name: str) -> None:
    method, reference_step = STEPS[name]
    x0 = np.clip(X0, -1, 1)
    for problem, tolerance in [(QUIET, 1e-12), (FULL, 2e-5)]:
        x = other = found = x0
        state = start(method, jnp.asarray(x0), EXCHANGE, draws(0, 16, seed=SEED))
        for k in range(6):
            words = draws(k + 1, 16, seed=SEED)
            state, seen = step(method, state, problem, EXCHANGE, words, row_of(method, NETWORK, k))
            x, message = reference_step(Lane(11, problem), x, k)
            other, _ = reference_step(Lane(12, problem), other, k)
            np.testing.assert_allclose(
                np.asarray(seen.message)[..., 11], message, rtol=0, atol=tolerance
            )
            found = np.asarray(method.position(state))[..., 11]
            np.testing.assert_allclose(found, x, rtol=0, atol=tolerance)
        # Another run's words would be seen.
        assert np.abs(found - other).max() > 0.1


@pytest.mark.parametrize("name", list(STEPS))
def test_the_engine_runs_the_same_lane(name: str) -> None:
    method, reference_step = STEPS[name]
    x0 = np.clip(X0, -1, 1)
    result = simulate(
        {"method": method},
        QUIET,
        NETWORK,
        runs=13,
        iterations=6,
        seed=SEED,
        points=2,
        metrics=(),
        precision="float64",
        x0=x0,
    )
    x = x0
    for k in range(6):
        x, _ = reference_step(Lane(11, QUIET), x, k)
    found = result.curves.final_state.values[0][..., 11]
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-12)


# Sums that cancel

LANES = 20_000


def sums_over_agents(x) -> np.ndarray:
    """One agent after another, so that nothing is reordered."""
    return functools.reduce(np.add, np.asarray(x))


@pytest.mark.parametrize("network", [NETWORK, Network.star(6), Network.complete(7)], ids=str)
def test_shares_cancel_exactly_on_any_network(network: Network) -> None:
    problem = Quadratic.random(network.agents, 3, seed=0)
    exchange = Exchange.of(network)
    flow = np.asarray(shares(exchange, draws(0, 500, problem)))
    assert flow.shape == (len(network.edges), 3, 500)
    assert np.all(flow == np.rint(flow))
    assert np.abs(flow).max() < 2**32
    whole = np.asarray(exchange.circulate(jnp.asarray(flow)))
    assert np.all(sums_over_agents(whole) == 0)
    for scale, exact in [(2.0**-3, True), (1.3, False)]:
        p = np.asarray(
            start(FunctionSharing(0.1, scale), *given(network, 3), draws(0, 500, problem)).mask
        )
        left = np.abs(sums_over_agents(p))
        assert np.all(left == 0) == exact
        assert left.max() < 1e-14 * network.agents * scale
        assert np.abs(p).max() <= 2 * scale * max(dict(degrees(network)).values())
        assert np.all(np.abs(p[0]).max(axis=-1) > 0)
    # One share that its taker does not get is seen.
    lost = np.array(whole)
    lost[network.edges[0][0]] -= flow[0]
    assert np.all(sums_over_agents(lost) != 0)


def given(network: Network, dim: int):
    return jnp.zeros((network.agents, dim)), Exchange.of(network)


def degrees(network: Network) -> list[tuple[int, int]]:
    return [(i, len(network.neighbors(i))) for i in range(network.agents)]


def within(values: np.ndarray, expected: float | np.ndarray) -> bool:
    """Whether the mean of the last axis is within five standard errors of what is expected."""
    error = values.std(axis=-1) / np.sqrt(values.shape[-1])
    return bool(np.all(np.abs(values.mean(axis=-1) - expected) < 5 * error))


def test_perturbations_have_their_variance_and_are_drawn_afresh() -> None:
    x0 = jnp.asarray(X0)
    state = start(STATE, x0, EXCHANGE, draws(0, LANES))
    messages = []
    for k in range(2):
        row = row_of(STATE, NETWORK, k)
        state, seen = step(STATE, state, QUIET, EXCHANGE, draws(k + 1, LANES), row)
        messages.append(np.asarray((seen.message - seen.position) / row.stepsize))
        # What the exchange adds to all states together is nothing, so the mean state moves by
        # the gradients alone.
        assert np.abs(sums_over_agents(seen.mixing)).max() < 1e-13
        assert np.abs(np.asarray(seen.mixing)).max() > 0.1
    for i, degree in degrees(NETWORK):
        expected = 2 * degree * 1.3**2 / 3
        d = messages[0][i]
        assert within(d, 0.0)
        assert not within(d, 0.1)
        assert within(d**2, expected)
        assert not within(d**2, expected * 2 / 3)
        assert not within(d**2, expected * 1.5)
        for other in (messages[1][i, 0], d[1]):
            assert abs(np.corrcoef(d[0], other)[0, 1]) < 5 / np.sqrt(LANES)
    # Neighbors share, and so their perturbations are correlated: −1/√(d_i d_j).
    i, j = NETWORK.edges[0]
    expected = -1 / np.sqrt(degrees(NETWORK)[i][1] * degrees(NETWORK)[j][1])
    found = np.corrcoef(messages[0][i, 0], messages[0][j, 0])[0, 1]
    assert abs(found - expected) < 5 / np.sqrt(LANES)


def test_function_sharing_keeps_its_functions() -> None:
    """p is drawn once a run; what an eavesdropper inverts is g + p."""
    state = start(FUNCTION, jnp.asarray(X0), EXCHANGE, draws(0, 16))
    p = np.asarray(state.mask)
    for k in range(3):
        words, row = draws(k + 1, 16), row_of(FUNCTION, NETWORK, k)
        following, seen = step(FUNCTION, state, FULL, EXCHANGE, words, row)
        np.testing.assert_array_equal(np.asarray(following.mask), p)
        x = np.asarray(seen.message)
        mixing = np.einsum("ij,jdl->idl", NETWORK.weights, x)
        inverted = (x + mixing - np.asarray(following.x)) / float(row.stepsize)
        g = np.asarray(FULL.gradient(jnp.asarray(x), words))
        np.testing.assert_allclose(inverted, g + p, rtol=0, atol=1e-10)
        state = following


# The ternary quantizer


def quantized(x: np.ndarray, r: float, time: int = 0) -> np.ndarray:
    method = TernaryDSGD(0.1, 0.1, r)
    return np.asarray(start(method, jnp.asarray(x), EXCHANGE, draws(time, LANES)).mask)


def test_the_ternary_quantizer_is_unbiased_with_its_variance() -> None:
    r = 1.7
    x = np.array([[0.9, -0.9], [0.3, -0.2], [1.4, -1.5], [0.8, 0.5], [-0.6, 1.1]])
    T = quantized(x, r)
    assert set(np.unique(T).tolist()) == {-r, 0.0, r}
    assert np.all((T == 0) | (np.sign(T) == np.sign(x)[..., None]))
    for i, c in np.ndindex(5, 2):
        size = float(abs(x[i, c]))
        squares = (T[i, c] - x[i, c]) ** 2
        assert within(T[i, c], x[i, c])
        assert within(squares, size * (r - size))
        for factor in (2 / 3, 1.5):
            assert not within(T[i, c], factor * x[i, c])
            assert not within(squares, factor * size * (r - size))


def test_the_ternary_decision_is_that_of_its_word() -> None:
    r = 1.7
    x = np.linspace(-r, r, 10).reshape(5, 2)
    T = quantized(x, r)
    for i, c in np.ndindex(5, 2):
        for lane in range(200):
            word = reference.words(0, lane, 0, i * 2 + c)[3]
            assert (T[i, c, lane] != 0) == ((2 * word + 1) * r < abs(x[i, c]) * 2**33)
    # Zero and the ends of the range leave nothing to chance.
    assert np.all(T[[0, 4], [0, 1]] == np.array([[-r], [r]]))
    assert np.all(quantized(np.zeros((5, 2)), r) == 0)


def test_ternary_quantization_error_is_that_of_the_messages() -> None:
    state = start(TERNARY, jnp.asarray(X0), EXCHANGE, draws(0, 16))
    _, seen = step(TERNARY, state, FULL, EXCHANGE, draws(1, 16), row_of(TERNARY, NETWORK, 0))
    e = np.asarray(seen.message) - X0[..., None]
    expected = np.einsum("ij,jdl->idl", NETWORK.weights, e)
    np.testing.assert_allclose(np.asarray(seen.quantization_error), expected, atol=1e-13)


def test_a_ternary_element_out_of_range_stays_out() -> None:
    method = TernaryDSGD(PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6), 1.0)
    x = np.zeros((5, 2, 16))
    x[1, 0, 3], x[2, 1, 4], x[4, 1, 5] = np.inf, np.nan, 1.0
    state = eqx.tree_at(
        lambda s: s.x, start(method, jnp.zeros((5, 2)), EXCHANGE, draws(0, 16)), jnp.asarray(x)
    )
    small = Quadratic(FULL.A, FULL.b * 0.01, 0.0)
    for k in range(4):
        assert method.status(state).tolist() == [0, 0, 0, 1, 2] + [0] * 11
        row = row_of(method, NETWORK, k)
        state, _ = step(method, state, small, EXCHANGE, draws(k + 1, 16), row)
        assert np.isinf(np.asarray(state.x)[1, 0, 3])


# Laplace noise


def test_laplace_scales() -> None:
    """Kolmogorov–Smirnov accepts the scale of each iteration and rejects 2/3 and 1.5 of it."""
    for method, k, scale in [
        (GEOMETRIC, 0, 0.7),
        (GEOMETRIC, 4, 0.7 * 0.9**4),
        (TAILORED, 0, 0.3),
        (TAILORED, 6, 0.3 * 7**0.1),
    ]:
        state = start(method, jnp.asarray(X0), EXCHANGE, draws(k, LANES))
        row = row_of(method, NETWORK, k)
        _, seen = step(method, state, FULL, EXCHANGE, draws(k + 1, LANES), row)
        noise = np.asarray(seen.message - seen.position)
        for i, c in [(0, 0), (3, 1)]:
            assert stats.kstest(noise[i, c], "laplace", args=(0, scale)).pvalue > 1e-3
            for factor in (2 / 3, 1.5):
                wrong = stats.kstest(noise[i, c], "laplace", args=(0, factor * scale))
                assert wrong.pvalue < 1e-6
        correlation = np.corrcoef(noise.reshape(10, -1))[np.triu_indices(10, 1)]
        assert np.abs(correlation).max() < 5 / np.sqrt(LANES)


def test_noise_is_drawn_afresh_in_each_iteration() -> None:
    for method in (GEOMETRIC, TAILORED):
        state, noise = start(method, jnp.asarray(X0 * 0.1), EXCHANGE, draws(0, LANES)), []
        for k in range(3):
            row = row_of(method, NETWORK, k)
            state, seen = step(method, state, QUIET, EXCHANGE, draws(k + 1, LANES), row)
            noise.append(np.asarray(seen.message - seen.position)[2, 1])
        correlation = np.corrcoef(noise)[np.triu_indices(3, 1)]
        assert np.abs(correlation).max() < 5 / np.sqrt(LANES)


# Budgets


def test_the_geometric_budget_is_the_direct_sum() -> None:
    budget = GEOMETRIC.budget(NETWORK, 9, 50)
    direct = [0.0] + [2 * 4.0 * 3 * 0.4 * 0.8 ** (k - 1) / (0.7 * 0.9**k) for k in range(1, 50)]
    np.testing.assert_allclose(budget.epsilon, direct, rtol=1e-12)
    assert budget.total == pytest.approx(math.fsum(direct), rel=1e-12)
    limit = 2 * 4.0 * 3 * 0.4 / (0.7 * (0.9 - 0.8))
    assert budget.limit == pytest.approx(limit, rel=1e-12)
    assert budget.total < limit
    # Scales far below the smallest float leave it as it is.
    assert GEOMETRIC.budget(NETWORK, 9, 20_000).total == pytest.approx(limit, rel=1e-12)
    json.dumps(budget.describe(), allow_nan=False)
    assert GEOMETRIC.budget(NETWORK, 9, 1).total == 0


def apart(method: Algorithm, first: np.ndarray, second: np.ndarray, steps: int) -> np.ndarray:
    """‖x^k − x′^k‖₁ of agent 0 whose gradients are one or the other, given the same messages."""
    rng = np.random.default_rng(3)
    x, other, found = X0[0], X0[0], []
    row = method.table(NETWORK, np.arange(steps))
    for k in range(steps):
        found.append(np.abs(x - other).sum())
        y = rng.normal(size=(AGENTS, DIM))
        if isinstance(method, GeometricDP):
            z = y[0] + NETWORK.weights[0] @ y
            x, other = (
                np.clip(z - row.stepsize[k] * g[k], -method.radius, method.radius)
                for g in (first, second)
            )
        else:
            x, other = (
                own
                + row.gamma[k] * sum(WEIGHTS[0, j] * (y[j] - own) for j in range(1, AGENTS))
                - row.stepsize[k] * g[k]
                for own, g in ((x, first), (other, second))
            )
    return np.array(found)


@pytest.mark.parametrize("name", ["geometric", "tailored"])
def test_no_two_costs_are_further_apart_than_the_budget_says(name: str) -> None:
    """ε^k times the scale of the noise bounds the distance, and opposite gradients reach it."""
    wide = GeometricDP(0.4, 0.8, 0.7, 0.9, 1e6, 4.0)
    method = {"geometric": wide, "tailored": TAILORED}[name]
    steps = 60
    budget = method.budget(NETWORK, DIM, steps)
    assert budget is not None
    noise = np.asarray(method.table(NETWORK, np.arange(steps)).noise)
    allowed = budget.epsilon * noise
    opposite = np.full((steps, DIM), 4.0 / np.sqrt(DIM))
    reached = apart(method, opposite, -opposite, steps)
    if name == "geometric":
        np.testing.assert_allclose(reached, allowed, rtol=1e-9, atol=1e-12)
    assert np.all(reached <= allowed * (1 + 1e-9) + 1e-12)
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, second = rng.normal(size=(2, steps, DIM))
        first *= 4.0 / np.linalg.norm(first, axis=1, keepdims=True)
        second *= 4.0 / np.linalg.norm(second, axis=1, keepdims=True)
        found = apart(method, first, second, steps)
        assert np.all(found <= allowed * (1 + 1e-9))
        assert np.any(found > allowed / 10)
    # A bound on the gradient half as large would be too small a budget.
    halved = eqx.tree_at(lambda m: m.gradient_bound, method, 2.0).budget(NETWORK, DIM, steps)
    assert np.any(reached > halved.epsilon * noise)


def test_the_tailored_budget_is_the_direct_sum() -> None:
    budget = TAILORED.budget(NETWORK, 4, 80)
    row_sum = min(sum(WEIGHTS[i]) for i in range(AGENTS))
    for k in (0, 1, 2, 17, 79):
        sensitivity = 0.0
        for s in range(k):
            kept = math.prod(1 - row_sum * 0.7 * (t + 1) ** -0.6 for t in range(s + 1, k))
            sensitivity += kept * 2 * 4.0 * 2 * 0.5 * (s + 1) ** -0.9
        assert budget.epsilon[k] == pytest.approx(sensitivity / (0.3 * (k + 1) ** 0.1), rel=1e-10)
    assert budget.total == pytest.approx(math.fsum(budget.epsilon.tolist()), rel=1e-12)
    assert budget.limit is None
    json.dumps(budget.describe(), allow_nan=False)


def test_no_exact_tailored_setting_has_a_finite_budget() -> None:
    """ε^k ~ k^−(b−a+v): over a decade of k it falls by less than a factor of ten."""
    method = TailoredDP(PowerLaw(0.5, 1.0), PowerLaw(0.7, 0.8), PowerGrowth(0.3, 0.29), 4.0)
    assert violated(method.conditions(NETWORK)) == ()
    epsilon = method.budget(NETWORK, 2, 100_000).epsilon
    slope = -np.log10(epsilon[-1] / epsilon[9_999])
    assert abs(slope - 0.49) < 0.03
    assert min(abs(slope - 0.49 * 2 / 3), abs(slope - 0.49 * 1.5)) > 0.03


# Conditions and refusals


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (TERNARY, set()),
        (
            TernaryDSGD(PowerLaw(1.0, 1.0), PowerLaw(1.0, 1.0), 1.0),
            {"stepsize against attenuation"},
        ),
        (TernaryDSGD(PowerLaw(1.0, 0.9), 0.1, 1.0), {"attenuation squares"}),
        (FUNCTION, set()),
        (FunctionSharing(0.1, 1.0), {"stepsize squares"}),
        (STATE, set()),
        (RandomizedStateSharing(PowerLaw(1.0, 1.5), 1.0), {"stepsize sum"}),
        (GEOMETRIC, {"stepsize sum"}),
        (TAILORED, {"noise against attenuation"}),
        (TailoredDP(PowerLaw(1.0, 0.9), PowerLaw(1.0, 0.6), PowerGrowth(1.0, 0.05), 1.0), set()),
        (
            TailoredDP(PowerLaw(1.0, 0.9), PowerLaw(1.0, 0.6), lambda k: (k + 1.0) ** 0.05, 1.0),
            set(),
        ),
        (
            TailoredDP(PowerLaw(1.0, 1.1), PowerLaw(1.0, 1.1), 1.0, 1.0),
            {"attenuation sum", "stepsize sum"},
        ),
        (
            TailoredDP(PowerLaw(1.0, 0.8), PowerLaw(1.0, 0.6), 1.0, 1.0),
            {"stepsize against attenuation"},
        ),
    ],
)
def test_conditions_name_what_does_not_hold(method: Algorithm, names: set[str]) -> None:
    assert {condition.name for condition in violated(method.conditions(NETWORK))} == names


def test_power_growth() -> None:
    schedule = PowerGrowth(0.3, 0.2, 2.0)
    k = np.array([0, 1, 1023, 1024, 10**9])
    expected = [0.3 * math.pow(i + 2.0, 0.2) for i in k.tolist()]
    np.testing.assert_allclose(schedule.values(k), expected, rtol=1e-14)
    assert schedule.decay_exponent() == -0.2
    assert OptaxSchedule(lambda i: (i + 1.0) ** 0.2).decay_exponent() == pytest.approx(-0.2)
    assert schedule.exact
    assert schedule.describe() == "0.3 (k+2)^0.2"
    refused = [((0.0, 0.2), "scale"), ((1.0, -0.1), "exponent"), ((1.0, 0.1, 0.0), "offset")]
    for arguments, name in refused:
        with pytest.raises(InputError, match=name):
            PowerGrowth(*arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TernaryDSGD(0.1, 0.1, 0.0), "range = 0"),
        (lambda: TernaryDSGD(0.1, 0.1, math.inf), "range = inf"),
        (lambda: FunctionSharing(0.1, -1.0), "scale = -1"),
        (lambda: RandomizedStateSharing(0.1, math.nan), "scale = nan"),
        (lambda: GeometricDP(0.1, 0.9, 1.0, 0.9, 1.0, 1.0), "q = 0.9: expected a number below p"),
        (lambda: GeometricDP(0.1, 0.9, 1.0, 1.0, 1.0, 1.0), "p = 1.0: expected a number below 1"),
        (lambda: GeometricDP(0.1, 0.8, 0.0, 0.9, 1.0, 1.0), "M = 0"),
        (lambda: GeometricDP(0.1, 0.8, 1.0, 0.9, -2.0, 1.0), "radius = -2"),
        (lambda: TailoredDP(0.1, 0.1, 0.1, 0.0), "gradient_bound = 0"),
        (
            lambda: simulate(TERNARY, FULL, NETWORK, runs=1, iterations=1, x0=np.full(2, 6.6)),
            "x0 = .*magnitude at most range = 6.5",
        ),
        (
            lambda: simulate(GEOMETRIC, FULL, NETWORK, runs=1, iterations=1, x0=np.full(2, 1.2)),
            "x0 = .*magnitude at most radius = 1.1",
        ),
        (
            lambda: simulate(
                TailoredDP(0.1, 0.1, lambda k: 0.0 * k, 1.0), FULL, NETWORK, runs=1, iterations=1
            ),
            "noise = 0.0: expected a number above 0 at every k",
        ),
        *(
            (
                lambda method=method: simulate(
                    method, FULL, NETWORK.scaled(3.0), runs=1, iterations=1
                ),
                "network.weights = .*doubly stochastic",
            )
            for method in (FUNCTION, STATE, GEOMETRIC)
        ),
    ],
)
def test_what_cannot_run_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
