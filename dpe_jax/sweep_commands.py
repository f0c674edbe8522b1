"""What commands show of a sweep."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax import experiment, sweep_run
from dpe_jax.distributed import WHOLE, Part, joined
from dpe_jax.errors import InputError, TogetherError
from dpe_jax.folder import MANIFEST, SUMMARY
from dpe_jax.observe import METRICS
from dpe_jax.options import changes
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


_LABEL_WIDTH = 24
"""Of a label's column on the terminal; longer ones go over several lines."""

_MOST_ROWS = 40
"""Of the table on the terminal; summary.json has them all."""


def _show(screen: Console, stored: Stored, metric: str) -> None:
    rows = stored.summary["final"][metric]
    title = f"{stored.manifest['name']}: {metric} at k = {stored.summary['iterations']}"
    screen.print(final_table(rows[:_MOST_ROWS], metric, title))
    if len(rows) > _MOST_ROWS:
        screen.print(f"and {len(rows) - _MOST_ROWS} more rows in {stored.path / SUMMARY}")


def final_table(rows: list[dict[str, Any]], metric: str, title: str) -> Table:
    """Rows of `sweep_statistics.final_table`, for the terminal."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    figures = ("mean", "standard_error", "low", "high")
    heads = ("mean", "std. error", f"{100 * LOW:g} %", f"{100 * HIGH:g} %")
    own = [name for name in rows[0] if not name.startswith(metric)] if rows else []
    for name in own:
        justify = "left" if name == "algorithm" else "right"
        table.add_column(name, justify=justify, overflow="fold", max_width=_LABEL_WIDTH)
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True, min_width=len("-1.23e-10"))
    for row in rows:
        values = [row[f"{metric}_{name}"] for name in figures]
        numbers = ["none" if value is None else f"{value:.3g}" for value in values]
        table.add_row(*(shown(row[name]) for name in own), *numbers)
    return table
