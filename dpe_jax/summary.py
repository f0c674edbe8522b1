"""What a finished simulation shows, in numbers, and the checks that were asked of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from dpe_jax import certificate
from dpe_jax.algorithms import Algorithm, EncryptedDSGD
from dpe_jax.bands import Decay, band, fit_decay, status_counts
from dpe_jax.bounds import quantization_bound
from dpe_jax.config import ChecksTable
from dpe_jax.lattice import OK, STATUS_NAMES
from dpe_jax.observe import PER_AGENT
from dpe_jax.problems import Optimum
from dpe_jax.simulation import Simulation

if TYPE_CHECKING:
    import xarray as xr


class Check(NamedTuple):
    """A statement, whether the numbers bear it out, and the numbers."""

    name: str
    passed: bool
    detail: str


_FITTED_RUNS = 4096
"""Runs that the decay is fitted to, the first sound ones: they give two digits of β or more."""

_NEAR = 0.1
"""A fitted exponent agrees unless its interval is farther than this fraction from the predicted
one: that is of the limit, and at finite k the fit is off by more than its sampling error."""

_VALUES_AT_A_TIME = 2**23
"""Values of a curve that are read at a time: the memory does not grow with the record points."""


def summarize(
    simulation: Simulation, optimum: Optimum, curves: "xr.Dataset", decay_from: int | None = None
) -> dict[str, Any]:
    """Final metrics with bands, fitted decay, and lane status counts of every method."""
    methods = {
        name: _method(algorithm, simulation, curves.sel(algorithm=name), decay_from)
        for name, algorithm in simulation.algorithms.items()
    }
    return {
        "runs": simulation.runs,
        "iterations": simulation.iterations,
        "minimum": optimum.value,
        "methods": methods,
    }


def _method(
    algorithm: Algorithm, simulation: Simulation, curves: "xr.Dataset", decay_from: int | None
) -> dict[str, Any]:
    sound = np.flatnonzero(curves.status.values == OK)
    final: dict[str, Any] = {}
    for metric in simulation.observed:
        if metric in PER_AGENT:
            continue
        ends = band(curves[metric].isel(iteration=[0, -1]).values)
        columns = {name: column.tolist() for name, column in ends._asdict().items()}
        final[metric] = {name: column[1] for name, column in columns.items()}
        final[metric]["start"] = columns["mean"][0]
    decay: Decay | None = None
    predicted = algorithm.predicted_exponent()
    if predicted is not None and "error_worst_agent" in simulation.observed:
        first = decay_from or max(1, simulation.iterations // 100)
        fitted = curves.error_worst_agent.isel(run=sound[:_FITTED_RUNS]).values
        decay = fit_decay(curves.iteration.values, fitted, first=first)
    summary: dict[str, Any] = {
        "status": status_counts(curves.status.values, STATUS_NAMES),
        "first_failure": _first_failure(curves),
        "final": final,
        "predicted_exponent": predicted,
        "decay": None if decay is None else decay.summary(),
    }
    if isinstance(algorithm, EncryptedDSGD) and "quantization_error" in simulation.observed:
        summary["quantization"] = _quantization(algorithm, simulation, curves, sound)
    return summary


def failures(status: dict[str, int]) -> dict[str, int]:
    """How many runs failed, by status."""
    return {name: count for name, count in status.items() if name != STATUS_NAMES[OK] and count}


def counted(failed: dict[str, int]) -> str:
    """3 left the range, 1 non-finite."""
    return ", ".join(f"{count} {name}" for name, count in failed.items())


def _first_failure(curves: "xr.Dataset") -> int | None:
    failed = curves.failed_at.values
    return int(failed[failed >= 0].min()) if np.any(failed >= 0) else None


def _quantization(
    algorithm: EncryptedDSGD,
    simulation: Simulation,
    curves: "xr.Dataset",
    sound: Int64[np.ndarray, " sound"],
) -> dict[str, Any]:
    """The largest E‖ξ_i‖² over agents and record points, beside the bound.

    The mean is over the runs that are sound at the end; NaN if there are none.
    """
    curve = curves.quantization_error
    step = max(1, _VALUES_AT_A_TIME // (curve.sizes["agent"] * curve.sizes["run"]))
    largest, iteration, agent = np.nan, None, None
    for first in range(0, curve.sizes["iteration"] if sound.size else 0, step):
        values = curve.isel(iteration=slice(first, first + step)).values
        kept = values if sound.size == values.shape[-1] else values[..., sound]
        means = kept.mean(axis=-1, dtype=np.float64)
        if not largest >= means.max():
            largest = float(means.max())
            point, agent = (int(i) for i in np.unravel_index(means.argmax(), means.shape))
            iteration = int(curves.iteration.values[first + point])
    bound = quantization_bound(simulation.network.agents, simulation.problem.dim, algorithm.delta)
    # Random weights are independent of the errors: E (w^k)² = w² (1 + variance) (derived).
    bound *= 1 + algorithm.factors.variance
    return {"largest_mean": largest, "iteration": iteration, "agent": agent, "bound": bound}


def checks(asked: ChecksTable, summary: dict[str, Any]) -> list[Check]:
    """The checks that a configuration asks for."""
    made = []
    for name, method in summary["methods"].items():
        failed = summary["runs"] - method["status"]["ok"]
        reasons = counted(failures(method["status"]))
        detail = f"{failed} of {summary['runs']} failed" + (reasons and f": {reasons}")
        made.append(Check(f"{name}: every run sound", failed == 0, detail))
        if "quantization" in method:
            made.append(_bound(name, method["quantization"]))
        if asked.methods is not None and name not in asked.methods:
            continue
        if asked.gap_fraction is not None:
            made.append(_same_minimum(name, method, asked.gap_fraction))
        if asked.decay_from is not None and method["predicted_exponent"] is not None:
            made.append(_decay(name, method))
    return made


def certified(
    asked: ChecksTable,
    summary: dict[str, Any],
    curves: "xr.Dataset",
    epsilon: Sequence[float] | None = None,
    confidence: float = certificate.CONFIDENCE,
) -> certificate.Study | None:
    """The certificates of all methods, at the configuration's ε or others; None without any ε."""
    fractions = epsilon or asked.certify
    if not fractions:
        return None
    methods = summary["methods"].items()
    return certificate.study(
        curves,
        {name: method["predicted_exponent"] for name, method in methods},
        epsilon=fractions,
        controls=asked.refused or (),
        confidence=confidence,
        decay_from=asked.decay_from,
    )


