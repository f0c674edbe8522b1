"""Tune a preset's methods by a sweep, and write the winners into the preset.

    python scripts/tune.py PRESET [--methods NAME ...] [--runs 16] [--write]

Every method gets the candidates below, and larger or smaller stepsizes as long as the best is at an
end; the one with the least mean F(x̄) − F* at the last iteration wins, if no run fails in it and
that mean nowhere passes ten times its start; this must hold among as many runs as the preset has as
well. What decides privacy is not tuned: multipliers, δ, shares, and the ε that both differentially
private methods spend over the run, from which the Laplace scale follows. These clip gradients, so
that their ε holds, at a bound that is tuned: a share of the largest norm of 4096 stochastic
gradients of each agent at x_0 and at x*. Runs draw from seeds after the preset's own. With --write
the preset is rewritten, and all candidates go to results/tuning/PRESET.csv, where those of methods
not swept this time stay.
"""

import argparse
import csv
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import tomlkit
from jaxtyping import Array, Float

from dpe_jax import philox
from dpe_jax.config import parse
from dpe_jax.draws import Draws
from dpe_jax.lattice import OK
from dpe_jax.problems import Optimum, Problem
from dpe_jax.simulation import Simulation
from dpe_jax.study import simulate

ROOT = Path(__file__).parent.parent
PRESETS, RESULTS = ROOT / "dpe_jax" / "presets", ROOT / "results" / "tuning"

EPSILON = 1000.0
"""Spent over the run by each differentially private method. With a tenth of it the best is hardly
to move from x_0 (results/accuracy/epsilon.md)."""

SCALES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of stepsizes; c, the first one of GeometricDP, is a tenth of them."""

OVERSHOOT = 10.0
"""How many times its start the mean F(x̄) − F* may reach on the way."""

BEYOND, MOST_BEYOND = 10**0.5, 8
"""The factor to a scale beyond the ends, and how many are tried at most."""

GAMMAS = (0.3, 1.0)
"""Scales of the attenuation. Beyond 1, I + γW may leave the range of Lemma 1."""

RANGES = (4.0, 8.0, 16.0)
"""Of ternary messages: no state may leave it, and their variance grows with it."""

CLIPS = (0.3, 0.1, 0.03)
"""Shares of the largest gradient that differentially private methods clip at."""

RATES = ((0.7, 0.85), (0.9, 0.95), (0.97, 0.985))
"""q and p of GeometricDP."""

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


class Candidate(NamedTuple):
    """One setting of a method, and how it did."""

    scale: float
    """What its stepsizes are multiplied by."""
    changes: Tables
    gap: float
    """Mean F(x̄) − F* at the last iteration; NaN if a run failed."""
    out: str = ""
    """Why it cannot win: "failed" or "overshoots"."""


class Study(NamedTuple):
    """What all candidates of a preset have in common."""

    tables: Tables
    simulation: Simulation
    largest_gradient: float
    runs: int
    seed: int
    """Of the sweep: the preset's own results are not what it is tuned to."""
    epsilon: float = EPSILON


def main() -> None:
    """Sweep, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--methods", nargs="+", help="those to sweep (all)")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--write", action="store_true", help="write the winners into the preset")
    options = parser.parse_args()
    path = PRESETS / f"{options.preset}.toml"
    document: Any = tomlkit.parse(path.read_text(encoding="utf-8"))
    study = study_of(document.unwrap(), options.runs)
    tried = {name: sweep(study, name) for name in options.methods or study.tables["methods"]}
    chosen = {name: confirmed(study, name, candidates) for name, candidates in tried.items()}
    for name, best in chosen.items():
        if best.scale in _ends(tried[name]):
            print(f"{name}: the best is at an end", file=sys.stderr)
        better = [one for one in tried[name] if one.gap < best.gap]
        if better:
            print(
                f"{name}: better, but out: {min(better, key=lambda one: one.gap)}", file=sys.stderr
            )
        _assign(document["methods"][name], best.changes)
    found = rows(tried, chosen)
    if not options.write:
        write_rows(sys.stdout, found)
        return
    path.write_text(tomlkit.dumps(document), encoding="utf-8")
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / f"{options.preset}.csv"
    if kept.exists():
        with kept.open(encoding="utf-8", newline="") as file:
            found += [row for row in csv.DictReader(file) if row["method"] not in tried]
        order = list(study.tables["methods"])
        found.sort(key=lambda row: order.index(row["method"]))
    with kept.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, found)


def study_of(tables: Tables, runs: int) -> Study:
    """The problem and network of a preset's tables, with the largest gradient seen."""
    simulation = parse(tables).build()
    largest = _largest_gradient(simulation, simulation.problem.solve())
    return Study(tables, simulation, largest, runs, simulation.seed + 1)


def sweep(study: Study, name: str) -> list[Candidate]:
    """All candidates of a method; more scales while the best one is at an end."""
    tried: list[Candidate] = []
    method = study.tables["methods"][name]

    def try_scale(scale: float) -> None:
        for changes in _candidates(study, method, scale):
            tried.append(_tried(study, name, scale, changes))
            print(f"{study.tables['name']}: {name}: {tried[-1]}", file=sys.stderr)

    for scale in SCALES:
        try_scale(scale)
    for _ in range(MOST_BEYOND):
        low, high = _ends(tried)
        best = best_of(tried).scale
        if low < best < high:
            break
        try_scale(low / BEYOND if best == low else high * BEYOND)
    return tried


