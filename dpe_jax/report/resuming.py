"""The command that makes anew what a folder of a reproduction lacks."""

from pathlib import Path

from dpe_jax.folder import MANIFEST, read_json
from dpe_jax.report.entries import Part, Reproduction
from dpe_jax.reproduce.again import command

_UNREAD = OSError, ValueError, RecursionError
"""Of a manifest that is missing, is no JSON, or does not have the entries."""


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


def _part(manifest: Path) -> Part | None:
    try:
        return Part.model_validate(read_json(manifest))
    except _UNREAD:
        return None
