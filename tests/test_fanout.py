"""Tasks here, in worker processes and on a cluster: their outcomes, ends and errors."""

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import pytest
from tasks import (
    DIE,
    GO,
    PATIENCE,
    Gate,
    Watched,
    awkward,
    client_of,
    die,
    local_cluster,
    meanwhile,
    process,
    refuse,
    square,
    stay,
    stay_or_refuse,
    tasks_known,
    unpicklable,
    wait,
)

from dpe_jax.errors import InputError, WorkerDiedError
from dpe_jax.fanout import Cluster, Fanout, InProcess, Processes, _check_versions

pytestmark = pytest.mark.slow  # together over 20 s


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with local_cluster() as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["processes", "dask"])
def fanout(request: pytest.FixtureRequest) -> Fanout:
    if request.param == "processes":
        return Processes(2)
    return Cluster(request.getfixturevalue("address"))


@pytest.fixture(params=["in process", "one worker", "processes", "dask"])
def any_fanout(request: pytest.FixtureRequest) -> Fanout:
    if request.param == "dask":
        return Cluster(request.getfixturevalue("address"))
    return {"in process": InProcess(), "one worker": Processes(1), "processes": Processes(2)}[
        request.param
    ]


def test_all_outcomes_come_with_the_index_of_their_task(any_fanout: Fanout) -> None:
    tasks = [3, 1, 4, 1, 5, 9, 2, 6]
    outcomes = list(any_fanout.results(square, tasks))
    assert sorted(outcomes) == [(index, task * task) for index, task in enumerate(tasks)]
    assert list(any_fanout.results(square, [])) == []


def test_outcomes_come_in_order_of_completion(fanout: Fanout) -> None:
    with Gate() as gate:
        seen = threading.Event()

        def conduct() -> None:
            assert {gate.arrival(), gate.arrival()} == {0, 1}
            gate.tell(1, GO)
            assert gate.arrival() == 2
            gate.tell(2, GO)
            assert seen.wait(PATIENCE)
            gate.tell(0, GO)

        results = fanout.results(wait, gate.tasks(3))
        with meanwhile(conduct):
            assert next(results) == (1, 1)
            assert next(results) == (2, 2)
            seen.set()
            assert next(results) == (0, 0)
            assert next(results, None) is None


def test_one_worker_computes_here_and_several_elsewhere() -> None:
    assert [pid for _, pid in Processes(1).results(process, [0])] == [os.getpid()]
    assert os.getpid() not in [pid for _, pid in Processes(2).results(process, [0])]


def test_few_tasks_are_under_way_at_a_time(fanout: Fanout) -> None:
    with Gate() as gate:

        def conduct() -> None:
            gate.tell(gate.arrival(), GO)

        tasks = Watched(gate.tasks(50))
        with contextlib.closing(fanout.results(wait, tasks)) as results:
            assert tasks.taken == 0
            with meanwhile(conduct):
                next(results)
        assert 2 <= tasks.taken <= 4


@pytest.mark.parametrize("end", ["finished", "closed", "caller", "interrupt", "task", "death"])
def test_no_worker_process_survives(end: str) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _end(end)
    finally:
        signal.signal(signal.SIGINT, before)


def _end(end: str) -> None:
    count = 2 if end == "finished" else 20
    others = set(multiprocessing.active_children())  # such as the workers of a local cluster
    with Gate() as gate:

        def conduct() -> None:
            assert {gate.arrival(), gate.arrival()} == {0, 1}
            if end == "interrupt":
                signal.raise_signal(signal.SIGINT)
                return
            gate.tell(0, DIE if end == "death" else GO)
            if end == "finished":
                gate.tell(1, GO)

        results = Processes(2).results(stay, gate.tasks(count))
        with meanwhile(conduct):
            if end == "finished":
                assert sorted(results) == [(0, 0), (1, 1)]
            elif end == "closed":
                assert next(results) == (0, 0)
                results.close()
            elif end == "caller":
                with pytest.raises(ZeroDivisionError):
                    _divide(Processes(2), gate)
            elif end == "interrupt":
                with pytest.raises(KeyboardInterrupt):
                    next(results)
            elif end == "death":
                with pytest.raises(WorkerDiedError, match="a worker process died") as caught:
                    next(results)
                assert "\n" not in str(caught.value)
            else:
                _fail(gate)
        late = gate.late()
        # One that has been let go may have begun its next task before the end, but no more.
        assert set(late) <= {2}
        for index in (0, 1, *late):
            with contextlib.suppress(ConnectionResetError):
                assert gate.arrived[index].recv(1) == b""
    assert set(multiprocessing.active_children()) <= others


