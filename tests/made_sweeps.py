"""Sweeps with made-up curves: real configurations and labels, numbers that a test knows."""

from typing import Any

import numpy as np
import xarray as xr
from small import config

from dpe_jax.lattice import STATUS_NAMES
from dpe_jax.sweeps import Sweep, expand

DELTA = {"key": "methods.encrypted.delta", "geometric": {"from": 0.001, "to": 0.1, "count": 3}}
EXPONENT = {
    "name": "a",
    "key": "methods.encrypted.gamma.exponent",
    "linear": {"from": 0.5, "to": 0.8, "count": 4},
}
NOISE = {"key": "problem.noise", "values": [0.0, 0.5]}
GRAPH = {
    "name": "graph",
    "key": "network",
    "values": [{"graph": "ring", "agents": 5}, {"graph": "path", "agents": 5}],
}
RANDOM = {
    "samples": 12,
    "seed": 1,
    "uniform": {"methods.encrypted.gamma.exponent": [0.5, 1.0]},
    "log_uniform": {"methods.encrypted.delta": [0.001, 0.1]},
}
ZIPPED = {
    "name": "pace",
    "labels": ["slow", "middling", "fast"],
    "zip": {
        "methods.encrypted.gamma.exponent": [0.6, 0.65, 0.7],
        "methods.encrypted.stepsize.exponent": [0.9, 0.92, 0.95],
    },
}
LEVELS = np.array([0.05, 0.5, 0.95])


def swept(*axes: dict[str, Any], **changes: Any) -> Sweep:
    """The small configuration, swept over some axes."""
    return expand(config({"sweep": {"axis": list(axes)}, **changes}))


def made(
    sweep: Sweep, points: int = 12, runs: int = 8, metric: str = "gap_mean_state"
) -> xr.Dataset:
    """Kept runs of two methods: curves that fall, faster with each configuration.

    The second method is the same in every configuration.
    """
    count = len(sweep.configs)
    k = np.unique(np.geomspace(1, 1000, points).astype(np.int64)) - 1
    rng = np.random.default_rng(0)
    shape = (2, count, len(k), runs)
    exponents = np.stack([np.linspace(0.4, 1.2, count), np.full(count, 0.5)])
    spread = np.broadcast_to(rng.lognormal(0, 0.3, (2, 1, 1, runs)), shape)
    values = 3 * (k[:, None] + 1.0) ** -exponents[:, :, None, None] * spread
    return xr.Dataset(
        {
            metric: (
                ("algorithm", "configuration", "iteration", "run"),
                values.astype(np.float32),
            ),
            "status": (
                ("algorithm", "configuration", "run"),
                np.zeros((2, count, runs), np.int8),
            ),
            "failed_at": (
                ("algorithm", "configuration", "run"),
                np.full((2, count, runs), -1, np.int64),
            ),
        },
        {
            "algorithm": ["encrypted", "conventional"],
            "configuration": np.arange(count),
            "iteration": k,
            "run": np.arange(runs),
            **sweep.coordinates(),
        },
        {"name": "made up", **sweep.attributes()},
    )


def failing(dataset: xr.Dataset, row: int, place: int, runs: int, point: int = 3) -> xr.Dataset:
    """The same as if the first runs of one method and configuration had failed from a point on."""
    dataset = dataset.copy(deep=True)
    for name in dataset.data_vars:
        if "iteration" in dataset[name].dims:
            dataset[name].values[row, place, point:, :runs] = np.nan
    dataset.status.values[row, place, :runs] = 2
    dataset.failed_at.values[row, place, :runs] = dataset.iteration.values[point]
    return dataset


def summarised(dataset: xr.Dataset, metric: str = "gap_mean_state") -> xr.Dataset:
    """What `--keep summary` stores of kept runs, by plain NumPy, run by run."""
    values = dataset[metric].values.astype(np.float64)
    shape = values.shape[:3]
    mean, variance = np.full(shape, np.nan), np.full(shape, np.nan)
    count = np.zeros(shape, np.int64)
    quantile = np.full((*shape, len(LEVELS)), np.nan)
    for place in np.ndindex(shape):
        sound = values[place][~np.isnan(values[place])]
        count[place] = len(sound)
        if len(sound):
            mean[place], quantile[place] = sound.mean(), np.quantile(sound, LEVELS)
        if len(sound) > 1:
            variance[place] = sound.var(ddof=1)
    status = [(dataset.status.values == code).sum(axis=-1) for code in range(len(STATUS_NAMES))]
    dims = ("algorithm", "configuration", "iteration")
    kept = {name: dataset.coords[name] for name in dataset.coords if name != "run"}
    return xr.Dataset(
        {
            f"{metric}_mean": (dims, mean),
            f"{metric}_variance": (dims, variance),
            f"{metric}_count": (dims, count),
            f"{metric}_quantile": ((*dims, "quantile"), quantile),
            "status_count": (("algorithm", "configuration", "status"), np.stack(status, axis=-1)),
        },
        {**kept, "quantile": LEVELS, "status": list(STATUS_NAMES)},
        dataset.attrs,
    )
