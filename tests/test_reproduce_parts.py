"""Parts of `dpe reproduce`: what they find, that their checks can fail, and what is drawn."""

import csv
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpe_jax import drawing, experiment
from dpe_jax.bounds import quantization_bound
from dpe_jax.errors import InputError
from dpe_jax.reproduce import accuracy, convergence, coupling, latex, objective, quantization
from dpe_jax.reproduce.part import Drawing, Made, Part, Settings, Work
from dpe_jax.reproduce.settings import load, parse
from dpe_jax.results import Stored
from dpe_jax.results import load as load_result
from dpe_jax.summary import Check, certified

pytestmark = pytest.mark.slow

SHORT = {"runs": 24, "iterations": 60, "record": {"points": 12, "spacing": "log"}}


def settings(name: str, part: Part, changes: dict[str, Any]) -> Any:
    """Those of the quick scale with keys replaced, in the experiment too."""
    tables = load(name, part.Settings, "quick", 3).model_dump(mode="json", exclude_none=True)
    inner = changes.pop("experiment", {})
    if inner:
        tables["experiment"] |= inner
    return parse(part.Settings, tables | changes)


def made(part: Part, asked: Settings, folder: Path) -> Made:
    folder.mkdir(exist_ok=True)
    told: list[float] = []
    found = part.make(asked, folder, Work("quick", asked.seed, print, told.append))
    assert told
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    return found


def looked_at(found: Made, folder: Path) -> None:
    """What every part must hold: captions, figures of column width, rows and tables that fit."""
    assert found.differs.endswith(".")
    for drawn in found.drawings:
        assert len(drawn.caption) > 100
        with drawing.style():
            figure = drawn.draw()
            drawing.save(figure, folder / "figure.png")
            drawing.save(figure, folder / "figure.pdf")
        assert figure.get_figwidth() in (drawing.SINGLE, drawing.DOUBLE)
        assert figure.get_figheight() < 7
        assert figure.get_suptitle() == ""
        inside(figure)
        keys = set(drawn.rows[0])
        assert all(set(row) == keys for row in drawn.rows)
    for table in found.tables:
        assert len(table.caption) > 60
        assert latex.document(table)
        assert all(column.key in row for column in table.columns for row in table.rows)


def inside(figure: Any) -> None:
    """No letter of a figure is below 7 points or lies outside, and no two labels overlap."""
    from matplotlib.text import Text

    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            assert text.get_fontsize() >= 7, text
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert min(box.x0 - page.x0, page.x1 - box.x1, box.y0 - page.y0, page.y1 - box.y1) > -1
    labels = [
        text.get_window_extent(renderer)
        for axes in figure.axes
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title)
        if text.get_text()
    ]
    for place, one in enumerate(labels):
        for other in labels[place + 1 :]:
            assert not one.overlaps(other), (one, other)


def legend(drawn: Drawing) -> list[str]:
    """What the legend of a whole figure names."""
    with drawing.style():
        [found] = drawn.draw().legends
    return [text.get_text() for text in found.get_texts()]


def failed(found: Made) -> list[str]:
    return [check.name for check in found.checks if not check.passed]


# Objective


@pytest.fixture(scope="module")
def five_agents(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Path]:
    folder = tmp_path_factory.mktemp("objective")
    return made(objective, settings("objective", objective, {"experiment": SHORT}), folder), folder


def test_objective(five_agents: tuple[Made, Path]) -> None:
    found, folder = five_agents
    looked_at(found, folder)
    stored = load_result(folder / "five-agents")
    assert stored.config.seed == 3
    rows = {(row["method"], row["k"]): row for row in found.drawings[0].rows}
    assert {method for method, _ in rows} == {"proposed", "conventional", "centralized"}
    last = stored.curves.gap_mean_state.sel(algorithm="encrypted").isel(iteration=-1).values
    row = rows["proposed", 60]
    assert row["gap_mean_state_mean"] == pytest.approx(last.astype(np.float64).mean(), rel=1e-12)
    assert row["gap_mean_state_p95"] == pytest.approx(np.quantile(last, 0.95), rel=1e-6)
    assert row["objective_mean"] == pytest.approx(stored.summary["minimum"] + last.mean(), rel=1e-6)
    assert "24 runs of 60 iterations (n = 5 agents, d = 2)" in found.drawings[0].caption
    assert len(found.tables[0].rows) == 3
    assert "single runs, proposed" in legend(found.drawings[0])
    with drawing.style():
        left, right = found.drawings[0].draw().axes
    # Beside the means: three single runs and the minimum at the left, edges of bands in both.
    assert len(left.lines) - 4 == len(right.lines) == 3 * 3


