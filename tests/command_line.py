"""What the tests of commands share: their output, their refusals, and a traced result."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import CONVENTIONAL, ENCRYPTED, write

from dpe_jax import cli
from dpe_jax.folder import CHECKPOINT


def the_object(text: str) -> dict[str, Any]:
    """The one strict JSON object that a text is."""
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    value = json.loads(text, parse_constant=pytest.fail)
    assert isinstance(value, dict)
    return value


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


INSECURE = ["--key-bits", "256", "--insecure-test-keys"]
ONE = ["--workers", "1"]
TRACED = {
    "runs": 3,
    "iterations": 5,
    "trace": [0, 2],
    "methods": {"encrypted": ENCRYPTED, "plain": CONVENTIONAL},
}


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a refused command."""
    assert cli.main(arguments) == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    *warnings, line = captured.err.splitlines()
    assert all("INSECURE TEST KEYS" in warning for warning in warnings)
    assert line.startswith("dpe: ")
    return line


def refused_config(
    changes: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line in which `dpe run` refuses a configuration, and leaves nothing behind."""
    path = write(folder, changes)
    line = refusal(["run", path, "--out", str(folder / "out")], capsys)
    assert [entry.name for entry in folder.iterdir()] == [Path(path).name]
    return line


def refused_key(
    changes: dict[str, Any],
    expected: tuple[str, str, str],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """The same; it begins with a key, shows its value, and says what is accepted."""
    line = refused_config(changes, folder, capsys)
    key, shown, accepted = expected
    assert line.startswith(f"dpe: {key}")
    head, _, tail = line.partition(": expected ")
    assert shown in head
    assert accepted in tail
    return line


def verifications(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "manifest.json").read_text())["verifications"]


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{CHECKPOINT}*/*.json"))
