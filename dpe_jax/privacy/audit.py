"""The audit: every method of a configuration under every view, measured, scored and explained."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from dpe_jax.algorithms import Algorithm, EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.privacy.attacks import ErrorCurve, gradient_curves, slope, state_curves
from dpe_jax.privacy.information import Information, information_table
from dpe_jax.privacy.intervals import Estimate, log_log_slope
from dpe_jax.privacy.observe import Observed, audited, observed, truth_of
from dpe_jax.privacy.scores import Scores, scores
from dpe_jax.privacy.views import Coalition, View, views
from dpe_jax.simulation import Simulation
from dpe_jax.study import Progress

LEAST_RUNS = 100
"""Intervals over fewer runs say little, and mutual information nothing."""

_INFORMED_POINTS = 4
"""Record points at which mutual information is estimated."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One method under one view."""

    method: str
    view: str
    source: str
    """Where the target's state is known from; see `views.Source`."""
    curves: tuple[ErrorCurve, ...]
    slopes: dict[str, Estimate]
    """Of ln error against ln T, by kind of average."""
    information: tuple[tuple[int, tuple[Information, ...]], ...]
    """At some iterations, of each sampled coordinate: what ĝ^k tells of g^k."""
    scores: Scores

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "method": self.method,
            "view": self.view,
            "source": self.source,
            **self.scores.to_dict(),
            "slopes": {name: list(found) for name, found in self.slopes.items()},
            "information": [
                {"iteration": k, "coordinates": [one.to_dict() for one in found]}
                for k, found in self.information
            ],
            "curves": [curve.to_dict() for curve in self.curves],
        }


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """How far a method is from the optimum at the end: median over runs of a metric."""

    metric: str
    iteration: int
    median: float
    failed: int
    """Runs that left the range or turned non-finite; they count as not converged."""
    falls: Estimate | None = None
    """β of the metric's mean, which falls like k^−β from a tenth of the iterations on, by least
    squares; None where a run failed, or where there are too few record points."""


@dataclasses.dataclass(frozen=True)
class Audit:
    """All that was measured."""

    target: int
    runs: int
    iterations: int
    start: int
    """The first iteration of averages."""
    views: tuple[str, ...]
    members: dict[str, tuple[int, ...]]
    """Agents among the adversary, by view."""
    cells: tuple[Cell, ...]
    accuracy: dict[str, Accuracy]
    skipped: tuple[str, ...]
    """Methods in which nothing is sent."""

    def cell(self, method: str, view: str) -> Cell:
        """One cell."""
        return next(c for c in self.cells if (c.method, c.view) == (method, view))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(dict.fromkeys(cell.method for cell in self.cells))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.target,
            "runs": self.runs,
            "iterations": self.iterations,
            "averages_from": self.start,
            "views": list(self.views),
            "members": {view: list(agents) for view, agents in self.members.items()},
            "skipped": list(self.skipped),
            "accuracy": {name: dataclasses.asdict(one) for name, one in self.accuracy.items()},
            "cells": [cell.to_dict() for cell in self.cells],
        }


