"""Certificates of almost sure convergence: what is accepted, what is refused, and why.

docs/certificate.md says what they rest on, and what a finite horizon cannot say.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.bands import Decay, fit_decay
from dpe_jax.convergence import (
    FITTED_RUNS,
    LEAST_RUNS,
    LEAST_WINDOWS,
    Bounds,
    Rate,
    Windows,
    at_least,
    at_most,
    clopper_pearson,
    suffix_maxima,
    tail_rate,
    windows,
)
from dpe_jax.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

METRIC = "peak_error"
"""The curve that a certificate rests on: no iteration between two record points is missed."""

LEVEL = 0.01
"""An ε is settled from the first m on at which at most this fraction of all runs exceeds it."""

CONFIDENCE = 0.99
"""Of every one-sided bound."""

_MOST_CONFIDENCE = 0.999
"""Beyond it rates would need more resamples."""

TAIL = 4
"""The tail that the verdict rests on is k = K/4 … K: three times as long as all before it."""

SHARE = 0.5
"""Of the predicted rate, that the measured one must surpass at the end.

Where e = f + C k^−β the local rate is β (1 − f/e): above β/2 means that a floor f, if there is any,
is less than half of what is left of the error (derived)."""

LEAST_RATE = 0.1
"""The same where no rate is predicted: the error falls by 13 % over the tail."""

QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the suffix maxima over runs that are reported."""


@dataclasses.dataclass(frozen=True)
class Exceedance:
    """How many runs exceed one ε at or after each window's start, and what follows."""

    fraction: float
    """ε in units of e_0."""
    threshold: float
    """ε, in units of x."""
    counts: Int64[np.ndarray, " windows"]
    bounds: Bounds
    settles_from: int | None
    """The least m whose upper bound is at most LEVEL."""
    tail_count: int
    tail_bound: float
    """Upper bound at the start of the tail: the verdict's."""
    reasons: tuple[str, ...]
    """Why it is refused; empty if it is accepted."""

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What the runs of one method show of almost sure convergence."""

    runs: int
    failed: int
    iterations: int
    confidence: float
    start: float
    """e_0, the mean over runs of the error at k = 0, in units of x."""
    first: Int64[np.ndarray, " windows"]
    """m, the first iteration of each window."""
    quantiles: Float[np.ndarray, "quantiles windows"]
    """Of sup_{m ≤ k ≤ K} e_k over runs, in units of x; see `QUANTILES`."""
    final: float
    """Mean over the sound runs of the last window's peak, in units of x."""
    tail: int
    """First iteration of the tail, at most K/4."""
    rate: Rate | None
    fitted: Decay | None
    """`bands.fit_decay` of the peaks: the rate in the limit, if there is one."""
    predicted: float | None
    exceedances: tuple[Exceedance, ...]

    @property
    def accepted(self) -> bool:
        """Whether every ε is."""
        return all(exceedance.accepted for exceedance in self.exceedances)

    def summary(self) -> dict[str, Any]:
        """For certificate.json."""
        return {
            "accepted": self.accepted,
            "runs": self.runs,
            "failed": self.failed,
            "initial_error": self.start,
            "final_peak_error": self.final,
            "tail_from": self.tail,
            "rate": None if self.rate is None else self.rate._asdict(),
            "fitted": None if self.fitted is None else self.fitted.summary(),
            "predicted_exponent": self.predicted,
            "m": self.first,
            "suffix_maximum": {
                f"{level:g}": row for level, row in zip(QUANTILES, self.quantiles, strict=True)
            },
            "epsilon": [
                {
                    "fraction": found.fraction,
                    "threshold": found.threshold,
                    "accepted": found.accepted,
                    "reasons": found.reasons,
                    "settles_from": found.settles_from,
                    "tail_exceeding": found.tail_count,
                    "tail_upper_bound": found.tail_bound,
                    "exceeding": found.counts,
                    "lower_bound": found.bounds.lower,
                    "upper_bound": found.bounds.upper,
                }
                for found in self.exceedances
            ],
        }


