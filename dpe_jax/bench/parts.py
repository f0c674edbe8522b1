"""What is measured under which name, and with which sizes."""

from typing import Any

from dpe_jax.bench import (
    engines,
    gpu,
    growth,
    large,
    logistic,
    memory,
    methods,
    paillier,
    profile,
    startup,
    sweep,
)
from dpe_jax.bench.timing import Told


def measure(part: str, turns: int, quick: bool, told: Told = lambda _: None) -> dict[str, Any]:
    """The report of one part; `quick` with sizes that show that it works, and little else."""
    match part:
        case "engine":
            runs, iterations = (256, 50) if quick else (4096, 3000)
            return engines.measure(runs, iterations, turns, told)
        case "minibatch":
            runs, iterations = (64, 20) if quick else (512, 300)
            return logistic.measure(runs, iterations, turns, told)
        case "methods":
            runs, iterations = (256, 50) if quick else (4096, 1000)
            return methods.measure(runs, iterations, turns, told)
        case "sweep":
            configurations, runs = (4, 16) if quick else (64, 1024)
            return sweep.measure(configurations, runs, 20 if quick else 200, turns, told)
        case "paillier":
            return paillier.measure(256 if quick else 2048, turns, False, told)
        case "memory":
            runs = 1000 if quick else 100_000
            return memory.measure(runs, 20 if quick else 100, 10, turns)
        case "growth":
            return growth.measure(turns, 0.02 if quick else 0.5, quick, told)
        case "large":
            agents, runs = (40, 16) if quick else (1000, 64)
            return large.measure(agents, 6, 10, runs, 4 if quick else 10, turns, told)
        case "profile":
            runs, iterations = (64, 20) if quick else (2048, 500)
            return profile.measure(runs, iterations, turns, told)
        case "startup":
            return startup.measure(turns, told)
        case "gpu":
            sizes = ((256, 20),) if quick else ((4096, 1000), (65_536, 1000), (1_048_576, 100))
            return gpu.measure(gpu.cuda_device(), sizes, turns, told)
        case _:
            raise ValueError(f"{part} is no part of the benchmarks")
