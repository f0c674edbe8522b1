"""The parts of a reproduction, one after the other, in a folder that a later call goes on with."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dpe_jax.errors import InputError
from dpe_jax.folder import (
    CONFIG,
    MANIFEST,
    alone,
    digest,
    left_over,
    read_json,
    removed,
    synced,
    write_json,
)
from dpe_jax.interrupts import held
from dpe_jax.reproduce.again import command
from dpe_jax.reproduce.disk import writable
from dpe_jax.reproduce.held import (
    BEGUN,
    exchange,
    forget,
    is_begun,
    is_coming,
    known_parts,
    leaving,
    read_part,
    reproduction,
    scratch,
    settle,
    waiting,
    whole_parts,
)
from dpe_jax.reproduce.part import Part, Scale, Settings, Work
from dpe_jax.reproduce.settings import resolved_toml, settings_hash
from dpe_jax.reproduce.writing import now, write_part
from dpe_jax.results import device, versions


@runtime_checkable
class Told(Protocol):
    """Who is told what becomes of the parts."""

    def recorded(self) -> None:
        """The folder says what is to be made: with `resume` a later call goes on with it."""
        ...

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
    anew, and each old one stays until the new one takes its place; if that is interrupted, `resume`
    goes on with it. In the manifest `seconds` are those of the parts, and `wall_seconds` those of
    all calls that made them, as far as they are known.
    InputError where the folder holds something else, or another reproduction and neither is
    asked for, or one of which parts would be lost. Parts of the same scale and seed that are not
    asked for stay, in their place in `order`, unless they are damaged.
    """
    began = time.perf_counter()
    seed = next(iter(settings.values())).seed
    with writable(out) as writing:
        if os.path.lexists(out) and not out.is_dir():
            what = "a file" if out.exists() else "a link that leads nowhere"
            raise InputError("--out", str(out), f"a folder; this is {what}")
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            _check(out, order, scale, seed, settings, resume=resume, overwrite=overwrite)
            writing.is_recorded = resume and (out / MANIFEST).is_file()
            before, known = _settled(out, order, scale, seed, told)
            if before and (before["scale"], before["seed"]) != (scale, seed):
                before = {}
            finished = whole_parts(out, before, scale, seed, order)
            # What a killed call was about to exchange, and is by now, is anew.
            left = {name for name in before.get("anew", ()) if not is_coming(out, before, name)}
            anew = {*left, *(settings if overwrite else ())} & {*finished}
            spent = _spent(before, finished) if resume or {*finished} - anew else 0.0
            named = {*settings, *finished, *before.get("parts", ()), *before.get("asked", ())}
            record = {
                "kind": "reproduce",
                "scale": scale,
                "versions": versions(),
                "device": device(),
                "seed": seed,
                "seconds": 0.0,
                "wall_seconds": 0.0,
                "started": before.get("started", now()) if resume else now(),
                "asked": [name for name in order if name in named],
            }
            for name in order:
                if name in before.get("parts", ()) and name not in {*finished, *settings}:
                    wrong = _wrong(out / name, known.get(name))
                    cure = command(out, scale, seed, [name])
                    told.log(f"warning: {name} {wrong} and left out; this makes it: {cure}")
            made = set(finished)

            def written(**more: Any) -> dict[str, Any]:
                took = round(spent + time.perf_counter() - began, 3)
                left = {
                    "wall_seconds": took,
                    "anew": [name for name in order if name in anew],
                    "others": {name: one for name, one in known.items() if name not in made},
                }
                return _write(out, record | left | more, order, made)

            written()
            writing.is_recorded = True
            told.recorded()
            try:
                for name, part in parts.items():
                    if name not in settings:
                        continue
                    there = resume and name not in finished and os.path.lexists(out / name)
                    wrong = _wrong(out / name, known.get(name)) if there else ""
                    if wrong:
                        told.log(f"warning: {name} {wrong}, and made anew")
                    kept = finished.get(name) if resume and name not in anew else None
                    new = _make(out, name, part, settings[name], scale, told, kept, resume=resume)
                    if new is not None:
                        old = leaving(out, name, known)
                        _say(told, old.said)
                        with held():
                            # A kill between the two would leave a part that nobody knows.
                            written(coming={name: digest(scratch(out, name) / MANIFEST)})
                            exchange(out, name, old)
                            made.add(name)
                            anew.discard(name)
                            written()
                        _say(told, forget(out, name))
                    told.ends(name, new or kept or {}, new is None)
            finally:
                # An interrupted part has taken its time as well.
                record = written()
    return record


def _settled(
    out: Path, order: Sequence[str], scale: Scale, seed: int, told: Told
) -> tuple[dict[str, Any], dict[str, str]]:
    """Finish what a killed call was about to do: the exchange of a part for a new one.

    Returns the manifest of the whole, and the digests of those of its parts that it knows.
    """
    _say(told, *settle(out, order))
    before, new = reproduction(out, order), waiting(out, order, scale, seed)
    if before:
        before |= {"coming": before.get("coming", {}) | new}
    if new and before.get("kind"):
        # A kill would leave parts that nobody knows.
        write_json(out / MANIFEST, before)
    known = known_parts(out, before, order)
    for name in new:
        old = leaving(out, name, known)
        _say(told, old.said)
        with held():
            exchange(out, name, old)
        _say(told, forget(out, name))
    return before or reproduction(out, order), known | new


