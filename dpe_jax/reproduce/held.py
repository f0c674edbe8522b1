"""What a folder of a reproduction holds: parts that are whole, and the manifest of all of them."""

import contextlib
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dpe_jax.folder import (
    CONFIG,
    MANIFEST,
    altered,
    cleaned,
    digest,
    digests,
    erased,
    left_over,
    read_json,
    removed,
    shown,
    synced,
)
from dpe_jax.reproduce.part import SCALES

BEGUN = ".begun.json"
"""In the folder of an unfinished part: with what settings and versions it was begun."""

_UNREAD = OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
"""Of a manifest that is missing, is no JSON, or does not have the entries."""


def read_part(folder: Path, name: str) -> dict[str, Any] | None:
    """The manifest of a finished part, if all files that it lists are as they were written.

    None where it is that of another part, or where one is missing, unreadable or changed; of what
    other commands write anew (`folder.altered`), where one is no whole JSON. Files that are not
    listed do not matter, nor does a store that is gone altogether: committed results have none.
    """
    try:
        found = read_json(folder / MANIFEST)
        listed = {
            file for kind in ("figures", "tables") for item in found[kind] for file in item["files"]
        }
        told = found["sha256"]
        whole = (
            _is_part(found)
            and found["part"] == name
            and listed <= set(told)
            and not [*altered(folder, told)]
        )
    except _UNREAD:
        return None
    return found if whole else None


def _said(folder: Path) -> dict[str, Any] | None:
    """What a part says of itself, be it whole or not."""
    try:
        found = read_json(folder / MANIFEST)
        return found if _is_part(found) else None
    except _UNREAD:
        return None


def _is_part(found: dict[str, Any]) -> bool:
    """Whether it has what `dpe report` needs, too; else false, or an error of `_UNREAD`."""
    texts = [found[key] for key in ("part", "title", "differs", "source")]
    texts += [check[key] for check in found["checks"] for key in ("name", "detail")]
    items = [*found["figures"], *found["tables"]]
    texts += [item[key] for item in items for key in ("name", "caption")]
    return (
        found["kind"] == "part"
        and found["scale"] in SCALES
        and isinstance(found["seed"], int)
        and _is_time(found["seconds"])
        and {type(text) for text in texts} == {str}
        and all(item["caption"] for item in items)
        and {type(check["passed"]) for check in found["checks"]} <= {bool}
        and _are_texts(found["versions"])
        and isinstance(found["device"], dict)
    )


def settle(out: Path, order: Sequence[str]) -> list[str]:
    """Remove or put back what killed processes left of old parts; what is to be said of that."""
    said = []
    for path in left_over(out, MANIFEST):
        erased(path)
    for name in order:
        place, new, old = _places(out, name)
        for path in (new, old):
            for rest in left_over(out, path.name):
                erased(rest)
        if new.is_dir():
            cleaned(new)
        if old.exists() and not place.exists():
            # A link that leads nowhere would be in the way.
            if place.is_symlink():
                aside = _aside(place)
                said.append(f"{name} is kept in {aside.name}: it is a link that leads nowhere")
                place.rename(aside)
            old.rename(place)
        said.append(forget(out, name))
    return said


def waiting(out: Path, order: Sequence[str], scale: str, seed: int) -> dict[str, str]:
    """Digests of the manifests of parts that are whole, and were about to be put in place."""
    found = {}
    for name in order:
        new = scratch(out, name)
        made = read_part(new, name) if new.is_dir() and not (new / BEGUN).exists() else None
        if made is not None and (made["scale"], made["seed"]) == (scale, seed):
            found[name] = digest(new / MANIFEST)
    return found


class Leaving(NamedTuple):
    """Where what lies in the place of a part goes."""

    to: Path
    said: str
    """Why it is kept there; "" if it is not."""


def leaving(out: Path, name: str, known: Mapping[str, str]) -> Leaving:
    """What becomes of the old part: it is kept unless it is the `known` one and nothing else."""
    place, _, old = _places(out, name)
    why = _not_of_it(place, known.get(name)) if os.path.lexists(place) else ""
    if not why:
        return Leaving(old, "")
    aside = _aside(place)
    return Leaving(aside, f"{name} as it was is kept in {aside.name}: {why}")