def best_of(tried: list[Candidate]) -> Candidate:
    """The one with the least gap."""
    return min(tried, key=lambda one: math.inf if one.out else one.gap)


def confirmed(study: Study, name: str, tried: list[Candidate]) -> Candidate:
    """The best of which no run fails among as many runs as the preset has, in draws of its own."""
    several = study._replace(runs=study.simulation.runs, seed=study.seed + 1)
    for one in sorted((one for one in tried if not one.out), key=lambda one: one.gap):
        again = _tried(several, name, one.scale, one.changes)
        if not again.out:
            return one
        print(f"{study.tables['name']}: {name}: in more runs: {again}", file=sys.stderr)
    raise SystemExit(f"{name}: every candidate failed")


def _ends(tried: list[Candidate]) -> tuple[float, float]:
    scales = [one.scale for one in tried]
    return min(scales), max(scales)


def _candidates(study: Study, method: Tables, scale: float) -> list[Tables]:
    """What is tried of a method at one scale of its stepsize."""
    kind = method["method"]
    stepsize = {"stepsize": {"scale": _rounded(scale)}}
    clips = [_rounded(share * study.largest_gradient) for share in CLIPS]
    if kind == "GeometricDP":
        unit = [
            {"c": _rounded(0.1 * scale), "q": q, "p": p, "gradient_bound": bound, "M": 1.0}
            for q, p in RATES
            for bound in clips
        ]
        return [one | {"M": _noise(study, method, one)} for one in unit]
    if kind == "TailoredDP":
        unit = [
            stepsize | {"gamma": {"scale": gamma}, "gradient_bound": bound, "noise": {"scale": 1.0}}
            for gamma in GAMMAS
            for bound in clips
        ]
        return [one | {"noise": {"scale": _noise(study, method, one)}} for one in unit]
    if "gamma" in method:
        settings = [stepsize | {"gamma": {"scale": gamma}} for gamma in GAMMAS]
        if kind == "TernaryDSGD":
            return [one | {"range": limit} for limit in RANGES for one in settings]
        return settings
    return [stepsize]


def _noise(study: Study, method: Tables, unit: Tables) -> float:
    """The Laplace scale that spends ε, given the changes with a scale of 1, which it divides."""
    tables = _STAND_IN | {"methods": {"m": merged(method, unit)}}
    simulation = study.simulation
    algorithm = parse(tables).methods["m"].build()
    budget = algorithm.budget(simulation.network, simulation.problem.dim, simulation.iterations)
    assert budget is not None  # it is differentially private
    # Up, so that no more than ε is spent.
    return _rounded(budget.total / study.epsilon, math.ceil)


def _rounded(value: float, to: Any = round) -> float:
    """To three digits."""
    digits = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{to(value / digits) * digits:.3g}")


def _tried(study: Study, name: str, scale: float, changes: Tables) -> Candidate:
    """Simulate one candidate."""
    method = merged(study.tables["methods"][name], changes)
    # What the preset checks of other methods does not matter here.
    simulation = parse(study.tables | {"methods": {name: method}, "checks": {}}).build()
    curves = simulate(
        simulation.algorithms,
        simulation.problem,
        simulation.network,
        runs=study.runs,
        iterations=simulation.iterations,
        seed=study.seed,
        metrics=("gap_mean_state",),
        points=30,
    ).curves
    if np.any(curves.status.values != OK):
        return Candidate(scale, changes, math.nan, "failed")
    gap = curves.gap_mean_state.values[0].mean(axis=1, dtype=np.float64)
    out = "overshoots" if gap.max() > OVERSHOOT * gap[0] else ""
    return Candidate(scale, changes, float(gap[-1]), out)


def merged(method: Tables, changes: Tables) -> Tables:
    """A table with some keys changed, in its tables as well."""
    changed = dict(method)
    for key, value in changes.items():
        changed[key] = merged(method.get(key, {}), value) if isinstance(value, dict) else value
    return changed


def _largest_gradient(simulation: Simulation, optimum: Optimum) -> float:
    """The largest norm seen at x_0 and x*."""
    starts = np.asarray(simulation.start), np.broadcast_to(optimum.x, simulation.start.shape)
    return max(float(_largest_norm(simulation.problem, jnp.asarray(x))) for x in starts)


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


def rows(tried: dict[str, list[Candidate]], chosen: dict[str, Candidate]) -> list[Tables]:
    """One a candidate: the method, what was changed, the gap, and whether it won."""
    found = []
    for name, candidates in tried.items():
        for one in candidates:
            gap = "" if math.isnan(one.gap) else f"{one.gap:.4g}"
            ends = {"gap": gap, "out": one.out, "chosen": int(one is chosen[name])}
            found.append({"method": name} | _flat(one.changes) | ends)
    return found


def write_rows(file: Any, found: list[Tables]) -> None:
    """As CSV, with a column for each setting."""
    keys = dict.fromkeys(key for row in found for key in row)
    settings = [key for key in keys if key not in ("method", "gap", "out", "chosen")]
    writer = csv.DictWriter(
        file, ["method", *settings, "gap", "out", "chosen"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(found)


def _flat(tables: Tables, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _assign(table: Any, changes: Tables) -> None:
    """Change values in place, so that the file keeps its comments and layout."""
    for key, value in changes.items():
        if isinstance(value, dict):
            _assign(table[key], value)
        else:
            table[key] = value


if __name__ == "__main__":
    main()