def _say(told: Told, *texts: str) -> None:
    for text in filter(None, texts):
        told.log(f"warning: {text}")


def _spent(before: Mapping[str, Any], finished: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds of the calls before; where that is lost, at least those of the parts."""
    known = before.get("wall_seconds")
    return known if known is not None else sum((part["seconds"] for part in finished.values()), 0.0)


def _check(
    out: Path,
    order: Sequence[str],
    scale: Scale,
    seed: int,
    settings: Mapping[str, Settings],
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """InputError unless a reproduction may be written there."""
    if set(out.iterdir()) <= left_over(out, MANIFEST):
        return
    if (out / MANIFEST).is_dir():
        raise InputError("--out", str(out), f"a folder in which {MANIFEST} is a file")
    found = reproduction(out, order)
    if not found and is_begun(out, order):
        if resume or overwrite:
            return
        accepted = (
            "a new folder: this one has unfinished parts; add --resume to go on with them, or "
            "--overwrite to begin anew"
        )
        raise InputError("--out", str(out), accepted)
    if not found:
        raise InputError("--out", str(out), "a new folder, or one that dpe reproduce wrote")
    another = (found["scale"], found["seed"]) != (scale, seed)
    holds = f"a reproduction at scale {found['scale']}, seed {found['seed']}"
    if found["scale"] is None:
        holds = "parts of several scales or seeds, and no manifest of all of them"
    there = {name for name in order if (out / name).is_dir()}
    lost = [name for name in order if name in {*there, *found["parts"]} - {*settings}]
    if overwrite:
        if another and lost:
            accepted = (
                f"a new folder: this one has {holds}, of which {', '.join(lost)} would be lost"
            )
            raise InputError("--out", str(out), accepted)
        return
    if another:
        cure = (
            "--overwrite in place of --resume replaces it"
            if resume
            else "add --overwrite to replace it"
        )
        cure = f"{', '.join(lost)} would be lost with --overwrite" if lost else cure
        accepted = f"a new folder: this one has {holds}; {cure}"
        raise InputError("--out", str(out), accepted)
    if resume:
        return
    finished = [name for name in settings if name in found["parts"]]
    anew = found.get("anew", ())
    unfinished = [name for name in found["asked"] if name not in found["parts"] or name in anew]
    if unfinished:
        ready = len(found["asked"]) - len(unfinished)
        accepted = (
            f"a new folder: this one has {ready} of {len(found['asked'])} parts; add "
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
    kept: dict[str, Any] | None,
    *,
    resume: bool,
) -> dict[str, Any] | None:
    """Make a part beside its folder; nothing if `kept` is of these settings and versions."""
    folder = scratch(out, name)
    identity = {"config_hash": settings_hash(settings), "versions": versions(), "scale": scale}
    if kept is not None and identity.items() <= kept.items():
        _cleared(folder)
        told.begins(name, True)
        return None
    if kept is not None:
        told.log(f"{name} was made with {_otherwise(kept, identity)}: it is made anew")
    begun = _read(folder / BEGUN) if resume else {}
    goes_on = identity.items() <= begun.items()
    if begun and not goes_on:
        told.log(f"{name} was begun with {_otherwise(begun, identity)}: it begins anew")
    if not goes_on:
        _cleared(folder)
        folder.mkdir()
        write_json(folder / BEGUN, identity)
    told.begins(name, False)
    began = time.perf_counter()
    work = Work(scale, settings.seed, told.log, lambda fraction: told.is_at(name, fraction))
    made = part.make(settings, folder, work)
    (folder / CONFIG).write_text(resolved_toml(settings), encoding="utf-8")
    took = time.perf_counter() - began
    manifest = write_part(folder, name, part, made, settings, scale, took, resumed=goes_on)
    for path in [folder, *folder.rglob("*")]:
        synced(path)
    (folder / BEGUN).unlink()
    return manifest


def _cleared(folder: Path) -> None:
    """Whatever lies where a part is made, be it a file or a link, is gone."""
    if os.path.lexists(folder):
        removed(folder)


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
        "sha256": {name: digest(out / name / MANIFEST) for name in names},
        "checks": checks,
        "passed": all(check["passed"] for check in checks),
    }
    write_json(out / MANIFEST, record)
    return record


def _wrong(place: Path, known: str | None) -> str:
    """What is wrong with a part that is not `known` to be finished; "" where it is only old."""
    if not os.path.lexists(place):
        return "is missing"
    if read_part(place, place.name) is None:
        return "is damaged"
    return "" if known else f"is not the one that {MANIFEST} names"


def _read(path: Path) -> dict[str, Any]:
    """What a JSON file has; nothing where it cannot be read."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _otherwise(found: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """In which respect a part is another one: "numpy 2.4.6 (now 2.4.7)"."""
    had, has = found.get("versions"), identity["versions"]
    had = had if isinstance(had, dict) else {}
    others = [
        f"{name} {had.get(name, 'unknown')} (now {has.get(name, 'unknown')})"
        for name in sorted({*had, *has})
        if had.get(name) != has.get(name)
    ]
    return ", ".join(others) or "other settings"


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(out, work="dpe reproduce"))
        except InputError as error:
            raise InputError("--out", str(out), error.accepted) from error
        yield
