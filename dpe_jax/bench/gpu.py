"""The engine beside JAX with `jax.random` and the floor on one device; the device's own rates."""

import statistics
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from dpe_jax.bench import competitors
from dpe_jax.bench.engines import as_study, encrypted_alone
from dpe_jax.bench.timing import (
    Candidate,
    Told,
    about,
    by_turns,
    nanoseconds,
    over,
    rounded,
    seconds,
)
from dpe_jax.blocks import run_blocks
from dpe_jax.errors import InputError
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study

_CHAIN = 256
"""Multiply-adds between a load and a store."""


def cuda_device() -> SingleDeviceSharding:
    """The first CUDA device, as a place for arrays; InputError if JAX has none."""
    accepted = "a CUDA device that JAX uses (see the extras cuda12 and cuda13)"
    try:
        device = jax.devices("cuda")[0]
    except RuntimeError as error:
        raise InputError("--gpu", jax.default_backend(), accepted) from error
    if jax.default_backend() != "gpu":
        raise InputError("--gpu", jax.default_backend(), accepted)
    return SingleDeviceSharding(device)


def copy_rate(place: SingleDeviceSharding, size: int, turns: int) -> dict[str, Any]:
    """Bytes read and written a second where `size` bytes are read, changed in a bit and written."""
    source = jax.device_put(jnp.zeros(size // 4, jnp.uint32), place)
    flip = jax.jit(lambda x: x ^ 1)
    return _rate(lambda: jax.block_until_ready(flip(source)), 2.0 * (size // 4 * 4), turns)


def integer_rate(
    place: SingleDeviceSharding, elements: int, rounds: int, turns: int
) -> dict[str, Any]:
    """32-bit multiply-adds a second, in chains that stay in registers.

    x ← x y + z; y and z are read from memory, or the compiler could do several steps in one.
    """
    x, y, z = (
        jax.device_put(jnp.arange(elements, dtype=jnp.uint32) * factor + 1, place)
        for factor in (1, 2, 4)
    )

    @jax.jit
    def chain(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
        def body(_: jax.Array, x: jax.Array) -> jax.Array:
            for _step in range(_CHAIN):
                x = x * y + z
            return x

        return jax.lax.fori_loop(0, rounds, body, x)

    work = float(elements) * rounds * _CHAIN
    return _rate(lambda: jax.block_until_ready(chain(x, y, z)), work, turns)


def _rate(candidate: Candidate, work: float, turns: int) -> dict[str, Any]:
    candidate()
    taken = [seconds(candidate) for _ in range(turns)]
    median = statistics.median(taken)
    return {
        "per_second": float(f"{work / median:.4g}"),
        "range_per_second": [float(f"{work / found:.4g}") for found in (max(taken), min(taken))],
        "seconds": rounded(median),
    }


def candidates(simulation: Simulation, place: SingleDeviceSharding) -> dict[str, Candidate]:
    """The engine, the floor, and both ways of `jax.random` in both precisions, on one device."""
    study, runs, problem = as_study(simulation), simulation.runs, simulation.problem
    planned = Study((simulation,))
    (device,) = place.device_set

    def engine() -> object:
        return list(run_blocks(planned.blocks(), planned.program, [place], lambda *_: None))

    def floor(normals: competitors.Normals) -> Candidate:
        sizes = runs, simulation.iterations, problem.agents, problem.dim

        def run() -> object:
            with jax.default_device(device):
                return competitors.floor_runs(*sizes, 0, normals)

        return run

    found: dict[str, Candidate] = {
        "engine": engine,
        "floor": floor(competitors.by_polynomial),
        "floor_erf_inv": floor(competitors.by_erf_inv),
    }
    key = jax.device_put(jax.random.key(0), place)
    keys = jax.random.split(key, runs)
    for suffix, dtype in (("", jnp.float64), ("_float32", jnp.float32)):
        vmapped = competitors.vmap_program(study, dtype)
        batched = competitors.batched_program(study, runs, dtype)
        found |= {
            f"vmap{suffix}": lambda program=vmapped: jax.block_until_ready(program(keys)),
            f"batched{suffix}": lambda program=batched: jax.block_until_ready(program(key)),
        }
    return found


def measure(
    place: SingleDeviceSharding,
    sizes: Sequence[tuple[int, int]],
    turns: int,
    told: Told = lambda _: None,
    *,
    copied: int = 2**30,
    chains: tuple[int, int] = (2**22, 64),
) -> dict[str, Any]:
    """`five-agents` with each number of runs and iterations, and the two rates."""
    found = {}
    for runs, iterations in sizes:
        told(f"{runs} runs, {iterations} iterations")
        simulation = encrypted_alone("five-agents", runs, iterations)
        timed = by_turns(candidates(simulation, place), turns, told)
        others = [name for name in timed if name.startswith(("vmap", "batched"))]
        found[str(runs)] = {
            **nanoseconds(
                timed, simulation.problem.agents * simulation.problem.dim * runs * iterations
            ),
            "run_steps_per_second": {
                name: float(f"{runs * iterations / one.median:.4g}") for name, one in timed.items()
            },
            "ratios": {
                **over(timed, "engine", others),
                **over(timed, "floor", ("engine",)),
                **over(timed, "floor_erf_inv", ("engine",)),
            },
            "iterations": iterations,
        }
    (device,) = place.device_set
    told("copies and chains of integers")
    return {
        "runs": found,
        "copy_bytes": copy_rate(place, copied, turns),
        "integer_multiply_adds": integer_rate(place, *chains, turns),
        "measured_device": f"{device.platform} {device.device_kind}",
        **about(turns),
    }
