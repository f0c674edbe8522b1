"""One method under all views at once: its runs, and what each view's observers recorded."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int64

from dpe_jax import philox
from dpe_jax.algorithms import Algorithm, CentralizedSGD, EncryptedDSGD
from dpe_jax.draws import Draws
from dpe_jax.privacy.gradients import GradientWatch, Truth
from dpe_jax.privacy.states import Several, StateWatch
from dpe_jax.privacy.views import Neighbor, View, most_curious
from dpe_jax.problems import Problem
from dpe_jax.simulation import Simulation
from dpe_jax.study import Progress, Study
from dpe_jax.watching import Watcher

MOST_SAMPLED = 4
"""Coordinates of which single estimates are kept, evenly spaced."""


@dataclasses.dataclass(frozen=True)
class Observed:
    """What was recorded of one method."""

    iteration: Int64[np.ndarray, " points"]
    views: dict[str, dict[str, np.ndarray]]
    """By view, what its observers recorded: [points, ..., runs]."""
    metrics: dict[str, Float[np.ndarray, "points runs"]]
    start: int
    """The first iteration of averages."""
    goal: Float[np.ndarray, " dim"]
    """∇f_t(x*); NaN where no x* is known."""


def truth_of(simulation: Simulation, target: int) -> Truth:
    """The exact gradients of a simulation's problem."""
    problem = simulation.problem
    probes = [np.asarray(simulation.start, np.float64)[target]]
    if problem.has_optimum:
        probes.append(np.asarray(problem.solve().x, np.float64))
    answers = exact_gradients(problem, np.array(probes), target)
    goal = answers[-1] if problem.has_optimum else np.full(problem.dim, np.nan)
    return Truth(goal, np.array(probes), answers)


def observed(
    simulation: Simulation,
    method: str,
    views: Sequence[View],
    truth: Truth,
    *,
    start: int,
    control: bool = False,
    progress: Progress = lambda *_: None,
) -> Observed:
    """Run one method of a simulation with observers for every view."""
    problem, network = simulation.problem, simulation.network
    algorithm = simulation.algorithms[method]
    alone = dataclasses.replace(simulation, algorithms={method: algorithm}, trace=())
    target = views[0].target
    coordinates = _spread(problem.dim)
    watchers: dict[str, Watcher] = {}
    curious = (view.agent for view in views if isinstance(view, Neighbor))
    beside = next(curious, most_curious(network, target))
    for view in views:
        knowledge = view.knowledge(algorithm, network)
        x0 = jnp.asarray(alone.start)
        watchers[f"{view.name}|s"] = StateWatch(target, knowledge, beside, x0)
        if knowledge.source != "nothing":
            support = _support(algorithm)
            watchers[f"{view.name}|g"] = GradientWatch(
                target, knowledge, truth, start, coordinates, support, control
            )
    several = Several(tuple(watchers), tuple(watchers.values()))
    study = Study((alone,), watchers={method: several})
    pieces: dict[str, list[np.ndarray]] = {}
    for _, recording in sorted(study.recordings(progress), key=lambda found: found[0].first):
        for name, curve in recording.curves.items():
            pieces.setdefault(name, []).append(curve)
    columns = {name: np.concatenate(parts, axis=-1) for name, parts in pieces.items()}
    found: dict[str, dict[str, np.ndarray]] = {view.name: {} for view in views}
    for name in [name for name in columns if "|" in name]:
        view, _, rest = name.partition("|")
        found[view][rest.partition("/")[2]] = columns.pop(name)
    return Observed(alone.record, found, columns, start, np.asarray(truth.goal))


def audited(algorithm: Algorithm) -> bool:
    """Whether agents send anything at all."""
    return not isinstance(algorithm, CentralizedSGD)


def exact_gradients(
    problem: Problem, points: Float[np.ndarray, "points dim"], agent: int
) -> Float[np.ndarray, "points dim"]:
    """∇f_i of one agent at some points, in float64."""
    exact = problem.with_dtype(jnp.dtype("float64")).without_noise()
    low, high = philox.seed_key(0)
    lanes = jnp.arange(len(points), dtype=jnp.uint32)
    key = jnp.uint32(low), jnp.uint32(high)
    draws = Draws(key, lanes, jnp.uint32(0), problem.agents, problem.dim)
    x = jnp.broadcast_to(jnp.asarray(points.T), (problem.agents, problem.dim, len(points)))
    return np.asarray(exact.gradient(x, draws)[agent], np.float64).T


def _support(algorithm: Algorithm) -> tuple[float, float]:
    return algorithm.multipliers.support if isinstance(algorithm, EncryptedDSGD) else (1.0, 1.0)


def _spread(dim: int) -> tuple[int, ...]:
    return tuple(np.unique(np.linspace(0, dim - 1, min(dim, MOST_SAMPLED)).astype(int)).tolist())
