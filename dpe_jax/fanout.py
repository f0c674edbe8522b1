"""Independent tasks in this process, in worker processes or on a Dask cluster.

Outcomes come back one by one as they finish, so that the caller can store each at once and a job
that is interrupted can resume. Nothing here imports JAX, and joblib and distributed are imported
only where they are used.
"""

import abc
import asyncio
import contextlib
import itertools
import logging
import pickle
import platform
import queue
import re
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar, final

from dpe_jax.errors import InputError, WorkerDiedError

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
Description = dict[str, str | int]

# Tasks handed out at a time for each worker: one that it computes and one that it begins next.
# More would only hold more payloads in memory and on the wire.
_AHEAD = 2
# Seconds after which a worker process without work ends by itself: so do those whose parent was
# killed and could not end them.
_IDLE = 300.0
# Seconds between two looks at what has finished on a cluster, and between two at who is there.
_POLL, _ROLL_CALL = 0.02, 1.0


class Fanout(abc.ABC):
    """A way to compute independent tasks."""

    @abc.abstractmethod
    def results(
        self, work: Callable[[Task], Outcome], tasks: Sequence[Task]
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Yield (index of the task, work(task)) in the order of completion.

        Nothing starts before the first outcome is asked for. When the generator is closed, whether
        at its end, by an error, by an interrupt or by `close`, tasks that have not begun are
        dropped. A `for` loop over `results(...)` closes it when it is left by an exception; a
        generator that is kept in a variable is closed by `contextlib.closing`.

        `work`, tasks and outcomes must be picklable, except in this process. The first error of a
        task is raised here as it was raised there (as RuntimeError if it cannot be pickled), and
        `WorkerDiedError` if a worker was lost.
        """

    @abc.abstractmethod
    def describe(self) -> Description:
        """For reports: the kind, the number of workers and the versions."""


@final
@dataclass(frozen=True)
class InProcess(Fanout):
    """One task after the other, in this process."""

    def results(
        self, work: Callable[[Task], Outcome], tasks: Sequence[Task]
    ) -> Generator[tuple[int, Outcome], None, None]:
        """As `Fanout.results`; the order is that of the tasks."""
        for index, task in enumerate(tasks):
            yield index, work(task)

    def describe(self) -> Description:
        """As `Fanout.describe`."""
        return {"kind": "this process", "workers": 1, "python": platform.python_version()}


@final
@dataclass(frozen=True)
class Processes(Fanout):
    """Worker processes on this machine, by joblib's loky; with one worker, this process.

    They are started for each call of `results` and have ended when its generator has: killed, if
    it ends before they have finished. `InputError` unless workers is a positive integer.
    """

    workers: int

    def __post_init__(self) -> None:
        if type(self.workers) is not int or self.workers < 1:
            raise InputError("workers", self.workers, "a positive integer")

    def results(
        self, work: Callable[[Task], Outcome], tasks: Sequence[Task]
    ) -> Generator[tuple[int, Outcome], None, None]:
        """As `Fanout.results`; `WorkerDiedError` as soon as one worker process dies."""
        if self.workers == 1:
            yield from InProcess().results(work, tasks)
            return
        # joblib.Parallel would keep its idle workers, warn of a generator that is closed early,
        # and begin new tasks however many outcomes wait to be fetched; so its executor is used.
        from joblib.externals.loky import ProcessPoolExecutor
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        workers = max(1, min(self.workers, len(tasks)))
        # Ctrl-C in a terminal reaches the workers too, which would print tracebacks. They end
        # because this process ends them.
        executor = ProcessPoolExecutor(
            workers,
            timeout=_IDLE,
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )
        waiting = enumerate(tasks)
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        indices = {}
        try:
            while True:
                for index, task in itertools.islice(waiting, _AHEAD * workers - len(indices)):
                    with _interrupts_kept_from_children():
                        future = executor.submit(_attempt, work, task)
                    indices[future] = index
                    future.add_done_callback(finished.put)
                if not indices:
                    return
                future = _next(finished)
                yield indices.pop(future), _opened(future.result())
        except TerminatedWorkerError as error:
            codes = re.search(r"\{(.+)\}", str(error))
            why = f"exit code {codes[1]}" if codes else "exit code unknown"
            raise WorkerDiedError(
                f"a worker process died before its task was done ({why}): killed, crashed or out of"
                " memory"
            ) from None
        finally:
            # Killing forgets tasks that no worker has yet, but not their numbers in this queue;
            # the thread that hands tasks out would stumble over them and print a traceback.
            with contextlib.suppress(queue.Empty):
                while True:
                    executor._work_ids.get_nowait()
            executor.shutdown(wait=True, kill_workers=True)

    def describe(self) -> Description:
        """As `Fanout.describe`."""
        if self.workers == 1:
            return InProcess().describe()
        return {
            "kind": "processes",
            "workers": self.workers,
            "joblib": version("joblib"),
            "python": platform.python_version(),
        }


@final
@dataclass(frozen=True)
class Cluster(Fanout):
    """The workers of a Dask cluster, by the address of its scheduler, such as tcp://host:8786.

    A task whose worker is lost goes to another one, until Dask gives it up (its setting
    `distributed.scheduler.allowed-failures`) or no worker is left for `patience` seconds. Tasks
    that run cannot be stopped: they end on their workers, and their outcomes are dropped. Tasks
    that hold Python's lock need workers of one thread each (`dask worker --nthreads 1`).

    Raises `InputError` from `results` and `describe` where distributed is not installed, the
    scheduler or a first worker cannot be reached within `timeout` seconds, or scheduler and workers
    have another version of dpe-jax, or another minor version of Python, than this process.
    """

    address: str
    timeout: float = 5.0
    patience: float = 30.0

    def results(
        self, work: Callable[[Task], Outcome], tasks: Sequence[Task]
    ) -> Generator[tuple[int, Outcome], None, None]:
        """As `Fanout.results`; `WorkerDiedError` for a lost cluster or a task that is given up."""
        with self._client() as client:
            yield from self._completed(client, work, tasks)

    def describe(self) -> Description:
        """As `Fanout.describe`, of the cluster as it is now."""
        with self._client() as client:
            return {
                "kind": "dask",
                "address": self.address,
                "workers": len(_threads(client)),
                "threads": sum(_threads(client).values()),
                "distributed": version("distributed"),
                "python": platform.python_version(),
            }

    def _completed(
        self, client: "Client", work: Callable[[Task], Outcome], tasks: Sequence[Task]
    ) -> Generator[tuple[int, Outcome], None, None]:
        from distributed import CancelledError, as_completed
        from distributed.scheduler import KilledWorker

        waiting = enumerate(tasks)
        completed = as_completed(loop=client.loop, with_results=True, raise_errors=False)
        indices = {}
        threads = sum(_threads(client).values())
        called = seen = time.monotonic()
        while True:
            if client.status != "running":
                raise WorkerDiedError(self._lost("the connection to the scheduler was lost"))
            # One task at least, so that none under way means that none is left.
            room = max(1, _AHEAD * threads) - len(indices)
            for index, task in itertools.islice(waiting, max(0, room)):
                with warnings.catch_warnings():
                    # Few tasks are under way at a time, so a large one is no load on the scheduler.
                    warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
                    future = client.submit(_attempt, work, task, pure=False)
                indices[future] = index
                completed.add(future)
            if not indices:
                return
            for future, answer in completed.next_batch(block=False):
                if isinstance(answer, CancelledError):
                    raise WorkerDiedError(self._lost("a task was cancelled"))
                if isinstance(answer, tuple):  # Dask's own troubles come as (type, error, trace).
                    error = answer[1]
                    if isinstance(error, KilledWorker):
                        raise WorkerDiedError(self._lost("all workers given a task died"))
                    raise error
                yield indices.pop(future), _opened(answer)
            now = time.monotonic()
            if now - called > _ROLL_CALL:
                called = now
                try:
                    threads = sum(_threads(client).values())
                except OSError:
                    continue  # Seen above.
                seen = now if threads else seen
                if now - seen > self.patience:
                    raise WorkerDiedError(self._lost("no worker is left"))
            time.sleep(_POLL)

    def _lost(self, what: str) -> str:
        return f"{what} before all tasks were done (Dask cluster {self.address})"

    @contextlib.contextmanager
    def _client(self) -> Iterator["Client"]:
        try:
            from distributed import Client
            from distributed.versions import VersionMismatchWarning
        except ModuleNotFoundError:
            accepted = "the package distributed to be there: install 'dpe-jax[dask]'"
            raise InputError("--dask", self.address, accepted) from None
        try:
            # First without a client: one that fails to connect leaves a thread, and hangs when it
            # is collected as garbage.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _knock(self.address, self.timeout)).result()
            with warnings.catch_warnings():
                # Of the versions that it compares, those that matter here are checked below.
                warnings.simplefilter("ignore", VersionMismatchWarning)
                client = Client(self.address, timeout=self.timeout, set_as_default=False)
        except (OSError, ValueError):
            accepted = "the address of a Dask scheduler that answers, such as tcp://host:8786"
            raise InputError("--dask", self.address, accepted) from None
        with _told_once(), contextlib.ExitStack() as after:
            after.callback(_leave, client, self.timeout)
            try:
                client.wait_for_workers(1, timeout=self.timeout)
            except TimeoutError:
                accepted = "the address of a Dask cluster with workers"
                raise InputError("--dask", self.address, accepted) from None
            _check_versions(self.address, client.get_versions(packages=["dpe-jax"]))
            yield client


@final
@dataclass(frozen=True)
class _Failure:
    """An error of a task, with its traceback on the worker as text."""

    error: Exception
    trace: str


class _RemoteError(Exception):
    """Shown as the cause of a task's error: where on the worker it was raised."""


def _attempt(work: Callable[[Task], Outcome], task: Task) -> bytes:
    """What a worker does: work(task), or its `_Failure`, pickled.

    Neither is left to the transports: an outcome that cannot be pickled would be waited for for
    ever, workers of Dask print errors that are raised, and an error that cannot be unpickled (its
    class may want other arguments) breaks a pool of processes.
    """
    try:
        return pickle.dumps(work(task))
    except Exception as error:
        trace = traceback.format_exc()
        try:
            answer = pickle.dumps(_Failure(error, trace))
            pickle.loads(answer)
        except Exception:
            answer = pickle.dumps(_Failure(RuntimeError(f"{type(error).__name__}: {error}"), trace))
        return answer


def _opened(answer: bytes) -> Any:
    """The outcome in an answer of `_attempt`; raises the error in it."""
    outcome = pickle.loads(answer)
    if isinstance(outcome, _Failure):
        raise outcome.error from _RemoteError(outcome.trace)
    return outcome


def _next(finished: "queue.SimpleQueue[Any]") -> Any:
    """The next that comes; with a timeout, since a wait without one ignores Ctrl-C on Windows."""
    while True:
        with contextlib.suppress(queue.Empty):
            return finished.get(timeout=1.0)


@contextlib.contextmanager
def _interrupts_kept_from_children() -> Iterator[None]:
    """Processes that are started here never see SIGINT, not even while they start.

    Their initializer comes too late for an interrupt that arrives while they import. An interrupt
    of this process waits until the block is left.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Starting it unblocks SIGINT (before Python 3.14), so it must be there already.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drop(_: logging.LogRecord) -> bool:
    return False


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """What goes wrong with a client is an error here already; Dask would print it once more."""
    logger = logging.getLogger("distributed.client")
    logger.addFilter(_drop)
    try:
        yield
    finally:
        logger.removeFilter(_drop)


async def _knock(address: str, timeout: float) -> None:
    from distributed import Security
    from distributed.comm.core import connect

    arguments = Security().get_connection_args("client")
    # The limit of `connect` does not cover its greeting, to which something else never answers.
    async with asyncio.timeout(timeout):
        await (await connect(address, timeout=timeout, **arguments)).close()


def _leave(client: "Client", timeout: float) -> None:
    with contextlib.suppress(TimeoutError):  # where the scheduler does not answer any more
        client.close(timeout)


def _threads(client: Any) -> dict[str, int]:
    """The number of threads of each worker."""
    return client.nthreads()


def _check_versions(address: str, versions: Any) -> None:
    """Refuse a cluster that cannot unpickle or would not compute what this process means.

    The scheduler counts as well: it unpickles tasks on their way.
    """

    def said(place: Any) -> str:
        packages = (place or {}).get("packages", {})
        python = ".".join(str(packages.get("python", "?")).split(".")[:2])
        return f"dpe-jax {packages.get('dpe-jax') or '(none)'} on Python {python}"

    here = said(versions["client"])
    others = {"its scheduler": versions["scheduler"]} | versions["workers"]
    for name, place in others.items():
        if said(place) != here:
            accepted = f"a cluster with {here} as here; {name} has {said(place)}"
            raise InputError("--dask", address, accepted)
