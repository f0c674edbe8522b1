"""Tune the stepsizes of a preset's methods by a sweep, and write them into the preset.

    python scripts/tune.py PRESET [--runs 32] [--write]

Every method gets the candidates below, and more beyond as long as the best is at an end; the one
with the least mean F(x̄) − F* at the last iteration wins, and one with a run that failed is out.
What decides privacy is not tuned: multipliers, δ, shares, the ternary range, and the ε that both
differentially private methods spend over the run, for which the Laplace scale follows from the
stepsize. Their gradient bound C is a tenth above the largest norm of 4096 stochastic gradients of
each agent at x_0 and at x*, which is an estimate: the methods do not clip. Prints one JSON object
with all candidates.
"""

import argparse
import json
import math
import sys
import tomllib
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import tomli_w
from jaxtyping import Array, Float

from dpe_jax import philox
from dpe_jax.config import parse
from dpe_jax.draws import Draws
from dpe_jax.lattice import OK
from dpe_jax.problems import Optimum, Problem
from dpe_jax.simulation import Simulation, simulate

PRESETS = Path(__file__).parent.parent / "dpe_jax" / "presets"
EPSILON = 100.0
"""Spent over the run by each differentially private method."""

SCALES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of stepsizes (of GeometricDP a tenth of them, c). A winner at an end calls for one beyond."""

BEYOND, MOST_BEYOND = 10**0.5, 6
"""The factor to a scale beyond the ends, and how many are tried at most."""

GAMMAS = (0.3, 1.0)
_DRAWS = 4096
_STAND_IN = {
    "name": "tuned",
    "runs": 1,
    "iterations": 1,
    "network": {"graph": "ring", "agents": 3},
    "problem": {"kind": "quadratic", "dim": 1, "seed": 0},
}
"""A configuration to validate one method's table in."""


Tables = dict[str, Any]


def main() -> None:
    """Sweep, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--write", action="store_true", help="write the winners into the preset")
    options = parser.parse_args()
    path = PRESETS / f"{options.preset}.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    simulation = parse(tables).build()
    optimum = simulation.problem.solve()
    bound = _gradient_bound(simulation, optimum)
    report: Tables = {"preset": options.preset, "runs": options.runs, "epsilon": EPSILON}
    report |= {"iterations": simulation.iterations, "gradient_bound": bound, "methods": {}}
    for name, method in tables["methods"].items():
        tried = _sweep(tables, name, method, bound, simulation, options.runs)
        best = _best(tried)
        at_end = best["scale"] in (_ends(tried))
        report["methods"][name] = {"best": best, "at_end": at_end, "candidates": tried}
        if best["gap"] is None:
            raise SystemExit(f"{name}: every candidate failed")
        tables["methods"][name] = _merged(method, best["changes"])
    print(json.dumps(report, indent=2))
    if options.write:
        path.write_text(tomli_w.dumps(tables), encoding="utf-8")


def _sweep(
    tables: Tables, name: str, method: Tables, bound: float, simulation: Simulation, runs: int
) -> list[Tables]:
    """All candidates of a method; more scales while the best one is at an end."""
    tried: list[Tables] = []

    def try_scale(scale: float) -> None:
        for changes in _candidates(method, scale, bound, simulation):
            gap = _gap(tables, name, _merged(method, changes), runs)
            tried.append({"scale": scale, "changes": changes, "gap": gap})
            print(f"{tables['name']}: {name}: {tried[-1]}", file=sys.stderr)

    for scale in SCALES:
        try_scale(scale)
    for _ in range(MOST_BEYOND):
        low, high = _ends(tried)
        best = _best(tried)["scale"]
        if low < best < high:
            break
        try_scale(low / BEYOND if best == low else high * BEYOND)
    return tried


def _best(tried: list[Tables]) -> Tables:
    return min(tried, key=lambda one: math.inf if one["gap"] is None else one["gap"])


def _ends(tried: list[Tables]) -> tuple[float, float]:
    scales = [one["scale"] for one in tried]
    return min(scales), max(scales)


def _candidates(method: Tables, scale: float, bound: float, simulation: Simulation) -> list[Tables]:
    """What is tried of a method at one scale of its stepsize."""
    kind = method["method"]
    if kind == "GeometricDP":
        changes = {"c": 0.1 * scale, "gradient_bound": bound}
        spent = _spent(_merged(method, changes | {"M": 1.0}), simulation)
        return [changes | {"M": spent / EPSILON}]
    changes = {"stepsize": {"scale": scale}}
    if kind == "TailoredDP":
        return [_noisy(method, changes, bound, simulation)]
    if "gamma" in method:
        return [changes | {"gamma": {"scale": gamma}} for gamma in GAMMAS]
    return [changes]


def _noisy(method: Tables, changes: Tables, bound: float, simulation: Simulation) -> Tables:
    """The same with the Laplace scale that spends ε."""
    unit = changes | {"gradient_bound": bound, "noise": {"scale": 1.0}}
    spent = _spent(_merged(method, unit), simulation)
    return unit | {"noise": {"scale": spent / EPSILON}}


def _spent(method: Tables, simulation: Simulation) -> float:
    """ε over the run; it is inversely proportional to the Laplace scale."""
    algorithm = parse(_STAND_IN | {"methods": {"m": method}}).methods["m"].build()
    problem, network = simulation.problem, simulation.network
    budget = algorithm.budget(network, problem.dim, simulation.iterations)
    assert budget is not None  # it is differentially private
    return budget.total


def _gap(tables: Tables, name: str, method: Tables, runs: int) -> float | None:
    """Mean F(x̄) − F* at the last iteration, or None where a run failed."""
    config = parse(_alone(tables, name, method))
    simulation = config.build()
    result = simulate(
        simulation.algorithms,
        simulation.problem,
        simulation.network,
        runs=runs,
        iterations=simulation.iterations,
        seed=simulation.seed + 1,
        metrics=("gap_mean_state",),
        points=2,
    )
    if np.any(result.curves.status.values != OK):
        return None
    return float(result.curves.gap_mean_state.values[0, -1].mean())


def _alone(tables: Tables, name: str, method: Tables) -> Tables:
    return tables | {"methods": {name: method}}


def _merged(method: Tables, changes: Tables) -> Tables:
    """A table with some keys changed, in its tables as well."""
    merged = dict(method)
    for key, value in changes.items():
        merged[key] = _merged(method.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def _gradient_bound(simulation: Simulation, optimum: Optimum) -> float:
    """A tenth above the largest norm seen at x_0 and x*, to two digits."""
    starts = np.asarray(simulation.start), np.broadcast_to(optimum.x, simulation.start.shape)
    largest = max(float(_largest_norm(simulation.problem, jnp.asarray(x))) for x in starts)
    digits = 10.0 ** (math.floor(math.log10(largest)) - 1)
    return math.ceil(1.1 * largest / digits) * digits


@eqx.filter_jit
def _largest_norm(problem: Problem, x: Float[Array, "agents dim"]) -> Float[Array, ""]:
    low, high = philox.seed_key(0)
    run = jnp.arange(_DRAWS // 16, dtype=jnp.uint32)
    at = jnp.broadcast_to(x[..., None], (*x.shape, len(run)))
    norms = []
    for time in range(16):
        key = jnp.uint32(low), jnp.uint32(high)
        draws = Draws(key, run, jnp.uint32(time), problem.agents, problem.dim)
        norms.append(jnp.linalg.norm(problem.gradient(at, draws), axis=1).max())
    return jnp.max(jnp.stack(norms))


if __name__ == "__main__":
    main()
