"""Processes of one cluster that share the blocks of a study."""

import dataclasses
import re

from dpe_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Part:
    """A process's share of the blocks: those whose number is `index` modulo `count`."""

    index: int = 0
    count: int = 1

    def mine(self, number: int) -> bool:
        """Whether a block is of this part."""
        return number % self.count == self.index


WHOLE = Part()
"""One process has all blocks."""


def joined(coordinator: str | None, processes: int | None, process: int | None) -> Part:
    """Join the processes of a cluster with `jax.distributed`, before anything else of JAX.

    Without a `coordinator` JAX finds out by itself, from what Slurm, Open MPI and others tell a
    process; with one (HOST:PORT of process 0) the number of processes and that of this one are
    given as well. Raises InputError where there is no cluster, or where it cannot be joined.
    """
    import jax

    if coordinator is not None and not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise InputError("--distributed", coordinator, "HOST:PORT, such as localhost:12345")
    given = (coordinator, processes, process)
    if coordinator is not None and None in given:
        missing = "--processes" if processes is None else "--process"
        raise InputError(missing, None, "a number, beside --distributed HOST:PORT")
    if coordinator is None and (processes is not None or process is not None):
        raise InputError("--distributed", "auto", "HOST:PORT, beside --processes and --process")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        accepted = f"a cluster that can be joined ({' '.join(str(error).split())[:200]})"
        raise InputError("--distributed", coordinator or "auto", accepted) from error
    return Part(jax.process_index(), jax.process_count())
