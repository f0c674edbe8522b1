"""What commands that simulate share: options that change a configuration, and warnings."""

import argparse
from typing import Any

from rich.console import Console

from dpe_jax.experiment import Outcome


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as keys of the configuration."""
    names = ("runs", "iterations", "seed", "points", "precision", "block", "trace")
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def warn(log: Console, outcome: Outcome) -> None:
    """Show the warnings of an experiment."""
    for note in outcome.warnings:
        log.print(f"warning: {note}", style="yellow")
