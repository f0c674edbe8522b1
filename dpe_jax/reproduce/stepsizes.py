"""How much convergence depends on the distribution of the private random stepsizes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from dpe_jax import drawing
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.config import Config
from dpe_jax.quadratic_moments import moments
from dpe_jax.reproduce import part
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.reproduce.shown import finite, interval, spread, standard_errors
from dpe_jax.reproduce.swept import METHOD, Swept, first_at, swept
from dpe_jax.simulation import Simulation
from dpe_jax.summary import Check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Sensitivity to the stepsize distribution"
SOURCE = (
    "The article's open question: “How sensitive is convergence speed to the choice of stepsize "
    "distribution?”"
)

_MOST = 4.0
"""Standard errors that a mean may be from its prediction."""

_Z = 1.96
"""Standard errors from a mean to the end of its interval."""

_APART = 0.15
"""Between families of one variance, of the distance between variances."""

_MARKS = ("o", "s", "^", "D", "v", "P", "X")


class Settings(part.Settings):
    """The sweep over multipliers, and the target."""

    experiment: Config
    """With an axis `multipliers`, whose labels begin with the family; one of them is `none`."""
    target: float = Field(gt=0, lt=1)
    """What part of F(x̄) − F* at the start is to be reached."""


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Run the sweep, and set it beside the recursion of means and variances."""
    running, predicting = work.pieces(4, 1)
    with swept(settings.experiment, "gap_mean_state", settings.seed, folder, running) as found:
        return _made(found, settings, predicting)


def _made(found: Swept, settings: Settings, predicting: Work) -> Made:
    predicted = moments(found.simulations, METHOD).gap_mean_state
    predicting.step(1, 1)
    target = settings.target * float(predicted[0, 0])
    rows = _rows(found, predicted, target)
    config = settings.experiment
    first = found.simulations[0]
    sample = (
        f"{config.runs} runs each, n = {first.problem.agents}, d = {first.problem.dim}, "
        f"{_start(first)}; intervals: 95 %, bootstrap over runs"
    )
    return Made(
        [_drawing(rows, settings, target, sample)],
        [_table(rows, settings, target, sample)],
        _checks(found, rows, settings),
        _differs(settings),
    )


def _rows(found: Swept, predicted: np.ndarray, target: float) -> list[dict[str, Any]]:
    families = [str(label).split(" ")[0] for label in found.labels["multipliers"]]
    plain = families.index("none")
    steps = np.arange(predicted.shape[1])
    rows = []
    for place, (family, course) in enumerate(zip(families, found.courses, strict=True)):
        method = _method(found.simulations[place])
        times, reached = course.times(found.courses[plain]), course.reached(target)
        rows.append(
            {
                "family": family,
                "variance": float(np.asarray(method.multipliers.variance)),
                "may_be_negative": bool(method.multipliers.may_be_negative),
                **spread("gap", course.end),
                "gap_standard_error": float(course.error[-1]),
                "gap_predicted": float(predicted[place, -1]),
                **spread("times_without", times),
                "times_without_predicted": float(predicted[place, -1] / predicted[plain, -1]),
                **spread("iterations", reached),
                "iterations_predicted": finite(first_at(steps, predicted[place], target)),
            }
        )
    return rows


def _method(simulation: Simulation) -> EncryptedDSGD:
    algorithm = simulation.algorithms[METHOD]
    assert isinstance(algorithm, EncryptedDSGD)  # `moments` refuses others
    return algorithm


