"""Traces replayed with real encryption: what was changed is found and named.

The oracle is plain integers (`stretches.predicted`); keys are small.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import reference
import xarray as xr
from common import ENCRYPTED
from hypothesis import given, settings
from hypothesis import strategies as st
from stretches import predicted, protocol
from verifying import (
    ARRAYS,
    INTEGERS,
    QUICK,
    SMALL_KEYS,
    STEPS,
    private,
    real,
    traces_of,
)

from dpe_jax import verification
from dpe_jax.errors import InputError
from dpe_jax.paillier.protocol import Factors
from dpe_jax.paillier.replay import Mismatch, Stretch
from dpe_jax.paillier.setup import protocol_for
from dpe_jax.verification import verify, verify_traces

pytestmark = [
    pytest.mark.usefixtures("same_keys"),
    pytest.mark.slow,  # together over 20 s
]


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a verification must say of a changed trace."""

    first: Mismatch | None
    mismatches: int


_words = functools.cache(reference.words)
"""Most examples draw the same."""


def by_the_oracle(trace: xr.Dataset, segment: int) -> Expected:
    """Every part replayed in plain integers, as the trace describes it."""
    attrs = trace.attrs
    factors = Factors(attrs["factors_kind"], attrs["factors_low"], attrs["factors_high"])
    upper = np.triu(trace.coupling.values, 1)
    links = tuple((int(i), int(j), int(upper[i, j])) for i, j in np.argwhere(upper))
    described = protocol(
        links, trace.sizes["coordinate"], factors, seed=int(attrs["seed"]),
        rounding=attrs["rounding"],
    )  # fmt: skip
    first, count = None, 0
    for lane, number in enumerate(trace.run.values.tolist()):
        state, level, sums, increment = (trace[name].values[lane] for name in ARRAYS)
        for begin in range(0, STEPS, segment):
            own = slice(begin, min(begin + segment, STEPS))
            stretch = Stretch(
                "method", number, begin, trace.gain.values[own],
                state[own.start : own.stop + 1], level[own], sums[own], increment[own],
            )  # fmt: skip
            with patch.object(reference, "words", _words):
                found, mismatches = predicted(described, stretch)
            count += mismatches
            if found and not first:
                first = dataclasses.replace(found, lane=number)
    return Expected(first, count)


@dataclasses.dataclass(frozen=True)
class Change:
    """A change of a trace, and the disagreement with the settings that names it, if one does."""

    apply: Callable[[xr.Dataset], None]
    named: tuple[str, tuple[int, ...]] | None


def added(name: str, place: tuple[int, ...], by: float) -> Callable[[xr.Dataset], None]:
    def apply(trace: xr.Dataset) -> None:
        trace[name].values[place] += by

    return apply


def attribute(name: str, value: Any) -> Change:
    def apply(trace: xr.Dataset) -> None:
        assert trace.attrs[name] != value
        trace.attrs[name] = value

    return Change(apply, (name, ()))


@st.composite
def changes(draw: Any, trace: xr.Dataset) -> Change:
    """One unit of one number."""
    kinds = (*ARRAYS, "gain", "increment_scale", "coupling", "run", "status", "attribute")
    kind = draw(st.sampled_from(kinds))
    by = draw(st.sampled_from([-1, 1]))
    if kind == "attribute":
        seed, denominator = int(trace.attrs["seed"]), trace.attrs["denominator"]
        delta = trace.attrs["delta"]
        values = [
            ("delta", np.nextafter(delta, delta + by).item()),
            ("seed", str(seed + by)),
            ("denominator", denominator + by),
            ("rounding", "nearest"),
            ("precision", "float64"),
            ("fraction_bits", 32 + by),
            ("factors_kind", "coordinate"),
            ("factors_low", 2 + by),
            ("factors_high", 9 + by),
            ("method", "another"),
        ]
        return attribute(*draw(st.sampled_from(values)))
    place = tuple(draw(st.integers(0, size - 1)) for size in trace[kind].shape)
    if kind == "increment_scale":
        scale = float(trace.increment_scale.values[place])
        return Change(added(kind, place, np.nextafter(scale, by * np.inf) - scale), (kind, place))
    if kind == "status":
        return Change(added(kind, place, abs(by) + (by > 0)), (kind, place))
    if kind == "coupling":
        if trace.coupling.values[place] < 2:
            by = 1
        one = added(kind, place, by)
        if not draw(st.booleans()) or place[0] == place[1]:
            return Change(one, (kind, place))
        mirrored = added(kind, place[::-1], by)
        first = min(place, place[::-1])
        return Change(lambda trace: (one(trace), mirrored(trace))[0], (kind, first))
    if kind == "trace_state":
        named = ("Y_0", (place[0], *place[2:])) if place[1] == 0 else None
        return Change(added(kind, place, by), named)
    return Change(added(kind, place, by), None if kind in ARRAYS else (kind, place))