def exchange(out: Path, name: str, old: Leaving) -> None:
    """Put a part that is made in the place of the old one."""
    place, new, _ = _places(out, name)
    # Also a link to what is there no more.
    if os.path.lexists(place):
        place.rename(old.to)
    new.rename(place)
    synced(out)


def forget(out: Path, name: str) -> str:
    """Remove the old part; what is to be said of that."""
    place, _, old = _places(out, name)
    if not os.path.lexists(old):
        return ""
    if old.is_symlink() or not old.is_dir():
        # None that `exchange` has put there.
        aside = _aside(place)
        old.rename(aside)
        return f"{old.name} is kept in {aside.name}: it is no folder"
    removed(old)
    rest = [path.name for path in left_over(out, old.name)]
    return f"{rest[0]} cannot be removed" if rest else ""


def _aside(place: Path) -> Path:
    """Where what lay in the place of a part is kept."""
    names = (place.with_name(f"{place.name}.before-{k}") for k in itertools.count(1))
    return next(path for path in names if not os.path.lexists(path))


def _not_of_it(place: Path, known: str | None) -> str:
    """Why what lies in the place of a part is not just that part as it was made; "" if it is.

    The digest of its manifest is `known`. Nothing that is missing is lost.
    """
    if place.is_symlink() or not place.is_dir():
        return "it is a link" if place.is_symlink() else "it is no folder"
    try:
        told = {MANIFEST: digest(place / MANIFEST)}
        if told[MANIFEST] != known:
            return f"the {MANIFEST} of the reproduction does not know it"
        told |= read_json(place / MANIFEST)["sha256"]
        held = {MANIFEST: told[MANIFEST], **digests(place)}
    except _UNREAD:
        return "it is not as it was made, and cannot be read"
    others = [name for name, one in held.items() if told.get(name) != one]
    unread: list[OSError] = []
    for at, folders, files in os.walk(place, onerror=unread.append):
        within = PurePosixPath(Path(at).relative_to(place).as_posix())
        above = (str(one) for one in (within, *within.parents))
        in_store = any(one.endswith(".zarr") and one in told for one in above)
        links = [one for one in (*folders, *files) if os.path.islink(os.path.join(at, one))]
        others += [(within / name).as_posix() for name in links]
        names = [(within / name).as_posix() for name in (() if in_store else files)]
        others += [name for name in names if name not in told]
    others += [Path(error.filename).relative_to(place).as_posix() for error in unread]
    if not others:
        return ""
    others = list(dict.fromkeys(others))
    more = f" and {len(others) - 1} more were" if others[1:] else " was"
    return f"{shown(others[0])}{more} added or changed"


def known_parts(out: Path, before: Mapping[str, Any], order: Sequence[str]) -> dict[str, str]:
    """Digests of the manifests of those parts that lie there and that the manifest `before` knows.

    Be it that they are finished, new, damaged, or of another seed. A manifest that is lost knows
    none.
    """
    found = {}
    for name in order:
        told = {before.get(key, {}).get(name) for key in ("sha256", "coming", "others")}
        place, _, old = _places(out, name)
        # That an exchange has put aside, where it was killed.
        for path in (old, place):
            with contextlib.suppress(OSError):
                one = digest(path / MANIFEST)
                if one in told:
                    found[name] = one
    return found


def scratch(out: Path, name: str) -> Path:
    """Where a part is made."""
    return out / f".{name}.unfinished"


def is_begun(out: Path, order: Sequence[str]) -> bool:
    """Whether a folder has parts that are unfinished, or not yet in their place."""
    folders = [scratch(out, name) for name in order]
    return any((new / BEGUN).is_file() or _said(new) is not None for new in folders)


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
        part = read_part(out / name, name)
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


def _is_time(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and 0 <= seconds < math.inf


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
        and all(_are_texts(found.get(key, {})) for key in ("sha256", "coming", "others"))
        and isinstance(found.get("started", ""), str)
        and (found.get("wall_seconds") is None or _is_time(found["wall_seconds"]))
    )
