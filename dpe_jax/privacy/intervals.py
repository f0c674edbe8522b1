"""Intervals that the audit shares: proportions, advantages, relative errors and slopes over runs.

Runs are the independent units. Coordinates, agents and iterations of one run are not independent of
each other, so sums over them are taken first, and only runs are resampled.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.bootstrap import ends, resampled_means
from dpe_jax.convergence import clopper_pearson
from dpe_jax.errors import InputError

LEVEL = 0.95

RESAMPLES = 1000
"""Of every bootstrap over runs."""


class Estimate(NamedTuple):
    """A number with a two-sided interval of 95 %, unless said otherwise."""

    value: float
    low: float
    high: float

    def contains(self, number: float | int) -> bool:
        """Whether a number lies in the interval."""
        return bool(self.low <= number <= self.high)


class Curve(NamedTuple):
    """An `Estimate` for each column."""

    value: Float[np.ndarray, " columns"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]


def proportion(successes: int, trials: int, level: float = LEVEL) -> Estimate:
    """successes/trials with the two-sided Clopper–Pearson interval at `level`.

    Exact: it holds the true probability at least so often, whatever that is. InputError unless
    0 ≤ successes ≤ trials and trials ≥ 1.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError("successes", f"{successes} of {trials}", "0 to all of at least one trial")
    # Each bound of the two holds with confidence 1 − (1 − level)/2.
    count = np.array([successes], np.int64)
    bounds = clopper_pearson(count, trials, (1 + level) / 2)
    return Estimate(successes / trials, float(bounds.lower[0]), float(bounds.upper[0]))


def proportions(
    successes: Int64[np.ndarray, " columns"], trials: int, level: float = LEVEL
) -> Curve:
    """`proportion` of each of many counts out of as many trials."""
    bounds = clopper_pearson(successes, trials, (1 + level) / 2)
    return Curve(successes / trials, bounds.lower, bounds.upper)


