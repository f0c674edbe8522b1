"""What figures of sweeps share: names of metrics, axes of labels, colours, cut ends and titles."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax import drawing
from dpe_jax.bands import ROUNDING
from dpe_jax.drawing import Method
from dpe_jax.observe import LABELS
from dpe_jax.sweep_layout import Layout, distinct, numeric, owner
from dpe_jax.sweep_statistics import runs

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

FORMULAS = {
    "gap_mean_state": r"$F(\bar{x}_k) - F^*$",
    "gap_agents": r"$n^{-1}\,\Sigma_i\,F(x_i) - F^*$",
    "error_worst_agent": r"$\mathrm{max}_i\,\|x_i - x^*\|$",
    "error_mean_state": r"$\|\bar{x}_k - x^*\|$",
    "consensus_error": r"$(n^{-1}\,\Sigma_i\,\|x_i - \bar{x}\|^2)^{1/2}$",
    "objective": r"$F(\bar{x}_k)$",
    "stationarity": r"$\|\nabla F(\bar{x}_k)\|$",
    "test_accuracy": "accuracy",
    "test_auc": "area under the ROC curve",
    "test_average_precision": "average precision",
    "test_error": "mean squared error",
    "peak_error": r"largest $\mathrm{max}_i\,\|x_i - x^*\|$ since the last point",
}
"""Of each metric, for axes."""

TITLES: dict[str, str] = {metric: label for metric, label in LABELS.items()}
"""The same without formatting: what is wrapped must not be cut within a formula."""

_LINEAR = ("objective", "test_accuracy", "test_auc", "test_average_precision", "test_error")
"""Metrics on a linear axis; the others fall towards 0."""

_RANGE = 1e9
"""What an axis or a scale of colours spans at most: what diverges must not flatten the rest."""

_RISE, _LINEAR_RISE = 100.0, 4.0
"""How far above the start of the curves their axis ends; and in ranges of the narrowest curve."""

NAMED_LINES = 8
"""Up to so many lines have a legend entry each."""

COLOURS = "viridis"
_TICKS, _LETTERS = 7, 34
_SHORT, _MORE_TICKS = 4, 10
"""Names of so few letters may be so many."""
_UPRIGHT = 26
"""Texts below an axis, upright."""


def scale(axes: "Axes", metric: str) -> None:
    """Name the vertical axis after a metric, and make it logarithmic if that falls towards 0."""
    axes.set_ylabel(FORMULAS[metric])
    axes.set_yscale("linear" if metric in _LINEAR else "log")


def floor(metric: str) -> float:
    """What a value must exceed to be shown."""
    if metric in _LINEAR:
        return -np.inf
    return ROUNDING if metric == "consensus_error" else 0.0


def cut(
    axes: "Axes", metric: str, lines: Sequence[Float[np.ndarray, " points"]], *, of_time: bool
) -> list[str]:
    """Cut the vertical axis off where a line leaves the others; returns what is to be said."""
    kept = [line[np.isfinite(line) & (line > floor(metric))] for line in lines]
    kept = [line for line in kept if line.size]
    if not kept:
        return []
    lowest, highest = min(line.min() for line in kept), max(line.max() for line in kept)
    notes = []
    if metric in _LINEAR:
        limit = _LINEAR_RISE * min(line.max() - lowest for line in kept)
        if of_time and 0 < limit < highest - lowest:
            axes.set_ylim(lowest - 0.05 * limit, lowest + limit)
            notes.append("cut off above")
        return notes
    # The curves of one figure start at about the same value; a response has no start.
    top = _RISE * max(line[0] for line in kept) if of_time else _RANGE * lowest
    if highest > top:
        axes.set_ylim(top=top)
        notes.append("cut off above")
    low, high = axes.get_ylim()
    bottom = high / _RANGE / 10
    if low < bottom:
        axes.set_ylim(bottom=bottom)
        notes += ["cut off below"] if lowest < bottom else []
    return notes


def colour_scale(values: Float[np.ndarray, " values"]) -> tuple["Normalize", list[str]]:
    """Colours of values, logarithmic if they span more than a decade; and what is to be said."""
    from matplotlib.colors import LogNorm, Normalize

    finite = values[np.isfinite(values)]
    if not finite.size:
        return Normalize(0.0, 1.0), []
    low, high = float(finite.min()), float(finite.max())
    if low > 0 and high > 10 * low:
        top = min(high, _RANGE * low)
        cut_off = top < high or np.isinf(values).any()
        return LogNorm(low, top), ["colours cut off above"] if cut_off else []
    return Normalize(low, high), ["colours cut off above"] if np.isinf(values).any() else []


def bar(figure: "Figure", panels: list["Axes"], colours: "ScalarMappable", label: str) -> "Axes":
    """A bar beside all panels that tells what colours stand for."""
    drawn = figure.colorbar(colours, ax=panels, label=label)
    drawn.ax.grid(visible=False)
    return drawn.ax


def positions(
    axes: "Axes", side: str, part: "xr.Dataset", label: str
) -> Float[np.ndarray, " places"]:
    """Where configurations lie on an axis: at their numbers, or side by side for texts.

    Numbers that span more than a decade lie on a logarithmic axis.
    """
    values = part[label].values
    if not numeric(part, label):
        names = distinct(part, label)
        ticks(axes, side, names, 0.0)
        return np.array([names.index(value) for value in values.tolist()], np.float64)
    if values.min() > 0 and values.max() > 10 * values.min():
        (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    return values


def ticks(axes: "Axes", side: str, values: list[Any], shift: float) -> None:
    """Name places 0, 1, ... of an axis after values, not all if they are many."""
    every = [f"{v:.3g}" if isinstance(v, float) else drawing.plain(v) for v in values]
    texts = not all(isinstance(value, float) for value in values)
    most = _MORE_TICKS if max(map(len, every)) <= _SHORT else _TICKS
    upright = side == "x" and texts and len(values) > most
    # Equal steps: which values lie between two that are named can be counted.
    places = np.arange(0, len(values), -(-len(values) // (_UPRIGHT if upright else most)))
    names = [every[place] for place in places]
    if upright:
        axes.set_xticks(places + shift, names, rotation=90, fontsize=7)
    elif side == "y":
        axes.set_yticks(places + shift, names)
    elif sum(map(len, names)) > _LETTERS:
        axes.set_xticks(places + shift, names, rotation=30, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places + shift, names)


def aside(part: "xr.Dataset", label: str, place: int, count: int) -> float:
    """How far one of several lines is moved, where texts lie side by side."""
    return 0.0 if numeric(part, label) else 0.5 * ((place + 0.5) / count - 0.5)


def joined(part: "xr.Dataset", label: str) -> bool:
    """Whether a line may join the values: not for texts, nor for samples of several keys."""
    if not numeric(part, label):
        return False
    steps = np.diff(part[label].values)
    return len(owner(part, label, "axis").labels) == 1 or bool(
        np.all(steps > 0) | np.all(steps < 0)
    )


def line_kind(place: int, count: int, label: str) -> Method:
    """How one of several lines is shown: named, or along a scale of colours if they are many."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    nobody: Int64[np.ndarray, " sound"] = np.array([], np.int64)
    if count > NAMED_LINES:
        colour = to_hex(colormaps[COLOURS](0.92 * place / (count - 1)))
        return Method(label, "", colour, drawing.DASHES[0], nobody, 0.0)
    colour = drawing.COLOURS[place % len(drawing.COLOURS)]
    dash = drawing.DASHES[place % len(drawing.DASHES)]
    return Method(label, drawing.plain(label), colour, dash, nobody, 0.6 / max(4, count))


def entitle(figure: "Figure", found: Layout, what: str, notes: list[str]) -> None:
    """Title, with what failed and what is left out, and one legend below all panels."""
    total = runs(found.dataset)
    name = drawing.plain(str(found.dataset.attrs.get("name", "sweep")))
    told = [f"{name}: {what}, over {total} run" + "s" * (total != 1)]
    said = "; ".join(dict.fromkeys([*found.notes, *notes]))
    drawing.entitle(figure, told + ([said] if said else []))