def _checks(found: Swept, rows: list[dict[str, Any]], settings: Settings) -> list[Check]:
    off = max(
        standard_errors(row["gap"], row["gap_standard_error"], row["gap_predicted"]) for row in rows
    )
    shares = [row["gap"] / row["gap_predicted"] for row in rows]
    apart = _apart(found, rows)
    known = [row for row in rows if row["iterations"] and row["iterations_predicted"]]
    least, most = min(rows, key=_variance), max(rows, key=_variance)
    late = max((_late(row) for row in known), default=np.inf)
    return [
        Check(
            "every run sound",
            found.failed == 0,
            f"{found.failed} of {settings.experiment.runs * len(rows)} runs failed",
        ),
        Check(
            "the gap at the end is what the recursion predicts",
            off <= _MOST,
            f"{min(shares):.3f} to {max(shares):.3f} times the prediction, at most "
            f"{off:.2g} standard errors away (limit {_MOST:g}) in {len(rows)} "
            "configurations",
        ),
        Check(
            "iterations to the target are what the recursion predicts",
            bool(len(known) == len(rows) and late <= _MOST),
            f"reached in {len(known)} of {len(rows)} configurations, at most {late:.2g} standard "
            f"errors from the prediction (limit {_MOST:g})",
        ),
        Check(
            "families at equal variance are not told apart",
            max(apart) <= _MOST,
            f"at most {max(apart):.2g} standard errors from uniform stepsizes of the same "
            f"variance (limit {_MOST:g}) in {len(apart)} comparisons",
        ),
        Check(
            "a larger variance makes it slower",
            least["times_without_high"] < most["times_without_low"],
            f"at ρ² = {most['variance']:.3g} the gap is {most['times_without']:.3g} "
            f"[{most['times_without_low']:.3g}, {most['times_without_high']:.3g}] times that "
            "without random stepsizes",
        ),
    ]


def _late(row: dict[str, Any]) -> float:
    """How far iterations to the target are from their prediction, in standard errors."""
    ends = row["iterations_low"], row["iterations_high"]
    if None in ends:
        return float("inf")
    error = (ends[1] - ends[0]) / (2 * _Z)
    return standard_errors(row["iterations"], error, row["iterations_predicted"])


def _apart(found: Swept, rows: list[dict[str, Any]]) -> list[float]:
    """How far each family is from uniform stepsizes of its variance, in paired standard errors."""
    apart = []
    for row, course in zip(rows, found.courses, strict=True):
        uniform = next(
            (
                other
                for own, other in zip(rows, found.courses, strict=True)
                if own["family"] == "uniform" and abs(own["variance"] - row["variance"]) < 1e-6
            ),
            course,
        )
        if uniform is not course:
            drawn = course.drawn[:, -1] / uniform.drawn[:, -1]
            apart.append(float(abs(course.times(uniform).value - 1) / drawn.std()))
    return apart


def _variance(row: dict[str, Any]) -> float:
    return row["variance"]


def _near(row: dict[str, Any]) -> float:
    """A variance as it is meant: families are fitted to it."""
    return float(f"{row['variance']:.6g}")


def _variances(rows: list[dict[str, Any]]) -> list[float]:
    return sorted({_near(row) for row in rows})


def _drawing(rows: list[dict[str, Any]], settings: Settings, target: float, sample: str) -> Drawing:
    last = settings.experiment.iterations

    def draw() -> "Figure":
        figure, (left, right) = drawing.plain_panels(2)
        families = [f for f in dict.fromkeys(row["family"] for row in rows) if f != "none"]
        panels = (
            (left, "times_without", r"$F(\bar{x}) - F^*$ over that at $\rho^2 = 0$"),
            (right, "iterations", f"iterations to a gap of {_short(target)}"),
        )
        places = {variance: place for place, variance in enumerate(_variances(rows))}
        for axes, metric, label in panels:
            predicted = {places[_near(row)]: row[f"{metric}_predicted"] for row in rows}
            told = [(place, value) for place, value in predicted.items() if value is not None]
            axes.hlines(
                [value for _, value in told],
                [place - 0.4 for place, _ in told],
                [place + 0.4 for place, _ in told],
                color="black",
                lw=1.0,
                label="predicted",
            )
            for place, family in enumerate(["none", *families]):
                own = [row for row in rows if row["family"] == family]
                # Side by side, so that families at one variance can be told apart.
                shift = _APART * (place - (len(families) + 1) / 2) if place else 0.0
                _points(axes, own, metric, place, [places[_near(row)] + shift for row in own])
            axes.set_xlabel(r"relative variance $\rho^2$ of the multipliers")
            axes.set_ylabel(label)
            axes.set_xticks(range(len(places)), [f"{variance:.3g}" for variance in places])
            # As many ticks in a layout as in the next one.
            axes.locator_params(axis="y", nbins=6)
        drawing.entitle(figure, [])
        return figure

    return Drawing(
        "stepsizes",
        "Families and relative variances ρ² of the multipliers, the private random factors of the "
        f"stepsizes. Left: F(x̄) − F* at k = {last}, times that without random stepsizes (pairs of "
        f"runs). Right: iterations until the mean of F(x̄) − F* stays at or below {target:.3g}, "
        f"{settings.target:g} of its start. Black lines: the recursion of means and variances, "
        "which simulates nothing and takes states as normal where it rounds. None: stepsizes that "
        "are not random. Families of one variance stand side by side; vertical axes do not begin "
        f"at 0, and variances are not drawn to scale. {_together(rows)} {sample}.",
        rows,
        draw,
    )


