"""The figures of the part `deployment`."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dpe_jax import drawing
from dpe_jax.reproduce.part import Drawing
from dpe_jax.reproduce.shown import duration
from dpe_jax.reproduce.swept import Swept

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ("o", "s", "^", "D", "v", "P", "X")


class Told(NamedTuple):
    """What captions say."""

    target: float
    fraction: float
    sample: str
    replays: str


def drawings(
    found: Swept, predicted: np.ndarray, rows: list[dict[str, Any]], told: Told
) -> list[Drawing]:
    """Convergence by δ, the time of an iteration by key length, and both together."""
    deltas = list(dict.fromkeys(row["delta"] for row in rows))
    courses = [
        row for place, delta in enumerate(deltas) for row in _course(delta, found, place, predicted)
    ]
    kept = [key for key in rows[0] if key not in ("fitted_slot_bits", "fitted_slots")]
    return [
        Drawing(
            "convergence",
            "Convergence by quantization step δ. Left: mean over agents and runs of F(x_i) − F*, "
            f"with the target {told.target:.3g}, {told.fraction:g} of the start. Right: its ratio "
            f"to that of the finest step, δ = {deltas[0]:.3g}, on the same random draws. Shaded: "
            "95 % intervals (bootstrap over runs, pairs of runs at the right). Predicted: the "
            "recursion of means and variances, which simulates nothing and takes states as normal "
            f"where it rounds; at the end the mean is {_near(courses, deltas)} times what is "
            "predicted, together, since all δ share their random draws; in the first steps of the "
            f"coarsest δ it is some per cent off. {told.sample}.",
            courses,
            lambda: _courses(courses, deltas, told),
        ),
        Drawing(
            "wall-clock",
            f"Left: milliseconds of one encrypted iteration by key length, {told.replays}; bars: "
            "quartiles. δ changes no operation of an iteration, so that differences between δ of "
            "one key length are those of timing. Right: wall-clock time until the mean of F(x_i) "
            f"− F* is at the target {told.target:.3g}, iterations times the milliseconds at the "
            "left, for each δ and key length (darker: longer). ≈: iterations as predicted, since "
            f"none of those simulated is at the target. {told.sample}.",
            [{key: row[key] for key in kept} for row in rows],
            lambda: _clock(rows, deltas),
        ),
    ]


def _near(courses: list[dict[str, Any]], deltas: list[float]) -> str:
    """How near means at the end are to the prediction."""
    ends = [[row for row in courses if row["delta"] == delta][-1] for delta in deltas]
    shares = [row["gap"] / row["gap_predicted"] for row in ends]
    return f"{min(shares):.3f} to {max(shares):.3f}"


def _course(delta: float, found: Swept, place: int, predicted: np.ndarray) -> list[dict[str, Any]]:
    """A row for each record point of one δ: the gap, and its ratio to that of the first δ."""
    course, first = found.courses[place], found.courses[0]
    ratios = course.ratios(first)
    return [
        {
            "delta": delta,
            "iteration": int(k),
            "gap": float(course.mean[point]),
            "gap_low": float(course.low[point]),
            "gap_high": float(course.high[point]),
            "gap_predicted": float(predicted[place, k]),
            "ratio": float(ratios.mean[point]),
            "ratio_low": float(ratios.low[point]),
            "ratio_high": float(ratios.high[point]),
            "ratio_predicted": float(predicted[place, k] / predicted[0, k]),
        }
        for point, k in enumerate(course.iteration)
    ]


def _courses(courses: list[dict[str, Any]], deltas: list[float], told: Told) -> "Figure":
    figure, (left, right) = drawing.plain_panels(2)
    for axes, metric in ((left, "gap"), (right, "ratio")):
        drawing.over_iterations(axes, max(row["iteration"] for row in courses))
        axes.set_yscale("log")
        for place, delta in enumerate(deltas):
            _line(axes, [row for row in courses if row["delta"] == delta], metric, place)
        axes.plot([], [], color="black", lw=0.9, ls=":", label="predicted")
    left.set_ylabel(r"mean of $F(x_i) - F^*$")
    left.axhline(told.target, color="black", lw=0.8, ls=(0, (4, 2)), zorder=1.5, label="target")
    right.set_ylabel(rf"ratio to $\delta = {_power(deltas[0])}$")
    _few_ticks(right)
    drawing.entitle(figure, [])
    return figure


def _line(axes: "Axes", own: list[dict[str, Any]], metric: str, place: int) -> None:
    """One δ: mean, interval, and what is predicted."""
    x = [row["iteration"] + 1 for row in own]
    colour = drawing.COLOURS[place % len(drawing.COLOURS)]
    low, high = ([row[f"{metric}_{end}"] for row in own] for end in ("low", "high"))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(
        x,
        [row[metric] for row in own],
        color=colour,
        ls=drawing.DASHES[place % len(drawing.DASHES)],
        label=rf"$\delta = {_power(own[0]['delta'])}$",
    )
    axes.plot(
        x, [row[f"{metric}_predicted"] for row in own], color="black", lw=0.9, ls=":", zorder=3
    )


def _few_ticks(axes: "Axes") -> None:
    """Plain numbers on a logarithmic axis that may be shorter than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.2, 1.5, 2.0, 3.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _power(delta: float) -> str:
    """2^{-7}, or the number itself."""
    exponent = float(np.log2(delta))
    return f"2^{{{exponent:.0f}}}" if exponent == round(exponent) else f"{delta:.3g}"


