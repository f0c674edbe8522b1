"""What commands that simulate share: options that change a configuration, warnings, and tables."""

import argparse
import textwrap
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from dpe_jax.experiment import Outcome
from dpe_jax.folder import SUMMARY

LEFT_OUT = f"left out for want of room (in {SUMMARY})"
"""Of columns of a table."""


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as keys of the configuration."""
    names = ("runs", "iterations", "seed", "points", "precision", "block", "trace")
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def warn(log: Console, outcome: Outcome) -> None:
    """Show the warnings of an experiment."""
    for note in outcome.warnings:
        log.print(f"warning: {note}", style="yellow")


def in_words(text: str, width: int, cut: bool = False) -> str:
    """A text over several lines, broken after words and hyphens only; or with longer words cut."""
    lines = textwrap.wrap(text, width, break_long_words=False) or [""]
    return "\n".join(
        f"{line[: width - 1]}…" if cut and len(line) > width else line for line in lines
    )


def measured(table: Table) -> int:
    """Letters that a table needs beside each other."""
    console = Console()
    return Measurement.get(console, console.options.update(width=10_000), table).maximum


def tell(screen: Console, text: str) -> None:
    """Print a sentence: between words, over several lines where a terminal is that narrow."""
    screen.print(text, soft_wrap=not screen.is_terminal)
