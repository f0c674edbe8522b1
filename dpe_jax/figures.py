"""Figures of a finished experiment: PNG and PDF, legible at the width of a journal column."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax import drawing
from dpe_jax.bands import ROUNDING, Band, Course, band
from dpe_jax.drawing import Method
from dpe_jax.results import Stored

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHUNK_VALUES = 20_000_000
"""Values read at a time: a million runs do not fit into memory at all record points."""

_SINGLE_RUNS = 3
"""Runs of each encrypted method that are drawn one by one."""

_DECADES = 1e9
"""What a logarithmic axis shows at most: agents that all but agree must not flatten the rest."""

_MAX_RISE = 4.0
"""F(x̄) is shown up to this multiple of the range of the method that keeps closest to F*, so that
a method that diverges does not flatten the others."""

_NAMED_AGENTS = 6
"""Up to so many agents have a colour and a legend entry each."""


def draw(stored: Stored, out: Path) -> list[Path]:
    """Draw what was recorded as PNG and PDF in `out`; return their paths.

    Figures are `objective`, `errors`, `quantization`, `stationarity` and `test`.

    A figure or panel of which no metric was recorded is left out. Bands are 5–95 % over the runs
    that are sound at that iteration; how many failed is said in the title, and a method of which
    no run is sound is only named there. Raises `InputError` if `out` cannot be written.
    """
    methods = drawing.methods(stored)
    paths = []
    with drawing.writing(out):
        for name, figure in (
            ("objective", _objective(stored, methods)),
            ("errors", _errors(stored, methods)),
            ("quantization", _quantization(stored, methods)),
            ("stationarity", _recorded(stored, methods, _SLOPE, "progress of the mean state")),
            ("test", _recorded(stored, methods, _TEST, "mean state on the test set")),
        ):
            if figure is not None:
                paths += [drawing.save(figure, out / f"{name}.{kind}") for kind in ("png", "pdf")]
    return paths


def chunked_band(curve: "xr.DataArray", values: int = _CHUNK_VALUES) -> Band:
    """`band` of a curve [iteration, run], reading about `values` values at a time from disk."""
    rows = max(1, values // max(1, curve.sizes["run"]))
    points = curve.sizes["iteration"]
    # A gap that overflowed to infinity has no quantiles to interpolate between.
    with np.errstate(invalid="ignore", over="ignore"):
        pieces = [
            band(curve.isel(iteration=slice(first, first + rows)).values)
            for first in range(0, points, rows)
        ]
    return Band(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def chunked_mean(
    curve: "xr.DataArray", values: int = _CHUNK_VALUES
) -> Float[np.ndarray, "points agents"]:
    """Mean over the sound runs of a curve [iteration, agent, run], NaN where no run is sound.

    Reads about `values` values at a time from disk, some runs at all record points.
    """
    points, agents, runs = (curve.sizes[dim] for dim in ("iteration", "agent", "run"))
    width = max(1, values // max(1, points * agents))
    total = np.zeros((points, agents))
    count = np.zeros((points, agents), np.int64)
    for first in range(0, runs, width):
        piece = curve.isel(run=slice(first, first + width)).values
        total += np.nansum(piece, axis=-1, dtype=np.float64)
        count += np.sum(~np.isnan(piece), axis=-1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _objective(stored: Stored, methods: list[Method]) -> "Figure | None":
    """F(x̄) beside F*, and F(x̄) − F* on logarithmic axes."""
    if "gap_mean_state" not in stored.curves:
        return None
    figure, (left, right) = drawing.panels(stored, 2)
    minimum = float(stored.summary["minimum"])
    gap, x = stored.curves.gap_mean_state, drawing.axis(stored)
    tops: list[float] = []
    for method in drawing.drawable(methods, left, right):
        curve = gap.sel(algorithm=method.name)
        found = chunked_band(curve)
        gaps = Course(found.mean, found.low, found.high)
        above = Course(*(minimum + column for column in gaps))
        drawing.line(left, x, above, method, edges=False)
        drawing.line(right, x, gaps, method, floor=0.0)
        if stored.config.methods[method.name].method == "EncryptedDSGD":
            for number, run in enumerate(method.sound[:_SINGLE_RUNS]):
                single = minimum + curve.isel(run=int(run)).values.astype(np.float64)
                label = f"{method.label}: single runs" if number == 0 else None
                left.plot(x, single, color=method.colour, lw=0.5, alpha=0.75, label=label)
        tops.append(float(np.nanmax(found.high)))
    limit = _MAX_RISE * min(tops, default=0.0)
    notes = []
    if 0 < limit < max(tops, default=0.0):
        left.set_ylim(minimum - 0.05 * limit, minimum + limit)
        notes.append("left axis cut off above")
    left.axhline(minimum, color="black", lw=0.9, ls=(0, (4, 2)), label="minimum $F^*$", zorder=1.9)
    left.set_ylabel(r"$F(\bar{x}_k)$")
    right.set_ylabel(r"$F(\bar{x}_k) - F^*$")
    right.set_yscale("log")
    drawing.finish(figure, stored, methods, "objective at the mean state", notes)
    return figure


def _errors(stored: Stored, methods: list[Method]) -> "Figure | None":
    """The worst agent's distance from the minimizer, and the consensus error."""
    labels = {
        "error_worst_agent": r"$\mathrm{max}_i\,\|x_i - x^*\|$  (units of $x$)",
        "consensus_error": r"$(n^{-1}\,\Sigma_i\,\|x_i - \bar{x}\|^2)^{1/2}$  (units of $x$)",
    }
    titles = {"error_worst_agent": "worst agent's error", "consensus_error": "consensus error"}
    metrics = [metric for metric in labels if metric in stored.curves]
    if not metrics:
        return None
    figure, panels = drawing.panels(stored, len(metrics))
    x, notes = drawing.axis(stored), []
    exponents: list[float] = []
    # Elsewhere the horizon may be far from the limit, and a guide would only mislead.
    asked = stored.config.checks.decay_from is not None
    for axes, metric in zip(panels, metrics, strict=True):
        axes.set_yscale("log")
        axes.set_ylabel(labels[metric])
        consensus = metric == "consensus_error"
        for method in drawing.drawable(methods, axes):
            found = chunked_band(stored.curves[metric].sel(algorithm=method.name))
            course = Course(found.mean, found.low, found.high)
            floor = ROUNDING if consensus else 0.0
            seen = drawing.line(axes, x, course, method, floor)
            exponent = stored.summary["methods"][method.name]["predicted_exponent"]
            if not seen:
                notes.append(f"{method.label}: {titles[metric]} zero up to rounding")
            elif not consensus and exponent is not None and asked:
                _guide(axes, stored.curves.iteration.values, found.mean, exponent, exponents)
        low, high = axes.get_ylim()
        if low < high / _DECADES:
            axes.set_ylim(high / _DECADES, high)
            notes.append(f"{titles[metric]}: axis cut off below")
    what = " and ".join(titles[metric] for metric in metrics)
    drawing.finish(figure, stored, methods, what, notes)
    return figure


