"""Figures of pictures: what they show, and that no text lies on another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from dpe_jax import drawing
from dpe_jax.errors import InputError
from dpe_jax.privacy.images import draw, pictures, scores

pytestmark = pytest.mark.slow  # together over 20 s


def boxes(figure: Figure) -> list[Any]:
    """Of all texts that are seen."""
    from matplotlib.text import Text

    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return [text.get_window_extent() for text in texts if text.figure is not None]


def apart(figure: Figure) -> bool:
    found = boxes(figure)
    shrunk = [box.shrunk(0.95, 0.9) for box in found]
    inside = figure.bbox.padded(1)
    return all(inside.x0 <= b.x0 and b.x1 <= inside.x1 for b in found) and not any(
        a.overlaps(b) for i, a in enumerate(shrunk) for b in shrunk[:i]
    )


def rows(count: int) -> list[draw.Row]:
    values = pictures.digits(count).values
    mse = np.array([1e-20, 1e-3, np.nan, 0.3, 0.01][:count])
    failed = values.copy()
    failed[2] = np.nan
    return [
        draw.Row("original", values),
        draw.Row("function-sharing\nall neighbors: informed", failed, mse),
        draw.Row("encrypted 1 ± 4\nlevels: informed", 1 - values, mse),
    ]


def test_a_gallery_shows_every_picture(tmp_path: Path) -> None:
    made = rows(5)
    paths = draw.gallery(made, (8, 8, 1), "Digits from one gradient", tmp_path, "digits")
    assert [path.name for path in paths] == ["digits.png", "digits.pdf"]
    assert imread(paths[0]).std() > 0.1
    with drawing.writing(tmp_path):
        figure = draw.pictures(made, (8, 8, 1), "Digits from one gradient")
        assert apart(figure)
        shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    # One of them failed: its place stays empty.
    assert len(figure.axes) == 15
    assert len(shown) == 14
    assert np.array_equal(np.asarray(shown[0]).ravel(), made[0].pictures[0])
    written = [text.get_text() for text in figure.texts]
    assert {"exact", "30 dB", "failed", "5 dB", "20 dB"} <= set(written)


def test_exact_means_the_same_in_figures_and_tables() -> None:
    assert draw._decibel(0.99 * scores.EXACT) == "exact"
    assert draw._decibel(1.01 * scores.EXACT) == "60 dB"


def test_pictures_fill_a_given_width() -> None:
    wide = draw.pictures(rows(3), (8, 8, 1), inches=drawing.SINGLE)
    assert apart(wide)
    assert wide.get_figwidth() == drawing.SINGLE
    places = [axes.get_position() for axes in wide.axes]
    label = max(text.get_window_extent().x1 for text in wide.texts if "\n" in text.get_text())
    assert 0 < min(place.x0 for place in places) * wide.bbox.width - label < 0.35 * wide.dpi
    assert max(place.x1 for place in places) > 0.95


def test_colours_are_drawn_as_they_are(tmp_path: Path) -> None:
    values = pictures.patches(3).values
    with drawing.writing(tmp_path):
        figure = draw.pictures([draw.Row("original", values)], (32, 32, 3), "Patches")
    shown = np.asarray(figure.axes[1].images[0].get_array())
    assert np.array_equal(shown, values[1].reshape(32, 32, 3))


def point(variance: float, count: int, psnr: float | None) -> dict[str, Any]:
    spread = [None, None] if psnr is None else [psnr - 2, psnr + 3]
    interval = [max(0.0, count / 32 - 0.1), min(1.0, count / 32 + 0.1)]
    return {
        **{"variance": variance, "targets": 32, "psnr_median": psnr, "psnr_5_95": spread},
        "recognisable": {"count": count, "interval_95": interval},
    }


def test_curves_over_the_variance(tmp_path: Path) -> None:
    lines = [
        draw.Line("uniform: plain", [point(0, 32, 150), point(0.1, 20, 20), point(3, 0, 4)]),
        draw.Line("uniform: informed", [point(0, 32, 100), point(0.1, 32, 38), point(3, 0, None)]),
    ]
    title = "uniform multipliers, 64-64-10: 32 digits, one gradient each"
    paths = draw.curves(lines, 11.5, title, tmp_path, "variance")
    assert [path.name for path in paths] == ["variance.png", "variance.pdf"]
    with drawing.writing(tmp_path):
        figure = draw._curves(lines, 11.5, title)
        assert apart(figure)
    left, right = figure.axes
    assert np.allclose(np.asarray(left.lines[0].get_ydata(), float), [1, 20 / 32, 0])
    assert np.isnan(np.asarray(right.lines[1].get_ydata(), float)[2])
    assert np.allclose(np.asarray(right.lines[2].get_ydata(), float), 11.5)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"^--out = .*: expected a writable folder"):
        draw.gallery(rows(3), (8, 8, 1), "Digits", tmp_path / "file" / "below", "digits")


def test_texts_on_each_other_are_seen(tmp_path: Path) -> None:
    with drawing.writing(tmp_path):
        figure = draw.pictures(rows(3), (8, 8, 1), "Digits")
        assert apart(figure)
        figure.text(0.05, 0.5, "something on the labels\nof rows and more\nand more")
        assert not apart(figure)