@given(st.data(), st.sampled_from([2, 5, STEPS]))
@settings(max_examples=80, derandomize=True, deadline=None)
def test_one_changed_unit_is_found_and_named(data: Any, segment: int) -> None:
    original = traces_of(real())["method"]
    change = data.draw(changes(original))
    changed = original.copy(deep=True)
    change.apply(changed)
    report = verify_traces(real().simulation, {"method": changed}, QUICK, segment=segment)
    assert not report.verified
    expected = by_the_oracle(changed, segment)
    assert report.first_mismatch == expected.first
    assert report.mismatches == expected.mismatches
    places = [(found.name, found.index) for found in report.disagreements]
    assert places == ([] if change.named is None else [change.named])
    if change.named is None:
        assert expected.first is not None
    # The replay goes on to the end nevertheless.
    assert report.integers_compared == INTEGERS


def test_the_oracle_of_these_tests_agrees_with_what_is_sound() -> None:
    trace = traces_of(real())["method"]
    assert by_the_oracle(trace, 3) == Expected(None, 0)
    assert verify_traces(real().simulation, {"method": trace}, SMALL_KEYS, segment=3).verified


EVERYWHERE = [
    *((name, lane) for name in ARRAYS for lane in (0, 1)),
    *((name, None) for name in ("gain", "increment_scale", "coupling")),
]


@pytest.mark.parametrize(("name", "lane"), EVERYWHERE)
def test_the_last_number_counts_as_well(name: str, lane: int | None) -> None:
    """No end of an array is left out, of no lane."""
    trace = traces_of(real())["method"].copy(deep=True)
    values = trace[name].values
    place = tuple(size - 1 for size in values.shape)
    values[place if lane is None else (lane, *place[1:])] += 1
    assert not verify_traces(real().simulation, {"method": trace}, SMALL_KEYS).verified


ATTRIBUTES = [
    ("method", "another"),
    ("denominator", 5),
    ("delta", float(np.nextafter(2.0**-7, 1.0))),
    ("rounding", "nearest"),
    ("factors_kind", "coordinate"),
    ("factors_low", 1),
    ("factors_high", 10),
    ("seed", str(2**40)),
    ("precision", "float64"),
    ("fraction_bits", 31),
]


@pytest.mark.parametrize(("name", "value"), ATTRIBUTES)
def test_every_setting_counts(name: str, value: Any) -> None:
    trace = traces_of(real())["method"].copy(deep=True)
    assert set(trace.attrs) == {name for name, _ in ATTRIBUTES}
    expected, trace.attrs[name] = trace.attrs[name], value
    report = verify_traces(real().simulation, {"method": trace}, QUICK)
    assert not report.verified
    [found] = report.disagreements
    assert (found.name, found.expected, found.got) == (name, expected, value)


def test_parties_that_round_otherwise_are_found_out(monkeypatch) -> None:
    """Nothing but the replay notices this: the trace is sound."""

    def nearest(coupling: Any, dim: int, seed: int, rounding: str, *others: Any) -> Any:
        assert rounding == "stochastic"
        return protocol_for(coupling, dim, seed, "nearest", *others)

    trace = real().traces["method"]
    monkeypatch.setattr(verification, "protocol_for", nearest)
    report = verify(real(), encryption=SMALL_KEYS)
    assert not report.verified
    assert report.disagreements == ()
    rounded = (trace.state[:, :-1] + 2**31) >> 32
    lane, k, agent, coordinate = np.argwhere(rounded != trace.level)[0].tolist()
    assert k == 0  # since x_0 is between levels
    place = int(trace.run[lane]), k, "level", agent, coordinate
    levels = (int(grid[lane, k, agent, coordinate]) for grid in (trace.level, rounded))
    assert report.first_mismatch == Mismatch("method", *place, *levels)


def test_a_trace_of_another_simulation_does_not_belong() -> None:
    other = private(2**40 + 8)
    report = verify_traces(real().simulation, traces_of(other), SMALL_KEYS)
    # It is sound in itself.
    assert report.mismatches == 0
    assert not report.verified
    assert [str(found) for found in report.disagreements] == [
        f"method: seed is '{2**40 + 8}', expected '{2**40 + 9}'"
    ]
    longer = dataclasses.replace(real().simulation, iterations=STEPS + 1)
    report = verify_traces(longer, traces_of(real()), SMALL_KEYS)
    assert not report.verified
    assert {found.name for found in report.disagreements} == {
        "shape of gain", "shape of increment_scale",
    }  # fmt: skip
    unknown = dataclasses.replace(real().simulation, algorithms={"other": ENCRYPTED})
    with pytest.raises(InputError, match=r"^trace = 'method': .*on the lattice \(other\)"):
        verify_traces(unknown, traces_of(real()), SMALL_KEYS)
