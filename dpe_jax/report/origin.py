"""With what a result was made, as a section of its page."""

from typing import Any

from dpe_jax.report.content import Section, Table, Text
from dpe_jax.report.entries import Origin
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


def facts(origin: Origin) -> tuple[tuple[str, str], ...]:
    """All but the versions."""
    found = [("device", described(origin.device)), ("seed", str(origin.seed))]
    found.append(("time", took(origin.seconds)))
    if origin.config_hash:
        found.append(("config hash", origin.config_hash))
    if origin.written:
        found.append(("written", origin.written))
    return tuple(found)


def took(given: float | dict[str, float]) -> str:
    """12.3 s, or by phases."""
    if isinstance(given, dict):
        told = ", ".join(f"{name} {seconds(value)}" for name, value in given.items())
        return f"{seconds(sum(given.values()))} ({told})" if given else "not said"
    return seconds(given)


def described(entries: dict[str, Any]) -> str:
    """platform cpu, count 1; lists and tables by their size."""
    return ", ".join(f"{name} {_value(value)}" for name, value in entries.items()) or "not said"


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, int | float) or value is None:
        return number(value)
    return f"({len(value)} entries)" if isinstance(value, list | dict) else str(value)
