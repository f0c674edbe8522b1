"""Studies: one simulation, or many configurations of it as lanes of the same programs."""

import dataclasses
import functools
import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Float

from dpe_jax import engine, stacking
from dpe_jax.algorithms import Algorithm
from dpe_jax.blocks import Block, run_blocks
from dpe_jax.conditions import Condition
from dpe_jax.engine import Program, Saving
from dpe_jax.errors import InputError
from dpe_jax.layout import dimensions
from dpe_jax.network import Network
from dpe_jax.observe import PER_AGENT, Metric
from dpe_jax.problems import Problem
from dpe_jax.problems.base import Optimum
from dpe_jax.recording import Keep, Place, Recording
from dpe_jax.simulation import Precision, Simulation
from dpe_jax.timeline import Spacing
from dpe_jax.tracing import Trace, joined
from dpe_jax.watching import Watcher

if TYPE_CHECKING:
    import xarray as xr

_CPU_BLOCK_ELEMENTS = 2**17
"""Agent-coordinate-lane elements of a block on a CPU: about a core's second-level cache."""

_GPU_BLOCK_ELEMENTS = 2**24
"""Likewise on a GPU: enough to fill it."""

_CPU_SUMMARY_LANES, _GPU_SUMMARY_LANES = 2**12, 2**17
"""The most lanes in a block of which only a summary is kept."""

Progress = Callable[[str, int, int], None]
"""Told the method, the lane-iterations done since the last call, and the method's total."""


class _Group(NamedTuple):
    """Configurations of one method that may share blocks, and how many a block has."""

    configurations: tuple[int, ...]
    columns: int


