"""Progress on a terminal: one bar a method, with rate and time left, on stderr."""

import types

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Bars:
    """A progress callback for simulations; quiet where stderr is no terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """`done` more lane-iterations of `total` for the method `name`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, rate="")
        task = self._tasks[name]
        self._progress.update(task, advance=done)
        shown = next(shown for shown in self._progress.tasks if shown.id == task)
        # From the start of the method, compilation included: windows are too short for bursts.
        rate = shown.completed / shown.elapsed / 1e6 if shown.elapsed else 0.0
        self._progress.update(task, rate=f"{rate:.1f} M run-steps/s" if rate else "")
