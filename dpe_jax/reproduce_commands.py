"""The command `dpe reproduce`: figures and tables of what an article tells of the paper."""

import argparse
import contextlib
import shlex
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dpe_jax.errors import TogetherError
from dpe_jax.folder import MANIFEST, read_json
from dpe_jax.report import claimed
from dpe_jax.report.entries import Part
from dpe_jax.report.folders import Folder
from dpe_jax.reproduce.again import command
from dpe_jax.reproduce.part import Scale, Settings
from dpe_jax.reproduce.parts import PARTS
from dpe_jax.reproduce.settings import load
from dpe_jax.reproduce.whole import reproduce

_WIDTH = 80


def run_reproduce(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe reproduce`."""
    scale = _scale(options)
    if options.resume and options.overwrite:
        raise TogetherError("--overwrite", True, "not together with --resume")
    names = [name for name in PARTS if not options.only or name in options.only]
    settings = {name: load(name, PARTS[name].Settings, scale, options.seed) for name in names}
    out = Path(options.out) if options.out else _default_folder(scale)
    if options.resume and not out.is_dir():
        log.print(f"nothing is in {out} yet: it begins")
    bar = Bar(log, settings, screen)
    with _going_on(options, out, bar), bar:
        record = reproduce(
            out,
            PARTS,
            settings,
            scale,
            bar,
            order=list(PARTS),
            resume=options.resume,
            overwrite=options.overwrite,
        )
    if screen:
        _show(screen, out, record)
    parts = {name: read_json(out / name / MANIFEST) for name in record["parts"]}
    found = {"folder": str(out), **record, "warnings": bar.warnings, "reports": parts}
    return 0 if record["passed"] else 1, found


def _scale(options: argparse.Namespace) -> Scale:
    if options.quick and options.full:
        raise TogetherError("--full", True, "not together with --quick")
    return "quick" if options.quick else "full" if options.full else "default"


def _default_folder(scale: Scale) -> Path:
    name = "reproduce" if scale == "default" else f"reproduce-{scale}"
    return Path("dpe-results") / name


@contextlib.contextmanager
def _going_on(options: argparse.Namespace, out: Path, bar: "Bar") -> Iterator[None]:
    """Say with an interrupt which command goes on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if options.overwrite and not bar.is_recorded:
            again = shlex.join(["dpe", *options.arguments])
            raise KeyboardInterrupt(f"nothing was begun; this begins it: {again}") from stop
        words = [word for word in options.arguments if word not in ("--resume", "--overwrite")]
        again = shlex.join(["dpe", *words, "--resume"])
        kept = str(stop) or f"what is finished is kept in {out}"
        raise KeyboardInterrupt(f"{kept}; this goes on: {again}") from stop


class Bar:
    """One progress bar over all parts on stderr, and what each of them has found.

    Where stderr is no terminal there is no bar, and a line for each part instead.
    """

    def __init__(
        self, log: Console, settings: Mapping[str, Settings], screen: Console | None
    ) -> None:
        self._log, self._screen = log, screen
        self._seconds = {name: part.seconds for name, part in settings.items()}
        self._before, self._begun = 0.0, False
        self.is_recorded = False
        self.warnings: list[str] = []
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=log,
            disable=not log.is_terminal,
        )
        self._task = self._progress.add_task("", total=sum(self._seconds.values()))

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._progress.stop()

    def recorded(self) -> None:
        """From now on an interrupted call can be gone on with."""
        self.is_recorded = True

    def begins(self, name: str, kept: bool) -> None:
        """Name the part beside the bar."""
        place = f"{list(self._seconds).index(name) + 1}/{len(self._seconds)}"
        if not self._begun and not kept:
            self._begun = True
            left = sum(self._seconds.values()) - self._before
            told = f"{left / 60:.0f} minutes" if left >= 90 else f"{max(2.0, left):.0f} seconds"
            self._log.print(f"by experience this takes {told} on two cores")
        self._progress.update(self._task, description=f"{place} {name}")
        if not self._log.is_terminal and not kept:
            self._log.print(f"{place} {name} …")

    def is_at(self, name: str, fraction: float) -> None:
        """Move the bar; it never goes back."""
        done = self._before + self._seconds[name] * fraction
        task = self._progress.tasks[0]
        self._progress.update(self._task, completed=max(task.completed, done))

    def ends(self, name: str, manifest: Mapping[str, Any], kept: bool) -> None:
        """A line with the part's title, time and checks, and one for each check that failed."""
        self._before += self._seconds[name]
        self._progress.update(self._task, completed=self._before)
        checks = manifest["checks"]
        passed = sum(check["passed"] for check in checks)
        took = "finished before" if kept else f"{manifest['seconds']:.1f} s"
        self._log.print(f"{name}: {took}, {passed} of {len(checks)} checks passed")

    def log(self, line: str) -> None:
        """A line above the bar."""
        is_warning = line.startswith("warning: ")
        if is_warning:
            self.warnings.append(line.removeprefix("warning: "))
        self._log.print(line, style="yellow" if is_warning else "")


def _show(screen: Console, out: Path, record: Mapping[str, Any]) -> None:
    """What each part is, took and found; checks; what is missing; and where it all is."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("part", no_wrap=True)
    table.add_column("what", min_width=30)
    for heading in ("seconds", "checks"):
        table.add_column(heading, justify="right", no_wrap=True)
    manifests = {name: read_json(out / name / MANIFEST) for name in record["parts"]}
    for name, manifest in manifests.items():
        checks = [check["passed"] for check in manifest["checks"]]
        told = f"{sum(checks)} of {len(checks)}"
        style = "" if all(checks) else "red"
        seconds = f"{manifest['seconds']:.1f}"
        table.add_row(name, manifest["title"], seconds, Text(told, style))
    screen.print(table, width=min(_WIDTH, screen.width))
    screen.print()
    for check in record["checks"]:
        mark = Text("pass ", "green") if check["passed"] else Text("FAIL ", "red")
        # The numbers of those that hold are in the manifest.
        told = f"{check['part']}: {check['name']}"
        told += "" if check["passed"] else f": {check['detail']}"
        lines = textwrap.wrap(told, _WIDTH - 5)
        screen.print(mark.append(Text(f"\n{' ' * 5}".join(lines), "default")), soft_wrap=True)
    failed = sum(not check["passed"] for check in record["checks"])
    total = len(record["checks"])
    verdict = f"{failed} of {total} checks FAILED" if failed else f"all {total} checks passed"
    took = f"{record['wall_seconds']:.0f} s, {record['seconds']:.0f} s in the parts"
    screen.print(f"\n{verdict}; {took}")
    missing = [
        name for name in record["asked"] if name not in record["parts"] or name in record["anew"]
    ]
    if missing:
        again = command(out, record["scale"], record["seed"], record["asked"])
        screen.print(f"not finished: {', '.join(missing)}; this goes on: {again}", soft_wrap=True)
    for line in _claims(out, record):
        lines = textwrap.wrap(line, _WIDTH, subsequent_indent="    ")
        screen.print("\n".join(lines), soft_wrap=True)
    screen.print(f"written to {out} (manifest.json has the numbers of every check)", soft_wrap=True)


def _claims(out: Path, record: Mapping[str, Any]) -> list[str]:
    """Which of the article's privacy claims hold; nothing where all do, or without that part."""
    if claimed.PART not in record["parts"]:
        return []
    folder = Folder(out / claimed.PART)
    found = claimed.claims(folder, folder.model(MANIFEST, Part))
    against = [f"  {one.name}: {one.detail}" for one in found if not one.holds]
    held = f"{len(found) - len(against)} of {len(found)}"
    told = (
        f"{held} of the article's privacy claims hold when measured (reconstructed protocol); not:"
    )
    return [told, *against] if against else []
