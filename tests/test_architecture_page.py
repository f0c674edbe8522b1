"""What docs/architecture.md measured and kept is what `results/bench` holds."""

import json
import math
import re
from pathlib import Path

import numpy as np

from dpe_jax import experiment
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.experiment import find_config
from dpe_jax.problems import Quadratic

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split())


def test_what_blocks_of_several_configurations_cost() -> None:
    path = ROOT / "results" / "bench" / "sweep.json"
    bench = json.loads(path.read_text(encoding="utf-8"))
    more = [100 * (ratio - 1) for ratio in bench["ratios"].values()]
    low, high = 5 * math.floor(min(more) / 5), 5 * math.ceil(max(more) / 5)
    assert f"on a CPU they cost {low} to {high} % more than blocks of one" in TEXT
    (configurations,) = re.findall(r"input to the same program: (\d+) configurations", TEXT)
    assert int(configurations) == bench["configurations"]


def test_when_the_predicted_exponent_applies() -> None:
    told = {}
    for preset in ("five-agents", "hospitals"):
        simulation = find_config(preset).build()
        method, problem = simulation.algorithms["encrypted"], simulation.problem
        assert isinstance(method, EncryptedDSGD)
        k = np.arange(3000)
        curvature = getattr(experiment.presets()[preset].problem, "penalty", 0.0)
        if isinstance(problem, Quadratic):
            curvature = np.linalg.eigvalsh(np.asarray(problem.A).mean(axis=0)).min()
        exponent = method.predicted_exponent()
        assert exponent is not None
        forgotten = curvature * method.stepsize.values(k).sum(), exponent * np.log(len(k))
        path = ROOT / "results" / "reproduce" / "accuracy" / preset / "summary.json"
        final = json.loads(path.read_text(encoding="utf-8"))["methods"]["encrypted"]["final"]
        errors = [final[name]["mean"] for name in ("error_mean_state", "error_worst_agent")]
        told[preset] = forgotten, errors
    (five, small), (hospitals, large) = told.values()
    assert f"`five-agents` has {five[0]:.1f} beside {five[1]:.1f} at k = 3000" in TEXT
    assert f"`hospitals` has {hospitals[0]:.2f} beside {hospitals[1]:.1f} (m = 0.05" in TEXT
    assert (
        f"({small[0]:.3f} and {small[1]:.3f} in `five-agents`, "
        f"{large[0]:.3f} and {large[1]:.3f} in `hospitals`)"
    ) in TEXT
