"""The article's printed entries and what is measured, drawn alike in every figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dpe_jax import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def beside_measured(axes: "Axes", rows: Sequence[Mapping[str, Any]], x: str) -> None:
    """Measured means as dots, with 95 % intervals where they have errors, and the entries there.

    Rows have "measured", "article" (None where nothing is printed) and all or none
    "standard_error".
    """
    errors = [1.96 * row["standard_error"] for row in rows if "standard_error" in row]
    axes.errorbar(
        [row[x] for row in rows],
        [row["measured"] for row in rows],
        errors or None,
        color=drawing.COLOURS[0],
        ls="none",
        marker="o",
        ms=3.5,
        capsize=2,
        label="measured",
    )
    printed = [row for row in rows if row["article"] is not None]
    axes.plot(
        [row[x] for row in printed],
        [row["article"] for row in printed],
        color=drawing.COLOURS[1],
        ls="none",
        marker="s",
        mfc="none",
        ms=6.5,
        label="article",
    )
