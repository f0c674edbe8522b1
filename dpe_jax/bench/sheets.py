"""Reports as tables, and as the bars of a chart."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Sheet(NamedTuple):
    """A table."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Bar(NamedTuple):
    """One candidate: its median, and the least and the most."""

    name: str
    median: float
    low: float
    high: float


_NS = "ns / step"
_COLUMNS = _NS, "least – most"


def bars(part: str, report: Mapping[str, Any]) -> dict[str, list[Bar]]:
    """Nanoseconds per agent-coordinate-step by candidate, by what heads them; none elsewhere."""
    match part:
        case "engine" | "minibatch" | "large" | "profile":
            return {part: _bars(report)}
        case "methods":
            found = report["methods"]
            return {part: [Bar(n, one["ns"], *one["range_ns"]) for n, one in found.items()]}
        case "gpu":
            return {f"{runs} runs": _bars(one) for runs, one in report["runs"].items()}
        case _:
            return {}


def _bars(report: Mapping[str, Any]) -> list[Bar]:
    return [Bar(n, report[f"{n}_ns"], *ends) for n, ends in report["range_ns"].items()]


def sheets(part: str, report: Mapping[str, Any]) -> list[Sheet]:
    """What is shown of a report."""
    charted = bars(part, report)
    if charted:
        base = {"methods": "encrypted", "profile": "step"}.get(part, "engine")
        tables = [_of_bars(title, found, base) for title, found in charted.items()]
        return tables + (_rates(report) if part == "gpu" else [])
    match part:
        case "growth":
            return [_of_curve(factor, curve) for factor, curve in report["curves"].items()]
        case "sweep":
            found = report["ns_per_lane_step"]
            rows = [(n, _short(v), _ends(report["range"][n])) for n, v in found.items()]
            return [Sheet(part, ("lanes of", "ns / lane-step", "least – most"), rows)]
        case "paillier":
            rows = [
                (f"{preset}: {n}", _short(ms["median"]), _ends([ms["low"], ms["high"]]))
                for preset, found in report["exchange"].items()
                for n, ms in found["milliseconds"].items()
            ]
            return [Sheet(part, ("exchange", "ms / iteration", "least – most"), rows)]
        case "startup":
            rows = [
                (n, _short(v), _ends(report["range_seconds"][n]), f"{report['targets'][n]:g}")
                for n, v in report["seconds"].items()
            ]
            return [Sheet(part, ("what", "s", "least – most", "wanted under"), rows)]
        case "memory":
            row = f"{report['runs']:,}", f"{report['seconds']:g}", _mega(report["peak_bytes"])
            return [Sheet(part, ("runs", "s", "peak MB"), [row])]
        case _:
            return []


def _of_bars(title: str, found: list[Bar], base: str) -> Sheet:
    (unit,) = (bar.median for bar in found if bar.name == base)
    rows = [
        (bar.name, _short(bar.median), _ends([bar.low, bar.high]), f"{bar.median / unit:.2f}")
        for bar in found
    ]
    return Sheet(title, ("candidate", *_COLUMNS, f"× {base}"), rows)


def _of_curve(factor: str, curve: Mapping[str, Any]) -> Sheet:
    columns = (curve[name] for name in ("values", "iterations", "seconds", "ns", "range_ns"))
    rows = [
        (f"{value:,}", f"{iterations:,}", _short(seconds), _short(ns), _ends(ends))
        for value, iterations, seconds, ns, ends in zip(*columns, strict=True)
    ]
    return Sheet(f"growth: {curve['held']}", (factor, "iterations", "s", *_COLUMNS), rows)


def _rates(report: Mapping[str, Any]) -> list[Sheet]:
    rows = [
        ("copy, GB/s", f"{report['copy_bytes']['per_second'] / 1e9:.4g}"),
        ("multiply-adds, G/s", f"{report['integer_multiply_adds']['per_second'] / 1e9:.4g}"),
    ]
    return [Sheet(report["measured_device"], ("rate", "measured"), rows)]


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _ends(ends: Sequence[float]) -> str:
    return f"{_short(ends[0])} – {_short(ends[1])}"


def _mega(count: int) -> str:
    return f"{count / 1e6:,.0f}"