@dataclasses.dataclass(frozen=True)
class Advantage:
    """How well a fair coin was guessed: 2 P(correct) − 1, which is 0 for whoever learns nothing.

    A negative one is as telling as a positive one: the opposite answers would have been right.
    """

    correct: int
    trials: int
    signed: Estimate
    """2p − 1 with the exact (Clopper–Pearson) interval."""

    @classmethod
    def counted(cls, correct: int, trials: int) -> "Advantage":
        """From the number of right answers; the trials' coins must be independent."""
        p, low, high = proportion(correct, trials)
        return cls(correct, trials, Estimate(2 * p - 1, 2 * low - 1, 2 * high - 1))

    @property
    def size(self) -> Estimate:
        """|2p − 1|, with the interval that follows from that of 2p − 1."""
        value, low, high = self.signed
        least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return Estimate(abs(value), least, max(abs(low), abs(high)))

    @property
    def p_value(self) -> float:
        """Two-sided exact binomial p-value of p = ½."""
        from scipy import stats

        return float(stats.binomtest(self.correct, self.trials, 0.5).pvalue)

    @property
    def found(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.signed.contains(0.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "correct": self.correct,
            "trials": self.trials,
            "signed": list(self.signed),
            "advantage": list(self.size),
            "p_value": self.p_value,
            "chance": 0.0,
        }


class Balanced(NamedTuple):
    """P(yes | it is so) − P(yes | it is not), which is 0 for whoever learns nothing.

    Unlike `Advantage` it does not ask for a fair coin. With one, it is 2 P(correct) − 1 as well.
    """

    advantage: Estimate
    positives: int
    negatives: int
    p_value: float
    """Of equal probabilities: Fisher's exact test, two-sided."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = self._asdict() | {"advantage": list(self.advantage), "chance": 0.0}
        return {name: plain[name] for name in ("advantage", *plain)}


def balanced(hits: int, positives: int, alarms: int, negatives: int) -> Balanced:
    """From the yes among `positives` and the yes among `negatives`.

    Each rate has a Clopper–Pearson interval at 97.5 %, so that both hold together, and with them
    their difference, with at least 95 %. InputError where there are none of one kind.
    """
    from scipy import stats

    share = (1 + LEVEL) / 2
    hit, alarm = proportion(hits, positives, share), proportion(alarms, negatives, share)
    difference = Estimate(hit.value - alarm.value, hit.low - alarm.high, hit.high - alarm.low)
    table = [[hits, positives - hits], [alarms, negatives - alarms]]
    found: Any = stats.fisher_exact(table)
    return Balanced(difference, positives, negatives, float(found[1]))


def relative_rmse(
    error: Float[np.ndarray, "runs columns"],
    signal: Float[np.ndarray, "runs columns"],
    seed: int = 0,
) -> Curve:
    """√(Σ_r ‖ĝ − g‖² / Σ_r ‖g‖²) of each column (a record point, say), with a bootstrap over runs.

    `error` and `signal` are squared norms, summed over whatever is of one run. The same runs are
    drawn for numerator and denominator, and for all columns. A run that is NaN in either is left
    out of both. NaN where no run is left. InputError below 8 runs: percentile intervals of fewer
    mean little (see `bootstrap`).
    """
    if error.shape != signal.shape:
        raise InputError("signal", signal.shape, f"as many runs and columns as {error.shape}")
    _check_runs(error.shape[0])
    gone = np.isnan(error) | np.isnan(signal)
    # Side by side, so that one draw of runs serves both.
    both = np.where(np.hstack([gone, gone]), np.nan, np.hstack([error, signal]))
    columns = error.shape[1]
    drawn = resampled_means(both.astype(np.float64), RESAMPLES, seed)
    kept = ~gone
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = [np.where(kept, values, 0.0).sum(axis=0) for values in (error, signal)]
        value = np.sqrt(sums[0] / sums[1])
        low, high = ends(np.sqrt(drawn[:, :columns] / drawn[:, columns:]))
    return Curve(value, low, high)


def log_log_slope(
    iteration: Float[np.ndarray, " points"] | Int64[np.ndarray, " points"],
    squares: Float[np.ndarray, "runs points"],
    signal: Float[np.ndarray, "runs points"] | None = None,
    seed: int = 0,
) -> Estimate:
    """The slope of ln e against ln k by least squares, e_k = √(mean over runs of `squares`).

    With `signal`, e_k is the relative error √(Σ squares / Σ signal). The interval is a percentile
    bootstrap over runs, which draws whole error curves: points of one run are not independent.
    Runs with a NaN are left out. NaN where an error is 0, which has no logarithm. InputError for
    fewer than 3 points, for k < 1 and for fewer than 8 sound runs.
    """
    if iteration.size < 3 or np.any(iteration < 1):
        raise InputError("iteration", iteration, "at least 3 points, all of k ≥ 1")
    columns = squares if signal is None else np.hstack([squares, signal])
    sound = columns[~np.isnan(columns).any(axis=1)].astype(np.float64)
    _check_runs(sound.shape[0])
    points = iteration.size
    log_k = np.log(iteration.astype(np.float64))
    lever = log_k - log_k.mean()
    lever /= np.sum(lever**2)

    def slopes(
        means: Float[np.ndarray, "resamples columns"],
    ) -> Float[np.ndarray, " resamples"]:
        ratio = means[:, :points] / (1.0 if signal is None else means[:, points:])
        return np.log(ratio) @ lever / 2

    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(slopes(sound.mean(axis=0)[None])[0])
        low, high = ends(slopes(resampled_means(sound, RESAMPLES, seed))[:, None])
    if not np.isfinite(value):
        return Estimate(np.nan, np.nan, np.nan)
    return Estimate(value, float(low[0]), float(high[0]))


def _check_runs(runs: int) -> None:
    if runs < 8:
        raise InputError("runs", runs, "at least 8 sound runs")
