"""The paper's simulation: the objective against iterations, of five agents."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax import drawing
from dpe_jax.bands import ROUNDING
from dpe_jax.compare import compare
from dpe_jax.config import Config
from dpe_jax.reproduce import curves, part
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.results import Stored
from dpe_jax.summary import Check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Objective against iterations, five agents"
SOURCE = (
    "The paper's simulation: five agents minimize a quadratic, and the proposed algorithm's "
    "objective tracks that of conventional DSGD until both reach effectively the same minimum."
)
DIFFERS = (
    "The article gives neither the graph, the quadratic, the noise nor the schedules: those here "
    "are ours, chosen so that the conditions of the theorem hold. Centralized SGD is added. A band "
    "over many runs stands where the article speaks of single ones."
)

_GAP = "gap_mean_state"
_METRICS = (_GAP, "error_worst_agent", "consensus_error")
PROPOSED, CONVENTIONAL = "encrypted", "conventional"
_SAME = 0.01
"""Effectively the same minimum: gaps that differ by less, relative to the gap at the start."""

_SINGLE = drawing.COLOURS[-1]
"""Of single runs."""


class Settings(part.Settings):
    """One experiment with the methods "encrypted" and "conventional"."""

    experiment: Config


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Simulate all methods, and draw the objective, the worst agent and the consensus error."""
    outcome = work.run(settings.experiment, folder / "five-agents", check=True)
    stored = outcome.stored
    found = curves.bands(stored, _METRICS)
    shape = sample(stored)
    drawings = [
        Drawing(
            "objective",
            "Objective F at the mean state x̄_k of five agents against the iteration (left; axes "
            "show k + 1, so that the start at k = 0 has a place on them), and "
            f"its distance from the minimum F* (right): mean and 5–95 % band over {shape}, for the "
            "proposed, the conventional and the centralized method on the same random draws; thin "
            "coloured lines are the edges of the bands. Grey, left: three single runs of the "
            "proposed method. F has no unit.",
            _objective_rows(stored, found),
            lambda: _objective(stored, found),
        ),
        Drawing(
            "agents",
            "Largest distance of any agent's state x_i from the minimizer x* (left), and the "
            "consensus error (root of the agents' mean squared distance from x̄, right), in units "
            f"of x: mean and 5–95 % band over {shape}. The black line has the slope that is "
            "predicted for large k, at a height of its own. All agents begin at one state, so that "
            "consensus errors begin at k = 1. Centralized SGD has one state, so no consensus "
            "error.",
            curves.rows(stored, {metric: found[metric] for metric in _METRICS[1:]}),
            lambda: _agents(stored, found),
        ),
    ]
    return Made(
        drawings,
        [_table(stored, found, shape)],
        [*outcome.checks, _same_minimum(stored)],
        DIFFERS,
    )


def sample(stored: Stored) -> str:
    """4096 runs of 3000 iterations (n = 5 agents, d = 2)."""
    config, size = stored.config, stored.curves.sizes
    return (
        f"{config.runs} runs of {config.iterations} iterations (n = {size['agent']} agents, "
        f"d = {size['coordinate']})"
    )


def _same_minimum(stored: Stored) -> Check:
    """The article: both arrive at effectively the same minimum."""
    row = compare(stored, CONVENTIONAL, (_GAP,)).row(_GAP, PROPOSED)
    minimum, final = float(stored.summary["minimum"]), stored.summary["methods"][PROPOSED]["final"]
    start = final["gap_mean_state"]["start"]
    share = abs(row.difference or 0.0) / start
    interval = row.difference_interval
    told = f" [{interval.low:.2e}, {interval.high:.2e}]" if interval else ""
    return Check(
        f"proposed and conventional end within {_SAME:.0%} of the distance at the start",
        row.difference is not None and share < _SAME,
        f"mean F(x̄) of the proposed method is {minimum + row.mean:.6f}, "
        f"{row.difference:.2e}{told} above conventional DSGD's (paired, 95 %), {share:.2%} of the "
        f"distance at the start; F* = {minimum:.6f}",
    )


def _objective_rows(stored: Stored, found: curves.Bands) -> list[dict[str, Any]]:
    """F and its distance from the minimum; the single runs are of the proposed method only."""
    minimum, rows = float(stored.summary["minimum"]), []
    single = _single_runs(stored)
    points = {int(k): point for point, k in enumerate(stored.curves.iteration.values)}
    for row in curves.rows(stored, {_GAP: found[_GAP]}):
        ends = ("mean", "p05", "p95")
        drawn = row["method"] == curves.named(PROPOSED)
        rows.append(
            row
            | {f"objective_{end}": minimum + row[f"{_GAP}_{end}"] for end in ends}
            | {
                f"objective_run_{run}": minimum + float(values[points[row["k"]]]) if drawn else None
                for run, values in enumerate(single)
            }
            | {"minimum": minimum}
        )
    return rows


