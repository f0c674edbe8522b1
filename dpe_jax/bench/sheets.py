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


class Panel(NamedTuple):
    """Candidates that are compared, with what they are multiples of in a table."""

    title: str
    unit: str
    base: str
    bars: list[Bar]
    within: Mapping[str, Sequence[float]] = {}
    """The least and the most of ratios to `base` within a turn, as `NAME_over_BASE`."""


GLOSSES = {
    "engine metrics": "with all metrics",
    "engine float64": "gradients in float64",
    "floor": "random numbers alone",
    "floor erf inv": "the same, normals by erf⁻¹",
    "numpy": "vectorised over runs",
    "vmap": "JAX: one run, mapped",
    "batched": "JAX: arrays of all runs",
    "numba": "a compiled loop",
    "einsum": "one product of matrices",
    "pieces": "the product in pieces",
    "step": "all of it",
    "generator": "random words alone",
    "without both": "all but the two",
    "erf inv": "normals by erf⁻¹",
    "narrow words": "32-bit products",
    "compile cold": "no program kept",
    "compile kept": "programs kept",
    "compile traced": "kept, but traced anew",
}
"""What candidates are, in few words; the names of others say it themselves."""

STEP = "ns per step"
_LANE_STEP = "ns per lane and iteration"
_SHORT = {STEP: "ns / step", _LANE_STEP: "ns / lane-step", "ms per iteration": "ms / iteration"}


def panels(part: str, report: Mapping[str, Any]) -> list[Panel]:
    """What a chart shows of a report; nothing of those that hold no candidates."""
    match part:
        case "engine":
            parts = [Panel(_title(part, report), STEP, "engine", _bars(report), _within(report))]
            for other, key in (("methods", "methods"), ("minibatch", "minibatch_logistic")):
                if key in report:
                    parts += panels(other, report if other == "methods" else report[key])
            return parts
        case "large" | "minibatch":
            return [Panel(_title(part, report), STEP, "engine", _bars(report), _within(report))]
        case "profile":
            return [Panel(_title(part, report), STEP, "step", _bars(report))]
        case "methods":
            found = report["methods"]
            bars = [Bar(n, one["ns"], *one["range_ns"]) for n, one in found.items()]
            return [Panel(_title(part, report), STEP, "encrypted", bars)]
        case "sweep":
            found, ends = report["ns_per_lane_step"], report["range"]
            bars = [Bar(n, ns, *ends[n]) for n, ns in found.items()]
            title = f"{report['configurations']} configurations of {report['runs']} runs"
            return [Panel(title, _LANE_STEP, "single", bars)]
        case "paillier":
            return [
                Panel(
                    f"{preset}, d = {found['dim']}",
                    "ms per iteration",
                    "fast",
                    [
                        Bar(name, ms["median"], ms["low"], ms["high"])
                        for name, ms in found["milliseconds"].items()
                    ],
                )
                for preset, found in report["exchange"].items()
            ]
        case "startup":
            ends = report["range_seconds"]
            bars = [Bar(n, s, *ends[n]) for n, s in report["seconds"].items()]
            return [Panel("a new process each", "seconds", "", bars)]
        case "gpu":
            return [
                Panel(f"{runs} runs", STEP, "engine", _bars(one))
                for runs, one in report["runs"].items()
            ]
        case _:
            return []


def _title(part: str, report: Mapping[str, Any]) -> str:
    sizes = [
        f"{report[key]:,} {key}" if key != "dim" else f"d = {report[key]}"
        for key in ("agents", "dim", "runs", "iterations")
        if key in report
    ]
    return f"{part}: {', '.join(sizes)}"


def _within(report: Mapping[str, Any]) -> Mapping[str, Sequence[float]]:
    return report.get("ratios_within_turns", {})


def _bars(report: Mapping[str, Any]) -> list[Bar]:
    return [Bar(n, report[f"{n}_ns"], *ends) for n, ends in report["range_ns"].items()]


def sheets(part: str, report: Mapping[str, Any]) -> list[Sheet]:
    """What is shown of a report."""
    match part:
        case "growth":
            return [_of_curve(factor, curve) for factor, curve in report["curves"].items()]
        case "startup":
            targets = {n: f"{wanted:g}" for n, wanted in report["targets"].items()}
            rows = [
                (n, short(v), _ends(report["range_seconds"][n]), targets.get(n, ""))
                for n, v in report["seconds"].items()
            ]
            return [Sheet(part, ("what", "s", "least – most", "wanted under"), rows)]
        case "memory":
            seconds = short(report["seconds"]), _ends(report["range_seconds"])
            row = f"{report['runs']:,}", *seconds, _mega(report["peak_bytes"])
            return [Sheet(part, ("runs", "s", "least – most", "peak MB"), [row])]
        case _:
            tables = [_of_panel(panel) for panel in panels(part, report)]
            return tables + (_rates(report) if part == "gpu" else [])


def _of_panel(panel: Panel) -> Sheet:
    (unit,) = (bar.median for bar in panel.bars if bar.name == panel.base)
    rows = []
    for bar in panel.bars:
        ends = panel.within.get(f"{bar.name}_over_{panel.base}")
        row = (bar.name, short(bar.median), _ends([bar.low, bar.high]), f"{bar.median / unit:.2f}")
        rows.append((*row, *([_ends(ends) if ends else ""] if panel.within else [])))
    columns = ("candidate", _SHORT[panel.unit], "least – most", f"× {panel.base}")
    return Sheet(panel.title, (*columns, *(["within a turn"] if panel.within else [])), rows)


def _of_curve(factor: str, curve: Mapping[str, Any]) -> Sheet:
    found = (curve[name] for name in ("values", "iterations", "seconds", "ns", "range_ns"))
    rows = [
        (f"{value:,}", f"{iterations:,}", short(seconds), short(ns), _ends(ends))
        for value, iterations, seconds, ns, ends in zip(*found, strict=True)
    ]
    columns = "iterations", "s", "ns / step"
    if factor == "iterations":  # they are the factor
        rows, columns = [(row[0], *row[2:]) for row in rows], columns[1:]
    return Sheet(f"growth: {curve['held']}", (factor, *columns, "least – most"), rows)


def _rates(report: Mapping[str, Any]) -> list[Sheet]:
    rows = [
        ("copy, GB/s", f"{report['copy_bytes']['per_second'] / 1e9:.4g}"),
        ("multiply-adds, G/s", f"{report['integer_multiply_adds']['per_second'] / 1e9:.4g}"),
    ]
    return [Sheet(report["measured_device"], ("rate", "measured"), rows)]


def short(value: float) -> str:
    """Three digits, and no exponents."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _ends(ends: Sequence[float]) -> str:
    return f"{short(ends[0])} – {short(ends[1])}"


def _mega(count: int) -> str:
    return f"{count / 1e6:,.0f}"
