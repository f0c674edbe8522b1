"""Figures of sensitivity studies, from their rows."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sensitivity_findings import MIXED, Report, Row, Z, by_network, falls

from dpe_jax import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ("o", "s", "^", "D", "v", "P")
_PANEL = 3.4, 2.6
"""Width and height of a panel, in inches."""


def draw(report: Report, out: Path) -> Path:
    """Write the figure of a study as a PNG file."""
    with drawing.writing(out):
        figure, title = _FIGURES[report["study"]](report["rows"])
        end = f"k = {report['iterations']}, {report['runs']} runs"
        figure.suptitle(f"{end}: {title}")
        path = out / f"{report['study']}.png"
        # Text in a file would hold the version of matplotlib, and change with it.
        figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def _panels(columns: int, rows: int = 1, scale: float = 1.0) -> tuple["Figure", list["Axes"]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = _PANEL[0] * columns * scale, (_PANEL[1] * scale + 0.1) * rows + 0.5
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False).ravel().tolist()


def _points(
    axes: "Axes", rows: list[Row], x: str, y: str, place: int, label: str, *, filled: bool = True
) -> None:
    """Measured values with 95 % intervals."""
    axes.errorbar(
        [row[x] for row in rows],
        [row[y] for row in rows],
        [Z * row[f"{y}_se"] for row in rows],
        color=drawing.COLOURS[place],
        ls="none",
        marker=_MARKS[place % len(_MARKS)],
        ms=3.5 if filled else 6.5,
        mfc=drawing.COLOURS[place] if filled else "none",
        mew=0 if filled else 1.0,
        lw=0.9,
        label=label,
    )


def _legend(figure: "Figure", axes: "Axes", columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _multipliers(rows: list[Row]) -> tuple["Figure", str]:
    figure, panels = _panels(2)
    families = list(dict.fromkeys(row["family"] for row in rows if row["family"] != "none"))
    titles = {0.0: "agents alike", 1.0: "agents unlike"}
    for axes, spread in zip(panels, titles, strict=True):
        own = [row for row in rows if row["spread"] == spread]
        line = sorted({(row["variance"], row["gap_mean_state_ratio_predicted"]) for row in own})
        axes.plot(*zip(*line, strict=True), color="black", lw=0.9, label="predicted")
        for place, family in enumerate(families):
            # Side by side, so that intervals at one variance can be told apart.
            shift = 0.05 * (place - (len(families) - 1) / 2)
            chosen = [
                row | {"variance": row["variance"] + shift}
                for row in own
                if row["family"] == family
            ]
            _points(axes, chosen, "variance", "gap_mean_state_ratio", place, family)
        axes.set_title(titles[spread])
        axes.set_xlabel(r"variance $\rho^2$ of the multipliers")
        axes.set_ylabel(r"$F(\bar{x}) - F^*$, times that without")
    _legend(figure, panels[0], 6)
    return figure, "Random multipliers: families and variances"


def _delta(rows: list[Row]) -> tuple["Figure", str]:
    figure, panels = _panels(2)
    scales = sorted({row["gamma_scale"] for row in rows})
    labels = {
        "consensus_square": r"squared consensus error",
        "gap_mean_state": r"$F(\bar{x}) - F^*$",
    }
    for axes, (metric, label) in zip(panels, labels.items(), strict=True):
        for place, scale in enumerate(scales):
            own = [row for row in rows if row["gamma_scale"] == scale]
            axes.plot(
                [row["delta"] for row in own],
                [row[f"{metric}_predicted"] for row in own],
                color="black",
                lw=0.9,
                label="predicted" if place == 0 else None,
            )
            _points(axes, own, "delta", metric, place, rf"$\gamma^k = {scale:g} (k+1)^{{-0.6}}$")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(r"quantization step $\delta$")
        axes.set_ylabel(label)
    _legend(figure, panels[0], 4)
    return figure, "The quantization step"


def _exponents(rows: list[Row]) -> tuple["Figure", str]:
    figure, panels = _panels(2, 2)
    grids = sorted({row["delta"] for row in rows})
    shown: list[tuple[str, float, Callable[[Row], Any]]] = [
        ("measured exponent", grids[0], lambda row: row["exponent"]),
        ("limiting exponent", grids[0], lambda row: row["exponent_in_the_limit"] or np.nan),
        ("worst agent's error", grids[0], lambda row: row["error_worst_agent"]),
        ("worst agent's error", grids[-1], lambda row: row["error_worst_agent"]),
    ]
    for axes, (title, delta, value) in zip(panels, shown, strict=True):
        own = [row for row in rows if row["delta"] == delta]
        _map(axes, own, value, logarithmic="error" in title)
        axes.set_title(rf"{title}, $\delta = {delta:.3g}$")
    return figure, (
        r"$\gamma \sim k^{-a}$ and $\bar{\lambda} \sim k^{-b}$"
        "\nframed: all conditions hold; with a dot: the error is seen to fall"
    )


def _map(
    axes: "Axes", rows: list[Row], value: Callable[[Row], float], *, logarithmic: bool
) -> None:
    """A map over a and b with its numbers in the cells."""
    from matplotlib.patches import Rectangle

    a, b = (sorted({row[name] for row in rows}) for name in ("a", "b"))
    cells = np.full((len(b), len(a)), np.nan)
    for row in rows:
        cells[b.index(row["b"]), a.index(row["a"])] = value(row)
    shades = np.log(cells) if logarithmic else cells
    axes.pcolormesh(shades, cmap="viridis_r" if logarithmic else "viridis")
    middle = (np.nanmin(shades) + np.nanmax(shades)) / 2
    for row in rows:
        at = a.index(row["a"]), b.index(row["b"])
        number = cells[at[1], at[0]]
        light = np.isnan(number) or (shades[at[1], at[0]] > middle) != logarithmic
        colour = "black" if light else "white"
        text = f"{number:.2g}" if logarithmic else f"{number:.2f}"
        text = "none" if np.isnan(number) else text
        axes.text(
            at[0] + 0.5, at[1] + 0.5, text, color=colour, fontsize=7, ha="center", va="center"
        )
        if falls(row):
            axes.plot(at[0] + 0.88, at[1] + 0.84, ".", color=colour, ms=2.5)
        if not row["broken"]:
            frame = Rectangle((at[0] + 0.04, at[1] + 0.04), 0.92, 0.92, fill=False, ec="#D55E00")
            axes.add_patch(frame)
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(a)) + 0.5, [f"{value:g}" for value in a])
    axes.set_yticks(np.arange(len(b)) + 0.5, [f"{value:g}" for value in b])
    axes.set_xlabel("$a$")
    axes.set_ylabel("$b$")


def _network(rows: list[Row]) -> tuple["Figure", str]:
    figure, panels = _panels(2)
    table = by_network(rows)
    for place, graph in enumerate(dict.fromkeys(row["graph"] for row in table)):
        own = [row for row in table if row["graph"] == graph]
        for axes, x, y in (
            (panels[0], "mu", "consensus"),
            (panels[1], "agents", "gap_mean_state"),
        ):
            values = np.array([row[y] for row in own])
            factors = np.array([row[f"{y}_factor"] for row in own])
            axes.errorbar(
                [row[x] for row in own],
                values,
                (values - values / factors, values * factors - values),
                color=drawing.COLOURS[place],
                marker=_MARKS[place % len(_MARKS)],
                ms=3.5,
                mew=0,
                lw=0.7,
                ls=":",
                label=graph,
            )
    settled = sorted(
        (row["mu"], row["consensus_settled"]) for row in table if row["mixing"] > MIXED
    )
    panels[0].plot(
        *zip(*settled, strict=True), color="black", marker="x", ms=3, lw=0, label="settled value"
    )
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
    panels[0].set_xlabel(r"$\mu$")
    panels[0].set_ylabel("consensus error")
    panels[1].set_xlabel("agents $n$")
    panels[1].set_ylabel(r"$F(\bar{x}) - F^*$")
    agents = sorted({row["agents"] for row in table})
    panels[1].set_xticks(agents, [str(n) for n in agents])
    panels[1].minorticks_off()
    _legend(figure, panels[0], 4)
    return figure, "Graphs and numbers of agents"


def _weights(rows: list[Row]) -> tuple["Figure", str]:
    figure, panels = _panels(2)
    for axes, metric, label in (
        (panels[0], "consensus_square", "squared consensus error"),
        (panels[1], "gap_mean_state", r"$F(\bar{x}) - F^*$"),
    ):
        own, mu = rows, []
        for place, delta in enumerate(sorted({row["delta"] for row in rows})):
            own = [row for row in rows if row["delta"] == delta]
            mu = [row["mu"] for row in own]
            predicted = [row[f"{metric}_predicted"] for row in own]
            axes.plot(mu, predicted, color="black", lw=0.9, label=None if place else "predicted")
            # Where the grid does not matter a mark is in another one, which is larger and open.
            named = rf"$\delta = {delta:.3g}$"
            _points(axes, own, "mu", metric, place, named, filled=place % 2 == 0)
        if metric == "consensus_square":
            settled = [row["consensus_square_settled"] for row in own]
            axes.plot(mu, settled, color="black", lw=0.9, ls="--", label="settled value")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(r"$\mu$")
        axes.set_ylabel(label)
    _legend(figure, panels[0], 4)
    return figure, "One graph with scaled weights"


_FIGURES: dict[str, Callable[[list[Row]], tuple["Figure", str]]] = {
    "multipliers": _multipliers,
    "delta": _delta,
    "exponents": _exponents,
    "network": _network,
    "weights": _weights,
}
