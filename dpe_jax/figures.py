"""Figures of a finished experiment: PNG and PDF, legible at the width of a journal column."""

import contextlib
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.bands import Band, band
from dpe_jax.errors import InputError
from dpe_jax.lattice import OK
from dpe_jax.results import Stored

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHUNK_VALUES = 20_000_000
"""Values read at a time: a million runs do not fit into memory at all record points."""

_SINGLE_RUNS = 3
"""Runs of each encrypted method that are drawn one by one."""

_ROUNDING = 1e-14
"""A consensus error below this is rounding (that of a centralized method, say)."""

_MAX_RISE = 4.0
"""F(x̄) is shown up to this multiple of the range of the method that keeps closest to F*, so that
a method that diverges does not flatten the others."""

_NAMED_AGENTS = 6
"""Up to so many agents have a colour and a legend entry each."""

# Okabe and Ito's colours, which the colour-blind can tell apart; black is left for references.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = (
    (0, ()),
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (6, 1.4, 1.2, 1.4)),
    (0, (3, 1.2)),
    (0, (6, 1.2, 1.2, 1.2, 1.2, 1.2)),
)

_STYLE = {
    "font.size": 8,
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "figure.titlesize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.3,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.4,
    "pdf.fonttype": 42,
}

_SINGLE, _DOUBLE = 3.4, 7.0
"""Widths of one column and of two, in inches."""

_HEIGHT, _TEXT_LINE = 2.3, 0.175
"""Heights of a panel with its axis labels, and of a line of the title or legend, in inches."""


class _Method(NamedTuple):
    name: str
    label: str
    colour: str
    dash: tuple[int, tuple[float, ...]]
    sound: Int64[np.ndarray, " sound"]
    """The runs that were sound to the end."""


def draw(stored: Stored, out: Path) -> list[Path]:
    """Draw `objective`, `errors` and `quantization` as PNG and PDF in `out`; return their paths.

    A figure or panel of which no metric was recorded is left out. Bands are 5–95 % over the runs
    that are sound at that iteration; how many failed is said in the title, and a method of which
    no run is sound is only named there. Raises `InputError` if `out` cannot be written.
    """
    import matplotlib.style

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", str(out), f"a writable folder ({error.strerror})") from error
    methods = _methods(stored)
    paths = []
    # "default" first: what a user's matplotlibrc says must not change the figures.
    with matplotlib.style.context(["default", _STYLE]):
        for name, figure in (
            ("objective", _objective(stored, methods)),
            ("errors", _errors(stored, methods)),
            ("quantization", _quantization(stored, methods)),
        ):
            if figure is not None:
                paths += [_save(figure, out / f"{name}.{kind}") for kind in ("png", "pdf")]
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


