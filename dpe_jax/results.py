"""A result on disk: written whole or not at all, and read back labelled."""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.config import Config, parse
from dpe_jax.engine import Recording, Trace
from dpe_jax.errors import InputError
from dpe_jax.lattice import FRACTION_BITS, STATUS_NAMES
from dpe_jax.layout import dimensions
from dpe_jax.observe import LABELS
from dpe_jax.problems import Optimum
from dpe_jax.simulation import Simulation

if TYPE_CHECKING:
    import xarray as xr

_MANIFEST, _SUMMARY, _CONFIG = "manifest.json", "summary.json", "config.toml"
_CURVES, _TRACE = "curves.zarr", "trace.zarr"
_OWN = {_MANIFEST, _SUMMARY, _CONFIG, _CURVES, _TRACE, "figures"}

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


@contextlib.contextmanager
def replacing(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A scratch folder beside `out` that becomes `out` on success and vanishes on failure.

    An existing `out` is only replaced, and only at the very end, if it is empty, or if it holds a
    result (a manifest.json) and `overwrite` is set. A disk that is full or not writable is an
    InputError, and leaves what was there.
    """
    given, out = out, out.resolve()
    if not out.name:
        raise InputError("--out", str(given), "a folder of its own, not the root")
    unique = uuid.uuid4().hex[:8]
    scratch, retired = (
        out.with_name(f".{out.name}.{word}-{unique}") for word in ("partial", "old")
    )
    try:
        _check_replaceable(given, overwrite)
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
        yield scratch
        if not out.exists():
            scratch.rename(out)
            return
        _check_replaceable(given, overwrite)
        out.rename(retired)
        try:
            scratch.rename(out)
        except BaseException:
            retired.rename(out)
            raise
        shutil.rmtree(retired, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("--out", str(given), f"a writable place with room ({reason})") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_replaceable(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError("--out", str(out), "a folder; this is a file")
    if out.is_dir() and any(out.iterdir()):
        if not (out / _MANIFEST).is_file():
            raise InputError("--out", str(out), "a new folder, or one that holds a dpe result")
        others = {path.name for path in out.iterdir()} - _OWN
        if others:
            accepted = f"a folder without files of others ({min(others)} would be lost)"
            raise InputError("--out", str(out), accepted)
        if not overwrite:
            raise InputError("--out", str(out), "a new folder; add --overwrite to replace a result")


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """What a finished folder holds: digests of its files and of its stores.

    Kept in the manifest, they tell a store that has lost a chunk, which would be read as fill
    values, or in which one has changed.
    """
    held: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name in (_CONFIG, _SUMMARY):
            held[path.name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        elif path.is_dir() and path.suffix == ".zarr":
            files = sorted(file for file in path.rglob("*") if file.is_file())
            digest = hashlib.sha256()
            for file in files:
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
            held[path.name] = {"files": len(files), "sha256": digest.hexdigest()}
    return held


class CurveStore:
    """curves.zarr, filled block by block; memory stays that of one block."""

    def __init__(self, path: Path, simulation: Simulation) -> None:
        import xarray as xr
        import zarr

        self._methods = list(simulation.algorithms)
        labels = simulation.labels
        frame = xr.Dataset(coords=labels, attrs={"iterations": simulation.iterations})
        # Zarr format 2: the specification of strings in format 3 is not settled yet.
        frame.to_zarr(path, mode="w", consolidated=False, zarr_format=2)
        group = zarr.open_group(path, mode="a", zarr_format=2)
        lanes = simulation.block_lanes
        self._arrays = {}
        for name in (*simulation.metrics, "status", "failed_at", "final_state"):
            dims = dimensions(name)
            shape = tuple(len(labels[dim]) for dim in dims)
            chunks = _chunks(shape, lanes)
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

    def write(self, method: str, recording: Recording) -> None:
        """Store one block of one method."""
        row = self._methods.index(method)
        first, last = int(recording.run[0]), int(recording.run[-1])
        lanes = slice(first, last + 1)
        values: dict[str, np.ndarray] = {
            **recording.curves,
            "status": recording.status,
            "failed_at": recording.failed_at,
            "final_state": recording.final,
        }
        for name, value in values.items():
            self._arrays[name][(row, ..., lanes)] = value


_FILL = {"status": -1, "failed_at": -2}


def _chunks(shape: tuple[int, ...], lanes: int) -> tuple[int, ...]:
    """One method, one block of lanes, and as many of the other rows as make a middling chunk."""
    width = max(1, min(lanes, shape[-1]))
    if len(shape) == 2:
        return (1, width)
    rest = shape[2:-1]
    rows = max(1, min(shape[1], _CHUNK_VALUES // (width * int(np.prod(rest, dtype=np.int64)))))
    return (1, rows, *rest, width)


def write_trace(path: Path, method: str, trace: Trace, simulation: Simulation) -> None:
    """trace.zarr, one group a method: the integers, and all that a replay needs beside them.

    Where a lane's `status` is not ok, its integers hold up to the first |Y| > 2⁶⁰ only.
    """
    import xarray as xr

    algorithm, network = simulation.algorithms[method], simulation.network
    table = algorithm.table(network, np.arange(simulation.iterations, dtype=np.int64))
    described = algorithm.describe()
    dataset = xr.Dataset(
        {
            "trace_state": (("lane", "moment", "agent", "coordinate"), trace.state),
            "trace_increment": (("lane", "iteration", "agent", "coordinate"), trace.increment),
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
            "seed": str(simulation.seed),
            "precision": simulation.precision,
            "fraction_bits": FRACTION_BITS,
        },
    )
    dataset.to_zarr(path, group=method, mode="a", consolidated=False, zarr_format=2)


def manifest(config: Config, simulation: Simulation, optimum: Optimum) -> dict[str, Any]:
    """What is run, with what, on what."""
    import jax

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
            "workers": simulation.workers,
            "machine": platform.machine(),
        },
        "seed": simulation.seed,
        "runs": simulation.runs,
        "iterations": simulation.iterations,
        "block_lanes": simulation.block_lanes,
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
            "x": np.asarray(optimum.x).tolist(),
            "value": optimum.value,
            "gradient_norm": optimum.gradient_norm,
            "method": optimum.method,
        },
        "methods": {name: method.describe() for name, method in simulation.algorithms.items()},
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


def write_json(path: Path, value: Any) -> None:
    """A JSON file, written whole; a number that JSON cannot hold becomes null."""
    text = json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    scratch = path.with_name(f".{path.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def jsonable(value: Any) -> Any:
    """Plain Python values, with NaN and infinities as None and arrays as lists."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value if value is None or isinstance(value, str) else str(value)


def holds(folder: Path, config: Config) -> bool:
    """Whether a folder has a result of just this configuration."""
    try:
        return _read_json(folder / _MANIFEST).get("config_hash") == config_hash(config)
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

        store = self.path / _TRACE
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
        for name in (_MANIFEST, _SUMMARY, _CONFIG, _CURVES):
            if not (path / name).exists():
                raise refused(f"a folder written by dpe run ({name} is missing)")
        read_manifest = _read_json(path / _MANIFEST)
        summary = _read_json(path / _SUMMARY)
        found = contents(path)
        recorded = read_manifest.get("contents")
        held = recorded if isinstance(recorded, dict) else {}
        for name in sorted({*found, *map(str, held)}):
            if found.get(name) != held.get(name):
                raise refused(f"a whole result ({name} is not as it was written)")
        config = read_config(path / _CONFIG)
        if config_hash(config) != read_manifest.get("config_hash"):
            raise refused("a result whose config.toml has the hash that manifest.json names")
        curves = open_curves(path)
        if int(curves.status.values.min()) < 0:
            raise refused("a whole result (curves.zarr has lanes that were never written)")
    except OSError as error:
        raise refused(f"a readable folder ({error.strerror or error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise refused(f"a result with readable JSON ({error})") from error
    return Stored(path, config, read_manifest, summary, curves)


def _read_json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise json.JSONDecodeError(f"{path.name} is no object", "", 0)
    return value


def open_curves(path: Path) -> "xr.Dataset":
    """The curves of a result folder, read from disk as they are used."""
    import xarray as xr

    return xr.open_zarr(path / _CURVES, consolidated=False, chunks=None, mask_and_scale=False)