def test_objective_can_fail(tmp_path: Path) -> None:
    """So few iterations that the methods are far from each other, and one that stands still."""
    asked = settings("objective", objective, {"experiment": SHORT})
    tables = asked.model_dump(mode="json", exclude_none=True)
    tables["experiment"]["methods"]["encrypted"]["stepsize"]["scale"] = 1e-4
    found = made(objective, parse(objective.Settings, tables), tmp_path)
    assert "proposed and conventional end within 1% of the distance at the start" in failed(found)
    assert "encrypted: F(x̄) − F* falls" in failed(found)


# Quantization


MEASURED = (2, 5, 10)
"""Numbers of agents: a program is compiled for each."""


@pytest.fixture(scope="module")
def errors() -> list[dict[str, Any]]:
    return [quantization.row(n, 0.01, 4000, 1) for n in MEASURED]


def test_quantization_by_formula_and_measurement(errors: list[dict[str, Any]]) -> None:
    rows = {row["agents"]: row for row in errors}
    printed = {2: 5e-5, 3: 2e-4, 4: 4.5e-4, 5: 8e-4, 6: 1.25e-3, 8: 2.45e-3}
    assert printed.items() <= quantization.ENTRIES.items()
    for agents, value in printed.items():
        assert quantization_bound(agents, 1, 0.01) == pytest.approx(value, rel=1e-12)
    for agents in MEASURED[:-1]:
        assert rows[agents]["article"] == printed[agents]
        assert rows[agents]["bound"] == pytest.approx(printed[agents], rel=1e-12)
        assert not rows[agents]["misprint"]
    # The entry for ten agents is a misprint, and nothing hides it.
    assert rows[10]["article"] == 4e-4
    assert rows[10]["misprint"]
    assert rows[10]["bound"] == pytest.approx(4.05e-3, rel=1e-12)
    for agents, row in rows.items():
        exact = agents * (agents - 1) * 0.01**2 / 4
        error = row["standard_error"]
        assert abs(row["measured"] - exact) < 4.5 * error
        for wrong in (exact * 2 / 3, exact * 1.5):
            assert abs(row["measured"] - wrong) > 20 * error
        assert row["measured"] < row["bound"] + 4.5 * error
    assert all(check.passed for check in quantization.checks(errors))


@pytest.mark.parametrize(
    ("place", "key", "factor", "fails"),
    [
        (1, "article", 1.5, [0]),
        (2, "article", 1.5, []),
        (1, "measured", 1.5, [1]),
        (1, "measured", 2 / 3, [1]),
    ],
)
def test_quantization_checks_can_fail(place, key, factor, fails, errors) -> None:
    changed = [dict(row) for row in errors]
    changed[place][key] *= factor
    checks = quantization.checks(changed)
    assert [place for place, check in enumerate(checks) if not check.passed] == fails


def test_quantization(tmp_path: Path) -> None:
    changes = {"runs": 4000, "agents": [2, 10]}
    found = made(quantization, settings("quantization", quantization, changes), tmp_path)
    looked_at(found, tmp_path)
    assert "4000 runs" in found.drawings[0].caption
    assert "all but the misprint" in found.checks[0].detail
    with drawing.style():
        [axes] = found.drawings[0].draw().axes
    formulas = (lambda n: (n - 1) ** 2 / 2, lambda n: n * (n - 1) / 4)
    for line, formula in zip(axes.lines[:2], formulas, strict=True):
        n, values = (np.asarray(numbers, np.float64) for numbers in line.get_data())
        assert len(n) > 50
        np.testing.assert_allclose(values, 0.01**2 * formula(n))


# Coupling


def test_coupling(tmp_path: Path) -> None:
    found = made(coupling, settings("coupling", coupling, {}), tmp_path)
    looked_at(found, tmp_path)
    assert failed(found) == []
    with drawing.style():
        figure = found.drawings[0].draw()
    assert figure.legends == []
    legends = [one for axes in figure.axes if (one := axes.get_legend())]
    left, right = ([text.get_text() for text in one.get_texts()] for one in legends)
    assert "measured" in left
    assert not set(left) & set(right)
    own = found.tables[0].rows
    assert [row["k"] for row in own] == [1, 5, 10, 20, 50, 100, 200]
    for row in own:
        exact = 1 - 0.5 / (row["k"] + 1)
        assert row["formula"] == pytest.approx(exact, rel=1e-14)
        assert row["measured"] == pytest.approx(exact, rel=1e-12)
        assert row["article"] == pytest.approx(exact, abs=5.1e-4)
    for key, factor, place in (("article", 1.01, 0), ("measured", 1.001, 1)):
        rows = [dict(row) for row in found.drawings[0].rows]
        next(row for row in rows if row["k"] == 50)[key] *= factor
        checks = coupling.checks(rows)
        assert [check.passed for check in checks] == [place != 0, place != 1]


