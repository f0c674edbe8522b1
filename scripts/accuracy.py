"""What each method costs in accuracy at a finite iteration, beside conventional DSGD.

    python scripts/accuracy.py [PRESET ...] [--out results/accuracy]

Runs every preset (or takes the finished result in dpe-results/accuracy), and writes PRESET.json and
PRESET.md: at several iterations F(x̄) − F* and max_i ‖x_i − x*‖ of each method relative to
conventional DSGD, with paired 95 % bootstrap intervals. How far a method has still to fall is told
by its last factor of ten in k: `last_tenth` is its mean at the end over that at a tenth of the run.

Two methods run beside those of the preset, to tell the encrypted method's prices apart:
"encrypted-common" has one stepsize for all and no random multipliers; "conventional-matched" is
conventional DSGD at the encrypted method's λ^k, if the preset has two. The first over the second is
the price of attenuation and quantization, the encrypted method over the first that of random
stepsizes; the variance of x̄ over runs stands beside what is predicted of it.

Of differentially private methods: ε, the floor that noise and vanishing stepsizes set by
themselves, beside the level that they end at, and the ε with which the noise alone would cost what
conventional DSGD ends at.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from dpe_jax import experiment
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bands import Course
from dpe_jax.compare import Comparison, compare
from dpe_jax.config import Config, parse
from dpe_jax.courses import courses
from dpe_jax.floor import floor
from dpe_jax.folder import write_json
from dpe_jax.inflation import inflation, variance_along_path
from dpe_jax.problems import Optimum
from dpe_jax.results import Stored, holds, load
from dpe_jax.simulation import Simulation

METRICS = ("gap_mean_state", "error_worst_agent")
TITLES = {"gap_mean_state": "F(x̄) − F*", "error_worst_agent": "max ‖x_i − x*‖"}
MATCHED, COMMON = "conventional-matched", "encrypted-common"
RESAMPLES = 2_000
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the run: the iterations that are tabulated."""


