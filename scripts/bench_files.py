"""What the benchmark scripts share: a report on stdout, in a file and as a chart; progress."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dpe_jax.bench.figures import draw


def parser(description: str | None, out: str, turns: int | None = 5) -> argparse.ArgumentParser:
    """The options of every script: how many turns (if it has any), and the file."""
    made = argparse.ArgumentParser(description=description)
    if turns is not None:
        made.add_argument("--turns", type=positive, default=turns)
    made.add_argument("--out", type=_json, default=Path(f"results/bench/{out}.json"))
    return made


def positive(text: str) -> int:
    """A whole number of at least 1, or what argparse says of another."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a positive integer")
    return int(text)


def seconds(text: str) -> float:
    """A time above 0, likewise."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a positive number of seconds")
    return found


def _json(text: str) -> Path:
    """Where a report can be written: asked before anything is measured."""
    path = Path(text)
    if path.suffix != ".json" or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a file that ends in .json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a file that can be written ({error.strerror})"
        ) from None
    if not path.stat().st_size:
        path.unlink()
    return path


def told(said: str) -> None:
    """A line of progress."""
    print(said, file=sys.stderr, flush=True)


def write(report: dict[str, Any], out: Path, part: str | None = None) -> None:
    """Print the report and write it, with the chart of its part, by default the file's name."""
    text = json.dumps(report, indent=2, allow_nan=False)
    print(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")
    draw(part or out.stem, report, out.parent, out.stem)
