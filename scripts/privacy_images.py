"""Pictures from what coalitions compute of one gradient: all methods, and all multipliers.

    python scripts/privacy_images.py [controls methods curves convnet quantization patches]

Writes results/privacy/images/: numbers of each part as JSON, figures as PNG and PDF. The methods
have the parameters of the preset `digits`, and what is attacked is one gradient of one picture at
iterations 0 and 100, through small networks with parameters drawn from U(−½, ½).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from dpe_jax import experiment
from dpe_jax.folder import write_json
from dpe_jax.privacy.images import draw, pictures, scores, study
from dpe_jax.privacy.images.coalitions import channel
from dpe_jax.privacy.images.draw import Line, Row
from dpe_jax.privacy.images.networks import ConvNet, FullyConnected
from dpe_jax.privacy.images.observed import Channel, RandomStepsizes, Shares, States
from dpe_jax.privacy.images.study import Attack, Effort, Outcome, Targets
from dpe_jax.stepsizes import Uniform

OUT = Path(__file__).resolve().parent.parent / "results" / "privacy" / "images"
ITERATIONS = 0, 100
SEARCHES: dict[Attack, Effort] = {"plain": Effort(100, 1), "informed": Effort(60, 2)}
VARIANCES = (0.0, 0.1, 1 / 3, 1.0, 3.0, 10.0, 30.0)
FAMILIES: tuple[study.Family, ...] = ("uniform", "lognormal", "normal")
KINDS: tuple[Attack, ...] = ("plain", "informed", "rows")
SHOWN = 8


def main() -> None:
    """Measure the parts that are named, by default all."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "controls": _controls,
        "methods": _methods,
        "curves": _curves,
        "convnet": _convnet,
        "quantization": _quantization,
        "patches": _patches,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name in options.parts or parts:
        began = time.perf_counter()
        write_json(OUT / f"{name}.json", parts[name]())
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


def _digits(count: int) -> Targets:
    return study.targets(FullyConnected(), pictures.digits(count))


def _controls() -> dict[str, Any]:
    """Both controls of every attack."""
    of = _digits(32)
    attacks: tuple[Attack, ...] = ("plain", "idlg", "cosine", "informed", "rows")
    report: dict[str, Any] = {}
    for kind in attacks:
        found = study.controls(of, kind)
        report[kind] = {
            "plaintext": found.plaintext.record(),
            "noise": found.noise.record(),
            "other_pictures": found.other.record(),
        }
        report["chance"] = {
            "psnr_median": round(float(np.median(found.chance.psnr)), 2),
            "psnr_best": round(float(found.chance.psnr.max()), 2),
            "ssim_median": round(float(np.median(found.chance.ssim)), 3),
        }
    return report


def channels(iteration: int) -> dict[str, Channel]:
    """Of every decentralized method of the preset at one iteration, and of some views of it."""
    tables = experiment.find_config("digits").methods
    method = {name: table.build() for name, table in tables.items() if name != "centralized"}
    encrypted = method["encrypted"]
    signed = eqx.tree_at(lambda m: m.multipliers, encrypted, Uniform(4.0))
    return {
        "conventional": channel(method["conventional"], iteration),
        "ternary, messages": channel(method["ternary"], iteration),
        "ternary, states": channel(method["ternary"], iteration, states=True),
        "function-sharing, all but one": channel(method["function-sharing"], iteration),
        "function-sharing, all neighbors": channel(
            method["function-sharing"], iteration, unknown_links=0
        ),
        "state-sharing, all but one": channel(method["state-sharing"], iteration),
        "geometric-dp": channel(method["geometric-dp"], iteration),
        "tailored-dp": channel(method["tailored-dp"], iteration),
        "encrypted, levels": channel(encrypted, iteration),
        "encrypted, states": channel(encrypted, iteration, states=True),
        "encrypted 1 ± 4, levels": channel(signed, iteration),
        "encrypted 1 ± 4, states": channel(signed, iteration, states=True),
    }


def _methods() -> dict[str, Any]:
    """All methods, all attacks."""
    of = _digits(32)
    report: dict[str, Any] = {"network": of.network.describe()}
    attacks: tuple[Attack, ...] = ("plain", "cosine", "informed", "rows")
    for iteration in ITERATIONS:
        rows = [Row("original", of.pictures.values[:SHOWN])]
        found: dict[str, Any] = {}
        for name, seen in channels(iteration).items():
            outcomes = {kind: _attack(of, seen, kind) for kind in attacks}
            found[name] = {kind: outcome.record() for kind, outcome in outcomes.items()}
            label = name.replace(", ", "\n", 1)
            kinds = ("plain", "informed") if name.startswith("encrypted") else ("informed",)
            rows += [_row(f"{label}: {kind}", outcomes[kind]) for kind in kinds]
        report[f"iteration {iteration}"] = found
        title = f"Digits from one gradient at iteration {iteration}, {of.network.describe()}"
        draw.gallery(rows, of.pictures.shape, title, OUT, f"methods-{iteration}")
    return report


def _attack(of: Targets, seen: Channel, kind: Attack, times: int = 1) -> Outcome:
    return study.attack(of, seen, kind, effort=SEARCHES.get(kind, Effort(100, 1)), times=times)


