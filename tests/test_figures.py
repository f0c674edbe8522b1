"""Figures: files of the right kind, from whatever was recorded and however many runs failed."""

import dataclasses
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dpe_jax import drawing, experiment, figures
from dpe_jax.bands import band
from dpe_jax.config import ChecksTable, parse
from dpe_jax.errors import InputError
from dpe_jax.results import Stored

pytestmark = pytest.mark.slow  # together over 20 s

CONVENTIONAL = {"method": "ConventionalDSGD", "stepsize": {"scale": 0.5, "exponent": 0.9}}
ENCRYPTED = {
    **CONVENTIONAL,
    "method": "EncryptedDSGD",
    "gamma": {"scale": 1.0, "exponent": 0.6},
}
CENTRALIZED = {**CONVENTIONAL, "method": "CentralizedSGD"}
METHODS = {"encrypted": ENCRYPTED, "conventional": CONVENTIONAL, "centralized": CENTRALIZED}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A real result of three methods, 24 runs and 60 iterations, its curves in memory."""
    config = parse(
        {
            "name": "small",
            "runs": 24,
            "iterations": 60,
            "record": {"points": 12},
            "network": {"graph": "ring", "agents": 3},
            "problem": {"kind": "quadratic", "dim": 2, "seed": 1, "noise": 0.5},
            "methods": METHODS,
        }
    )
    found = experiment.run(config, tmp_path_factory.mktemp("result") / "out").stored
    return dataclasses.replace(found, curves=found.curves.load())


def failing(stored: Stored, method: str, lanes: slice, point: int) -> Stored:
    """The same result as if some lanes of a method had failed from a record point on."""
    curves = stored.curves.copy(deep=True)
    row = list(stored.config.methods).index(method)
    for name, variable in curves.data_vars.items():
        if "iteration" in variable.dims:
            curves[name].values[row, point:, ..., lanes] = np.nan
    curves.status.values[row, lanes] = 2
    return dataclasses.replace(stored, curves=curves)


def renamed(stored: Stored, names: dict[str, str]) -> Stored:
    """A result of methods under other names, each a copy of one of the given result."""
    of = stored.summary["methods"]
    return dataclasses.replace(
        stored,
        config=stored.config.model_copy(
            update={"methods": {new: stored.config.methods[old] for new, old in names.items()}}
        ),
        summary={**stored.summary, "methods": {new: of[old] for new, old in names.items()}},
        curves=stored.curves.sel(algorithm=list(names.values())).assign_coords(
            algorithm=list(names)
        ),
    )


def check_files(paths: list[Path], names: list[str]) -> None:
    """Every figure is a whole PNG and a whole PDF of some size, and nothing else is there."""
    assert [path.name for path in paths] == [
        f"{n}.{kind}" for n in names for kind in ("png", "pdf")
    ]
    for path in paths:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert content.rstrip().endswith(b"IEND\xaeB`\x82")
            assert len(content) > 10_000
        else:
            assert content.startswith(b"%PDF-")
            assert content.rstrip().endswith(b"%%EOF")
            assert len(content) > 5_000
    if paths:
        assert sorted(paths[0].parent.iterdir()) == sorted(paths)


def texts(figure: object) -> str:
    """Everything that a figure says."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    assert isinstance(figure, Figure)
    found = figure.findobj(lambda artist: isinstance(artist, Text))
    return "\n".join(text.get_text() for text in found if isinstance(text, Text))


def said(stored: Stored, name: str) -> str:
    """What one of the figures says, without drawing it."""
    make = getattr(figures, f"_{name}")
    return texts(make(stored, drawing.methods(stored)))


def test_every_figure_is_written_twice_and_alike_each_time(stored: Stored, tmp_path: Path) -> None:
    from matplotlib import pyplot, rcParams

    before = dict(rcParams)
    paths = figures.draw(stored, tmp_path / "deep" / "figures")
    check_files(paths, ["objective", "errors", "quantization"])
    assert dict(rcParams) == before
    assert pyplot.get_fignums() == []
    gap = dataclasses.replace(stored, curves=stored.curves[["status", "gap_mean_state"]])
    again = figures.draw(gap, tmp_path / "again")
    assert [path.read_bytes() for path in paths[:2]] == [path.read_bytes() for path in again]


