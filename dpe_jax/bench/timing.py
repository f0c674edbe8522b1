"""Candidates that take turns, medians with their range, and what they were measured on."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import dpe_jax
from dpe_jax.compilation import digest_of_sources, whole_programs
from dpe_jax.results import processor

Candidate = Callable[[], object]
"""Does what is timed, and returns when it is done."""

Told = Callable[[str], None]
"""Told what is being measured."""


class Timed(NamedTuple):
    """Seconds of one candidate."""

    first: float
    """Of the first call, with compilation."""
    turns: list[float]
    """Of the calls after it."""

    @property
    def median(self) -> float:
        """The median of the turns."""
        return statistics.median(self.turns)


def by_turns(
    candidates: Mapping[str, Candidate], turns: int, told: Told = lambda _: None
) -> dict[str, Timed]:
    """Call every candidate once, then all of them in turn.

    So a drift of the machine's speed meets all of them alike.
    """
    found = {}
    for name, candidate in candidates.items():
        told(f"{name}: first call")
        found[name] = Timed(seconds(candidate), [])
    for turn in range(turns):
        told(f"turn {turn + 1} of {turns}")
        for name, candidate in candidates.items():
            found[name].turns.append(seconds(candidate))
    return found


def seconds(candidate: Candidate) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    candidate()
    return time.perf_counter() - began


def nanoseconds(timed: Mapping[str, Timed], unit: float | int) -> dict[str, Any]:
    """Medians as `NAME_ns` and least and most as `range_ns`, per one of `unit` steps."""
    scale = 1e9 / unit
    return {
        **{f"{name}_ns": rounded(one.median * scale) for name, one in timed.items()},
        "range_ns": {name: spread(one.turns, scale) for name, one in timed.items()},
        "first_call_seconds": {name: round(one.first, 2) for name, one in timed.items()},
    }


def over(timed: Mapping[str, Timed], base: str, names: Iterable[str]) -> dict[str, float]:
    """Ratios of medians: each of these candidates over `base`."""
    return {
        f"{name}_over_{base}": round(timed[name].median / timed[base].median, 2)
        for name in names
        if name in timed
    }


def within_turns(
    timed: Mapping[str, Timed], base: str, names: Iterable[str]
) -> dict[str, list[float]]:
    """The least and the most of the ratio to `base` within a turn, by candidate."""
    unit = timed[base].turns
    return {
        f"{name}_over_{base}": spread(
            round(one / other, 2) for one, other in zip(timed[name].turns, unit, strict=True)
        )
        for name in names
        if name in timed
    }


def spread(values: Iterable[float], scale: float = 1.0) -> list[float]:
    """Least and most."""
    scaled = [value * scale for value in values]
    return [rounded(min(scaled)), rounded(max(scaled))]


def rounded(value: float) -> float:
    """Three decimals, or four digits of what is smaller than one."""
    return round(value, 3) if abs(value) >= 1 else float(f"{value:.4g}")


def about(turns: int | None = None, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The device, the processor, versions, sources and the date; and how many turns there were."""
    import jax

    device = jax.devices()[0]
    return {
        **({} if turns is None else {"turns": turns}),
        "device": f"{device.platform} {device.device_kind}",
        "cpus": processors(),
        "cpu": processor(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("dpe-jax", "jax", "numpy", *packages)},
        },
        # Of two reports of one version: whether they are of one code, and how it was called.
        "sources": digest_of_sources(Path(dpe_jax.__file__).parent)[:12],
        "programs": "compiled by JAX" if whole_programs() is None else "kept whole",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
