"""More runs of a finished result, without computing again what it has."""

from pathlib import Path

from dpe_jax import experiment
from dpe_jax.durable import CHECKPOINT_SECONDS
from dpe_jax.experiment import Outcome
from dpe_jax.results import Stored, load
from dpe_jax.study import Progress
from dpe_jax.unfinished import Mode, settle, unfinished


def add_runs(
    source: Path,
    runs: int,
    out: Path | None = None,
    *,
    overwrite: bool = False,
    check: bool = False,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Outcome:
    """Add runs to a finished result, in its place or as a new result at `out`.

    Run numbers go on where the result ends, so it becomes that of a run that had as many from the
    start, traces apart, which are as they were: to the bit for problems that are evaluated element
    by element. The old result stays until the new one is whole. With the mode "resume", an
    addition of as many runs that was finished already is not made once more.
    """
    settle(source)
    stored = load(source)
    same = out is None or out.resolve() == source.resolve()
    target = source if out is None or same else out
    if (
        mode in ("resume", "repair")
        and same
        and not unfinished(target)
        and was_extended(stored, runs)
    ):
        found = experiment.finished(target, stored.config, check=check)
        if found is not None:
            return found
    config = experiment.override(stored.config, {"runs": stored.config.runs + runs})
    return experiment.run(
        config,
        target,
        overwrite=overwrite or same,
        check=check,
        progress=progress,
        mode=mode,
        checkpoint_seconds=checkpoint_seconds,
        base=stored,
    )


def was_extended(stored: Stored, runs: int) -> bool:
    """Whether so many runs are what was added last."""
    extended = stored.manifest.get("extended", [])
    return bool(extended) and extended[-1]["runs"] + runs == stored.config.runs
