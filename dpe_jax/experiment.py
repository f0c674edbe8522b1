"""Experiments: a preset or a configuration file, run, checked and written to disk."""

import dataclasses
import time
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD, GeometricDP
from dpe_jax.config import Config, parse
from dpe_jax.errors import InputError
from dpe_jax.folder import contents, replacing, write_json
from dpe_jax.lattice import LEFT_RANGE, NON_FINITE, STATUS_NAMES
from dpe_jax.results import (
    CurveStore,
    Stored,
    config_hash,
    load,
    manifest,
    open_curves,
    read_config,
    resolved_toml,
    write_trace,
)
from dpe_jax.simulation import Simulation
from dpe_jax.study import Progress, Study
from dpe_jax.summary import (
    Check,
    certified,
    checks,
    convergence_checks,
    counted,
    failures,
    summarize,
)
from dpe_jax.tracing import Trace, joined

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


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A finished experiment."""

    stored: Stored
    checks: list[Check]
    warnings: list[str]


def run(
    config: Config,
    out: Path,
    *,
    overwrite: bool = False,
    check: bool = False,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Simulate a configuration and write its result folder, whole or not at all."""
    began = time.perf_counter()
    simulation = config.build()
    notes = _conditions(simulation)
    with replacing(out, overwrite=overwrite) as scratch:
        study = Study((simulation,))
        optimum = study.optima[0]
        # Before the simulation: whatever cannot be described must not cost a finished one.
        record = manifest(config, study)
        solved = time.perf_counter()
        _simulate(study, scratch, progress)
        simulated = time.perf_counter()
        summary = summarize(simulation, optimum, open_curves(scratch), config.checks.decay_from)
        notes += [*_failures(simulation, summary), *_on_the_box(simulation, open_curves(scratch))]
        made = []
        if check:
            study = certified(config.checks, summary, open_curves(scratch))
            made = [*checks(config.checks, summary), *convergence_checks(study)]
        summary["checks"] = [item._asdict() for item in made]
        summary["warnings"] = notes
        (scratch / "config.toml").write_text(resolved_toml(config), encoding="utf-8")
        write_json(scratch / "summary.json", summary)
        record["seconds"] = {
            "setup": round(solved - began, 3),
            "simulation": round(simulated - solved, 3),
            "summary": round(time.perf_counter() - simulated, 3),
        }
        record["status"] = {name: method["status"] for name, method in summary["methods"].items()}
        record["warnings"] = notes
        record["contents"] = contents(scratch)
        write_json(scratch / "manifest.json", record)
    return Outcome(load(out), made, notes)


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


def _simulate(study: Study, folder: Path, progress: Progress) -> None:
    """Write the curves, block by block, and the traces."""
    import jax

    store = CurveStore(folder / "curves.zarr", study)
    traces: dict[str, list[Trace]] = {}
    try:
        for block, recording in study.recordings(progress):
            store.write(block, recording)
            if recording.trace is not None:
                traces.setdefault(block.method, []).append(recording.trace)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        accepted = "fewer lanes: the device has no memory for these"
        raise InputError("block", study.block_lanes, accepted) from error
    for method, pieces in traces.items():
        write_trace(folder / "trace.zarr", method, joined(pieces), study.common)


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
