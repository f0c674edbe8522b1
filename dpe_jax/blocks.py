"""Blocks of lanes on threads and devices."""

import collections
import concurrent.futures
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dpe_jax.engine import Program, Saving, run_block
from dpe_jax.recording import Place, Recording


class Block(NamedTuple):
    """Lanes that are computed together: the same runs of some configurations of one method."""

    method: str
    configurations: tuple[int, ...]
    first: int
    runs: int

    @property
    def lanes(self) -> int:
        """How many lanes it has."""
        return len(self.configurations) * self.runs

    def after(self, known: int) -> "Block":
        """What is left of it where the first `known` runs of all are there already."""
        first = max(self.first, known)
        return self._replace(first=first, runs=max(0, self.first + self.runs - first))


class StoppedError(Exception):
    """Raised inside a block that is not to be finished, by `Saving` or where it is asked for.

    Blocks that are not yet finished end likewise, and no other begins.
    """


def run_blocks(
    blocks: Iterable[Block],
    program: Callable[[Block], Program],
    devices: list[Place],
    progress: Callable[[Block, int], None],
    saving: Callable[[Block], Saving | None] = lambda _: None,
) -> Iterator[tuple[Block, Recording]]:
    """Simulate blocks, as many at a time as there are `devices`, and give them in order.

    A device may be named several times: threads that compute whole blocks use several processors
    better than XLA does within a step (and jax 0.12 runs a fused step on one processor only). Which
    device computes a block is left to chance, and does not matter to what comes out.
    """
    waiting = collections.deque(blocks)
    if len(devices) == 1 or len(waiting) == 1:
        for block in waiting:
            of_block = program(block), block.first, block.runs
            try:
                recording = run_block(
                    *of_block, lambda done, b=block: progress(b, done), saving(block), devices[0]
                )
            except StoppedError:
                return
            yield block, recording
        return
    stop, one_at_a_time = threading.Event(), threading.Lock()
    free: queue.SimpleQueue[Place] = queue.SimpleQueue()
    for device in devices:
        free.put(device)

    def compute(block: Block, program: Program) -> Recording:
        def report(done: int) -> None:
            if stop.is_set():
                raise StoppedError
            with one_at_a_time:
                progress(block, done)

        device = free.get()
        try:
            return run_block(program, block.first, block.runs, report, saving(block), device)
        finally:
            free.put(device)

    pending: collections.deque[tuple[Block, concurrent.futures.Future[Recording]]]
    pending = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
        try:
            while waiting or pending:
                if waiting:
                    block = waiting.popleft()
                    pending.append((block, pool.submit(compute, block, program(block))))
                    if len(pending) <= len(devices):
                        continue
                done, future = pending.popleft()
                try:
                    recording = future.result()
                except StoppedError:
                    waiting.clear()
                    continue
                yield done, recording
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
