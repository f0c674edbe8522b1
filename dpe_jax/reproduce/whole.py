"""The parts of a reproduction, one after the other, in a folder that a later call goes on with."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dpe_jax.errors import InputError
from dpe_jax.folder import CONFIG, MANIFEST, alone, read_json, synced, write_json
from dpe_jax.reproduce.part import Part, Scale, Settings, Work
from dpe_jax.reproduce.settings import resolved_toml, settings_hash
from dpe_jax.reproduce.writing import now, read_part, write_part
from dpe_jax.results import device, versions

_BEGUN = ".begun.json"
"""In the folder of an unfinished part: with what settings and versions it was begun."""


@runtime_checkable
class Told(Protocol):
    """Who is told what becomes of the parts."""

    def begins(self, name: str, kept: bool) -> None:
        """A part begins, or was finished before and is `kept`."""
        ...

    def is_at(self, name: str, fraction: float) -> None:
        """So much of a part is done."""
        ...

    def ends(self, name: str, manifest: Mapping[str, Any], kept: bool) -> None:
        """A part is finished, or was `kept`; its manifest."""
        ...

    def log(self, line: str) -> None:
        """Something that is worth a line."""
        ...


def reproduce(
    out: Path,
    parts: Mapping[str, Part],
    settings: Mapping[str, Settings],
    scale: Scale,
    told: Told,
    *,
    order: Sequence[str],
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make the `parts` that have `settings`, each whole or not at all; returns the manifest.

    With `resume` finished parts of the same settings and versions are kept, an interrupted one goes
    on, and one with missing or changed files is made anew; with `overwrite` these parts are made
    anew. In the manifest `seconds` are those of the parts, and `wall_seconds` those of this call.
    InputError where the folder holds something else, or another reproduction and neither is
    asked for. Parts of the same scale and seed that are not asked for stay, in their place in
    `order`, unless they are damaged.
    """
    began = time.perf_counter()
    seed = next(iter(settings.values())).seed
    found = _found(out, order)
    _check(out, found, scale, seed, settings, resume=resume, overwrite=overwrite)
    with _writable(out):
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            before = _found(out, order)
            others = before and (before["scale"], before["seed"]) != (scale, seed)
            for name in before.get("parts", ()) if overwrite else ():
                if others or name in settings:
                    shutil.rmtree(out / name, ignore_errors=True)
            before = {} if others else before
            record = {
                "kind": "reproduce",
                "scale": scale,
                "versions": versions(),
                "device": device(),
                "seed": seed,
                "seconds": 0.0,
                "wall_seconds": 0.0,
                "started": before.get("started", now()) if resume else now(),
                "asked": [
                    name for name in order if name in settings or name in before.get("parts", ())
                ],
            }
            left = {name for name in before.get("parts", ()) if name not in settings}
            for name in [name for name in order if name in left and read_part(out / name) is None]:
                told.log(
                    f"warning: {name} is damaged and left out; --resume without --only makes it"
                )
                left.remove(name)
            _write(out, record, order, left)
            for name, part in parts.items():
                if name in settings:
                    _make(out, name, part, settings[name], scale, told, resume=resume)
                    left.add(name)
                    record["wall_seconds"] = round(time.perf_counter() - began, 3)
                    record = _write(out, record, order, left)
    return record


