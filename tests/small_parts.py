"""Parts of `dpe reproduce` that simulate nothing, and what their tests share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpe_jax import drawing, reproduce_commands
from dpe_jax.reproduce import part
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.summary import Check


class Settings(part.Settings):
    runs: int = 3


class Small:
    """A part that simulates nothing, and can be interrupted or fail."""

    TITLE = "a small part"
    SOURCE = "none"
    Settings = Settings

    def __init__(self, name: str) -> None:
        self.name = name
        self.made = 0
        self.passes = True
        self.found: list[str] = []
        self.before: Callable[[], None] = lambda: None

    def make(self, settings: Settings, folder: Path, work: Work) -> Made:
        self.made += 1
        self.found = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
        (folder / "half").write_text("half")
        store = folder / "result" / "curves.zarr"
        store.mkdir(parents=True, exist_ok=True)
        (store / "0.0").write_bytes(b"a chunk")
        (store.parent / "summary.json").write_text('{"a": 1}')
        work.step(1, 2)
        self.before()
        rows = [{"k": k, "value": np.float32(k) / 3, "none": None} for k in range(settings.runs)]

        def draw() -> Any:
            figure, (axes,) = drawing.plain_panels(1)
            axes.plot([row["k"] for row in rows], [row["value"] for row in rows])
            # Letters, and fonts of them, are most of the time that a figure takes.
            axes.set_axis_off()
            return figure

        columns = (Column("k", "k", digits="d"), Column("value", "E‖ξ_i‖²", "ms"))
        return Made(
            [Drawing("curve", "a caption", rows, draw)],
            [Table("numbers", "5 % of gap_mean_state", columns, rows)],
            [Check("a check", self.passes, f"seed {work.seed}, {work.scale}")],
            "In nothing.",
        )


def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Small]:
    """Three of them in place of all that there are."""
    names = ("objective", "coupling", "privacy")
    found = {name: Small(name) for name in names}
    monkeypatch.setattr(reproduce_commands, "PARTS", found)

    def settings(name: str, kind: Any, scale: str, seed: int | None) -> Settings:
        runs = 2 if scale == "quick" else 3
        return Settings(seed=seed or 0, seconds=1.0, runs=runs)

    monkeypatch.setattr(reproduce_commands, "load", settings)
    return found


def arguments(out: Path, *more: str) -> list[str]:
    return ["reproduce", "--out", str(out), *more]


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def interrupted(*_: object, **__: object) -> None:
    """Ctrl-C, wherever this is called."""
    raise KeyboardInterrupt


def changed(path: Path) -> None:
    """A file gets a line more."""
    path.write_bytes(path.read_bytes() + b"1,2,3\n")