def test_panels_and_figures_without_metrics_are_left_out(stored: Stored, tmp_path: Path) -> None:
    without = dataclasses.replace(
        stored, curves=stored.curves.drop_vars(["gap_mean_state", "consensus_error"])
    )
    check_files(figures.draw(without, tmp_path / "some"), ["errors", "quantization"])
    assert "consensus" in said(stored, "errors")
    assert "consensus" not in said(without, "errors")
    nothing = dataclasses.replace(
        stored, curves=stored.curves[["status", "failed_at", "final_state"]]
    )
    assert figures.draw(nothing, tmp_path / "none") == []


def test_one_method_and_one_run(stored: Stored, tmp_path: Path) -> None:
    one = renamed(stored, {"conventional": "conventional"})
    one = dataclasses.replace(one, curves=one.curves.isel(run=[0]))
    gap = dataclasses.replace(one, curves=one.curves.drop_vars("gap_mean_state"))
    check_files(figures.draw(gap, tmp_path), ["errors"])
    assert "over 1 run" in said(one, "objective")


def test_eight_methods_with_awkward_names(stored: Stored, tmp_path: Path) -> None:
    names = {f"{kind} {i}": kind for i in range(2) for kind in METHODS}
    names |= {"_hidden $\\alpha": "encrypted", "a name " * 20: "encrypted"}
    many = renamed(stored, names)
    gap = dataclasses.replace(many, curves=many.curves[["status", "gap_mean_state"]])
    check_files(figures.draw(gap, tmp_path), ["objective"])
    assert said(many, "quantization").count("units of $x^2$") == 4
    kinds = drawing.methods(many)
    assert len(kinds) == len({method.colour for method in kinds}) == 8
    words = said(many, "objective")
    assert all(name in words for name in ("encrypted 1", "centralized 0", " _hidden", "a name"))


def test_failed_runs_are_counted(stored: Stored, tmp_path: Path) -> None:
    some = failing(stored, "encrypted", slice(0, 5), 4)
    only_objective = dataclasses.replace(
        some, curves=some.curves.drop_vars(["error_worst_agent", "consensus_error"])
    )
    check_files(figures.draw(only_objective, tmp_path), ["objective", "quantization"])
    for name in ("objective", "errors", "quantization"):
        assert "encrypted: 5 of 24 runs failed, then left out" in said(some, name)
        assert "failed" not in said(stored, name)


def test_a_method_without_a_sound_run_is_only_named(stored: Stored) -> None:
    none = failing(stored, "conventional", slice(None), 4)
    words = said(none, "objective")
    assert "conventional: 24 of 24 runs failed, not shown" in words
    figure = figures._objective(none, drawing.methods(none))
    assert figure is not None
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "encrypted" in legend
    assert "conventional" not in legend


def test_all_runs_failed(stored: Stored, tmp_path: Path) -> None:
    ruin = stored
    for method in METHODS:
        ruin = failing(ruin, method, slice(None), 0)
    two = dataclasses.replace(ruin, curves=ruin.curves.drop_vars("gap_mean_state"))
    check_files(figures.draw(two, tmp_path), ["errors", "quantization"])
    assert "no sound run" in said(ruin, "objective")
    assert "no sound run" in said(ruin, "errors")
    assert "no sound run" not in said(stored, "errors")


def test_a_diverging_method_does_not_hide_the_rest(stored: Stored) -> None:
    curves = stored.curves.copy(deep=True)
    curves.gap_mean_state.values[1, 5:] = 1e30
    curves.gap_mean_state.values[1, 8:] = np.inf
    wild = dataclasses.replace(stored, curves=curves)
    figure = figures._objective(wild, drawing.methods(wild))
    assert figure is not None
    assert "cut off above" in texts(figure)
    top = figure.axes[0].get_ylim()[1] - stored.summary["minimum"]
    largest = float(stored.curves.gap_mean_state.values.max())
    assert largest < top < 10 * largest
    assert "cut off above" not in said(stored, "objective")


def test_lines_are_the_means_and_the_minimum(stored: Stored) -> None:
    figure = figures._objective(stored, drawing.methods(stored))
    assert figure is not None
    left, right = figure.axes
    gap = stored.curves.gap_mean_state.values.astype(np.float64)
    for row, name in enumerate(METHODS):
        for axes, shift in ((left, stored.summary["minimum"]), (right, 0.0)):
            (line,) = [line for line in axes.get_lines() if line.get_label() == name]
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            np.testing.assert_array_equal(x, stored.curves.iteration.values + 1)
            np.testing.assert_allclose(y, shift + gap[row].mean(axis=1), rtol=1e-12)
    dashes = {str(line.get_linestyle()) + str(line.get_color()) for line in right.get_lines()}
    assert len(dashes) >= 3


