"""A whole sweep: its configurations as one study, run and written to disk."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dpe_jax.config import Config
from dpe_jax.distributed import WHOLE, Part
from dpe_jax.durable import CHECKPOINT_SECONDS, Job, Work
from dpe_jax.errors import InputError
from dpe_jax.experiment import base_of, compute, extended, override
from dpe_jax.extend import was_extended
from dpe_jax.folder import CONFIG, CURVES, MANIFEST, SUMMARY, contents, write_json
from dpe_jax.recording import Keep
from dpe_jax.results import Stored, holds, load, open_curves, resolved_toml
from dpe_jax.study import Progress, Study
from dpe_jax.sweep_results import (
    failures_of,
    simulations,
    summary_of,
    sweep_manifest,
    sweep_summary,
    write_summary,
)
from dpe_jax.sweeps import Sweep, expand
from dpe_jax.unfinished import Mode, opened, place, settle, unfinished


@dataclasses.dataclass(frozen=True)
class Planned:
    """A sweep whose configurations have been built and checked."""

    config: Config
    sweep: Sweep
    study: Study


def plan_sweep(config: Config, keep: Keep = "runs") -> Planned:
    """Expand a sweep and build its configurations; InputError names the axis that does not fit."""
    if config.trace:
        raise InputError("trace", config.trace, "no such key beside [sweep]: sweeps are not traced")
    sweep = expand(config)
    return Planned(config, sweep, Study(simulations(sweep), keep, swept=True))


def run_sweep(
    planned: Planned,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    base: Stored | None = None,
) -> Stored:
    """Simulate all configurations and write their folder, whole or not at all.

    What is finished is kept beside it, as by `experiment.run`. Runs of `base`, a result of fewer
    runs of this sweep, are not computed again.
    """
    began = time.perf_counter()
    settle(out)
    found = finished_sweep(planned, out) if mode in ("resume", "repair") else None
    if found is not None and not unfinished(out):
        return found
    with opened(out, _job(planned, WHOLE, base), overwrite=overwrite, mode=mode) as work:
        record = _computed(planned, work, began, progress, checkpoint_seconds)
        _finish(planned, work, record, base)
    return load(out)


def run_part(
    planned: Planned,
    out: Path,
    part: Part,
    *,
    together: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> bool:
    """Compute one part of the blocks, of which other processes compute the rest.

    The part that ends last finishes the result; or, of parts that work `together` at the same time,
    the first of them, and all others wait for it. Returns whether the result is finished; if a part
    is lost, `run_sweep` with the mode "resume" does what is missing.
    """
    began = time.perf_counter()
    done = mode != "restart" and not overwrite and not unfinished(out)
    if done and finished_sweep(planned, out) is not None:
        return True
    # Whoever comes first begins; the others join.
    way = "resume" if mode == "refuse" else mode
    mark = place(out) / f"{_FAILED}{part.index}"
    with opened(out, _job(planned, part, None), overwrite=overwrite, mode=way, part=part) as work:
        with _marked(mark):
            record = _computed(planned, work, began, progress, checkpoint_seconds)
        if together and part.index > 0:
            _wait(out, lambda: not place(out).exists())
            return True
        if together:
            _wait(out, lambda: not work.missing())
        with work.alone() as last:
            if last:
                with _marked(mark):
                    _finish(planned, work, record, None)
        return last


def _computed(
    planned: Planned, work: Work, began: float, progress: Progress, checkpoint_seconds: float
) -> dict[str, Any]:
    """Compute what is missing; the manifest as far as it goes."""
    # Before the simulation: whatever cannot be described must not cost a finished one.
    record = sweep_manifest(planned.config, planned.sweep, work.study)
    solved = time.perf_counter()
    compute(work, progress, checkpoint_seconds)
    seconds = {"setup": solved - began, "simulation": time.perf_counter() - solved}
    return record | {"seconds": {name: round(taken, 3) for name, taken in seconds.items()}}


def _finish(planned: Planned, work: Work, record: dict[str, Any], base: Stored | None) -> None:
    """Write what goes with the curves, and put the result in its place."""
    began = time.perf_counter()
    scratch, known, study = work.result, work.finish(), work.study
    if study.keep == "summary":
        write_summary(scratch / CURVES, summary_of(study, work.summaries(), planned.sweep))
    write_json(scratch / SUMMARY, sweep_summary(study, open_curves(scratch)))
    (scratch / CONFIG).write_text(resolved_toml(planned.config), encoding="utf-8")
    record["seconds"]["summary"] = round(time.perf_counter() - began, 3)
    record["blocks"] = {"all": len(work.blocks), "resumed": work.resumed}
    record["extended"] = extended(base)
    record["warnings"] = [*work.notes, *failures_of(open_curves(scratch))]
    record["contents"] = contents(scratch, known)
    write_json(scratch / MANIFEST, record)
    work.publish()


def _job(planned: Planned, part: Part, base: Stored | None) -> Job:
    study = dataclasses.replace(planned.study, shares=part.count)
    if base is not None:
        study = dataclasses.replace(study, width=int(base.manifest["block_lanes"]))
    return Job(
        planned.config.model_dump(mode="json"),
        lambda lanes: study if lanes is None else dataclasses.replace(study, width=lanes),
        planned.sweep.labels,
        planned.sweep.attributes(),
        base_of(base),
    )


def add_sweep_runs(
    source: Path,
    runs: int,
    *,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Stored:
    """Add runs to every configuration of a finished sweep, in its place; see `extend.add_runs`."""
    settle(source)
    stored = load(source)
    if stored.config.sweep is None or stored.manifest["keep"] != "runs":
        accepted = "a result of dpe sweep with --keep runs: statistics cannot be taken apart again"
        raise InputError("DIR", str(source), accepted)
    going_on = mode in ("resume", "repair") and not unfinished(source)
    if going_on and was_extended(stored, runs):
        return stored
    config = override(stored.config, {"runs": stored.config.runs + runs})
    return run_sweep(
        plan_sweep(config),
        source,
        overwrite=True,
        progress=progress,
        mode=mode,
        checkpoint_seconds=checkpoint_seconds,
        base=stored,
    )


def finished_sweep(planned: Planned, out: Path) -> Stored | None:
    """The result that is there already, if it is a whole one of just this sweep."""
    if not holds(out, planned.config):
        return None
    stored = load(out)
    return stored if stored.manifest.get("keep") == planned.study.keep else None


@contextlib.contextmanager
def _marked(mark: Path) -> Iterator[None]:
    """Leave a mark where a part fails, for those that wait for it."""
    mark.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            mark.touch()
        raise


def _wait(out: Path, done: Callable[[], bool]) -> None:
    """Wait for other processes, whose progress shows in the folder that all see."""
    while not done():
        failed = [path.name.removeprefix(_FAILED) for path in place(out).glob(f"{_FAILED}*")]
        if failed:
            accepted = "one that finishes its part (its own log says why); --resume goes on"
            raise InputError("--process", failed[0], accepted)
        time.sleep(_LOOK_SECONDS)


_FAILED = "failed-"
"""How the mark of a part that failed is called, before its number."""

_LOOK_SECONDS = 0.2
"""Between two looks at what others have done."""
