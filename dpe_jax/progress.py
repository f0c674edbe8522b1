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
    """A progress callback; quiet where stderr is no terminal.

    `unit` is what one step of progress is called in a rate, or "M …" for a million of them.
    """

    def __init__(self, console: Console, unit: str = "M run-steps") -> None:
        self._unit, self._size = unit, 1e6 if unit.startswith("M ") else 1.0
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
        """`done` more steps of `total` for the method `name`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, rate="")
        task = self._tasks[name]
        self._progress.update(task, advance=done)
        shown = next(shown for shown in self._progress.tasks if shown.id == task)
        # From the start of the method, compilation included: windows are too short for bursts.
        rate = shown.completed / shown.elapsed / self._size if shown.elapsed else 0.0
        self._progress.update(task, rate=f"{rate:.1f} {self._unit}/s" if rate else "")
