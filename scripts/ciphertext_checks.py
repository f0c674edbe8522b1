"""Check ciphertexts of 2048 bits and write what was found to results/privacy/ciphertexts.json.

The audit of `dpe_jax.privacy.ciphertexts`, and beside it the transcript of a real stretch of the
preset `five-agents`: lengths, repeats, and whether bytes tell on which side of its median a
coordinate is. docs/privacy_ciphertexts.md explains the figures.

    python scripts/ciphertext_checks.py [--key-bits 2048] [--workers 2] [--out FILE]
    python scripts/ciphertext_checks.py --tables

The second prints the tables of that page from the file, and checks nothing.
"""

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dpe_jax.experiment import find_config, override
from dpe_jax.fanout import Processes
from dpe_jax.folder import read_json, write_json
from dpe_jax.paillier.setup import Encryption
from dpe_jax.privacy.ciphertexts import audit
from dpe_jax.privacy.recorded import wires

OUT = Path(__file__).parent.parent / "results" / "privacy" / "ciphertexts.json"
_SHORTEST = 2048


def main(arguments: list[str] | None = None) -> int:
    """Check, print and write; 1 if something was found that should not be, or the reverse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--key-bits", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args(arguments)
    if options.tables:
        print("\n\n".join(tables(read_json(options.out))))
        return 0
    began = time.perf_counter()
    insecure = options.key_bits < _SHORTEST
    found = audit(options.key_bits, insecure_test_keys=insecure, fanout=Processes(options.workers))
    simulation = override(find_config("five-agents"), {"runs": 1}).build()
    encryption = Encryption("fast", "short", options.key_bits, insecure)
    trajectory = wires(simulation, encryption)["encrypted"]
    seconds = time.perf_counter() - began
    versions = {name: version(name) for name in ("dpe-jax", "phe", "gmpy2", "scikit-learn")}
    where = {
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": versions,
    }
    result = found.to_dict() | {"five_agents": trajectory.to_dict(), "wall_seconds": seconds}
    result["where"] = where
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)
    print("\n\n".join(tables(read_json(options.out))))
    verdict = "passed" if found.passed else "FAILED"
    print(f"\n{verdict}: p = {found.family_p:.2g} of {len(found.tests)} tests, {seconds:.0f} s")
    sound = trajectory.sizes.fixed and trajectory.repeats == 0
    return 0 if found.passed and sound else 1


def tables(result: dict[str, Any]) -> list[str]:
    """The four tables of docs/privacy_ciphertexts.md, from what the file holds."""
    return [
        _experiments(result["experiments"]),
        _controls(result["controls"]),
        _wires(result),
        _timings(result["timings"]),
    ]


def _experiments(experiments: list[dict[str, Any]]) -> str:
    rows = [
        [
            one["scheme"],
            one["path"],
            str(one["trials"]),
            *(_interval(found["signed"]) for found in one["adversaries"].values()),
            f"{one['uniform_bytes']['least_p']:.2f}",
        ]
        for one in experiments
    ]
    return _table(
        ["scheme", "path", "trials", "known", "challenges", "classifier", "p of bytes"], rows
    )


def _controls(controls: list[dict[str, Any]]) -> str:
    """Of each flaw the path on which its best adversary does worst."""
    worst: dict[tuple[str, str], tuple[float, str, list[float], str]] = {}
    for one in controls:
        who, best = max(one["adversaries"].items(), key=lambda item: item[1]["advantage"][0])
        place = one["scheme"], one["flaw"]
        found = best["advantage"][0], who, best["signed"], one["path"]
        worst[place] = min(worst.get(place, found), found)
    rows = [
        [scheme, flaw, path, who, _interval(signed)]
        for (scheme, flaw), (_, who, signed, path) in worst.items()
    ]
    return _table(["scheme", "flaw", "path", "adversary", "advantage"], rows)


def _wires(result: dict[str, Any]) -> str:
    wires = [("chosen", wire) for wire in result["transcripts"] + result["transcript_controls"]]
    rows = []
    for states, wire in [*wires, ("five-agents", result["five_agents"])]:
        attacks = [wire["attacks"].get(kind) for kind in ("level", "reply")]
        cells = ["" if found is None else _interval(found["advantage"]) for found in attacks]
        fixed = "yes" if wire["sizes"]["fixed"] else "no"
        counts = [str(wire["iterations"]), fixed, str(wire["repeats"])]
        rows.append([wire["scheme"], states, *counts, *cells])
    heads = ["scheme", "states", "iterations", "fixed sizes", "repeats", "levels", "replies"]
    return _table(heads, rows)


def _timings(timings: dict[str, dict[str, Any]]) -> str:
    rows = []
    for scheme, paths in timings.items():
        for path, found in paths.items():
            medians = [f"{1e3 * median:.3f}" for median in found["median_seconds"]]
            rows.append([scheme, path, *medians, _interval(found["threshold"]["signed"])])
    return _table(["scheme", "path", "median, 0 (ms)", "median, other (ms)", "advantage"], rows)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(estimate: list[float]) -> str:
    # Adding 0 makes 0 of a −0.
    value, low, high = (round(number, 2) + 0.0 for number in estimate)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