@dataclasses.dataclass(frozen=True)
class Study:
    """Configurations that share methods' names, runs, iterations, record points and seed.

    A *lane* is one run of one configuration; blocks of lanes [agents, dim, lanes] are what is
    computed at a time. `recordings` gives them one by one. `InputError` for configurations that do
    not share these, and for what only a single configuration can have.
    """

    simulations: tuple[Simulation, ...]
    keep: Keep = "runs"
    width: int | None = None
    """Lanes in a block; by default as many as suit the device."""
    swept: bool = False
    """Whether it is a sweep, be it of a single configuration."""
    watchers: Mapping[str, Watcher] = dataclasses.field(default_factory=dict)
    """By method, what looks at its steps; for a single configuration, with runs kept."""
    shares: int = 1
    """Processes that share the blocks, each with devices like these."""

    def __post_init__(self) -> None:
        first = self.simulations[0]
        for simulation in self.simulations[1:]:
            for name in ("runs", "iterations", "seed", "points", "spacing", "precision"):
                if getattr(simulation, name) != getattr(first, name):
                    value = getattr(simulation, name)
                    raise InputError(name, value, "the same in all configurations of a study")
            if simulation.observed != first.observed:
                accepted = "those that the problems of all configurations have"
                raise InputError("metrics", simulation.observed, accepted)
            if list(simulation.algorithms) != list(first.algorithms):
                accepted = f"the same methods in all configurations ({', '.join(first.algorithms)})"
                raise InputError("algorithms", list(simulation.algorithms), accepted)
        if self.watchers and (len(self.simulations) > 1 or self.keep != "runs"):
            raise InputError("watchers", list(self.watchers), "none in a study of a sweep")
        if len(self.simulations) > 1 and first.trace:
            raise InputError("trace", first.trace, "none in a study of several configurations")

    @property
    def common(self) -> Simulation:
        """The first configuration, for what all have in common."""
        return self.simulations[0]

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return list(self.common.algorithms)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is recorded; nothing of single agents in a sweep."""
        observed = self.common.observed
        if not self.swept and len(self.simulations) == 1 and self.keep == "runs":
            return observed
        return tuple(metric for metric in observed if metric not in PER_AGENT)

    @functools.cached_property
    def optima(self) -> tuple[Optimum, ...]:
        """The reference optimum of each configuration; every problem is solved once."""
        solved: dict[Hashable, Optimum] = {}
        found = []
        for simulation in self.simulations:
            key = _problem_key(simulation)
            if key not in solved:
                solved[key] = simulation.problem.solve()
            found.append(solved[key])
        return tuple(found)

    @functools.cached_property
    def twins(self) -> dict[str, tuple[int, ...]]:
        """For each method and configuration, the first configuration that computes the same."""
        found = {}
        for method in self.methods:
            seen: dict[Hashable, int] = {}
            found[method] = tuple(
                seen.setdefault(self._identity(method, number), number)
                for number in range(len(self.simulations))
            )
        return found

    def _identity(self, method: str, number: int) -> Hashable:
        simulation = self.simulations[number]
        algorithm = simulation.algorithms[method]
        return (
            stacking.structure(algorithm),
            stacking.contents(algorithm),
            tuple(stacking.numbers(algorithm)),
            *_problem_key(simulation),
            _place_key(simulation),
        )

    @functools.cached_property
    def _varying(self) -> bool:
        """Whether problems of one structure differ in their numbers."""
        return len({tuple(stacking.numbers(s.problem)) for s in self.simulations}) > 1

    @property
    def devices(self) -> list[Place]:
        """Where blocks are computed: one thread for each processor or device."""
        local = jax.local_devices()
        if len(local) > 1:
            return [SingleDeviceSharding(device) for device in local]
        return [None] * (processors() if jax.default_backend() == "cpu" else 1)

    @functools.cached_property
    def block_lanes(self) -> int:
        """Lanes in a block, at most: what a cache holds, and work for every device."""
        if self.width is not None:
            return self.width
        total = self.common.runs * len(self.simulations)
        if self.common.block is not None:
            return min(self.common.block, total)
        elements = max(s.problem.agents * s.problem.dim for s in self.simulations)
        cpu = jax.default_backend() == "cpu"
        most = (_CPU_BLOCK_ELEMENTS if cpu else _GPU_BLOCK_ELEMENTS) // elements
        fair = -(-total // (len(self.devices) * self.shares))
        if self.keep == "summary":
            # Statistics are merged over blocks, and must not depend on how many devices there are.
            fair = _CPU_SUMMARY_LANES if cpu else _GPU_SUMMARY_LANES
        return min(total, max(128, min(fair, most)))

    @property
    def block_runs(self) -> int:
        """Runs of each configuration in a block: all of them, or as many as it has lanes."""
        return min(self.block_lanes, self.common.runs)

    @functools.cached_property
    def _groups(self) -> dict[str, list[_Group]]:
        return {method: self._groups_of(method) for method in self.methods}

    def _groups_of(self, method: str) -> list[_Group]:
        together: dict[Hashable, list[int]] = {}
        for number in dict.fromkeys(self.twins[method]):
            simulation = self.simulations[number]
            algorithm = stacking.without_schedules(simulation.algorithms[method])
            key = (
                stacking.structure(algorithm),
                stacking.structure(simulation.problem),
                stacking.contents(simulation.problem),
                stacking.contents(self.optima[number]),
                _place_key(simulation),
            )
            together.setdefault(key, []).append(number)
        groups = []
        for numbers in together.values():
            columns = max(1, min(len(numbers), self.block_lanes // self.common.runs))
            groups += [
                _Group(tuple(numbers[i : i + columns]), columns)
                for i in range(0, len(numbers), columns)
            ]
        return groups

    def blocks(self) -> list[Block]:
        """All blocks, method by method."""
        runs, step = self.common.runs, self.block_runs
        return [
            Block(method, group.configurations, first, min(step, runs - first))
            for method, groups in self._groups.items()
            for group in groups
            for first in range(0, runs, step)
        ]

    def program(self, block: Block) -> Program:
        """The program of a block; that of the block before, if it is the same."""
        numbers = block.configurations
        group = next(g for g in self._groups[block.method] if g.configurations == numbers)
        runs = self.block_runs if group.columns == 1 else block.runs
        return self._program(block.method, group, runs)

    @functools.cached_property
    def _program(self) -> Callable[[str, _Group, int], Program]:
        return functools.lru_cache(maxsize=1)(self._assemble)

    def _assemble(self, method: str, group: _Group, runs: int) -> Program:
        numbers = group.configurations
        simulations = [self.simulations[number] for number in numbers]
        first = simulations[0]
        return engine.program_for(
            [simulation.algorithms[method] for simulation in simulations],
            [simulation.problem for simulation in simulations],
            [self.optima[number] for number in numbers],
            first.network,
            seed=first.seed,
            precision=jnp.dtype(first.precision),
            metrics=self.metrics,
            x0=first.start,
            points=first.record,
            trace=first.trace,
            lanes=runs * group.columns,
            runs=runs,
            columns=group.columns,
            varying=self._varying,
            keep=self.keep,
            watcher=self.watchers.get(method),
        )

    def recordings(
        self,
        progress: Progress = lambda *_: None,
        *,
        wanted: Callable[[Block], bool] = lambda _: True,
        known: int = 0,
        saving: Callable[[Block], Saving | None] = lambda _: None,
    ) -> Iterator[tuple[Block, Recording]]:
        """Run all blocks that are `wanted`, in order, from run number `known` on.

        What is not run counts as done.
        """
        blocks = self.blocks()
        iterations = self.common.iterations
        totals = {
            method: sum(block.lanes for block in blocks if block.method == method) * iterations
            for method in self.methods
        }
        left = []
        for block in blocks:
            rest = block.after(known) if wanted(block) else block._replace(runs=0)
            if rest.runs:
                left.append(rest)
            if rest != block:
                progress(
                    block.method, (block.lanes - rest.lanes) * iterations, totals[block.method]
                )

        def report(block: Block, done: int) -> None:
            progress(block.method, done, totals[block.method])

        yield from run_blocks(left, self.program, self.devices, report, saving)


def _problem_key(simulation: Simulation) -> tuple[Hashable, ...]:
    problem = simulation.problem
    numbers = tuple(stacking.numbers(problem))
    return stacking.structure(problem), stacking.contents(problem), numbers


def _place_key(simulation: Simulation) -> Hashable:
    network = simulation.network
    return (
        network.coupling.shape,
        network.coupling.tobytes(),
        network.denominator,
        simulation.start.tobytes(),
    )


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Result:
    """What a simulation left behind, in the units of the problem; from `simulate`."""

    curves: "xr.Dataset"
    """Metrics [algorithm, iteration, (agent,) run], `status` and `failed_at` [algorithm, run], and
    `final_state` [algorithm, agent, coordinate, run]. NaN from where a run has failed."""
    traces: dict[str, Trace]
    """By method, integers of the traced runs; see `tracing.Trace`."""
    optimum: Optimum
    """The reference x*, F* that gaps and errors are taken from."""
    conditions: dict[str, tuple[Condition, ...]]
    """By method, its convergence conditions with verdicts."""
    simulation: Simulation
    """What was asked for; with it the traces can be replayed."""


def simulate(
    algorithms: Algorithm | Mapping[str, Algorithm],
    problem: Problem,
    network: Network,
    *,
    runs: int,
    iterations: int,
    seed: int = 0,
    trace: tuple[int, ...] = (),
    metrics: tuple[Metric, ...] | None = None,
    points: int = 200,
    spacing: Spacing = "log",
    precision: Precision = "float32",
    block: int | None = None,
    x0: Float[np.ndarray, "*agents dim"] | None = None,
    progress: Progress = lambda *_: None,
) -> Result:
    """Simulate methods on one problem and network, all with the same random draws.

    The update of each method is in its own docstring, with its source. States are
    [agents, dim, lanes] in units of x; metrics are in those of `observe.LABELS`.

    Run r draws the same random words in any batch and block size. For problems that are evaluated
    element by element (such as quadratics with d ≤ 8) its integers, too, are the same to the last
    bit; elsewhere floating point may round differently. `trace` names runs whose integers are kept
    (methods on the lattice only); `points` record points are spaced linearly or logarithmically;
    `precision` is that of gradients; `block` is the number of lanes computed at a time; `x0` is
    [agents, dim], or [dim] for all agents, by default the problem's own start; `metrics` are by
    default all that the problem has (see `observe.defaults`). `progress(method, done, total)` is
    told lane-iterations, by one thread at a time, which may not be the caller's. Violated
    convergence conditions are named in a `ConditionWarning`. Raises `InputError`, and
    `OptimumError` for a problem whose reference optimum cannot be computed.
    """
    if isinstance(algorithms, Algorithm):
        algorithms = {type(algorithms).__name__: algorithms}
    simulation = Simulation(
        algorithms,
        problem,
        network,
        runs,
        iterations,
        seed,
        tuple(trace),
        metrics,
        points,
        spacing,
        precision,
        block,
        x0,
    )
    simulation.warn()
    study = Study((simulation,))
    held: dict[str, list[Recording]] = {name: [] for name in simulation.algorithms}
    for done, recording in study.recordings(progress):
        held[done.method].append(recording)
    traces = {}
    for name, recordings in held.items():
        pieces = [recording.trace for recording in recordings if recording.trace is not None]
        if pieces:
            traces[name] = joined(pieces)
    curves = _dataset(simulation, held)
    return Result(curves, traces, study.optima[0], simulation.conditions(), simulation)


def _dataset(simulation: Simulation, held: dict[str, list[Recording]]) -> "xr.Dataset":
    import xarray as xr

    def stack(pick: Callable[[Recording], np.ndarray]) -> np.ndarray:
        return np.stack(
            [np.concatenate([pick(r) for r in parts], axis=-1) for parts in held.values()]
        )

    variables: dict[str, np.ndarray] = {
        metric: stack(lambda r, metric=metric: r.curves[metric]) for metric in simulation.observed
    }
    variables["status"] = stack(lambda r: r.status)
    variables["failed_at"] = stack(lambda r: r.failed_at)
    variables["final_state"] = stack(lambda r: r.final)
    return xr.Dataset(
        {name: (dimensions(name), value) for name, value in variables.items()},
        simulation.labels,
    )
