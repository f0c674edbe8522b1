"""Metrics: pure functions of the agents' positions at one iteration, one value a lane."""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.errors import InputError
from dpe_jax.problems.base import Optimum, Problem

Metric = Literal[
    "gap_mean_state",
    "gap_agents",
    "error_worst_agent",
    "error_mean_state",
    "consensus_error",
    "quantization_error",
]

METRICS: tuple[Metric, ...] = get_args(Metric)
"""All metrics, in the order in which they are reported."""

LABELS: dict[Metric, str] = {
    "gap_mean_state": "F(x̄) − F*",
    "gap_agents": "mean_i F(x_i) − F*",
    "error_worst_agent": "max_i ‖x_i − x*‖",
    "error_mean_state": "‖x̄ − x*‖",
    "consensus_error": "consensus error (1/n Σ_i ‖x_i − x̄‖²)^½",
    "quantization_error": "‖ξ_i‖² of each agent",
}
"""What each metric is, in formulas."""

PER_AGENT: tuple[Metric, ...] = ("quantization_error",)
"""Metrics with one value for each agent and lane."""


def check_metrics(metrics: tuple[str, ...]) -> tuple[Metric, ...]:
    """The same names, or InputError naming the first that is no metric."""
    for name in metrics:
        if name not in METRICS:
            raise InputError("metrics", name, "some of " + ", ".join(METRICS))
    return tuple(metric for metric in METRICS if metric in metrics)


def observe(
    metrics: tuple[Metric, ...],
    x: Float[Array, "agents dim lanes"],
    xi: Float[Array, "agents dim lanes"],
    problem: Problem,
    optimum: Optimum,
) -> dict[str, Float[Array, "*agents lanes"]]:
    """The chosen metrics at positions x with quantization errors ξ, in float64."""
    mean = lanes.mean(x, 0)
    target = jnp.asarray(optimum.x)[:, None]
    values: dict[str, Float[Array, "*agents lanes"]] = {}
    for metric in metrics:
        if metric == "gap_mean_state":
            values[metric] = problem.excess(mean, optimum)
        elif metric == "gap_agents":
            values[metric] = lanes.mean(problem.excess(x, optimum), 0)
        elif metric == "error_worst_agent":
            values[metric] = jnp.sqrt(lanes.largest(lanes.total((x - target) ** 2, 1), 0))
        elif metric == "error_mean_state":
            values[metric] = jnp.sqrt(lanes.total((mean - target) ** 2, 0))
        elif metric == "consensus_error":
            values[metric] = jnp.sqrt(lanes.mean(lanes.total((x - mean) ** 2, 1), 0))
        else:
            values[metric] = lanes.total(xi**2, 1)
    return values