def _curves() -> dict[str, Any]:
    """Success over the variance of multipliers, fully connected; and over repeated iterations."""
    of = _digits(32)
    report: dict[str, Any] = {"network": of.network.describe()}
    for family in FAMILIES:
        variances = [v for v in VARIANCES if family != "lognormal" or v <= 3]
        for kind in KINDS:
            effort = SEARCHES.get(kind, Effort())
            points = study.curve(of, family, variances, kind, effort=effort)
            report[f"{family}, {kind}"] = _points(points)
        lines = [Line(f"{family}: {kind}", report[f"{family}, {kind}"]) for kind in KINDS]
        draw.curves(lines, _chance(of), _title(of, family), OUT, f"variance-{family}")
    repeated = {}
    for half_width in (1.0, 4.0):
        for times in (1, 4, 16):
            for kind in KINDS[1:]:
                seen = RandomStepsizes(Uniform(half_width))
                outcome = _attack(of, seen, kind, times)
                repeated[f"uniform, 1 ± {half_width:g}, {kind}, {times}"] = outcome.record()
    return {**report, "repeated": repeated}


def _convnet() -> dict[str, Any]:
    """Success over the variance of multipliers through the ConvNet."""
    of = study.targets(ConvNet(), pictures.digits(12))
    report: dict[str, Any] = {"network": of.network.describe()}
    lines: list[Line] = []
    efforts: dict[Attack, Effort] = {"plain": Effort(200, 1), "informed": Effort(60, 2)}
    for kind, effort in efforts.items():
        points = study.curve(of, "uniform", VARIANCES, kind, effort=effort)
        report[f"uniform, {kind}"] = _points(points)
        lines.append(Line(f"uniform: {kind}", report[f"uniform, {kind}"]))
    draw.curves(lines, _chance(of), _title(of, "uniform"), OUT, "variance-convnet")
    return report


def _quantization() -> dict[str, Any]:
    """What levels hide beside multipliers: over δ/λ̄ in units of the gradient's mean size."""
    report: dict[str, Any] = {}
    for of, kinds in (
        (_digits(32), KINDS),
        (study.targets(ConvNet(), pictures.digits(12)), KINDS[:2]),
    ):
        size = float(np.sqrt(np.mean(np.square(np.asarray(of.gradients)))))
        rows = []
        for ratio in (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
            seen = RandomStepsizes(Uniform(1.0), delta=ratio * size)
            rows += [{"ratio": ratio, **_attack(of, seen, kind).record()} for kind in kinds]
        report[of.network.describe()] = {"gradient_rms": float(f"{size:.4g}"), "rows": rows}
    return report


def _patches() -> dict[str, Any]:
    """Patches of photographs."""
    chosen = pictures.patches(6)
    convolutional = study.targets(ConvNet((32, 32, 3)), chosen)
    connected = study.targets(FullyConnected((32, 32, 3)), chosen)
    effort = Effort(1000, 1, 150)
    positive, signed = RandomStepsizes(Uniform(1.0)), RandomStepsizes(Uniform(4.0))
    measured: list[tuple[str, Targets, Channel, Attack, Effort]] = [
        ("conventional\nConvNet: plain", convolutional, States(1.0), "plain", effort),
        ("function-sharing\nConvNet: plain", convolutional, Shares(1.0), "plain", effort),
        ("multipliers 1 ± 1\nConvNet: plain", convolutional, positive, "plain", effort),
        (
            "multipliers 1 ± 1\nConvNet: informed",
            convolutional,
            positive,
            "informed",
            Effort(100, 1, 100),
        ),
        ("conventional\nconnected: rows", connected, States(1.0), "rows", effort),
        ("function-sharing\nconnected: rows", connected, Shares(1.0), "rows", effort),
        ("multipliers 1 ± 1\nconnected: rows", connected, positive, "rows", effort),
        ("multipliers 1 ± 4\nconnected: rows", connected, signed, "rows", effort),
    ]
    report, rows = {}, [Row("original", chosen.values)]
    for name, of, seen, kind, effort in measured:
        outcome = study.attack(of, seen, kind, effort=effort)
        report[name.replace("\n", ", ")] = outcome.record()
        rows.append(_row(name, outcome))
        print(name.replace("\n", ", "), outcome.record()["psnr_median"], flush=True)
    draw.gallery(rows, chosen.shape, "Patches of photographs from one gradient", OUT, "patches")
    return report


def _row(name: str, outcome: Outcome) -> Row:
    return Row(name, outcome.found[:SHOWN], outcome.scores.mse[:SHOWN])


def _chance(of: Targets) -> float:
    """What one who sees nothing reaches with the mean of other pictures."""
    values = of.pictures.values
    constant = np.broadcast_to(of.pictures.typical, values.shape)
    return float(np.median(scores.score(constant, values, of.pictures.shape).psnr))


def _points(points: list[tuple[float, Outcome]]) -> list[dict[str, Any]]:
    return [{"variance": round(v, 4), **outcome.record()} for v, outcome in points]


def _title(of: Targets, family: str) -> str:
    count = len(of.pictures.labels)
    return f"{family} multipliers, {of.network.describe()}: {count} digits, one gradient each"


if __name__ == "__main__":
    main()
