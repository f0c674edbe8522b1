"""The command that goes on with a reproduction, as it is to be typed."""

import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from dpe_jax.folder import MANIFEST, read_json
from dpe_jax.report.entries import Part, Reproduction

_SEED = 0
"""Of `dpe reproduce` that is told none."""

_UNREAD = OSError, ValueError, RecursionError
"""Of a manifest that is missing, is no JSON, or does not have the entries."""


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


def unread(folder: Path) -> str:
    """The command for a folder whose manifest cannot be read: a reproduction, or a part of one."""
    return _of_parts(folder) or of_one(folder)


def _of_parts(out: Path) -> str:
    """By what the parts in a folder say; "" if it has none."""
    places = sorted(place for place in out.iterdir() if place.name[0] != ".")
    found = [(place.name, part) for place in places if (part := _part(place / MANIFEST))]
    parts = [part for name, part in found if name == part.part]
    if not parts:
        return ""
    again = command(out, parts[0].scale, parts[0].seed, [part.part for part in parts])
    if len({(part.scale, part.seed) for part in parts}) == 1:
        return again
    # Of several there is nothing to go on with.
    return again.removesuffix("--resume") + "--overwrite"


def of_one(folder: Path) -> str:
    """The command that makes a part anew, in the reproduction that has it; "" if there is none."""
    name = folder.resolve().name
    out = folder.parent if folder.name == name else folder / ".."
    try:
        found = Reproduction.model_validate(read_json(out / MANIFEST))
    except _UNREAD:
        return ""
    asked = found.asked or found.parts
    return command(out, found.scale, found.seed, asked) if name in asked else ""


def _parts() -> set[str]:
    """The names of all parts, by their settings: their modules take seconds to import."""
    settings = resources.files("dpe_jax.reproduce") / "configs"
    return {Path(file.name).stem for file in settings.iterdir() if file.name.endswith(".toml")}


def _part(manifest: Path) -> Part | None:
    try:
        return Part.model_validate(read_json(manifest))
    except _UNREAD:
        return None
