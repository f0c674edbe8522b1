"""What a sweep costs beside a single configuration with as many lanes.

    python scripts/bench_sweep.py [--turns 5] [--configurations 256] [--runs 1024]

Prints one JSON object: time per lane and iteration of a grid over δ, the scale of γ, that of the
stepsize and the width of multipliers on `five-agents`, and of one configuration with as many lanes
as all of them, in alternating turns; the time of first calls (with compilation) for few and for
all configurations, each in a process of its own without kept programs; and peak memory and time of
the command `dpe sweep`, with curves and with statistics kept.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from dpe_jax import experiment, sweep_run
from dpe_jax.config import Config
from dpe_jax.recording import Keep
from dpe_jax.results import resolved_toml
from dpe_jax.study import Study

_METRICS = ["gap_mean_state", "error_worst_agent", "consensus_error"]


def configuration(configurations: int, runs: int, iterations: int) -> Config:
    """A grid on `five-agents`: four axes, the last of which takes up what the others leave."""
    sizes = [min(4, configurations)] * 3
    sizes = sizes if configurations >= 64 else [1, 1, 1]
    last = -(-configurations // (sizes[0] * sizes[1] * sizes[2]))
    keys = ("delta", "gamma.scale", "stepsize.scale", "multipliers.half_width")
    ranges = ((0.001, 0.1), (0.5, 1.0), (0.25, 0.75), (0.1, 1.7))
    axes = [
        {
            "key": f"methods.encrypted.{key}",
            "values": [low + (high - low) * i / max(1, size - 1) for i in range(size)],
        }
        for key, (low, high), size in zip(keys, ranges, [*sizes, last], strict=True)
    ]
    base = experiment.find_config("five-agents").model_dump(mode="json", exclude_none=True)
    base["methods"] = {"encrypted": base["methods"]["encrypted"]}
    base |= {"name": "bench-sweep", "runs": runs, "iterations": iterations, "checks": {}}
    base["record"] = {"points": 20, "metrics": _METRICS}
    return experiment.parse(base | {"sweep": {"axis": axes}})


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--configurations", type=int, default=256)
    parser.add_argument("--runs", type=int, default=1024)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--first-call", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_call is not None:
        print(json.dumps(_first_call(options.first_call)))
        return
    count, runs, iterations = options.configurations, options.runs, options.iterations
    config = configuration(count, runs, iterations)

    def sweep(keep: Keep) -> Callable[[], Study]:
        return lambda: sweep_run.plan_sweep(config, keep).study

    first = sweep("runs")().simulations[0]
    single = dataclasses.replace(first, runs=runs * count)
    candidates: dict[str, Callable[[], Study]] = {
        "single": lambda: Study((single,)),
        "sweep": sweep("runs"),
        "single, summary": lambda: Study((single,), "summary"),
        "sweep, summary": sweep("summary"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(options.turns + 1):
        for name, make in candidates.items():
            study = make()
            began = time.perf_counter()
            for _ in study.recordings():
                pass
            if turn:
                seconds[name].append(time.perf_counter() - began)
    steps = runs * count * iterations
    ns = {
        name: [round(1e9 * taken / steps, 2) for taken in sorted(times)]
        for name, times in seconds.items()
    }
    median = {name: statistics.median(times) for name, times in ns.items()}
    report = {
        "ns_per_lane_step": median,
        "range": {name: [times[0], times[-1]] for name, times in ns.items()},
        "ratios": {
            "sweep_over_single": round(median["sweep"] / median["single"], 3),
            "sweep_over_single_summary": round(
                median["sweep, summary"] / median["single, summary"], 3
            ),
        },
        "first_call_seconds": {str(n): _in_process(n) for n in (1, 16, count)},
        "command": {keep: _command(config, keep) for keep in ("runs", "summary")},
        "configurations": count,
        "runs": runs,
        "iterations": iterations,
        "record_points": 20,
        "turns": options.turns,
        "device": f"{jax.devices()[0].platform} {jax.devices()[0].device_kind}",
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("dpe-jax", "jax", "numpy")},
        },
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    print(json.dumps(report, indent=2))


def _first_call(configurations: int) -> dict[str, float]:
    """Seconds to plan a sweep, and to run two iterations of it with all that must be compiled."""
    began = time.perf_counter()
    study = sweep_run.plan_sweep(configuration(configurations, 1024, 2)).study
    planned = time.perf_counter()
    for _ in study.recordings():
        pass
    ran = time.perf_counter()
    for _ in study.recordings():
        pass
    return {
        "plan": round(planned - began, 3),
        "compile": round(2 * ran - planned - time.perf_counter(), 3),
    }


def _in_process(configurations: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--first-call", str(configurations)]
    quiet = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=quiet)
    return json.loads(done.stdout)


def _command(config: Config, keep: str) -> dict[str, Any]:
    """Peak memory and time of `dpe sweep` on the same grid."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "sweep.toml", Path(folder) / "out"
        path.write_text(resolved_toml(config), encoding="utf-8")
        command = [sys.executable, "-m", "dpe_jax.cli", "sweep", str(path), "--no-figures"]
        program = (
            "import resource, subprocess, sys; "
            "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        began = time.perf_counter()
        child = [sys.executable, "-c", program, *command, "--keep", keep, "--out", str(out)]
        done = subprocess.run(child, check=True, capture_output=True, text=True)
        taken = time.perf_counter() - began
        stored = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        "peak_bytes": int(done.stdout.split()[-1]) * 1024,
        "seconds": round(taken, 1),
        "stored_bytes": stored,
    }


if __name__ == "__main__":
    main()
