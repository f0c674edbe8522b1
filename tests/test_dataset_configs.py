"""Configurations of the problems on data sets and of sensors, from file to figures."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from command_line import refused_key
from png_only import png_only
from small import ENCRYPTED, config, tables

from dpe_jax.cli import main
from dpe_jax.config import parse
from dpe_jax.errors import InputError
from dpe_jax.observe import defaults
from dpe_jax.results import config_hash, load, resolved_toml

GEOMETRIC = {"graph": "geometric", "agents": 8, "radius": 0.6, "seed": 1}
SOURCES = {"kind": "sources", "side": 2, "seed": 0, "noise": 0.1, "omega": 0.01}
TINY = {"runs": 6, "iterations": 5, "record": {"points": 3}, "block": 6}
CONFIGS: dict[str, dict[str, Any]] = {
    "digits": {"problem": {"kind": "digits", "split": "dirichlet"}},
    "digits-network": {"problem": {"kind": "digits-network", "hidden": 3}},
    "diabetes": {"problem": {"kind": "diabetes", "penalty": 0.1}},
    "sources": {"problem": SOURCES, "network": GEOMETRIC},
    "fraud": {"problem": {"kind": "fraud", "samples": 1000, "positive": 0.1}},
    "breast-cancer": {"problem": {"kind": "breast-cancer", "test_fraction": 0.25}},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_survive_their_resolved_file(name) -> None:
    first = parse(tables(CONFIGS[name]))
    again = parse(tomllib.loads(resolved_toml(first)))
    assert again == first
    assert config_hash(again) == config_hash(first)
    one, two = first.build(), again.build()
    assert one.problem.describe() == two.problem.describe()
    assert one.observed == defaults(one.problem)
    keys = {key: value for key, value in CONFIGS[name]["problem"].items() if key != "kind"}
    described = one.problem.describe()
    for key in ("hidden", "penalty"):
        assert described.get(key) == keys.get(key, described.get(key))
    if name == "fraud":
        assert sum(described["samples"]) + described["test"]["samples"] == 1000


BAD: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    (
        {"problem": {"kind": "digits", "penalty": 0}},
        ("problem.penalty", "0.0", "positive"),
    ),
    (
        {"problem": {"kind": "digits", "test_fraction": 1}},
        ("problem.test_fraction", "1", "less than 1"),
    ),
    (
        {"problem": {"kind": "digits", "test_fraction": 0.0001}},
        ("problem.test_fraction", "0.0001", "each class"),
    ),
    (
        {"problem": {"kind": "digits", "hidden": 3}},
        ("problem.hidden", "3", "one of the keys split, concentration, seed, batch, kind"),
    ),
    (
        {"problem": {"kind": "digits", "split": "even"}},
        ("problem.split", "'even'", "'equal' or 'dirichlet'"),
    ),
    (
        {"problem": {"kind": "digits-network", "hidden": 10**8}},
        ("problem.hidden", "100000000", "at most 268435456 numbers"),
    ),
    (
        {"problem": {"kind": "digits-network"}, "record.metrics": ["gap_mean_state"]},
        ("record.metrics", "'gap_mean_state'", "no optimum of this problem is known"),
    ),
    (
        {"problem": {"kind": "diabetes"}, "record.metrics": ["test_auc"]},
        ("record.metrics", "'test_auc'", "no such test"),
    ),
    (
        {"record.metrics": ["objective", "test_accuracy"]},
        ("record.metrics", "'test_accuracy'", "no such test"),
    ),
    ({"problem": {"kind": "fraud", "positive": 0}}, ("problem.positive", "0", "greater than 0")),
    (
        {"problem": {"kind": "fraud", "samples": 20}},
        ("problem.", "", "class"),
    ),
    ({"problem": SOURCES}, ("problem.kind", "'sources'", "graph = 'geometric'")),
    (
        {"problem": {**SOURCES, "side": 10**6}, "network": GEOMETRIC},
        ("problem.side", "1000000", "at most 268435456 numbers"),
    ),
    (
        {"problem": SOURCES, "network": {**GEOMETRIC, "radius": 0.1}},
        ("network.radius", "0.1", "connected graph"),
    ),
    (
        {"network": {"graph": "geometric", "agents": 5, "seed": 0}},
        ("network.radius", "None", "graph 'geometric' needs agents, radius, seed"),
    ),
    (
        {"network": {"graph": "ring", "agents": 5, "radius": 0.5}},
        ("network.radius", "0.5", "no such key"),
    ),
]


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=lambda v: str(v)[:60])
def test_a_bad_key_is_refused_in_one_line(changes, expected, tmp_path, capsys) -> None:
    refused_key(changes, expected, tmp_path, capsys)


# Breast cancer is run from the preset `hospitals` in test_reproduce_parts, and has the metrics of
# fraud. All that digits record is drawn of diabetes and of the network of digits.
FIGURES = {
    "digits": None,
    "digits-network": {"stationarity", "errors", "quantization", "test"},
    "diabetes": {"objective", "errors", "quantization", "test"},
    "sources": {"objective", "errors", "quantization"},
    "fraud": {"objective", "errors", "quantization", "test"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_problem_runs_from_file_to_figures(name, tmp_path: Path, monkeypatch, capsys) -> None:
    if name != "fraud":
        # It has the most metrics; fonts are the same in all.
        png_only(monkeypatch)
    path, out = tmp_path / "tiny.toml", tmp_path / "out"
    changes = {**TINY, **CONFIGS[name], "trace": [0], "checks": {"gap_fraction": 10.0}}
    if name == "digits-network":
        changes["checks"] = {}
    written = tables(changes)
    written["methods"] = {"m": ENCRYPTED}
    path.write_text(tomli_w.dumps(written), encoding="utf-8")
    undrawn = ["--no-figures"] if FIGURES[name] is None else []
    assert main(["run", str(path), "--out", str(out), "--check", *undrawn]) == 0
    shown = capsys.readouterr().out
    stored = load(out)
    drawn = {file.stem for file in (out / "figures").glob("*")}
    assert drawn == (FIGURES[name] or set())
    simulation = stored.config.build()
    for metric in simulation.observed:
        assert np.isfinite(stored.curves[metric].values).all()
        for method in stored.summary["methods"].values():
            if metric != "quantization_error":
                assert np.isfinite(method["final"][metric]["mean"])
    assert ("on the test set" in shown) == (name != "sources")
    assert stored.manifest["problem"] == simulation.problem.describe()
    if name == "sources":
        positions = simulation.network.positions
        assert positions is not None
        assert stored.manifest["network"]["positions"] == positions.tolist()
    else:
        assert sum(stored.manifest["problem"]["samples"]) > 0
    known = name != "digits-network"
    assert (stored.summary["minimum"] is not None) == known
    assert (stored.manifest["optimum"]["x"] is not None) == known
    assert stored.manifest["optimum"]["method"].startswith("none") != known


def test_gap_checks_say_that_there_is_no_optimum(tmp_path) -> None:
    asked = config({**TINY, **CONFIGS["digits-network"], "checks": {"gap_fraction": 0.5}})
    with pytest.raises(InputError, match=r"^checks\.gap_fraction"):
        asked.build()
