"""`dpe certify`: its tables, files, exit status and refusals; and the preset `certify`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refusal, the_object
from png_only import png_only
from rich.cells import cell_len
from small import CONVENTIONAL, DIVERGING, ENCRYPTED, config, write

from dpe_jax import certificate_figures, cli, drawing, experiment
from dpe_jax.certificate import METRIC, TAIL
from dpe_jax.config import Config
from dpe_jax.folder import CERTIFICATE
from dpe_jax.results import config_hash, load
from dpe_jax.summary import certified

pytestmark = pytest.mark.slow  # together some minutes

CONSTANT = {**ENCRYPTED, "stepsize": {"scale": 0.05, "exponent": 0.0}}
LONG: dict[str, Any] = {
    "runs": 600,
    "iterations": 400,
    "block": 512,
    "record": {"points": 60, "metrics": [METRIC, "error_worst_agent"]},
    "methods": {"encrypted": ENCRYPTED, "constant": CONSTANT},
    "checks": {"certify": [0.8], "refused": ["constant"]},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("certify") / "out"
    experiment.run(config(LONG), out)
    return out


def test_methods_are_accepted_and_controls_refused(finished: Path, capsys: Any) -> None:
    assert cli.main(["certify", str(finished)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *shown, written = captured.out.splitlines()
    assert written == f"written to {finished}"
    assert [line for line in shown if cell_len(line.rstrip()) > 80] == []
    text = " ".join(" ".join(shown).split())
    for said in (
        "600 runs to K = 400",
        "0.77%",
        "accepted",
        "REFUSED",
        "constant: refused at ε = 0.8, since 600 of 600 runs exceed ε",
        "conditions that do not hold: stepsize squares, stepsize against attenuation",
        "It says nothing of iterations after K",
        "CERTIFIED up to K",
        "refused as they should be: constant",
    ):
        assert said in text
    assert {path.name for path in (finished / "figures").glob("certificate.*")} == {
        "certificate.png",
        "certificate.pdf",
    }


def test_every_line_of_the_figure_is_named(finished: Path) -> None:
    stored = load(finished)
    study = certified(stored.config.checks, stored.summary, stored.curves, [0.4, 0.8], 0.99)
    assert study is not None
    with drawing.style():
        figure = certificate_figures.drawn(stored, study, drawing.methods(stored))
    named = {label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]}
    assert "$m = K/4$" in named
    assert "$\\epsilon\\,/\\,e_0$" in named
    black = [line for line in figure.axes[-1].get_lines() if line.get_color() == "black"]
    assert len(black) >= 4
    assert all(line.get_label() in named or line.get_label() == "_" for line in black)


def test_the_report_holds_what_was_measured(finished: Path, capsys: Any) -> None:
    arguments = ["certify", str(finished), "--json", "--no-figures", "--confidence", "0.95"]
    assert cli.main([*arguments, "--epsilon", "0.8,0.9,0.8"]) == 0
    report = the_object(capsys.readouterr().out)
    held = json.loads((finished / CERTIFICATE).read_text())
    assert report == {"folder": str(finished), "figures": [], **held}
    assert (held["epsilon"], held["confidence"], held["level"]) == ([0.8, 0.9], 0.95, 0.01)
    assert held["passed"] is True
    stored = load(finished)
    peaks = stored.curves[METRIC].sel(algorithm="encrypted").values
    found = held["methods"]["encrypted"]
    assert found["control"] is False
    assert found["predicted_exponent"] == pytest.approx(0.3)
    assert found["initial_error"] == pytest.approx(peaks[0].mean())
    # Every window begins after a record point, and its suprema are of all peaks from there on.
    iteration = stored.curves.iteration.values
    first = np.concatenate([[0], iteration[:-1] + 1])
    assert set(found["m"]) <= set(first)
    for verdict in found["epsilon"]:
        threshold = verdict["fraction"] * peaks[0].mean(dtype=np.float64)
        for m, count in zip(found["m"], verdict["exceeding"], strict=True):
            assert count == (peaks[first >= m].max(axis=0) > threshold).sum()
    assert found["tail_from"] <= 400 / TAIL
    assert held["methods"]["constant"]["predicted_exponent"] is None
    assert held["methods"]["constant"]["control"] is True


def test_the_exit_status_tells_a_refusal(finished: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["certify", str(finished), "--no-figures", "--epsilon", "0.05"]
    assert cli.main(arguments) == 1
    assert "NOT CERTIFIED: encrypted is refused" in capsys.readouterr().out
    # A control that is accepted is as bad.
    out = tmp_path / "out"
    both = {**LONG, "checks": {"certify": [0.8], "refused": ["encrypted", "constant"]}}
    experiment.run(config(both), out)
    assert cli.main(["certify", str(out), "--no-figures"]) == 1
    assert "encrypted (a control) is accepted" in capsys.readouterr().out


def test_runs_that_fail_count_as_exceeding(tmp_path: Path, monkeypatch, capsys: Any) -> None:
    png_only(monkeypatch)
    methods = {"bad": DIVERGING, "plain": CONVENTIONAL}
    changes = {**LONG, "runs": 20, "iterations": 60, "methods": methods}
    experiment.run(config({**changes, "checks": {"certify": [0.8]}}), tmp_path / "out")
    assert cli.main(["certify", str(tmp_path / "out"), "--json"]) == 1
    found = the_object(capsys.readouterr().out)["methods"]
    assert found["bad"]["failed"] == 20
    assert set(found["bad"]["epsilon"][0]["exceeding"]) == {20}
    assert found["plain"]["failed"] == 0


def test_what_was_written_is_no_obstacle(tmp_path: Path, capsys: Any) -> None:
    # As many as above, for which the program is compiled.
    changes = {**LONG, "runs": 20, "iterations": 60, "methods": {"encrypted": ENCRYPTED}}
    path, out = write(tmp_path, {**changes, "checks": {"certify": [0.9]}}), tmp_path / "out"
    run = ["run", path, "--out", str(out), "--no-figures", "--overwrite"]
    assert cli.main(run) == 0
    assert cli.main(["certify", str(out), "--no-figures"]) == 1
    before = load(out)
    assert (out / CERTIFICATE).is_file()
    # A run that is to be checked is certified as well.
    capsys.readouterr()
    assert cli.main([*run, "--check"]) == 1
    assert "FAIL encrypted: almost sure convergence: ε = 0.9 e_0 refused" in capsys.readouterr().out
    assert not (out / CERTIFICATE).exists()
    assert load(out).curves.equals(before.curves)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epsilon", "0"], ["--epsilon", "'0'", "such as 0.1,0.2"]),
        (["--epsilon", "1"], ["--epsilon", "'1'"]),
        (["--epsilon", "0.1,x"], ["--epsilon", "'x'"]),
        (["--epsilon", ""], ["--epsilon", "''"]),
        (["--epsilon", "nan"], ["--epsilon", "'nan'"]),
        (["--confidence", "1"], ["--confidence", "'1'", "0.5 to 0.999"]),
        (["--confidence", "x"], ["--confidence", "'x'"]),
        (["--runs", "3"], ["'--runs 3'", "dpe certify"]),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], words: list[str], finished: Path, capsys: Any
) -> None:
    line = refusal(["certify", str(finished), *arguments], capsys)
    for word in words:
        assert word in line


def test_a_result_without_peaks_or_epsilon_is_refused(tmp_path: Path, capsys: Any) -> None:
    changes = {"runs": 4, "iterations": 4, "methods": {"plain": CONVENTIONAL}}
    experiment.run(config(changes), tmp_path / "without")
    line = refusal(["certify", str(tmp_path / "without"), "--epsilon", "0.5"], capsys)
    assert "a result with peak_error among its record.metrics" in line
    experiment.run(config({**changes, "record.metrics": [METRIC]}), tmp_path / "with")
    line = refusal(["certify", str(tmp_path / "with")], capsys)
    assert "--epsilon" in line
    assert "checks.certify" in line
    assert "DIR" in refusal(["certify", str(tmp_path / "nowhere")], capsys)


def test_the_keys_are_written_only_where_they_are_given() -> None:
    assert not {"certify", "refused"} & set(config().model_dump(mode="json")["checks"])
    hashes = {
        config_hash(config(changes))
        for changes in (LONG, {**LONG, "checks": {}}, {**LONG, "checks": {"certify": [0.7]}})
    }
    assert len(hashes) == 3


# The preset

ONE_CONDITION = {
    "constant-stepsize": {"stepsize squares", "stepsize against attenuation", "stepsize variance"},
    "equal-decay": {"stepsize against attenuation"},
    "unequal-means": {"equal means"},
    "nearest-rounding": {"unbiased quantization"},
}


def preset() -> Config:
    return experiment.find_config("certify")


def test_each_control_of_the_preset_breaks_its_condition() -> None:
    asked = preset()
    assert (asked.runs, asked.checks.certify) == (4096, [0.2])
    assert asked.iterations >= 20_000
    simulation = asked.build()
    broken = {
        name: {condition.name for condition in conditions if not condition.holds}
        for name, conditions in simulation.conditions().items()
    }
    assert broken == {"encrypted": set(), "coarse-grid": set(), **ONE_CONDITION}
    assert set(asked.checks.refused or ()) == set(ONE_CONDITION)
    # Apart from what breaks it, a control is one of the methods.
    tables = asked.model_dump(mode="json")["methods"]
    for name, like, changed in (
        ("constant-stepsize", "encrypted", {"stepsize"}),
        ("equal-decay", "encrypted", {"gamma", "stepsize"}),
        ("unequal-means", "encrypted", {"means"}),
        ("nearest-rounding", "coarse-grid", {"rounding"}),
        ("coarse-grid", "encrypted", {"delta"}),
    ):
        assert {k for k, v in tables[name].items() if v != tables[like][k]} == changed


def test_the_preset_accepts_the_method_and_refuses_each_control(tmp_path: Path) -> None:
    """With as many runs as the bound needs; the figures of the whole preset are far from chance."""
    asked = experiment.override(preset(), {"runs": 480})
    outcome = experiment.run(asked, tmp_path / "out", check=True)
    assert [check for check in outcome.checks if not check.passed] == []
    assert cli.main(["certify", str(tmp_path / "out"), "--no-figures", "--json"]) == 0
    held = json.loads((tmp_path / "out" / CERTIFICATE).read_text())["methods"]
    for name in ("encrypted", "coarse-grid"):
        [verdict] = held[name]["epsilon"]
        assert verdict["accepted"] is True
        assert verdict["tail_exceeding"] == 0
        # With room: settled by K/5, at a rate near the predicted one, and half of ε at the end.
        assert verdict["settles_from"] < asked.iterations / 5
        assert held[name]["rate"]["low"] > 0.9 * held[name]["predicted_exponent"]
        assert held[name]["final_peak_error"] < 0.5 * verdict["threshold"]
    for name in ONE_CONDITION:
        [verdict] = held[name]["epsilon"]
        # Not by chance: every run is beyond ε in the whole tail, nearly twice as far or more, and
        # the error no longer falls, or hardly.
        assert verdict["tail_exceeding"] == 480
        assert held[name]["final_peak_error"] > 1.8 * verdict["threshold"]
        assert held[name]["rate"]["high"] < 0.05
        assert len(verdict["reasons"]) == 2
