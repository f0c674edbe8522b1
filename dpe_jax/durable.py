"""Durable work: a study computed block by block, every finished block recorded on disk."""

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int8

from dpe_jax.blocks import Block, StoppedError
from dpe_jax.claims import LOCK, one_at_a_time
from dpe_jax.distributed import Part
from dpe_jax.engine import Saving
from dpe_jax.errors import InputError
from dpe_jax.folder import CURVES, check_replaceable, claimed, synced
from dpe_jax.interrupts import noted
from dpe_jax.journal import (
    RESULT,
    DamagedError,
    Journal,
    extras,
    fingerprint,
    moments_of,
    removed,
    trace_of,
)
from dpe_jax.recording import Recording, Snapshot
from dpe_jax.reductions import Moments
from dpe_jax.store import CurveStore
from dpe_jax.study import Progress, Study
from dpe_jax.tracing import Trace

CHECKPOINT_SECONDS = 60.0
"""Between two savings of a block in flight."""

RETIRED = "old"
"""Where a result lies while another takes its place."""


class Base(NamedTuple):
    """A finished result of the same settings, but of fewer runs."""

    folder: Path
    runs: int
    identity: str
    """A digest of what it holds."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be computed."""

    configuration: Mapping[str, Any]
    """All that decides it, as JSON tables; the first key that differs is named."""
    study: Callable[[int | None], Study]
    """The study with blocks of so many lanes; None leaves it the choice."""
    labels: Mapping[str, np.ndarray] | None = None
    """Of its configurations, if it has several."""
    attributes: Mapping[str, str] | None = None
    """Of the store of its curves."""
    base: Base | None = None
    """Runs that are there already."""

    def store(self, path: Path, study: Study, *, create: bool = True) -> CurveStore:
        """The store of its curves, empty, or as it is there."""
        return CurveStore(path, study, self.labels, self.attributes, create=create)


class Place(NamedTuple):
    """Where a job is worked at, and how."""

    given: Path
    journal: Journal
    job: Job
    part: Part
    overwrite: bool

    def refused(self, accepted: str) -> InputError:
        """An error that names the result."""
        return InputError("--out", str(self.given), accepted)


