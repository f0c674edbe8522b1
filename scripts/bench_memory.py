"""Peak memory and time of a million runs of `five-agents`, as a process of its own.

    python scripts/bench_memory.py [--runs 1000000] [--iterations 100] [--points 10]

Prints one JSON object. All three methods are run, curves go to disk block by block.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run the experiment in a child process and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--points", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result"
        command = [sys.executable, "-m", "dpe_jax.cli", "run", "five-agents", "--no-figures"]
        for name in ("runs", "iterations", "points"):
            command += [f"--{name}", str(getattr(options, name))]
        began = time.perf_counter()
        subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        stored = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    report = {
        "peak_bytes": peak,
        "seconds": round(seconds, 1),
        "stored_bytes": stored,
        "methods": list(manifest["methods"]),
        "runs": options.runs,
        "iterations": options.iterations,
        "record_points": options.points,
        "device": manifest["device"],
        "versions": manifest["versions"],
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
