"""A sweep whose blocks several processes share has the bits of one process."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refusal
from small import REMOVED, write

from dpe_jax import cli
from dpe_jax.results import load

pytestmark = pytest.mark.slow  # together over 20 s

SCRIPTS = Path(__file__).parent.parent / "scripts"
SWEEP: dict[str, Any] = {
    "sweep": {"axis": [{"key": "methods.encrypted.delta", "values": [0.01, 0.1, 1.0]}]},
    "record.metrics": ["gap_mean_state", "peak_error"],
}
# What the processes of a cluster do, each of which makes its programs: of one method, half as many.
ALONE = SWEEP | {"methods.conventional": REMOVED}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


def same(one: Path, other: Path) -> None:
    """Both folders are whole, and hold the same numbers under the same labels."""
    first, second = load(one).curves, load(other).curves
    assert set(first.variables) == set(second.variables)
    for name in first.variables:
        np.testing.assert_array_equal(first[name].values, second[name].values, err_msg=str(name))
    assert first.attrs == second.attrs


@pytest.fixture(params=["runs", "summary"])
def keep(request: pytest.FixtureRequest) -> str:
    return request.param


def alone(folder: Path, path: str, keep: str) -> Path:
    out = folder / "alone"
    assert cli.main(["sweep", path, "--keep", keep, "--out", str(out), "--no-figures"]) == 0
    return out


def test_parts_one_after_the_other_make_the_whole(tmp_path: Path, keep: str, capsys) -> None:
    path, out = write(tmp_path, SWEEP), tmp_path / "parts"
    part = ["sweep", path, "--keep", keep, "--out", str(out), "--no-figures", "--part"]
    for index in (2, 0):
        assert cli.main([*part, f"{index}/3"]) == 0
        assert not out.exists()
        assert f"part {index}/3 is done" in capsys.readouterr().out
    # The last one to finish its blocks, whichever it is, finishes the result.
    assert cli.main([*part, "1/3"]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    same(out, alone(tmp_path, path, keep))
    # Once more, and there is nothing to do.
    written = load(out).manifest["written"]
    assert cli.main([*part, "0/3"]) == 0
    assert cli.main([*part[:-1], "--resume"]) == 0
    assert load(out).manifest["written"] == written


def test_what_no_part_has_done_is_done_at_the_end(tmp_path: Path) -> None:
    path, out = write(tmp_path, SWEEP), tmp_path / "parts"
    common = ["sweep", path, "--out", str(out), "--no-figures"]
    assert cli.main([*common, "--part", "1/2"]) == 0
    assert cli.main([*common, "--resume"]) == 0
    assert load(out).manifest["blocks"]["resumed"] > 0
    same(out, alone(tmp_path, path, "runs"))


@pytest.mark.slow
def test_two_processes_of_a_cluster_have_the_bits_of_one(tmp_path: Path, keep: str) -> None:
    path, out = write(tmp_path, ALONE), tmp_path / "cluster"
    command = [sys.executable, "-m", "dpe_jax.cli", "sweep", path, "--keep", keep, "--no-figures"]
    command += ["--out", str(out), "--distributed", f"localhost:{free_port()}", "--processes", "2"]
    processes = [
        subprocess.Popen(
            [*command, "--process", str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in (1, 0)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    blocks = load(out).manifest["blocks"]
    assert blocks["all"] >= 4
    same(out, alone(tmp_path, path, keep))


@pytest.mark.slow
def test_a_job_array_makes_the_result(tmp_path: Path) -> None:
    path, out = write(tmp_path, SWEEP), tmp_path / "array"
    command = [sys.executable, str(SCRIPTS / "slurm_sweep.py"), path, "--out", str(out)]
    command += ["--parts", "2", "--local", "--keep", "summary"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "submitted 2 tasks" in done.stdout
    same(out, alone(tmp_path, path, "summary"))


def test_parts_that_make_no_sense_are_refused(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, SWEEP)
    for part in ("2/2", "1", "a/b", "0/0"):
        line = refusal(["sweep", path, "--part", part], capsys)
        assert line == f"dpe: --part = {part!r}: expected I/N with 0 ≤ I < N ≤ 100000, such as 0/16"
    line = refusal(["sweep", path, "--processes", "2", "--process", "0"], capsys)
    assert "--distributed" in line
    line = refusal(["sweep", path, "--part", "0/2", "--distributed"], capsys)
    assert "--part" in line
    command = ["sweep", path, "--distributed", "nonsense", "--processes", "2", "--process", "0"]
    line = refusal(command, capsys)
    assert line == "dpe: --distributed = 'nonsense': expected HOST:PORT, such as localhost:12345"


@pytest.mark.parametrize("block", [7, 60, 1000])
def test_runs_are_added_to_a_sweep(tmp_path: Path, block: int, capsys) -> None:
    # Blocks of a part of one configuration, of all three with 20 runs, and with 35 runs as well.
    path, out = write(tmp_path, SWEEP | {"block": block}), tmp_path / "grown"
    assert cli.main(["sweep", path, "--out", str(out), "--no-figures"]) == 0
    assert cli.main(["sweep", str(out), "--add-runs", "15", "--no-figures"]) == 0
    more = tmp_path / "more"
    assert cli.main(["sweep", path, "--runs", "35", "--out", str(more), "--no-figures"]) == 0
    same(out, more)
    assert load(out).manifest["extended"][0]["runs"] == 20
    # Once more, and it goes on where it was: nothing is added twice.
    assert cli.main(["sweep", str(out), "--add-runs", "15", "--no-figures", "--resume"]) == 0
    assert load(out).config.runs == 35
    summary = alone(tmp_path, path, "summary")
    capsys.readouterr()
    line = refusal(["sweep", str(summary), "--add-runs", "15"], capsys)
    assert "--keep runs" in line
    line = refusal(["sweep", str(out), "--add-runs", "15", "--keep", "summary"], capsys)
    assert line == "dpe: --keep: not together with --add-runs"
    line = refusal(["sweep", path, "--add-runs", "15"], capsys)
    assert "the folder of a finished sweep" in line
    line = refusal(["sweep", str(out)], capsys)
    assert line.startswith("dpe: CONFIG|DIR = ")
    line = refusal(["sweep", str(out), "--add-runs", "15", "--runs", "9"], capsys)
    assert line == "dpe: --runs: not together with --add-runs"