class Work:
    """A study on its way to a result."""

    def __init__(
        self,
        at: Place,
        study: Study,
        store: CurveStore | None,
        header: dict[str, Any],
        digests: Mapping[str, str],
    ) -> None:
        self.study, self.blocks = study, study.blocks()
        self.notes: list[str] = []
        """What went wrong and did no harm."""
        self._at, self._journal, self._store = at, at.journal, store
        self._base, self._header = at.job.base, header
        self._digests = dict(digests)
        self._identity = fingerprint(header)
        self._numbers = {self._key(block): number for number, block in enumerate(self.blocks)}
        self.resumed = len(at.journal.recorded())
        """Blocks that were there at the beginning."""

    def look(self, repair: bool) -> None:
        """Look whether every block of this part is as it was written; else InputError.

        With `repair`, those that are not count no longer.
        """
        damaged: list[tuple[int, str]] = []
        for number in sorted(self._journal.recorded()):
            if number < len(self.blocks) and self._at.part.mine(number):
                try:
                    block = self.blocks[number]
                    self._digests |= self._journal.files(number, block, self._header)
                except DamagedError as error:
                    damaged.append((number, str(error)))
        if damaged and not repair:
            number, name = damaged[0]
            block = self.blocks[number]
            last = block.first + block.runs - 1
            where = ", ".join(map(str, block.configurations))
            swept = f", configurations {where}" if self.study.swept else ""
            which = f"block {number} ({block.method}{swept}, runs {block.first} – {last})"
            others = f" ({len(damaged)} blocks are damaged)" if len(damaged) > 1 else ""
            ways = "--repair computes such blocks anew and goes on; the others are kept"
            accepted = f"the file as it was written in {self._journal.folder.name}{others}; {ways}"
            raise InputError(which, name, accepted)
        for number, _ in damaged:
            self._journal.forget(number)
        self.resumed -= len(damaged)

    @property
    def result(self) -> Path:
        """The folder that becomes the result."""
        return self._journal.result

    @property
    def anything(self) -> bool:
        """Whether anything is kept."""
        return bool(self._journal.recorded() or self._journal.parts())

    def kept(self) -> str:
        """What is kept, and where, in words."""
        counted = self._journal.counted(self._header)
        folder = self._at.given.parent / self._journal.folder.name
        return f"{counted} are kept in {folder}"

    def missing(self) -> list[int]:
        """Numbers of the blocks, of all processes, that are not finished."""
        done = self._journal.recorded()
        return [number for number in range(len(self.blocks)) if number not in done]

    def compute(
        self,
        progress: Progress = lambda *_: None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        """Compute what is missing of this process's part; KeyboardInterrupt if interrupted.

        An interrupt waits for blocks that are computed to be written, and for parts of others.
        """
        known = 0 if self._base is None else self._base.runs
        missing = {number for number in self.missing() if self._at.part.mine(number)}
        with noted() as asked:
            for number in sorted(missing):
                if not self.blocks[number].after(known).runs and not asked.is_set():
                    self._keep(number, None)
            parts = _Parts(self._journal, self._identity, checkpoint_seconds, asked, self.notes)
            for block, recording in self.study.recordings(
                progress,
                wanted=lambda block: self._number(block) in missing,
                known=known,
                saving=lambda block: parts.saving(self._number(block), block),
            ):
                self._keep(self._number(block), (block, recording))
        if asked.is_set():
            # Raised as it would have been.
            raise KeyboardInterrupt

    def _key(self, block: Block) -> tuple[str, tuple[int, ...], int]:
        return block.method, block.configurations, block.first // self.study.block_runs

    def _number(self, block: Block) -> int:
        return self._numbers[self._key(block)]

    def _keep(self, number: int, computed: tuple[Block, Recording] | None) -> None:
        """Write a block, what is known of it and what was computed, and record it."""
        block, base, store = self.blocks[number], self._base, self._store
        files: list[str] = []
        if store is not None:
            names = store.chunks(block)
            for name in names:
                # The file may be one with that of another result.
                (store.path / name).unlink(missing_ok=True)
            known = 0 if base is None else min(block.runs, base.runs - block.first)
            if base is not None and known > 0:
                store.adopt(base.folder / CURVES, block._replace(runs=known))
            if computed is not None:
                store.write(*computed)
            files = [f"{RESULT}/{CURVES}/{name}" for name in names]
        if computed is not None:
            files += self._journal.write_extra(number, extras(computed[1]))
        self._digests |= self._journal.write(number, block, self._header, files)

    def traces(self) -> dict[str, list[Trace]]:
        """Traces of all blocks, by method."""
        found: dict[str, list[Trace]] = {}
        for number, block in enumerate(self.blocks):
            trace = trace_of(self._journal.extra(number))
            if trace is not None:
                found.setdefault(block.method, []).append(trace)
        return found

    def summaries(
        self,
    ) -> Iterator[tuple[Block, dict[str, Moments], Int8[np.ndarray, " lanes"]]]:
        """Statistics by metric, and each lane's status, of all blocks; if only those are kept."""
        for number, block in enumerate(self.blocks):
            arrays = self._journal.extra(number)
            yield block, moments_of(arrays), arrays["status"]

    def finish(self) -> dict[str, str]:
        """Make the result's folder ready to be completed: all blocks, and nothing else.

        Digests of the files in it, by their paths.
        """
        if self.missing():
            raise ValueError(f"{len(self.missing())} blocks are not finished")
        for number, block in enumerate(self.blocks):
            if not self._at.part.mine(number):
                self._digests |= self._journal.written(number, block, self._header)
        self._journal.tidy(self._digests)
        within = {name.partition("/"): value for name, value in self._digests.items()}
        return {name: value for (first, _, name), value in within.items() if first == RESULT}

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether the result is this process's to complete: all blocks are there, nobody else is.

        For parts that do not wait for one another: whoever is told yes may `finish` and `publish`.
        One that comes while another looks, or completes, waits for that to be over.
        """
        with contextlib.ExitStack() as stack:
            free = False
            # The folder is gone where another has done it.
            with contextlib.suppress(FileNotFoundError):
                path = self._journal.folder / f"{LOCK}-finish"
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                stack.callback(os.close, handle)
                free = claimed(handle, wait=True)
            yield free and self.result.is_dir() and not self.missing()

    def publish(self) -> None:
        """Put the completed result in its place, and remove the rest."""
        folder, out = self._journal.folder, self._at.given.resolve()
        for path in [path for path in self.result.rglob("*") if self._fresh(path)]:
            synced(path)
        synced(self.result)
        check_replaceable(self._at.given, self._at.overwrite)
        old = folder / RETIRED
        with one_at_a_time(folder):
            if out.exists():
                removed(old)
                out.rename(old)
            try:
                self.result.rename(out)
            except BaseException:
                if old.exists():
                    old.rename(out)
                raise
            synced(out.parent)
            self._journal.clear()

    def _fresh(self, path: Path) -> bool:
        """Whether nobody has waited for a file to be on the disk."""
        name = path.relative_to(self._journal.folder).as_posix()
        return name not in self._digests


class _Parts:
    """Keeps blocks in flight, and ends them where that is asked for."""

    def __init__(
        self,
        journal: Journal,
        identity: str,
        seconds: float,
        asked: threading.Event,
        notes: list[str],
    ) -> None:
        self._journal, self._identity, self._notes = journal, identity, notes
        self._seconds, self._asked = seconds, asked

    def saving(self, number: int, block: Block) -> Saving:
        """How a block is kept, and where it goes on from."""
        if self._asked.is_set():
            raise StoppedError
        identity = f"{self._identity} {number} {block.first} {block.runs}"
        try:
            found = self._journal.part(number, identity)
        except DamagedError as error:
            found = None
            self._note(f"{error} is damaged: block {number} begins anew")
        last = time.monotonic()

        def save(take: Callable[[], Snapshot]) -> None:
            nonlocal last
            ending = self._asked.is_set()
            if ending or time.monotonic() - last >= self._seconds:
                try:
                    self._journal.write_part(number, identity, take())
                except OSError as error:
                    # What is finished is kept all the same.
                    self._note(f"parts of blocks are not kept ({error.strerror or error})")
                last = time.monotonic()
            if ending:
                raise StoppedError

        return Saving(found, save)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
