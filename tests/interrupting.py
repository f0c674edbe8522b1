"""Runs that are broken off, and whether what they come to is the same to the bit."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from small import CONVENTIONAL, ENCRYPTED

from dpe_jax import experiment
from dpe_jax.config import Config
from dpe_jax.results import Stored
from dpe_jax.store import CurveStore
from dpe_jax.unfinished import place

BLOCKS = 6
CHANGES: dict[str, Any] = {
    "runs": 20,
    "iterations": 40,
    "trace": [3, 19],
    "methods": {"encrypted": ENCRYPTED, "plain": CONVENTIONAL},
    "record": {
        "points": 8,
        "metrics": ["gap_mean_state", "error_worst_agent", "quantization_error", "peak_error"],
    },
}
"""Three blocks of each of two methods."""


def _bits(dataset: xr.Dataset) -> dict[str, tuple[Any, ...]]:
    return {
        str(name): (value.dims, value.dtype.str, value.shape, value.values.tobytes())
        for name, value in dataset.variables.items()
        if value.dtype.kind != "U"
    }


def assert_same(one: Stored, other: Stored) -> None:
    """Every array and trace of two results, bit for bit."""
    assert _bits(one.curves) == _bits(other.curves)
    assert one.curves.algorithm.values.tolist() == other.curves.algorithm.values.tolist()
    traces, others = one.traces(), other.traces()
    assert sorted(traces) == sorted(others)
    for name, trace in traces.items():
        assert _bits(trace) == _bits(others[name])
        assert trace.attrs == others[name].attrs
    ignored = ("contents", "seconds", "written", "blocks", "verifications", "extended", "device")
    manifests = [
        {key: value for key, value in stored.manifest.items() if key not in ignored}
        for stored in (one, other)
    ]
    assert manifests[0] == manifests[1]
    assert one.summary == other.summary
    stores = [stored.manifest["contents"]["curves.zarr"] for stored in (one, other)]
    assert stores[0] == stores[1]


def break_off(
    config: Config,
    out: Path,
    blocks: int,
    *,
    error: BaseException | None = None,
    run: Callable[..., Any] = experiment.run,
    **options: Any,
) -> Path:
    """The unfinished folder of a run that ends when so many blocks more are finished."""
    write, written = CurveStore.write, []

    def breaking(self: CurveStore, *arguments: Any) -> None:
        if len(written) == blocks:
            raise KeyboardInterrupt if error is None else error
        write(self, *arguments)
        written.append(arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CurveStore, "write", breaking)
        with pytest.raises((KeyboardInterrupt, ValueError, OSError)):
            run(config, out, **options)
    return place(out)


def records(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("blocks/*.json") if path.name[0] != ".")


def parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("blocks/*.part.npz") if path.name[0] != ".")


def files(folder: Path) -> int:
    """How many files there are, whatever comes and goes meanwhile."""
    return sum(len(names) for _, _, names in os.walk(folder))


SCRIPT = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from dpe_jax import cli, engine; engine._CHUNK_ELEMENT_STEPS = float(sys.argv[1]);"
    "sys.exit(cli.main(sys.argv[2:]))"
)
"""`dpe` with chunks of so many agent-coordinate-lane steps."""

LOOK_SECONDS = 2e-2
"""Between two looks at what a process has written: one that never waits takes a processor."""


def at_home() -> dict[str, str]:
    """The variables of a process whose home folder keeps programs whole, as a user's does.

    The folder is one for all tests of a session: a process then traces nothing that one before it
    has traced.
    """
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) / "home"
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
    return quiet | {"XDG_CACHE_HOME": str(folder)}


def watch(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Return as soon as a condition holds, or the process has ended before."""
    while process.poll() is None and not until():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)


def stopped(
    arguments: list[str],
    until: Callable[[], bool],
    number: int = signal.SIGKILL,
    chunk: float = 1e8,
) -> tuple[int, str]:
    """A real process that is sent a signal as soon as a condition holds, or ends before."""
    command = [sys.executable, "-c", SCRIPT, str(chunk), *arguments]
    with subprocess.Popen(
        command, env=at_home(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        watch(process, until)
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    return process.returncode, told


def flip(path: Path, place: int = -1) -> None:
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.unlink()
    path.write_bytes(data)
