"""What the ε of differential privacy costs in accuracy, each method tuned for it.

    python scripts/privacy_price.py [PRESET ...] [--epsilon 100 1000 10000] [--runs 16]

For every preset with differentially private methods, and every ε over the run, sweeps these methods
as `scripts/tune.py` does, whose results it takes where ε is the same. Writes
results/accuracy/epsilon.json, with the other presets' rows kept, and epsilon.md: the mean
F(x̄) − F* that the best candidate ends at, beside what conventional DSGD ends at as tuned, and what
x_0 has.
"""

import argparse
import csv
import json
import tomllib
from typing import Any

import jax.numpy as jnp
from tune import EPSILON, PRESETS, RESULTS, ROOT, Candidate, Study, best_of, study_of, sweep

from dpe_jax import experiment
from dpe_jax.folder import write_json

OUT = ROOT / "results" / "accuracy"
PRIVATE = ("GeometricDP", "TailoredDP")


def main() -> None:
    """Sweep and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[100.0, 1000.0, 10000.0])
    parser.add_argument("--runs", type=int, default=16)
    options = parser.parse_args()
    path = OUT / "epsilon.json"
    report: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in options.presets or experiment.presets():
        study = study_of(tomllib.loads((PRESETS / f"{name}.toml").read_text("utf-8")), options.runs)
        if any(method["method"] in PRIVATE for method in study.tables["methods"].values()):
            report[name] = _prices(study, options.epsilon)
            OUT.mkdir(parents=True, exist_ok=True)
            write_json(path, report)
            (OUT / "epsilon.md").write_text(_table(report), encoding="utf-8")
    print(_table(report))


def _prices(study: Study, epsilons: list[float]) -> dict[str, Any]:
    methods = study.tables["methods"]
    problem = study.simulation.problem
    start = jnp.asarray(study.simulation.start).mean(axis=0)[:, None]
    conventional = next(n for n, m in methods.items() if m["method"] == "ConventionalDSGD")
    tuned = _tuned(study.tables["name"])
    prices: dict[str, Any] = {
        "runs": study.runs,
        "iterations": study.simulation.iterations,
        "start": float(problem.excess(start, problem.solve())[0]),
        "conventional": tuned[conventional],
        "methods": {},
    }
    for name, method in methods.items():
        if method["method"] in PRIVATE:
            prices["methods"][name] = {
                f"{epsilon:g}": tuned[name]
                if epsilon == EPSILON
                else _least(sweep(study._replace(epsilon=epsilon), name))
                for epsilon in epsilons
            }
    return prices


def _least(tried: list[Candidate]) -> float:
    best = best_of(tried)
    if best.out:
        raise SystemExit("every candidate is out")
    return best.gap


def _tuned(preset: str) -> dict[str, float]:
    """Each method's least gap in the sweep at the preset's ε."""
    best: dict[str, float] = {}
    with (RESULTS / f"{preset}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["out"]:
                name, gap = row["method"], float(row["gap"])
                best[name] = min(gap, best.get(name, gap))
    return best


def _table(report: dict[str, Any]) -> str:
    epsilons = list(
        dict.fromkeys(e for p in report.values() for m in p["methods"].values() for e in m)
    )
    lines = [
        "# What ε costs: F(x̄) − F* at the end of the run, each method tuned for each ε",
        "",
        "ε is that of the whole run, for one agent's cost, under the assumptions that each method "
        "states, gradients clipped (`scripts/privacy_price.py`). A value at that of x_0 means that "
        "the best is not to move.",
        "",
        f"| preset | x_0 | conventional | method | {' | '.join(f'ε = {e}' for e in epsilons)} |",
        "|---" * (4 + len(epsilons)) + "|",
    ]
    for preset, prices in report.items():
        for name, found in prices["methods"].items():
            cells = [f"{found[e]:.2e}" if e in found else "–" for e in epsilons]
            ends = f"{prices['start']:.2e} | {prices['conventional']:.2e}"
            lines.append(f"| {preset} | {ends} | {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
