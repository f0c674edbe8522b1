"""How many pictures come back from plaintext gradients, and what that takes.

    python scripts/bench_dlg.py [--out results/bench/dlg.json] [--only digits convnet patches]

Prints one JSON object and writes it: 64 digits through a 64-64-10 network and through Zhu et al.'s
ConvNet, and patches of photographs through the ConvNet, each in one batched call of a process of
its own, with compilation. A digit came back if its MSE is below 1e-6. The choice among restarts is
by matching distance. Each part is scored against other pictures too, where it must fail.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from bench_files import parser, write

from dpe_jax.bench.timing import about
from dpe_jax.privacy.images import pictures, study
from dpe_jax.privacy.images.networks import Classifier, ConvNet, FullyConnected
from dpe_jax.privacy.images.observed import States
from dpe_jax.privacy.images.pictures import Pictures

_PARTS = ("digits", "convnet", "patches")


def main() -> None:
    """Measure, print and write the report."""
    arguments = parser(__doc__, "dlg", None)
    arguments.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS)
    arguments.add_argument("--part", choices=_PARTS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.part is not None:
        print(json.dumps(_part(options.part)))
        return
    report = {
        **{part: _in_process(part) for part in options.only},
        **about(packages=("optax",)),
    }
    write(report, options.out)


def _settings(part: str) -> tuple[Classifier, Pictures, study.Effort]:
    match part:
        case "digits":
            return FullyConnected(), pictures.digits(64), study.Effort(300, 1, 30)
        case "convnet":
            return ConvNet(), pictures.digits(64), study.Effort(300, 1, 30)
        case _:
            return ConvNet((32, 32, 3)), pictures.patches(4), study.Effort(1000, 1, 150)


def _part(part: str) -> dict[str, Any]:
    began = time.perf_counter()
    network, chosen, effort = _settings(part)
    of = study.targets(network, chosen)
    found = study.attack(of, States(1.0), effort=effort)
    seconds = time.perf_counter() - began
    other = study.attack(of, States(1.0), effort=effort, mixed_up=True)
    return {
        "network": network.describe(),
        "parameters": network.dim,
        "targets": len(chosen.labels),
        "restarts": effort.restarts,
        "seconds_with_compilation": round(seconds, 1),
        "came_back": found.record(),
        "of_other_pictures": other.record(),
    }


def _in_process(part: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part]
    quiet = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=quiet)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