def _quantization(stored: Stored, methods: list[Method]) -> "Figure | None":
    """E‖ξ_i‖² of each agent beside its bound, one panel a method that quantizes."""
    of = stored.summary["methods"]
    quantizing = [method for method in methods if "quantization" in of[method.name]]
    if "quantization_error" not in stored.curves or not quantizing:
        return None
    figure, panels = drawing.panels(stored, len(quantizing))
    x, agents = drawing.axis(stored), stored.curves.sizes["agent"]
    for axes, method in zip(panels, quantizing, strict=True):
        axes.set_yscale("log")
        axes.set_ylabel(r"$\mathrm{E}\|\xi_i\|^2$  (units of $x^2$)")
        if len(quantizing) > 1:
            axes.set_title(method.label)
        for method_drawn in drawing.drawable([method], axes):
            means = chunked_mean(stored.curves.quantization_error.sel(algorithm=method_drawn.name))
            for agent, mean in enumerate(means.T):
                if agents <= _NAMED_AGENTS:
                    kind = {"color": drawing.COLOURS[agent], "ls": drawing.DASHES[agent], "lw": 1.0}
                    label: str | None = f"agent {agent}"
                else:
                    kind = {"color": drawing.COLOURS[0], "lw": 0.5, "alpha": 0.6}
                    label = f"each of {agents} agents" if agent == 0 else None
                axes.plot(x, drawing.above(mean, 0.0), label=label, **kind)
        axes.axhline(
            of[method.name]["quantization"]["bound"],
            color="black",
            lw=0.9,
            ls=(0, (4, 2)),
            label=r"bound $\frac{1}{2}(n-1)^2 d\,\delta^2$",
        )
    drawing.finish(figure, stored, quantizing, "quantization error", [], what="mean")
    return figure


