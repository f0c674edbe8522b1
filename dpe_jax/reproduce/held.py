"""What a folder of a reproduction holds: parts that are whole, and the manifest of all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpe_jax.folder import MANIFEST, digest, digests, read_json

_UNREAD = OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
"""Of a manifest that is missing, is no JSON, or does not have the entries."""


def read_part(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished part, if it and all files that it lists are as they were written.

    None where one is missing, unreadable or changed. Files that are not listed do not matter.
    """
    try:
        found = read_json(folder / MANIFEST)
        listed = {
            file for kind in ("figures", "tables") for item in found[kind] for file in item["files"]
        }
        told = found["sha256"]
        if found["kind"] != "part" or not listed <= set(told):
            return None
        held = digests(folder)
        same = all(held.get(file) == one for file, one in told.items())
    except _UNREAD:
        return None
    return found if same else None


def whole_parts(
    out: Path, before: Mapping[str, Any], scale: str, seed: int, order: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The manifests of the parts that are whole, and are of that scale and seed.

    One that is not as the manifest of the whole (`before`) says is not.
    """
    told, found = before.get("sha256", {}), {}
    for name in order:
        part = read_part(out / name)
        if part is None or (part.get("scale"), part.get("seed")) != (scale, seed):
            continue
        if name in told and told[name] != digest(out / name / MANIFEST):
            continue
        found[name] = part
    return found


def reproduction(out: Path, order: Sequence[str]) -> dict[str, Any]:
    """The manifest of a reproduction, or what its parts say where it is lost; else nothing."""
    try:
        found = read_json(out / MANIFEST)
    except _UNREAD:
        found = {}
    keys = {"scale", "seed", "parts", "asked"}
    if found.get("kind") == "reproduce" and keys <= set(found):
        return found
    whole = {name: part for name in order if (part := read_part(out / name)) is not None}
    kinds = {(part["scale"], part["seed"]) for part in whole.values()}
    if len(kinds) != 1:
        return {}
    (scale, seed) = kinds.pop()
    return {"scale": scale, "seed": seed, "parts": list(whole), "asked": list(whole)}
