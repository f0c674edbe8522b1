"""What `dpe run` is asked for: a run, more runs of a result, or runs to a target."""

import argparse
import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from dpe_jax import experiment
from dpe_jax.config import Config
from dpe_jax.errors import InputError, InterruptedRunError, TogetherError
from dpe_jax.experiment import Outcome
from dpe_jax.extend import add_runs
from dpe_jax.folder import MANIFEST
from dpe_jax.options import changes
from dpe_jax.progress import Bars
from dpe_jax.results import load
from dpe_jax.unfinished import Mode, settle, unfinished
from dpe_jax.until import MOST_RUNS, Target, Width, run_until

_CONFIG = "PRESET|CONFIG"


def run_asked(options: argparse.Namespace, log: Console) -> tuple[Outcome, dict[str, Any] | None]:
    """The outcome, and whether a target was reached, if one was given."""
    asked = [name for name in ("add_runs", "until") if getattr(options, name) is not None]
    if len(asked) > 1:
        raise TogetherError("--add-runs", options.add_runs, "not together with --until")
    for name in ("metric", "method", "max_runs"):
        if getattr(options, name) is not None and options.until is None:
            shown = f"--{name.replace('_', '-')}"
            raise TogetherError(shown, getattr(options, name), "only together with --until")
    with going_on(options, "--resume"), Bars(log) as bars:
        common: dict[str, Any] = {
            "check": options.check,
            "progress": bars,
            "mode": asked_mode(options),
            "checkpoint_seconds": options.checkpoint_seconds,
        }
        source = _finished_folder(options) if asked else None
        if options.add_runs is not None:
            out = Path(options.out) if options.out else None
            source = source or _source(options, out)
            return add_runs(
                source, options.add_runs, out, overwrite=options.overwrite, **common
            ), None
        config = load(source).config if source else _config(options)
        if source and options.out:
            raise TogetherError("--out", options.out, "not together with --until and a folder")
        out = source or (Path(options.out) if options.out else experiment.default_folder(config))
        overwrite = experiment.replaces(out, config, options.overwrite, not options.out)
        if options.until is None:
            return experiment.run(config, out, overwrite=overwrite, **common), None
        return _until(options, config, out, {"overwrite": overwrite, **common}, log)


def asked_mode(options: argparse.Namespace) -> Mode:
    """What to do about an unfinished result."""
    modes: tuple[Mode, ...] = ("repair", "resume", "restart")
    given: list[Mode] = [name for name in modes if getattr(options, name)]
    if options.restart and len(given) > 1:
        raise TogetherError(f"--{given[0]}", True, "not together with --restart")
    return given[0] if given else "refuse"


def mode_of(out: Path, restart: bool, *, finished: bool = False) -> Mode:
    """That of commands that go on by themselves; a `finished` result is taken as it is."""
    if restart:
        return "restart"
    return "resume" if finished or unfinished(out) else "refuse"


@contextlib.contextmanager
def going_on(options: argparse.Namespace, *flags: str) -> Iterator[None]:
    """Where an interrupt leaves something to go on from, say with which command."""
    try:
        yield
    except InterruptedRunError as stop:
        ways = ("--resume", "--repair", "--restart")
        again = ["dpe", *(word for word in options.arguments if word not in ways), *flags]
        raise KeyboardInterrupt(f"{stop}; this goes on: {shlex.join(again)}") from stop


def _config(options: argparse.Namespace) -> Config:
    return experiment.override(experiment.find_config(options.config), changes(options))


def _finished_folder(options: argparse.Namespace) -> Path | None:
    """The folder that is given in place of a configuration, if there is a result in it."""
    path = Path(options.config)
    if options.config and not options.config.endswith(".toml"):
        settle(path)
    try:
        if not (path / MANIFEST).is_file():
            return None
    except OSError:
        # A name that is too long for a file is none.
        return None
    for name, value in changes(options).items():
        accepted = "not together with a folder with a result"
        raise TogetherError(f"--{name}", value, accepted)
    return path


def _source(options: argparse.Namespace, out: Path | None) -> Path:
    """Where the result of a configuration is that runs are added to."""
    config = _config(options)
    folders = [*([out] if out else []), experiment.default_folder(config)]
    for folder in folders:
        settle(folder)
        if (folder / MANIFEST).is_file():
            stored = load(folder).config
            if experiment.override(stored, {"runs": config.runs}) == config:
                return folder
    accepted = f"a finished result of these settings in {' or '.join(map(str, folders))}"
    raise InputError("--add-runs", options.add_runs, accepted)


def target_of(options: argparse.Namespace) -> Target:
    """half-width=0.01, or half-width=1% of the mean."""
    found = re.fullmatch(r"half-width=([0-9.eE+-]+)(%?)", options.until)
    try:
        value = float(found[1]) if found else 0.0
    except ValueError:
        value = 0.0
    if found is None or not 0 < value < float("inf"):
        raise InputError("--until", options.until, "such as half-width=0.01, or half-width=1%")
    metric = options.metric or Target.metric
    relative = found[2] == "%"
    return Target(value / 100 if relative else value, relative, metric, options.method)


def _until(
    options: argparse.Namespace, config: Config, out: Path, common: dict[str, Any], log: Console
) -> tuple[Outcome, dict[str, Any]]:
    target = target_of(options)

    def told(found: tuple[Width, ...], runs: int) -> None:
        shown = ", ".join(f"{width.method} {width.half:.3g}" for width in found)
        log.print(f"{runs} runs: half-widths of {target.metric}: {shown} (asked: {target})")

    most = MOST_RUNS if options.max_runs is None else options.max_runs
    try:
        found = run_until(config, out, target, most=most, told=told, **common)
    except InputError as error:
        if error.argument not in ("metric", "method", "max_runs"):
            raise
        shown = f"--{error.argument.replace('_', '-')}"
        raise InputError(shown, error.value, error.accepted) from error
    runs = found.outcome.stored.config.runs
    if not found.reached:
        log.print(f"not reached with {runs} runs (--max-runs {most})", style="yellow")
    return found.outcome, {
        "metric": target.metric,
        "asked": str(target),
        "reached": found.reached,
        "runs": runs,
        "half_widths": {width.method: width.half for width in found.widths},
    }
