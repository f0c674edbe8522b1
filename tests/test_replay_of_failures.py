"""Traces of lanes that failed are replayed as far as they are defined, and nothing goes unseen."""

import itertools

import numpy as np
import pytest
from common import ENCRYPTED, run
from faulty import failing
from verifying import QUICK, SMALL_KEYS, STEPS, real, traces_of

from dpe_jax.study import Result
from dpe_jax.verification import Lane, verify, verify_traces

pytestmark = pytest.mark.usefixtures("same_keys")


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


def test_after_a_mismatch_a_level_may_leave_the_range() -> None:
    trace = traces_of(real())["method"].copy(deep=True)
    trace.trace_increment.values[1, 2, 3, 0] = -(2**61)
    report = verify_traces(real().simulation, {"method": trace}, SMALL_KEYS)
    assert not report.verified
    assert report.iterations == STEPS + 3
    found = report.first_mismatch
    assert found is not None
    assert (found.lane, found.iteration, found.quantity, found.agent) == (4, 2, "state", 3)
    [reason] = report.stopped
    assert "agent 3, iteration 3" in reason
