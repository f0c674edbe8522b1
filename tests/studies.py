"""Results of given curves to compare, and plain loops over resamples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from small import ENCRYPTED, config

from dpe_jax.results import Stored

GAP = "gap_mean_state"


def study(
    curves: Mapping[str, np.ndarray], names: list[str] | None = None, failed: Any = None
) -> Stored:
    """A result of these curves [method, point, run] or, at one point, [method, run]."""
    full = {k: v if v.ndim == 3 else v[:, None] for k, v in curves.items()}
    methods, points, runs = next(iter(full.values())).shape
    names = names or ["base", *(f"m{i}" for i in range(1, methods))]
    status = np.zeros((methods, runs), np.int8)
    if failed is not None:
        status[failed] = 2
    dims = ("algorithm", "iteration", "run")
    data: dict[str, Any] = {k: (dims, v.astype(np.float32)) for k, v in full.items()}
    data["status"] = (("algorithm", "run"), status)
    labels = {"algorithm": names, "iteration": 10 ** np.arange(points), "run": np.arange(runs)}
    settings = config({"methods": dict.fromkeys(names, ENCRYPTED), "runs": runs})
    return Stored(Path("nowhere"), settings, {}, {}, xr.Dataset(data, labels))


def paired(
    methods: int, runs: int, *, shift: float = 0.0, common: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Normal values that share a run's noise; all but the first have noise of their own."""
    rng = np.random.default_rng(seed)
    values = np.tile(common * rng.normal(size=runs), (methods, 1))
    values[1:] += shift + rng.normal(size=(methods - 1, runs))
    return values.astype(np.float32)


def loop(values: np.ndarray, resamples: int, statistic: Any) -> np.ndarray:
    """The statistic of each resample, one after the other."""
    rng, runs = np.random.default_rng(0), values.shape[0]
    return np.array([statistic(values[rng.integers(runs, size=runs)]) for _ in range(resamples)])


def difference_interval(row: Any) -> Any:
    return row.difference_interval
