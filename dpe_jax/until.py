"""Runs to a target: as many as an interval of a metric needs to be narrow enough."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dpe_jax import experiment
from dpe_jax.config import Config
from dpe_jax.durable import CHECKPOINT_SECONDS
from dpe_jax.errors import InputError
from dpe_jax.experiment import Outcome
from dpe_jax.extend import add_runs
from dpe_jax.folder import MANIFEST
from dpe_jax.observe import PER_AGENT
from dpe_jax.results import Stored, load
from dpe_jax.study import Progress
from dpe_jax.unfinished import Mode, settle, unfinished

MOST_RUNS = 2**20
"""Where it ends, unless told otherwise."""


def _student(runs: int) -> float:
    """Standard errors in half a 95 % interval: with few runs the variance is hardly known."""
    from scipy.special import stdtrit

    return float(stdtrit(runs - 1, 0.975)) if runs > 1 else np.nan


class Width(NamedTuple):
    """The 95 % confidence interval of a metric's mean over the sound runs, at the end."""

    method: str
    runs: int
    """Sound ones."""
    mean: float
    half: float
    """NaN for a single run."""


@dataclasses.dataclass(frozen=True)
class Target:
    """How narrow the interval of a metric's mean is to be."""

    half_width: float
    relative: bool = False
    """As a fraction of the mean, and not in the metric's units."""
    metric: str = "gap_mean_state"
    method: str | None = None
    """By default all methods."""

    def __str__(self) -> str:
        return (
            f"{100 * self.half_width:g}% of the mean" if self.relative else f"{self.half_width:g}"
        )

    def allowed(self, width: Width) -> float:
        """The half-width to reach."""
        return self.half_width * abs(width.mean) if self.relative else self.half_width

    def reached(self, width: Width) -> bool:
        """Whether an interval is narrow enough."""
        return width.half <= self.allowed(width)

    def check(self, config: Config) -> None:
        """InputError unless a configuration has the method and records the metric."""
        recorded = [m for m in config.build().observed if m not in PER_AGENT]
        if self.metric not in recorded:
            raise InputError("metric", self.metric, f"one of {', '.join(recorded)}")
        if self.method is not None and self.method not in config.methods:
            raise InputError("method", self.method, f"one of {', '.join(config.methods)}")


@dataclasses.dataclass(frozen=True)
class Reached:
    """Where it ended."""

    outcome: Outcome
    widths: tuple[Width, ...]
    """Of each method that was looked at."""
    reached: bool


def run_until(
    config: Config,
    out: Path,
    target: Target,
    *,
    most: int = MOST_RUNS,
    overwrite: bool = False,
    check: bool = False,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    told: Callable[[tuple[Width, ...], int], None] = lambda *_: None,
) -> Reached:
    """Run a configuration, and add runs until intervals are as narrow as the target or `most` runs.

    A result that is there with the same settings, and as many runs or more, is gone on from. How
    many runs are added follows from their variance so far (see `following`), so that the same
    settings always end with the same result; `told` is given the widths and the runs after each
    addition, which is a finished result by itself.
    """
    target.check(config)
    if most < config.runs:
        raise InputError("max_runs", most, f"at least the {config.runs} runs to begin with")
    settle(out)
    outcome = _there(config, out, check)
    if outcome is None:
        outcome = experiment.run(
            config,
            out,
            overwrite=overwrite,
            check=check,
            progress=progress,
            mode=mode,
            checkpoint_seconds=checkpoint_seconds,
        )
        mode = "refuse"
    while True:
        stored = outcome.stored
        found = widths(stored, target)
        told(found, stored.config.runs)
        runs = following(stored, target, found, most)
        if runs is None:
            reached = all(target.reached(width) for width in found)
            return Reached(outcome, found, reached)
        outcome = add_runs(
            out,
            runs - stored.config.runs,
            check=check,
            progress=progress,
            # What is unfinished can only be of the first addition.
            mode=mode if unfinished(out) else "refuse",
            checkpoint_seconds=checkpoint_seconds,
        )
        mode = "refuse"


def widths(stored: Stored, target: Target) -> tuple[Width, ...]:
    """The intervals that are looked at; InputError where there can be none."""
    methods = list(stored.config.methods) if target.method is None else [target.method]
    found = []
    for method in methods:
        values = stored.curves[target.metric].sel(algorithm=method).isel(iteration=-1).values
        sound = values[~np.isnan(values)].astype(np.float64)
        if not sound.size or not np.isfinite(sound).all():
            accepted = f"one that {method} has finite values of ({sound.size} runs are sound)"
            raise InputError("metric", target.metric, accepted)
        error = sound.std(ddof=1) / np.sqrt(sound.size) if sound.size > 1 else np.nan
        found.append(
            Width(method, sound.size, float(sound.mean()), float(_student(sound.size) * error))
        )
    return tuple(found)


def following(stored: Stored, target: Target, found: tuple[Width, ...], most: int) -> int | None:
    """How many runs to have next; None if the target is reached, or `most` runs are there.

    As many as it takes if the variance stays as it is, but at most twice as many as there are, in
    whole blocks.
    """
    runs = stored.config.runs
    if runs >= most or all(target.reached(width) for width in found):
        return None
    needed = 2.0 * runs
    if all(np.isfinite(width.half) and target.allowed(width) > 0 for width in found):
        needed = max(runs * (width.half / target.allowed(width)) ** 2 for width in found)
    block = min(int(stored.manifest["block_lanes"]), runs)
    wanted = -(-int(min(np.ceil(needed), 2 * runs)) // block) * block
    largest = 2 * runs // block * block
    return min(max(runs + 1, min(wanted, largest)), most)


def _there(config: Config, out: Path, check: bool) -> Outcome | None:
    """A result of the same settings with as many runs or more."""
    if not (out / MANIFEST).is_file():
        return None
    stored = load(out)
    if stored.config.runs < config.runs:
        return None
    if experiment.override(stored.config, {"runs": config.runs}) != config:
        return None
    return experiment.finished(out, stored.config, check=check)
