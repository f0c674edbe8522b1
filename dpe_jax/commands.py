"""What each command of `dpe` does, and how it is shown."""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dpe_jax import article, certificates, comparisons, experiment, replays, running
from dpe_jax.audit_commands import run_audit
from dpe_jax.bench_commands import run_bench
from dpe_jax.compilation import keep_programs
from dpe_jax.config import Config
from dpe_jax.diary import Diary
from dpe_jax.errors import InputError
from dpe_jax.folder import jsonable, write_json
from dpe_jax.options import changes, warn
from dpe_jax.progress import Bars
from dpe_jax.report_commands import run_report
from dpe_jax.results import holds, load
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

_TEST_COLUMNS = (
    ("accuracy", "test_accuracy"),
    ("area under ROC", "test_auc"),
    ("average precision", "test_average_precision"),
    ("squared error", "test_error"),
)


def run(options: argparse.Namespace) -> int:
    """Run the parsed command; returns the exit status."""
    log = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
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
    """Standard output; where it is no terminal, wide enough that no table is cut."""
    width = None if sys.stdout.isatty() else 120
    return Console(highlight=False, markup=False, width=width)


def _presets(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    known = experiment.presets()
    if screen:
        table = Table("preset", "runs", "iterations", "description")
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
    known = experiment.presets()
    names = list(dict.fromkeys(options.only or (name for name in known if name != _AUDITED)))
    for name in names:
        if name not in known:
            raise InputError("--only", name, f"one of {', '.join(known)}")
    seconds = options.verify_seconds
    configs = {
        name: _traced(experiment.override(known[name], changes(options)), seconds) for name in names
    }
    out = Path(options.out) if options.out else Path("dpe-results") / "reproduce"
    made: list[Check] = []
    reports: dict[str, Any] = {}
    diary = Diary(out, configs)
    for name, config in configs.items():
        log.print(f"{name}: {config.description}")
        with running.going_on(options), Bars(log) as bars:
            outcome = experiment.run(
                config,
                out / name,
                overwrite=options.overwrite or holds(out / name, config),
                check=True,
                progress=bars,
                # What an interrupted reproduction has finished is not done once more.
                mode=running.mode_of(out / name, options.restart, finished=diary.has(name)),
            )
        diary.add(name)
        if not outcome.new:
            log.print(f"{name}: finished before the interruption")
        warn(log, outcome)
        if screen:
            _show(screen, outcome)
        figures = _draw(outcome.stored, out / name / "figures")
        made += [Check(f"{name}: {check.name}", *check[1:]) for check in outcome.checks]
        reports[name] = _report(outcome, figures)
        if config.checks.certify is not None:
            reports[name]["certificate"] = certificates.made(outcome.stored, screen)
        if seconds and outcome.stored.traces():
            log.print(f"{name}: {_REPLAYED} runs once more, with 2048-bit Paillier encryption")
            report = replays.replay_within(outcome.stored, seconds / len(configs), log)
            if screen:
                replays.show_report(screen, report)
            made.append(Check(f"{name}: replay", report.verified, replays.verdict(report)))
            reports[name]["verification"] = report.to_dict()
    tables = article.tables()
    made += article.checks(tables)
    if screen:
        _show_article(screen, tables)
        _show_checks(screen, made)
    passed = all(check.passed for check in made)
    report = {
        "presets": reports,
        "article": tables,
        "checks": [check._asdict() for check in made],
        "passed": passed,
    }
    diary.close()
    try:
        write_json(out / "article.json", {"tables": tables, "checks": report["checks"]})
    except OSError as error:
        raise InputError("--out", str(out), f"a writable folder ({error.strerror})") from error
    if screen:
        screen.print(f"written to {out}", soft_wrap=True)
    return 0 if passed else 1, report


_AUDITED = "audit"
"""The preset that is for `dpe audit`; it is simulated if it is named."""

_REPLAYED = 2
"""Runs of each preset that are replayed with encryption."""


def _traced(config: Config, seconds: float) -> Config:
    """With the first runs traced, if they are to be replayed."""
    first = list(range(min(_REPLAYED, config.runs)))
    return experiment.override(config, {"trace": first}) if seconds else config


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
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("method", no_wrap=True)
    recorded = {metric for method in summary["methods"].values() for metric in method["final"]}
    columns = [column for column in _COLUMNS if column[1] in recorded]
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ok", justify="right", no_wrap=True)
    for name, method in summary["methods"].items():
        cells = [_number(method["final"][metric][figure]) for _, metric, figure in columns]
        ok = method["status"]["ok"]
        table.add_row(name, *cells, "all" if ok == summary["runs"] else str(ok))
    console.print(table)
    for name, budget in manifest.get("budget", {}).items():
        if budget is not None:
            console.print(
                f"{name}: spends ε = {budget['total']:.4g} over the run, for one agent's cost, "
                "under the assumptions in manifest.json",
                soft_wrap=True,
            )
    _show_test(console, summary, [column for column in _TEST_COLUMNS if column[1] in recorded])
    asked = outcome.stored.config.checks.decay_from is not None
    for name, method in summary["methods"].items():
        decay = method["decay"]
        if decay is not None and asked:
            console.print(
                f"{name}: max ‖x_i − x*‖ falls like k^−{decay['exponent']:.3f} "
                f"[{decay['low']:.3f}, {decay['high']:.3f}] (k = {decay['first']} … "
                f"{decay['last']}, {decay['runs']} runs), predicted in the limit "
                f"k^−{method['predicted_exponent']:.3f}",
                soft_wrap=True,
            )


def _show_test(console: Console, summary: dict[str, Any], columns: list[tuple[str, str]]) -> None:
    """How the mean state does on the test set, if there is one."""
    if not columns:
        return
    title = "x̄ on the test set: mean, and 5 – 95 % of runs"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, method in summary["methods"].items():
        cells = [_share(method["final"][metric]) for _, metric in columns]
        table.add_row(name, *cells)
    console.print(table)


def _share(final: dict[str, Any]) -> str:
    if final["mean"] is None:
        return "none"
    return f"{final['mean']:.4f} ({final['low']:.3f} – {final['high']:.3f})"


def _show_article(console: Console, tables: dict[str, Any]) -> None:
    """The article's two tables, by formula and by measurement."""
    table = Table(title="E‖ξ_i‖² at d = 1, δ = 0.01 (complete graph, w = 1)")
    for heading in ("n", "article", "½(n−1)²dδ²", "measured", "± s.e."):
        table.add_column(heading, justify="right")
    for row in tables["quantization_bound"]:
        table.add_row(
            str(row["agents"]),
            f"{row['article']:.5f}" + (" misprint" if row["misprint"] else ""),
            f"{row['formula']:.5f}",
            f"{row['measured']:.6f}",
            f"{row['standard_error']:.1e}",
        )
    console.print(table)
    table = Table(title="‖W̄^k‖ at μ = 0.5, γ = 1/(k+1)")
    for heading in ("k", "article", "1 − μγ", "measured"):
        table.add_column(heading, justify="right")
    for row in tables["contraction"]:
        table.add_row(
            str(row["k"]),
            f"{row['article']:.3f}",
            f"{row['formula']:.3f}",
            f"{row['measured']:.6f}",
        )
    console.print(table)


def _show_checks(console: Console, made: list[Check]) -> None:
    for check in made:
        mark = Text("pass", "green") if check.passed else Text("FAIL", "red")
        console.print(mark, f"{check.name}: {check.detail}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2e}"