def convergence_checks(study: certificate.Study | None) -> list[Check]:
    """That every method is accepted, and every control refused."""
    if study is None:
        return []
    title = "almost sure convergence"
    return [
        Check(f"{name}: {title}", study.as_expected(name), study.told(name))
        for name in study.certificates
    ]


def _same_minimum(name: str, method: dict[str, Any], fraction: float) -> Check:
    title = f"{name}: F(x̄) − F* falls"
    gap = method["final"].get("gap_mean_state")
    if gap is None:
        return Check(title, False, "gap_mean_state was not recorded")
    if not gap["sound"]:
        return Check(title, False, "no run is sound at the end")
    if not gap["start"] > 0:
        return Check(title, False, "F(x̄) − F* is 0 at the start: no fraction of it can be reached")
    ratio = gap["mean"] / gap["start"]
    detail = f"mean F(x̄) − F* fell to {ratio:.2e} of its start, limit {fraction:.0e}"
    return Check(title, bool(ratio <= fraction), detail)


def _decay(name: str, method: dict[str, Any]) -> Check:
    title, predicted = f"{name}: error falls as predicted", method["predicted_exponent"]
    fitted = method["decay"]
    if fitted is None:
        return Check(title, False, "too few sound runs or record points to fit a decay")
    least, most = predicted * (1 - _NEAR), predicted * (1 + _NEAR)
    agrees = fitted["low"] <= most and fitted["high"] >= least
    detail = (
        f"fitted {fitted['exponent']:.3f} [{fitted['low']:.3f}, {fitted['high']:.3f}], "
        f"predicted {predicted:.3f} ± {_NEAR:.0%}"
    )
    return Check(title, bool(agrees), detail)


def _bound(name: str, quantization: dict[str, Any]) -> Check:
    largest, bound = quantization["largest_mean"], quantization["bound"]
    title = f"{name}: quantization error under its bound"
    if np.isnan(largest):
        return Check(title, False, "no run is sound at the end")
    detail = f"largest E‖ξ_i‖² {largest:.3e}, bound {bound:.3e}"
    return Check(title, bool(largest <= bound), detail)
