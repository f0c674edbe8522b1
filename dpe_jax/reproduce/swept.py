"""Sweeps whose runs a part keeps only until it is made: gaps with intervals, times to a target."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, Num

from dpe_jax import bands, experiment
from dpe_jax.bootstrap import ends, resampled_means
from dpe_jax.config import Config
from dpe_jax.folder import removed
from dpe_jax.observe import Metric
from dpe_jax.privacy.intervals import Estimate
from dpe_jax.reproduce.part import Work
from dpe_jax.simulation import Simulation
from dpe_jax.sweep_run import plan_sweep, run_sweep
from dpe_jax.sweep_statistics import failed

METHOD = "encrypted"
"""How the method is called in the configurations of these sweeps."""

_RESAMPLES = 500

_FOLDER = "sweep"


@dataclasses.dataclass(frozen=True)
class Course:
    """One metric of one configuration: its mean over runs, and what a bootstrap makes of it."""

    iteration: Int64[np.ndarray, " points"]
    mean: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    """Ends of 95 % intervals of the mean."""
    error: Float[np.ndarray, " points"]
    """The mean's standard error."""
    drawn: Float[np.ndarray, "resamples points"]
    """Means of resampled runs, the same runs for all configurations of a sweep."""

    @property
    def end(self) -> Estimate:
        """The mean at the last iteration."""
        return Estimate(float(self.mean[-1]), float(self.low[-1]), float(self.high[-1]))

    def reached(self, target: float) -> Estimate:
        """The iteration from which on the mean is at most `target`; inf if it is not at the end."""
        drawn = [first_at(self.iteration, values, target) for values in self.drawn]
        # Of infinities there is no interpolation.
        low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
        return Estimate(first_at(self.iteration, self.mean, target), float(low), float(high))

    def times(self, other: "Course") -> Estimate:
        """The ratio of the means at the end to those of another, over pairs of runs."""
        ratio, low, high = (column[-1] for column in self.ratios(other))
        return Estimate(float(ratio), float(low), float(high))

    def ratios(self, other: "Course") -> bands.Course:
        """The same at every record point."""
        return bands.Course(self.mean / other.mean, *ends(self.drawn / other.drawn))


@dataclasses.dataclass(frozen=True)
class Swept:
    """All configurations of a sweep."""

    simulations: tuple[Simulation, ...]
    labels: dict[str, np.ndarray]
    courses: tuple[Course, ...]
    failed: int
    """Runs that failed, of all configurations."""


@contextmanager
def swept(config: Config, metric: Metric, seed: int, folder: Path, work: Work) -> Iterator[Swept]:
    """Run a sweep of the one method `METHOD`, and take the means of a metric over its runs.

    It lies in `folder` until all that follows from it is made, so that `--resume` finds what was
    finished of it.
    """
    planned = plan_sweep(experiment.override(config, {"seed": seed}))
    running, reducing = work.pieces(3, 1)
    out = folder / _FOLDER
    stored = run_sweep(planned, out, progress=running.progress(), mode="repair")
    running.step(1, 1)
    curves = stored.curves.sel(algorithm=METHOD)
    count = curves.sizes["configuration"]
    courses = []
    for place in range(count):
        values = curves[metric].isel(configuration=place).transpose("run", "iteration")
        courses.append(course(curves.iteration.values, values.values, seed))
        reducing.step(place + 1, count)
    lost = int(failed(stored.curves).sum())
    yield Swept(planned.study.simulations, planned.sweep.labels, tuple(courses), lost)
    removed(out)


def course(
    iteration: Int64[np.ndarray, " points"], runs: Num[np.ndarray, "runs points"], seed: int
) -> Course:
    """The mean over runs; a run that has failed is left out from then on."""
    values = runs.astype(np.float64)
    drawn = resampled_means(values, _RESAMPLES, seed)
    low, high = ends(drawn)
    count = np.maximum(2, (~np.isnan(values)).sum(axis=0))
    error = np.nanstd(values, axis=0, ddof=1) / np.sqrt(count)
    return Course(iteration, np.nanmean(values, axis=0), low, high, error, drawn)


def first_at(
    iteration: Num[np.ndarray, " points"], values: Float[np.ndarray, " points"], target: float
) -> float:
    """The k from which on a curve stays at or below `target`, interpolated between logarithms.

    Infinite where it is above at the last point, or is no number there.
    """
    above = np.flatnonzero(~(values <= target))
    if not above.size:
        return float(iteration[0])
    last = int(above[-1])
    if last == len(values) - 1:
        return float("inf")
    # k + 1, as iteration 0 has no logarithm.
    x = np.log(iteration[last : last + 2] + 1.0)
    y = np.log(np.maximum(values[last : last + 2], np.finfo(float).tiny))
    share = (y[0] - np.log(target)) / (y[0] - y[1])
    return float(np.exp(x[0] + share * (x[1] - x[0])) - 1)
