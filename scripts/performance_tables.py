"""Fill the tables of docs/performance.md from `results/bench`.

    python scripts/performance_tables.py [--check]

With --check nothing is written, and the exit status is 1 if a table would change.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from dpe_jax.bench.sheets import Sheet, sheets, short

ROOT = Path(__file__).parent.parent
PAGE, RESULTS = ROOT / "docs" / "performance.md", ROOT / "results" / "bench"

MACHINES = ("engine", "engine-jax-0.12", "engine-xeon")
"""Reports of the engine beside its competitors."""

WANTED = {
    "engine_over_floor": ("times the floor", 2.0, True),
    "numpy_over_engine": ("times as fast as NumPy", 6.0, False),
    "vmap_over_engine": ("times as fast as `vmap`", 20.0, False),
}
"""Ratios: what they are, the limit, and whether it is the most."""


def main() -> int:
    """Fill, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    made = filled(text, RESULTS)
    if options.check:
        return 0 if made == text else 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


def filled(text: str, results: Path) -> str:
    """The page with the tables of every part between its marks; a missing file is an error."""

    def of_part(found: re.Match[str]) -> str:
        part = found[1]
        if part in SPECIAL:
            return f"<!-- {part} -->\n{SPECIAL[part](results)}<!-- end -->"
        report = json.loads((results / f"{part}.json").read_text(encoding="utf-8"))
        body = markdown(part, report)
        return f"<!-- {part} -->\n{body}<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", of_part, text, flags=re.DOTALL)


def wanted(results: Path) -> str:
    """What the engine was to reach beside its competitors, and where it does."""
    reports = [
        json.loads((results / f"{name}.json").read_text(encoding="utf-8")) for name in MACHINES
    ]
    machines = [f"{report['cpu']}, jax {report['versions']['jax']}" for report in reports]
    rows = []
    for name, (what, limit, most) in WANTED.items():
        cells = []
        for report in reports:
            ratio, (low, high) = report["ratios"][name], report["ratios_within_turns"][name]
            reached = ratio <= limit if most else ratio >= limit
            cells.append(f"{ratio:.2f} ({low:.3g} – {high:.3g}){'' if reached else ', missed'}")
        rows.append((what, f"at {'most' if most else 'least'} {limit:g}", *cells))
    return table(Sheet("wanted", ("", "wanted", *machines), rows))


def blocks(results: Path) -> str:
    """What `scripts/bench_blocks.py` found, as a table and three sentences."""
    report = json.loads((results / "blocks.json").read_text(encoding="utf-8"))
    found, calls, brief = report["blocks"], report["calls"], report["short"]
    rows = []
    for size, ratio in found["ratios"].items():
        least, most = found["range_ns"][size]
        ns, ends = short(found[f"{size}_ns"]), f"{short(least)} – {short(most)}"
        rows.append((f"{int(size):,}", ns, ends, f"{ratio:.2f}"))
    head = ("lanes in a block", "ns / step", "least – most", f"× {found['own']:,}")
    least, most = report["devices"]["range_ns"]["engine"]
    low, high = brief["ratios_within_turns"]["vmap_over_engine"]
    few = [f"{seconds:.2f} s for {count}" for count, seconds in calls["seconds"].items()]
    return (
        f"{table(Sheet('blocks', head, rows))}\n"
        f"Two forced host devices in place of two threads: {short(report['devices']['engine_ns'])} "
        f"ns ({short(least)} – {short(most)}).\n"
        f"With {brief['iterations']} iterations: {short(brief['engine_ns'])} ns, and `vmap` takes "
        f"{brief['vmap_over_engine']:.1f} times as long ({low:.3g} – {high:.3g}).\n"
        f"{calls['runs']:,} runs: {', '.join(few)} iterations.\n\n"
        f"{measured_on(report)}\n"
    )


SPECIAL = {"wanted": wanted, "blocks": blocks}
"""Marks that are no parts of `dpe bench`."""


def markdown(part: str, report: dict[str, Any]) -> str:
    """All tables of a report, with what they were measured on."""
    tables = [table(sheet) for sheet in sheets(part, report)]
    return "\n".join([*tables, measured_on(report) + "\n"])


def table(sheet: Sheet) -> str:
    """One table; its title is above it if it says more than the part."""
    rows = [sheet.columns, ("---",) * len(sheet.columns), *sheet.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*([f"{sheet.title}:\n"] if ":" in sheet.title else []), *lines]) + "\n"


def measured_on(report: dict[str, Any]) -> str:
    """The machine, versions and the date, in a line."""
    versions = report["versions"]
    count = "1 processor" if report["cpus"] == 1 else f"{report['cpus']} processors"
    return (
        f"{report['cpu']}, {count}, Python {versions['python']}, jax {versions['jax']}, "
        f"NumPy {versions['numpy']}; {report['turns']} turns, {report['date']}."
    )


if __name__ == "__main__":
    sys.exit(main())
