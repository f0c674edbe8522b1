"""Experiments: a preset or a configuration file, run, checked and written to disk."""

import dataclasses
import shutil
import time
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD, GeometricDP
from dpe_jax.config import Config, parse
from dpe_jax.durable import CHECKPOINT_SECONDS, Base, Job
from dpe_jax.errors import InputError
from dpe_jax.folder import MANIFEST, TRACE, contents, write_json
from dpe_jax.journal import fingerprint
from dpe_jax.lattice import LEFT_RANGE, NON_FINITE, STATUS_NAMES
from dpe_jax.results import (
    Stored,
    config_hash,
    holds,
    load,
    manifest,
    open_curves,
    read_config,
    resolved_toml,
    write_trace,
)
from dpe_jax.simulation import Simulation
from dpe_jax.study import Progress, Study
from dpe_jax.summary import Check, checks, counted, failures, summarize
from dpe_jax.tracing import joined
from dpe_jax.unfinished import Mode, opened, settle, unfinished

if TYPE_CHECKING:
    import xarray as xr


def presets() -> dict[str, Config]:
    """The configurations that come with the package, by name."""
    folder = resources.files("dpe_jax") / "presets"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")),
        key=lambda file: file.name,
    )
    import tomllib

    return {file.name[:-5]: parse(tomllib.loads(file.read_text("utf-8"))) for file in files}


def find_config(name: str) -> Config:
    """A preset by name, or a configuration from a .toml file."""
    if name.endswith(".toml"):
        return read_config(Path(name))
    known = presets()
    if name not in known:
        raise InputError(
            "PRESET|CONFIG", name, f"one of {', '.join(known)}, or a path that ends in .toml"
        )
    return known[name]


def override(config: Config, changes: dict[str, Any]) -> Config:
    """The configuration with top-level keys, or `points` of its record, replaced and validated."""
    top = {key: value for key, value in changes.items() if key != "points"}
    tables = config.model_dump(mode="json", exclude_none=True) | top
    if "points" in changes:
        tables["record"] = tables["record"] | {"points": changes["points"]}
    return parse(tables)


def default_folder(config: Config) -> Path:
    """dpe-results/<name>-<first digits of the configuration's hash>."""
    return Path("dpe-results") / f"{config.name}-{config_hash(config)[:8]}"


