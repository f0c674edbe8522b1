"""All methods of one study compared run by run: they see the same draws, so their runs are pairs.

The difference of two methods is taken within each run, which removes what both owe to the same
noise. Intervals are percentile bootstraps over runs, which are drawn with replacement, the same
ones for all methods, metrics and record points. A difference is told apart from none where its
95 % interval leaves out zero. Among many comparisons one in twenty does so by chance, so it is
called real only if it survives a Bonferroni correction too: p, of a studentized bootstrap, times
the number of comparisons that were made in one call is below 0.05.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from dpe_jax.bands import ROUNDING, status_counts
from dpe_jax.bootstrap import LEVEL, Interval, interval, p_value, resampled_means
from dpe_jax.config import Config
from dpe_jax.errors import InputError
from dpe_jax.lattice import OK, STATUS_NAMES
from dpe_jax.observe import LABELS, METRICS, PER_AGENT
from dpe_jax.results import Stored
from dpe_jax.summary import counted, failures

if TYPE_CHECKING:
    import xarray as xr

MORE_IS_BETTER = ("test_accuracy", "test_auc", "test_average_precision")
"""Metrics of which more is better; of all others less is."""

MOST_RUNS, LEAST_RUNS = 4096, 8
"""Runs that are compared at most, the first ones; and how many an interval needs."""

MIXED_POINT = ("GeometricDP", "RandomizedStateSharing")
"""Methods that take their gradients at the mixed point z_i; all others do at x_i."""

RESAMPLES = 10_000
"""Resamples at the last iteration."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One method and metric at the last iteration, beside the baseline.

    `difference` and `ratio` (of the means) are over `pairs`, the runs that are sound in the method
    and in the baseline; `mean` is over all `runs` that are sound in the method. What cannot be said
    is None (NaN for a mean over no run), and `note` says why. `verdict` is what the interval of the
    difference says; `real` is "yes" where the difference also survives the correction over all
    comparisons, "only alone" where it does not, "no" where it is not told apart.
    """

    method: str
    metric: str
    mean: float
    interval: Interval | None
    runs: int
    pairs: int
    difference: float | None = None
    difference_interval: Interval | None = None
    ratio: float | None = None
    ratio_interval: Interval | None = None
    p_value: float | None = None
    verdict: Literal["higher", "lower", "not told apart"] | None = None
    real: Literal["yes", "only alone", "no"] | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All methods beside one of them, at the last iteration."""

    name: str
    baseline: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    iteration: int
    runs: int
    """Runs that are looked at, the first ones."""
    recorded: int
    status: dict[str, dict[str, int]]
    """How many of the runs that are looked at ended with each status, by method."""
    epsilon: dict[str, float]
    """What each differentially private method spends over the run."""
    mixed_point: tuple[str, ...]
    """The methods whose gradients are taken at the mixed point."""
    rows: tuple[Row, ...]
    comparisons: int
    """Differences that have an interval: what the correction is over."""
    resamples: int
    seed: int

    def row(self, metric: str, method: str) -> Row:
        """The row of a metric and method."""
        return next(r for r in self.rows if (r.metric, r.method) == (metric, method))

    @property
    def failed(self) -> dict[str, int]:
        """How many of the runs that are looked at failed, by method."""
        return {method: sum(failures(counts).values()) for method, counts in self.status.items()}

    @property
    def least_p(self) -> float:
        """The smallest p that the bootstrap can give."""
        return 1 / (self.resamples + 1)

    @property
    def resolved(self) -> bool:
        """Whether any difference can survive the correction over so many comparisons."""
        return self.least_p * self.comparisons < 1 - LEVEL

    def notes(self) -> list[str]:
        """What a reader must know beside the numbers, a line each."""
        told = []
        if self.recorded > self.runs:
            told.append(f"the first {self.runs} of {self.recorded} runs are compared")
        for method, failed in self.failed.items():
            why = counted(failures(self.status[method]))
            if failed == self.runs:
                told.append(f"{method}: no sound run, all {failed} failed: not compared ({why})")
            elif failed:
                told.append(
                    f"{method}: {failed} of {self.runs} runs failed ({why}); left out of its mean "
                    "and of its pairs, which therefore speak of sound runs only"
                )
        for method, epsilon in self.epsilon.items():
            told.append(
                f"{method}: spends ε = {epsilon:.4g} over the run, for one agent's cost, "
                "under the assumptions in manifest.json"
            )
        if self.mixed_point:
            others = "the others'" if len(self.mixed_point) < len(self.methods) else "most methods'"
            told.append(
                f"{', '.join(self.mixed_point)}: gradients are taken at the mixed point "
                f"z_i = Σ_j A_ij y_j of the messages y_j, {others} at x_i"
            )
        if len(self.methods) == 1:
            told.append("one method: there is nothing to compare it with")
        if not self.resolved:
            most = int((1 - LEVEL) / self.least_p)
            told.append(
                f"no difference can be called real: with {self.resamples} resamples p is at least "
                f"{self.least_p:.1e}, and the correction over {self.comparisons} comparisons asks "
                f"for less than {(1 - LEVEL) / self.comparisons:.1e}; compare fewer methods or "
                f"metrics at once, up to {most} comparisons"
            )
        return told

    def verdicts(self) -> list[str]:
        """How many comparisons were made, and how many of the differences are real."""
        made = [row for row in self.rows if row.verdict is not None]
        if not made:
            return ["no comparison could be made"]
        count = {word: sum(row.real == word for row in made) for word in ("yes", "only alone")}
        return [
            f"{len(made)} comparison{'s' * (len(made) != 1)}: {count['yes']} real, "
            f"{count['only alone']} only alone, {len(made) - sum(count.values())} not told apart",
            "real: the interval of the paired difference leaves out zero, and p survives a "
            f"Bonferroni correction over all {len(made)} comparisons; only alone: p does not, so "
            "among that many it may be chance",
        ]

    def to_dict(self) -> dict[str, Any]:
        """For comparison.json."""
        labels: dict[str, str] = {str(metric): label for metric, label in LABELS.items()}
        rows: dict[str, Any] = {
            metric: {
                "label": labels[metric],
                "better": "higher" if metric in MORE_IS_BETTER else "lower",
                "methods": {},
            }
            for metric in self.metrics
        }
        for row in self.rows:
            entry = dataclasses.asdict(row)
            del entry["metric"], entry["method"]
            if row.p_value is not None:
                entry["p_bonferroni"] = min(1.0, row.p_value * self.comparisons)
            rows[row.metric]["methods"][row.method] = entry
        record = dataclasses.asdict(self)
        del record["rows"]
        return record | {
            "failed": self.failed,
            "level": LEVEL,
            "least_p": self.least_p,
            "resolved": self.resolved,
            "notes": self.notes(),
            "by_metric": rows,
        }


