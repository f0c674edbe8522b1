"""What a sweep costs beside a single configuration with as many lanes.

Time per lane and iteration of a grid over δ, the scale of γ, that of the stepsize and the width of
multipliers on `five-agents`, and of one configuration with as many lanes as all of them; the time
of first calls (with compilation) for few and for all configurations, each in a process of its own
without kept programs; and peak memory and time of the command `dpe sweep`, with curves and with
statistics kept.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dpe_jax import experiment, sweep_run
from dpe_jax.bench.processes import command_cost, in_process
from dpe_jax.bench.timing import Told, about, seconds, spread
from dpe_jax.config import Config
from dpe_jax.recording import Keep
from dpe_jax.results import resolved_toml
from dpe_jax.study import Study

_METRICS = ["gap_mean_state", "error_worst_agent", "consensus_error"]
_POINTS = 20


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
    base["record"] = {"points": _POINTS, "metrics": _METRICS}
    return experiment.parse(base | {"sweep": {"axis": axes}})


def measure(
    configurations: int, runs: int, iterations: int, turns: int, told: Told = lambda _: None
) -> dict[str, Any]:
    """The report."""
    config = configuration(configurations, runs, iterations)

    def sweep(keep: Keep) -> Callable[[], Study]:
        return lambda: sweep_run.plan_sweep(config, keep).study

    first = sweep("runs")().simulations[0]
    single = dataclasses.replace(first, runs=runs * configurations)
    candidates: dict[str, Callable[[], Study]] = {
        "single": lambda: Study((single,)),
        "sweep": sweep("runs"),
        "single, summary": lambda: Study((single,), "summary"),
        "sweep, summary": sweep("summary"),
    }
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(turns + 1):
        told(f"turn {turn} of {turns}" if turn else "first calls")
        for name, make in candidates.items():
            study = make()  # planning is not what is compared here
            one = seconds(lambda study=study: _run(study))
            if turn:
                taken[name].append(one)
    scale = 1e9 / (runs * configurations * iterations)
    median = {name: round(statistics.median(times) * scale, 2) for name, times in taken.items()}
    told("first calls and commands, in processes of their own")
    return {
        "ns_per_lane_step": median,
        "range": {name: spread(times, scale) for name, times in taken.items()},
        "ratios": {
            "sweep_over_single": round(median["sweep"] / median["single"], 3),
            "sweep_over_single_summary": round(
                median["sweep, summary"] / median["single, summary"], 3
            ),
        },
        "first_call_seconds": {
            str(n): in_process("dpe_jax.bench.sweep", "first_call", n)
            for n in sorted({1, min(16, configurations), configurations})
        },
        "command": {keep: _command(config, keep) for keep in ("runs", "summary")},
        "configurations": configurations,
        "runs": runs,
        "iterations": iterations,
        "record_points": _POINTS,
        **about(turns),
    }


def _run(study: Study) -> None:
    for _ in study.recordings():
        pass


def first_call(configurations: int) -> dict[str, float]:
    """Seconds to plan a sweep, and to run two iterations of it with all that must be compiled."""
    began = time.perf_counter()
    study = sweep_run.plan_sweep(configuration(configurations, 1024, 2)).study
    planned = time.perf_counter()
    _run(study)
    ran = time.perf_counter()
    _run(study)
    return {
        "plan": round(planned - began, 3),
        "compile": round(2 * ran - planned - time.perf_counter(), 3),
    }


def _command(config: Config, keep: str) -> dict[str, Any]:
    """Peak memory and time of `dpe sweep` on the same grid."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "sweep.toml", Path(folder) / "out"
        path.write_text(resolved_toml(config), encoding="utf-8")
        return command_cost(["sweep", str(path), "--no-figures", "--keep", keep], out)
