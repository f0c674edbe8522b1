"""Time what the engine's time hangs on beside its step: `results/bench/blocks.json`.

    python scripts/bench_blocks.py [--turns 5] [--out PATH]

On `five-agents`, the encrypted method without metrics: 4096 runs in blocks of several sizes, on two
forced host devices in place of threads, and shorter beside `jit(vmap(scan))`; and a million runs
for few iterations, which cost little beside beginning and ending them.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from bench_files import parser, told, write

from dpe_jax import Study
from dpe_jax.bench import competitors
from dpe_jax.bench.engines import as_it_is, as_study, encrypted_alone
from dpe_jax.bench.processes import python
from dpe_jax.bench.timing import about, by_turns, nanoseconds, over, rounded, within_turns

RUNS, ITERATIONS, SHORT = 4096, 3000, 1000
BLOCKS = (256, 512, 1024, 2048, 4096)
MANY, FEW = 1_048_576, (1, 5, 25)


def main() -> None:
    """Measure, print and write the report."""
    options = parser(__doc__, "blocks").parse_args()
    report = {
        "blocks": _blocks(options.turns),
        "devices": _forced(options.turns),
        "short": _short(options.turns),
        "calls": _calls(options.turns),
        "runs": RUNS,
        "iterations": ITERATIONS,
        **about(options.turns),
    }
    write(report, options.out)


def _blocks(turns: int) -> dict[str, Any]:
    whole = encrypted_alone("five-agents", RUNS, ITERATIONS)
    sizes = {str(size): as_it_is(dataclasses.replace(whole, block=size)) for size in BLOCKS}
    own = Study((whole,)).block_lanes
    timed = by_turns(sizes, turns, told)
    return {
        "own": own,
        **nanoseconds(timed, _steps(RUNS, ITERATIONS)),
        "ratios": {size: round(timed[size].median / timed[str(own)].median, 2) for size in sizes},
    }


def on_devices(turns: int) -> dict[str, Any]:
    """Of a process with forced devices."""
    whole = as_it_is(encrypted_alone("five-agents", RUNS, ITERATIONS))
    timed = by_turns({"engine": whole}, turns, told)
    return {
        "devices": len(jax.local_devices()),
        **nanoseconds(timed, _steps(RUNS, ITERATIONS)),
    }


def _forced(turns: int) -> dict[str, Any]:
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from bench_blocks import on_devices; "
        "print(json.dumps(on_devices(int(sys.argv[2]))))"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    return json.loads(python(program, str(Path(__file__).parent), str(turns), variables=flags))


def _short(turns: int) -> dict[str, Any]:
    brief = encrypted_alone("five-agents", RUNS, SHORT)
    program = competitors.vmap_program(as_study(brief), jnp.float64)
    keys = jax.random.split(jax.random.key(0), RUNS)
    timed = by_turns(
        {"engine": as_it_is(brief), "vmap": lambda: jax.block_until_ready(program(keys))},
        turns,
        told,
    )
    return {
        "iterations": SHORT,
        **nanoseconds(timed, _steps(RUNS, SHORT)),
        **over(timed, "engine", ("vmap",)),
        "ratios_within_turns": within_turns(timed, "engine", ("vmap",)),
    }


def _calls(turns: int) -> dict[str, Any]:
    found = {str(few): as_it_is(encrypted_alone("five-agents", MANY, few)) for few in FEW}
    timed = by_turns(found, turns, told)
    return {
        "runs": MANY,
        "seconds": {few: rounded(one.median) for few, one in timed.items()},
        "range_seconds": {
            few: [rounded(min(one.turns)), rounded(max(one.turns))] for few, one in timed.items()
        },
    }


def _steps(runs: int, iterations: int) -> int:
    """Agent-coordinate-steps of five agents with d = 2."""
    return 5 * 2 * runs * iterations


if __name__ == "__main__":
    main()