# Convergence


def test_convergence(tmp_path: Path) -> None:
    """At too short a horizon the method is refused for want of evidence, as the controls are."""
    short = {"runs": 64, "iterations": 300}
    whole = settings("convergence", convergence, {"experiment": short})
    tables = whole.model_dump(mode="json", exclude_none=True)
    # Each method is compiled, and two kinds of them are enough here.
    kept = ("encrypted", "constant-stepsize", "equal-decay")
    tables["experiment"]["methods"] = {k: tables["experiment"]["methods"][k] for k in kept}
    tables["experiment"]["checks"] |= {"methods": ["encrypted"], "refused": list(kept[1:])}
    asked = parse(convergence.Settings, tables)
    found = made(convergence, asked, tmp_path)
    looked_at(found, tmp_path)
    assert failed(found) == ["proposed: accepted"]
    assert len(found.checks) == 3
    rows = {row["method"]: row for row in found.tables[0].rows}
    assert rows["control: equal decay, γ = λ"]["verdict"] == "refused"
    assert {"$m = K/4$", "$\\epsilon\\,/\\,e_0$"} <= set(legend(found.drawings[0]))
    slopes = [label for label in legend(found.drawings[0]) if "slope" in label]
    assert slopes == ["predicted slope $k^{-0.3}$"]
    assert rounded_up(load_result(tmp_path / "certify"))
    assert (tmp_path / "certify" / "certificate.json").is_file()
    none = asked.model_dump(mode="json", exclude_none=True)
    del none["experiment"]["checks"]["certify"]
    with pytest.raises(InputError, match="one ε or more"):
        made(convergence, parse(convergence.Settings, none), tmp_path)


def rounded_up(stored: Stored) -> bool:
    """Whether a bound of 0.22461 % is shown as 0.23 %."""
    study = certified(stored.config.checks, stored.summary, stored.curves)
    assert study is not None
    one = study.certificates["encrypted"]
    bounds = tuple(dataclasses.replace(e, tail_bound=0.0022461) for e in one.exceedances)
    changed = {"encrypted": dataclasses.replace(one, exceedances=bounds)}
    table = convergence._table(dataclasses.replace(study, certificates=changed), "64 runs")
    return [f"{row['bound']:.2%}" for row in table.rows] == ["0.23%"]


# Accuracy


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Made, Path]]:
    """With three methods of a preset only: each is compiled."""
    folder = tmp_path_factory.mktemp("accuracy")
    known = experiment.presets()
    kept = ["encrypted", "conventional", "geometric-dp"]
    methods = known["hospitals"].model_dump(mode="json", exclude_none=True)["methods"]
    changes = {"methods": {name: methods[name] for name in kept}, "checks": {"gap_fraction": 0.01}}
    known["hospitals"] = experiment.override(known["hospitals"], changes)
    # As the part objective has it, so that no other program is compiled.
    record = {"record": SHORT["record"]}
    known["five-agents"] = experiment.override(known["five-agents"], record)
    sizes = {
        "five-agents": {key: SHORT[key] for key in ("runs", "iterations")},
        "hospitals": {"runs": 8, "iterations": 60, "scores": ["test_accuracy"]},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "presets", lambda: known)
        yield made(accuracy, settings("accuracy", accuracy, {"presets": sizes}), folder), folder


