"""Traces replayed with real encryption: what is sound is verified, what was changed is named.

Oracles are plain integers (`stretches.predicted`) and products of sizes; keys are small.
"""

import dataclasses
import functools
import itertools
import json
import logging
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import reference
import xarray as xr
from common import DIAGONAL, ENCRYPTED, FULL, NETWORK, STEPSIZE, run
from hypothesis import given, settings
from hypothesis import strategies as st
from stretches import predicted, protocol
from test_simulation import failing
from verifying import ARRAYS, QUICK, SMALL_KEYS, STEPS, lasting, method, start, traces_of

from dpe_jax import verification
from dpe_jax.algorithms import ConventionalDSGD
from dpe_jax.errors import InputError
from dpe_jax.factors import CoordinateFactors, LinkFactors, PublicFactors
from dpe_jax.fanout import Cluster, Processes
from dpe_jax.network import Network
from dpe_jax.paillier.protocol import Factors
from dpe_jax.paillier.replay import Mismatch, Stretch
from dpe_jax.paillier.setup import Encryption, protocol_for
from dpe_jax.problems import Quadratic, SensorEstimation, breast_cancer
from dpe_jax.simulation import Result, simulate
from dpe_jax.verification import Lane, verify, verify_traces

# Nearest rounding is warned of, as are matrices whose Γ is coarse.
pytestmark = pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")

# Sound results


def odd_network() -> Network:
    """Weights c_ij / 97 on a random graph of six agents."""
    rng = np.random.default_rng(5)
    levels = np.triu(rng.integers(1, 20, (6, 6)) * (rng.random((6, 6)) < 0.5), 1)
    levels[np.arange(5), np.arange(1, 6)] = 9
    return Network.from_matrix((levels + levels.T) / 97)


CASES = [
    (method(PublicFactors(), rounding="nearest"), FULL, NETWORK, 0),
    (method(LinkFactors()), FULL, NETWORK, 2**63 + 2**31),
    (method(LinkFactors(3, 3), delta=0.3), Quadratic.random(2, 1, seed=1), Network.path(2), 1),
    (method(CoordinateFactors(2, 5)), DIAGONAL, Network.star(5), 2**64 - 1),
    (
        method(PublicFactors(), delta=0.01),
        SensorEstimation.random(6, 3, 4, seed=1, noise=0.3),
        odd_network(),
        2**32,
    ),
    (
        method(LinkFactors(), rounding="nearest"),
        breast_cancer(5, split="dirichlet"),
        Network.complete(5),
        2**32 - 1,
    ),
]