def _divide(fanout: Fanout, gate: Gate) -> None:
    for _, outcome in fanout.results(stay, gate.tasks(20)):
        assert 1 / outcome


def _fail(gate: Gate) -> None:
    def refused() -> None:
        list(Processes(2).results(stay_or_refuse, gate.tasks(20)))

    with pytest.raises(InputError):
        refused()


def test_an_interrupt_in_a_terminal_is_quiet_and_leaves_no_process() -> None:
    program = (
        "import signal, sys, threading\n"
        "from dpe_jax.fanout import Processes\n"
        "import tasks\n"
        "def conduct():\n"
        "    sys.stdin.readline()\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Thread(target=conduct).start()\n"
        "waiting = [(int(sys.argv[1]), index) for index in range(5)]\n"
        "try:\n"
        "    list(Processes(2).results(tasks.interrupt_and_stay, waiting))\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    with Gate() as gate:
        port = gate.tasks(1)[0][0]
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, str(port)],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert {gate.arrival(), gate.arrival()} == {0, 1}
            output, errors = running.communicate("now\n", timeout=PATIENCE)
        assert (running.returncode, output, errors) == (130, "", "")
        for connection in gate.arrived.values():
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_a_cluster_forgets_what_has_not_begun(address: str) -> None:
    with Gate() as gate:

        def conduct() -> None:
            assert {gate.arrival(), gate.arrival()} == {0, 1}
            gate.tell(0, GO)
            gate.arrival()

        results = Cluster(address).results(wait, gate.tasks(20))
        with meanwhile(conduct):
            assert next(results) == (0, 0)
        results.close()
        with client_of(address) as client:
            # Nothing but what runs; asked again until the message to forget has arrived.
            assert any(max(client.run(tasks_known).values()) <= 1 for _ in range(10_000))
        for index in set(gate.arrived) - {0}:
            gate.tell(index, GO)
        assert len(list(Cluster(address).results(square, range(6)))) == 6
        assert gate.late() == []


def test_an_error_of_a_task_arrives_as_it_was(any_fanout: Fanout) -> None:
    with pytest.raises(InputError) as caught:
        list(any_fanout.results(refuse, [8]))
    error = caught.value
    assert (error.argument, error.value, error.accepted) == ("task", 8, "another\none")
    assert str(error) == "task = 8: expected another\none"


def test_errors_from_elsewhere_show_where_they_were_raised(fanout: Fanout) -> None:
    with pytest.raises(InputError) as caught:
        list(fanout.results(refuse, [8]))
    assert "in refuse" in str(caught.value.__cause__)


def test_an_error_or_outcome_that_cannot_be_pickled_is_an_error(fanout: Fanout) -> None:
    with pytest.raises(RuntimeError, match="AwkwardError: soso"):
        list(fanout.results(awkward, [0, 1]))
    with pytest.raises(TypeError, match="pickle"):
        list(fanout.results(unpicklable, [0, 1]))


def test_input_errors_survive_pickling() -> None:
    error = InputError("--runs", [1, 2], "an integer")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is InputError
    assert str(copy) == str(error)
    assert (copy.argument, copy.value, copy.accepted) == ("--runs", [1, 2], "an integer")


