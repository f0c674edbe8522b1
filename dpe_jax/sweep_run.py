"""A whole sweep: its configurations as one study, run and written to disk."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dpe_jax.config import Config
from dpe_jax.distributed import WHOLE, Part
from dpe_jax.durable import CHECKPOINT_SECONDS, Job
from dpe_jax.errors import InputError
from dpe_jax.experiment import base_of, compute, extended, override
from dpe_jax.extend import was_extended
from dpe_jax.folder import CONFIG, CURVES, MANIFEST, SUMMARY, contents, write_json
from dpe_jax.recording import Keep
from dpe_jax.results import Stored, holds, load, open_curves, resolved_toml
from dpe_jax.study import Progress, Study
from dpe_jax.sweep_results import (
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
    return Planned(config, sweep, Study(simulations(sweep), keep))


def run_sweep(
    planned: Planned,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    part: Part = WHOLE,
    together: bool = False,
    base: Stored | None = None,
) -> Stored | None:
    """Simulate all configurations and write their folder, whole or not at all.

    What is finished is kept beside it, as by `experiment.run`. Of several processes each computes
    its `part`, and returns None; a last one without a part finishes the result, with the mode
    "resume". Parts that work `together` wait for each other instead, and the first one finishes.
    Runs of `base`, a result of fewer runs of this sweep, are not computed again.
    """
    began = time.perf_counter()
    config = planned.config
    if part == WHOLE:
        settle(out)
        found = finished_sweep(planned, out) if mode in ("resume", "repair") else None
        if found is not None and not unfinished(out):
            return found
    sweep = planned.sweep
    job = _job(planned, part, base)
    # Whoever comes first begins; the others join.
    way = "resume" if part.count > 1 and mode == "refuse" else mode
    where = part.index, part.count
    with opened(out, job, overwrite=overwrite, mode=way, part=where) as work:
        # Before the simulation: whatever cannot be described must not cost a finished one.
        record = sweep_manifest(config, sweep, work.study)
        solved = time.perf_counter()
        with _marked(place(out) / f"{_FAILED}{part.index}"):
            compute(work, progress, checkpoint_seconds)
        simulated = time.perf_counter()
        if part.count > 1:
            if not together:
                return None
            if part.index > 0:
                _wait(out, lambda: not place(out).exists())
                return load(out)
            _wait(out, lambda: not work.missing())
        scratch, known = work.result, work.finish()
        if work.study.keep == "summary":
            write_summary(scratch / CURVES, summary_of(work.study, work.summaries(), sweep))
        write_json(scratch / SUMMARY, sweep_summary(work.study, open_curves(scratch)))
        (scratch / CONFIG).write_text(resolved_toml(config), encoding="utf-8")
        record["seconds"] = {
            "setup": round(solved - began, 3),
            "simulation": round(simulated - solved, 3),
            "summary": round(time.perf_counter() - simulated, 3),
        }
        record["blocks"] = {"all": len(work.blocks), "resumed": work.resumed}
        record["extended"] = extended(base)
        record["warnings"] = work.notes
        record["contents"] = contents(scratch, known)
        write_json(scratch / MANIFEST, record)
        work.publish()
    return load(out)


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
    found = run_sweep(
        plan_sweep(config),
        source,
        overwrite=True,
        progress=progress,
        mode=mode,
        checkpoint_seconds=checkpoint_seconds,
        base=stored,
    )
    assert found is not None  # a part alone returns none
    return found


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
