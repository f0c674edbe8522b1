"""What each method ends at on every preset, beside conventional DSGD, run by run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from dpe_jax import drawing, experiment
from dpe_jax.bootstrap import Interval
from dpe_jax.compare import LEAST_RUNS, Comparison, compare
from dpe_jax.errors import InputError
from dpe_jax.fields import Table as SettingsTable
from dpe_jax.folder import COMPARISON, write_json
from dpe_jax.reproduce import curves, part
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.results import Stored
from dpe_jax.summary import Check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Accuracy of every method on every preset"
SOURCE = (
    "The article's claims that accuracy is not sacrificed (exact convergence, unlike differential "
    "privacy), and that hospitals, banks and sensor networks are where it matters."
)
PROPOSED, CONVENTIONAL = "encrypted", "conventional"
PRIVATE = ("geometric-dp", "tailored-dp")
GAP = "gap_mean_state"
SCORES = {
    "test_accuracy": "test accuracy",
    "test_auc": "area under ROC curve",
    "test_average_precision": "average precision",
}


class Size(SettingsTable):
    """How large a preset is run, and which scores of its test set are drawn (all are tabulated)."""

    runs: Annotated[int, Field(ge=LEAST_RUNS, le=2**32)]
    iterations: PositiveInt
    scores: list[Literal["test_accuracy", "test_auc", "test_average_precision"]] = Field(
        default_factory=list
    )


class Settings(part.Settings):
    """Presets, by name, with their sizes."""

    presets: Annotated[dict[str, Size], Field(min_length=1)]


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Run every preset, and compare its methods with conventional DSGD."""
    known, comparisons, starts, checks = experiment.presets(), {}, {}, []
    for name in settings.presets:
        if name not in known or not {PROPOSED, CONVENTIONAL} <= set(known[name].methods):
            raise InputError("presets", name, f"presets with {PROPOSED} and {CONVENTIONAL}")
    pieces = work.pieces(*(1.0 for _ in settings.presets))
    for piece, (name, size) in zip(pieces, settings.presets.items(), strict=True):
        config = experiment.override(
            known[name], {"runs": size.runs, "iterations": size.iterations}
        )
        # What its warnings are about belongs to the preset, and is in its manifest.
        outcome = piece.run(config, folder / name, check=True, warn=False)
        checks.append(_together(name, outcome.checks))
        metrics = [GAP, *(score for score in SCORES if score in outcome.stored.curves)]
        comparisons[name] = compare(outcome.stored, CONVENTIONAL, metrics)
        starts[name] = _start(outcome.stored)
        write_json(folder / name / COMPARISON, comparisons[name].to_dict())
    rows = [row for name, found in comparisons.items() for row in _rows(name, found)]
    scores = [row for row in rows if row["metric"] != GAP]
    drawn = [row for row in scores if row["metric"] in settings.presets[row["preset"]].scores]
    drawings = [
        Drawing(
            "accuracy",
            "Mean F(x̄) − F* at the end of the runs relative to conventional DSGD (ratio of means, "
            "no unit; vertical line: conventional DSGD), with paired 95 % bootstrap intervals over "
            f"runs (many are narrower than the dots): {_sizes(comparisons, rows)}. "
            f"{_absent(rows)}{_budgets(comparisons)} Methods of others: {curves.OTHERS}.",
            [row for row in rows if row["metric"] == GAP],
            lambda: _ratios(rows),
        )
    ]
    if drawn:
        drawings.append(
            Drawing(
                "scores",
                "Scores of the mean state x̄ on data held out of training (no unit; higher is "
                "better) at the end of the runs: means with 95 % bootstrap intervals over runs "
                "(they do not count which data were held out; many are narrower than the dots): "
                f"{_sizes(comparisons, drawn)}. Axes do not begin at 0; a number beside ◁ is a "
                f"mean that lies further down than the axis goes.{_others(scores, drawn)} Other "
                "presets have no such data.",
                drawn,
                lambda: _scores(drawn),
            )
        )
    return Made(
        drawings,
        [_gap_table(rows, comparisons), *([_score_table(scores, comparisons)] if scores else [])],
        [*checks, *_nearer(comparisons, starts)],
        _differs(comparisons),
    )


