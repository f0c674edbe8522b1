"""Figures as PNG alone, for tests that ask nothing of the PDF beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dpe_jax import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png_only(patch: pytest.MonkeyPatch) -> None:
    """Write no PDF: to embed its letters is more than half of the time that a figure takes."""
    save = drawing.save

    def saved(figure: "Figure", path: Path) -> Path:
        return save(figure, path) if path.suffix == ".png" else path

    patch.setattr(drawing, "save", saved)
