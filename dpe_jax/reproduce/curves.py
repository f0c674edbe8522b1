"""Curves of an experiment as figures and tables of a paper have them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dpe_jax import drawing
from dpe_jax.bands import Band, Course
from dpe_jax.drawing import Method
from dpe_jax.figures import chunked_band
from dpe_jax.results import Stored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {
    "encrypted": "proposed",
    "conventional": "conventional",
    "centralized": "centralized",
    "ternary": "ternary",
    "function-sharing": "function sharing",
    "state-sharing": "state sharing",
    "geometric-dp": "geometric DP",
    "tailored-dp": "tailored DP",
    "coarse-grid": "proposed, coarse δ",
    "constant-stepsize": "control: constant stepsize",
    "equal-decay": "control: equal decay, γ = λ",
    "unequal-means": "control: unequal means",
    "nearest-rounding": "control: rounding to nearest",
}
"""The methods of the configurations, as a reader knows them."""

OTHERS = (
    "ternary: states rounded at random to −r, 0 or r (Wang, Başar 2023); function and state "
    "sharing: random shares that cancel in sums over agents (Gade, Vaidya 2018 and 2017); "
    "geometric DP: Laplace noise that decays (Huang, Mitra, Vaidya 2015); tailored DP: Laplace "
    "noise that grows (Wang, Nedić 2023)"
)
"""What other authors' methods do."""

Bands = Mapping[str, Mapping[str, Band]]
"""By metric and method."""


def named(name: str) -> str:
    """A method's name for a reader."""
    return NAMES.get(name, name)


def methods(stored: Stored) -> list[Method]:
    """How the methods are drawn, under the names that a reader knows."""
    return [method._replace(label=named(method.name)) for method in drawing.methods(stored)]


def bands(stored: Stored, metrics: Sequence[str]) -> dict[str, dict[str, Band]]:
    """Mean and 5–95 % over the sound runs, of each metric and method at every record point."""
    return {
        metric: {
            name: chunked_band(stored.curves[metric].sel(algorithm=name))
            for name in stored.config.methods
        }
        for metric in metrics
    }


def rows(stored: Stored, found: Bands) -> list[dict[str, Any]]:
    """A row for each method and record point: mean, 5 % and 95 % of each metric."""
    made = []
    for name in stored.config.methods:
        for point, k in enumerate(stored.curves.iteration.values):
            row: dict[str, Any] = {"method": named(name), "k": int(k)}
            for metric, of in found.items():
                row[f"{metric}_mean"] = of[name].mean[point]
                row[f"{metric}_p05"] = of[name].low[point]
                row[f"{metric}_p95"] = of[name].high[point]
            made.append(row)
    return made


def course(band: Band, above: float = 0.0) -> Course:
    """What a line and its band show, `above` added."""
    return Course(band.mean + above, band.low + above, band.high + above)


def over_iterations(axes: "Axes", stored: Stored) -> None:
    """A logarithmic axis of the iterations."""
    drawing.over_iterations(axes, int(stored.curves.iteration.values[-1]))