def _epsilon(stored: Stored) -> dict[str, float]:
    # Results of 0.1 know no budgets, and no method that has one.
    budgets = stored.manifest.get("budget", {})
    return {method: budget["total"] for method, budget in budgets.items() if budget is not None}


def chosen_baseline(config: Config, baseline: str | None) -> str:
    """The baseline, by default the first ConventionalDSGD or else the first method.

    Raises `InputError` if there is no method of this name.
    """
    if baseline is None:
        conventional = (n for n, m in config.methods.items() if m.method == "ConventionalDSGD")
        return next(conventional, next(iter(config.methods)))
    if baseline not in config.methods:
        raise InputError("baseline", baseline, f"one of {', '.join(config.methods)}")
    return baseline


def chosen_metrics(
    recorded: Sequence[str], metrics: Sequence[str] | None, supported: Sequence[str] = METRICS
) -> tuple[str, ...]:
    """The metrics to compare, in the order of reports; by default all with one value a run.

    Raises `InputError` for one that is not `recorded`, or that has a value for each agent, and if
    there is no other; `supported` are those that the problem has.
    """
    possible = [name for name in METRICS if name in supported and name not in PER_AGENT]
    known = [name for name in possible if name in recorded]
    if not known:
        accepted = f"a metric of one value a run beside it: one of {', '.join(possible)}"
        raise InputError("record.metrics", list(recorded), accepted)
    for name in metrics or ():
        if name not in known:
            reason = " (what record.metrics names is recorded)" if name in possible else ""
            reason = " (it has a value for each agent)" if name in PER_AGENT else reason
            raise InputError("metrics", name, f"some of {', '.join(known)}{reason}")
    return tuple(name for name in known if metrics is None or name in metrics)


