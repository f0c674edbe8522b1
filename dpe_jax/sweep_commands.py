"""What commands show of a sweep."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from dpe_jax.errors import InputError
from dpe_jax.sweep_statistics import metrics, shown

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
    at: dict[str, str] = {}
    labels = sorted(map(str, dataset.coords), key=len, reverse=True)
    for text in options.at or ():
        # A label may have a "=" in it.
        label = next((name for name in labels if text.startswith(f"{name}=")), text.split("=")[0])
        if label in at:
            raise InputError("--at", text, f"one value of {label}")
        at[label] = text[len(label) + 1 :]
    return sweep_figures.draw_sweep(
        dataset, out, options.x, options.y, options.metric, options.algorithm, at
    )


def final_table(rows: list[dict[str, Any]], metric: str, title: str) -> Table:
    """Rows of `sweep_statistics.final_table`, for the terminal."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    figures = ("mean", "low", "high")
    own = [name for name in rows[0] if not name.startswith(metric)] if rows else []
    for name in own:
        table.add_column(name, justify="left" if name == "algorithm" else "right", no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        values = [row[f"{metric}_{name}"] for name in figures]
        numbers = ["none" if value is None else f"{value:.3g}" for value in values]
        table.add_row(*(shown(row[name]) for name in own), *numbers)
    return table
