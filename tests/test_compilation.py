"""Compiled programs outlive a command, and change nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import write

from dpe_jax.compilation import keep_programs, whole_programs
from dpe_jax.results import load


def run(folder: Path, out: str, changes: dict[str, Any] | None = None, **variables: str) -> Path:
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-m", "dpe_jax.cli", "run", write(folder, changes), "--no-figures"]
    path = folder / out
    done = subprocess.run(
        [*command, "--out", str(path)],
        env=quiet | {"XDG_CACHE_HOME": str(folder / "cache")} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr
    return path


def programs(folder: Path) -> set[str]:
    """All of them, however quickly they compile."""
    return {path.name for path in folder.rglob("*") if path.is_file() and "atime" not in path.name}


@pytest.mark.slow
def test_a_second_command_finds_what_the_first_has_compiled(tmp_path: Path) -> None:
    first = run(tmp_path, "first")
    kept = programs(tmp_path / "cache" / "dpe-jax")
    for name, methods in (("advance", 2), ("start", 2), ("finish", 2)):
        assert sum(program.startswith(f"_{name}-") for program in kept) == methods
    second = run(tmp_path, "second")
    assert programs(tmp_path / "cache" / "dpe-jax") == kept
    one, other = load(first).curves, load(second).curves
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values)
    # A run of other numbers is the same program.
    changes = {"methods.encrypted.delta": 0.3, "seed": 5}
    third = run(tmp_path, "third", changes)
    assert programs(tmp_path / "cache" / "dpe-jax") == kept
    anew = run(tmp_path, "anew", changes, JAX_ENABLE_COMPILATION_CACHE="0")
    one, other = load(third).curves, load(anew).curves
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values)


@pytest.mark.slow
def test_jax_itself_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "out", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert not (tmp_path / "cache").exists()
    # As all tests do.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert keep_programs() is None
    assert whole_programs() is None
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run(tmp_path, "out", XDG_CACHE_HOME=str(tmp_path / "file"))