def compare(
    stored: Stored,
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare all methods of a result with one of them, at the last iteration.

    The paired difference of method m to baseline b is mean_r (y_r^m − y_r^b) over the runs r that
    are sound in both. Raises `InputError` for a baseline or metric that the result does not have.
    """
    baseline = chosen_baseline(stored.config, baseline)
    metrics = chosen_metrics([name for name in METRICS if name in stored.curves], metrics)
    methods, curves = tuple(stored.config.methods), looked_at(stored.curves)
    status = curves.status.sel(algorithm=list(methods)).values
    sound = status == OK
    found: list[Row] = []
    columns: list[dict[str, Float[np.ndarray, " runs"]]] = []
    for metric in metrics:
        last = sound_values(curves[metric].isel(iteration=[-1]), methods, sound)[:, 0]
        base = last[methods.index(baseline)]
        for method, values, count in zip(methods, last, sound.sum(axis=1), strict=True):
            other = None if method == baseline else base
            row, needed = _row(method, metric, values, int(count), other)
            found.append(row)
            columns.append(needed)
    table = [column for needed in columns for column in needed.values()]
    means = iter(resampled_means(np.stack(table, axis=1), resamples, seed).T if table else ())
    judged = [
        _judged(row, needed, {kind: next(means) for kind in needed})
        for row, needed in zip(found, columns, strict=True)
    ]
    comparisons = sum(row.verdict is not None for row in judged)
    return Comparison(
        name=stored.config.name,
        baseline=baseline,
        methods=methods,
        metrics=metrics,
        iteration=int(curves.iteration.values[-1]),
        runs=sound.shape[1],
        recorded=stored.curves.sizes["run"],
        status={m: status_counts(s, STATUS_NAMES) for m, s in zip(methods, status, strict=True)},
        epsilon=_epsilon(stored),
        mixed_point=tuple(m for m, t in stored.config.methods.items() if t.method in MIXED_POINT),
        rows=tuple(_corrected(row, comparisons) for row in judged),
        comparisons=comparisons,
        resamples=resamples,
        seed=seed,
    )


def looked_at(curves: "xr.Dataset") -> "xr.Dataset":
    """The runs that are compared: the first ones, as many as are worth the time."""
    return curves.isel(run=slice(0, MOST_RUNS))


def sound_values(
    curve: "xr.DataArray", methods: tuple[str, ...], sound: np.ndarray
) -> Float[np.ndarray, "methods points runs"]:
    """A metric in float64, NaN in runs that were not sound to the end."""
    ordered = curve.sel(algorithm=list(methods)).transpose("algorithm", "iteration", "run")
    values = ordered.values.astype(np.float64)
    return np.where(sound[:, None], values, np.nan)


def _row(
    method: str,
    metric: str,
    values: Float[np.ndarray, " runs"],
    sound: int,
    base: Float[np.ndarray, " runs"] | None,
) -> tuple[Row, dict[str, Float[np.ndarray, " runs"]]]:
    """What needs no resampling, and the columns whose resampled means the rest needs."""
    present = ~np.isnan(values)
    pair = present if base is None else present & ~np.isnan(base)
    runs, pairs = int(present.sum()), int(pair.sum())
    row = Row(method, metric, _mean(values), None, runs, pairs)
    columns: dict[str, Float[np.ndarray, " runs"]] = {}

    def told(note: str) -> tuple[Row, dict[str, Float[np.ndarray, " runs"]]]:
        missing = f"{_count(sound - runs)} without a value" if 0 < runs < sound else ""
        joined = "; ".join(part for part in (missing, note) if part)
        return dataclasses.replace(row, note=joined), columns

    if runs == 0:
        return told("no sound run with a value" if sound else "no sound run")
    if np.isinf(values).any():
        return told(f"{_count(int(np.isinf(values).sum()))} beyond float32")
    if runs >= LEAST_RUNS:
        columns["own"] = values
    if base is None:
        return told("" if runs >= LEAST_RUNS else _few(runs))
    if pairs == 0:
        return told("no run is sound in both")
    if np.isinf(base[pair]).any():
        return told("baseline beyond float32")
    difference = values - base
    ratio, why = _ratio(metric, float(values[pair].mean()), float(base[pair].mean()))
    row = dataclasses.replace(row, difference=_mean(difference), ratio=ratio)
    if pairs < LEAST_RUNS:
        return told(_few(pairs))
    columns["difference"] = difference
    columns["square"] = (difference - difference[pair].mean()) ** 2
    columns["pair_own"] = np.where(pair, values, np.nan)
    columns["pair_base"] = np.where(pair, base, np.nan)
    return told(why)


def _count(runs: int) -> str:
    return f"{runs} sound run{'s' * (runs != 1)}"


def _few(runs: int) -> str:
    return f"no interval: {runs} run{'s' * (runs != 1)}, {LEAST_RUNS} are needed"


def _mean(values: Float[np.ndarray, " runs"]) -> float:
    """Over the runs that have a value; NaN if none has."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")


def _ratio(metric: str, own: float, base: float) -> tuple[float | None, str]:
    """The ratio of two means that are no mere rounding, or why there is none."""
    if metric == "consensus_error" and min(own, base) <= ROUNDING:
        whose = "" if own <= ROUNDING else "the baseline is "
        return None, f"no ratio, {whose}zero up to rounding"
    if not (base > 0 and own >= 0):
        return None, "no ratio, a mean is not positive"
    return own / base, ""


def _judged(
    row: Row,
    columns: dict[str, Float[np.ndarray, " runs"]],
    drawn: dict[str, Float[np.ndarray, " resamples"]],
) -> Row:
    """A row with its intervals, p and verdict, from the resampled means of its columns."""
    if "own" in drawn:
        row = dataclasses.replace(row, interval=interval(drawn["own"]))
    if "difference" not in drawn or row.difference is None:
        return row
    low, high = found = interval(drawn["difference"])
    verdict = "higher" if low > 0 else "lower" if high < 0 else "not told apart"
    ratio_interval, own, base = None, drawn["pair_own"], drawn["pair_base"]
    if row.ratio is not None and np.nanmin(base) > 0 and np.nanmin(own) >= 0:
        ratio_interval = interval(own / base)
    return dataclasses.replace(
        row,
        difference_interval=found,
        ratio_interval=ratio_interval,
        p_value=p_value(
            row.difference,
            float(np.nanmean(columns["square"])),
            drawn["difference"],
            drawn["square"],
        ),
        verdict=verdict,
    )


def _corrected(row: Row, comparisons: int) -> Row:
    if row.verdict is None or row.p_value is None:
        return row
    if row.verdict == "not told apart":
        return dataclasses.replace(row, real="no")
    survives = row.p_value * comparisons < 1 - LEVEL
    return dataclasses.replace(row, real="yes" if survives else "only alone")
