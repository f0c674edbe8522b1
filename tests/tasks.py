"""Tasks that report to a `Gate` by a socket and wait there until they are let go on.

So the tests decide what finishes when, without sleeping; and a connection that a worker process
keeps open ends when, and only when, the process does, on any system.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distributed import Client, LocalCluster

from dpe_jax.errors import InputError

PATIENCE = 30.0
GO, DIE = b"g", b"d"
KEPT = []


class Gate:
    """Where the tasks `wait` and `stay` report and wait."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.arrived: dict[int, socket.socket] = {}

    def tasks(self, count: int) -> list[tuple[int, int]]:
        return [(self.listener.getsockname()[1], index) for index in range(count)]

    def arrival(self) -> int:
        connection = self.listener.accept()[0]
        connection.settimeout(PATIENCE)
        index = connection.recv(1)[0]
        self.arrived[index] = connection
        return index

    def tell(self, index: int, word: bytes) -> None:
        self.arrived[index].sendall(word)

    def late(self) -> list[int]:
        """Those that arrived without having been awaited."""
        self.listener.setblocking(False)
        late = []
        with contextlib.suppress(BlockingIOError):
            while True:
                late.append(self.arrival())
        return late

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        for connection in self.arrived.values():
            connection.close()


def _wait(task: tuple[int, int], connection: socket.socket) -> int:
    connection.settimeout(PATIENCE)
    connection.sendall(bytes([task[1]]))
    if connection.recv(1) == DIE:
        os._exit(7)
    return task[1]


def wait(task: tuple[int, int]) -> int:
    with socket.create_connection(("127.0.0.1", task[0])) as connection:
        return _wait(task, connection)


def stay(task: tuple[int, int]) -> int:
    """As `wait`, with a connection that ends with the process."""
    KEPT.append(socket.create_connection(("127.0.0.1", task[0])))
    return _wait(task, KEPT[-1])


def interrupt_and_stay(task: tuple[int, int]) -> int:
    """A worker that Ctrl-C reaches, as it reaches all processes of a terminal."""
    signal.raise_signal(signal.SIGINT)
    return stay(task)


def square(task: int) -> int:
    return task * task


def process(_: int) -> int:
    return os.getpid()


def refuse(task: int) -> int:
    raise InputError("task", task, "another\none")


class AwkwardError(Exception):
    """It cannot be unpickled: its class wants two arguments and the error keeps one."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def awkward(_: int) -> int:
    raise AwkwardError("so", "so")


def unpicklable(_: int) -> object:
    return threading.Lock()


def die(_: int) -> int:
    os._exit(7)


def tasks_known(dask_worker: Any) -> int:
    return len(dask_worker.state.tasks)


class Watched(Sequence[tuple[int, int]]):
    """Tasks that count how many of them were looked at."""

    def __init__(self, tasks: list[tuple[int, int]]) -> None:
        self.tasks, self.taken = tasks, 0

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: Any) -> Any:
        task = self.tasks[index]
        self.taken = index + 1
        return task


@contextlib.contextmanager
def meanwhile(conduct: Callable[[], None]) -> Iterator[None]:
    """Do something on a thread, since this one waits for outcomes; its errors count."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(conduct)
        yield
        done.result(PATIENCE)


def local_cluster(**settings: Any) -> Any:
    chosen = {"n_workers": 2, "threads_per_worker": 1, "protocol": "tcp://"} | settings
    quiet: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    return LocalCluster(**(quiet | chosen))


def client_of(address: str) -> Any:
    return Client(address, set_as_default=False)


def stay_or_refuse(task: tuple[int, int]) -> int:
    refuse(stay(task))
    return 0
