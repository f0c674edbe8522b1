"""Numbers with which a problem cannot be made are refused by the name that a user gave them."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused_config, refused_key

from dpe_jax.errors import InputError
from dpe_jax.problems import (
    EmpiricalRisk,
    Quadratic,
    SensorEstimation,
    breast_cancer,
    diabetes,
    digits,
    digits_network,
    fraud,
)
from dpe_jax.problems.split import hold_out, standardised

PLACES = [[0.1, 0.2], [0.5, 0.5], [0.9, 0.9], [0.2, 0.8], [0.8, 0.1]]
PLACED = {"graph": "geometric", "positions": PLACES, "radius": 0.6}
DATA = {
    "diabetes": (diabetes, 442, 10),
    "digits": (digits, 1797, 65),
    "digits-network": (digits_network, 1797, 64),
    "breast-cancer": (breast_cancer, 569, 31),
    "fraud": (fraud, 4000, 21),
}
SENSORS = {"kind": "sensors", "dim": 9, "rows": 1, "seed": 0, "noise": 0.1, "omega": 0.01}
SOURCES = {"kind": "sources", "side": 3, "seed": 0, "noise": 0.1, "omega": 0.01}
BITS = (Fraction(1e-300) / 3).denominator.bit_length()
RANDOM = {"kind": "quadratic", "dim": 2, "seed": 2}


@pytest.mark.parametrize("fraction", [0.9999999, 0.999, 1e-4])
@pytest.mark.parametrize("kind", DATA)
def test_extreme_test_sets_are_refused(
    kind: str, fraction: float, tmp_path: Path, capsys: Any
) -> None:
    changes = {"problem": {"kind": kind, "test_fraction": fraction}}
    line = refused_config(changes, tmp_path, capsys)
    assert line.startswith(f"dpe: problem.test_fraction = {fraction}: expected 0 (no test) or ")
    _, samples, features = DATA[kind]
    found = re.search(r" from (\S+) to (\S+) of the (\d+) samples \(at least (\d+) for", line)
    assert found is not None
    assert (int(found[3]), int(found[4])) == (samples, features)
    assert f"5 agents and {features} features" in line
    assert 0 < float(found[1]) < 0.01 < 0.9 < float(found[2]) < 1


@pytest.mark.parametrize("kind", DATA)
def test_the_bounds_that_are_named_are_those_that_hold(kind: str) -> None:
    make, _, features = DATA[kind]
    with pytest.raises(InputError) as caught:
        make(test_fraction=0.9999)
    low, high = map(float, re.findall(r"from (\S+) to (\S+) of", caught.value.accepted)[0])
    for fraction, sign in ((low, -1), (high, 1)):
        sizes = make(test_fraction=fraction).sizes
        assert sizes.sum() >= features
        with pytest.raises(InputError, match=r"^test_fraction = "):
            make(test_fraction=fraction + sign * 0.001)
    assert np.sum(make(test_fraction=high).sizes) < 1.1 * features + 20


def test_the_training_set_has_a_sample_for_each_agent(tmp_path: Path, capsys: Any) -> None:
    ring = {"graph": "ring", "agents": 400}
    line = refused_config({"problem": {"kind": "diabetes"}, "network": ring}, tmp_path, capsys)
    assert line.startswith("dpe: problem.test_fraction = 0.2: expected 0 (no test) or a share from")
    assert "0.096 of the 442 samples (at least 400 for training, 400 agents" in line
    assert diabetes(400, test_fraction=0.09).agents == 400
    # Where no test set at all would not help, it is the agents that are too many.
    ring["agents"] = 443
    line = refused_config({"problem": {"kind": "diabetes"}, "network": ring}, tmp_path, capsys)
    assert line == "dpe: network.agents = 443: expected between 1 and the 442 samples\n".strip()


def test_held_out_shares_are_those_asked_for() -> None:
    labels = np.repeat([0, 1], [10, 90])
    training, test = hold_out(labels, 0.5, seed=0, agents=50, features=50)
    assert (len(training), len(test), int(labels[test].sum())) == (50, 50, 45)
    with pytest.raises(InputError, match=r"at least 51 for training, 1 agents and 51 features"):
        hold_out(labels, 0.5, seed=0, features=51)
    with pytest.raises(InputError, match=r"^test_fraction = 0.04: .* from 0.051 to 0.949 of the"):
        hold_out(labels, 0.04, seed=0)
    with pytest.raises(InputError, match=r"0 \(no test\): 3 samples are too few for one"):
        hold_out(np.array([0, 1, 1]), 0.5, seed=0)
    assert len(hold_out(np.array([0, 1, 1]), 0.0, seed=0, features=9)[0]) == 3


def test_a_feature_that_does_not_vary_is_refused() -> None:
    features = np.random.default_rng(0).normal(size=(9, 2))
    scaled = standardised(features, np.arange(6), 0.3)
    np.testing.assert_allclose(scaled[:6].mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled[:6].std(0), 1, rtol=1e-14)
    features[:6, 1] = 2.0
    with pytest.raises(InputError, match=r"^test_fraction = 0.3: .*does not vary in 6 training"):
        standardised(features, np.arange(6), 0.3)


BAD: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    ({**SENSORS, "omega": 0}, ("problem.omega", "0.0", "these sensors alone do not identify θ")),
    ({**SOURCES, "omega": 0}, ("problem.omega", "0.0", "these sensors alone do not identify θ")),
    ({**SOURCES, "omega": 1e-300}, ("problem.omega", "1e-300", "a larger number")),
    ({**SENSORS, "omega": 1e300}, ("problem.omega", "1e+300", "from 0 to 1e+30")),
    ({**SOURCES, "disturbance": 1e300}, ("problem.disturbance", "1e+300", "from 0 to 1e+29")),
    ({**SOURCES, "reach": 1e300}, ("problem.reach", "1e+300", "from 1e-06 to 1e+06")),
    ({**SOURCES, "reach": 1e-300}, ("problem.reach", "1e-300", "from 1e-06 to 1e+06")),
    ({**SENSORS, "dim": 10**9}, ("problem.dim", "1000000000", "at most 268435456 numbers")),
    ({**SENSORS, "rows": 10**9}, ("problem.rows", "1000000000", "at most 268435456 numbers")),
    ({**SENSORS, "dim": 10**400}, ("problem.dim", "1000", "at most 268435456 numbers")),
    ({**RANDOM, "curvature": [1, 1e31]}, ("problem.curvature", "1e+31", "up to 1e+29")),
    ({**RANDOM, "spread": 1e31}, ("problem.spread", "1e+31", "from 0 to 1e+29")),
    ({"kind": "diabetes", "batch": 10**9}, ("problem.batch", "1000000000", "at most 1342177:")),
    ({"kind": "digits", "penalty": 1e31}, ("problem.penalty", "1e+31", "from 0 to 1e30")),
    (
        {"kind": "fraud", "samples": 15, "positive": 0.5},
        ("problem.samples", "15", "at least 21, the dimension of x"),
    ),
    ({"kind": "fraud", "samples": 30}, ("problem.positive", "0.02", "both classes of 30 samples")),
]


@pytest.mark.parametrize(("problem", "expected"), BAD, ids=lambda value: str(value)[:50])
def test_a_bad_number_is_refused_by_its_own_name(
    problem: dict[str, Any], expected: tuple[str, str, str], tmp_path: Path, capsys: Any
) -> None:
    changes = {"problem": problem, "network": PLACED}
    line = refused_key(changes, expected, tmp_path, capsys)
    assert line.startswith(f"dpe: {expected[0]} = ")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (
            {"graph": "ring", "agents": 2, "weights": [[0.0, 1e-9], [1e-9, 0.0]]},
            ("network.max_denominator", "rounds to 0, at least 500000000"),
        ),
        (
            {"graph": "ring", "agents": 5, "scale": 1e-300},
            ("network.scale", f"denominator (of {BITS} bits) up to 2**31"),
        ),
    ],
)
def test_a_bad_weight_is_refused_by_its_own_name(
    network: dict[str, Any], expected: tuple[str, str], tmp_path: Path, capsys: Any
) -> None:
    line = refused_config({"network": network}, tmp_path, capsys)
    assert line.startswith(f"dpe: {expected[0]} = ")
    assert expected[1] in line
    assert len(line) < 200


def test_sensors_of_ones_own_are_refused_by_omega() -> None:
    M, z = np.ones((2, 1, 2)), np.zeros((2, 1))
    with pytest.raises(InputError, match=r"^omega = 0.0: expected a larger number"):
        SensorEstimation(M, z, np.zeros(2))
    with pytest.raises(InputError, match=r"^omega = \[0.0, 1e-20\]"):
        SensorEstimation(M, z, np.array([0.0, 1e-20]))
    for changed in ({"M": 1e31 * M}, {"z": z + 1e31}, {"omega": np.full(2, 1e31)}):
        fields: dict[str, Any] = {"M": M, "z": z, "omega": np.ones(2)} | changed
        with pytest.raises(InputError, match=f"^{next(iter(changed))} = "):
            SensorEstimation(**fields)


def test_numbers_at_their_bounds_are_taken() -> None:
    assert np.isfinite(Quadratic.random(3, 2, seed=0, curvature=(1.0, 1e29)).solve().x).all()
    assert np.isfinite(Quadratic.random(3, 2, seed=0, spread=1e29).solve().x).all()
    positions = np.array(PLACES)
    bounds: list[dict[str, Any]] = [
        {"omega": 1e30},
        {"disturbance": 1e29},
        {"reach": 1e-6},
        {"reach": 1e6},
    ]
    for keys in bounds:
        problem = SensorEstimation.of_sources(positions, **keys)
        assert np.isfinite(problem.solve().x).all()
    samples = [(np.ones((4, 3)), np.ones(4))] * 2
    most = 2**30 // (16 * 2 * 3)
    EmpiricalRisk(lambda x, s: (s[0] @ x - s[1]) ** 2, samples, most, dim=3)
    with pytest.raises(InputError, match=f"^batch = {most + 1}: expected at most {most}:"):
        EmpiricalRisk(lambda x, s: (s[0] @ x - s[1]) ** 2, samples, most + 1, dim=3)
