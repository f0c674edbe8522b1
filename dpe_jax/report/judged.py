"""Replays with encryption and conditions of convergence, as sections of a page."""

from collections.abc import Mapping, Sequence

from dpe_jax.report.content import Cell, Row, Section, Table, Verdict
from dpe_jax.report.entries import Condition, Verification
from dpe_jax.report.numbers import number, seconds, size


def verifications(found: Sequence[Verification], traced: bool) -> Section:
    """Every replay of `dpe verify`; or how there can be one."""
    title = "Verification with real encryption"
    if not found:
        how = "dpe verify DIR replays the traced runs."
        if not traced:
            how = "no run was traced: dpe run --trace 0,1 keeps what a replay needs."
        return Section(title=title, paragraphs=(f"Nothing was replayed; {how}",))
    if len(found) == 1:
        return _replay(title, found[0])
    sections = tuple(_replay(f"Replay of {entry.written}", entry) for entry in found)
    return Section(title=title, sections=sections)


def _replay(title: str, entry: Verification) -> Section:
    keys = entry.encryption
    compared = (
        f"{number(entry.integers_compared)} integers of {number(entry.iterations)} iterations"
    )
    detail = f"{compared} are equal"
    if entry.mismatches:
        detail = f"{number(entry.mismatches)} of {compared} differ"
    elif not entry.verified:
        detail = f"the trace does not belong to the settings ({compared} compared)"
    first = entry.first_mismatch
    points = [] if first is None else [
        f"First mismatch: {first.method}, lane {first.lane}, iteration {first.iteration}, "
        f"{first.quantity} of agent {first.agent}, coordinate {first.coordinate}: recorded "
        f"{first.expected}, replayed {first.got}."
    ]  # fmt: skip
    points += [str(text) for text in (*entry.stopped, *entry.disagreements)]
    insecure = "The keys of this replay are too short to protect anything: test keys."
    rows: tuple[Row, ...] = tuple(
        (
            lane.method,
            str(lane.run),
            Cell(lane.status, "" if lane.status == "ok" else "bad"),
            f"{number(lane.iterations)} of {number(lane.recorded)}",
        )
        for lane in entry.lanes
    )
    caption = "Runs that were replayed by parties that share only serialised ciphertexts"
    return Section(
        title=title,
        remarks=(insecure,) if keys.insecure_test_keys else (),
        verdicts=(Verdict("Every integer of the replay is equal", entry.verified, detail),),
        points=tuple(points),
        tables=(Table(caption, ("method", "run", "status", "iterations"), rows),),
        facts=(
            ("encryption", f"{keys.backend}, {keys.key_bits}-bit keys, {keys.randomness}"),
            ("messages", number(entry.messages)),
            ("ciphertexts on the wire", size(entry.ciphertext_bytes)),
            ("keys on the wire", size(entry.key_bytes)),
            ("time", f"{seconds(entry.wall_seconds)}, {entry.fanout.get('workers', '?')} workers"),
            ("written", entry.written),
        ),
    )


def conditions(found: Mapping[str, Sequence[Condition]]) -> Section:
    """The conditions of convergence of every method."""
    rows: tuple[Row, ...] = tuple(
        (
            name,
            one.name,
            one.statement,
            one.detail,
            Cell("holds" if one.holds else "does not hold", "" if one.holds else "bad"),
        )
        for name, those in found.items()
        for one in those
    )
    head = ("method", "condition", "statement", "here", "verdict")
    caption = "What theory asks of the settings of each method"
    tables = (Table(caption, head, rows),) if rows else ()
    told = () if rows else ("No method here has conditions.",)
    return Section(title="Conditions of convergence", paragraphs=told, tables=tables)