@pytest.mark.parametrize(("algorithm", "problem", "network", "seed"), CASES)
def test_what_was_simulated_is_verified_integer_for_integer(
    algorithm, problem, network, seed
) -> None:
    agents, dim = problem.agents, problem.dim
    result = run(
        algorithm,
        problem,
        network,
        seed=seed,
        iterations=STEPS,
        trace=(0, 6),
        x0=start(agents, dim),
    )
    report = verify(result, encryption=SMALL_KEYS)
    assert report.verified
    assert (report.mismatches, report.first_mismatch, report.disagreements) == (0, None, ())
    assert report.lanes == tuple(Lane("method", r, STEPS, "ok", STEPS) for r in (0, 6))
    assert report.iterations == 2 * STEPS
    # A level, a sum and a state.
    assert report.integers_compared == 2 * STEPS * 3 * agents * dim
    links = len(network.edges)
    # There and back over each link, by both ends.
    assert report.messages == 2 * STEPS * 4 * links
    # n² of 256 bits takes 64 bytes.
    ciphertexts = report.packing["method"]["ciphertexts_a_message"]
    assert report.ciphertext_bytes == report.messages * 64 * ciphertexts
    bits = (2 * (2**28 + 1) * algorithm.row_sum(network)).bit_length() + 1
    slots = 254 // (bits + 2)
    per_coordinate = isinstance(algorithm.factors, CoordinateFactors)
    assert report.packing["method"] == {
        "plaintext_bits": bits,
        "guard_bits": 2,
        "slots": slots,
        "ciphertexts_a_message": dim if per_coordinate else -(-dim // slots),
    }
    assert report.encryption["insecure_test_keys"] is True
    assert (report.encryption["key_bits"], report.encryption["backend"]) == (256, "fast")
    assert (report.resumed, report.stopped) == (0, ())
    distance = report.increments["method"]
    assert distance["increments"] == 2 * STEPS * agents * dim
    assert distance["median_ulp"] < 20


def test_several_methods_of_one_result() -> None:
    methods = {
        "private": method(CoordinateFactors(1, 4), delta=0.5),
        "plain": ConventionalDSGD(STEPSIZE),
        "nearest": method(rounding="nearest"),
    }
    result = simulate(
        methods, FULL, NETWORK, runs=4, iterations=STEPS, points=2, trace=(3, 1), metrics=()
    )
    report = verify(result, encryption=SMALL_KEYS)
    assert report.verified
    assert [(lane.method, lane.run) for lane in report.lanes] == [
        ("private", 1), ("private", 3), ("nearest", 1), ("nearest", 3),
    ]  # fmt: skip
    assert report.integers_compared == 4 * STEPS * 3 * 5 * 2
    assert sorted(report.packing) == sorted(report.increments) == ["nearest", "private"]
    only = verify(result, encryption=SMALL_KEYS, runs=(3,), iterations=5)
    assert only.verified
    assert [(lane.method, lane.run, lane.iterations) for lane in only.lanes] == [
        ("private", 3, 5), ("nearest", 3, 5),
    ]  # fmt: skip
    assert only.iterations == 10


@pytest.fixture(scope="module")
def real() -> Result:
    """A result with private factors, in which every number matters from the start."""
    return private(2**40 + 9)


def private(seed: int) -> Result:
    settings: dict[str, Any] = {"seed": seed, "iterations": STEPS, "trace": (1, 4)}
    return run(method(LinkFactors(2, 9)), SQUARE, LOOP, x0=start(4, 2), **settings)


LOOP = Network.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)])
SQUARE = Quadratic.random(4, 2, seed=1, noise=0.3)
INTEGERS = 2 * STEPS * 3 * 4 * 2


@pytest.mark.parametrize("name", ["phe", "full", "processes"])
def test_another_backend_randomness_or_fanout_finds_the_same(name: str, real: Result) -> None:
    expected = lasting(verify(real, encryption=SMALL_KEYS))
    other, fanout = SMALL_KEYS, Processes(1)
    if name == "phe":
        other = dataclasses.replace(SMALL_KEYS, name="phe")
    elif name == "full":
        other = dataclasses.replace(SMALL_KEYS, randomness="full")
    else:
        fanout = Processes(2)
    report = verify(real, encryption=other, segment=3, fanout=fanout)
    found = lasting(report)
    assert found.pop("encryption") == other.describe()
    expected.pop("encryption")
    if name == "phe":
        # Without packing every coordinate takes a ciphertext.
        assert report.packing["method"]["slots"] == 1
        assert found["ciphertext_bytes"] == 2 * expected.pop("ciphertext_bytes")
        for entry in ("packing", "ciphertext_bytes"):
            found.pop(entry)
        expected.pop("packing")
    assert found == expected
    assert found["verified"]
    assert report.fanout["workers"] == (2 if name == "processes" else 1)


def test_the_workers_of_a_cluster_find_the_same(real: Result) -> None:
    from distributed import LocalCluster

    quiet: Any = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    chosen = {"n_workers": 2, "threads_per_worker": 1, "protocol": "tcp://"}
    with LocalCluster(**quiet, **chosen) as cluster:
        fanout = Cluster(str(cluster.scheduler_address))  # pyright: ignore[reportAttributeAccessIssue]
        report = verify(real, encryption=SMALL_KEYS, segment=4, fanout=fanout)
    assert lasting(report) == lasting(verify(real, encryption=SMALL_KEYS))
    assert report.verified
    assert (report.fanout["kind"], report.fanout["workers"]) == ("dask", 2)