def main() -> None:
    """Run, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("results") / "accuracy")
    options = parser.parse_args()
    known = experiment.presets()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.presets or [n for n, c in known.items() if _comparable(c)]:
        stored = _result(known[name])
        report = _report(stored)
        write_json(options.out / f"{name}.json", report)
        (options.out / f"{name}.md").write_text(_table(report), encoding="utf-8")
        print(_table(report))


def _comparable(preset: Config) -> bool:
    """Whether a preset has the two methods that the price is made of."""
    return {"encrypted", "conventional"} <= set(preset.methods)


def _result(preset: Config) -> Stored:
    config = _with_references(preset)
    out = Path("dpe-results") / "accuracy" / config.name
    if holds(out, config):
        return load(out)
    return experiment.run(config, out, overwrite=out.exists(), mode="resume").stored


def _with_references(preset: Config) -> Config:
    tables = preset.model_dump(mode="json", exclude_none=True)
    encrypted, conventional = (tables["methods"][name] for name in ("encrypted", "conventional"))
    added = {COMMON: encrypted | {"multipliers": {"family": "none"}}}
    if encrypted["stepsize"] != conventional["stepsize"]:
        added[MATCHED] = conventional | {"stepsize": encrypted["stepsize"]}
    # What the preset checks is not the matter here.
    return parse(tables | {"methods": tables["methods"] | added, "checks": {}})


def _report(stored: Stored) -> dict[str, Any]:
    comparison = compare(stored, None, METRICS)
    iterations = stored.curves.iteration.values
    last = int(iterations[-1])
    points = sorted({int(np.argmin(abs(iterations - share * last))) for share in SHARES})
    report: dict[str, Any] = {
        "preset": stored.config.name,
        "baseline": comparison.baseline,
        "runs": comparison.runs,
        "iterations": iterations[points].tolist(),
        "failed": comparison.failed,
        "methods": {name: {} for name in comparison.methods},
    }
    tenth = int(np.argmin(abs(iterations - 0.1 * last)))
    for metric in METRICS:
        found = courses(stored, comparison, metric)
        for name in comparison.methods:
            mean = found.mean[name].mean
            entry: dict[str, Any] = {
                "mean": mean[points].tolist(),
                "last_tenth": float(mean[-1] / mean[tenth]),
            }
            if name in found.ratio:
                entry["ratio"] = _at(found.ratio[name], points)
            report["methods"][name][metric] = entry
    _add_predictions(report, stored, comparison)
    return report


def _at(course: Course, points: list[int]) -> list[dict[str, float]]:
    columns = (course.mean[points], course.low[points], course.high[points])
    return [
        {"ratio": float(mean), "low": float(low), "high": float(high)}
        for mean, low, high in zip(*columns, strict=True)
    ]


def _add_predictions(report: dict[str, Any], stored: Stored, comparison: Comparison) -> None:
    simulation = stored.config.build()
    problem, methods = simulation.problem, simulation.algorithms
    optimum = problem.solve()
    points = np.searchsorted(stored.curves.iteration.values, report["iterations"]).tolist()
    beside = MATCHED if MATCHED in methods else comparison.baseline
    for name, algorithm in methods.items():
        entry = report["methods"][name]
        if isinstance(algorithm, EncryptedDSGD) and name != COMMON:
            entry["price"] = _price(stored, simulation, optimum, name, beside, points)
        budget = stored.manifest["budget"].get(name)
        if budget:
            last = int(stored.curves.iteration.values[-1])
            least = floor(algorithm, problem, optimum, simulation.network, simulation.start, last)
            entry["budget"] = budget
            entry["floor"] = {"noise": least.noise, "start": least.start}
            # The variance of the noise falls like 1/ε².
            target = report["methods"][comparison.baseline]["gap_mean_state"]["mean"][-1]
            entry["epsilon_of_equal_noise"] = budget["total"] * float(np.sqrt(least.noise / target))


def _price(
    stored: Stored,
    simulation: Simulation,
    optimum: Optimum,
    name: str,
    beside: str,
    points: list[int],
) -> dict[str, Any]:
    """What random stepsizes cost, predicted and measured, and what the rest does."""
    algorithm, problem = simulation.algorithms[name], simulation.problem
    assert isinstance(algorithm, EncryptedDSGD)  # no other has such a price
    iterations = np.arange(simulation.iterations)
    rho = float(algorithm.multipliers.variance)
    near = inflation(problem, optimum, rho)
    along = variance_along_path(
        problem, simulation.start.mean(axis=0), algorithm.stepsize.values(iterations), rho
    )

    def gaps(numerator: str, denominator: str) -> list[dict[str, float]]:
        pair = compare(stored, denominator, ("gap_mean_state",))
        return _at(courses(stored, pair, "gap_mean_state").ratio[numerator], points)

    return {
        "beside": beside,
        "multiplier_variance": rho,
        "near_optimum": {
            "ratio": near.ratio,
            "noise": near.noise,
            "disagreement": near.disagreement,
        },
        "along_path": {
            "ratio": along.ratio,
            "conventional": along.conventional,
            "encrypted": along.multiplied,
            "largest_step": along.largest_step,
        },
        "variance": _variances(stored, name, beside),
        "random_stepsizes": gaps(name, COMMON),
        "attenuation_and_quantization": gaps(COMMON, beside),
    }


def _variances(stored: Stored, name: str, beside: str) -> dict[str, float]:
    """Of x̄ over runs at the end, summed over coordinates; their ratio with a paired interval."""
    x = stored.curves.final_state.sel(algorithm=[name, beside]).mean("agent")
    x = x.transpose("algorithm", "run", "coordinate").values
    x = x[:, np.isfinite(x).all(axis=(0, 2))]
    runs = x.shape[1]
    # Row 0 is what was observed: every run once.
    drawn = np.random.default_rng(0).multinomial(runs, np.full(runs, 1 / runs), size=RESAMPLES)
    weights = np.concatenate([np.ones((1, runs)), drawn]) / runs
    centred = x - x.mean(axis=1, keepdims=True)
    squares = np.einsum("wr,ard->wa", weights, centred**2)
    shifts = np.einsum("wr,ard->wad", weights, centred)
    variance = squares - (shifts**2).sum(axis=2)
    ratio = variance[:, 0] / variance[:, 1]
    low, high = np.quantile(ratio[1:], [0.025, 0.975])
    own, base = (float(value) * runs / (runs - 1) for value in variance[0])
    return {
        "ratio": float(ratio[0]),
        "low": float(low),
        "high": float(high),
        "encrypted": own,
        "conventional": base,
    }


def _table(report: dict[str, Any]) -> str:
    """Markdown: the ratios at each iteration."""
    lines = [
        f"# {report['preset']}: accuracy relative to {report['baseline']} DSGD",
        "",
        f"{report['runs']} paired runs; ratios of means with 95 % bootstrap intervals "
        "(`scripts/accuracy.py`).",
    ]
    for metric in METRICS:
        head = " | ".join(f"k = {k}" for k in report["iterations"])
        lines += ["", f"## {TITLES[metric]}", ""]
        lines += [f"| method | {head} | at the end | end / tenth of the run |"]
        lines += ["|---" * (len(report["iterations"]) + 3) + "|"]
        for name, entry in report["methods"].items():
            found = entry[metric]
            cells = ["1"] * len(report["iterations"])
            if "ratio" in found:
                cells = [_cell(one) for one in found["ratio"]]
            ends = f"{found['mean'][-1]:.2e}", f"{found['last_tenth']:.2f}"
            row = [name, *cells, *(end.replace("nan", "–") for end in ends)]
            lines.append(f"| {' | '.join(row)} |")
    told = []
    for name, entry in report["methods"].items():
        if "price" in entry:
            told += _price_lines(name, entry["price"], report["iterations"])
    for name, entry in report["methods"].items():
        if "floor" in entry:
            told += _floor_lines(name, entry)
    budgets = [entry["budget"] for entry in report["methods"].values() if "budget" in entry]
    assumptions = dict.fromkeys(text for budget in budgets for text in budget["assumptions"])
    if assumptions:
        told += ["- What ε rests on:", *(f"  - {text}" for text in assumptions)]
    failed = {name: count for name, count in report["failed"].items() if count}
    told += [f"- {name}: {count} runs failed and are left out." for name, count in failed.items()]
    return "\n".join([*lines, "", *told, ""])


def _price_lines(name: str, found: dict[str, Any], iterations: list[int]) -> list[str]:
    def over_k(cells: list[dict[str, float]]) -> str:
        return ", ".join(
            f"{_cell(one)} at k = {k}" for one, k in zip(cells, iterations, strict=True)
        )

    near, along, measured = found["near_optimum"], found["along_path"], found["variance"]
    predicted = f"{along['ratio']:.3g} ({along['encrypted']:.2e} over {along['conventional']:.2e})"
    if along["largest_step"] > 2:
        predicted += f", though λ‖∇²F‖ reaches {along['largest_step']:.2g}, which is unstable"
    return [
        f"- {name}, random stepsizes (beside `{COMMON}`): F(x̄) − F* is "
        f"{over_k(found['random_stepsizes'])} times as large.",
        f"- {name}, attenuation and quantization (`{COMMON}` beside `{found['beside']}`): "
        f"{over_k(found['attenuation_and_quantization'])} times.",
        f"- {name}, variance of x̄ over runs at the end, beside `{found['beside']}`: "
        f"{_cell(measured)} times ({measured['encrypted']:.2e} over "
        f"{measured['conventional']:.2e}). Predicted along the whole path: {predicted}; from the "
        f"moments at x* alone: {near['ratio']:.3g} (σ²d = {near['noise']:.3g}, "
        f"G² = {near['disagreement']:.3g}, ρ² = {found['multiplier_variance']:.3g}).",
    ]


def _floor_lines(name: str, entry: dict[str, Any]) -> list[str]:
    budget, least, end = entry["budget"], entry["floor"], entry["gap_mean_state"]["mean"][-1]
    return [
        f"- {name}: spends ε = {budget['total']:.4g} over the run. With exact gradients its noise "
        f"would leave F(x̄) − F* = {least['noise']:.2e} near x*, its stepsizes "
        f"{least['start']:.2e} of the start; it ends at {end:.2e}. The noise alone would cost what "
        f"the baseline ends at with ε = {entry['epsilon_of_equal_noise']:.3g}.",
    ]


def _cell(one: dict[str, float]) -> str:
    if not np.isfinite(one["ratio"]):
        return "–"
    return f"{one['ratio']:.3g} [{one['low']:.3g}, {one['high']:.3g}]"


if __name__ == "__main__":
    main()
