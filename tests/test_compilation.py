"""Compiled programs outlive a command, and change nothing."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small import REMOVED, write

from dpe_jax.compilation import keep_programs, whole_programs
from dpe_jax.results import load

ALONE = {"methods.conventional": REMOVED}
"""One method, as each has programs of its own (which `test_whole` counts)."""


def run(folder: Path, out: str, changes: dict[str, Any] | None = None, **variables: str) -> Path:
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-m", "dpe_jax.cli", "run", "--no-figures"]
    command.append(write(folder, ALONE | (changes or {})))
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


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a first command, with its result and the programs that it has kept."""
    folder = tmp_path_factory.mktemp("cold")
    run(folder, "first")
    return folder


def assert_same_curves(one: Path, other: Path) -> None:
    first, second = load(one).curves, load(other).curves
    assert set(first.data_vars) == set(second.data_vars)
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name].values, second[name].values)


@pytest.mark.slow
def test_a_second_command_finds_what_the_first_has_compiled(cold: Path, tmp_path: Path) -> None:
    kept = programs(cold / "cache" / "dpe-jax")
    for name in ("advance", "start", "finish"):
        assert sum(program.startswith(f"_{name}-") for program in kept) == 1
    # A run of other numbers is the same program.
    changes = {"methods.encrypted.delta": 0.3, "seed": 5}
    second = run(cold, "second", changes)
    assert programs(cold / "cache" / "dpe-jax") == kept
    # What JAX is asked to keep elsewhere is made anew, and this is left as it is.
    own = tmp_path / "own"
    anew = run(tmp_path, "anew", changes, JAX_COMPILATION_CACHE_DIR=str(own))
    assert not (tmp_path / "cache").exists()
    assert_same_curves(second, anew)


@pytest.mark.slow
def test_jax_itself_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    # As all tests do.
    assert keep_programs() is None
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert keep_programs() is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert whole_programs() is None
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_no_error(cold: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    anew = run(tmp_path, "out", XDG_CACHE_HOME=str(tmp_path / "file"))
    assert_same_curves(cold / "first", anew)
