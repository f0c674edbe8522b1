"""The command `dpe bench`."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax.arguments import BENCH_PARTS
from dpe_jax.bench import parts, sheets
from dpe_jax.bench.gpu import cuda_device
from dpe_jax.errors import InputError, InterruptedRunError
from dpe_jax.folder import write_json

_TURNS, _QUICK_TURNS = 5, 1


def run_bench(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe bench`: one JSON file and one chart a part, written as soon as it is measured."""
    chosen = _chosen(options)
    out = _folder(options.out)
    turns = options.turns or (_QUICK_TURNS if options.quick else _TURNS)
    reports: dict[str, Any] = {}
    drawn: list[str] = []
    try:
        for part in chosen:
            reports[part] = parts.measure(
                part, turns, options.quick, lambda said, part=part: log.print(f"{part}: {said}")
            )
            if options.quick:
                reports[part]["quick"] = True
            write_json(out / f"{part}.json", reports[part])
            if not options.no_figures:
                from dpe_jax.bench.figures import draw

                drawn += [str(path) for path in draw(part, reports[part], out)]
            if screen:
                show(screen, part, reports[part])
    except KeyboardInterrupt as error:
        kept = f"finished parts are in {out}" if set(reports) else "nothing was finished"
        raise InterruptedRunError(kept) from error
    if screen:
        if options.quick:
            screen.print("quick: sizes that show whether it works, too small to compare by")
        screen.print(f"written to {out}", soft_wrap=True)
    return 0, {"folder": str(out), "figures": drawn, "parts": reports}


def show(screen: Console, part: str, report: dict[str, Any]) -> None:
    """The tables of one part, in 80 columns."""
    for sheet in sheets.sheets(part, report):
        head, *others = sheet.columns
        table = Table(
            title=sheet.title, title_justify="left", title_style="", box=box.SIMPLE_HEAD,
            show_edge=False, pad_edge=False, width=None,
        )  # fmt: skip
        table.add_column(head, overflow="fold", max_width=34)
        for name in others:
            table.add_column(name, justify="right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*row)
        screen.print(table, "")
    if "integers_equal" in report:
        equal, count = report["integers_equal"], report["integers"]
        screen.print(f"{equal:,} of {count:,} integers of the last states are equal", "")


def _chosen(options: argparse.Namespace) -> list[str]:
    """The parts, on a device that there is."""
    if not options.gpu:
        # Whatever else the machine has, these are measured on the CPU.
        jax.config.update("jax_platforms", "cpu")
        return list(dict.fromkeys(options.only or BENCH_PARTS))
    if options.only is not None:
        raise InputError("--only", ",".join(options.only), "nothing: --gpu is a part of its own")
    cuda_device()
    return ["gpu"]


def _folder(given: str | None) -> Path:
    """Where results go; files of the same names are replaced, and no others."""
    out = Path(given or f"dpe-results/bench-{time.strftime('%Y-%m-%d')}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", str(out), f"a writable folder ({error.strerror})") from error
    if not os.access(out, os.W_OK):
        raise InputError("--out", str(out), "a writable folder")
    return out