def test_accuracy(compared: tuple[Made, Path]) -> None:
    found, folder = compared
    looked_at(found, folder)
    rows = {(row["preset"], row["method"]): row for row in found.tables[0].rows}
    assert len(rows) == 3 + 3
    base = rows["hospitals", "conventional"]
    assert (base["ratio"], base["ratio_low"]) == (1.0, None)
    stored = load_result(folder / "hospitals")
    gap = stored.curves.gap_mean_state.isel(iteration=-1)
    means = {
        name: float(gap.sel(algorithm=name).values.astype(np.float64).mean())
        for name in ("encrypted", "conventional")
    }
    row = rows["hospitals", "proposed"]
    assert row["ratio"] == pytest.approx(means["encrypted"] / means["conventional"], rel=1e-9)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    prices = sorted((one["ratio"], name) for (name, of), one in rows.items() if of == "proposed")
    low, high = (f"{ratio:.3g} ({name})" for ratio, name in prices)
    assert f"is {low} to {high} times that of conventional DSGD" in found.differs
    assert "hospitals: 8 runs of 60 iterations" in found.drawings[0].caption
    assert "geometric DP ε = " in found.drawings[0].caption
    assert "Absent: the preset has no such method" in found.drawings[0].caption
    assert "Absent" not in accuracy._absent(
        [r for r in rows.values() if r["preset"] == "hospitals"]
    )
    with drawing.style():
        first, second = found.drawings[0].draw().axes
    words = [[text.get_text() for text in axes.texts] for axes in (first, second)]
    # Five agents have no DP, and this preset of hospitals no centralized method.
    assert words == [["absent"], ["absent"]]
    assert {row["metric"] for row in found.drawings[1].rows} == {"test_accuracy"}
    # After so few iterations nothing is settled.
    assert failed(found)[:2] == [
        "five-agents: what the preset asks of its methods",
        "hospitals: what the preset asks of its methods",
    ]
    assert "encrypted: F(x̄) − F* falls: mean F(x̄) − F* fell to" in found.checks[1].detail
    all_hold = accuracy._together("a", [Check("m: sound", True, ""), Check("n: sound", True, "")])
    assert all_hold.passed
    assert all_hold.detail == "all 2 hold: sound (2)"


def test_scores_far_below_are_written_and_not_drawn() -> None:
    rows = [
        {"preset": "a", "metric": "test_accuracy", "method": name, "mean": mean}
        | {"mean_low": mean - 0.001, "mean_high": mean + 0.001}
        for name, mean in (
            ("proposed", 0.97),
            ("conventional", 0.98),
            ("geometric DP", 0.945),
            ("tailored DP", 0.3),
        )
    ]
    # Down to 0.97 − 0.03.
    assert accuracy._least(rows) == pytest.approx(0.94)
    with drawing.style():
        (axes,) = accuracy._scores(rows).axes
    assert [text.get_text() for text in axes.texts] == ["◁ 0.30"]
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [float(np.asarray(x)[0]) for x in dots] == [0.97, 0.98, 0.945]
    assert axes.get_xlim()[0] > 0.9
    assert 2 <= len(axes.get_xticks()) <= 3


def test_accuracy_sees_a_method_that_is_not_nearer(compared: tuple[Made, Path], tmp_path) -> None:
    from dpe_jax.compare import compare

    _, folder = compared
    comparison = compare(load_result(folder / "hospitals"), "conventional", ("gap_mean_state",))
    worse = tuple(
        dataclasses.replace(row, interval=row.interval and type(row.interval)(9.0, 10.0))
        if row.method == "encrypted"
        else row
        for row in comparison.rows
    )
    found = {"hospitals": dataclasses.replace(comparison, rows=worse)}
    [check] = accuracy._nearer(found, {"hospitals": 0.6931})
    assert not check.passed
    private = comparison.row("gap_mean_state", "geometric-dp").mean
    assert check.detail.endswith(f", {private / 0.6931:.1%} of the start")
    unknown = {"presets": {"no-preset": {"runs": 8, "iterations": 9}}}
    asked = settings("accuracy", accuracy, unknown)
    with pytest.raises(InputError, match="presets with encrypted"):
        made(accuracy, asked, tmp_path)


def test_what_is_not_inside_is_seen() -> None:
    """The checker of figures itself."""
    with drawing.style():
        figure, (axes,) = drawing.plain_panels(1)
        axes.set_xlabel("an axis")
        figure.canvas.draw()
        inside(figure)
        axes.set_xlabel("a label that is far too long for a column of a journal " * 3)
        figure.canvas.draw()
        with pytest.raises(AssertionError):
            inside(figure)
        axes.set_xlabel("small", fontsize=6)
        figure.canvas.draw()
        with pytest.raises(AssertionError):
            inside(figure)


def test_the_files_of_the_readers(five_agents: tuple[Made, Path], tmp_path: Path) -> None:
    """Numbers behind a figure as CSV, read by another program."""
    from dpe_jax.reproduce.writing import write_part

    found, folder = five_agents
    out = shutil.copytree(folder, tmp_path / "objective")
    asked = settings("objective", objective, {"experiment": SHORT})
    write_part(out, "objective", objective, found, asked, "quick", 1.0)
    with (out / "figures" / "objective.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(found.drawings[0].rows)
    for row, expected in zip(rows, found.drawings[0].rows, strict=True):
        assert float(row["gap_mean_state_mean"]) == expected["gap_mean_state_mean"]
