"""A configuration small enough for tests, and how to change one key of it."""

import copy
from pathlib import Path
from typing import Any

import tomli_w

from dpe_jax.config import Config, parse

GAMMA = {"scale": 1.0, "exponent": 0.6}
STEPSIZE = {"scale": 0.5, "exponent": 0.9}
ENCRYPTED = {"method": "EncryptedDSGD", "gamma": GAMMA, "stepsize": STEPSIZE}
CONVENTIONAL = {"method": "ConventionalDSGD", "stepsize": STEPSIZE}
EDGES = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [0, 2], [1, 3], [2, 4]]

SMALL: dict[str, Any] = {
    "name": "small",
    "runs": 20,
    "iterations": 30,
    "block": 7,
    "record": {"points": 10},
    "network": {"graph": "edges", "edges": EDGES},
    "problem": {"kind": "quadratic", "dim": 2, "seed": 2, "noise": 0.5},
    "methods": {"encrypted": ENCRYPTED, "conventional": CONVENTIONAL},
}

DIVERGING = {**ENCRYPTED, "stepsize": {"scale": 1e7, "exponent": 0.0}}
"""Every lane leaves the lattice's range."""

REMOVED = object()


def tables(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The small configuration with keys such as "network.graph" replaced, added or removed."""
    changed = copy.deepcopy(SMALL)
    for path, value in (changes or {}).items():
        *folders, key = path.split(".")
        here = changed
        for folder in folders:
            here = here.setdefault(folder, {})
        if value is REMOVED:
            del here[key]
        else:
            here[key] = value
    return changed


def config(changes: dict[str, Any] | None = None) -> Config:
    return parse(tables(changes))


def write(folder: Path, changes: dict[str, Any] | None = None) -> str:
    """The path of the configuration as a file."""
    path = folder / "small.toml"
    path.write_text(tomli_w.dumps(tables(changes)), encoding="utf-8")
    return str(path)
