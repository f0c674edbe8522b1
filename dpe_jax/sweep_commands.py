"""What commands show of a sweep."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax import experiment, sweep_run
from dpe_jax.distributed import WHOLE, Part, joined
from dpe_jax.errors import InputError, TogetherError
from dpe_jax.folder import MANIFEST, SUMMARY
from dpe_jax.observe import LABELS, METRICS, Metric
from dpe_jax.options import LEFT_OUT, changes, in_words, measured
from dpe_jax.progress import Bars
from dpe_jax.results import Stored, load
from dpe_jax.running import asked_mode, going_on
from dpe_jax.sweep_results import violations
from dpe_jax.sweep_statistics import HIGH, LOW, metrics, select, shown

if TYPE_CHECKING:
    import xarray as xr

_OPTIONS = ("x", "y", "metric", "algorithm", "at")


def refuse_sweep_options(options: argparse.Namespace) -> None:
    """InputError if an option was given that is for figures of sweeps only."""
    for name in _OPTIONS:
        value = getattr(options, name)
        if value is not None:
            accepted = f"no such option: {options.folder} is no sweep"
            raise InputError(f"--{name}", value[0] if name == "at" else value, accepted)


def plot_sweep(dataset: "xr.Dataset", out: Path, options: argparse.Namespace) -> list[Path]:
    """Draw a sweep as the options of `dpe plot` say; InputError names the one that does not fit."""
    from dpe_jax import sweep_figures

    known = metrics(dataset)
    if options.metric is not None and options.metric not in known:
        raise InputError("--metric", options.metric, f"one of {', '.join(known)}")
    _check_two(options)
    at = _held(dataset, options.at)
    return sweep_figures.draw_sweep(
        dataset, out, options.x, options.y, options.metric, options.algorithm, at
    )


def _held(dataset: "xr.Dataset", texts: list[str] | None) -> dict[str, str]:
    """The values of `--at AXIS=VALUE`, by axis."""
    at: dict[str, str] = {}
    labels = sorted(map(str, dataset.coords), key=len, reverse=True)
    for text in texts or ():
        # A label may have a "=" in it.
        label = next((name for name in labels if text.startswith(f"{name}=")), text.split("=")[0])
        if label in at:
            raise InputError("--at", text, f"one value of {label}")
        at[label] = text[len(label) + 1 :]
    return at


def run_sweep_command(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe sweep`."""
    if options.add_runs is not None:
        return _add_runs(options, log, screen)
    if (Path(options.config) / MANIFEST).is_file():
        accepted = "a .toml file, or beside --add-runs the folder of a finished sweep"
        raise InputError("CONFIG|DIR", options.config, accepted)
    part, together = _part(options)
    config = experiment.override(experiment.find_config(options.config), changes(options))
    planned = sweep_run.plan_sweep(config, options.keep or "runs")
    out = Path(options.out) if options.out else experiment.default_folder(config)
    study, sizes = planned.study, " × ".join(str(axis.size) for axis in planned.sweep.axes)
    _check_figures(options, planned)
    log.print(
        f"{_counted(len(study.simulations), 'configuration')} ({sizes}), "
        f"{_counted(study.common.runs, 'run')} each, {_counted(len(study.methods), 'method')}"
    )
    for line in _violations(planned):
        log.print(f"warning: {line}")
    with going_on(options, "--resume"), Bars(log) as bars:
        settings: dict[str, Any] = {
            "progress": bars,
            "mode": asked_mode(options),
            "checkpoint_seconds": options.checkpoint_seconds,
        }
        if part != WHOLE:
            settings |= {"overwrite": options.overwrite, "together": together}
            finished = sweep_run.run_part(planned, out, part, **settings)
            stored = load(out) if finished and not (together and part.index) else None
        else:
            overwrite = experiment.replaces(out, config, options.overwrite, not options.out)
            finished, stored = (
                True,
                sweep_run.run_sweep(planned, out, overwrite=overwrite, **settings),
            )
    if stored is None:
        shown = f"{part.index}/{part.count}"
        if screen:
            rest = "" if finished else f"; the last part to end, or --resume, finishes {out}"
            screen.print(f"part {shown} is done{rest}", soft_wrap=True)
        return 0, {"folder": str(out), "part": shown, "finished": finished}
    for note in stored.manifest["warnings"]:
        log.print(f"warning: {note}", style="yellow")
    return 0, _shown(options, stored, screen)


