"""What each command of `dpe` does, and how it is shown."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast, final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dpe_jax import certificates, comparisons, experiment, replays, running
from dpe_jax.audit_commands import run_audit
from dpe_jax.bench_commands import run_bench
from dpe_jax.compilation import keep_programs
from dpe_jax.errors import ReaderLeftError
from dpe_jax.folder import jsonable
from dpe_jax.options import LEFT_OUT, in_words, measured, tell, warn
from dpe_jax.report_commands import run_report
from dpe_jax.results import load
from dpe_jax.summary import Check
from dpe_jax.sweep_commands import plot_sweep, refuse_sweep_options, run_sweep_command

_COLUMNS = (
    ("F(x̄) − F*", "gap_mean_state", "mean"),
    ("5 %", "gap_mean_state", "low"),
    ("95 %", "gap_mean_state", "high"),
    ("max error", "error_worst_agent", "mean"),
    ("consensus", "consensus_error", "mean"),
    ("F(x̄)", "objective", "mean"),
    ("‖∇F(x̄)‖", "stationarity", "mean"),
)
"""Shown where they were recorded."""

_NAME = 16
"""Letters of a method's name in a line of a narrow table; it is broken at hyphens first."""

_TEST_COLUMNS = (
    ("accuracy", "test_accuracy"),
    ("area under ROC", "test_auc"),
    ("average precision", "test_average_precision"),
    ("squared error", "test_error"),
)


def run(options: argparse.Namespace) -> int:
    """Run the parsed command; returns the exit status."""
    # On a terminal, lines are broken between words; elsewhere a message is one line.
    narrow = sys.stderr.isatty()
    log = _Console(
        file=cast(IO[str], _Stderr()), highlight=False, markup=False, soft_wrap=not narrow
    )
    command = {
        "presets": _presets,
        "plot": _plot,
        "sweep": run_sweep_command,
        "run": _run,
        "compare": comparisons.run_compare,
        "certify": certificates.run_certify,
        "audit": run_audit,
        "bench": run_bench,
        "report": run_report,
        "reproduce": _reproduce,
        "verify": replays.run_verify,
        "cost": replays.run_cost,
    }
    if options.command != "bench":
        # What it times is to be compiled.
        keep_programs()
    if not options.json:
        return command[options.command](options, log, _screen())[0]
    # Whatever a library prints meanwhile goes to stderr: stdout is for the one object.
    with contextlib.redirect_stdout(sys.stderr):
        status, report = command[options.command](options, log, None)
    json.dump(jsonable(report), sys.stdout, allow_nan=False)
    sys.stdout.write("\n")
    sys.stdout.flush()
    return status


def _screen() -> Console:
    """Standard output; where it is no terminal, as wide as COLUMNS says, or as tables are."""
    asked = os.environ.get("COLUMNS", "")
    width = None if sys.stdout.isatty() or (asked.isdecimal() and int(asked) > 0) else 120
    return _Console(highlight=False, markup=False, width=width)


@final
class _Console(Console):
    """One whose reader may leave: Rich would end the program as if a check had failed."""

    def on_broken_pipe(self) -> None:
        """Leave it to the program."""
        raise BrokenPipeError


