"""What a result folder holds: curves, traces and the manifest, written and read back."""

import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.blocks import Block
from dpe_jax.config import Config, parse
from dpe_jax.errors import InputError
from dpe_jax.folder import CONFIG, CURVES, MANIFEST, SUMMARY, TRACE, contents, read_json
from dpe_jax.lattice import FRACTION_BITS, STATUS_NAMES
from dpe_jax.layout import dimensions
from dpe_jax.observe import LABELS
from dpe_jax.recording import Recording
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study
from dpe_jax.sweeps import as_read, as_written
from dpe_jax.tracing import Trace

if TYPE_CHECKING:
    import xarray as xr


_PACKAGES = (
    *("dpe-jax", "jax", "jaxlib", "numpy", "equinox"),
    *("scipy", "scikit-learn", "networkx", "optax", "xarray", "zarr"),
)
"""Whose versions the manifest names."""

_CHUNK_VALUES = 2**20
"""Values in one stored chunk, before compression."""


def config_hash(config: Config) -> str:
    """SHA-256 of the resolved configuration: equal hashes are equal simulations."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def resolved_toml(config: Config) -> str:
    """The resolved configuration as TOML; keys that are unset are left out."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def read_config(path: Path) -> Config:
    """A configuration from a TOML file; InputError if it cannot be read."""
    import tomllib

    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError("CONFIG", str(path), f"a readable file ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("CONFIG", str(path), f"valid TOML ({error})") from error
    return parse(tables)


class CurveStore:
    """curves.zarr, filled block by block; memory stays that of one block."""

    def __init__(
        self,
        path: Path,
        study: Study,
        labels: Mapping[str, np.ndarray] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """A study of several configurations has `labels` of them, one a configuration each."""
        import xarray as xr
        import zarr

        simulation = study.common
        self._study, self._swept = study, labels is not None
        coordinates: dict[str, Any] = dict(simulation.labels)
        if labels is not None:
            coordinates = {key: coordinates[key] for key in ("algorithm", "iteration", "run")}
            coordinates["configuration"] = np.arange(len(study.simulations))
            coordinates |= {key: ("configuration", value) for key, value in labels.items()}
        frame = xr.Dataset(
            coords=coordinates, attrs={"iterations": simulation.iterations, **(attributes or {})}
        )
        # Zarr format 2: the specification of strings in format 3 is not settled yet.
        as_written(frame).to_zarr(path, mode="w", consolidated=False, zarr_format=2)
        group = zarr.open_group(path, mode="a", zarr_format=2)
        lanes = study.block_runs
        self._arrays = {}
        for name in (*study.metrics, "status", "failed_at", "final_state"):
            dims = dimensions(name, swept=self._swept)
            if self._swept and name == "final_state":
                continue
            shape = tuple(frame.sizes[dim] for dim in dims)
            chunks = _chunks(shape, lanes, leading=1 + self._swept)
            dtype = {"status": "i1", "failed_at": "i8", "final_state": "f8"}.get(name, "f4")
            array = group.create_array(
                name,
                shape=shape,
                chunks=chunks,
                dtype=dtype,
                fill_value=_FILL.get(name, np.nan),
                # By default a chunk of fill values is left out, and is then like a lost one.
                config={"write_empty_chunks": True},
            )
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
            if name in LABELS:
                array.attrs["long_name"] = LABELS[name]
            self._arrays[name] = array

    def write(self, block: Block, recording: Recording) -> None:
        """Store one block of one method."""
        row = self._study.methods.index(block.method)
        lanes = slice(block.first, block.first + block.runs)
        values: dict[str, np.ndarray] = {
            **recording.curves,
            "status": recording.status,
            "failed_at": recording.failed_at,
            "final_state": recording.final,
        }
        if not self._swept:
            for name, array in self._arrays.items():
                array[(row, ..., lanes)] = values[name]
            return
        twins = np.array(self._study.twins[block.method])
        for column, configuration in enumerate(block.configurations):
            own = slice(column * block.runs, (column + 1) * block.runs)
            for twin in np.flatnonzero(twins == configuration).tolist():
                for name, array in self._arrays.items():
                    array[(row, twin, ..., lanes)] = values[name][..., own]


_FILL = {"status": -1, "failed_at": -2}


def _chunks(shape: tuple[int, ...], lanes: int, leading: int) -> tuple[int, ...]:
    """One method and configuration, one block of lanes, and rows enough for a middling chunk."""
    width = max(1, min(lanes, shape[-1]))
    ones = (1,) * leading
    if len(shape) == leading + 1:
        return (*ones, width)
    rest = shape[leading + 1 : -1]
    at_a_time = _CHUNK_VALUES // (width * int(np.prod(rest, dtype=np.int64)))
    return (*ones, max(1, min(shape[leading], at_a_time)), *rest, width)


def trace_dataset(method: str, trace: Trace, simulation: Simulation) -> "xr.Dataset":
    """The integers of the traced lanes, and all that a replay needs beside them.

    Where a lane's `status` is not ok, its integers hold up to the first |Y| > 2⁶⁰ only.
    """
    import xarray as xr

    algorithm, network = simulation.algorithms[method], simulation.network
    table = algorithm.table(network, np.arange(simulation.iterations, dtype=np.int64))
    described = algorithm.describe()
    of_iteration = "lane", "iteration", "agent", "coordinate"
    return xr.Dataset(
        {
            "trace_state": (("lane", "moment", "agent", "coordinate"), trace.state),
            "trace_level": (of_iteration, trace.level),
            "trace_sum": (of_iteration, trace.sums),
            "trace_increment": (of_iteration, trace.increment),
            "gain": (("iteration",), table.gain),
            "increment_scale": (("iteration",), table.increment_scale),
            "status": ("lane", trace.status),
            "coupling": (("agent", "neighbor"), network.coupling),
        },
        {"run": ("lane", trace.run.astype(np.int64))},
        {
            "method": method,
            "denominator": network.denominator,
            "delta": described["delta"],
            "rounding": described["rounding"],
            **{f"factors_{key}": value for key, value in described["factors"].items()},
            "seed": str(simulation.seed),
            "precision": simulation.precision,
            "fraction_bits": FRACTION_BITS,
        },
    )


def write_trace(path: Path, method: str, trace: Trace, simulation: Simulation) -> None:
    """trace.zarr, one group a method."""
    dataset = trace_dataset(method, trace, simulation)
    dataset.to_zarr(path, group=method, mode="a", consolidated=False, zarr_format=2)


def manifest(config: Config, study: Study) -> dict[str, Any]:
    """What is run, with what, on what."""
    import jax

    simulation, optimum = study.common, study.optima[0]
    device = jax.devices()[0]
    return {
        "name": config.name,
        "config_hash": config_hash(config),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cpus": os.cpu_count(),
            "workers": len(study.devices),
            "machine": platform.machine(),
        },
        "seed": simulation.seed,
        "runs": simulation.runs,
        "iterations": simulation.iterations,
        "block_lanes": study.block_lanes,
        "precision": simulation.precision,
        "trace": list(simulation.trace),
        "network": simulation.network.summary(),
        "lemma_1_from": {
            name: _lemma1_from(simulation, method)
            for name, method in simulation.algorithms.items()
            if isinstance(method, EncryptedDSGD)
        },
        "problem": simulation.problem.describe(),
        "optimum": {
            "x": np.asarray(optimum.x).tolist() if simulation.problem.has_optimum else None,
            "value": optimum.value,
            "gradient_norm": optimum.gradient_norm,
            "method": optimum.method,
        },
        "methods": {name: method.describe() for name, method in simulation.algorithms.items()},
        "wire": {
            name: dataclasses.asdict(method.wire())
            for name, method in simulation.algorithms.items()
        },
        "budget": {
            name: None if budget is None else budget.describe()
            for name, budget in simulation.budgets().items()
        },
        "headroom": simulation.headroom(),
        "conditions": {
            name: [
                {
                    "name": condition.name,
                    "statement": condition.statement,
                    "holds": condition.holds,
                    "detail": condition.detail,
                }
                for condition in conditions
            ]
            for name, conditions in simulation.conditions().items()
        },
        "status_names": list(STATUS_NAMES),
    }


def _lemma1_from(simulation: Simulation, method: EncryptedDSGD) -> int | None:
    try:
        return simulation.network.lemma1_from(method.gamma)
    except InputError:
        # γ^k is only promised up to the last iteration, and Lemma 1 is looked at far beyond it.
        return None


def holds(folder: Path, config: Config) -> bool:
    """Whether a folder has a result of just this configuration."""
    try:
        return read_json(folder / MANIFEST).get("config_hash") == config_hash(config)
    except (OSError, ValueError):
        return False


@dataclasses.dataclass(frozen=True)
class Stored:
    """A finished result, read from its folder."""

    path: Path
    config: Config
    manifest: dict[str, Any]
    summary: dict[str, Any]
    curves: "xr.Dataset"

    def traces(self) -> dict[str, "xr.Dataset"]:
        """The traced lanes of each method on the lattice; empty if none was traced."""
        import xarray as xr

        store = self.path / TRACE
        if not store.is_dir():
            return {}
        names = sorted(folder.name for folder in store.iterdir() if folder.is_dir())
        return {
            name: xr.open_zarr(store, group=name, consolidated=False, chunks=None) for name in names
        }


def load(path: Path | str) -> Stored:
    """Read a result; InputError if the folder does not hold a whole one, as it was written."""
    path = Path(path)

    def refused(accepted: str) -> InputError:
        return InputError("DIR", str(path), accepted)

    try:
        for name in (MANIFEST, SUMMARY, CONFIG, CURVES):
            if not (path / name).exists():
                raise refused(f"a folder written by dpe run ({name} is missing)")
        read_manifest = read_json(path / MANIFEST)
        summary = read_json(path / SUMMARY)
        found = contents(path)
        recorded = read_manifest.get("contents")
        held = recorded if isinstance(recorded, dict) else {}
        for name in sorted({*found, *map(str, held)}):
            if found.get(name) != held.get(name):
                raise refused(f"a whole result ({name} is not as it was written)")
        config = read_config(path / CONFIG)
        if config_hash(config) != read_manifest.get("config_hash"):
            raise refused("a result whose config.toml has the hash that manifest.json names")
        curves = open_curves(path)
        if "run" in curves.dims and int(curves.status.values.min()) < 0:
            raise refused("a whole result (curves.zarr has lanes that were never written)")
    except OSError as error:
        raise refused(f"a readable folder ({error.strerror or error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise refused(f"a result with readable JSON ({error})") from error
    return Stored(path, config, read_manifest, summary, curves)


def open_curves(path: Path) -> "xr.Dataset":
    """The curves of a result folder, read from disk as they are used."""
    import xarray as xr

    return as_read(
        xr.open_zarr(path / CURVES, consolidated=False, chunks=None, mask_and_scale=False)
    )
