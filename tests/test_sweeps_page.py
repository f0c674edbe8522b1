"""What docs/sweeps.md shows is what a sweep does."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from png_only import png_only
from small import ENCRYPTED, tables

from dpe_jax import cli
from dpe_jax.config import parse
from dpe_jax.reductions import FRACTIONS, QUANTILES
from dpe_jax.results import load
from dpe_jax.sweep_results import simulations
from dpe_jax.sweeps import expand

pytestmark = pytest.mark.slow  # together over 20 s

PAGE = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_sweep_of_so_many_configurations(example: str) -> None:
    sweep = expand(parse(tables() | tomllib.loads(example)))
    said = re.match(r"# (\d+) configurations\n", example)
    assert said is not None
    assert len(sweep.configs) == int(said.group(1))
    assert len(simulations(sweep)) == len(sweep.configs)


def swept(folder: Path, example: str, *options: str) -> Path:
    path, out = folder / "small.toml", folder / "DIR"
    # One method, and shapes that are the same in all tests: a program is compiled once.
    changes: dict[str, Any] = {"runs": 6, "iterations": 5, "record": {"points": 3}}
    changes["methods"] = {"encrypted": ENCRYPTED}
    path.write_text(tomli_w.dumps(tables(changes) | tomllib.loads(example)), encoding="utf-8")
    assert cli.main(["sweep", str(path), "--out", str(out), "--no-figures", *options]) == 0
    return out


FEW = EXAMPLES[0].replace("count = 15", "count = 3")
SPACED = FEW.replace('"gamma_scale"', '"gamma scale"')


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first example on fewer grids, with all its runs."""
    return swept(tmp_path_factory.mktemp("kept"), FEW)


@pytest.fixture(scope="module")
def summarised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a space in a label, as statistics."""
    return swept(tmp_path_factory.mktemp("summary"), SPACED, "--keep", "summary")


def test_the_program_prints_what_its_comments_say(kept: Path, monkeypatch, capsys) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(kept.parent)
    exec(program, {})
    printed = capsys.readouterr().out.replace("'", "").splitlines()
    assert printed[0] == "(algorithm, configuration, iteration, run)"
    assert printed[-1] == "(algorithm, delta, iteration, run)"
    for line in (printed[0], printed[-1]):
        assert f"# {line.strip('()')}" in program


def test_a_summary_has_the_variables_of_the_table(summarised: Path) -> None:
    curves = load(summarised).curves
    table = PAGE.split("| variable | what |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(METRIC_\w+|status_count)`", table))
    found = {re.sub("^.*_(?=[a-z]+$)", "METRIC_", str(n)) for n in curves.data_vars}
    assert found - {"METRIC_count"} == named - {"METRIC_count", "status_count"}
    assert {"METRIC_count", "status_count"} <= named
    assert "status_count" in curves
    assert [f"{100 * q:g}" for q in QUANTILES] == re.findall(r"\d+", table.split("quantile`")[1])[
        :5
    ]
    shares = re.findall(r"1/(\d+)", table)
    np.testing.assert_allclose([1 / float(s) for s in shares], FRACTIONS)


def test_labels_may_have_spaces(summarised: Path, tmp_path: Path, monkeypatch) -> None:
    png_only(monkeypatch)
    for out in (summarised, swept(tmp_path, SPACED)):
        curves = load(out).curves
        assert {"delta", "gamma scale"} <= set(curves.coords)
        assert curves["gamma scale"].values[:4].tolist() == [0.1, 0.3, 1.0, 0.1]
    assert cli.main(["plot", str(summarised), "--x", "delta", "--at", "gamma scale=0.3"]) == 0


def test_a_figure_is_named_after_the_sweep(kept: Path) -> None:
    assert load(kept).curves.attrs["name"] == "small"


def test_the_commands_of_figures(kept: Path, monkeypatch) -> None:
    png_only(monkeypatch)
    lines = [line for line in PAGE.splitlines() if line.startswith("dpe plot DIR --x delta")]
    assert len(lines) == 2
    for line in lines:
        _, _, _, *options = line.split()
        assert cli.main(["plot", str(kept), *options]) == 0
    assert {path.stem for path in (kept / "figures").glob("*.png")} >= {"response", "curves"}
