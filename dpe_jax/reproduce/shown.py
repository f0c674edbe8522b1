"""How numbers are shown in the cells of tables and figures."""

from collections.abc import Callable
from typing import Any

import numpy as np


def between(low: float | None, high: float | None, digits: str = ".3g") -> str | None:
    """The ends of an interval, [1.2, 1.5]; ∞ for an end that is not finite, nothing without any."""
    return _interval(low, high, lambda end: format(end, digits))


def interval(low: float | None, high: float | None) -> str | None:
    """The same with all digits, for a cell of a table: its column says how it is shown."""
    return _interval(low, high, lambda end: repr(float(end)))


def _interval(low: float | None, high: float | None, written: Callable[[float], str]) -> str | None:
    if low is None or np.isnan(low):
        return None
    ends = ("∞" if end is None or not np.isfinite(end) else written(end) for end in (low, high))
    return f"[{', '.join(ends)}]"


def finite(value: float) -> float | None:
    """A number, or nothing in place of what is none or infinite."""
    return value if np.isfinite(value) else None


def spread(name: str, found: tuple[float, float, float]) -> dict[str, Any]:
    """A number with the ends of its interval, as columns `name`, `name_low` and `name_high`."""
    ends = zip(("", "_low", "_high"), found, strict=True)
    return {f"{name}{end}": finite(value) for end, value in ends}


def duration(seconds: float) -> str:
    """12 s, 3.4 min or 5.6 h."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"


def standard_errors(found: float, error: float, predicted: float) -> float:
    """How many standard errors a positive estimate is from its prediction.

    If that were right, the error would be in proportion to it: a sample that happens to be low has
    a low standard error as well.
    """
    return abs(found - predicted) / (error * predicted / found)
