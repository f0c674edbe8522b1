"""Sensitivity studies: their configurations, what is said of their numbers, and the script."""

import csv
import importlib
import io
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from matplotlib.figure import Figure

from dpe_jax import drawing, experiment
from dpe_jax.sweep_results import simulations
from dpe_jax.sweep_statistics import as_csv
from dpe_jax.sweeps import expand

sensitivity, findings, rows_of, tables, pictures = (
    importlib.import_module(name)
    for name in (
        "sensitivity",
        "sensitivity_findings",
        "sensitivity_rows",
        "sensitivity_tables",
        "sensitivity_figures",
    )
)
ROOT = Path(__file__).parent.parent
STUDIES = sensitivity.STUDIES
SIZES = {"multipliers": 50, "delta": 45, "exponents": 128, "network": 144, "weights": 14}


def stored(study: str) -> dict[str, Any]:
    return json.loads((sensitivity.RESULTS / f"{study}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("study", STUDIES)
def test_configurations_can_be_built(study: str) -> None:
    config = experiment.find_config(str(sensitivity.CONFIGS / f"{study}.toml"))
    sweep = expand(config)
    assert len(sweep.configs) == SIZES[study]
    assert config.runs >= 1024
    assert config.iterations >= 3000
    built = simulations(sweep)
    assert {one.observed for one in built} == {built[0].observed}


def test_families_have_the_variances_that_their_labels_say() -> None:
    config = experiment.find_config(str(sensitivity.CONFIGS / "multipliers.toml"))
    sweep = expand(config)
    for label, one in zip(sweep.labels["multipliers"], simulations(sweep), strict=True):
        family, _, written = str(label).partition(" ")
        top, _, bottom = written.partition("/")
        variance = float(top) / float(bottom or 1) if written else 0.0
        multipliers = rows_of._method(one).multipliers
        assert multipliers.describe().startswith(family)
        assert math.isclose(multipliers.variance, variance, rel_tol=1e-8, abs_tol=1e-12)


@pytest.mark.parametrize("study", STUDIES)
def test_results_are_those_of_the_configuration(study: str) -> None:
    report = stored(study)
    config = experiment.find_config(str(sensitivity.CONFIGS / f"{study}.toml"))
    sweep = expand(config)
    assert report["configurations"] == len(sweep.configs) == len(report["rows"])
    for key in ("runs", "iterations", "description"):
        assert report[key] == getattr(config, key)
    for name, values in sweep.labels.items():
        expected = [rows_of._short(value) for value in values.tolist()]
        assert [row[name] for row in report["rows"]] == expected


@pytest.mark.parametrize("study", STUDIES)
def test_what_is_written_follows_from_the_rows(study: str) -> None:
    report = stored(study)
    assert report["findings"] == findings.findings(report)
    page = (sensitivity.RESULTS / f"{study}.md").read_text(encoding="utf-8")
    assert page == tables.page(report)
    table = (sensitivity.RESULTS / f"{study}.csv").read_text(encoding="utf-8")
    assert table == as_csv(report["rows"])
    assert len(list(csv.DictReader(io.StringIO(table)))) == report["configurations"]
    figure = sensitivity.RESULTS / f"{study}.png"
    assert 10_000 < figure.stat().st_size < 300_000


def test_the_page_says_what_the_results_say() -> None:
    """All findings word for word, and no other number in the text about them."""
    page = (ROOT / "docs" / "sensitivity.md").read_text(encoding="utf-8")
    text = " ".join(page.replace("\n> ", "\n").split())
    for study in STUDIES:
        for finding in stored(study)["findings"]:
            assert finding in text
            text = text.replace(finding, "", 1)
    own = re.sub(r"`[^`]*`|\([^)]*\.(?:md|png|csv|json|toml)\)", "", text)
    assert re.findall(r"\d+\.\d+|\d{3,}", own) == []


@pytest.mark.parametrize("study", STUDIES)
def test_measured_and_predicted_agree(study: str) -> None:
    """In all that was measured; two thirds or one and a half of it would not."""
    rows = stored(study)["rows"]
    for metric in ("gap_mean_state", "gap_agents", "consensus_square"):
        ratios = np.array([row[metric] / row[f"{metric}_predicted"] for row in rows])
        errors = np.array([row[f"{metric}_se"] / row[f"{metric}_predicted"] for row in rows])
        assert np.all(np.abs(ratios - 1) < 4.5 * errors + 1e-3)
        for wrong in (2 / 3, 1.5):
            assert np.all(np.abs(ratios * wrong - 1) > 4.5 * errors)


# Values of axes by their places, with which every finding still has what it speaks of: grids of
# both slopes; a random graph of two sizes, of which one has forgotten its start and the other has
# not; the two largest weights.
FEW: dict[str, dict[str, list[int]]] = {
    "delta": {"methods.encrypted.delta": [0, 8, 9, 12, 14], "gamma_scale": [0, 2]},
    "network": {"network": [4, 10], "problem.seed": [0, 1]},
    "weights": {"network.scale": [0, 3, 6], "methods.encrypted.delta": [0, 1]},
}


def fewer(study: str, folder: Path) -> int:
    """Write a study with few values of each of its axes; how many configurations it still has."""
    path = sensitivity.CONFIGS / f"{study}.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    for axis in table["sweep"]["axis"]:
        places = FEW[study][axis.get("name", axis["key"])]
        if "geometric" in axis:
            whole = axis.pop("geometric")
            axis["values"] = np.geomspace(whole["from"], whole["to"], whole["count"]).tolist()
        for name in {"values", "labels"} & set(axis):
            axis[name] = [axis[name][place] for place in places]
    folder.mkdir()
    (folder / path.name).write_text(tomli_w.dumps(table), encoding="utf-8")
    return math.prod(map(len, FEW[study].values()))


@pytest.mark.slow
@pytest.mark.parametrize("study", FEW)
def test_the_script_on_few_runs(study: str, tmp_path: Path, monkeypatch, capsys) -> None:
    size, out = fewer(study, tmp_path / "configs"), tmp_path / "out"
    monkeypatch.setattr(sensitivity, "CONFIGS", tmp_path / "configs")
    monkeypatch.setattr(sensitivity, "keep_programs", lambda: None)
    arguments = ["sensitivity.py", study, "--runs", "32", "--iterations", "200"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(out)])
    sensitivity.main()
    assert f"{study}: " in capsys.readouterr().out
    report = json.loads((out / f"{study}.json").read_text(encoding="utf-8"))
    assert (report["runs"], report["iterations"]) == (32, 200)
    assert len(report["rows"]) == size
    # Nothing that a finding speaks of is missing in the few.
    assert not [said for said in report["findings"] if "(none)" in said]
    written = {path: path.read_bytes() for path in out.iterdir()}
    assert {path.suffix for path in written} == {".json", ".csv", ".md", ".png"}
    monkeypatch.setattr("sys.argv", ["sensitivity.py", study, "--redraw", "--out", str(out)])
    sensitivity.main()
    for path, content in written.items():
        assert path.read_bytes() == content


def test_an_unknown_study_is_refused(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["sensitivity.py", "gamma"])
    with pytest.raises(SystemExit):
        sensitivity.main()
    assert "STUDY = 'gamma': expected one of multipliers" in capsys.readouterr().err


def committed_figure(name: str) -> tuple[Figure, str]:
    with drawing.style():
        return pictures._FIGURES[name](stored(name)["rows"])


def test_marks_at_one_place_are_seen_in_each_other() -> None:
    figure, _ = committed_figure("weights")
    for axes in figure.axes:
        marks = [line for line in axes.get_lines() if line.get_marker() in ("o", "s")]
        assert len(marks) == 2
        first, second = marks
        assert second.get_markerfacecolor() == "none"
        assert second.get_markersize() > first.get_markersize() + 2
        # Names of axes are those of metrics.
        assert "delta" not in axes.get_ylabel()


def test_exponents_are_formulas_in_readable_type() -> None:
    figure, title = committed_figure("exponents")
    assert "^−" not in title
    assert title.count("^{-") == 2
    sizes = {float(text.get_fontsize()) for axes in figure.axes for text in axes.texts}
    assert min(sizes) >= 7
