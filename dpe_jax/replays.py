"""The commands `dpe verify` and `dpe cost`, and how their reports are shown."""

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax import cost, experiment
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.fanout import Cluster, Fanout, InProcess, Processes
from dpe_jax.folder import MANIFEST, alone, read_json, write_json
from dpe_jax.paillier.setup import Encryption
from dpe_jax.progress import Bars
from dpe_jax.results import Stored, load_experiment
from dpe_jax.study import processors
from dpe_jax.verification import SEGMENT, Report, verify


def run_verify(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe verify DIR`."""
    encryption = asked_encryption(options, log)
    stored = load_experiment(Path(options.folder))
    with Bars(log, "iterations") as bars, _what_is_kept(options), _as_options():
        report = verify(
            stored,
            encryption=encryption,
            runs=None if options.lanes is None else tuple(options.lanes),
            iterations=options.iterations,
            segment=SEGMENT if options.segment is None else options.segment,
            fanout=_fanout(options),
            resume=not options.restart,
            progress=bars,
        )
    append(stored, report)
    if screen:
        show_report(screen, report)
    return 0 if report.verified else 1, report.to_dict()


def run_cost(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe cost PRESET|CONFIG`."""
    encryption = asked_encryption(options, log)
    simulation = experiment.find_config(options.config).build()
    methods = [
        name for name, method in simulation.algorithms.items() if isinstance(method, EncryptedDSGD)
    ]
    if not methods:
        accepted = "one with a method whose exchange is encrypted (EncryptedDSGD)"
        raise InputError("PRESET|CONFIG", options.config, accepted)
    forecasts = {}
    for name in methods:
        forecasts[name] = cost.forecast(simulation, name, encryption, options.iterations)
        if screen:
            _show_forecast(screen, name, forecasts[name])
    return 0, {name: forecast.to_dict() for name, forecast in forecasts.items()}


def append(stored: Stored, report: Report) -> None:
    """Add a report to the manifest of the result."""
    path = stored.path / MANIFEST
    entry = {"written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **report.to_dict()}
    try:
        with alone(stored.path, wait=True):
            manifest = read_json(path)
            before = manifest.get("verifications", [])
            write_json(path, manifest | {"verifications": [*before, entry]})
    except (OSError, json.JSONDecodeError) as error:
        raise InputError("DIR", str(path), f"a manifest that can be written ({error})") from error


def show_report(screen: Console, report: Report) -> None:
    """What was verified, and what it took."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("method", "lane", "status", "iterations"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for lane in report.lanes:
        done = f"{lane.iterations} of {lane.recorded}"
        table.add_row(lane.method, str(lane.run), lane.status, done)
    screen.print(table)
    keys = report.encryption
    for line in (
        verdict(report),
        *(f"settings: {item}" for item in report.disagreements),
        *_first(report),
        *report.stopped,
        *(_distance(name, found) for name, found in report.increments.items()),
        f"{keys['backend']}, {keys['key_bits']}-bit keys"
        + (" — INSECURE TEST KEYS" if keys["insecure_test_keys"] else "")
        + f", {keys['randomness']}",
        f"{report.messages} messages, {_bytes(report.ciphertext_bytes)} of ciphertexts and "
        f"{_bytes(report.key_bytes)} of keys on the wire",
        f"{report.wall_seconds:.1f} s with {_count(report.fanout['workers'], 'worker')}"
        + (f", {report.resumed} parts from before" if report.resumed else ""),
    ):
        # On a terminal lines break between words; elsewhere they are left whole.
        screen.print(line, soft_wrap=not screen.is_terminal)
    total = sum(report.seconds.values())
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("operation", "seconds", "share"):
        table.add_column(heading, justify="left" if heading == "operation" else "right")
    for name, seconds in report.seconds.items():
        if seconds:
            label = name.replace("_", " ")
            table.add_row(label, f"{seconds:.2f}", f"{seconds / total:.0%}")
    screen.print(table)


def verdict(report: Report) -> str:
    """What was found, in one line."""
    compared = f"{report.integers_compared:,} integers of {report.iterations:,} iterations"
    if report.verified:
        failed = [lane for lane in report.lanes if lane.status != "ok"]
        cut = "".join(
            f"; lane {lane.run} {lane.status}: {lane.iterations} of {lane.recorded} iterations"
            for lane in failed
        )
        return f"VERIFIED: {compared} are equal{cut}"
    if report.mismatches:
        return f"NOT VERIFIED: {report.mismatches:,} of {compared} differ"
    return f"NOT VERIFIED: the trace does not belong to the settings ({compared} compared)"


def _first(report: Report) -> list[str]:
    found = report.first_mismatch
    if found is None:
        return []
    return [
        f"first mismatch: {found.method}, lane {found.lane}, iteration {found.iteration}, "
        f"{found.quantity} of agent {found.agent}, coordinate {found.coordinate}: recorded "
        f"{found.expected}, replayed {found.got}"
    ]


def _distance(method: str, found: dict[str, Any]) -> str:
    if "not_recomputed" in found:
        return f"{method}: increments U not recomputed: {found['not_recomputed']}"
    return (
        f"{method}: increments U against an independent float64 gradient: median "
        f"{found['median_ulp']:.2g}, largest {found['largest_ulp']:.4g} ulp of "
        f"{found['precision']}; relative to the agent's largest coordinate at most "
        f"{found['largest_relative']:.1e}"
    )


def _show_forecast(screen: Console, name: str, forecast: cost.Forecast) -> None:
    keys = forecast.encryption
    encrypted, plain = forecast.wire_bytes, forecast.plain_bytes
    rows = (
        ("network", f"{forecast.agents} agents, {forecast.links} links, d = {forecast.dim}"),
        ("iterations", f"{forecast.iterations:,}"),
        ("encryption", f"{keys['backend']}, {keys['key_bits']}-bit keys, {keys['randomness']}"),
        ("weight factors", forecast.factors),
        (
            "packing",
            f"{_count(forecast.slots, 'slot')} of {forecast.slot_bits} bits in a plaintext; "
            f"{_count(forecast.ciphertexts_a_message, 'ciphertext')} of "
            f"{forecast.ciphertext_bytes} bytes in a message",
        ),
        ("messages", f"{forecast.messages:,} (plaintext run: {forecast.plain_messages:,})"),
        (
            "bytes",
            f"{_bytes(encrypted)} (plaintext run: {_bytes(plain)}, {encrypted / plain:.0f} times "
            "less)",
        ),
        ("set-up", f"{forecast.setup_seconds:.1f} s: keys and tables of all agents"),
        (
            "an iteration",
            f"{forecast.iteration_seconds * 1e3:.1f} ms for all agents, one after the other",
        ),
        ("all", f"{_duration(forecast.seconds)} on one processor of this machine"),
        (
            "deployed",
            f"{forecast.slowest_agent_seconds * 1e3:.1f} ms an iteration where each agent has "
            "such a processor, network time not counted",
        ),
    )
    table = Table(
        title=f"{name}: forecast", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        show_header=False,
    )  # fmt: skip
    table.add_column(no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def asked_encryption(options: argparse.Namespace, log: Console) -> Encryption:
    """The implementation and keys that were asked for, with a warning of short ones."""
    try:
        encryption = Encryption(
            options.backend, options.randomness, options.key_bits, options.insecure_test_keys
        )
    except InputError as error:
        shown = f"--{error.argument.replace('_', '-')}"
        accepted = error.accepted
        if error.argument == "key_bits" and options.key_bits < 2048:
            accepted += "; add --insecure-test-keys for tests"
        raise InputError(shown, error.value, accepted) from error
    if encryption.insecure:
        log.print(
            f"warning: INSECURE TEST KEYS of {encryption.key_bits} bits protect nothing",
            style="bold red",
        )
    return encryption


def _fanout(options: argparse.Namespace) -> Fanout:
    if options.dask is not None:
        return Cluster(options.dask)
    workers = processors() if options.workers is None else options.workers
    return InProcess() if workers == 1 else Processes(workers)


@contextlib.contextmanager
def _what_is_kept(options: argparse.Namespace) -> Iterator[None]:
    """Say with an interrupt what becomes of what was done."""
    try:
        yield
    except KeyboardInterrupt as error:
        same = "the same command without --restart" if options.restart else "the same command"
        raise KeyboardInterrupt(f"finished parts are kept: {same} goes on from them") from error


@contextlib.contextmanager
def _as_options() -> Iterator[None]:
    """Name arguments as they are on the command line."""
    shown = {"runs": "--lanes", "iterations": "--iterations"}
    try:
        yield
    except InputError as error:
        if error.argument not in shown:
            raise
        raise InputError(shown[error.argument], error.value, error.accepted) from error


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _bytes(count: int) -> str:
    """1.3 MB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
