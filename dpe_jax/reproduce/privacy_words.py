"""What a cell of the privacy table says: its numbers in words, and the table as a figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dpe_jax import drawing
from dpe_jax.privacy.audit import Cell
from dpe_jax.privacy.intervals import Estimate
from dpe_jax.privacy.scores import GUESSED_SIGNS, RECOVERED, ROUGHLY, SOMETHING, WRONG_SIGNS, Leak
from dpe_jax.reproduce import curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


STILL = 0.1
"""F(x̄) − F* falls to the end if the lower end of its exponent is above this."""

_METHODS = (
    "Link factors: private random weights for each link; signed: multipliers that may be negative; "
    f"factors: private weights for each coordinate, too. Methods of others: {curves.OTHERS}."
)
"""What is behind the names of the rows."""

_LONG = 16
"""Letters of a name that fit into a line."""


def why(cell: Cell) -> str:
    """In a few words what a score below 3 follows from: what is known best, most telling first."""
    if cell.source == "nothing":
        return "ciphertexts only"
    found, total = cell.scores, cell.scores.total
    if total == 3:
        return "nothing learned"
    reasons: list[tuple[int, str]] = []
    if found.state is not None:
        limits = RECOVERED, ROUGHLY, SOMETHING
        reasons.append((_level(found.state, limits), f"state {_near(found.state)}"))
    if found.gradient is not None:
        limits = RECOVERED, RECOVERED, SOMETHING
        reasons.append((_level(found.gradient, limits), f"gradient {_near(found.gradient)}"))
    if found.sign is not None:
        wrong_share = found.sign.error.value
        level = 1 if found.sign.error.high <= WRONG_SIGNS else 2
        level = level if found.sign.error.high <= GUESSED_SIGNS else 3
        reasons.append((level, f"signs {100 * wrong_share:.0f} % wrong"))
    if found.mean is not None:
        limits = 0.0, ROUGHLY, SOMETHING
        reasons.append((_level(found.mean, limits), f"mean {_near(found.mean)}"))
    told = [text for level, text in reasons if level == total]
    # What else is open is worse than the score says.
    told += [text for level, text in reasons if level == 1 and total == 0]
    return "\n".join(told[:2])


def _level(leak: Leak, limits: tuple[float, float, float]) -> int:
    """The score that a leak alone would give, by the upper end of its interval."""
    upper = leak.error.high / leak.chance
    return next((level for level, limit in enumerate(limits) if upper <= limit), 3)


def _near(leak: Leak) -> str:
    """A relative error in two digits."""
    error = leak.error.value / leak.chance
    return f"{error:.2f}" if error >= 0.01 else "< 0.01"


def sentence(cell: Cell, states: bool = True) -> str:
    """The numbers of a cell, with intervals."""
    if cell.source == "nothing":
        return "ciphertexts, and nothing to compute with"
    found, told = cell.scores, []
    if states and found.state is not None:
        state = found.state
        if state.unit == "share":
            told.append(f"state to within δ but for {_percent(state.error)} of runs")
        else:
            told.append(f"state error {shown(over(state))} of a guess's")
    if found.gradient is not None:
        told.append(f"single gradients to {shown(over(found.gradient))}")
    if found.sign is not None:
        told.append(f"{_percent(found.sign.error)} of signs wrong")
    if found.mean is not None:
        told.append(f"long-run mean to {shown(over(found.mean))}")
    return ", ".join(told)


def over(leak: Leak) -> Estimate:
    """An error relative to chance."""
    return Estimate(*(end / leak.chance for end in leak.error))


def shown(found: Estimate) -> str:
    """A number with its interval."""
    return f"{found.value:.2g} [{found.low:.2g}, {found.high:.2g}]"


def _percent(found: Estimate) -> str:
    return f"{100 * found.value:.2g} [{100 * found.low:.2g}, {100 * found.high:.2g}] %"


def rule() -> str:
    """What scores mean, and what is behind the names of the methods."""
    return (
        f"0: a single gradient or the state is recovered (relative error ≤ {RECOVERED:g}, or the "
        "state within δ in 95 % of runs); 1: "
        f"signs of gradients (≤ {100 * WRONG_SIGNS:g} % wrong), their long-run mean, the whole "
        f"cost or roughly the state (≤ {ROUGHLY:g}); 2: something is learned (≤ {SOMETHING:g}, or "
        f"≤ {100 * GUESSED_SIGNS:g} % of signs wrong); 3: nothing that was tried is "
        f"{100 * (1 - SOMETHING):.0f} % better than a guess. Upper ends of 95 % "
        "intervals count, of the attack that does best in the other half of the runs. Colluding: "
        "all neighbors and the wire, so that none is left to trust. Exact convergence: 3 where "
        f"F(x̄) − F* still falls at the end, with an exponent above {STILL:g}, else 0, wherever it "
        "has come to by then; at so few iterations the exponent is not that of the limit. "
        f"{_METHODS}"
    )


def times(ratio: float) -> str:
    """0.139 × or 1,230 ×."""
    return f"{ratio:{'.3g' if ratio < 999.5 else ',.0f'}} ×"


def boxes(rows: Sequence[Mapping[str, Any]], criteria: Mapping[str, str]) -> "Figure":
    """A coloured table: a row for each method, a column for each criterion by its key.

    What scores do not tell stands beside: ε below the name, and the gap at the end.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, width, height, top = 1.08, 1.05, 0.36, 0.38
    size = drawing.DOUBLE, top + len(rows) * height + 0.06
    figure = Figure(size)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    for j, name in enumerate(criteria.values()):
        middle = left + (j + 0.5) * width
        axes.text(middle, top - 0.05, _two_lines(name), ha="center", va="bottom", fontsize=7.5)
    last = left + len(criteria) * width + 0.32
    title = "gap, times\nproposed"
    axes.text(last, top - 0.05, title, ha="center", va="bottom", fontsize=7.5)
    for i, row in enumerate(rows):
        # The article's claim stands apart.
        upper = top + i * height + (0.06 if i else 0.0)
        middle = upper + height / 2
        axes.text(0.04, middle, _label(row), va="center", fontsize=7.5, linespacing=1.05)
        if row["gap_times"] is not None:
            axes.text(last, middle, times(row["gap_times"]), ha="center", va="center", fontsize=7.5)
        for j, key in enumerate(criteria):
            _box(axes, (left + j * width, upper), (width, height), row[key], row[f"{key}_why"])
    return figure


def _label(row: Mapping[str, Any]) -> str:
    """A method's name, and what it spends; a long name in two lines."""
    if row["epsilon"] is not None:
        return f"{row['method']}\nε = {row['epsilon']:.3g}"
    return row["method"] if len(row["method"]) <= _LONG else _two_lines(row["method"])


def _box(
    axes: "Axes", corner: tuple[float, float], size: tuple[float, float], score: int, told: str
) -> None:
    from matplotlib.patches import Rectangle

    box = Rectangle(corner, *size, facecolor=drawing.SCORES[score], edgecolor="white", lw=1.5)
    axes.add_patch(box)
    middle = corner[1] + size[1] / 2
    axes.text(corner[0] + 0.05, middle, str(score), va="center", fontsize=10, fontweight="bold")
    axes.text(corner[0] + 0.18, middle, told, va="center", fontsize=7, linespacing=1.05)


def _two_lines(name: str) -> str:
    """Cut at the blank that is nearest the middle."""
    blanks = [place for place, letter in enumerate(name) if letter == " "]
    cut = min(blanks, key=lambda place: abs(place - len(name) / 2))
    return f"{name[:cut]}\n{name[cut + 1 :]}"