def _single_runs(stored: Stored) -> np.ndarray:
    """F(x̄) − F* of a few runs of the proposed method, [runs, points]."""
    runs = stored.curves[_GAP].sel(algorithm=PROPOSED).isel(run=slice(0, 3))
    return runs.transpose("run", "iteration").values.astype(np.float64)


def _objective(stored: Stored, found: curves.Bands) -> "Figure":
    figure, (left, right) = drawing.plain_panels(2)
    minimum, x = float(stored.summary["minimum"]), drawing.axis(stored)
    top = 0.0
    for method in curves.methods(stored):
        gap = found[_GAP][method.name]
        drawing.line(left, x, curves.course(gap, minimum), method)
        drawing.line(right, x, curves.course(gap), method, 0.0)
        top = max(top, minimum + float(np.nanmax(gap.high)))
        if method.name == PROPOSED:
            for place, run in enumerate(_single_runs(stored)):
                # Grey, since edges of bands are thin lines of the method's colour.
                label = "single runs, proposed" if not place else None
                left.plot(x, minimum + run, color=_SINGLE, lw=0.7, label=label)
    left.axhline(minimum, color="black", lw=0.9, ls=(0, (4, 2)), label="minimum $F^*$", zorder=1.9)
    left.set_ylabel(r"objective $F(\bar{x}_k)$")
    right.set_ylabel(r"$F(\bar{x}_k) - F^*$")
    right.set_yscale("log")
    for axes in (left, right):
        curves.over_iterations(axes, stored)
    left.set_ylim(minimum - 0.04 * (top - minimum), top)
    drawing.entitle(figure, [])
    return figure


def _agents(stored: Stored, found: curves.Bands) -> "Figure":
    figure, panels = drawing.plain_panels(2)
    x = drawing.axis(stored)
    for axes, metric, label in zip(
        panels,
        _METRICS[1:],
        (
            r"$\mathrm{max}_i\,\|x_i - x^*\|$  (units of $x$)",
            "consensus error  (units of $x$)",
        ),
        strict=True,
    ):
        axes.set_yscale("log")
        axes.set_ylabel(label)
        floor = ROUNDING if metric == "consensus_error" else 0.0
        for method in curves.methods(stored):
            drawing.line(axes, x, curves.course(found[metric][method.name]), method, floor)
        curves.over_iterations(axes, stored)
    low = min(float(found[_METRICS[2]][name].low[1:].min()) for name in (PROPOSED, CONVENTIONAL))
    panels[1].set_ylim(bottom=low / 2)
    _slope(panels[0], stored, found)
    drawing.entitle(figure, [])
    return figure


def _slope(axes: "Axes", stored: Stored, found: curves.Bands) -> None:
    """The predicted slope of the proposed method, through its mean at the end."""
    exponent = stored.summary["methods"][PROPOSED]["predicted_exponent"]
    k = stored.curves.iteration.values
    late = k >= k[-1] / 10
    mean = found["error_worst_agent"][PROPOSED].mean
    line = 1.15 * mean[-1] * (k[late] / k[-1]) ** -exponent
    axes.plot(
        k[late] + 1, line, color="black", lw=0.9, label=f"predicted slope $k^{{-{exponent:.2g}}}$"
    )


def _table(stored: Stored, found: curves.Bands, shape: str) -> Table:
    rows: list[dict[str, Any]] = []
    for name in stored.config.methods:
        ends = {metric: found[metric][name] for metric in _METRICS}
        gap, consensus = ends[_GAP], ends["consensus_error"].mean[-1]
        rows.append(
            {
                "method": curves.named(name),
                "objective": stored.summary["minimum"] + gap.mean[-1],
                "gap": gap.mean[-1],
                "gap_p05": gap.low[-1],
                "gap_p95": gap.high[-1],
                "worst": ends["error_worst_agent"].mean[-1],
                "consensus_error": consensus if consensus > ROUNDING else 0.0,
            }
        )
    return Table(
        "objective",
        f"Where the methods end: means over {shape}, and 5 % and 95 % quantiles over the runs of "
        "the gap, F(x̄) − F*. F "
        f"has no unit, distances are in units of x; F* = {stored.summary['minimum']:.6f}.",
        (
            Column("method", "method"),
            Column("objective", "F(x̄)", digits=".6f", latex=r"$F(\bar{x})$"),
            Column("gap", "F(x̄) − F*", digits=".2e", latex=r"$F(\bar{x}) - F^*$"),
            Column("gap_p05", "gap, 5 %", digits=".2e"),
            Column("gap_p95", "gap, 95 %", digits=".2e"),
            Column("worst", "max_i ‖x_i − x*‖", digits=".2e", latex=r"$\max_i \|x_i - x^*\|$"),
            Column("consensus_error", "consensus error", digits=".2e"),
        ),
        rows,
    )
