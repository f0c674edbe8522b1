"""A whole sweep: its configurations as one study, run and written to disk."""

import dataclasses
import time
from pathlib import Path

from dpe_jax.config import Config
from dpe_jax.errors import InputError
from dpe_jax.folder import CURVES, contents, replacing, write_json
from dpe_jax.recording import Keep
from dpe_jax.results import CurveStore, Stored, load, open_curves, resolved_toml
from dpe_jax.study import Progress, Study
from dpe_jax.sweep_results import (
    simulations,
    summary_of,
    sweep_manifest,
    sweep_summary,
    write_summary,
)
from dpe_jax.sweeps import Sweep, expand


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
) -> Stored:
    """Simulate all configurations and write their folder, whole or not at all."""
    began = time.perf_counter()
    config, sweep, study = planned.config, planned.sweep, planned.study
    with replacing(out, overwrite=overwrite) as scratch:
        record = sweep_manifest(config, sweep, study)
        solved = time.perf_counter()
        if study.keep == "summary":
            write_summary(scratch / CURVES, summary_of(study, study.recordings(progress), sweep))
        else:
            store = CurveStore(scratch / CURVES, study, sweep.labels, sweep.attributes())
            for block, recording in study.recordings(progress):
                store.write(block, recording)
        simulated = time.perf_counter()
        write_json(scratch / "summary.json", sweep_summary(study, open_curves(scratch)))
        (scratch / "config.toml").write_text(resolved_toml(config), encoding="utf-8")
        record["seconds"] = {
            "setup": round(solved - began, 3),
            "simulation": round(simulated - solved, 3),
            "summary": round(time.perf_counter() - simulated, 3),
        }
        record["contents"] = contents(scratch)
        write_json(scratch / "manifest.json", record)
    return load(out)
