"""Unfinished results: folders that outlive the process, in which durable work goes on.

The folder `.NAME.unfinished` beside a result `NAME` holds a header that says what is computed, a
record of each finished block, parts of blocks in flight, and the result as far as it is there. It
becomes the result by being renamed.
"""

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from dpe_jax.claims import claim, one_at_a_time
from dpe_jax.distributed import WHOLE, Part
from dpe_jax.durable import RETIRED, Job, Place, Work
from dpe_jax.errors import InputError, InterruptedRunError
from dpe_jax.folder import CURVES, MANIFEST, check_replaceable, digest, jsonable, synced
from dpe_jax.interrupts import held
from dpe_jax.journal import (
    HEADER,
    RESULT,
    Journal,
    difference,
    fingerprint,
    is_as_written,
    removed,
)
from dpe_jax.study import Study

Mode = Literal["refuse", "resume", "repair", "restart"]
"""What to do about an unfinished result: nothing, go on from it, go on and compute anew what is
damaged, or begin anew."""


def place(out: Path) -> Path:
    """The folder of what is unfinished of a result."""
    given, out = out, out.resolve()
    if not out.name:
        raise InputError("--out", str(given), "a folder of its own, not the root")
    return out.with_name(f".{out.name}.unfinished")


def unfinished(out: Path) -> bool:
    """Whether anything is kept of an unfinished result."""
    journal = Journal(place(out))
    return bool(journal.recorded() or journal.parts())


def settle(out: Path) -> None:
    """Finish what a killed process had begun: the exchange of an old result for a new one."""
    folder = place(out)
    try:
        if folder.is_dir():
            with claim(out, folder, WHOLE):
                _settle(out.resolve(), folder)
                if not unfinished(out):
                    Journal(folder).clear()
    except OSError as error:
        accepted = f"a readable and writable place ({error.strerror or error})"
        raise InputError("--out", str(out), accepted) from error


def _settle(out: Path, folder: Path) -> None:
    old, result = folder / RETIRED, folder / RESULT
    if old.exists() and not out.exists():
        # Only a whole result takes the old one's place.
        (result if (result / MANIFEST).is_file() else old).rename(out)
        synced(out.parent)
    if not result.exists() and (out / MANIFEST).is_file():
        # All of it is where it belongs.
        Journal(folder).discard()


@contextlib.contextmanager
def opened(
    out: Path,
    job: Job,
    *,
    overwrite: bool = False,
    mode: Mode = "refuse",
    part: Part = WHOLE,
) -> "Iterator[Work]":
    """The work at a result, as far as it is done; it is kept unless nothing is finished of it.

    Processes that share the work say which `part` is theirs; they may work at the same time,
    anybody else is kept out. All but the first to come need the mode "resume". InputError where
    another process is at work, for an unfinished result of another configuration or one that is
    damaged, and where nothing can be written.
    """
    folder = place(out)
    given, out, work = out, out.resolve(), None
    try:
        check_replaceable(given, overwrite)
        out.parent.mkdir(parents=True, exist_ok=True)
        with claim(given, folder, part):
            try:
                # Python may lose an interrupt among imports (one raised in a weak reference's
                # callback is ignored), and this is where stores import the most.
                with one_at_a_time(folder), held():
                    _settle(out, folder)
                    work = _begin(Place(given, Journal(folder), job, part, overwrite), mode)
                yield work
            finally:
                if part.count == 1 and not unfinished(out):
                    Journal(folder).clear()
    except OSError as error:
        reason = error.strerror or str(error)
        accepted = f"a writable place with room ({reason})"
        if work is not None and work.anything:
            accepted += f"; {work.kept()} to go on from"
        raise InputError("--out", str(given), accepted) from error
    except KeyboardInterrupt as error:
        if work is None or not work.anything:
            raise
        raise InterruptedRunError(work.kept()) from error


def _begin(at: Place, mode: Mode) -> "Work":
    """The work in a folder: begun, or found there."""
    journal, job = at.journal, at.job
    anything = bool(journal.recorded() or journal.parts())
    found = journal.header()
    joining = at.part.count > 1 and found is not None
    if mode == "restart" or not (anything or joining):
        journal.discard()
        return _created(at)
    repair = mode == "repair"
    header, store = _rebuilt(at, repair) if found is None else found
    study = _study(job, header.get("block_lanes"))
    differing = difference(header, _header(job, study))
    there = f"{journal.folder.name} has {journal.counted(header)}"
    if differing is not None:
        key = differing.key.removeprefix("configuration.")
        accepted = f"{differing.old!r}, with which {there}; --restart begins anew"
        raise InputError(key, differing.new, accepted)
    if mode == "refuse":
        ways = "--resume goes on from it, --restart begins anew"
        raise at.refused(f"one without unfinished work ({there}); {ways}")
    if any(not is_as_written(journal.folder / name, then) for name, then in store.items()):
        if not repair:
            lost = next(n for n, t in store.items() if not is_as_written(journal.folder / n, t))
            accepted = "the file as it was written; --repair mends it and goes on"
            raise InputError(journal.folder.name, lost, accepted)
        store = _mended(at, study)
        journal.begin(header, store)
    curves = None
    if study.keep == "runs":
        curves = job.store(journal.result / CURVES, study, create=False)
    work = Work(at, study, curves, header, store)
    work.look(repair)
    return work


def _created(at: Place) -> "Work":
    journal, study = at.journal, at.job.study(None)
    header = _header(at.job, study)
    journal.result.mkdir()
    store, digests = None, dict[str, str]()
    if study.keep == "runs":
        store = at.job.store(journal.result / CURVES, study)
        digests = _digests(store.path, f"{RESULT}/{CURVES}/")
    journal.begin(header, digests)
    return Work(at, study, store, header, digests)


def _study(job: Job, lanes: object) -> Study:
    return job.study(lanes if isinstance(lanes, int) else None)


def _mended(at: Place, study: Study) -> dict[str, str]:
    """Write what is not of a block in the store of curves anew."""
    path, scratch = at.journal.result / CURVES, at.journal.folder / CURVES
    removed(scratch)
    at.job.store(scratch, study)
    digests = _digests(scratch, "")
    for name in digests:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).replace(path / name)
    removed(scratch)
    return {f"{RESULT}/{CURVES}/{name}": value for name, value in digests.items()}


def _digests(store: Path, prefix: str) -> dict[str, str]:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {prefix + file.relative_to(store).as_posix(): digest(file) for file in files}


def _rebuilt(at: Place, repair: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The header of records whose own header is lost, if they are of this job."""
    refused = f"a readable {HEADER} in {at.journal.folder.name}"
    if not repair:
        ways = "--repair writes it anew if the blocks are of these settings, --restart begins anew"
        raise at.refused(f"{refused}; {ways}")
    record = at.journal.any_record() or {}
    header = _header(at.job, _study(at.job, record.get("block_lanes")))
    if record.get("header") != fingerprint(header):
        raise at.refused(f"{refused}; its blocks are of other settings, --restart begins anew")
    # The store is mended as well: nothing says whether it is whole.
    return header, {HEADER: ""}


def _header(job: Job, study: Study) -> dict[str, Any]:
    """What decides the bits of every block, and how the work is cut into them."""
    import jax

    base = job.base
    return jsonable(
        {
            "configuration": job.configuration,
            "extends": None if base is None else {"runs": base.runs, "identity": base.identity},
            **{name: version(name) for name in ("dpe-jax", "jax", "jaxlib")},
            "platform": jax.default_backend(),
            "keep": study.keep,
            "block_lanes": study.block_lanes,
            "blocks": len(study.blocks()),
        }
    )
