"""How the cost of a simulation grows with each of its sizes, one at a time.

Each point is as many iterations as take about `target` seconds (where iterations are not the
factor), its first call is not counted, and the turns go round all points of a curve. Nanoseconds
are per agent-coordinate-step, so a flat curve is a cost in proportion. All of it is the encrypted
method with metrics off, but for the record points.
"""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bench.engines import as_it_is, encrypted_alone
from dpe_jax.bench.separable import Separable
from dpe_jax.bench.timing import Told, about, by_turns, rounded, seconds, spread
from dpe_jax.network import Network
from dpe_jax.observe import defaults
from dpe_jax.problems import Problem, Quadratic
from dpe_jax.schedules import PowerLaw
from dpe_jax.simulation import Simulation

_DEGREE = 6
_MOST_ITERATIONS = 200_000
_GUESS, _OVERHEAD = 5e-9, 2e-6
"""Seconds per element, and per iteration, of a first guess."""


class Curve(NamedTuple):
    """One factor, and what the others are meanwhile."""

    factor: str
    values: Sequence[int]
    make: Callable[[int], Simulation]
    held: str
    """What is the same at all points."""
    fit: bool = True
    """Whether the number of iterations is chosen by the time that they take."""


def on_network(network: Network, problem: Problem, runs: int) -> Simulation:
    """The encrypted method on a network, metrics off."""
    method = EncryptedDSGD(PowerLaw(0.5, 0.6), PowerLaw(0.5, 0.9))
    return Simulation({"encrypted": method}, problem, network, runs, 1, metrics=(), points=2)


def curves(quick: bool) -> list[Curve]:
    """All of them; `quick` leaves out the large ends."""
    most = 3 if quick else 99
    alone = encrypted_alone("five-agents", 4096, 1)

    def regular(agents: int) -> Simulation:
        network = Network.random_regular(agents, _DEGREE, seed=1)
        return on_network(network, Quadratic.random(agents, 2, seed=1, noise=0.5), 256)

    def complete(agents: int) -> Simulation:
        problem = Quadratic.random(agents, 2, seed=1, noise=0.5)
        return on_network(Network.complete(agents), problem, 256)

    def separable(dim: int) -> Simulation:
        return on_network(Network.ring(5), Separable.random(5, dim, seed=1, noise=0.5), 256)

    def dense(dim: int) -> Simulation:
        return on_network(Network.ring(5), Quadratic.random(5, dim, seed=1, noise=0.5), 256)

    def recorded(points: int) -> Simulation:
        metrics = defaults(alone.problem)
        return dataclasses.replace(alone, iterations=1000, metrics=metrics, points=points)

    def long(iterations: int) -> Simulation:
        return dataclasses.replace(alone, runs=256, iterations=iterations)

    def many(runs: int) -> Simulation:
        return dataclasses.replace(alone, runs=runs)

    five = "five-agents, d = 2"
    ring = "5 agents in a ring, 256 runs"
    return [
        Curve("runs", [4**i for i in range(11)][:most], many, five),
        Curve(
            "agents, degree 6",
            [8, 16, 32, 64, 128, 256, 512, 1000][:most],
            regular,
            "random regular graph, quadratic, d = 2, 256 runs",
        ),
        Curve(
            "agents, complete graph",
            [5, 8, 16, 32, 64, 128, 256][:most],
            complete,
            "quadratic, d = 2, 256 runs",
        ),
        Curve(
            "d, diagonal curvature",
            [1, 3, 10, 32, 100, 316, 1000, 3162, 10_000][:most],
            separable,
            ring,
        ),
        Curve("d, dense curvature", [1, 2, 4, 8, 16, 32, 64, 128, 256][:most], dense, ring),
        Curve(
            "iterations", [10**i for i in range(1, 6)][:most], long, f"{five}, 256 runs", fit=False
        ),
        Curve(
            "record points",
            [2, 5, 20, 100, 300, 1001][:most],
            recorded,
            f"{five}, 4096 runs, 1000 iterations, all metrics",
            fit=False,
        ),
    ]


def measure(
    turns: int, target: float | int = 1.0, quick: bool = False, told: Told = lambda _: None
) -> dict[str, Any]:
    """Seconds and nanoseconds at every point of every curve."""
    return {
        "curves": {curve.factor: along(curve, turns, target, told) for curve in curves(quick)},
        "seconds_aimed_at": target,
        **about(turns),
    }


def along(
    curve: Curve, turns: int, target: float | int, told: Told = lambda _: None
) -> dict[str, Any]:
    """One curve."""
    sized = {}
    for value in curve.values:
        told(f"{curve.factor} = {value}: iterations")
        sized[str(value)] = _sized(curve.make(value), target) if curve.fit else curve.make(value)
    timed = by_turns({name: as_it_is(one) for name, one in sized.items()}, turns, told)
    steps = {
        name: one.problem.agents * one.problem.dim * one.runs * one.iterations
        for name, one in sized.items()
    }
    return {
        "held": curve.held,
        "values": list(curve.values),
        "iterations": [one.iterations for one in sized.values()],
        "seconds": [rounded(one.median) for one in timed.values()],
        "ns": [rounded(1e9 * one.median / steps[name]) for name, one in timed.items()],
        "range_ns": [spread(one.turns, 1e9 / steps[name]) for name, one in timed.items()],
    }


def _sized(simulation: Simulation, target: float | int) -> Simulation:
    """As many iterations as take about `target` seconds, by a pilot of a tenth of that."""
    elements = simulation.problem.agents * simulation.problem.dim * simulation.runs
    guess = max(1, min(round(target / 10 / (elements * _GUESS + _OVERHEAD)), _MOST_ITERATIONS))
    run = as_it_is(dataclasses.replace(simulation, iterations=guess))
    run()
    aimed = round(guess * target / statistics.median(seconds(run) for _ in range(3)))
    return dataclasses.replace(simulation, iterations=max(1, min(aimed, _MOST_ITERATIONS)))
