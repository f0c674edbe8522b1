"""Sensors with a layout: links within a radius, and what is measured where."""

from typing import Any

import numpy as np
import pytest

from dpe_jax.errors import InputError
from dpe_jax.network import Network
from dpe_jax.problems import (
    SensorEstimation,
)


def test_links_are_those_within_the_radius() -> None:
    network = Network.geometric(12, 0.45, seed=4)
    positions = network.positions
    assert positions is not None
    assert positions.shape == (12, 2)
    assert ((positions >= 0) & (positions < 1)).all()
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    near = (distance <= 0.45) & ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(network.coupling > 0, near)
    assert network.summary()["positions"] == positions.tolist()
    np.testing.assert_array_equal(network.scaled(0.5).positions, positions)
    assert "positions" not in Network.ring(5).summary()
    with pytest.raises(InputError, match="connected"):
        Network.geometric(12, 0.05, seed=4)
    with pytest.raises(InputError, match=r"^radius"):
        Network.geometric(12, float("inf"), seed=4)


def test_sensors_measure_where_they_are() -> None:
    positions = Network.geometric(12, 0.45, seed=4).positions
    assert positions is not None
    problem = SensorEstimation.of_sources(positions, side=2, reach=0.3, seed=5, disturbance=0.0)
    sources = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    M = np.array(
        [
            [np.exp(-((p[0] - s) ** 2 + (p[1] - t) ** 2) / (2 * 0.3**2)) for s, t in sources]
            for p in positions
        ]
    )
    np.testing.assert_allclose(problem.M[:, 0], M, rtol=1e-12)
    assert (problem.agents, problem.rows, problem.dim) == (12, 1, 4)
    # Without disturbance the measurements have one common cause, which ω alone biases.
    theta, *_ = np.linalg.lstsq(M, np.asarray(problem.z)[:, 0])
    np.testing.assert_allclose(M @ theta, np.asarray(problem.z)[:, 0], atol=1e-12)
    expected = np.linalg.solve(M.T @ M + 12 * 0.01 * np.eye(4), M.T @ np.asarray(problem.z)[:, 0])
    np.testing.assert_allclose(problem.solve().x, expected, rtol=1e-10)
    assert np.linalg.matrix_rank(M[:1]) == 1
    wrong: dict[str, Any] = {"side": 0, "reach": 0.0, "disturbance": -1.0}
    for argument, value in wrong.items():
        with pytest.raises(InputError, match=f"^{argument}"):
            SensorEstimation.of_sources(positions, **{argument: value})