def certify(
    iteration: Int64[np.ndarray, " points"],
    peaks: "Float[np.ndarray, 'points runs'] | xr.DataArray",
    *,
    epsilon: Sequence[float],
    predicted: float | None = None,
    confidence: float = CONFIDENCE,
    decay_from: int | None = None,
) -> Certificate:
    """Judge the runs of one method, at every ε (fractions of e_0, to be chosen in advance).

    An ε is accepted where both hold:

    - at most LEVEL of all runs exceed it in the tail k = K/4 … K, by the Clopper–Pearson upper
      bound. Suprema only fall as m grows, so this is one test at an m known in advance, and the
      search for the least m (`settles_from`) needs no correction either;
    - the mean peak error still falls in the tail: the lower bound of its rate is above half the
      predicted rate, or above LEAST_RATE where none is predicted.
    """
    check(epsilon, confidence)
    merged = windows(iteration, peaks)
    runs, iterations = merged.peak.shape[1], int(merged.last[-1])
    started = merged.peak[0][np.isfinite(merged.peak[0])]
    start = float(started.mean(dtype=np.float64)) if started.size else np.nan
    suffix = suffix_maxima(merged.peak)
    quantiles = np.quantile(suffix, QUANTILES, axis=1, method="higher")
    begins = int(np.searchsorted(merged.first, iterations // TAIL, side="right")) - 1
    tail = Windows(*(column[begins:] for column in merged))
    # e_0 is the first window, and a run of no iteration has no tail.
    rate = tail_rate(tail, confidence) if begins else None
    sound = np.flatnonzero(np.isfinite(merged.peak).all(axis=0))
    falling = _falling(rate, predicted, tail, sound.size)
    found = tuple(
        _exceedance(fraction, start, merged.first, suffix, begins, iterations, confidence, falling)
        for fraction in epsilon
    )
    kept = merged.peak[:, sound[:FITTED_RUNS]]
    return Certificate(
        runs,
        runs - sound.size,
        iterations,
        confidence,
        start,
        merged.first,
        quantiles,
        float(merged.peak[-1, sound].mean(dtype=np.float64)) if sound.size else np.nan,
        int(merged.first[begins]),
        rate,
        fit_decay(merged.last, kept, first=decay_from or max(1, iterations // 100)),
        predicted,
        found,
    )


def check(epsilon: Sequence[float], confidence: float) -> None:
    """Refuse an ε that is no fraction, and a confidence that bounds nothing."""
    for fraction in epsilon:
        if not 0 < fraction < 1:
            raise InputError("epsilon", fraction, "fractions of the initial error, from 0 to 1")
    if not epsilon:
        raise InputError("epsilon", tuple(epsilon), "one fraction of the initial error or more")
    if not 0.5 <= confidence <= _MOST_CONFIDENCE:
        accepted = f"a number from 0.5 to {_MOST_CONFIDENCE}, such as {CONFIDENCE}"
        raise InputError("confidence", confidence, accepted)


def _falling(rate: Rate | None, predicted: float | None, tail: Windows, sound: int) -> str | None:
    """Why the error is not said to fall at the end; None if it falls."""
    if rate is None:
        return (
            f"no rate can be fitted to {tail.first.size} windows of the tail and {sound} sound "
            f"runs: {LEAST_WINDOWS} and {LEAST_RUNS} are needed, and errors above 0"
        )
    least = LEAST_RATE if predicted is None else SHARE * predicted
    if rate.low > least:
        return None
    found = f"like k^−β, β = {rate.exponent:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
    if rate.high <= 0:
        return f"the error does not fall at the end: its mean goes {found}"
    beside = "no rate is predicted" if predicted is None else f"β = {predicted:.3f} is predicted"
    return (
        f"at the end the error falls too slowly to tell it from a floor: its mean goes {found}, "
        f"and β > {least:.3f} is asked ({beside})"
    )


def _exceedance(
    fraction: float,
    start: float,
    first: Int64[np.ndarray, " windows"],
    suffix: Float[np.ndarray, "windows runs"],
    begins: int,
    iterations: int,
    confidence: float,
    falling: str | None,
) -> Exceedance:
    """How many runs exceed ε from each window on, and every reason to refuse it."""
    # NumPy's own float, so that float32 errors are not compared in float32.
    runs, threshold = suffix.shape[1], np.float64(fraction * start)
    # What cannot be compared, since no run has an error at the start, exceeds ε as well.
    counts = np.sum(~(suffix <= threshold), axis=1).astype(np.int64)
    bounds = clopper_pearson(counts, runs, confidence)
    settled = np.flatnonzero(bounds.upper <= LEVEL)
    settles_from = int(first[settled[0]]) if settled.size else None
    count, least = int(counts[begins]), bounds.lower[begins]
    upper = float(bounds.upper[begins])
    reasons = []
    if not start > 0:
        reasons.append("the error at the start is 0 or unknown: no fraction of it can be taken")
    if upper > LEVEL:
        allowed = float(clopper_pearson(np.zeros(1, np.int64), runs, confidence).upper[0])
        share = (
            f"at least {at_least(least):.2%}" if least > LEVEL else f"perhaps {at_most(upper):.2%}"
        )
        reasons.append(
            f"{count} of {runs} runs exceed ε at k ≥ {first[begins]}: {share} of all runs, where "
            f"at most {LEVEL:.0%} is accepted"
        )
        if allowed > LEVEL:
            reasons[-1] += f" (with so few runs the bound is {at_most(allowed):.2%} if none does)"
        elif settles_from is not None:
            reasons[-1] += (
                f"; from m = {settles_from} on they settle, which is after K/{TAIL} = "
                f"{iterations // TAIL}: too little follows"
            )
    if falling is not None:
        reasons.append(falling)
    return Exceedance(
        fraction, float(threshold), counts, bounds, settles_from, count, upper, tuple(reasons)
    )


@dataclasses.dataclass(frozen=True)
class Study:
    """The certificates of all methods of a study, and which of them are to be refused."""

    certificates: dict[str, Certificate]
    controls: tuple[str, ...]
    """Methods that break a condition on purpose: the test has to refuse them at every ε."""

    def as_expected(self, method: str) -> bool:
        """Whether a method is accepted at every ε, or a control at none."""
        found = self.certificates[method].exceedances
        if method in self.controls:
            return not any(exceedance.accepted for exceedance in found)
        return all(exceedance.accepted for exceedance in found)

    @property
    def passed(self) -> bool:
        """Whether every method is as expected."""
        return all(self.as_expected(method) for method in self.certificates)

    def told(self, method: str) -> str:
        """The verdict of one method in a line, with every reason."""
        found = self.certificates[method].exceedances
        beginning = "control, to be refused: " if method in self.controls else ""
        verdicts = (
            f"ε = {e.fraction:g} e_0 "
            + (
                f"accepted: {e.tail_count} runs exceed it in the tail, at most "
                f"{at_most(e.tail_bound):.2%} of all; settled from m = {e.settles_from}"
                if e.accepted
                else f"refused: {'; '.join(e.reasons)}"
            )
            for e in found
        )
        return beginning + ". ".join(verdicts)

    def meaning(self) -> str:
        """What a finite horizon can and cannot say, in one paragraph."""
        one = next(iter(self.certificates.values()))
        return (
            "Almost sure convergence means that for every ε the probability that the error ever "
            "exceeds ε again after iteration m goes to 0 as m grows. What is accepted here says "
            f"this much: with {100 * one.confidence:.4g} % confidence at most {LEVEL:.0%} of all "
            f"runs of these settings, not only of these {one.runs:,}, exceed ε at any iteration "
            f"from m to K = {one.iterations:,}, m ≤ K/{TAIL}, and the error still falls at the "
            "end, faster than a floor of half its size would allow. It says nothing of iterations "
            "after K, of a smaller ε, of excursions rarer than so many runs can show, or of other "
            "problems: a method that stalls below ε later on would be accepted, and no number of "
            "runs proves a limit. That is for the theorem and its conditions; here one sees that "
            "the runs behave as it says, and that the same test refuses runs that do not."
        )

    def summary(self) -> dict[str, Any]:
        """For certificate.json."""
        one = next(iter(self.certificates.values()))
        methods = {
            name: {
                "control": name in self.controls,
                "as_expected": self.as_expected(name),
                **certificate.summary(),
            }
            for name, certificate in self.certificates.items()
        }
        return {
            "passed": self.passed,
            "iterations": one.iterations,
            "confidence": one.confidence,
            "level": LEVEL,
            "epsilon": [exceedance.fraction for exceedance in one.exceedances],
            "meaning": self.meaning(),
            "methods": methods,
        }


def study(
    curves: "xr.Dataset",
    predicted: Mapping[str, float | None],
    *,
    epsilon: Sequence[float],
    controls: Sequence[str] = (),
    confidence: float = CONFIDENCE,
    decay_from: int | None = None,
) -> Study:
    """The certificate of every method of recorded curves, and of which `predicted` has the rate."""
    if METRIC not in curves:
        raise InputError("metrics", list(curves), f"{METRIC} among those that were recorded")
    iteration = curves.iteration.values
    return Study(
        {
            name: certify(
                iteration,
                curves[METRIC].sel(algorithm=name),
                epsilon=epsilon,
                predicted=rate,
                confidence=confidence,
                decay_from=decay_from,
            )
            for name, rate in predicted.items()
        },
        tuple(controls),
    )