def _methods(stored: Stored) -> list[_Method]:
    """All methods, with a colour and a line style each, and the runs that are sound."""
    found = []
    for index, name in enumerate(stored.config.methods):
        sound = np.flatnonzero(stored.curves.status.sel(algorithm=name).values == OK)
        dash = _DASHES[(index + index // len(_COLOURS)) % len(_DASHES)]
        found.append(_Method(name, _plain(name), _COLOURS[index % len(_COLOURS)], dash, sound))
    return found


def _plain(name: str) -> str:
    """A name that is shown as it is: no formula, not hidden from legends, not too long."""
    short = name if len(name) <= 24 else name[:23] + "…"
    return (" " if short.startswith("_") else "") + short.replace("$", r"\$")


def _objective(stored: Stored, methods: list[_Method]) -> "Figure | None":
    """F(x̄) beside F*, and F(x̄) − F* on logarithmic axes."""
    if "gap_mean_state" not in stored.curves:
        return None
    figure, (left, right) = _panels(stored, 2)
    minimum = float(stored.summary["minimum"])
    gap, x = stored.curves.gap_mean_state, _axis(stored)
    tops: list[float] = []
    for method in _drawable(methods, left, right):
        curve = gap.sel(algorithm=method.name)
        found = chunked_band(curve)
        above = found._replace(
            mean=minimum + found.mean, low=minimum + found.low, high=minimum + found.high
        )
        _line(left, x, above, method, edges=False)
        _line(right, x, found, method, floor=0.0)
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
    _finish(figure, stored, methods, "objective at the mean state", notes)
    return figure


def _errors(stored: Stored, methods: list[_Method]) -> "Figure | None":
    """The worst agent's distance from the minimizer, and the consensus error."""
    labels = {
        "error_worst_agent": r"$\mathrm{max}_i\,\|x_i - x^*\|$  (units of $x$)",
        "consensus_error": r"$(n^{-1}\,\Sigma_i\,\|x_i - \bar{x}\|^2)^{1/2}$  (units of $x$)",
    }
    titles = {"error_worst_agent": "worst agent's error", "consensus_error": "consensus error"}
    metrics = [metric for metric in labels if metric in stored.curves]
    if not metrics:
        return None
    figure, panels = _panels(stored, len(metrics))
    x, notes = _axis(stored), []
    exponents: list[float] = []
    # Elsewhere the horizon may be far from the limit, and a guide would only mislead.
    asked = stored.config.checks.decay_from is not None
    for axes, metric in zip(panels, metrics, strict=True):
        axes.set_yscale("log")
        axes.set_ylabel(labels[metric])
        consensus = metric == "consensus_error"
        for method in _drawable(methods, axes):
            found = chunked_band(stored.curves[metric].sel(algorithm=method.name))
            seen = _line(axes, x, found, method, floor=_ROUNDING if consensus else 0.0)
            exponent = stored.summary["methods"][method.name]["predicted_exponent"]
            if not seen:
                notes.append(f"{method.label}: {titles[metric]} zero up to rounding")
            elif not consensus and exponent is not None and asked:
                _guide(axes, stored.curves.iteration.values, found.mean, exponent, exponents)
    what = " and ".join(titles[metric] for metric in metrics)
    _finish(figure, stored, methods, what, notes)
    return figure


def _quantization(stored: Stored, methods: list[_Method]) -> "Figure | None":
    """E‖ξ_i‖² of each agent beside its bound, one panel a method that quantizes."""
    of = stored.summary["methods"]
    quantizing = [method for method in methods if "quantization" in of[method.name]]
    if "quantization_error" not in stored.curves or not quantizing:
        return None
    figure, panels = _panels(stored, len(quantizing))
    x, agents = _axis(stored), stored.curves.sizes["agent"]
    for axes, method in zip(panels, quantizing, strict=True):
        axes.set_yscale("log")
        axes.set_ylabel(r"$\mathrm{E}\|\xi_i\|^2$  (units of $x^2$)")
        if len(quantizing) > 1:
            axes.set_title(method.label)
        for method_drawn in _drawable([method], axes):
            means = chunked_mean(stored.curves.quantization_error.sel(algorithm=method_drawn.name))
            for agent, mean in enumerate(means.T):
                if agents <= _NAMED_AGENTS:
                    kind = {"color": _COLOURS[agent], "ls": _DASHES[agent], "lw": 1.0}
                    label: str | None = f"agent {agent}"
                else:
                    kind = {"color": _COLOURS[0], "lw": 0.5, "alpha": 0.6}
                    label = f"each of {agents} agents" if agent == 0 else None
                axes.plot(x, _above(mean, 0.0), label=label, **kind)
        axes.axhline(
            of[method.name]["quantization"]["bound"],
            color="black",
            lw=0.9,
            ls=(0, (4, 2)),
            label=r"bound $\frac{1}{2}(n-1)^2 d\,\delta^2$",
        )
    _finish(figure, stored, quantizing, "quantization error", [], what="mean")
    return figure


def _panels(stored: Stored, count: int) -> tuple["Figure", list["Axes"]]:
    """A figure of `count` panels, two in a row, with iterations on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = min(count, 2), -(-count // 2)
    figure = Figure((_SINGLE if columns == 1 else _DOUBLE, _HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.remove()
    for axes in grid[:count]:
        axes.set_xscale("log")
        # Iteration 0 has a place on the logarithmic axis too.
        axes.set_xlabel("iteration $k + 1$")
        axes.set_xlim(0.9, 1.1 * (int(stored.curves.iteration.values[-1]) + 1))
    return figure, grid[:count]


def _axis(stored: Stored) -> Int64[np.ndarray, " points"]:
    return stored.curves.iteration.values + 1


def _drawable(methods: list[_Method], *panels: "Axes") -> list[_Method]:
    """The methods that have a sound run; where none has, the panels say so."""
    sound = [method for method in methods if method.sound.size]
    for axes in panels if not sound else ():
        axes.text(0.5, 0.5, "no sound run", ha="center", va="center", transform=axes.transAxes)
    return sound


def _line(
    axes: "Axes",
    x: Int64[np.ndarray, " points"],
    values: Band,
    method: _Method,
    floor: float = -np.inf,
    edges: bool = True,
) -> bool:
    """Mean and band of one method where they exceed `floor`; False if they never do."""
    mean, low, high = (_above(v, floor) for v in (values.mean, values.low, values.high))
    if np.all(np.isnan(mean)):
        return False
    # A band that reaches below the floor still reaches down to what is shown.
    low = np.where(np.isnan(low) & ~np.isnan(high), np.nanmin(mean), low)
    axes.fill_between(x, low, high, where=~np.isnan(high), color=method.colour, alpha=0.15, lw=0)
    # Edges tell overlapping bands apart; among single runs they would look like two more.
    for edge in (low, high) if edges else ():
        axes.plot(x, edge, color=method.colour, ls=method.dash, lw=0.4, alpha=0.7)
    axes.plot(x, mean, color=method.colour, ls=method.dash, label=method.label, zorder=2.5)
    return True


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
    dash = _DASHES[exponents.index(exponent) % len(_DASHES)]
    label = f"$\\propto k^{{-{exponent:.3g}}}$ (predicted for large $k$)"
    axes.plot(k[window] + 1, line, color="black", lw=0.7, ls=dash, label=label, zorder=2.6)


def _above(values: Float[np.ndarray, " points"], floor: float) -> Float[np.ndarray, " points"]:
    return np.where(np.isfinite(values) & (values > floor), values, np.nan)


def _finish(
    figure: "Figure",
    stored: Stored,
    methods: list[_Method],
    subject: str,
    notes: list[str],
    what: str = "mean and 5–95 % band",
) -> None:
    """Title, with what failed, and one legend below all panels."""
    runs = stored.curves.sizes["run"]
    double = figure.get_figwidth() > _SINGLE
    told = [f"{stored.config.name}: {subject}, {what} over {runs} run" + "s" * (runs != 1)]
    failures = [
        f"{method.label}: {runs - method.sound.size} of {runs} runs failed"
        + (", then left out" if method.sound.size else ", not shown")
        for method in methods
        if method.sound.size < runs
    ]
    told += ["; ".join(part) for part in (failures, notes) if part]
    width = 104 if double else 52
    title = [line for text in told for line in textwrap.wrap(text, width)]
    figure.suptitle("\n".join(title))
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    lines = len(title)
    if entries:
        columns = _legend_columns(list(entries), 114 if double else 55)
        lines += -(-len(entries) // columns)
        figure.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns
        )
    figure.set_figheight(figure.get_figheight() + 0.1 + _TEXT_LINE * lines)


def _legend_columns(labels: list[str], width: int) -> int:
    """The most columns that fit into `width` letters; a line with its gaps takes about nine."""
    # A formula is shorter than its source.
    lengths = [len(re.sub(r"\\[a-z]+|[\\{}$^_,]", "", label)) + 9 for label in labels]
    for columns in range(len(labels), 1, -1):
        # Columns are filled one after the other, the first ones with one more if need be.
        parts = np.array_split(np.array(lengths), columns)
        if sum(int(part.max()) for part in parts) <= width:
            return columns
    return 1


def _save(figure: "Figure", path: Path) -> Path:
    """Write a figure whole or not at all."""
    with _renamed(path) as scratch:
        kind = path.suffix[1:]
        # Without a date, the same result gives the same file.
        metadata = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(scratch, format=kind, dpi=200, metadata=metadata)
    return path


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    scratch = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield scratch
        scratch.replace(path)
    except OSError as error:
        raise InputError("--out", str(path.parent), f"a writable folder ({error})") from error
    finally:
        scratch.unlink(missing_ok=True)
