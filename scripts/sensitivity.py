"""What convergence depends on: sweeps over multipliers, δ, exponents, networks and weights.

    python scripts/sensitivity.py [STUDY ...] [--runs N] [--iterations N] [--out DIR] [--redraw]

Runs `scripts/sensitivity/STUDY.toml` (all of them unless some are named) as `dpe sweep` does, sets
each number beside what theory says, and writes STUDY.json, .csv, .md and figures to
results/sensitivity. All but the rows of the JSON file is made from them: with --redraw nothing is
simulated.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import sensitivity_figures
import sensitivity_findings
import sensitivity_rows
import sensitivity_tables

from dpe_jax import experiment, sweep_run
from dpe_jax.compilation import keep_programs
from dpe_jax.folder import write_json
from dpe_jax.study import processors
from dpe_jax.sweep_statistics import as_csv

ROOT = Path(__file__).parent.parent
CONFIGS, RESULTS = Path(__file__).parent / "sensitivity", ROOT / "results" / "sensitivity"

STUDIES = ("multipliers", "delta", "exponents", "network", "weights")


def main() -> None:
    """Run, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument("--runs", type=int)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--redraw", action="store_true", help="from the JSON files that are there")
    options = parser.parse_args()
    for name in options.studies:
        if name not in STUDIES:
            parser.error(f"STUDY = {name!r}: expected one of {', '.join(STUDIES)}")
    keep_programs()
    changes = {key: getattr(options, key) for key in ("runs", "iterations")}
    for name in options.studies or STUDIES:
        path = options.out / f"{name}.json"
        if options.redraw:
            report = json.loads(path.read_text("utf-8"))
        else:
            report = measured(name, {k: v for k, v in changes.items() if v is not None})
            options.out.mkdir(parents=True, exist_ok=True)
        report["findings"] = sensitivity_findings.findings(report)
        write_json(path, report)
        write(report, options.out)
        print(f"{name}: {report['seconds']} s, written to {options.out}")


def measured(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Run a study's configuration with some keys changed: a row for each configuration."""
    config = experiment.override(experiment.find_config(str(CONFIGS / f"{name}.toml")), changes)
    began, used = time.perf_counter(), time.process_time()
    paired = name in sensitivity_rows.PAIRED
    planned = sweep_run.plan_sweep(config, "runs" if paired else "summary")
    with tempfile.TemporaryDirectory() as folder:
        stored = sweep_run.run_sweep(planned, Path(folder) / "sweep")
        simulated = time.perf_counter()
        rows = sensitivity_rows.rows(name, planned, stored.curves)
    return {
        "study": name,
        "description": config.description,
        "runs": config.runs,
        "iterations": config.iterations,
        "configurations": len(rows),
        "seconds": round(time.perf_counter() - began, 1),
        "seconds_of_the_sweep": round(simulated - began, 1),
        "processor_seconds": round(time.process_time() - used, 1),
        "processors": processors(),
        "rows": rows,
    }


def write(report: dict[str, Any], out: Path) -> None:
    """What follows from a report: tables and figures."""
    name = report["study"]
    (out / f"{name}.csv").write_text(as_csv(report["rows"]), encoding="utf-8")
    (out / f"{name}.md").write_text(sensitivity_tables.page(report), encoding="utf-8")
    sensitivity_figures.draw(report, out)


if __name__ == "__main__":
    main()
