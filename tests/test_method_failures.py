"""Lanes that fail or diverge, with every method."""

import numpy as np
import pytest
from common import FULL, finals, run
from faulty import failing
from methods import GAMMA, METHODS, NAMES, STEPSIZE, every_method

from dpe_jax.algorithms import (
    GeometricDP,
    TernaryDSGD,
)
from dpe_jax.problems.quadratic import Quadratic

pytestmark = [
    pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning"),
    pytest.mark.slow,  # together over 20 s
]


@every_method
def test_a_lane_that_fails_fails_alone(name: str) -> None:
    """The value takes one element of one lane away at time 13; 20 iterations follow."""

    def call(number: int, value: float):
        return run(METHODS[name], failing(number, 13, value, last=13), iterations=33)

    calm = finals(call(99, 0.0))
    others = np.arange(7) != 3
    projected = name == "geometric"
    for value, expected in [(np.nan, 2), (np.inf, 2), (-np.inf, 2), (1e18, 0 if projected else 1)]:
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
    assert result.curves.status.values[0].tolist() == [1] * 7
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
