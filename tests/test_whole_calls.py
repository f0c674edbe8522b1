"""Programs that are kept whole and call a library, which has to be ready where they are read."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpe_jax import whole
from dpe_jax.whole import Whole

SCRIPT = """
import json, sys
from pathlib import Path
import jax.numpy as jnp
from dpe_jax import whole

folder, ready = sys.argv[1:]
whole.whole_programs = lambda: Path(folder)
if ready == "unready":
    whole._ready_linear_algebra = lambda: None
traced = []

def solve(A, b):
    traced.append(A.shape)
    return {"x": jnp.linalg.solve(A, b)}

found = whole.Whole(solve)(jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.array([3.0, 5.0]))
print(json.dumps({"x": found["x"].tolist(), "traced": len(traced)}))
"""


def solved(folder: Path, ready: str = "ready") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", SCRIPT, str(folder), ready]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_program_that_solves_equations_can_be_read_by_another_process(tmp_path: Path) -> None:
    for traced in (1, 0):
        done = solved(tmp_path / "whole")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        np.testing.assert_allclose(found["x"], [0.8, 1.4], rtol=1e-6)
        assert found["traced"] == traced
    # JAX finds LAPACK as it lowers a program, which this one no longer is.
    assert solved(tmp_path / "whole", "unready").returncode == -signal.SIGSEGV


def test_a_program_that_calls_anything_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "whole_programs", lambda: tmp_path / "whole")

    def called(x: jax.Array) -> dict[str, Any]:
        return {"sine": jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)}

    def plain(x: jax.Array) -> dict[str, Any]:
        return {"sine": jnp.sin(x)}

    x = jnp.arange(3.0)
    for function, kept in ((called, 0), (plain, 1)):
        np.testing.assert_allclose(Whole(function)(x)["sine"], np.sin(np.arange(3.0)), rtol=1e-6)
        assert len(list((tmp_path / "whole").glob("*"))) == kept
    lowered = jax.jit(called).lower(x).as_text()
    assert not whole._readable(lowered)
    assert whole._readable(lowered.replace("custom_call @", "custom_call @lapack_"))
