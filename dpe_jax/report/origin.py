"""With what a result was made, as a section of its page."""

from typing import Any

from dpe_jax.report.content import Section, Table, Text
from dpe_jax.report.entries import Origin, Reproduction
from dpe_jax.report.numbers import number, seconds


def environment(
    origin: Origin, texts: tuple[Text, ...] = (), *, more: tuple[tuple[str, str], ...] = ()
) -> Section:
    """Device, seed, time, hash and versions, and the configuration as text."""
    rows = tuple((name, version) for name, version in origin.versions.items())
    versions = Table("Versions of Python and its packages", ("package", "version"), rows)
    return Section(
        title="Environment",
        facts=(*facts(origin), *more),
        tables=(versions,) if rows else (),
        texts=texts,
    )


_MACHINE = {"cpu": "processor", "cpus": "processors", "os": "operating system"}
"""Entries of a device that are facts of their own; not all manifests have them."""


def facts(origin: Origin) -> tuple[tuple[str, str], ...]:
    """All but the versions."""
    others = {name: value for name, value in origin.device.items() if name not in _MACHINE}
    own = [(told, _said(origin.device.get(name))) for name, told in _MACHINE.items()]
    known = [(told, value) for told, value in own if value]
    return ("device", described(others)), *known, *made(origin)


def made(origin: Origin) -> tuple[tuple[str, str], ...]:
    """When, in what time and by which settings, whatever it was made on."""
    found = [("seed", str(origin.seed)), ("time", spent(origin))]
    if origin.config_hash:
        found.append(("config hash", origin.config_hash))
    if origin.written:
        found.append(("written", origin.written))
    return tuple(found)


def spent(origin: Origin) -> str:
    """What it took: of a reproduction, as its last command says it."""
    if isinstance(origin, Reproduction) and origin.wall_seconds is not None:
        return f"{seconds(origin.wall_seconds)}, {took(origin.seconds)} in the parts"
    return took(origin.seconds)


def took(given: float | dict[str, float]) -> str:
    """12.3 s, or by phases."""
    if isinstance(given, dict):
        told = ", ".join(f"{name} {seconds(value)}" for name, value in given.items())
        return f"{seconds(sum(given.values()))} ({told})" if given else "not said"
    return seconds(given)


def described(entries: dict[str, Any]) -> str:
    """platform cpu, count 1; lists and tables by their size."""
    return ", ".join(f"{name} {_value(value)}" for name, value in entries.items()) or "not said"


def differing(device: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The entries of a device that another has not, or not so."""
    return {
        name: device.get(name)
        for name in dict.fromkeys((*device, *other))
        if device.get(name) != other.get(name)
    }


def _said(value: Any) -> str:
    """A fact of a machine, or nothing."""
    if value is None or value == "":
        return ""
    return described(value) if isinstance(value, dict) else _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, int | float) or value is None:
        return number(value)
    return f"({len(value)} entries)" if isinstance(value, list | dict) else str(value)
