"""What a folder of a reproduction holds: parts that are whole, and the manifest of all of them."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dpe_jax.folder import (
    CERTIFICATE,
    COMPARISON,
    CONFIG,
    MANIFEST,
    REPORT,
    cleaned,
    digest,
    digests,
    erased,
    left_over,
    read_json,
    removed,
    synced,
)
from dpe_jax.reproduce.part import SCALES

BEGUN = ".begun.json"
"""In the folder of an unfinished part: with what settings and versions it was begun."""

_UNREAD = OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
"""Of a manifest that is missing, is no JSON, or does not have the entries."""


def read_part(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished part, if it and all files that it lists are as they were written.

    None where one is missing, unreadable or changed. Files that are not listed do not matter, nor
    does a store that is gone altogether: committed results have none.
    """
    try:
        found = read_json(folder / MANIFEST)
        listed = {
            file for kind in ("figures", "tables") for item in found[kind] for file in item["files"]
        }
        told = found["sha256"]
        if not _is_part(found) or not listed <= set(told):
            return None
        held = digests(folder)
        same = all(
            held.get(file, one if file.endswith(".zarr") else None) == one
            for file, one in told.items()
        )
    except _UNREAD:
        return None
    return found if same else None


def _said(folder: Path) -> dict[str, Any] | None:
    """What a part says of itself, be it whole or not."""
    try:
        found = read_json(folder / MANIFEST)
        return found if _is_part(found) else None
    except _UNREAD:
        return None


def _is_part(found: dict[str, Any]) -> bool:
    checks = found["checks"]
    return (
        found["kind"] == "part"
        and found["scale"] in SCALES
        and isinstance(found["seed"], int)
        and isinstance(found["seconds"], int | float)
        and isinstance(found["title"], str)
        and all({"name", "passed", "detail"} <= set(check) for check in checks)
    )


def settle(out: Path, order: Sequence[str], scale: str, seed: int) -> dict[str, str]:
    """Finish what a killed process was about to do: the exchange of a part for a new one.

    Returns the digests of the manifests of the parts that are new by that.
    """
    found = {}
    for path in left_over(out, MANIFEST):
        path.unlink()
    for name in order:
        place, new, old = _places(out, name)
        for path in (new, old):
            for rest in left_over(out, path.name):
                erased(rest)
        if new.is_dir():
            cleaned(new)
        if old.exists() and not place.exists():
            # A link that leads nowhere would be in the way.
            place.unlink(missing_ok=True)
            old.rename(place)
        made = read_part(new) if new.is_dir() and not (new / BEGUN).exists() else None
        if made is not None and (made["scale"], made["seed"]) == (scale, seed):
            found[name] = digest(new / MANIFEST)
            exchange(out, name)
    return found


def exchange(out: Path, name: str) -> None:
    """Put a part that is made in the place of the old one, which stays beside it for a while."""
    place, new, old = _places(out, name)
    forget(out, name)
    # Also a link to what is there no more.
    if os.path.lexists(place):
        place.rename(old)
    new.rename(place)
    synced(out)


def forget(out: Path, name: str) -> str:
    """Remove the old part, unless something else lies in it: then says where that is from now on.

    What other commands write into a result, and a page of the part, are no such thing.
    """
    place, _, old = _places(out, name)
    if not os.path.lexists(old):
        return ""
    others = _others(old)
    if not others:
        removed(old)
        return ""
    numbers = itertools.count(1)
    aside = next(
        path for k in numbers if not os.path.lexists(path := place.with_name(f"{name}.before-{k}"))
    )
    old.rename(aside)
    return f"what lay in {name} is kept in {aside.name}, since {others[0]} is not as it was made"


def _others(old: Path) -> list[str]:
    """What is in the place of a part and not of that part, or not as its manifest says."""
    if not old.is_dir() or old.is_symlink():
        return [] if old.is_symlink() else [old.name[1:].removesuffix(".old")]
    try:
        found = read_json(old / MANIFEST)
        told = found["sha256"] if _is_part(found) else {}
    except _UNREAD:
        told = {}
    results = [PurePosixPath(name).parent for name in told if name.endswith(f"/{MANIFEST}")]
    added = {f"{result}/{name}" for result in results for name in (COMPARISON, CERTIFICATE)}
    added |= {MANIFEST, REPORT} if told else set()
    drawn = {result / "figures" for result in results}
    held = digests(old)
    others = [name for name, one in held.items() if told.get(name, one) != one]
    for place, _, files in os.walk(old):
        within = PurePosixPath(Path(place).relative_to(old).as_posix())
        if within in drawn or any(str(one) in told for one in (within, *within.parents)):
            continue
        names = ((within / file).as_posix() for file in files)
        others += [name for name in names if name not in told and name not in added]
    return others


def scratch(out: Path, name: str) -> Path:
    """Where a part is made."""
    return out / f".{name}.unfinished"


def is_begun(out: Path, order: Sequence[str]) -> bool:
    """Whether a folder has parts that are unfinished."""
    return any((scratch(out, name) / BEGUN).is_file() for name in order)


def _places(out: Path, name: str) -> tuple[Path, Path, Path]:
    return out / name, scratch(out, name), out / f".{name}.old"


def is_coming(out: Path, before: Mapping[str, Any], name: str) -> bool:
    """Whether a part is the one that was about to take the place of an old one."""
    place = out / name / MANIFEST
    return place.is_file() and before.get("coming", {}).get(name) == digest(place)


def whole_parts(
    out: Path, before: Mapping[str, Any], scale: str, seed: int, order: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The manifests of the parts that are whole, and are of that scale and seed.

    One that is not as the manifest of the whole (`before`) says is not.
    """
    told, coming, found = before.get("sha256", {}), before.get("coming", {}), {}
    for name in order:
        part = read_part(out / name)
        if part is None or (part.get("scale"), part.get("seed")) != (scale, seed):
            continue
        # One of the two, where a process was killed while it put the new one in its place.
        known = {held[name] for held in (told, coming) if name in held}
        if known and digest(out / name / MANIFEST) not in known:
            continue
        found[name] = part
    return found


def reproduction(out: Path, order: Sequence[str]) -> dict[str, Any]:
    """The manifest of a reproduction, or what its parts say where it is damaged; else nothing.

    Where they are of several scales or seeds, these are None.
    """
    try:
        found = read_json(out / MANIFEST)
    except _UNREAD:
        found = {}
    if _is_whole(found):
        return found
    parts = {name: part for name in order if (part := _said(out / name)) is not None}
    kinds = {(part["scale"], part["seed"]) for part in parts.values()}
    if not kinds:
        return {}
    scale, seed = kinds.pop() if len(kinds) == 1 else (None, None)
    there = [name for name in order if name in parts or (out / name / CONFIG).is_file()]
    return {"scale": scale, "seed": seed, "parts": there, "asked": there}


def _are_texts(found: Any) -> bool:
    return isinstance(found, dict) and set(map(type, found.values())) <= {str}


def _is_whole(found: dict[str, Any]) -> bool:
    names = [found.get(key, []) for key in ("parts", "asked", "anew")]
    return (
        found.get("kind") == "reproduce"
        and {"parts", "asked"} <= set(found)
        and found.get("scale") in SCALES
        and isinstance(found.get("seed"), int)
        and all(isinstance(one, list) and set(map(type, one)) <= {str} for one in names)
        and all(_are_texts(found.get(key, {})) for key in ("sha256", "coming"))
        and isinstance(found.get("started", ""), str)
        and isinstance(found.get("wall_seconds"), int | float | None)
    )