_SLOPE = {
    "objective": r"$F(\bar{x}_k)$",
    "stationarity": r"$\|\nabla F(\bar{x}_k)\|$",
}
_TEST = {
    "test_accuracy": "accuracy",
    "test_auc": "area under the ROC curve",
    "test_average_precision": "average precision",
    "test_error": "mean squared error",
}


def _recorded(
    stored: Stored, methods: list[Method], labels: dict[str, str], subject: str
) -> "Figure | None":
    """Those of some metrics of the mean state that were recorded, one panel each."""
    metrics = [metric for metric in labels if metric in stored.curves]
    if not metrics:
        return None
    figure, panels = drawing.panels(stored, len(metrics))
    x, notes = drawing.axis(stored), []
    for axes, metric in zip(panels, metrics, strict=True):
        axes.set_ylabel(labels[metric])
        bounded = metric in ("test_accuracy", "test_auc", "test_average_precision")
        if metric == "stationarity":
            axes.set_yscale("log")
        bottoms: list[float] = []
        tops: list[float] = []
        for method in drawing.drawable(methods, axes):
            found = chunked_band(stored.curves[metric].sel(algorithm=method.name))
            course = Course(found.mean, found.low, found.high)
            drawing.line(axes, x, course, method, 0.0 if metric == "stationarity" else -np.inf)
            bottoms.append(float(np.nanmin(found.low)))
            tops.append(float(np.nanmax(found.high)))
        # As for F(x̄) − F*: a method that diverges must not flatten the others.
        if not bounded and metric != "stationarity" and tops:
            least = min(bottoms)
            limit = _MAX_RISE * (min(tops) - least)
            if 0 < limit < max(tops) - least:
                axes.set_ylim(least - 0.05 * limit, least + limit)
                notes.append(f"{labels[metric]} cut off above")
    drawing.finish(figure, stored, methods, subject, notes)
    return figure


def _guide(
    axes: "Axes",
    k: Int64[np.ndarray, " points"],
    mean: Float[np.ndarray, " points"],
    exponent: float,
    exponents: list[float],
) -> None:
    """A line ~ k^−exponent that ends where the mean ends; each exponent has its own line style."""
    shown = np.flatnonzero((k > 0) & np.isfinite(mean) & (mean > 0))
    if not shown.size:
        return
    last = shown[-1]
    # Over the last decade: the law is one of large k.
    window = shown[k[shown] >= k[last] / 10]
    line = mean[last] * (k[window] / k[last]) ** -exponent
    if exponent not in exponents:
        exponents.append(exponent)
    dash = drawing.DASHES[exponents.index(exponent) % len(drawing.DASHES)]
    label = f"$\\propto k^{{-{exponent:.3g}}}$ (predicted for large $k$)"
    axes.plot(k[window] + 1, line, color="black", lw=0.7, ls=dash, label=label, zorder=2.6)
