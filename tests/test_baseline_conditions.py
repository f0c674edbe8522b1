"""Which conditions of the baselines hold, and what they refuse."""

import math

import numpy as np
import pytest
from baselines import FUNCTION, GEOMETRIC, STATE, TAILORED, TERNARY
from common import FULL, NETWORK

from dpe_jax.algorithms import (
    Algorithm,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.conditions import violated
from dpe_jax.errors import InputError
from dpe_jax.schedules import OptaxSchedule, PowerGrowth, PowerLaw
from dpe_jax.study import simulate


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (TERNARY, set()),
        (
            TernaryDSGD(PowerLaw(1.0, 1.0), PowerLaw(1.0, 1.0), 1.0),
            {"stepsize against attenuation"},
        ),
        (TernaryDSGD(PowerLaw(1.0, 0.9), 0.1, 1.0), {"attenuation squares"}),
        (FUNCTION, set()),
        (FunctionSharing(0.1, 1.0), {"stepsize squares"}),
        (STATE, set()),
        (RandomizedStateSharing(PowerLaw(1.0, 1.5), 1.0), {"stepsize sum"}),
        (GEOMETRIC, {"stepsize sum"}),
        (TAILORED, {"noise against attenuation"}),
        (TailoredDP(PowerLaw(1.0, 0.9), PowerLaw(1.0, 0.6), PowerGrowth(1.0, 0.05), 1.0), set()),
        (
            TailoredDP(PowerLaw(1.0, 0.9), PowerLaw(1.0, 0.6), lambda k: (k + 1.0) ** 0.05, 1.0),
            set(),
        ),
        (
            TailoredDP(PowerLaw(1.0, 1.1), PowerLaw(1.0, 1.1), 1.0, 1.0),
            {"attenuation sum", "stepsize sum"},
        ),
        (
            TailoredDP(PowerLaw(1.0, 0.8), PowerLaw(1.0, 0.6), 1.0, 1.0),
            {"stepsize against attenuation"},
        ),
    ],
)
def test_conditions_name_what_does_not_hold(method: Algorithm, names: set[str]) -> None:
    assert {condition.name for condition in violated(method.conditions(NETWORK))} == names


def test_power_growth() -> None:
    schedule = PowerGrowth(0.3, 0.2, 2.0)
    k = np.array([0, 1, 1023, 1024, 10**9])
    expected = [0.3 * math.pow(i + 2.0, 0.2) for i in k.tolist()]
    np.testing.assert_allclose(schedule.values(k), expected, rtol=1e-14)
    assert schedule.decay_exponent() == -0.2
    assert OptaxSchedule(lambda i: (i + 1.0) ** 0.2).decay_exponent() == pytest.approx(-0.2)
    assert schedule.exact
    assert schedule.describe() == "0.3 (k+2)^0.2"
    refused = [((0.0, 0.2), "scale"), ((1.0, -0.1), "exponent"), ((1.0, 0.1, 0.0), "offset")]
    for arguments, name in refused:
        with pytest.raises(InputError, match=name):
            PowerGrowth(*arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TernaryDSGD(0.1, 0.1, 0.0), "range = 0"),
        (lambda: TernaryDSGD(0.1, 0.1, math.inf), "range = inf"),
        (lambda: FunctionSharing(0.1, -1.0), "scale = -1"),
        (lambda: RandomizedStateSharing(0.1, math.nan), "scale = nan"),
        (lambda: GeometricDP(0.1, 0.9, 1.0, 0.9, 1.0, 1.0), "q = 0.9: expected a number below p"),
        (lambda: GeometricDP(0.1, 0.9, 1.0, 1.0, 1.0, 1.0), "p = 1.0: expected a number below 1"),
        (lambda: GeometricDP(0.1, 0.8, 0.0, 0.9, 1.0, 1.0), "M = 0"),
        (lambda: GeometricDP(0.1, 0.8, 1.0, 0.9, -2.0, 1.0), "radius = -2"),
        (lambda: TailoredDP(0.1, 0.1, 0.1, 0.0), "gradient_bound = 0"),
        (
            lambda: simulate(TERNARY, FULL, NETWORK, runs=1, iterations=1, x0=np.full(2, 6.6)),
            "x0 = .*magnitude at most range = 6.5",
        ),
        (
            lambda: simulate(GEOMETRIC, FULL, NETWORK, runs=1, iterations=1, x0=np.full(2, 1.2)),
            "x0 = .*magnitude at most radius = 1.1",
        ),
        (
            lambda: simulate(
                TailoredDP(0.1, 0.1, lambda k: 0.0 * k, 1.0), FULL, NETWORK, runs=1, iterations=1
            ),
            "noise = 0.0: expected a number above 0 at every k",
        ),
        *(
            (
                lambda method=method: simulate(
                    method, FULL, NETWORK.scaled(3.0), runs=1, iterations=1
                ),
                "network.weights = .*doubly stochastic",
            )
            for method in (FUNCTION, STATE, GEOMETRIC)
        ),
    ],
)
def test_what_cannot_run_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
