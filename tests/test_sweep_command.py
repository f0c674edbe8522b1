"""`dpe sweep`: every configuration as `dpe run` has it, labelled, as curves or as statistics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from command_line import refusal, the_object
from png_only import png_only
from small import CONVENTIONAL, ENCRYPTED, config, tables, write

from dpe_jax import cli, experiment, reductions
from dpe_jax.lattice import STATUS_NAMES
from dpe_jax.results import load
from dpe_jax.sweeps import expand

pytestmark = pytest.mark.slow  # together over 20 s

AXES: list[dict[str, Any]] = [
    {"key": "methods.encrypted.delta", "values": [0.01, 0.1, 1.0]},
    {"name": "graph", "key": "network", "labels": ["dense", "ring"]},
]
AXES[1]["values"] = [tables()["network"], {"graph": "ring", "agents": 5}]
METRICS = ["gap_mean_state", "error_worst_agent", "peak_error"]
CHANGES = {"record.metrics": METRICS, "sweep": {"axis": AXES}}


def run(folder: Path, *arguments: str, changes: dict[str, Any] | None = None) -> Path:
    path = write(folder, CHANGES | (changes or {}))
    out = folder / "out"
    assert cli.main(["sweep", path, "--out", str(out), "--no-figures", *arguments]) == 0
    return out


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def summarised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("summary"), "--keep", "summary")


def test_each_configuration_is_what_dpe_run_makes_of_it(kept: Path, tmp_path: Path) -> None:
    curves = load(kept).curves
    assert curves.gap_mean_state.dims == ("algorithm", "configuration", "iteration", "run")
    assert curves.sizes["configuration"] == 6
    assert curves.delta.values.tolist() == [0.01, 0.01, 0.1, 0.1, 1.0, 1.0]
    assert curves.graph.values.tolist() == ["dense", "ring"] * 3
    sweep = expand(config(CHANGES))
    for index in (0, 3, 5):
        alone = experiment.run(sweep.configs[index], tmp_path / str(index)).stored.curves
        for name in (*METRICS, "status", "failed_at"):
            for method in ("encrypted", "conventional"):
                np.testing.assert_array_equal(
                    curves[name].sel(algorithm=method).isel(configuration=index).values,
                    alone[name].sel(algorithm=method).values,
                )
    ends = curves.gap_mean_state.isel(iteration=-1, run=0)
    assert len(np.unique(ends.sel(algorithm="encrypted").values)) == 6
    # Conventional DSGD has no δ: it is computed once for each graph, and said of each δ.
    assert len(np.unique(ends.sel(algorithm="conventional").values)) == 2
    computed = load(kept).manifest["sweep"]["computed"]
    assert computed == {"encrypted": 6, "conventional": 2}


def test_a_summary_has_the_statistics_of_the_runs(kept: Path, summarised: Path) -> None:
    runs, summary = load(kept).curves, load(summarised).curves
    assert "run" not in summary.sizes
    assert summary["quantile"].values.tolist() == list(reductions.QUANTILES)
    for metric in METRICS:
        values = runs[metric].values.astype(np.float64)
        np.testing.assert_allclose(summary[f"{metric}_mean"], values.mean(-1), rtol=1e-12)
        variance = values.var(-1, ddof=1)
        np.testing.assert_allclose(summary[f"{metric}_variance"], variance, rtol=1e-7, atol=1e-15)
        assert (summary[f"{metric}_count"].values == 20).all()
        above = values[..., None] > values[:, :, :1, :, None] * reductions.FRACTIONS
        np.testing.assert_array_equal(summary[f"{metric}_exceedance"], above.sum(-2))
    counts = summary.status_count
    assert counts["status"].values.tolist() == list(STATUS_NAMES)
    assert (counts.sel(status="ok").values == 20).all()


def test_quantiles_are_exact_where_a_configuration_is_one_block(tmp_path: Path, kept: Path) -> None:
    # Of one method on one graph: each is compiled.
    changes = {"sweep": {"axis": AXES[:1]}, "methods": {"encrypted": ENCRYPTED}}
    out = run(tmp_path, "--keep", "summary", "--block", "40", changes=changes)
    whole = load(kept).curves.gap_mean_state.sel(algorithm=["encrypted"])
    values = whole.values[:, whole.graph.values == "dense"]
    exact = np.quantile(values, reductions.QUANTILES, axis=-1)
    found = load(out).curves.gap_mean_state_quantile
    assert found.shape[:2] == (1, 3)
    np.testing.assert_allclose(found, np.moveaxis(exact, 0, -1), rtol=1e-6)


def test_runs_that_fail_are_counted_and_left_out(tmp_path: Path) -> None:
    axes = [{"key": "methods.encrypted.stepsize.scale", "values": [0.5, 1e7]}]
    changes = {"sweep": {"axis": axes}, "methods": {"encrypted": ENCRYPTED}}
    out = run(tmp_path, "--keep", "summary", changes=changes)
    curves = load(out).curves
    assert curves.status_count.sel(status="ok").values.tolist() == [[20, 0]]
    end = curves.isel(iteration=-1, algorithm=0)
    assert end.gap_mean_state_count.values.tolist() == [20, 0]
    assert np.isnan(end.gap_mean_state_mean.values).tolist() == [False, True]
    (warning,) = load(out).manifest["warnings"]
    assert warning.startswith(
        "encrypted: 20 of 40 runs left the range or turned non-finite, in 1 of"
    )
    rows = load(out).summary["final"]["gap_mean_state"]
    assert [row["failed"] for row in rows] == [0, 20]
    assert rows[1]["gap_mean_state_mean"] is None


def test_the_command_says_what_it_did(tmp_path: Path, capsys) -> None:
    # With few lines in its figures.
    few = {"sweep": {"axis": AXES[:1]}, "methods": {"encrypted": ENCRYPTED}}
    summary = ["sweep", write(tmp_path, CHANGES | few), "--keep", "summary"]
    assert cli.main([*summary, "--out", str(tmp_path / "out"), "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert report["configurations"] == 3
    assert len(report["final"]["peak_error"]) == 3
    assert all(Path(figure).is_file() for figure in report["figures"])
    assert {Path(figure).suffix for figure in report["figures"]} == {".png", ".pdf"}
    write(tmp_path, CHANGES)
    assert cli.main([*summary, "--out", str(tmp_path / "again"), "--no-figures"]) == 0
    shown = capsys.readouterr()
    assert "6 configurations (3 × 2), 20 runs each, 2 methods" in shown.err
    assert "F(x̄) − F* at k = 30" in shown.out
    assert f"written to {tmp_path / 'again'}" in shown.out


def test_a_sweep_is_drawn_again_with_chosen_axes(
    kept: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    png_only(monkeypatch)
    draw = ["plot", str(kept), "--out", str(tmp_path), "--json"]
    assert cli.main([*draw, "--x", "graph", "--y", "delta", "--metric", "peak_error"]) == 0
    figures = the_object(capsys.readouterr().out)["figures"]
    assert len(figures) >= 4
    line = refusal([*draw, "--metric", "stationarity"], capsys)
    assert line == (
        "dpe: --metric = 'stationarity': expected one of gap_mean_state, error_worst_agent, "
        "peak_error\n".rstrip()
    )


def test_what_cannot_be_swept_is_refused(tmp_path: Path, capsys) -> None:
    def refused(changes: dict[str, Any], *arguments: str) -> str:
        path = write(tmp_path, CHANGES | changes)
        return refusal(["sweep", path, "--out", str(tmp_path / "out"), *arguments], capsys)

    assert "trace" in refused({"trace": [0]})
    assert "--keep = 'all': expected one of runs, summary" in refused({}, "--keep", "all")
    line = refusal(["sweep", "five-agents"], capsys)
    assert "sweep = None: expected a table" in line
    line = refusal(["run", write(tmp_path, CHANGES)], capsys)
    assert "a sweep is for dpe sweep" in line
    # What only shows when a configuration is built names its axis and value.
    axes = [{"key": "network.scale", "values": [1.0, 7.0]}]
    line = refused({"sweep": {"axis": axes}, "methods": {"plain": CONVENTIONAL}})
    assert "scale" in line
    assert "7.0" in line
    axes = [{"key": "problem", "values": [tables()["problem"], {"kind": "digits_network"}]}]
    axes[0]["labels"] = ["quadratic", "network"]
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_drawn_is_refused_before_anything_is_computed(tmp_path, capsys) -> None:
    path, out = write(tmp_path, CHANGES), tmp_path / "out"
    for options, expected in (
        (["--metric", "nope"], "--metric = 'nope': expected one of gap_mean_state, error_worst"),
        (["--x", "nope"], "--x = 'nope': expected one of delta, graph"),
        (["--x", "delta", "--y", "delta"], "--y = 'delta': expected another axis than --x"),
        (["--algorithm", "nope"], "--algorithm = 'nope': expected one of encrypted, conventional"),
        (["--at", "delta=7"], "--at = 'delta=7': expected one of 0.01, 0.1, 1"),
    ):
        line = refusal(["sweep", path, "--out", str(out), *options], capsys)
        assert line.startswith(f"dpe: {expected}"), line
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.parametrize("keep", ["runs", "summary"])
def test_a_sweep_may_have_one_configuration(tmp_path: Path, keep: str, capsys) -> None:
    axes = [{"key": "problem.noise", "values": [0.3]}]
    changes = {"runs": 4, "sweep": {"axis": axes}, "methods": {"encrypted": ENCRYPTED}}
    path, out = write(tmp_path, changes), tmp_path / "out"
    # Figures of one are drawn in test_sweep_figures.
    assert cli.main(["sweep", path, "--out", str(out), "--keep", keep, "--no-figures"]) == 0
    assert "1 configuration (1), 4 runs each, 1 method" in capsys.readouterr().err
    assert load(out).curves.noise.values.tolist() == [0.3]


def test_a_changed_axis_is_named_by_its_key(tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    axis = {"key": "methods.encrypted.delta", "geometric": {"from": 0.01, "to": 1.0, "count": 3}}
    methods = {"encrypted": ENCRYPTED}
    path = write(tmp_path, {"methods": methods, "sweep": {"axis": [axis]}})
    assert cli.main(["sweep", path, "--out", str(out), "--part", "0/2"]) == 0
    axis["geometric"] = {"from": 0.02, "to": 1.0, "count": 3}
    path = write(tmp_path, {"methods": methods, "sweep": {"axis": [axis]}})
    capsys.readouterr()
    assert cli.main(["sweep", path, "--out", str(out), "--resume"]) == cli.BAD_INPUT
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("dpe: sweep.axis[0].geometric.")
    assert "= 0.02: expected 0.01, with which" in line


def test_a_sweep_is_no_result_of_one_experiment(kept: Path, capsys) -> None:
    for command in ("compare", "verify", "certify"):
        line = refusal([command, str(kept)], capsys)
        assert "sweep" in line


def test_a_damaged_sweep_is_refused(summarised: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(summarised, copy)
    assert load(copy).curves.equals(load(summarised).curves)
    chunk = next((copy / "curves.zarr" / "gap_mean_state_mean").glob("[0-9]*"))
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    with pytest.raises(Exception, match="not as it was written"):
        load(copy)


def test_results_are_labelled_in_one_dataset(kept: Path) -> None:
    dataset = xr.open_zarr(kept / "curves.zarr", consolidated=False)
    axes = json.loads(dataset.attrs["sweep_axes"])
    assert [(axis["name"], axis["size"]) for axis in axes] == [("delta", 3), ("graph", 2)]
