"""The baselines against a second program in NumPy: one lane, loops over agents and neighbors."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import reference
from baselines import (
    AGENTS,
    DIM,
    EXCHANGE,
    FUNCTION,
    GEOMETRIC,
    QUIET,
    SEED,
    STATE,
    TAILORED,
    TERNARY,
    WEIGHTS,
    X0,
)
from common import FULL, NETWORK
from methods import draws, row_of, start, step
from scipy import special

from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.study import simulate

pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")


SHARES = 4


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
