"""`dpe` where what it prints cannot go: other letters, full disks, readers that leave."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TextIO

import pytest
from command_line import refusal
from rich.console import Console

from dpe_jax import cli, commands
from dpe_jax.errors import InputError


@pytest.fixture
def printing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command prints in place of what it does."""
    lines: list[str] = []

    def run(options: object) -> int:
        for line in lines:
            commands._screen().print(line)
        return 0

    monkeypatch.setattr(commands, "run", run)
    return lines


@pytest.fixture
def saying(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `dpe reproduce` says of its work in place of doing it, if it is not stopped."""
    lines: list[str] = []

    def run(options: object, log: Console, screen: object) -> tuple[int, dict[str, Any]]:
        while lines:
            try:
                log.print(lines[-1])
            except OSError as error:
                raise InputError("--out", "", "a writable folder") from error
            lines.pop()
        return 0, {}

    monkeypatch.setattr("dpe_jax.reproduce_commands.run_reproduce", run)
    return lines


def unread() -> TextIO:
    """A pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", encoding="utf-8")


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", "?W?^k?"), ("utf-8", "‖W̄^k‖")])
def test_letters_that_a_terminal_does_not_know(
    encoding: str, shown: str, printing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printing.append("‖W̄^k‖")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert cli.main(["presets"]) == 0
    assert raw.getvalue().decode(encoding).rstrip() == shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no such device")
def test_a_full_disk_behind_stdout(printing: list[str], monkeypatch, capsys) -> None:
    printing.append("a line")
    with open("/dev/full", "w", encoding="utf-8", closefd=True) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["presets"]) == cli.BAD_INPUT
        # What is left in its buffer goes nowhere, and is no second failure.
        full.flush()
    err = capsys.readouterr().err
    assert err == "dpe: stdout: expected a place that can be used (No space left on device)\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_stream_is_no_failed_check(name: str, printing: list[str], monkeypatch) -> None:
    printing.append("a line")
    monkeypatch.setattr(sys, name, None)
    assert cli.main(["presets"]) == 0
    getattr(sys, name).close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no such device")
def test_a_complaint_that_nobody_can_read_changes_no_status() -> None:
    command = [sys.executable, "-m", "dpe_jax.cli", "run", "no-such-preset"]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, stderr=full, check=False).returncode == cli.BAD_INPUT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no such device")
def test_what_is_said_of_the_work_stops_nothing(saying: list[str], monkeypatch) -> None:
    saying += ["a line"] * 3
    with open("/dev/full", "w", encoding="utf-8", closefd=True, buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert cli.main(["reproduce"]) == 0
        assert saying == []
        with pytest.raises(OSError, match="No space"):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_reader_of_stderr_that_leaves_is_no_fault_of_a_folder(saying, monkeypatch) -> None:
    """Which is what one who writes a folder takes an `OSError` for."""
    saying += ["a long line " * 20] * 5000
    with unread() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert cli.main(["reproduce"]) == cli.PIPE_CLOSED


def test_a_reader_that_leaves_is_no_failed_check(printing: list[str], monkeypatch) -> None:
    printing += ["a long line " * 20] * 5000
    with unread() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(["presets"]) == cli.PIPE_CLOSED


def test_a_name_that_no_system_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "(File name too long)" in refusal(["sweep", "x" * 300], capsys)
    assert refusal(["report", "x" * 300], capsys).startswith("dpe: DIR = ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_page_is_no_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    line = refusal(["report", str(tmp_path), "--out", str(tmp_path / "pipe")], capsys)
    assert line.endswith("expected a file; this is a pipe or a device")