def _differs(comparisons: dict[str, Comparison]) -> str:
    ratios = {name: found.row(GAP, PROPOSED).ratio for name, found in comparisons.items()}
    known = sorted((ratio, name) for name, ratio in ratios.items() if ratio is not None)
    told = ""
    if known:
        low, high = (f"{ratio:.3g} ({name})" for ratio, name in (known[0], known[-1]))
        told = (
            "Accuracy has its price where iterations are finite: after as many of them the mean "
            f"gap of the proposed method is {low} to {high} times that of conventional DSGD, with "
            "the intervals of the table (that both go to 0 is for theorems, not for these runs). "
        )
    return (
        "The article tells of one comparison, with conventional DSGD on one quadratic. The "
        "problems, the other methods and the paired intervals are added; methods are tuned for "
        "each problem but that of five agents. The presets certify and audit, whose problem is "
        f"that of five agents, belong to other parts. {told}Methods of differential privacy spend "
        "the budget ε that the caption names, which guarantees next to nothing and costs much all "
        "the same."
    )


def _sizes(comparisons: dict[str, Comparison], rows: Sequence[Mapping[str, Any]]) -> str:
    """How large the runs of those presets are that have rows."""
    shown = {row["preset"] for row in rows}
    return "; ".join(
        f"{name}: {found.runs} runs of {found.iteration} iterations"
        for name, found in comparisons.items()
        if name in shown
    )


def _others(scores: list[dict[str, Any]], drawn: list[dict[str, Any]]) -> str:
    """That not all scores are drawn."""
    all_of, shown = ({(row["preset"], row["metric"]) for row in rows} for rows in (scores, drawn))
    if len(shown) == len(all_of):
        return ""
    return (
        f" Drawn are {len(shown)} of {len(all_of)} scores, and the table has all: accuracy "
        "where classes are of like size, and areas under curves where one is rare, as in fraud, of "
        "which accuracy says little."
    )


