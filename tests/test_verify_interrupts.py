"""`dpe verify`, interrupted: what is kept, and that no process is left."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import INSECURE, ONE, TRACED, checkpoints, the_object
from interrupting import watch
from small import ENCRYPTED, config

from dpe_jax import checkpoint, cli, experiment

pytestmark = pytest.mark.slow  # together over 20 s


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended, whether or not anybody has waited for them since."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def long(tmp_path: Path) -> Path:
    out = tmp_path / "long"
    one = {"methods": {"encrypted": ENCRYPTED}, "record.metrics": ["gap_mean_state"]}
    experiment.run(config({**TRACED, **one, "iterations": 150, "trace": [0]}), out)
    return out


def test_an_interrupted_verification_keeps_its_parts(long: Path, capsys) -> None:
    """A real process with workers, interrupted as soon as a part is kept."""
    arguments = ["verify", str(long), "--segment", "5", "--workers", "2"]
    keys = ["--key-bits", "1024", "--insecure-test-keys"]
    # Tests that run in the background of a script are born with interrupts ignored.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from dpe_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *arguments, *keys]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        watch(process, lambda: bool(checkpoints(long)))
        assert process.poll() is None
        children = running(psutil.Process(process.pid).children(recursive=True))
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=120)
    assert len(children) >= 2
    # What only watches over the workers ends by itself, just after its parent.
    for _ in range(300):
        if children := running(children):
            psutil.wait_procs(children, timeout=0.1)
    assert children == []
    assert process.returncode == cli.INTERRUPTED
    assert out == ""
    assert "Traceback" not in told
    *_, line = told.splitlines()
    assert line == "dpe: interrupted; finished parts are kept: the same command goes on from them"
    kept = len(checkpoints(long))
    assert 0 < kept < 30
    assert "verifications" not in json.loads((long / "manifest.json").read_text())
    assert cli.main([*arguments, *keys, "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert (report["verified"], report["resumed"]) == (True, kept)
    assert report["integers_compared"] == 150 * 30
    assert checkpoints(long) == []
    assert multiprocessing.active_children() == []
    assert os.listdir(long).count("manifest.json") == 1


def test_one_that_was_to_start_anew_goes_on_without_that(long: Path, monkeypatch, capsys) -> None:
    """What is interrupted in this process, as soon as two of its parts are kept."""
    arguments = ["verify", str(long), "--segment", "50", *INSECURE, *ONE, "--restart"]
    write_json = checkpoint.write_json

    def interrupted(*written: Any) -> None:
        if len(checkpoints(long)) == 2:
            signal.raise_signal(signal.SIGINT)
        write_json(*written)

    monkeypatch.setattr(checkpoint, "write_json", interrupted)
    # In a script's background interrupts are ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(arguments) == cli.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    captured = capsys.readouterr()
    assert captured.out == ""
    *_, line = captured.err.splitlines()
    same = "the same command without --restart"
    assert line == f"dpe: interrupted; finished parts are kept: {same} goes on from them"
    assert len(checkpoints(long)) == 2
    assert "verifications" not in json.loads((long / "manifest.json").read_text())
    monkeypatch.undo()
    assert cli.main([*arguments[:-1], "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert (report["verified"], report["resumed"]) == (True, 2)
    assert checkpoints(long) == []
