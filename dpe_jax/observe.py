"""Metrics: pure functions of the agents' positions at one iteration, one value a lane."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
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
    "objective",
    "stationarity",
    "test_accuracy",
    "test_auc",
    "test_average_precision",
    "test_error",
    "peak_error",
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
    "objective": "F(x̄)",
    "stationarity": "‖∇F(x̄)‖",
    "test_accuracy": "accuracy of x̄ on the test set",
    "test_auc": "area under the ROC curve of x̄ on the test set",
    "test_average_precision": "average precision of x̄ on the test set",
    "test_error": "mean squared error of x̄ on the test set",
    "peak_error": "largest max_i ‖x_i − x*‖ since the last record point",
}
"""What each metric is, in formulas."""

PER_AGENT: tuple[Metric, ...] = ("quantization_error",)
"""Metrics with one value for each agent and lane."""

PEAKS: tuple[Metric, ...] = ("peak_error",)
"""Metrics of all iterations from one record point to the next, both ends included; they cost
something in every iteration, and are recorded only if they are named."""

OF_OPTIMUM: tuple[Metric, ...] = (
    "gap_mean_state",
    "gap_agents",
    "error_worst_agent",
    "peak_error",
    "error_mean_state",
)
"""Metrics that need x* or F*."""

OF_TEST: tuple[Metric, ...] = (
    "test_accuracy",
    "test_auc",
    "test_average_precision",
    "test_error",
)
"""Metrics that need a test set."""


def supported(problem: Problem) -> tuple[Metric, ...]:
    """The metrics that a problem has: it may lack an optimum, a test set, or some scores of it."""
    scores = () if problem.held_out is None else problem.held_out.scores
    return tuple(
        metric
        for metric in METRICS
        if (metric not in OF_OPTIMUM or problem.has_optimum)
        and (metric not in OF_TEST or metric.removeprefix("test_") in scores)
    )


def defaults(problem: Problem) -> tuple[Metric, ...]:
    """What is recorded unless metrics are named: all that a problem has but for two exceptions.

    Where F* is known F(x̄) − F* tells all that F(x̄) and ‖∇F(x̄)‖ do, which are then left out. Where
    there is a test set x̄ is the model that is judged, and mean_i F(x_i) − F*, which takes n passes
    over all data and is the dearest by far, is left out.
    """
    left_out = PEAKS
    left_out += ("objective", "stationarity") if problem.has_optimum else ()
    left_out += () if problem.held_out is None else ("gap_agents",)
    return tuple(metric for metric in supported(problem) if metric not in left_out)


def check_metrics(metrics: Sequence[str], problem: Problem) -> tuple[Metric, ...]:
    """The same names in order, or InputError naming the first that the problem does not have."""
    known = supported(problem)
    for name in metrics:
        if name not in known:
            reason = ""
            if name in OF_OPTIMUM:
                reason = " (no optimum of this problem is known)"
            elif name in OF_TEST:
                reason = " (this problem has no such test)"
            raise InputError("metrics", name, f"some of {', '.join(known)}{reason}")
    return tuple(metric for metric in METRICS if metric in metrics)


def observe(
    metrics: tuple[Metric, ...],
    x: Float[Array, "agents dim lanes"],
    xi: Float[Array, "agents dim lanes"],
    problem: Problem,
    optimum: Optimum,
    peak: Float[Array, " lanes"] | None = None,
) -> dict[str, Float[Array, "*agents lanes"]]:
    """The chosen metrics at positions x with quantization errors ξ, in float64.

    `peak` is the largest max_i ‖x_i − x*‖² of earlier iterations since the last record point.
    """
    mean = lanes.mean(x, 0)
    target = jnp.asarray(optimum.x)[:, None]
    scores = {}
    if problem.held_out is not None and any(metric in OF_TEST for metric in metrics):
        scores = problem.held_out.score(mean)
    values: dict[str, Float[Array, "*agents lanes"]] = {}
    for metric in metrics:
        if metric == "gap_mean_state":
            values[metric] = problem.excess(mean, optimum)
        elif metric == "gap_agents":
            values[metric] = lanes.mean(problem.excess(x, optimum), 0)
        elif metric == "error_worst_agent":
            values[metric] = jnp.sqrt(worst_square(x, optimum))
        elif metric == "peak_error":
            square = worst_square(x, optimum)
            values[metric] = jnp.sqrt(square if peak is None else jnp.maximum(square, peak))
        elif metric == "error_mean_state":
            values[metric] = jnp.sqrt(lanes.total((mean - target) ** 2, 0))
        elif metric == "consensus_error":
            values[metric] = jnp.sqrt(lanes.mean(lanes.total((x - mean) ** 2, 1), 0))
        elif metric == "quantization_error":
            values[metric] = lanes.total(xi**2, 1)
        elif metric == "objective":
            values[metric] = problem.objective(mean)
        elif metric == "stationarity":
            # No lane's F depends on another lane, so the slope of their sum is that of each.
            slope = jax.grad(lambda x: jnp.sum(problem.objective(x)))(mean)
            values[metric] = jnp.sqrt(lanes.total(slope**2, 0))
        else:
            values[metric] = scores[metric.removeprefix("test_")]
    return values


def worst_square(x: Float[Array, "agents dim lanes"], optimum: Optimum) -> Float[Array, " lanes"]:
    """max_i ‖x_i − x*‖²."""
    return lanes.largest(lanes.total((x - jnp.asarray(optimum.x)[:, None]) ** 2, 1), 0)