def _absent(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the word in the figure says, if a preset lacks a method that another one has."""
    pairs = {(row["preset"], row["method"]) for row in rows}
    whole = len({preset for preset, _ in pairs}) * len(_methods(rows))
    return "" if len(pairs) == whole else "Absent: the preset has no such method. "


def _budgets(comparisons: dict[str, Comparison]) -> str:
    """What differential privacy spends, of one agent's cost."""
    spent = [
        f"{name}: " + ", ".join(f"{curves.named(m)} ε = {e:.4g}" for m, e in found.epsilon.items())
        for name, found in comparisons.items()
        if found.epsilon
    ]
    return f"Differential privacy (DP) spends over the run: {'; '.join(spent)}." if spent else ""


def _rows(preset: str, found: Comparison) -> list[dict[str, Any]]:
    rows = []
    for row in found.rows:
        ratio, own = row.ratio_interval, row.interval
        rows.append(
            {
                "preset": preset,
                "method": curves.named(row.method),
                "metric": row.metric,
                "runs": row.runs,
                "mean": row.mean,
                "mean_low": own.low if own else None,
                "mean_high": own.high if own else None,
                "ratio": 1.0 if row.method == found.baseline else row.ratio,
                "ratio_low": ratio.low if ratio else None,
                "ratio_high": ratio.high if ratio else None,
                "verdict": row.verdict,
                "real": row.real,
            }
        )
    return rows


def _together(preset: str, made: list[Check]) -> Check:
    """What a preset asks of its runs, in one: those that fail are named."""
    wrong = [f"{check.name}: {check.detail}" for check in made if not check.passed]
    told = f"all {len(made)} hold: {', '.join(_kinds(made))}"
    return Check(
        f"{preset}: what the preset asks of its methods", not wrong, "; ".join(wrong) or told
    )


def _kinds(made: list[Check]) -> list[str]:
    """every run sound (8), F(x̄) − F* falls (6)."""
    kinds = [check.name.partition(": ")[2] for check in made]
    return [f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(kinds)]


def _start(stored: Stored) -> float:
    """F(x̄) − F* at the start, which all methods share."""
    return float(stored.summary["methods"][PROPOSED]["final"][GAP]["start"])


def _nearer(comparisons: dict[str, Comparison], starts: dict[str, float]) -> list[Check]:
    """The article: no accuracy is lost as with differential privacy."""
    made = []
    for preset, found in comparisons.items():
        others, start = [name for name in PRIVATE if name in found.methods], starts[preset]
        if not others:
            continue
        own = found.row(GAP, PROPOSED).interval
        beside = {name: found.row(GAP, name).interval for name in others}
        nearer = own is not None and all(
            interval is not None and own.high < interval.low for interval in beside.values()
        )
        told = ", ".join(
            f"{curves.named(name)} {found.row(GAP, name).mean:.2e}"
            f"{_ends(found.row(GAP, name).interval)}, {found.row(GAP, name).mean / start:.1%} of "
            "the start"
            for name in others
        )
        made.append(
            Check(
                f"{preset}: proposed nearer to F* than differential privacy",
                nearer,
                f"mean F(x̄) − F* is {found.row(GAP, PROPOSED).mean:.2e}{_ends(own)}; {told}",
            )
        )
    return made


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f" [{interval.low:.2e}, {interval.high:.2e}]"


def _methods(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All methods, in the order of the presets."""
    return list(dict.fromkeys(row["method"] for row in rows))


def _grid(count: int, lines: int) -> "tuple[Figure, list[Axes]]":
    """Panels side by side that share the methods on their left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((drawing.DOUBLE, 0.9 + 0.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    # Numbers at the ends of two axes side by side do not touch.
    figure.set_layout_engine("constrained", wspace=0.09)
    grid = figure.subplots(1, count, sharey=True, squeeze=False)
    return figure, list(grid[0])


_ORDER = list(curves.NAMES.values())
"""Each method has one colour in all panels."""


def _dots(
    axes: "Axes",
    rows: list[dict[str, Any]],
    names: list[str],
    of: tuple[str, str, str],
    instead: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """A dot with its interval on each method's line, or a text instead."""
    for row in rows:
        value, low, high = (row[key] for key in of)
        if value is None:
            continue
        place = names.index(row["method"])
        colour = drawing.COLOURS[_ORDER.index(row["method"]) % len(drawing.COLOURS)]
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=colour, lw=1.5, solid_capstyle="butt")
        axes.plot(value, place, color=colour, marker="o", ms=3.5)
    for place in sorted(set(range(len(names))) - {names.index(row["method"]) for row in rows}):
        where, behind = axes.get_yaxis_transform(), {"facecolor": "white", "lw": 0, "pad": 1.0}
        told = instead.get(names[place], "absent")
        axes.text(0.05, place, told, transform=where, bbox=behind, fontsize=7, va="center")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _ratios(rows: list[dict[str, Any]]) -> "Figure":
    gaps = [row for row in rows if row["metric"] == GAP]
    presets = list(dict.fromkeys(row["preset"] for row in gaps))
    base = curves.named(CONVENTIONAL)
    names = [name for name in _methods(gaps) if name != base]
    figure, grid = _grid(len(presets), len(names))
    for axes, preset in zip(grid, presets, strict=True):
        own = [row for row in gaps if row["preset"] == preset and row["method"] != base]
        axes.axvline(1.0, color="black", lw=0.8, ls=(0, (4, 2)), zorder=1.9)
        axes.set_xscale("log")
        _dots(axes, own, names, ("ratio", "ratio_low", "ratio_high"))
        axes.set_title(preset)
        _decades(axes, [1.0, *(row["ratio"] for row in own if row["ratio"])])
    figure.supxlabel(r"mean $F(\bar{x}_K) - F^*$, relative to conventional DSGD", fontsize=8.5)
    return figure


def _decades(axes: "Axes", values: list[float]) -> None:
    """A logarithmic axis that begins and ends at powers of ten, with few labels."""
    low = math.floor(math.log10(0.7 * min(values)))
    high = math.ceil(math.log10(1.4 * max(values)))
    axes.set_xlim(10.0**low, 10.0**high)
    step = 1 if high - low <= 3 else 2
    axes.set_xticks([10.0**power for power in range(low, high + 1, step)])
    axes.minorticks_off()


def _scores(rows: list[dict[str, Any]]) -> "Figure":
    panels = list(dict.fromkeys((row["preset"], row["metric"]) for row in rows))
    names = _methods(rows)
    figure, grid = _grid(len(panels), len(names))
    for axes, (preset, metric) in zip(grid, panels, strict=True):
        own = [row for row in rows if (row["preset"], row["metric"]) == (preset, metric)]
        least = _least(own)
        _dots(
            axes,
            [row for row in own if row["mean"] >= least],
            names,
            ("mean", "mean_low", "mean_high"),
            {row["method"]: f"◁ {row['mean']:.2f}" for row in own if row["mean"] < least},
        )
        axes.set_title(preset)
        axes.set_xlabel(SCORES[metric])
        _few_ticks(axes)
    return figure


def _few_ticks(axes: "Axes") -> None:
    """At most three round numbers at an axis, of few digits, so that they do not touch."""
    low, high = axes.get_xlim()
    size = 10.0 ** math.floor(math.log10(high - low))
    ticks: list[float] = []
    for step in (0.4 * size, 0.5 * size, size, 2 * size, 4 * size, 5 * size):
        first, last = math.ceil(low / step), math.floor(high / step)
        ticks = [round(place * step, 12) for place in range(first, last + 1)]
        if len(ticks) <= 3:
            break
    axes.set_xticks(ticks)
    axes.set_xlim(low, high)


def _least(rows: list[dict[str, Any]]) -> float:
    """Down to here scores are drawn: those far below the others would make these one dot."""
    others = [row["mean"] for row in rows if row["method"] not in map(curves.named, PRIVATE)]
    return min(others) - _FAR * (1 - min(others)) if others else 0.0


_FAR = 1.0
"""Below the least score of methods without differential privacy, of what that lacks of 1."""


def _gap_table(rows: list[dict[str, Any]], comparisons: dict[str, Comparison]) -> Table:
    return Table(
        "accuracy",
        "Mean F(x̄) − F* at the end of the runs (no unit), and its ratio to that of conventional "
        "DSGD with a paired 95 % bootstrap interval over runs; real: whether the difference "
        "survives a Bonferroni correction over the comparisons of its preset. "
        f"{_sizes(comparisons, rows)}. {_budgets(comparisons)}",
        (
            Column("preset", "preset"),
            Column("method", "method"),
            Column("runs", "runs", digits="d"),
            Column("mean", "F(x̄) − F*", digits=".2e", latex=r"$F(\bar{x}) - F^*$"),
            Column("ratio", "ratio"),
            Column("ratio_low", "ratio, 2.5 %"),
            Column("ratio_high", "ratio, 97.5 %"),
            Column("real", "real"),
        ),
        [row for row in rows if row["metric"] == GAP],
    )


def _score_table(rows: list[dict[str, Any]], comparisons: dict[str, Comparison]) -> Table:
    shown = [row | {"score": SCORES[row["metric"]]} for row in rows]
    return Table(
        "scores",
        "Scores of the mean state x̄ on held-out data at the end of the runs (no unit), with 95 % "
        f"bootstrap intervals of the mean over runs. {_sizes(comparisons, rows)}.",
        (
            Column("preset", "preset"),
            Column("score", "score"),
            Column("method", "method"),
            Column("mean", "mean", digits=".4f"),
            Column("mean_low", "mean, 2.5 %", digits=".4f"),
            Column("mean_high", "mean, 97.5 %", digits=".4f"),
        ),
        shown,
    )
