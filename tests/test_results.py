"""Results on disk: complete, equal to what was simulated, and refused when they are not whole."""

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import zarr
from small import DIVERGING, ENCRYPTED, config

from dpe_jax import experiment
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.blocks import Block
from dpe_jax.config import parse
from dpe_jax.errors import InputError
from dpe_jax.lattice import STATUS_NAMES
from dpe_jax.recording import Recording
from dpe_jax.results import Stored, config_hash, load, open_curves
from dpe_jax.store import CurveStore
from dpe_jax.study import Study, simulate

CONFIG = config({"trace": [19, 3], "methods.second": {**ENCRYPTED, "delta": 0.5}})


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return experiment.run(CONFIG, tmp_path_factory.mktemp("results") / "out").stored


@pytest.fixture
def copied(stored: Stored, tmp_path: Path) -> Path:
    """A result to damage."""
    shutil.copytree(stored.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_curves_are_those_of_memory_to_the_bit(stored: Stored) -> None:
    simulation = CONFIG.build()
    memory = simulate(
        simulation.algorithms,
        simulation.problem,
        simulation.network,
        runs=20,
        iterations=30,
        points=10,
        trace=(3, 19),
    )
    assert Study((simulation,)).block_lanes == 7
    assert set(stored.curves.variables) == set(memory.curves.variables)
    for name, variable in memory.curves.variables.items():
        read = stored.curves[name]
        assert read.dims == variable.dims, name
        assert read.dtype.kind == variable.dtype.kind, name
        np.testing.assert_array_equal(read.values, variable.values, err_msg=str(name))
    assert stored.curves.gap_mean_state.dims == ("algorithm", "iteration", "run")
    assert stored.curves.quantization_error.dims == ("algorithm", "iteration", "agent", "run")
    assert stored.curves.algorithm.values.tolist() == ["encrypted", "conventional", "second"]
    assert stored.curves.iteration.values[[0, -1]].tolist() == [0, 30]
    assert np.all(stored.curves.status.values == 0)
    traces = stored.traces()
    assert sorted(traces) == sorted(memory.traces) == ["encrypted", "second"]
    for name, trace in memory.traces.items():
        np.testing.assert_array_equal(traces[name].trace_state.values, trace.state)
        np.testing.assert_array_equal(traces[name].trace_increment.values, trace.increment)


def test_arrays_are_listed_alike_however_a_store_lists_them(stored: Stored, monkeypatch) -> None:
    listed = zarr.Group.members
    orders = []
    for turn in (1, -1):
        monkeypatch.setattr(zarr.Group, "members", lambda self: sorted(listed(self))[::turn])  # noqa: B023
        again = open_curves(stored.path)
        traces = stored.traces()
        orders.append(
            [(list(each.variables), dict(each.sizes)) for each in (again, *traces.values())]
        )
        assert again.attrs == stored.curves.attrs
        assert again.identical(stored.curves)
        assert all(each.run.dims == ("lane",) for each in traces.values())
    assert str(orders[0]) == str(orders[1])
    assert list(orders[0][0][1]) == ["algorithm", "iteration", "run", "agent", "coordinate"]


def test_the_trace_replays_in_plain_integers(stored: Stored) -> None:
    for name, trace in stored.traces().items():
        assert trace.trace_state.dims == ("lane", "moment", "agent", "coordinate")
        assert trace.trace_state.shape == (2, 31, 5, 2)
        assert trace.trace_increment.dims == ("lane", "iteration", "agent", "coordinate")
        assert trace.trace_increment.shape == (2, 30, 5, 2)
        assert trace.trace_state.dtype == trace.trace_increment.dtype == np.int64
        assert trace.run.values.tolist() == [3, 19]
        method = CONFIG.build().algorithms[name]
        assert isinstance(method, EncryptedDSGD)
        assert trace.attrs["delta"] == method.delta
        # Metropolis weights, and Γ = round(2³² γ / D).
        coupling, denominator = trace.coupling.values, trace.attrs["denominator"]
        degrees = (coupling > 0).sum(axis=1)
        assert degrees.tolist() == [3, 3, 4, 3, 3]
        weights = 1 / (1 + np.maximum(degrees[:, None], degrees))
        np.testing.assert_allclose(coupling / denominator, np.where(coupling > 0, weights, 0))
        k = np.arange(30)
        gain = np.rint(2.0**32 * (k + 1.0) ** -0.6 / denominator).astype(np.int64)
        np.testing.assert_array_equal(trace.gain.values, gain)
        links = [
            (i, j, int(coupling[i, j])) for i in range(5) for j in range(i) if coupling[i, j] > 0
        ]
        for lane, run in enumerate(trace.run.values.tolist()):
            replay = reference.replay(
                trace.trace_state.values[lane, 0].tolist(),
                trace.trace_increment.values[lane].tolist(),
                trace.gain.values.tolist(),
                links,
                int(trace.attrs["seed"]),
                run,
                trace.attrs["rounding"],
            )
            assert trace.trace_state.values[lane].tolist() == replay.Y
        wrong = reference.replay(
            trace.trace_state.values[0, 0].tolist(),
            trace.trace_increment.values[0].tolist(),
            trace.gain.values.tolist(),
            links,
            int(trace.attrs["seed"]),
            4,
        )
        assert trace.trace_state.values[0].tolist() != wrong.Y


def test_the_manifest_says_what_was_run(stored: Stored) -> None:
    manifest = stored.manifest
    tables = tomllib.loads((stored.path / "config.toml").read_text())
    assert config_hash(parse(tables)) == config_hash(CONFIG) == manifest["config_hash"]
    assert stored.config == CONFIG
    assert {"python", "dpe-jax", "jax", "jaxlib", "numpy"} <= set(manifest["versions"])
    assert manifest["device"]["platform"] in ("cpu", "gpu")
    assert (manifest["seed"], manifest["runs"], manifest["iterations"]) == (0, 20, 30)
    assert manifest["seconds"]["simulation"] > 0
    ok = dict.fromkeys(STATUS_NAMES, 0) | {"ok": 20}
    assert manifest["status"] == {"encrypted": ok, "conventional": ok, "second": ok}
    assert manifest["status"]["encrypted"] == stored.summary["methods"]["encrypted"]["status"]
    assert manifest["trace"] == [19, 3]
    simulation = CONFIG.build()
    np.testing.assert_allclose(manifest["optimum"]["x"], simulation.problem.solve().x)
    assert not any(path.name.startswith(".") for path in stored.path.parent.iterdir())


def _remove(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def _text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        (path / name).write_text(change((path / name).read_text()))

    return damage


def _chunk(array: str, change: Callable[[Path], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        chunks = [file for file in sorted((path / array).iterdir()) if file.name[0] != "."]
        change(chunks[-1])

    return damage


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_remove("manifest.json"), "manifest.json is missing"),
        (_remove("summary.json"), "summary.json is missing"),
        (_remove("config.toml"), "config.toml is missing"),
        (lambda path: shutil.rmtree(path / "curves.zarr"), "curves.zarr is missing"),
        (lambda path: shutil.rmtree(path / "trace.zarr"), "trace.zarr is not as"),
        (lambda path: shutil.rmtree(path / "trace.zarr" / "second"), "trace.zarr is not as"),
        (lambda path: shutil.rmtree(path / "curves.zarr" / "status"), "curves.zarr is not as"),
        (_text("manifest.json", lambda text: text[: len(text) // 2]), "readable JSON"),
        (_text("manifest.json", lambda _: "[]"), "readable JSON"),
        (_text("manifest.json", lambda _: "{}"), "is not as it was written"),
        (_text("summary.json", lambda text: text[:50]), "readable JSON"),
        (_text("summary.json", lambda text: text.replace("20", "21", 1)), "summary.json is not as"),
        (_text("config.toml", lambda text: text.replace("seed = 2", "seed = 3")), "config.toml is"),
        (_text("config.toml", lambda text: text + "junk"), "config.toml is not as"),
        (
            _text(
                "manifest.json", lambda text: text.replace('"config_hash": "', '"config_hash": "0')
            ),
            "has the hash",
        ),
        (_chunk("curves.zarr/gap_mean_state", Path.unlink), "curves.zarr is not as"),
        (_chunk("curves.zarr/status", Path.unlink), "curves.zarr is not as"),
        (_chunk("curves.zarr/final_state", _halve), "curves.zarr is not as"),
        (_chunk("trace.zarr/encrypted/trace_state", _halve), "trace.zarr is not as"),
    ],
)
def test_a_damaged_folder_is_refused(damage, reason, copied: Path) -> None:
    damage(copied)
    with pytest.raises(InputError) as refused:
        load(copied)
    assert refused.value.argument == "DIR"
    assert reason in str(refused.value)
    assert str(copied)[:20] in str(refused.value)


def test_an_undamaged_folder_loads_wherever_it_is(copied: Path, stored: Stored) -> None:
    (copied / "figures").mkdir()
    (copied / "notes.txt").write_text("mine")
    again = load(copied)
    assert again.summary == stored.summary
    assert again.curves.equals(stored.curves)
    with pytest.raises(InputError, match="missing"):
        load(copied / "nothing")
    with pytest.raises(InputError, match="DIR"):
        load(copied / "notes.txt")


def test_lanes_that_were_never_written_are_refused(tmp_path: Path, monkeypatch) -> None:
    write = CurveStore.write

    def forgetful(self: CurveStore, block: Block, recording: Recording) -> None:
        if recording.run[0] != 7:
            write(self, block, recording)

    monkeypatch.setattr(CurveStore, "write", forgetful)
    with pytest.raises(InputError, match="No such file"):
        experiment.run(config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Failed lanes


def test_failed_lanes_are_counted_and_never_averaged(tmp_path: Path) -> None:
    # Multipliers of either sign and a stepsize near the range: some runs leave it, some do not.
    some = {
        **ENCRYPTED,
        "stepsize": {"scale": 6.5e5, "exponent": 0.0},
        "multipliers": {"family": "two-point", "low": 0.0, "high": 60.0},
    }
    methods = {"all": DIVERGING, "some": some, "none": ENCRYPTED}
    changes = {"methods": methods, "iterations": 2, "runs": 40, "record.points": 3}
    outcome = experiment.run(config(changes), tmp_path / "out")
    stored, curves = outcome.stored, outcome.stored.curves
    status = curves.status.values
    failed = dict(zip(methods, (status != 0).sum(axis=1).tolist(), strict=True))
    assert failed["all"] == 40
    assert 0 < failed["some"] < 40
    assert failed["none"] == 0
    for row, name in enumerate(methods):
        counts = stored.manifest["status"][name]
        assert sum(counts.values()) == 40
        assert counts["ok"] == 40 - failed[name]
        sound = status[row] == 0
        final = stored.summary["methods"][name]["final"]["error_worst_agent"]
        assert final["sound"] == 40 - failed[name]
        values = curves.error_worst_agent.values[row, -1]
        assert np.isnan(values[~sound]).all()
        assert np.isfinite(values[sound]).all()
        if sound.any():
            assert final["mean"] == pytest.approx(values[sound].mean(dtype=np.float64))
        else:
            assert final["mean"] is final["low"] is final["high"] is None
    assert stored.summary["methods"]["all"]["quantization"]["largest_mean"] is None
    assert [note.split(":")[0] for note in outcome.warnings if "left the range" in note] == [
        "all",
        "some",
    ]
    assert f"of 40 runs {failed['some']} left the range" in " ".join(outcome.warnings)
    # A chunk in which every value is the fill value is stored like any other.
    assert load(tmp_path / "out").manifest["warnings"] == stored.manifest["warnings"]


def test_a_chunk_that_was_changed_in_place_is_noticed(tmp_path: Path) -> None:
    out = tmp_path / "result"
    experiment.run(config({"runs": 3, "iterations": 2}), out)
    load(str(out))
    chunk = max(
        (out / "curves.zarr" / "final_state").rglob("*.*.*"), key=lambda f: f.stat().st_size
    )
    chunk.write_bytes(bytes(chunk.stat().st_size))
    with pytest.raises(InputError, match=r"curves\.zarr is not as it was written"):
        load(out)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    from dpe_jax.results import read_config, resolved_toml

    path = tmp_path / "marked.toml"
    path.write_text(resolved_toml(config({"runs": 3})), encoding="utf-8-sig")
    assert read_config(path).runs == 3