def audit(
    simulation: Simulation,
    *,
    target: int = 0,
    neighbor: int | None = None,
    coalition: tuple[int, ...] = (),
    start: int | None = None,
    told: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Audit:
    """Run every method with all observers, and judge what they learn.

    `neighbor` is the one that is curious alone, by default the one that hears most of the target's
    other neighbors; `coalition` adds a view of chosen agents; `start` is the first iteration that
    is averaged over, by default a tenth of all. InputError for a target or agents that are no view
    on the network, for fewer than 100 runs, for a simulation in which nothing is sent, and for a
    method of which half of the runs fail.
    """
    if simulation.iterations < 3:
        raise InputError("iterations", simulation.iterations, "at least 3")
    if simulation.runs < LEAST_RUNS:
        raise InputError("runs", simulation.runs, f"at least {LEAST_RUNS}, for the intervals")
    start = simulation.iterations // 10 if start is None else start
    if not 0 <= start < simulation.iterations - 2:
        accepted = f"an iteration of the run, 0 to {simulation.iterations - 3}"
        raise InputError("start", start, accepted)
    if not 0 <= target < simulation.network.agents:
        raise InputError("target", target, f"an agent, 0 to {simulation.network.agents - 1}")
    chosen: tuple[View, ...] = views(simulation.network, target, neighbor)
    if coalition:
        own = Coalition(target, coalition)
        own.members(simulation.network)
        chosen = (*chosen[:2], own, *chosen[2:])
    methods = {name: one for name, one in simulation.algorithms.items() if audited(one)}
    if not methods:
        accepted = "at least one method in which something is sent"
        raise InputError("methods", list(simulation.algorithms), accepted)
    cells: list[Cell] = []
    accuracy, truth = {}, truth_of(simulation, target)
    for name, algorithm in methods.items():
        told(name)
        seen = observed(simulation, name, chosen, truth, start=start, progress=progress)
        _check_sound(name, seen, simulation.runs)
        cells += [_cell(simulation, name, algorithm, view, seen) for view in chosen]
        accuracy[name] = _accuracy(seen, simulation)
    return Audit(
        target,
        simulation.runs,
        simulation.iterations,
        start,
        tuple(view.name for view in chosen),
        {view.name: view.members(simulation.network) for view in chosen},
        tuple(cells),
        accuracy,
        tuple(name for name in simulation.algorithms if name not in methods),
    )


def _check_sound(name: str, seen: Observed, runs: int) -> None:
    """Refuse a method of which little is left to measure: its failure would look like privacy."""
    failed = int(np.isnan(next(iter(seen.metrics.values()))[-1]).sum())
    if failed > runs // 2:
        accepted = f"a method of which at most half of the runs fail ({failed} of {runs} did)"
        raise InputError(f"methods.{name}", f"{failed} failed runs", accepted)


def _cell(
    simulation: Simulation, name: str, algorithm: Algorithm, view: View, seen: Observed
) -> Cell:
    recorded = seen.views[view.name]
    delta = algorithm.delta if isinstance(algorithm, EncryptedDSGD) else None
    curves = _curves(recorded, seen, delta)
    slopes: dict[str, Estimate] = {}
    informed: list[tuple[int, tuple[Information, ...]]] = []
    if "error" in recorded:
        columns = recorded | {"iteration": seen.iteration}
        for curve in curves:
            if curve.attack in ("average", "likelihood") and curve.iteration.size >= 3:
                slopes[curve.attack] = slope(curve, columns, curve.attack, seen.start)
        informed = _informed(recorded, seen)
    source = view.knowledge(algorithm, simulation.network).source
    halves = [
        _curves({key: value[..., half::2] for key, value in recorded.items()}, seen, delta)
        for half in (0, 1)
    ]
    return Cell(name, view.name, source, tuple(curves), slopes, tuple(informed), scores(*halves))


def _curves(
    recorded: dict[str, np.ndarray], seen: Observed, delta: float | None
) -> list[ErrorCurve]:
    curves: list[ErrorCurve] = []
    if "error" in recorded:
        curves += gradient_curves(recorded, seen.iteration, seen.start, seen.goal)
    return curves + state_curves(recorded, seen.iteration, delta)


def _informed(
    recorded: dict[str, np.ndarray], seen: Observed
) -> list[tuple[int, tuple[Information, ...]]]:
    """Mutual information at some record points, evenly spaced among them."""
    later = np.flatnonzero(seen.iteration > 0)
    count = min(_INFORMED_POINTS, later.size)
    points = later[np.unique(np.linspace(0, later.size - 1, count).astype(int))]
    rows = information_table(
        recorded["gradient"][points], recorded["estimate"][points], ties="random"
    )
    return [(int(seen.iteration[p]) - 1, tuple(row)) for p, row in zip(points, rows, strict=True)]


def _accuracy(seen: Observed, simulation: Simulation) -> Accuracy:
    """Of the first metric that says how near the optimum is."""
    names = ("gap_mean_state", "stationarity", "objective", "consensus_error")
    metric = next(name for name in names if name in seen.metrics)
    last = seen.metrics[metric][-1].astype(np.float64)
    failed = int(np.isnan(last).sum())
    median = float(np.median(np.where(np.isnan(last), np.inf, last)))
    return Accuracy(metric, simulation.iterations, median, failed, _falls(seen, metric))


def _falls(seen: Observed, metric: str) -> Estimate | None:
    late = np.flatnonzero(seen.iteration >= seen.iteration[-1] / 10)
    values = seen.metrics[metric][late].astype(np.float64).T
    if late.size < 3 or np.isnan(values).any():
        return None
    # Of the root of the mean, which falls half as fast.
    found = log_log_slope(seen.iteration[late], values)
    return Estimate(*(-2 * end for end in (found.value, found.high, found.low)))
