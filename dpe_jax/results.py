"""What a result folder holds: traces and the manifest, written, and all of it read back."""

import dataclasses
import hashlib
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.config import Config, parse
from dpe_jax.errors import InputError
from dpe_jax.folder import CONFIG, CURVES, MANIFEST, SUMMARY, TRACE, contents, read_json
from dpe_jax.lattice import FRACTION_BITS, STATUS_NAMES
from dpe_jax.layout import in_order
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study
from dpe_jax.sweeps import as_read
from dpe_jax.tracing import Trace

if TYPE_CHECKING:
    import xarray as xr


_PACKAGES = (
    *("dpe-jax", "jax", "jaxlib", "numpy", "equinox"),
    *("scipy", "scikit-learn", "networkx", "optax", "xarray", "zarr"),
    *("gmpy2", "phe", "matplotlib"),
)
"""Whose versions the manifest names."""


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


def versions() -> dict[str, str]:
    """Of Python and of the packages that results rest on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def device() -> dict[str, Any]:
    """What JAX computes on, and the machine around it."""
    import jax

    first = jax.devices()[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": jax.device_count(),
        "cpus": os.cpu_count(),
        "cpu": processor(),
        "machine": platform.machine(),
        "os": f"{platform.system()} {platform.release()}",
    }


def processor() -> str:
    """The processor's model, where the system names it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def manifest(config: Config, study: Study) -> dict[str, Any]:
    """What is run, with what, on what."""
    simulation, optimum = study.common, study.optima[0]
    return {
        "name": config.name,
        "config_hash": config_hash(config),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "device": device() | {"workers": len(study.devices)},
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
            name: in_order(xr.open_zarr(store, group=name, consolidated=False, chunks=None))
            for name in names
        }


def load(path: Path | str) -> Stored:
    """Read a result; `InputError` if the folder does not hold a whole one, as it was written.

    Digests of all files are compared with those in its manifest. Curves are an `xarray.Dataset`
    with dimensions algorithm, iteration, run (and agent), or those of a sweep; they and the traces
    are read from disk as they are used.
    """
    path = Path(path)

    def refused(accepted: str) -> InputError:
        return InputError("DIR", str(path), accepted)

    try:
        for name in (MANIFEST, SUMMARY, CONFIG):
            if not (path / name).exists():
                raise refused(f"a folder written by dpe run ({name} is missing)")
        if not (path / CURVES).exists():
            accepted = f"a result folder with its curves ({CURVES} is missing"
            raise refused(f"{accepted}; committed examples have none)")
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


def load_experiment(path: Path | str) -> Stored:
    """Read a result of `dpe run`; InputError for that of a sweep, too."""
    stored = load(path)
    if stored.config.sweep is not None:
        raise InputError("DIR", str(path), "a result of dpe run; this is one of dpe sweep")
    return stored


def open_curves(path: Path) -> "xr.Dataset":
    """The curves of a result folder, read from disk as they are used."""
    import xarray as xr

    found = xr.open_zarr(path / CURVES, consolidated=False, chunks=None, mask_and_scale=False)
    return as_read(in_order(found))
