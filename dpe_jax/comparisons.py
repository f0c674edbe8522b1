"""The command `dpe compare`, and how a comparison is shown."""

import argparse
import math
import textwrap
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax import experiment
from dpe_jax.bootstrap import Interval
from dpe_jax.compare import (
    MORE_IS_BETTER,
    Comparison,
    Row,
    chosen_baseline,
    chosen_metrics,
    compare,
)
from dpe_jax.config import Config
from dpe_jax.errors import InputError, TogetherError
from dpe_jax.folder import COMPARISON, MANIFEST, write_json
from dpe_jax.observe import LABELS, supported
from dpe_jax.options import changes, warn
from dpe_jax.progress import Bars
from dpe_jax.results import Stored, holds, load, load_experiment
from dpe_jax.running import going_on, mode_of

_STUDY = "PRESET|CONFIG|DIR"
_WIDTH = 80


def run_compare(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe compare PRESET|CONFIG|DIR`."""
    names = None if options.metrics is None else options.metrics.split(",")
    metrics = None if names is None else tuple(name.strip() for name in names)
    try:
        stored = _stored(options, metrics, log)
        comparison = compare(stored, options.baseline, metrics)
    except InputError as error:
        if error.argument not in ("baseline", "metrics"):
            raise
        raise InputError(f"--{error.argument}", error.value, error.accepted) from error
    report = comparison.to_dict()
    try:
        write_json(stored.path / COMPARISON, report)
    except OSError as error:
        accepted = f"a writable folder ({error.strerror})"
        raise InputError("DIR", str(stored.path), accepted) from error
    if screen:
        show(screen, comparison)
    drawn = [] if options.no_figures else _draw(stored, comparison)
    if screen:
        screen.print(f"written to {stored.path}", soft_wrap=True)
    return 0, {"folder": str(stored.path), "figures": drawn, **report}


def _stored(options: argparse.Namespace, metrics: tuple[str, ...] | None, log: Console) -> Stored:
    """The result of a folder, or of a configuration, which is only run where it has not been."""
    path = Path(options.study)
    if _has_manifest(path):
        beside = {"out": options.out, "overwrite": options.overwrite or None}
        for name, value in {**changes(options), **beside}.items():
            if value is not None:
                accepted = "not together with a folder with a result"
                raise TogetherError(f"--{name}", value, accepted)
        return load_experiment(path)
    config = experiment.override(_config(options.study), changes(options))
    # Before the simulation: a name that is wrong must not cost a whole run.
    chosen_baseline(config, options.baseline)
    simulation = config.build()
    chosen_metrics(simulation.observed, metrics, supported(simulation.problem))
    out = Path(options.out) if options.out else experiment.default_folder(config)
    found = _finished(out, config)
    if found is not None:
        log.print(f"{out} has this result already, of {found.manifest['written']}")
        return found
    overwrite = experiment.replaces(out, config, options.overwrite, not options.out)
    with going_on(options), Bars(log) as bars:
        outcome = experiment.run(
            config,
            out,
            overwrite=overwrite or holds(out, config),
            progress=bars,
            mode=mode_of(out, options.restart),
        )
    warn(log, outcome)
    return outcome.stored


def _has_manifest(path: Path) -> bool:
    try:
        return (path / MANIFEST).is_file()
    except OSError:
        # A name that is too long for a file is none.
        return False


def _config(study: str) -> Config:
    try:
        return experiment.find_config(study)
    except InputError as error:
        if error.argument != "PRESET|CONFIG":
            raise
        accepted = f"{error.accepted}, or a folder that dpe run wrote"
        raise InputError(_STUDY, error.value, accepted) from error


def _finished(out: Path, config: Config) -> Stored | None:
    """The result of just this configuration, if it is there and whole."""
    if not holds(out, config):
        return None
    try:
        return load(out)
    except InputError:
        return None


def _draw(stored: Stored, comparison: Comparison) -> list[str]:
    from dpe_jax import compare_figures

    drawn = compare_figures.draw(stored, comparison, stored.path / "figures")
    return [str(path) for path in drawn]


def show(screen: Console, comparison: Comparison) -> None:
    """A table a metric, within 80 columns, then what must be known beside the numbers."""
    labels: dict[str, str] = {str(metric): label for metric, label in LABELS.items()}
    runs = comparison.runs
    screen.print(
        f"{comparison.name}: {runs} paired run{'s' * (runs != 1)} at k = {comparison.iteration}, "
        f"beside {comparison.baseline}\ndifference: the mean over runs of method minus "
        "baseline; ratio: of the two means\n[ ]: 95 % bootstrap intervals over runs\n",
        soft_wrap=True,
    )
    for metric in comparison.metrics:
        better = "more" if metric in MORE_IS_BETTER else "less"
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("method", overflow="fold", min_width=8)
        for heading, width in (("mean", 16), ("difference", 18), ("ratio", 16)):
            table.add_column(heading, justify="right", no_wrap=True, min_width=width)
        table.add_column("verdict", no_wrap=True, min_width=10)
        table.title = f"{metric}: {labels[metric]} ({better} is better)"
        table.title_justify = "left"
        for method in comparison.methods:
            row = comparison.row(metric, method)
            table.add_row(*_cells(row, method == comparison.baseline))
        screen.print(table, "", width=_WIDTH)
    for line in (*_remarks(comparison), *comparison.notes()):
        screen.print(textwrap.fill(line, _WIDTH, subsequent_indent="  "), soft_wrap=True)
    for line in _differences(comparison):
        screen.print(line, soft_wrap=True)
    for line in comparison.verdicts():
        screen.print(textwrap.fill(line, _WIDTH, subsequent_indent="  "), soft_wrap=True)


_NAME = 12
"""Characters of a method's name in one line of a table; it is broken at hyphens first."""


def _cells(row: Row, baseline: bool) -> tuple[str, str, str, str, str]:
    mean, method = _cell(row.mean, row.interval), textwrap.fill(row.method, _NAME)
    if baseline:
        return method, mean, "baseline", "", ""
    verdict = _better(row)
    if row.verdict in ("higher", "lower"):
        verdict += f":\n{'real' if row.real == 'yes' else row.real}"
    return (
        method,
        mean,
        _cell(row.difference, row.difference_interval, "+"),
        _cell(row.ratio, row.ratio_interval),
        verdict,
    )


def _better(row: Row) -> str:
    """What a difference means for who wants the metric to be good."""
    if row.verdict is None:
        return "not\ncompared"
    if row.verdict == "not told apart":
        return "not told\napart"
    good = "higher" if row.metric in MORE_IS_BETTER else "lower"
    return "better" if row.verdict == good else "worse"


def _differences(comparison: Comparison) -> list[str]:
    """Which methods are better or worse than the baseline, in what, and how many times."""
    lines = []
    for real, what in (("yes", "real differences"), ("only alone", "only alone, perhaps chance")):
        told = []
        for method in comparison.methods:
            for how in ("better", "worse"):
                metrics = [
                    row.metric + ("" if row.ratio is None else f" (×{_number(row.ratio)})")
                    for row in comparison.rows
                    if (row.method, row.real, _better(row)) == (method, real, how)
                ]
                told += [f"{method} is {how} in {', '.join(metrics)}"] if metrics else []
        told = [
            textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="    ")
            for line in told
        ]
        lines += ["", f"Beside {comparison.baseline}, {what}:", *told] if told else []
    return [*lines, ""] if lines else []


def _remarks(comparison: Comparison) -> list[str]:
    """Why figures are missing, each reason once, with the methods and metrics of which it holds."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in comparison.rows:
        # That all runs of a method failed is said once, not for each metric.
        if row.note and comparison.failed[row.method] < comparison.runs:
            found.setdefault(row.note, {}).setdefault(row.method, []).append(row.metric)
    lines = []
    for note, methods in found.items():
        of = "; ".join(
            method if tuple(metrics) == comparison.metrics else f"{method} ({', '.join(metrics)})"
            for method, metrics in methods.items()
        )
        lines.append(f"{note}: {of}")
    return lines


def _number(value: float | None, sign: str = "") -> str:
    """1.23e-4, or 0.123 where it is as short."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value) or value == 0:
        return "∞" if value else "0"
    exponent = _exponent(value)
    return f"{value / 10.0**exponent:{sign}.{_decimals(value, exponent)}f}{_power(exponent)}"


def _cell(value: float | None, found: Interval | None, sign: str = "") -> str:
    """A number above its interval, which has the same power of ten unless it is far wider."""
    power = None
    if value and found is not None and any(found) and math.isfinite(value):
        larger = max(map(abs, found))
        power = _exponent(value) if abs(value) <= larger < 100 * abs(value) else None
    return f"{_number(value, sign)}\n{_interval(found, sign, power)}"


def _interval(found: Interval | None, sign: str = "", power: int | None = None) -> str:
    """[1.20, 1.26]e-4: both ends with the digits of the larger."""
    if found is None or not any(found):
        return "" if found is None else "[0, 0]"
    larger = max(found, key=abs)
    exponent = _exponent(larger) if power is None else power
    decimals = _decimals(larger, exponent)
    low, high = (f"{end / 10.0**exponent:{sign}.{decimals}f}" for end in found)
    return f"[{low}, {high}]{_power(exponent)}"


def _exponent(value: float) -> int:
    """The power of ten that is taken out; none between 0.01 and 1000."""
    if 0.00995 <= abs(value) < 999.5:
        return 0
    return math.floor(math.log10(abs(value)) + 1e-3)


def _decimals(value: float, exponent: int) -> int:
    """Three digits, or four from 1 to 2: ratios are near it."""
    size = abs(value) / 10.0**exponent
    leading = math.floor(math.log10(size) + 1e-3)
    return max(0, 2 - leading) + (exponent == 0 and leading == 0 and size < 2)


def _power(exponent: int) -> str:
    return f"e{exponent}" if exponent else ""
