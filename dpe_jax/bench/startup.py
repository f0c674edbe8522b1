"""How long it takes until anything happens: help, import, and compilation, each a new process."""

import statistics
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, run
from tempfile import TemporaryDirectory
from typing import Any

from dpe_jax.bench.processes import environment, in_process
from dpe_jax.bench.timing import Told, about, rounded, spread

TARGETS = {
    "help": 0.5,
    "import": 1.5,
    "import_simulate": 1.5,
    "compile_cold": 3.0,
    "compile_kept": 0.5,
}
"""Seconds that each is to stay under."""

UNTARGETED = "compile_traced"
"""From programs that JAX has kept, as for methods and problems of a user's own (see `whole`)."""


def compile_seconds(runs: int, iterations: int, by_jax: int) -> dict[str, float]:
    """Of `five-agents`, all methods with all metrics: the first run less the second (`whole`).

    Programs are kept as every command keeps them, or as JAX alone does (`by_jax`). JAX's own clocks
    say how much of it is tracing (`trace`), writing the program for the compiler (`lower`), and
    compiling it or reading it (`compile`); methods are traced one after another, but blocks on
    threads may overlap.
    """
    import dataclasses

    import jax

    from dpe_jax.compilation import keep_programs
    from dpe_jax.experiment import find_config
    from dpe_jax.study import Study

    clocks = {
        "/jax/core/compile/jaxpr_trace_duration": "trace",
        "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
        "/jax/core/compile/backend_compile_duration": "compile",
    }
    shares = dict.fromkeys(clocks.values(), 0.0)

    def heard(event: str, duration_secs: float, **_: object) -> None:
        if event in clocks:
            shares[clocks[event]] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(heard)
    if not by_jax:
        keep_programs()
    simulation = find_config("five-agents").build()
    simulation = dataclasses.replace(simulation, runs=runs, iterations=iterations)

    def once() -> float:
        began = time.perf_counter()
        for _ in Study((simulation,)).recordings():
            pass
        return time.perf_counter() - began

    first = once()
    return {"whole": first - once(), **shares}


def measure(turns: int, told: Told = lambda _: None) -> dict[str, Any]:
    """Seconds, medians with least and most, and whether each target is met."""
    taken: dict[str, list[float]] = {name: [] for name in (*TARGETS, UNTARGETED)}
    commands = {
        "help": [sys.executable, "-m", "dpe_jax.cli", "--help"],
        "import": [sys.executable, "-c", "import dpe_jax"],
        # Names are imported when they are first used: this is what all of it takes.
        "import_simulate": [sys.executable, "-c", "import dpe_jax; dpe_jax.simulate"],
    }
    by_jax = {"compile_cold": False, "compile_kept": False, UNTARGETED: True}
    shares: dict[str, list[dict[str, float]]] = {name: [] for name in by_jax}
    # Once before, so that Python's own compiled files are there.
    for command in commands.values():
        _wall(command)
    for turn in range(turns):
        told(f"turn {turn + 1} of {turns}")
        for name, command in commands.items():
            taken[name].append(_wall(command))
        with TemporaryDirectory() as folder:
            home = Path(folder)
            _compile(home, by_jax=True)
            for name, alone in by_jax.items():
                found = _compile(home, alone)
                taken[name].append(found.pop("whole"))
                shares[name].append(found)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "seconds": {name: rounded(median) for name, median in medians.items()},
        "range_seconds": {name: spread(times) for name, times in taken.items()},
        "shares_seconds": {
            name: {
                share: rounded(statistics.median(one[share] for one in found))
                for share in ("trace", "lower", "compile")
            }
            for name, found in shares.items()
        },
        "targets": TARGETS,
        "met": {name: medians[name] < target for name, target in TARGETS.items()},
        **about(turns),
    }


def _wall(command: list[str]) -> float:
    began = time.perf_counter()
    run(command, check=True, stdout=DEVNULL, env=environment())
    return time.perf_counter() - began


def _compile(home: Path, by_jax: bool) -> dict[str, float]:
    """With programs kept as a command keeps them, or in JAX's own way alone."""
    variables = {"XDG_CACHE_HOME": str(home)}
    if by_jax:
        variables["JAX_COMPILATION_CACHE_DIR"] = str(home / "jax")
        variables["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    sizes = 4096, 8, int(by_jax)
    return in_process("dpe_jax.bench.startup", "compile_seconds", *sizes, variables=variables)