def _add_runs(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    for name in ("out", "keep", "part", "distributed", *changes(options)):
        value = getattr(options, name)
        if value is not None:
            shown = "/".join(map(str, value)) if name == "part" else value
            raise TogetherError(f"--{name}", shown, "not together with --add-runs")
    if not (Path(options.config) / MANIFEST).is_file():
        raise InputError("DIR", options.config, "the folder of a finished sweep to add runs to")
    with going_on(options, "--resume"), Bars(log) as bars:
        stored = sweep_run.add_sweep_runs(
            Path(options.config),
            options.add_runs,
            progress=bars,
            mode=asked_mode(options),
            checkpoint_seconds=options.checkpoint_seconds,
        )
    return 0, _shown(options, stored, screen)


def _shown(options: argparse.Namespace, stored: Stored, screen: Console | None) -> dict[str, Any]:
    """Show and draw a finished sweep; its report."""
    dataset, out = stored.curves, stored.path
    metric = options.metric or metrics(dataset)[0]
    if screen:
        _show(screen, stored, metric)
        screen.print(f"written to {out}", soft_wrap=True)
    figures = [] if options.no_figures else plot_sweep(dataset, out / "figures", options)
    return {
        "folder": str(out),
        "config_hash": stored.manifest["config_hash"],
        "seconds": stored.manifest["seconds"],
        "figures": [str(path) for path in figures],
        **stored.summary,
    }


def _part(options: argparse.Namespace) -> tuple[Part, bool]:
    """The share of this process, and whether others work at the same time."""
    if options.part is not None:
        for name in ("distributed", "processes", "process"):
            if getattr(options, name) is not None:
                shown = "/".join(map(str, options.part))
                raise TogetherError("--part", shown, f"not together with --{name}")
        return Part(*options.part), False
    if options.distributed is None:
        for name in ("processes", "process"):
            value = getattr(options, name)
            if value is not None:
                raise TogetherError(f"--{name}", value, "only together with --distributed")
        return WHOLE, False
    coordinator = None if options.distributed == "auto" else options.distributed
    return joined(coordinator, options.processes, options.process), True


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _check_figures(options: argparse.Namespace, planned: sweep_run.Planned) -> None:
    """Refuse what cannot be drawn before anything is computed."""
    import xarray as xr

    from dpe_jax.sweep_layout import owner

    study, sweep = planned.study, planned.sweep
    if options.algorithm not in (None, *study.methods):
        raise InputError("--algorithm", options.algorithm, f"one of {', '.join(study.methods)}")
    known = [metric for metric in METRICS if metric in study.metrics]
    if options.metric not in (None, *known):
        raise InputError("--metric", options.metric, f"one of {', '.join(known)}")
    labels = xr.Dataset(coords=sweep.coordinates(), attrs=sweep.attributes())
    select(labels, dict(_held(labels, options.at)))
    for name in ("x", "y"):
        if getattr(options, name) is not None:
            owner(labels, getattr(options, name), f"--{name}")
    _check_two(options)


def _check_two(options: argparse.Namespace) -> None:
    if options.x is not None and options.x == options.y:
        raise InputError("--y", options.y, "another axis than --x")


def _violations(planned: sweep_run.Planned) -> list[str]:
    """One line for each method and condition that configurations break."""
    simulations = planned.study.simulations
    broken: dict[tuple[str, str], int] = {}
    for simulation in simulations:
        for method, statements in violations(simulation).items():
            for statement in statements:
                key = method, statement
                broken[key] = broken.get(key, 0) + 1
    return [
        f"{method}: {statement} does not hold in {count} of {len(simulations)} configurations"
        for (method, statement), count in broken.items()
    ]


_LABEL_WIDTH, _NARROW_LABEL = 24, 12
"""Of a label's column on the terminal; longer ones go over several lines, between words."""

_MOST_ROWS = 40
"""Of the table on the terminal; summary.json has them all."""

_FIGURES = {
    "mean": "mean",
    "standard_error": "std. error",
    "low": f"{100 * LOW:g} %",
    "high": f"{100 * HIGH:g} %",
}
"""Statistics in the table, and their heads."""


class _Column(NamedTuple):
    """A column of the table on the terminal."""

    key: str
    head: str
    cells: list[str]
    left: bool


def _show(screen: Console, stored: Stored, metric: str) -> None:
    rows = stored.summary["final"][metric]
    what = LABELS.get(cast(Metric, metric), metric)
    title = f"{stored.manifest['name']}: {what} at k = {stored.summary['iterations']}"
    screen.print(final_table(rows[:_MOST_ROWS], metric, title, screen.width))
    if len(rows) > _MOST_ROWS:
        screen.print(f"and {len(rows) - _MOST_ROWS} more rows in {stored.path / SUMMARY}")


def final_table(rows: list[dict[str, Any]], metric: str, title: str, width: int) -> Table:
    """Rows of `sweep_statistics.final_table`, for a terminal of so many letters.

    Neither numbers nor words are broken. Where there is no room, columns of one value are said in
    the title, and further columns left out, one after the other, as a line below tells.
    """
    columns = _columns(rows, metric)
    table = _table(columns, title, _LABEL_WIDTH)
    if measured(table) <= width:
        return table
    same = [column for column in columns if len(rows) > 1 and len(set(column.cells)) == 1]
    same = [column for column in same if not column.key.startswith(metric)]
    if same:
        title += "\n" + ", ".join(f"{column.head} = {column.cells[0]}" for column in same)
    columns = [column for column in columns if column not in same]
    left_out: list[str] = []
    for names in ([], [f"{metric}_standard_error"], ["configuration"], _twins(columns, metric)):
        left_out += [column.head for column in columns if column.key in names]
        columns = [column for column in columns if column.key not in names]
        for label_width in (_LABEL_WIDTH, _NARROW_LABEL):
            table = _table(columns, title, label_width, left_out, narrow=True)
            if measured(table) <= width:
                return table
    ends = f"{metric}_low", f"{metric}_high"
    left_out += [column.head for column in columns if column.key in ends]
    columns = [column for column in columns if column.key not in ends]
    return _table(columns, title, _NARROW_LABEL, left_out, narrow=True, cut=True)


def _columns(rows: list[dict[str, Any]], metric: str) -> list[_Column]:
    """Everything there is to show."""
    own = [name for name in rows[0] if not name.startswith(metric)] if rows else []
    heads = short_names(own)
    columns = [
        _Column(name, heads[name], [shown(row[name]) for row in rows], name == "algorithm")
        for name in own
    ]
    for figure, head in _FIGURES.items():
        key = f"{metric}_{figure}"
        values = [row[key] for row in rows]
        cells = ["none" if value is None else f"{value:.3g}" for value in values]
        columns.append(_Column(key, head, cells, left=False))
    return columns


def short_names(names: list[str]) -> dict[str, str]:
    """The last parts of dotted names, as few as tell them apart."""
    found = {}
    for name in names:
        parts = name.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        others = [other for other in names if other != name]
        clear = (e for e in ends if not any(f".{other}".endswith(f".{e}") for other in others))
        found[name] = next(clear, name)
    return found


def _twins(columns: list[_Column], metric: str) -> list[str]:
    """Labels that say what another one says: keys of a named point, numbers of random samples."""
    no_labels = "configuration", "algorithm", "runs", "failed"
    own = [column for column in columns if not column.key.startswith(metric)]
    labels = [column for column in own if column.key not in no_labels]
    told: list[str] = []
    while labels:
        first, *labels = labels
        same = [other.key for other in labels if _tell_the_same(first, other)]
        labels = [other for other in labels if other.key not in same]
        numbers = all(cell.isdigit() for cell in first.cells)
        told += [first.key] if numbers and same else same
    return told


def _tell_the_same(first: _Column, other: _Column) -> bool:
    pairs = set(zip(first.cells, other.cells, strict=True))
    return len(set(first.cells)) == len(set(other.cells)) == len(pairs) > 1


def _table(
    columns: list[_Column],
    title: str,
    label_width: int,
    left_out: list[str] | None = None,
    *,
    narrow: bool = False,
    cut: bool = False,
) -> Table:
    """Columns that are as wide as their words; `cut` cells end where the width of a label does."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    if narrow:
        table.padding = (0, 1, 0, 0)
    if left_out:
        table.caption = f"{LEFT_OUT}: {', '.join(left_out)}"
        table.caption_justify = "left"
    for column in columns:
        head = column.head.replace(".", ".\n") if narrow and "%" not in column.head else column.head
        least = 0 if narrow or column.head not in _FIGURES.values() else len("-1.23e-10")
        table.add_column(
            head, justify="left" if column.left else "right", no_wrap=True, min_width=least
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(in_words(cell, label_width, cut) for cell in cells))
    return table
