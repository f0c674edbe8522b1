"""Whole processes: what commands take, and functions in a process of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PEAK = (
    "import resource, subprocess, sys; "
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)

WITHOUT_PROGRAMS = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
"""No compiled programs are kept or found."""

_OWN_CHOICES = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")


def environment(**variables: str) -> dict[str, str]:
    """This process's variables with some changed; on a CPU, and nothing said of kept programs."""
    here = {name: value for name, value in os.environ.items() if name not in _OWN_CHOICES}
    return here | {"JAX_PLATFORMS": "cpu"} | variables


def python(program: str, *arguments: str, variables: Mapping[str, str] = WITHOUT_PROGRAMS) -> str:
    """What a program prints in a Python process of its own."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    return done.stdout


def in_process(
    module: str, function: str, *arguments: int, variables: Mapping[str, str] = WITHOUT_PROGRAMS
) -> Any:
    """What a function returns in a process of its own; JSON types."""
    called = f"{function}({', '.join(map(str, arguments))})"
    program = f"import json; from {module} import {function}; print(json.dumps({called}))"
    return json.loads(python(program, variables=variables).splitlines()[-1])


def command_cost(arguments: list[str], out: Path) -> dict[str, Any]:
    """Peak memory and time of a command of `dpe` that writes a result to `out`, and its size."""
    command = [sys.executable, "-m", "dpe_jax.cli", *arguments, "--out", str(out)]
    began = time.perf_counter()
    printed = python(_PEAK, *command, variables={})
    taken = time.perf_counter() - began
    return {
        "peak_bytes": int(printed.split()[-1]) * 1024,
        "seconds": round(taken, 1),
        "stored_bytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
    }
