"""What the folder of a sweep holds: curves or statistics of every configuration, and a manifest."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.blocks import Block
from dpe_jax.conditions import violated
from dpe_jax.config import Built, Config
from dpe_jax.lattice import STATUS_NAMES
from dpe_jax.observe import LABELS, Metric
from dpe_jax.reductions import FRACTIONS, QUANTILES, Moments, merged
from dpe_jax.results import manifest
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study
from dpe_jax.sweep_statistics import failed, final_table, metrics, runs
from dpe_jax.sweeps import Sweep, as_written

if TYPE_CHECKING:
    import xarray as xr


def simulations(sweep: Sweep) -> tuple[Simulation, ...]:
    """All configurations as simulations; networks and problems that are alike are built once."""
    built: Built = {}
    made = []
    for index, config in enumerate(sweep.configs):
        with sweep.naming(index):
            made.append(config.build(built))
    return tuple(made)


class Summary:
    """Statistics of every method and configuration, gathered block by block."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._moments: dict[tuple[str, int, str], list[Moments]] = {}
        shape = len(study.methods), len(study.simulations), len(STATUS_NAMES)
        self._status = np.zeros(shape, np.int64)

    def add(self, block: Block, moments: dict[str, Moments], status: np.ndarray) -> None:
        """Take a block's statistics and the status of its lanes; blocks come in order."""
        row = self._study.methods.index(block.method)
        for column, configuration in enumerate(block.configurations):
            own = slice(column * block.runs, (column + 1) * block.runs)
            counts = np.bincount(status[own], minlength=len(STATUS_NAMES))
            self._status[row, configuration] += counts
            for metric, found in moments.items():
                one = Moments(*(np.asarray(values)[:, column] for values in found))
                self._moments.setdefault((block.method, configuration, metric), []).append(one)

    def dataset(self, sweep: Sweep) -> "xr.Dataset":
        """All of it, labelled; every twin of a configuration has that one's numbers."""
        import xarray as xr

        study = self._study
        columns: dict[Metric, list[list[Moments]]] = {
            metric: [
                [merged(self._moments[method, twin, metric]) for twin in study.twins[method]]
                for method in study.methods
            ]
            for metric in study.metrics
        }
        twins = np.array([study.twins[method] for method in study.methods])
        status = np.take_along_axis(self._status, twins[..., None], axis=1)
        curve = "algorithm", "configuration", "iteration"
        found: dict[str, Any] = {"status_count": (("algorithm", "configuration", "status"), status)}
        for metric, rows in columns.items():
            fields = Moments(
                *(np.array([[getattr(one, f) for one in row] for row in rows]) for f in _FIELDS)
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                variance = np.where(fields.sound > 1, fields.squares / (fields.sound - 1), np.nan)
            label = {"long_name": LABELS[metric]}
            found[f"{metric}_count"] = (curve, fields.sound)
            found[f"{metric}_mean"] = (curve, fields.mean, label)
            found[f"{metric}_variance"] = (curve, variance)
            found[f"{metric}_quantile"] = ((*curve, "quantile"), fields.quantile)
            found[f"{metric}_exceedance"] = ((*curve, "threshold"), fields.exceedance)
        coordinates: dict[str, Any] = {
            "algorithm": np.array(study.methods),
            "configuration": np.arange(len(study.simulations)),
            "iteration": study.common.record,
            "status": np.array(STATUS_NAMES),
            "quantile": np.array(QUANTILES),
            "threshold": ("threshold", np.array(FRACTIONS), {"units": "value at k = 0"}),
            **sweep.coordinates(),
        }
        attributes = {"iterations": study.common.iterations, **sweep.attributes()}
        return xr.Dataset(found, coordinates, attributes)


_FIELDS = Moments._fields


def summary_of(
    study: Study,
    found: Iterable[tuple[Block, dict[str, Moments], np.ndarray]],
    sweep: Sweep,
) -> "xr.Dataset":
    """The statistics of a study of which only a summary is kept, from those of its blocks."""
    summary = Summary(study)
    for block, moments, status in found:
        summary.add(block, moments, status)
    return summary.dataset(sweep)


def sweep_manifest(config: Config, sweep: Sweep, study: Study) -> dict[str, Any]:
    """What is run, with what, on what; what differs between configurations is said of each."""
    record = manifest(config, study)
    for key in ("conditions", "budget", "lemma_1_from", "methods"):
        record[f"{key}_of_the_first"] = record.pop(key)
    record["keep"] = study.keep
    record["sweep"] = {
        "configurations": len(study.simulations),
        "computed": {name: len(set(twins)) for name, twins in study.twins.items()},
        "axes": [{"name": axis.name, "size": axis.size} for axis in sweep.axes],
        "labels": {name: values.tolist() for name, values in sweep.labels.items()},
        "violated": [violations(simulation) for simulation in study.simulations],
    }
    return record


def violations(simulation: Simulation) -> dict[str, list[str]]:
    """The convergence conditions that each method breaks in one configuration."""
    found = {
        name: [condition.statement for condition in violated(conditions)]
        for name, conditions in simulation.conditions().items()
    }
    return {name: statements for name, statements in found.items() if statements}


def sweep_summary(study: Study, dataset: "xr.Dataset") -> dict[str, Any]:
    """The last iteration in numbers: a row for each configuration and method, for each metric."""
    return {
        "runs": study.common.runs,
        "iterations": study.common.iterations,
        "configurations": len(study.simulations),
        "final": {metric: final_table(dataset, metric) for metric in metrics(dataset)},
    }


def failures_of(dataset: "xr.Dataset") -> list[str]:
    """One line for each method of which runs failed, in however many configurations."""
    counts, total = failed(dataset).values, runs(dataset)
    return [
        f"{name}: {lost.sum()} of {lost.size * total} runs left the range or turned non-finite, in "
        f"{np.count_nonzero(lost)} of {lost.size} configurations; they are left out of means from "
        "then on"
        for name, lost in zip(dataset.algorithm.values.tolist(), counts, strict=True)
        if lost.any()
    ]


def write_summary(folder: Path, dataset: "xr.Dataset") -> None:
    """curves.zarr of a sweep of which only a summary is kept."""
    as_written(dataset).to_zarr(folder, mode="w", consolidated=False, zarr_format=2)
