"""Peak memory and time of many runs of `five-agents`, as a process of its own."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpe_jax.bench.processes import command_cost


def measure(runs: int, iterations: int, points: int) -> dict[str, Any]:
    """All methods of the preset; curves go to disk block by block."""
    sizes = {"runs": runs, "iterations": iterations, "points": points}
    command = ["run", "five-agents", "--no-figures"]
    for name, size in sizes.items():
        command += [f"--{name}", str(size)]
    with TemporaryDirectory() as folder:
        out = Path(folder) / "result"
        cost = command_cost(command, out)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return {
        **cost,
        "methods": list(manifest["methods"]),
        "runs": runs,
        "iterations": iterations,
        "record_points": points,
        "device": manifest["device"],
        "versions": manifest["versions"],
        "date": manifest["written"][:10],
    }