def _check(
    out: Path,
    found: dict[str, Any],
    scale: Scale,
    seed: int,
    settings: Mapping[str, Settings],
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """InputError unless a reproduction may be written there."""
    if out.exists() and not out.is_dir():
        raise InputError("--out", str(out), "a folder; this is a file")
    if overwrite or not out.is_dir() or not any(out.iterdir()):
        if out.is_dir() and any(out.iterdir()) and not found:
            raise InputError("--out", str(out), "a new folder, or one that dpe reproduce wrote")
        return
    if not found:
        raise InputError("--out", str(out), "a new folder, or one that dpe reproduce wrote")
    if (found["scale"], found["seed"]) != (scale, seed):
        accepted = (
            f"a new folder: this one has a reproduction at scale {found['scale']}, seed "
            f"{found['seed']}; add --overwrite to replace it"
        )
        raise InputError("--out", str(out), accepted)
    if resume:
        return
    finished = [name for name in settings if name in found["parts"]]
    unfinished = [name for name in found["asked"] if name not in found["parts"]]
    if unfinished:
        accepted = (
            f"a new folder: this one has {len(found['parts'])} of {len(found['asked'])} parts; add "
            "--resume to go on with them, or --overwrite to begin anew"
        )
    else:
        what = f"has {', '.join(finished)} already" if finished else "has a reproduction already"
        accepted = (
            f"a new folder: this one {what}; add --overwrite to replace, or --resume to add what "
            "is missing"
        )
    raise InputError("--out", str(out), accepted)


def _make(
    out: Path,
    name: str,
    part: Part,
    settings: Settings,
    scale: Scale,
    told: Told,
    *,
    resume: bool,
) -> None:
    """A part in its folder: kept if it is there and asked to be, or else made."""
    place, scratch = out / name, out / f".{name}.unfinished"
    identity = {"config_hash": settings_hash(settings), "versions": versions(), "scale": scale}
    kept = read_part(place) if resume else None
    if kept is not None and identity.items() <= kept.items():
        told.begins(name, True)
        told.ends(name, kept, True)
        return
    if resume and kept is None and place.exists():
        told.log(f"warning: {name} is damaged, and made anew")
    goes_on = resume and _is(scratch / _BEGUN, identity)
    if not goes_on:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        write_json(scratch / _BEGUN, identity)
    told.begins(name, False)
    began = time.perf_counter()
    work = Work(scale, settings.seed, told.log, lambda fraction: told.is_at(name, fraction))
    made = part.make(settings, scratch, work)
    (scratch / CONFIG).write_text(resolved_toml(settings), encoding="utf-8")
    took = time.perf_counter() - began
    manifest = write_part(scratch, name, part, made, settings, scale, took, resumed=goes_on)
    for path in [scratch, *scratch.rglob("*")]:
        synced(path)
    (scratch / _BEGUN).unlink()
    old = out / f".{name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    scratch.rename(place)
    synced(out)
    shutil.rmtree(old, ignore_errors=True)
    told.ends(name, manifest, False)


def _write(
    out: Path, record: dict[str, Any], order: Sequence[str], made: set[str]
) -> dict[str, Any]:
    """The manifest of the whole, with the parts that are finished."""
    names = [name for name in order if name in made]
    manifests = {name: read_json(out / name / MANIFEST) for name in names}
    checks = [{"part": name, **check} for name in names for check in manifests[name]["checks"]]
    record = record | {
        "seconds": round(sum(manifest["seconds"] for manifest in manifests.values()), 3),
        "written": now(),
        "parts": names,
        "checks": checks,
        "passed": all(check["passed"] for check in checks),
    }
    write_json(out / MANIFEST, record)
    return record


def _found(out: Path, order: Sequence[str]) -> dict[str, Any]:
    """The manifest of a reproduction, or what its parts say where it is lost; else nothing."""
    try:
        found = read_json(out / MANIFEST)
    except (OSError, ValueError):
        found = {}
    keys = {"scale", "seed", "parts", "asked"}
    if isinstance(found, dict) and found.get("kind") == "reproduce" and keys <= set(found):
        return found
    whole = {name: part for name in order if (part := read_part(out / name)) is not None}
    kinds = {(part["scale"], part["seed"]) for part in whole.values()}
    if len(kinds) != 1:
        return {}
    (scale, seed) = kinds.pop()
    return {"scale": scale, "seed": seed, "parts": list(whole), "asked": list(whole)}


def _is(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a JSON file has these entries."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return False
    return all(found.get(key) == value for key, value in identity.items())


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(out))
        except InputError as error:
            accepted = "a folder in which no other dpe reproduce is at work"
            raise InputError("--out", str(out), accepted) from error
        yield


@contextlib.contextmanager
def _writable(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        accepted = f"a writable folder ({error.strerror or error})"
        raise InputError("--out", str(out), accepted) from error