def _start(simulation: Simulation) -> str:
    """Where the states begin."""
    rows = np.unique(np.atleast_2d(simulation.start), axis=0)
    if len(rows) > 1:
        return "a start x_0 for each agent"
    return f"x_0 = ({', '.join(f'{value:g}' for value in rows[0])})"


def _together(rows: list[dict[str, Any]]) -> str:
    """That gaps are no separate trials."""
    shares = [row["gap"] / row["gap_predicted"] for row in rows]
    beside = sum(
        not (row["gap_low"] or 0.0) <= row["gap_predicted"] <= (row["gap_high"] or np.inf)
        for row in rows
    )
    return (
        "All configurations share their random draws, so that gaps stray together: they are "
        f"{min(shares):.3f} to {max(shares):.3f} times what is predicted, and the intervals of "
        f"{beside} of {len(rows)} are beside it."
    )


def _short(target: float) -> str:
    """0.00041 as a formula with a power of ten."""
    mantissa, exponent = f"{target:.2g}".partition("e")[::2]
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$" if exponent else mantissa


def _points(
    axes: "Axes", rows: list[dict[str, Any]], metric: str, place: int, x: list[float]
) -> None:
    x = [at for at, row in zip(x, rows, strict=True) if row[metric] is not None]
    shown = [row for row in rows if row[metric] is not None]
    top = [row[f"{metric}_high"] or row[metric] for row in shown]
    axes.errorbar(
        x,
        [row[metric] for row in shown],
        [
            [row[metric] - (row[f"{metric}_low"] or row[metric]) for row in shown],
            [high - row[metric] for high, row in zip(top, shown, strict=True)],
        ],
        color=drawing.COLOURS[place - 1] if place else "black",
        ls="none",
        marker=_MARKS[place],
        ms=3.5,
        mew=0,
        lw=0.9,
        label=rows[0]["family"],
    )


def _table(rows: list[dict[str, Any]], settings: Settings, target: float, sample: str) -> Table:
    last = settings.experiment.iterations
    columns = (
        Column("family", "family"),
        Column("variance", "ρ²"),
        Column("may_be_negative", "negative?"),
        Column("gap", "gap"),
        Column("gap_95", "gap, 95 %"),
        Column("gap_predicted", "gap, predicted"),
        Column("times_without", "ratio"),
        Column("times_without_95", "ratio, 95 %"),
        Column("iterations", "iterations", digits=".0f"),
        Column("iterations_95", "iterations, 95 %", digits=".0f"),
        Column("iterations_predicted", "iterations, predicted", digits=".0f"),
    )
    shown = [
        row
        | {
            f"{name}_95": interval(row[f"{name}_low"], row[f"{name}_high"])
            for name in ("gap", "times_without", "iterations")
        }
        for row in rows
    ]
    return Table(
        "stepsizes",
        f"Families and relative variances ρ² of the multipliers, the random factors of the "
        f"stepsizes: gap, the mean of F(x̄) − F* at k = {last}; its ratio to that without random "
        f"stepsizes; and iterations until the gap stays at or below {target:.3g} (a dash: not by "
        f"k = {last}). Negative: whether multipliers may be. Predicted: the recursion of means and "
        f"variances, which takes states as normal where it rounds. {_together(rows)} {sample}.",
        columns,
        shown,
    )


def _differs(settings: Settings) -> str:
    return (
        "The article tells of a proof for stepsizes of any mean and variance that fit the "
        "conditions, and of no experiment that varies their distribution. Here families with one "
        "mean and four variances are compared on a quadratic of our own with the paper's number of "
        "agents; on other problems families may differ. Tails of single runs are not compared "
        "here; docs/sensitivity.md has their quantiles, which follow the variance as well."
    )
