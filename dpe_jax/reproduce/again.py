"""The command that goes on with a reproduction, as it is to be typed."""

import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

_SEED = 0
"""Of `dpe reproduce` that is told none."""


def command(out: Path, scale: str, seed: int, asked: Sequence[str]) -> str:
    """Make what is missing of the parts that were `asked` for, at the same scale and seed.

    Without the scale or the seed it would be refused as another reproduction, and without the
    folder it would begin one.
    """
    known = _parts()
    words = ["dpe", "reproduce"]
    words += [] if scale == "default" else [f"--{scale}"]
    words += [] if seed == _SEED else ["--seed", str(seed)]
    # Names that this version does not know would be refused.
    words += ["--only", *asked] if {*asked} < known else []
    return shlex.join([*words, "--out", str(out), "--resume"])


def _parts() -> set[str]:
    """The names of all parts, by their settings: their modules take seconds to import."""
    settings = resources.files("dpe_jax.reproduce") / "configs"
    return {Path(file.name).stem for file in settings.iterdir() if file.name.endswith(".toml")}
