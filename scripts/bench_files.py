"""What the benchmark scripts share: a report on stdout, in a file and as a chart; progress."""

import json
import sys
from pathlib import Path
from typing import Any

from dpe_jax.bench.figures import draw


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