def _clock(rows: list[dict[str, Any]], deltas: list[float]) -> "Figure":
    figure, (left, right) = drawing.plain_panels(2)
    lengths = sorted({row["key_bits"] for row in rows})
    for place, delta in enumerate(deltas):
        own = [row for row in rows if row["delta"] == delta]
        # Side by side, so that bars can be told apart.
        shift = 0.12 * (place - (len(deltas) - 1) / 2)
        ms = [row["ms"] for row in own]
        left.errorbar(
            [lengths.index(row["key_bits"]) + shift for row in own],
            ms,
            [
                [row["ms"] - row["ms_low"] for row in own],
                [row["ms_high"] - row["ms"] for row in own],
            ],
            color=drawing.COLOURS[place % len(drawing.COLOURS)],
            ls="none",
            marker=_MARKS[place % len(_MARKS)],
            ms=3,
            mew=0,
            lw=0.9,
            label=rf"$\delta = {_power(delta)}$",
        )
    left.set_xticks(range(len(lengths)), [str(bits) for bits in lengths])
    left.set_xlabel("key length in bits")
    left.set_ylabel("ms per encrypted iteration")
    left.set_ylim(0, None)
    # As many ticks in a layout as in the next one.
    left.locator_params(axis="y", nbins=6)
    _map(right, rows, deltas, lengths)
    drawing.entitle(figure, [])
    return figure


def _map(axes: "Axes", rows: list[dict[str, Any]], deltas: list[float], lengths: list[int]) -> None:
    """Times as a map with numbers in its cells."""
    cells = np.full((len(deltas), len(lengths)), np.nan)
    for row in rows:
        at = deltas.index(row["delta"]), lengths.index(row["key_bits"])
        value = row["seconds"] if row["seconds"] is not None else row["seconds_predicted"]
        cells[at] = np.nan if value is None else value
    # Where nothing is reached, and nothing predicted to be, all cells look alike.
    shades = np.log(cells) if np.isfinite(cells).any() else np.zeros_like(cells)
    axes.pcolormesh(shades, cmap="viridis_r")
    middle = (np.nanmin(shades) + np.nanmax(shades)) / 2
    for row in rows:
        i, j = deltas.index(row["delta"]), lengths.index(row["key_bits"])
        known = np.isfinite(cells[i, j])
        text = "not reached"
        if known:
            text = ("" if row["seconds"] is not None else "≈ ") + duration(cells[i, j])
        dark = known and shades[i, j] > middle
        axes.text(
            j + 0.5, i + 0.5, text, color="white" if dark else "black", fontsize=7,
            ha="center", va="center",
        )  # fmt: skip
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(lengths)) + 0.5, [str(bits) for bits in lengths])
    axes.set_yticks(np.arange(len(deltas)) + 0.5, [rf"${_power(delta)}$" for delta in deltas])
    axes.set_xlabel("key length in bits")
    axes.set_ylabel(r"quantization step $\delta$")