@pytest.mark.parametrize("segment", [1, 4, STEPS, 7])
def test_parts_of_any_length_make_the_same_report(segment: int, real: Result) -> None:
    report = verify(real, encryption=SMALL_KEYS, segment=segment)
    assert lasting(report) == lasting(verify(real, encryption=SMALL_KEYS))
    # Each part announces its keys anew.
    parts = 2 * -(-STEPS // segment)
    assert (
        report.key_bytes
        == parts * verify(real, encryption=SMALL_KEYS, runs=(1,), iterations=1).key_bytes
    )


def test_progress_adds_up(real: Result) -> None:
    told: list[tuple[str, int, int]] = []
    verify(real, encryption=SMALL_KEYS, segment=4, progress=lambda *news: told.append(news))
    assert {(name, total) for name, _, total in told} == {("method", 2 * STEPS)}
    assert [done for _, done, _ in told if done] == [4, 2, 4, 2]


# Changed results


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
@settings(max_examples=50, derandomize=True, deadline=None)
def test_one_changed_unit_is_found_and_named(real: Result, data: Any, segment: int) -> None:
    original = traces_of(real)["method"]
    change = data.draw(changes(original))
    changed = original.copy(deep=True)
    change.apply(changed)
    report = verify_traces(real.simulation, {"method": changed}, QUICK, segment=segment)
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


def test_the_oracle_of_these_tests_agrees_with_what_is_sound(real: Result) -> None:
    trace = traces_of(real)["method"]
    assert by_the_oracle(trace, 3) == Expected(None, 0)
    assert verify_traces(real.simulation, {"method": trace}, SMALL_KEYS, segment=3).verified


EVERYWHERE = [
    *((name, lane) for name in ARRAYS for lane in (0, 1)),
    *((name, None) for name in ("gain", "increment_scale", "coupling")),
]


@pytest.mark.parametrize(("name", "lane"), EVERYWHERE)
def test_the_last_number_counts_as_well(name: str, lane: int | None, real: Result) -> None:
    """No end of an array is left out, of no lane."""
    trace = traces_of(real)["method"].copy(deep=True)
    values = trace[name].values
    place = tuple(size - 1 for size in values.shape)
    values[place if lane is None else (lane, *place[1:])] += 1
    assert not verify_traces(real.simulation, {"method": trace}, SMALL_KEYS).verified


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
def test_every_setting_counts(name: str, value: Any, real: Result) -> None:
    trace = traces_of(real)["method"].copy(deep=True)
    assert set(trace.attrs) == {name for name, _ in ATTRIBUTES}
    expected, trace.attrs[name] = trace.attrs[name], value
    report = verify_traces(real.simulation, {"method": trace}, QUICK)
    assert not report.verified
    [found] = report.disagreements
    assert (found.name, found.expected, found.got) == (name, expected, value)


def test_parties_that_round_otherwise_are_found_out(monkeypatch, real: Result) -> None:
    """Nothing but the replay notices this: the trace is sound."""

    def nearest(coupling: Any, dim: int, seed: int, rounding: str, *others: Any) -> Any:
        assert rounding == "stochastic"
        return protocol_for(coupling, dim, seed, "nearest", *others)

    trace = real.traces["method"]
    monkeypatch.setattr(verification, "protocol_for", nearest)
    report = verify(real, encryption=SMALL_KEYS)
    assert not report.verified
    assert report.disagreements == ()
    rounded = (trace.state[:, :-1] + 2**31) >> 32
    lane, k, agent, coordinate = np.argwhere(rounded != trace.level)[0].tolist()
    assert k == 0  # since x_0 is between levels
    place = int(trace.run[lane]), k, "level", agent, coordinate
    levels = (int(grid[lane, k, agent, coordinate]) for grid in (trace.level, rounded))
    assert report.first_mismatch == Mismatch("method", *place, *levels)


def test_a_trace_of_another_simulation_does_not_belong(real: Result) -> None:
    other = private(2**40 + 8)
    report = verify_traces(real.simulation, traces_of(other), SMALL_KEYS)
    # It is sound in itself.
    assert report.mismatches == 0
    assert not report.verified
    assert [str(found) for found in report.disagreements] == [
        f"method: seed is '{2**40 + 8}', expected '{2**40 + 9}'"
    ]
    longer = dataclasses.replace(real.simulation, iterations=STEPS + 1)
    report = verify_traces(longer, traces_of(real), SMALL_KEYS)
    assert not report.verified
    assert {found.name for found in report.disagreements} == {
        "shape of gain", "shape of increment_scale",
    }  # fmt: skip
    unknown = dataclasses.replace(real.simulation, algorithms={"other": ENCRYPTED})
    with pytest.raises(InputError, match=r"^trace = 'method': .*on the lattice \(other\)"):
        verify_traces(unknown, traces_of(real), SMALL_KEYS)


# Lanes that failed


@pytest.mark.parametrize(
    ("value", "status"), [(np.nan, "non-finite"), (1e20, "left the range"), (3e7, "left the range")]
)
def test_a_failed_lane_is_replayed_up_to_its_failure(value, status) -> None:
    result = run(ENCRYPTED, failing(3, 12, value), iterations=20, trace=(2, 3))
    defined = int(np.argmax((abs(result.traces["method"].state[1]) > 2**60).any(axis=(1, 2))))
    # The update at time 12 is that of iteration 11; only the last value takes longer.
    assert defined >= 13 if value == 3e7 else defined == 12
    for segment in (5, 250):
        report = verify(result, encryption=QUICK, segment=segment)
        assert report.verified
        one, other = Lane("method", 2, 20, "ok", 20), Lane("method", 3, defined, status, 20)
        assert report.lanes == (one, other)
        assert report.iterations == 20 + defined
        assert report.integers_compared == (20 + defined) * 3 * 10
    short = verify(result, encryption=SMALL_KEYS, runs=(3,), iterations=4)
    assert short.lanes == (Lane("method", 3, 4, status, 20),)


def test_a_lane_that_failed_at_once_is_replayed_too() -> None:
    result = run(ENCRYPTED, failing(3, 1, np.nan), iterations=4, trace=(2, 3))
    report = verify(result, encryption=SMALL_KEYS)
    assert report.lanes == (Lane("method", 2, 4, "ok", 4), Lane("method", 3, 1, "non-finite", 4))
    assert report.verified
    assert verify(result, encryption=SMALL_KEYS, runs=(3,)).integers_compared == 30


@pytest.mark.parametrize("name", ["trace_level", "trace_sum", "trace_state", "trace_increment"])
def test_of_the_failing_iteration_all_that_is_defined_is_compared(name: str, failed) -> None:
    trace = traces_of(failed)["method"].copy(deep=True)
    moment = 6 if name == "trace_state" else 5
    sound = np.argwhere(abs(trace.trace_state.values[1, 6]) <= 2**60)
    assert 0 < len(sound) < 10
    trace[name].values[1, moment, *sound[-1]] += 1
    report = verify_traces(failed.simulation, {"method": trace}, QUICK)
    found = report.first_mismatch
    assert not report.verified
    assert found is not None
    assert (found.lane, found.iteration, found.agent, found.coordinate) == (3, 5, *sound[-1])


@pytest.fixture(scope="module")
def failed() -> Result:
    """Run 3 fails in iteration 5."""
    return run(ENCRYPTED, failing(3, 6, np.nan), iterations=10, trace=(2, 3))


@pytest.mark.parametrize(
    ("lane", "moment", "word"),
    [
        *itertools.product((0, 1), (1,), (2**60 + 1, -(2**61), -(2**63))),
        (0, 7, -(2**62)),
        (1, 9, 2**63 - 1),
        # A failure in the last iteration, by a lane that is said to be sound.
        (0, 10, -(2**61)),
    ],
)
def test_a_state_beyond_the_range_is_no_way_out(
    moment: int, word: int, lane: int, failed: Result
) -> None:
    """Neither of a sound lane nor, before it failed, of one that did: nothing goes unseen."""
    result = failed
    trace = traces_of(result)["method"].copy(deep=True)
    trace.trace_state.values[lane, moment, 4, 1] = word
    for segment in (2, 20):
        report = verify_traces(result.simulation, {"method": trace}, QUICK, segment=segment)
        assert not report.verified
        name = "status" if moment == 10 else "trace_state"
        assert name in {found.name for found in report.disagreements}


def test_after_a_mismatch_a_level_may_leave_the_range(real: Result) -> None:
    trace = traces_of(real)["method"].copy(deep=True)
    trace.trace_increment.values[1, 2, 3, 0] = -(2**61)
    report = verify_traces(real.simulation, {"method": trace}, SMALL_KEYS)
    assert not report.verified
    assert report.iterations == STEPS + 3
    found = report.first_mismatch
    assert found is not None
    assert (found.lane, found.iteration, found.quantity, found.agent) == (4, 2, "state", 3)
    [reason] = report.stopped
    assert "agent 3, iteration 3" in reason


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"runs": (0,)}, r"runs = 0: expected traced runs \(1, 4\)"),
        ({"runs": ()}, r"runs = \(\): expected at least one"),
        ({"runs": (1, 7)}, r"runs = 7: "),
        ({"iterations": 0}, r"iterations = 0: expected an integer of at least 1"),
        ({"iterations": STEPS + 1}, r"iterations = 7: expected at most the 6 iterations"),
        ({"iterations": True}, r"iterations = True: "),
        ({"segment": 0}, r"segment = 0: "),
        ({"segment": True}, r"segment = True: "),
        ({"encryption": Encryption(key_bits=96, insecure_test_keys=True)}, None),
    ],
)
def test_bad_arguments_are_one_line(arguments, expected, real: Result) -> None:
    if expected is None:
        # Keys that hold one slot of this method suffice.
        assert verify(real, **arguments).packing["method"]["slots"] == 2
        return
    with pytest.raises(InputError, match=f"^{expected}") as error:
        verify(real, **{"encryption": SMALL_KEYS, **arguments})
    assert len(str(error.value).splitlines()) == 1


def test_keys_too_short_for_a_slot_are_refused() -> None:
    result = run(method(LinkFactors(1, 2**14)), iterations=2, trace=(0,))
    short = Encryption(key_bits=64 + 32, insecure_test_keys=True)
    assert verify(result, encryption=short).packing["method"]["slots"] == 1
    with pytest.raises(InputError, match=r"^key_bits = "):
        Encryption(key_bits=64, insecure_test_keys=True)


def test_without_a_trace_there_is_nothing_to_verify() -> None:
    for result in (run(iterations=2), run(ConventionalDSGD(STEPSIZE), iterations=2, trace=(0,))):
        with pytest.raises(InputError, match="one with traced runs of a method on the lattice"):
            verify(result, encryption=SMALL_KEYS)


def test_the_report_is_plain_data(real: Result) -> None:
    report = verify(real, encryption=SMALL_KEYS)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert next(iter(plain)) == "verified"
    assert plain["verified"] is True
    assert plain["lanes"][1] == {
        "method": "method",
        "run": 4,
        "iterations": STEPS,
        "status": "ok",
        "recorded": STEPS,
    }