@final
class _Stderr:
    """Where it is said what the work does: a line that cannot be written is left out.

    On a full disk what is computed matters more. A reader that leaves is another matter, and no
    `OSError`, which whoever writes a folder would take for one of that folder.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr

    def write(self, text: str) -> int:
        """Write what can be written; ReaderLeftError if nobody reads it."""
        with self._failing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Likewise."""
        with self._failing():
            self._stream.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise ReaderLeftError from error
        except OSError:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _presets(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    known = experiment.presets()
    if screen:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("preset", no_wrap=True)
        for heading in ("runs", "iterations"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("description")
        for name, config in known.items():
            table.add_row(name, str(config.runs), str(config.iterations), config.description)
        screen.print(table)
    return 0, {
        name: {
            "description": config.description,
            "runs": config.runs,
            "iterations": config.iterations,
            "methods": list(config.methods),
        }
        for name, config in known.items()
    }


def _plot(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    stored = load(Path(options.folder))
    out = Path(options.out) if options.out else stored.path / "figures"
    if stored.config.sweep is not None:
        drawn = [str(path) for path in plot_sweep(stored.curves, out, options)]
    else:
        refuse_sweep_options(options)
        drawn = _draw(stored, out)
    if screen:
        screen.print("\n".join(drawn), soft_wrap=True)
    return 0, {"figures": drawn}


def _run(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    outcome, until = running.run_asked(options, log)
    out = outcome.stored.path
    warn(log, outcome)
    if not outcome.new:
        log.print(f"{out} has this result already, of {outcome.stored.manifest['written']}")
    if screen:
        _show(screen, outcome)
        _show_checks(screen, outcome.checks)
        if outcome.new:
            screen.print(f"written to {out}", soft_wrap=True)
    figures = []
    if not options.no_figures and (outcome.new or not (out / "figures").is_dir()):
        figures = _draw(outcome.stored, out / "figures")
    passed = all(check.passed for check in outcome.checks) and (not until or until["reached"])
    report = _report(outcome, figures) | ({} if until is None else {"until": until})
    return 0 if passed else 1, report


def _reproduce(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    # Its parts import much that no other command needs.
    from dpe_jax.reproduce_commands import run_reproduce

    return run_reproduce(options, log, screen)


def _draw(stored: Any, out: Path) -> list[str]:
    from dpe_jax import figures

    return [str(path) for path in figures.draw(stored, out)]


def _report(outcome: experiment.Outcome, figures: list[str]) -> dict[str, Any]:
    stored = outcome.stored
    return {
        "folder": str(stored.path),
        "config_hash": stored.manifest["config_hash"],
        "seconds": stored.manifest["seconds"],
        "figures": figures,
        **stored.summary,
    }


def _show(console: Console, outcome: experiment.Outcome) -> None:
    """The table of a finished experiment."""
    summary, manifest = outcome.stored.summary, outcome.stored.manifest
    title = f"{manifest['name']}: {summary['runs']} runs at k = {summary['iterations']}"
    console.print(final_table(summary, title, console.width))
    for name, budget in manifest.get("budget", {}).items():
        if budget is not None:
            tell(
                console,
                f"{name}: spends ε = {budget['total']:.4g} over the run, for one agent's cost, "
                "under the assumptions in manifest.json",
            )
    tests = _recorded(summary)
    _show_test(console, summary, [column for column in _TEST_COLUMNS if column[1] in tests])
    asked = outcome.stored.config.checks.decay_from is not None
    for name, method in summary["methods"].items():
        decay = method["decay"]
        if decay is not None and asked:
            tell(
                console,
                f"{name}: max ‖x_i − x*‖ falls like k^−{decay['exponent']:.3f} "
                f"[{decay['low']:.3f}, {decay['high']:.3f}] (k = {decay['first']} … "
                f"{decay['last']}, {decay['runs']} runs), predicted in the limit "
                f"k^−{method['predicted_exponent']:.3f}",
            )


def _recorded(summary: dict[str, Any]) -> set[str]:
    return {metric for method in summary["methods"].values() for metric in method["final"]}


def final_table(summary: dict[str, Any], title: str, width: int) -> Table:
    """Methods at the last iteration; the last columns are left out where there is no room."""
    columns = [column for column in _COLUMNS if column[1] in _recorded(summary)]
    table = _final_table(summary, title, columns)
    count = len(columns)
    while measured(table) > width and count > 1:
        table = _final_table(summary, title, columns[:count], _NAME)
        if count < len(columns):
            table.caption = f"{LEFT_OUT}: {', '.join(head for head, _, _ in columns[count:])}"
            table.caption_justify = "left"
        count -= 1
    return table


def _final_table(
    summary: dict[str, Any],
    title: str,
    columns: list[tuple[str, str, str]],
    name_width: int | None = None,
) -> Table:
    """With names of methods over several lines if they have a width."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    if name_width is not None:
        table.padding = (0, 1, 0, 0)
    table.add_column("method", no_wrap=True)
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ok", justify="right", no_wrap=True)
    for name, method in summary["methods"].items():
        cells = [_number(method["final"][metric][figure]) for _, metric, figure in columns]
        ok = method["status"]["ok"]
        shown = name if name_width is None else in_words(name, name_width)
        table.add_row(shown, *cells, "all" if ok == summary["runs"] else str(ok))
    return table


def _show_test(console: Console, summary: dict[str, Any], columns: list[tuple[str, str]]) -> None:
    """How the mean state does on the test set, if there is one."""
    if not columns:
        return
    table = held_out_table(summary, columns)
    console.print(
        table if measured(table) <= console.width else held_out_table(summary, columns, True)
    )


def held_out_table(
    summary: dict[str, Any], columns: list[tuple[str, str]], narrow: bool = False
) -> Table:
    """Methods by metrics; `narrow` with what 5 – 95 % of runs have below each mean."""
    title = "x̄ on the test set: mean, and 5 – 95 % of runs"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, method in summary["methods"].items():
        cells = [_share(method["final"][metric], "\n" if narrow else " ") for _, metric in columns]
        table.add_row(in_words(name, _NAME) if narrow else name, *cells)
    return table


def _share(final: dict[str, Any], beside: str) -> str:
    if final["mean"] is None:
        return "none"
    return f"{final['mean']:.4f}{beside}({final['low']:.3f} – {final['high']:.3f})"


def _show_checks(console: Console, made: list[Check]) -> None:
    for check in made:
        mark = Text("pass", "green") if check.passed else Text("FAIL", "red")
        console.print(mark, f"{check.name}: {check.detail}", soft_wrap=not console.is_terminal)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2e}"