def test_a_task_that_ends_its_workers_is_given_up() -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_cluster(n_workers=1) as cluster,
        pytest.raises(WorkerDiedError, match="all workers given a task died") as caught,
    ):
        list(Cluster(cluster.scheduler_address).results(die, [0]))
    assert "\n" not in str(caught.value)


def test_a_cluster_without_workers_left_is_given_up() -> None:
    with local_cluster(processes=False) as cluster:
        results = Cluster(cluster.scheduler_address, patience=0.0).results(square, range(1000))
        next(results)
        cluster.scale(0)
        with pytest.raises(WorkerDiedError, match="no worker is left"):
            list(results)


def test_a_lost_scheduler_is_an_error_and_quiet(caplog: pytest.LogCaptureFixture) -> None:
    with local_cluster(processes=False, silence_logs=False) as cluster:
        results = Cluster(cluster.scheduler_address).results(square, range(100_000))
        next(results)
        cluster.close()
        with pytest.raises(WorkerDiedError, match="the connection to the scheduler was lost"):
            list(results)
    assert caplog.records
    said = [record for record in caplog.records if record.name == "distributed.client"]
    assert [record for record in said if record.levelno >= logging.WARNING] == []


def test_a_cluster_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    silent = socket.create_server(("127.0.0.1", 0))
    mute = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
    for address in (closed, mute, "no address", "ftp://127.0.0.1:1", ""):
        cluster = Cluster(address, timeout=0.2)
        for use in (cluster.describe, lambda cluster=cluster: list(cluster.results(square, [1]))):
            with pytest.raises(InputError, match=r"--dask = .*a Dask scheduler that answers"):
                use()
    silent.close()
    with local_cluster(n_workers=0, processes=False) as idle:
        cluster = Cluster(idle.scheduler_address, timeout=0.2)
        with pytest.raises(InputError, match="a Dask cluster with workers"):
            list(cluster.results(square, [1]))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"install 'dpe-jax\[dask\]'"):
        Cluster(closed).describe()


def test_other_versions_on_a_cluster_are_refused(address: str) -> None:
    with client_of(address) as client:
        versions = client.get_versions(packages=["dpe-jax"])
    assert len(versions["workers"]) == 2
    assert versions["client"]["packages"]["dpe-jax"]
    _check_versions(address, versions)
    patch = f"{sys.version_info.major}.{sys.version_info.minor}.99.final.0"
    worker = next(iter(versions["workers"].values()))["packages"]
    for packages in (worker, versions["scheduler"]["packages"]):
        for name, other in (("dpe-jax", "0.0.1"), ("dpe-jax", None), ("python", "3.7.1.final.0")):
            kept = packages[name]
            packages[name] = other
            with pytest.raises(InputError, match=r"a cluster with dpe-jax .* as here; .* has"):
                _check_versions(address, versions)
            packages[name] = kept
        packages["python"] = patch
        _check_versions(address, versions)


@pytest.mark.parametrize("workers", [0, -1, True])
def test_workers_are_a_positive_integer(workers: Any) -> None:
    with pytest.raises(InputError, match=r"workers = .*a positive integer"):
        Processes(workers)


def test_descriptions(address: str) -> None:
    assert InProcess().describe()["workers"] == 1
    assert Processes(1).describe() == InProcess().describe()
    several = Processes(3).describe()
    assert (several["kind"], several["workers"]) == ("processes", 3)
    assert several["joblib"]
    cluster = Cluster(address).describe()
    assert (cluster["kind"], cluster["workers"], cluster["threads"]) == ("dask", 2, 2)
    assert (cluster["address"], bool(cluster["distributed"])) == (address, True)


def test_neither_joblib_nor_dask_nor_jax_is_imported_before_it_is_used() -> None:
    program = (
        "import sys\n"
        "from dpe_jax.fanout import Cluster, InProcess, Processes\n"
        "assert list(Processes(1).results(abs, [-2])) == [(0, 2)]\n"
        "Cluster('tcp://nowhere:1'), Processes(2).describe()\n"
        "sys.exit(repr({'joblib', 'dask', 'distributed', 'jax', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
