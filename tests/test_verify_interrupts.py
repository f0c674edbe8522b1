"""`dpe verify`, interrupted: what is kept, and that no process is left."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from command_line import (
    TRACED,
    checkpoints,
    the_object,
)
from small import config

from dpe_jax import cli, experiment

pytestmark = pytest.mark.slow  # together over 20 s


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended, whether or not anybody has waited for them since."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.parametrize("restart", [False, True])
def test_an_interrupted_verification_keeps_its_parts(restart: bool, tmp_path: Path, capsys) -> None:
    """A real process with workers, interrupted as soon as a part is kept."""
    long = tmp_path / "long"
    experiment.run(config({**TRACED, "iterations": 300, "trace": [0]}), long)
    arguments = ["verify", str(long), "--segment", "10", "--workers", "2"]
    keys = ["--key-bits", "1024", "--insecure-test-keys"]
    # Tests that run in the background of a script are born with interrupts ignored.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from dpe_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *arguments, *keys]
    if restart:
        command.append("--restart")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not checkpoints(long):
            pass
        assert process.poll() is None
        children = running(psutil.Process(process.pid).children(recursive=True))
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
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
    expected = "the same command without --restart" if restart else "the same command"
    assert line == f"dpe: interrupted; finished parts are kept: {expected} goes on from them"
    kept = len(checkpoints(long))
    assert 0 < kept < 30
    assert "verifications" not in json.loads((long / "manifest.json").read_text())
    if restart:
        return
    assert cli.main([*arguments, *keys, "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert (report["verified"], report["resumed"]) == (True, kept)
    assert report["integers_compared"] == 300 * 30
    assert checkpoints(long) == []
    assert multiprocessing.active_children() == []
    assert os.listdir(long).count("manifest.json") == 1