def test_guide_ends_on_the_curve_with_the_predicted_slope(stored: Stored) -> None:
    unasked = figures._errors(stored, drawing.methods(stored))
    assert unasked is not None
    labels = [str(line.get_label()) for line in unasked.axes[0].get_lines()]
    assert not any("propto" in label for label in labels)
    checked = stored.config.model_copy(update={"checks": ChecksTable(decay_from=10)})
    stored = dataclasses.replace(stored, config=checked)
    figure = figures._errors(stored, drawing.methods(stored))
    assert figure is not None
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    (guide,) = [line for label, line in lines.items() if "propto" in label]
    k = np.asarray(guide.get_xdata(), np.float64) - 1
    y = np.asarray(guide.get_ydata(), np.float64)
    slope = np.polyfit(np.log(k), np.log(y), 1)[0]
    assert slope == pytest.approx(-0.3, abs=1e-9)
    assert y[-1] == np.asarray(lines["encrypted"].get_ydata())[-1]


def test_rounding_is_no_consensus_error(stored: Stored) -> None:
    figure = figures._errors(stored, drawing.methods(stored))
    assert figure is not None
    low, _ = figure.axes[1].get_ylim()
    assert low > 1e-6
    assert "centralized: consensus error zero up to rounding" in texts(figure)


def test_agents_that_all_but_agree_do_not_flatten_the_rest(stored: Stored) -> None:
    curves = stored.curves.copy(deep=True)
    curves.consensus_error.values[1, 5:] = 1e-13
    close = dataclasses.replace(stored, curves=curves)
    figure = figures._errors(close, drawing.methods(close))
    assert figure is not None
    low, high = figure.axes[1].get_ylim()
    assert high / low == pytest.approx(1e9)
    assert float(stored.curves.consensus_error.max()) < high
    assert "consensus error: axis cut off below" in texts(figure)
    assert "cut off below" not in said(stored, "errors")


@pytest.mark.parametrize("values", [1, 50, 1000, 10**9])
def test_chunks_do_not_change_the_figures(values: int) -> None:
    rng = np.random.default_rng(0)
    sample = rng.lognormal(size=(13, 4, 37)).astype(np.float32)
    sample[6:, :, 3] = np.nan
    sample[9:, 2] = np.nan
    curve = xr.DataArray(sample, dims=("iteration", "agent", "run"))
    whole = band(sample[:, 1])
    for found, expected in zip(figures.chunked_band(curve[:, 1], values), whole, strict=True):
        np.testing.assert_array_equal(found, expected)
    means = np.stack([band(sample[:, agent]).mean for agent in range(4)], axis=1)
    assert np.isnan(means[9:, 2]).all()
    np.testing.assert_allclose(figures.chunked_mean(curve, values), means, rtol=1e-12)


def test_no_more_than_a_chunk_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    values = xr.DataArray.values.fget
    assert values is not None

    def watched(array: xr.DataArray) -> np.ndarray:
        sizes.append(array.size)
        return values(array)

    monkeypatch.setattr(xr.DataArray, "values", property(watched))
    curve = xr.DataArray(np.ones((20, 3, 50), np.float32), dims=("iteration", "agent", "run"))
    figures.chunked_band(curve[:, 0], 200)
    assert sizes == [200] * 5
    sizes.clear()
    figures.chunked_mean(curve, 200)
    assert sum(sizes) == curve.size
    assert max(sizes) <= 200


def test_an_unwritable_place_is_refused(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out") as caught:
        figures.draw(stored, tmp_path / "file" / "figures")
    assert caught.value.argument == "--out"
    with pytest.raises(InputError, match="--out"):
        figures.draw(stored, tmp_path / "file")
    # A folder where a figure should go: the figure cannot take its place, and leaves no scratch.
    (tmp_path / "out" / "objective.png").mkdir(parents=True)
    with pytest.raises(InputError, match="--out"):
        figures.draw(stored, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["objective.png"]


@pytest.mark.parametrize("text", ["one two three four five six seven " * 3 + "eight", "a bc " * 11])
@pytest.mark.parametrize("width", [20, 34, 48])
def test_the_last_line_of_a_title_is_no_lone_word(text: str, width: int) -> None:
    lines = drawing.wrapped(text, width)
    assert " ".join(lines) == " ".join(text.split())
    assert max(map(len, lines)) <= width
    assert len(lines) == len(textwrap.wrap(text, width))
    assert len(lines) == 1 or 3 * len(lines[-1]) > width - 16
