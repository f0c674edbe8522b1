"""Simulations as a whole: failing lanes, compilation, progress, and what is refused."""

from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from common import ENCRYPTED, FULL, GAMMA, ITERATIONS, NETWORK, STEPSIZE, compilations, finals, run
from faulty import failing

from dpe_jax import study as module
from dpe_jax.algorithms import CentralizedSGD, ConventionalDSGD, EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.network import Network
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.schedules import OptaxSchedule, PowerLaw
from dpe_jax.simulation import ConditionWarning, Simulation
from dpe_jax.study import Study

# Lanes that fail

METRICS_OF_A_FAILURE = ("gap_agents", "error_worst_agent", "quantization_error")


@pytest.fixture(scope="module", params=["encrypted", "conventional"])
def method(request):
    algorithm = ENCRYPTED if request.param == "encrypted" else ConventionalDSGD(STEPSIZE)
    settings = {"runs": 40, "points": 31, "spacing": "linear", "metrics": METRICS_OF_A_FAILURE}
    settings["trace"] = (2, 4) if request.param == "encrypted" else ()
    undisturbed = run(algorithm, failing(99, 0, 0.0), **settings)
    return request.param, algorithm, settings, undisturbed


@pytest.mark.parametrize(
    ("value", "status"), [(np.nan, 2), (np.inf, 2), (-np.inf, 2), (1e20, 1), (3e7, 1)]
)
def test_a_failed_lane_is_noted_and_harms_no_other(method, value, status) -> None:
    name, algorithm, settings, undisturbed = method
    result = run(algorithm, failing(3, 23, value), **settings)
    others = np.arange(40) != 3
    if name == "conventional" and value == 3e7:
        # Within the range of a float state: large, but sound.
        assert np.all(result.curves.status.values == 0)
        assert np.all(np.isfinite(finals(result)))
        assert np.abs(finals(result)[..., 3]).max() > 1e5
        np.testing.assert_array_equal(finals(result)[..., others], finals(undisturbed)[..., others])
        return
    expected = np.where(others, 0, status)
    assert result.curves.status.values[0].tolist() == expected.tolist()
    failed = int(result.curves.failed_at.values[0, 3])
    record = result.curves.iteration.values
    if value == 3e7:
        # No increment is too large: the state leaves its range step by step.
        assert failed > 23
        assert failed in record
    else:
        # The update at time 23 fails, so the first record point from there on sees it.
        assert failed == record[record >= 23][0]
    assert np.all(result.curves.failed_at.values[0, others] == -1)
    for metric in METRICS_OF_A_FAILURE:
        values, calm = result.curves[metric], undisturbed.curves[metric]
        np.testing.assert_array_equal(values.values[..., others], calm.values[..., others])
        assert np.all(np.isfinite(values.values[..., others]))
        lost = values.sel(run=3, iteration=record[record >= failed])
        assert np.all(np.isnan(lost.values))
        kept = values.sel(run=3, iteration=record[record < failed])
        assert np.all(np.isfinite(kept.values))
    np.testing.assert_array_equal(finals(result)[..., others], finals(undisturbed)[..., others])
    assert np.all(np.isnan(finals(result)[..., 3]))
    if settings["trace"]:
        for mine, theirs in zip(result.traces["method"], undisturbed.traces["method"], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_centralized_lane_fails_alone_too() -> None:
    algorithm = CentralizedSGD(STEPSIZE)
    result = run(algorithm, failing(3, 23, np.nan))
    calm = run(algorithm, failing(99, 0, 0.0))
    assert result.curves.status.values[0].tolist() == [0, 0, 0, 2, 0, 0, 0]
    others = np.arange(7) != 3
    np.testing.assert_array_equal(finals(result)[..., others], finals(calm)[..., others])


# Compilation


def test_a_second_simulation_compiles_nothing(caplog) -> None:
    # A setting that no other test uses.
    problem = Quadratic.random(3, 1, seed=8, noise=0.123)
    network = Network.path(3)

    def call(network: Network = network, **settings: Any):
        chosen: dict[str, Any] = {"runs": 20} | settings
        return lambda: run(problem=problem, network=network, **chosen)

    assert compilations(caplog, call()) >= 1
    for same in [
        {},
        {"seed": 5},
        {"runs": 31},
        {"runs": 64, "block": 32},
        {"iterations": ITERATIONS - 20},
        {"x0": np.ones((3, 1))},
        {"network": Network.path(3, weights=[[0, 0.3, 0], [0.3, 0, 0.1], [0, 0.1, 0]])},
    ]:
        assert compilations(caplog, call(**same)) == 0, same
    # What changes the program is seen by the same count.
    assert compilations(caplog, call(runs=33)) >= 1


# Progress and refusals


def test_progress_adds_up_to_the_total() -> None:
    told: list[tuple[str, int, int]] = []
    run(runs=50, block=16, points=20, progress=lambda *told_now: told.append(told_now))
    assert {(name, total) for name, _, total in told} == {("method", 50 * ITERATIONS)}
    assert sum(done for _, done, _ in told) == 50 * ITERATIONS
    assert len(told) >= 4


def test_a_violated_condition_is_a_warning() -> None:
    stalls = EncryptedDSGD(PowerLaw(1.0, 1.0), PowerLaw(1.0, 1.0))
    with pytest.warns(ConditionWarning, match=r"method: Σ \(λ̄\^k\)²/γ\^k < ∞"):
        run(stalls, iterations=3)


def unchecked(kind: type, **fields: Any) -> Any:
    """An object of a class, its fields set past the checks of annotations that tests install."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def simulation(**settings: Any) -> Simulation:
    chosen: dict[str, Any] = {"problem": FULL, "network": NETWORK, "runs": 7, "iterations": 9}
    made = unchecked(Simulation, **({"algorithms": {"method": ENCRYPTED}} | chosen | settings))
    made.__post_init__()
    return made


REFUSALS = [
    ("algorithms", {"algorithms": {}}),
    *(("runs", {"runs": value}) for value in (0, -1, True, 1.5, 2**32 + 1)),
    *(("iterations", {"iterations": value}) for value in (0, 2.0, 2**32 - 1)),
    *(("points", {"points": value}) for value in (1, 0, False)),
    *(("seed", {"seed": value}) for value in (-1, 2**64, 0.5)),
    ("precision", {"precision": "float16"}),
    *(("block", {"block": value}) for value in (0, -3, 2.5)),
    *(("trace", {"trace": value}) for value in ((7,), (-1,), (1, 1), (0.5,))),
    ("network", {"network": Network.ring(4)}),
    ("metrics", {"metrics": ("gap_mean_state", "speed")}),
    *(("x0", {"x0": np.zeros(shape)}) for shape in ((3,), (5, 3), (1, 5, 2))),
    *(("x0", {"x0": np.full(2, value)}) for value in (np.nan, np.inf, 1e9)),
    *(
        ("x0", {"x0": np.full(2, value), "algorithms": {"method": CentralizedSGD(STEPSIZE)}})
        for value in (np.nan, np.inf)
    ),
    ("gamma", {"algorithms": {"method": EncryptedDSGD(PowerLaw(4.0, 0.6), STEPSIZE)}}),
    ("means", {"algorithms": {"method": EncryptedDSGD(GAMMA, STEPSIZE, means=(1.0, 1.0))}}),
    (
        "network.weights",
        {
            "algorithms": {"method": ConventionalDSGD(STEPSIZE)},
            "network": Network.complete(5, weights=0.9 * (np.ones((5, 5)) - np.eye(5))),
        },
    ),
]


@pytest.mark.parametrize(("named", "settings"), REFUSALS, ids=lambda v: str(v)[:60])
def test_refusals_name_the_argument(named, settings) -> None:
    with pytest.raises(InputError) as caught:
        simulation(**settings)
    assert str(caught.value).startswith(f"{named} = ")
    assert "\n" not in str(caught.value)
    assert caught.value.argument == named


@pytest.mark.parametrize(
    ("named", "settings"),
    [
        *(("delta", {"delta": value}) for value in (0.0, -1.0, float("nan"), float("inf"))),
        ("means", {"means": (1.0, -1.0)}),
        ("means", {"means": (1.0, float("inf"))}),
        ("rounding", {"rounding": "up"}),
        ("factors", {"factors": "link"}),
    ],
)
def test_the_method_refuses(named, settings) -> None:
    method = unchecked(EncryptedDSGD, gamma=GAMMA, stepsize=STEPSIZE, **settings)
    with pytest.raises(InputError, match=f"^{named} = "):
        method.__check_init__()


def test_accepted_settings_are_not_refused() -> None:
    settings: dict[str, Any] = {"trace": (6, 0), "block": 100, "seed": 2**64 - 1, "points": 2}
    accepted = Simulation({"method": ENCRYPTED}, FULL, NETWORK, 7, 9, x0=np.ones(2), **settings)
    assert Study((accepted,)).block_lanes == 7
    assert accepted.start.tolist() == [[1.0, 1.0]] * 5
    assert accepted.record.tolist() == [0, 9]
    bits = accepted.headroom()["plaintext_bits"]["method"]
    assert 2 * 2**28 * int(NETWORK.coupling.sum(1).max()) < 2 ** (bits - 1)


def test_a_coarse_denominator_is_measured_and_warned_of() -> None:
    fine = Simulation({"method": ENCRYPTED}, FULL, NETWORK, 1, 1000)
    gamma = ENCRYPTED.gamma.values(np.arange(1000))
    exact = [Fraction(value) for value in gamma.tolist()]
    for denominator in (NETWORK.denominator, 2**28):
        levels = NETWORK.coupling * (denominator // NETWORK.denominator)
        network = Network(levels, denominator - denominator % NETWORK.denominator, 0.0, "coarse")
        expected = max(
            abs(round(2**32 * value / network.denominator) * network.denominator / 2**32 - value)
            / value
            for value in exact
        )
        measured = ENCRYPTED.gain_rounding(network, np.arange(1000))
        assert measured == pytest.approx(float(expected), rel=1e-6)
    coarse = Simulation({"method": ENCRYPTED}, FULL, network, 1, 1000)
    assert coarse.headroom()["gain_rounding"]["method"] > 0.01
    with pytest.warns(ConditionWarning, match=r"Γ\^k is up to"):
        coarse.warn()
    fine.warn()


def test_an_attenuation_beyond_int64_is_refused() -> None:
    method = EncryptedDSGD(PowerLaw(1e30, 0.6), STEPSIZE)
    with pytest.raises(InputError, match=r"^gamma = 1e\+30: expected below"):
        Simulation({"method": method}, FULL, NETWORK, 1, 10)


@pytest.mark.filterwarnings("ignore::dpe_jax.simulation.ConditionWarning")
def test_a_schedule_need_not_go_on_after_the_run() -> None:
    ending = OptaxSchedule(lambda k: 0.5 * (1 - k / ITERATIONS))
    result = run(EncryptedDSGD(GAMMA, ending), points=20)
    assert np.all(result.curves.status.values == 0)


def test_a_number_is_a_constant_schedule_and_a_function_an_optax_one() -> None:
    method = EncryptedDSGD(gamma=0.5, stepsize=lambda k: 0.5 / (k + 1.0))
    assert isinstance(method.gamma, PowerLaw)
    assert isinstance(method.stepsize, OptaxSchedule)
    assert ConventionalDSGD(0.25).stepsize.values(np.arange(3)).tolist() == [0.25] * 3


def test_one_processor_still_has_small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(module, "processors", lambda: 1)
    large = Study((Simulation({"method": ENCRYPTED}, FULL, NETWORK, 1_000_000, 9),))
    assert len(large.devices) == 1
    assert large.block_lanes * FULL.agents * FULL.dim <= 2**17


def test_a_traced_run_that_fails_is_marked() -> None:
    # Far too large a stepsize: every run leaves the range.
    wild = EncryptedDSGD(GAMMA, PowerLaw(1e6, 0.1))
    with pytest.warns(ConditionWarning):
        result = module.simulate(
            {"wild": wild, "tame": ENCRYPTED}, FULL, NETWORK, runs=4, iterations=50, trace=(1, 3)
        )
    traces = result.traces
    assert np.all(traces["wild"].status != 0)
    assert np.all(traces["tame"].status == 0)
    states = traces["wild"].state.reshape(2, 51, -1)
    dead = np.abs(states.astype(object)).max(axis=2) > 2**60
    # Sound at first, beyond the range from some moment on.
    assert not dead[:, 0].any()
    assert dead[:, -1].all()
    assert np.all(np.diff(dead.astype(int), axis=1) >= 0)


def test_progress_is_told_by_one_thread_at_a_time() -> None:
    inside, overlaps = [0], [0]

    def slow(*_: object) -> None:
        inside[0] += 1
        overlaps[0] += inside[0] > 1
        sum(range(20_000))
        inside[0] -= 1

    run(runs=160, block=16, points=20, progress=slow)
    assert overlaps == [0]


def test_an_attenuation_that_overflows_late_is_refused_when_it_comes() -> None:
    def spike(k):
        return 1e-9 + jnp.where(k == 1_500_001, 1e4, 0.0)

    method = EncryptedDSGD(OptaxSchedule(spike), STEPSIZE)
    rows = np.array([1_500_000, 1_500_001])
    with pytest.raises(InputError, match=r"^gamma = 10000.0.*: expected below"):
        method.table(NETWORK, rows)
    method.table(NETWORK, rows[:1])


@pytest.mark.parametrize("delta", [1e-300, 1e300, 0.0, -1.0, float("nan"), "a"])
def test_a_delta_out_of_reach_is_refused(delta) -> None:
    made = unchecked(EncryptedDSGD, gamma=GAMMA, stepsize=STEPSIZE, delta=delta)
    with pytest.raises(InputError, match=r"^delta = "):
        made.__check_init__()


def test_means_may_be_an_array_and_must_be_positive() -> None:
    assert EncryptedDSGD(GAMMA, STEPSIZE, means=np.array([1, 2.5])).means == (1.0, 2.5)
    with pytest.raises(InputError, match=r"^means = "):
        EncryptedDSGD(GAMMA, STEPSIZE, means=(1.0, 0.0))