def replaces(out: Path, config: Config, asked: bool, default: bool) -> bool:
    """Whether a result in a folder is to be replaced, by one of a configuration.

    A `default` folder is named after the configuration: what is there is the same result, unless
    runs have been added to it.
    """
    return asked or (default and (holds(out, config) or not (out / MANIFEST).is_file()))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A finished experiment."""

    stored: Stored
    checks: list[Check]
    warnings: list[str]
    new: bool = True
    """Whether it was finished just now."""


def run(
    config: Config,
    out: Path,
    *,
    overwrite: bool = False,
    check: bool = False,
    progress: Progress = lambda *_: None,
    mode: Mode = "refuse",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    base: Stored | None = None,
) -> Outcome:
    """Simulate a configuration and write its result folder, whole or not at all.

    What is finished is kept in a folder beside it from block to block, and of blocks in flight
    every so many seconds (0: as often as may be), until the result is whole. `mode` says what to
    do about such a folder, or with "resume" about a finished result of this configuration: it is
    taken as it is. Runs of `base`, a result of fewer runs of this configuration, are not computed
    again. InterruptedRunError where an interrupt leaves something to go on from.
    """
    import jax

    began = time.perf_counter()
    settle(out)
    if mode in ("resume", "repair") and not unfinished(out):
        found = finished(out, config, check=check)
        if found is not None:
            return found
    simulation = config.build()
    notes = _conditions(simulation)
    job = _job(config, simulation, base)
    with opened(out, job, overwrite=overwrite, mode=mode) as work:
        # Before the simulation: whatever cannot be described must not cost a finished one.
        record = manifest(config, work.study)
        solved = time.perf_counter()
        try:
            work.compute(progress, checkpoint_seconds)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            accepted = "fewer lanes: the device has no memory for these"
            raise InputError("block", work.study.block_lanes, accepted) from error
        simulated = time.perf_counter()
        scratch, known = work.result, work.finish()
        curves = open_curves(scratch)
        summary = summarize(simulation, work.study.optima[0], curves, config.checks.decay_from)
        notes += [*work.notes, *_failures(simulation, summary), *_on_the_box(simulation, curves)]
        made = _checked(config, summary) if check else []
        summary["checks"] = [item._asdict() for item in made]
        summary["warnings"] = notes
        for method, pieces in work.traces().items():
            write_trace(scratch / TRACE, method, joined(pieces), simulation)
        if base is not None and (base.path / TRACE).is_dir():
            shutil.copytree(base.path / TRACE, scratch / TRACE)
        (scratch / "config.toml").write_text(resolved_toml(config), encoding="utf-8")
        write_json(scratch / "summary.json", summary)
        record["seconds"] = {
            "setup": round(solved - began, 3),
            "simulation": round(simulated - solved, 3),
            "summary": round(time.perf_counter() - simulated, 3),
        }
        record["blocks"] = {"all": len(work.blocks), "resumed": work.resumed}
        record["extended"] = _extended(base)
        if base is not None and "verifications" in base.manifest:
            # Of the traces, which are those of the base.
            record["verifications"] = base.manifest["verifications"]
        record["status"] = {name: method["status"] for name, method in summary["methods"].items()}
        record["warnings"] = notes
        record["contents"] = contents(scratch, known)
        write_json(scratch / "manifest.json", record)
        work.publish()
    return Outcome(load(out), made, notes)


def finished(out: Path, config: Config, *, check: bool = False) -> Outcome | None:
    """The outcome that is there already, if it is a whole one of just this configuration."""
    if not holds(out, config):
        return None
    stored = load(out)
    made: list[Check] = []
    if check:
        simulation = config.build()
        optimum, first = simulation.problem.solve(), config.checks.decay_from
        made = _checked(config, summarize(simulation, optimum, stored.curves, first))
    return Outcome(stored, made, list(stored.manifest["warnings"]), new=False)


def _checked(config: Config, summary: dict[str, Any]) -> list[Check]:
    """The checks that a configuration asks for."""
    return checks(config.checks, summary)


def _job(config: Config, simulation: Simulation, base: Stored | None) -> Job:
    """What is computed; blocks that go on from a base are like its own, unless that is costly."""
    plain = Study((simulation,))
    tables = config.model_dump(mode="json")
    if base is None:
        return Job(tables, lambda lanes: dataclasses.replace(plain, width=lanes))
    lanes_then = int(base.manifest["block_lanes"])
    usual = plain.block_lanes
    first = lanes_then if usual <= _WIDER * lanes_then else usual
    identity = fingerprint(base.manifest["contents"])
    return Job(
        tables,
        lambda lanes: dataclasses.replace(plain, width=first if lanes is None else lanes),
        base=Base(base.path.resolve(), base.config.runs, identity),
    )


_WIDER = 4
"""Blocks that are narrower than usual by more than this are given up when runs are added."""


def _extended(base: Stored | None) -> list[dict[str, Any]]:
    """The results that this one has taken runs from: how many runs each had, and when written."""
    if base is None:
        return []
    before = base.manifest.get("extended", [])
    return [*before, {"runs": base.config.runs, "written": base.manifest["written"]}]


def _conditions(simulation: Simulation) -> list[str]:
    """What a reader should know before the simulation begins."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulation.warn()
    notes = [str(warning.message) for warning in caught]
    if simulation.trace:
        untraced = [
            name
            for name, method in simulation.algorithms.items()
            if not isinstance(method, EncryptedDSGD)
        ]
        if len(untraced) == len(simulation.algorithms):
            notes.append(f"nothing is traced: {', '.join(untraced)} have no integer state")
    return notes


def _on_the_box(simulation: Simulation, curves: "xr.Dataset") -> list[str]:
    """One line for each projected method of which runs end where the projection holds them."""
    lines = []
    for name, algorithm in simulation.algorithms.items():
        if isinstance(algorithm, GeometricDP):
            final = abs(curves.final_state.sel(algorithm=name))
            held = int((final >= algorithm.radius).any(["agent", "coordinate"]).sum())
            if held:
                lines.append(
                    f"{name}: {held} of {simulation.runs} runs end on the box |x_l| ≤ "
                    f"{algorithm.radius:g} that x is projected on, as runs that diverge do"
                )
    return lines


def _failures(simulation: Simulation, summary: dict[str, Any]) -> list[str]:
    """One line for each method of which runs failed: how many, when and why."""
    lines = []
    for name, method in summary["methods"].items():
        failed = failures(method["status"])
        if failed:
            reach = simulation.algorithms[name].reach()
            not_finite = "non-finite: a gradient or an increment was NaN or infinite"
            reasons = {
                STATUS_NAMES[LEFT_RANGE]: f"the range is |x| ≤ {reach:.6g}",
                STATUS_NAMES[NON_FINITE]: not_finite,
            }
            why = "; ".join(reasons[state] for state in failed)
            lines.append(
                f"{name}: of {summary['runs']} runs {counted(failed)}, the first by iteration "
                f"{method['first_failure']}; {why}; they are left out of means from then on"
            )
        infinite = [metric for metric, final in method["final"].items() if np.isinf(final["mean"])]
        if infinite:
            lines.append(f"{name}: {', '.join(infinite)} left the range of float32 in sound runs")
    return lines
