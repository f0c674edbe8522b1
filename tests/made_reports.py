"""A small reproduction by hand, as `dpe reproduce` writes one: three parts, one failing check."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

VERSIONS = {"python": "3.11.7", "dpe-jax": "0.3.0", "jax": "0.10.2", "numpy": "2.4.6"}
DEVICE = {"platform": "cpu", "kind": "cpu", "count": 1, "cpus": 2, "machine": "x86_64"}
CONFIG = 'description = "<script>alert(1)</script> & more"\nruns = 256\nseed = 3\n'


def draw(path: Path, columns: int) -> None:
    """Two lines in one or two panels, as a PNG and a PDF."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((3.4 if columns == 1 else 7.0, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    x = np.arange(1, 300)
    for axes in figure.subplots(1, columns, squeeze=False).ravel():
        axes.loglog(x, x**-0.6, label="proposed")
        axes.loglog(x, x**-0.9, "--", label="conventional")
        axes.set_xlabel("iteration k + 1")
        axes.set_ylabel("F(x) − F*")
        axes.legend()
    for kind in ("png", "pdf"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=200)


def sheet(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def part(
    out: Path,
    name: str,
    title: str,
    *,
    figures: dict[str, int] | None = None,
    tables: dict[str, Sequence[Sequence[Any]]] | None = None,
    checks: Sequence[tuple[str, bool, str]] = (),
    **changes: Any,
) -> dict[str, Any]:
    """A part in its folder; figures by how many panels they have, tables by their rows."""
    folder = out / name
    (folder / "figures").mkdir(parents=True)
    (folder / "tables").mkdir()
    items: dict[str, list[dict[str, Any]]] = {"figures": [], "tables": []}
    for key, columns in (figures or {}).items():
        draw(folder / "figures" / key, columns)
        sheet(folder / "figures" / f"{key}.csv", [["k", "gap [1]"], [0, 1.0], [1, 0.66]])
        files = [f"figures/{key}.{kind}" for kind in ("pdf", "png", "csv")]
        caption = f"{title}: mean and 5–95 % band over 256 runs of 300 iterations, n = 5, d = 2."
        items["figures"].append({"name": key, "caption": caption, "files": files})
    for key, rows in (tables or {}).items():
        sheet(folder / "tables" / f"{key}.csv", rows)
        (folder / "tables" / f"{key}.tex").write_text("\\begin{tabular}{l}\\end{tabular}\n")
        files = [f"tables/{key}.{kind}" for kind in ("csv", "tex")]
        caption = f"{title}: measured over 256 runs, with 95 % intervals."
        items["tables"].append({"name": key, "caption": caption, "files": files})
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    manifest = {
        "kind": "part",
        "part": name,
        "title": title,
        "scale": "default",
        "config_hash": "31e2edcf47084313a8f76b6a0e62ec5d6a97ff622839d9808046b031104668f2",
        "versions": VERSIONS,
        "device": DEVICE,
        "seed": 3,
        "seconds": 7.25,
        "written": "2026-11-22T21:13:32Z",
        "checks": [dict(zip(("name", "passed", "detail"), one, strict=True)) for one in checks],
        "differs": "The paper gives no settings of its simulation; the quadratic here is ours.",
        "source": "Figure 1 of the article, Section 5",
        **items,
        **changes,
    }
    write(folder, manifest)
    return manifest


def write(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, ensure_ascii=False, indent=2)
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def change(folder: Path, **entries: Any) -> None:
    """Change entries of a manifest."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write(folder, manifest | entries)


def whole(out: Path, parts: Sequence[dict[str, Any]], **changes: Any) -> Path:
    """The manifest of all of them."""
    checks = [{"part": one["part"], **check} for one in parts for check in one["checks"]]
    write(
        out,
        {
            "kind": "reproduce",
            "scale": "default",
            "versions": VERSIONS,
            "device": DEVICE,
            "seed": 3,
            "seconds": 21.75,
            "started": "2026-11-22T21:10:00Z",
            "written": "2026-11-22T21:13:32Z",
            "asked": [one["part"] for one in parts],
            "parts": [one["part"] for one in parts],
            "checks": checks,
            "passed": all(check["passed"] for check in checks),
            **changes,
        },
    )
    return out


BOUND = [
    ["n", "article [1]", "formula [1]", "measured [1]", "standard error [1]", "remark"],
    [2, 0.00005, 0.00005, 2.4983105e-05, 1.2e-7, ""],
    [10, 0.0004, 0.00405, 0.00225131, 3.1e-6, "misprint"],
    [20, 0.01805, 0.01805, "nan", "inf", "every run <failed>"],
]

WIDE = [
    ["preset", *(f"{name}: gap [1]" for name in ("encrypted", "conventional", "centralized"))]
    + [f"method {place}: ratio to conventional [1]" for place in range(9)],
    *([name, *(0.00123 * place for place in range(1, 13))] for name in ("hospitals", "digits")),
]


def reproduction(out: Path, *, failing: bool = True) -> Path:
    """Three parts; of one, a check has failed."""
    return whole(
        out,
        [
            part(
                out,
                "objective",
                "Objective against iterations",
                figures={"objective": 2},
                checks=[("the gap falls", True, "to 8.2e-4 of its start, limit 1e-2")],
            ),
            part(
                out,
                "quantization",
                "Quantization error: bound and measurement",
                figures={"bound": 1, "ratio": 1},
                tables={"bound": BOUND},
                checks=[
                    ("under the bound", True, "largest 0.00225, bound 0.00405"),
                    ("article's n = 10", not failing, "0.0004 where the formula gives 0.00405"),
                ],
            ),
            part(
                out,
                "accuracy",
                "Accuracy of every method on every preset",
                tables={"accuracy": WIDE},
                checks=[("pairs", True, "64 runs")],
            ),
        ],
    )
