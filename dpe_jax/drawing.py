"""What all figures share: style, colours, panels, bands, title with legend, and writing."""

import contextlib
import re
import textwrap
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.bands import Course
from dpe_jax.errors import InputError
from dpe_jax.folder import beside
from dpe_jax.lattice import OK
from dpe_jax.results import Stored

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart, a brown and a grey; black is left
# for references.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C564B",
    "#7F7F7F",
)
DASHES = (
    (0, ()),
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (6, 1.4, 1.2, 1.4)),
    (0, (3, 1.2)),
    (0, (6, 1.2, 1.2, 1.2, 1.2, 1.2)),
)

SCORES = ("#ee8f4b", "#fad0a5", "#dbe7f2", "#93bfe3")
"""Of privacy scores 0 to 3: orange to blue, told apart by the colour-blind and in grey; black text
is read on each."""

SINGLE, DOUBLE = 3.4, 7.0
"""Widths of one column and of two, in inches."""

_HEIGHT, _TEXT_LINE = 2.3, 0.175
"""Heights of a panel with its axis labels, and of a line of the title or legend, in inches."""


class Method(NamedTuple):
    """How a method is shown."""

    name: str
    label: str
    colour: str
    dash: tuple[int, tuple[float, ...]]
    sound: Int64[np.ndarray, " sound"]
    """The runs that were sound to the end."""
    shade: float
    """Opacity of its band: fainter where many bands lie over each other."""


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Make the folder, or raise `InputError`; figures made within have the style of all figures."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", str(out), f"a writable folder ({error.strerror})") from error
    with style():
        yield


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Figures made within have the style in `dpe.mplstyle`, whatever a user's own says."""
    import matplotlib.style

    with (
        resources.as_file(resources.files("dpe_jax") / "dpe.mplstyle") as path,
        matplotlib.style.context(["default", str(path)]),
    ):
        yield


def methods(stored: Stored) -> list[Method]:
    """All methods, with a colour and a line style each, and the runs that are sound."""
    found = []
    for index, name in enumerate(stored.config.methods):
        sound = np.flatnonzero(stored.curves.status.sel(algorithm=name).values == OK)
        dash = DASHES[(index + index // len(COLOURS)) % len(DASHES)]
        colour, shade = COLOURS[index % len(COLOURS)], 0.6 / max(4, len(stored.config.methods))
        found.append(Method(name, plain(name), colour, dash, sound, shade))
    return found


def plain(name: str, most: int = 24) -> str:
    """A name that is shown as it is: no formula, not hidden from legends, not too long."""
    short = name if len(name) <= most else name[: most - 1] + "…"
    return (" " if short.startswith("_") else "") + short.replace("$", r"\$")


def panels(stored: Stored, count: int) -> tuple["Figure", list["Axes"]]:
    """A figure of `count` panels, two in a row, with iterations on a logarithmic axis."""
    figure, grid = plain_panels(count)
    for axes in grid:
        over_iterations(axes, int(stored.curves.iteration.values[-1]))
    return figure, grid


def over_iterations(axes: "Axes", last: int) -> None:
    """Give a panel a logarithmic axis of the iterations 0 to `last`."""
    axes.set_xscale("log")
    axes.set_xlabel("iteration $k + 1$")
    axes.set_xlim(0.9, 1.1 * (last + 1))


def plain_panels(count: int) -> tuple["Figure", list["Axes"]]:
    """A figure of `count` panels, two in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = min(count, 2), -(-count // 2)
    figure = Figure((SINGLE if columns == 1 else DOUBLE, _HEIGHT * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def axis(stored: Stored) -> Int64[np.ndarray, " points"]:
    """Where the record points lie: iteration 0 has a place on a logarithmic axis too."""
    return stored.curves.iteration.values + 1


def drawable(methods: list[Method], *panels: "Axes") -> list[Method]:
    """The methods that have a sound run; where none has, the panels say so."""
    sound = [method for method in methods if method.sound.size]
    for axes in panels if not sound else ():
        axes.text(0.5, 0.5, "no sound run", ha="center", va="center", transform=axes.transAxes)
    return sound


def line(
    axes: "Axes",
    x: Int64[np.ndarray, " points"] | Float[np.ndarray, " points"],
    values: Course,
    method: Method,
    floor: float = -np.inf,
    edges: bool = True,
) -> bool:
    """Mean and band of one method where they exceed `floor`; False if they never do."""
    mean, low, high = (above(column, floor) for column in values)
    if np.all(np.isnan(mean)):
        return False
    # A band that reaches below the floor still reaches down to what is shown.
    low = np.where(np.isnan(low) & ~np.isnan(high), np.nanmin(mean), low)
    axes.fill_between(
        x, low, high, where=~np.isnan(high), color=method.colour, alpha=method.shade, lw=0
    )
    # Edges tell overlapping bands apart; among single runs they would look like two more.
    for edge in (low, high) if edges else ():
        axes.plot(x, edge, color=method.colour, ls=method.dash, lw=0.4, alpha=0.7)
    axes.plot(x, mean, color=method.colour, ls=method.dash, label=method.label, zorder=2.5)
    return True


def above(values: Float[np.ndarray, " points"], floor: float) -> Float[np.ndarray, " points"]:
    """The finite values that exceed `floor`, NaN for the others."""
    return np.where(np.isfinite(values) & (values > floor), values, np.nan)


def finish(
    figure: "Figure",
    stored: Stored,
    methods: list[Method],
    subject: str,
    notes: list[str],
    what: str = "mean and 5–95 % band",
    left_out: str = ", then left out",
) -> None:
    """Title, with what failed, and one legend below all panels."""
    runs = stored.curves.sizes["run"]
    told = [f"{stored.config.name}: {subject}, {what} over {runs} run" + "s" * (runs != 1)]
    failures = [
        f"{method.label}: {runs - method.sound.size} of {runs} runs failed"
        + (left_out if method.sound.size else ", not shown")
        for method in methods
        if method.sound.size < runs
    ]
    entitle(figure, told + ["; ".join(part) for part in (failures, notes) if part])


def entitle(figure: "Figure", told: list[str]) -> None:
    """Put texts above all panels, and one legend below them; the figure grows by their height."""
    double = figure.get_figwidth() > SINGLE
    width = 104 if double else 48
    title = [line for text in told for line in wrapped(text, width)]
    if title:
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


def wrapped(text: str, width: int) -> list[str]:
    """Lines of a text, about as long as each other where the last one would be a word or two."""
    lines = textwrap.wrap(text, width)
    if len(lines) < 2 or 3 * len(lines[-1]) > width:
        return lines
    narrower = (textwrap.wrap(text, least) for least in range(width // 2, width))
    return next(found for found in (*narrower, lines) if len(found) <= len(lines))


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


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure whole or not at all."""
    with _renamed(path) as scratch:
        kind = path.suffix[1:]
        # Without a date, the same result gives the same file.
        metadata = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(scratch, format=kind, dpi=200, metadata=metadata)
    return path


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    scratch = beside(path)
    try:
        yield scratch
        scratch.replace(path)
    except OSError as error:
        raise InputError("--out", str(path.parent), f"a writable folder ({error})") from error
    finally:
        scratch.unlink(missing_ok=True)
