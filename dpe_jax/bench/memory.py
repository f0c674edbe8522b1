"""Peak memory and time of many runs of `five-agents`, as a process of its own."""

import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpe_jax.bench.processes import command_cost
from dpe_jax.bench.timing import about


def measure(runs: int, iterations: int, points: int, turns: int) -> dict[str, Any]:
    """All methods of the preset; curves go to disk block by block. Peak: the most of all turns."""
    sizes = {"runs": runs, "iterations": iterations, "points": points}
    command = ["run", "five-agents", "--no-figures"]
    for name, size in sizes.items():
        command += [f"--{name}", str(size)]
    costs, manifest = [], {}
    for _ in range(turns):
        with TemporaryDirectory() as folder:
            out = Path(folder) / "result"
            costs.append(command_cost(command, out))
            manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    seconds = [cost["seconds"] for cost in costs]
    return {
        "peak_bytes": max(cost["peak_bytes"] for cost in costs),
        "seconds": statistics.median(seconds),
        "range_seconds": [min(seconds), max(seconds)],
        "stored_bytes": costs[-1]["stored_bytes"],
        "methods": list(manifest["methods"]),
        "runs": runs,
        "iterations": iterations,
        "record_points": points,
        **about(turns),
    }
