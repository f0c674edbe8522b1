"""Figures of pictures that came back, and of how often they do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dpe_jax import drawing
from dpe_jax.privacy.images.scores import EXACT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABEL_WIDTH, _TILE, _GAP, _MOST = 1.75, 0.62, 0.05, 0.85
"""Inches: the column of labels, a picture, what lies between two, and the largest picture."""

_LETTER = 0.06
"""Inches: a letter of a label."""


class Row(NamedTuple):
    """One row of a gallery."""

    label: str
    """Two lines at most, of some 26 letters."""
    pictures: Float[np.ndarray, "targets pixels"]
    mse: Float[np.ndarray, " targets"] | None = None
    """Written below each picture as PSNR, if given."""


class Line(NamedTuple):
    """One line of a figure over the variance of multipliers."""

    label: str
    points: Sequence[dict[str, Any]]
    """`Outcome.record` of each, with its "variance"."""


def gallery(
    rows: Sequence[Row], shape: tuple[int, int, int], title: str, out: Path, name: str
) -> list[Path]:
    """Draw pictures in rows as `name`.png and .pdf in `out`: what was, then what came back.

    Raises `InputError` if `out` cannot be written.
    """
    with drawing.writing(out):
        figure = pictures(rows, shape, title)
        return [drawing.save(figure, out / f"{name}.{kind}") for kind in ("png", "pdf")]


def curves(lines: Sequence[Line], chance: float, title: str, out: Path, name: str) -> list[Path]:
    """Draw shares of recognisable pictures and PSNR over ρ² as `name`.png and .pdf in `out`.

    Left the share with MSE below 0.01 and its 95 % interval, right the median PSNR with its 5–95 %
    range over targets, and `chance`, the PSNR of the mean picture. The axis is linear up to the
    least positive ρ², which shows ρ² = 0 too.
    """
    with drawing.writing(out):
        figure = _curves(lines, chance, title)
        return [drawing.save(figure, out / f"{name}.{kind}") for kind in ("png", "pdf")]


def pictures(
    rows: Sequence[Row],
    shape: tuple[int, int, int],
    title: str = "",
    inches: float | None = None,
) -> "Figure":
    """Pictures in rows, without writing them; as large as fits if it is to be `inches` wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = rows[0].pictures.shape[0]
    scored = any(row.mse is not None for row in rows)
    tile = _TILE
    if inches is not None:
        longest = max(len(line) for row in rows for line in row.label.split("\n"))
        tile = min(_MOST, (inches - 0.2 - _LETTER * longest) / columns - _GAP)
    pitch = tile + (0.18 if scored else _GAP)
    tiles = columns * (tile + _GAP) + 0.05
    width = _LABEL_WIDTH + tiles if inches is None else inches
    top = 0.16 + 0.14 * (1 + title.count("\n")) if title else 0.05
    height = top + len(rows) * pitch + 0.05
    figure = Figure((width, height))
    FigureCanvasAgg(figure)
    figure.text(0.06 / width, 1 - 0.08 / height, title, va="top", fontsize=8.5)
    for i, row in enumerate(rows):
        bottom = height - top - i * pitch - tile
        figure.text(
            0.06 / width, (bottom + tile / 2) / height, row.label, va="center", fontsize=7.5
        )
        for j in range(columns):
            left = width - tiles + j * (tile + _GAP)
            axes = figure.add_axes((left / width, bottom / height, tile / width, tile / height))
            axes.set_axis_off()
            picture = np.clip(row.pictures[j], 0.0, 1.0).reshape(shape)
            if np.all(np.isfinite(picture)):
                grey = shape[2] == 1
                axes.imshow(
                    picture[..., 0] if grey else picture,
                    cmap="gray" if grey else None,
                    vmin=0.0,
                    vmax=1.0,
                    interpolation="nearest",
                )
            if row.mse is not None:
                figure.text(
                    (left + tile / 2) / width,
                    (bottom - 0.02) / height,
                    _decibel(float(row.mse[j])),
                    ha="center",
                    va="top",
                    fontsize=7,
                )
    return figure


def _decibel(mse: float) -> str:
    if not np.isfinite(mse):
        return "failed"
    return "exact" if mse < EXACT else f"{-10 * np.log10(mse):.0f} dB"


def _curves(lines: Sequence[Line], chance: float, title: str) -> "Figure":
    figure, (left, right) = drawing.plain_panels(2)
    least = min(point["variance"] for line in lines for point in line.points if point["variance"])
    for index, line in enumerate(lines):
        colour = drawing.COLOURS[index % len(drawing.COLOURS)]
        shown: dict[str, Any] = {
            "color": colour,
            "ls": drawing.DASHES[index % len(drawing.DASHES)],
            "label": line.label,
            "zorder": 2.5,
            **{"marker": "o", "ms": 2.5},
        }
        x = [point["variance"] for point in line.points]
        shares = [point["recognisable"]["count"] / point["targets"] for point in line.points]
        # A quantile is None where nothing came back.
        psnr = [
            [np.nan if value is None else value for value in (low, point["psnr_median"], high)]
            for point in line.points
            for low, high in [point["psnr_5_95"]]
        ]
        low, middle, high = np.array(psnr).T
        ends = np.array([point["recognisable"]["interval_95"] for point in line.points]).T
        left.fill_between(x, *ends, color=colour, alpha=0.12, lw=0)
        left.plot(x, shares, **shown)
        # The plaintext point is exact, and far above what the axis shows.
        right.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
        right.plot(x, middle, **shown)
    right.axhline(chance, color="black", lw=0.8, ls=(0, (2, 2)), label="the mean picture")
    for axes in (left, right):
        axes.set_xscale("symlog", linthresh=least, linscale=0.5)
        axes.set_xlabel(r"variance of multipliers $\rho^2$")
        axes.set_xlim(0, None)
    left.set_ylabel("share with MSE < 0.01")
    left.set_ylim(-0.03, 1.03)
    right.set_ylabel("PSNR in dB")
    right.set_ylim(0, 60)
    drawing.entitle(figure, [title])
    return figure
