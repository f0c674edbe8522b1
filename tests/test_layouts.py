"""Agents at given places: links, refusals, and the sensors that measure there."""

import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from command_line import refused_key
from small import tables

from dpe_jax.cli import main
from dpe_jax.config import parse
from dpe_jax.errors import InputError
from dpe_jax.network import Network
from dpe_jax.problems import SensorEstimation
from dpe_jax.results import config_hash, load, resolved_toml

PLACES = [[0.1, 0.2], [0.5, 0.5], [0.9, 0.9], [0.2, 0.8], [0.8, 0.1]]
PLACED = {"graph": "geometric", "positions": PLACES, "radius": 0.6}
DRAWN = {"graph": "geometric", "agents": 5, "radius": 0.9, "seed": 1}
SOURCES = {"kind": "sources", "side": 2, "seed": 4, "noise": 0.1, "omega": 0.01}


def spread(agents: int, seed: int) -> np.ndarray:
    """Places in no particular unit, some of them shared."""
    places = 1000 * np.random.default_rng(seed).normal(size=(agents, 2))
    places[-1] = places[0]
    return places


def parts(positions: np.ndarray, radius: float) -> int:
    """The number of components, by merging labels until none changes."""
    labels = list(range(len(positions)))
    for _ in labels:
        for i, j in itertools.combinations(range(len(positions)), 2):
            if np.linalg.norm(positions[i] - positions[j]) <= radius:
                labels[i] = labels[j] = min(labels[i], labels[j])
    return len(set(labels))


def test_links_are_those_within_the_radius() -> None:
    positions = spread(9, 2)
    network = Network.from_positions(positions, 1800)
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    near = (distance <= 1800) & ~np.eye(9, dtype=bool)
    assert 0 < near.sum() < 72
    np.testing.assert_array_equal(network.coupling > 0, near)
    np.testing.assert_array_equal(network.positions, positions)
    assert network.summary()["positions"] == positions.tolist()
    np.testing.assert_array_equal(network.scaled(0.5).positions, positions)
    # Only differences of places count, and the unit does not.
    moved = Network.from_positions((positions + 77) / 1000, 1.8)
    np.testing.assert_array_equal(moved.coupling, network.coupling)
    assert moved.denominator == network.denominator


def test_drawn_places_may_be_given_again() -> None:
    drawn = Network.geometric(12, 0.45, seed=4)
    assert drawn.positions is not None
    again = Network.from_positions(drawn.positions, 0.45)
    np.testing.assert_array_equal(again.coupling, drawn.coupling)
    np.testing.assert_array_equal(again.positions, drawn.positions)
    assert again.denominator == drawn.denominator


@pytest.mark.parametrize("seed", range(4))
def test_the_radius_that_is_named_connects_and_hardly_less_does(seed: int) -> None:
    positions = spread(8, seed)
    with pytest.raises(InputError) as caught:
        Network.from_positions(positions, 1.0)
    assert caught.value.argument == "radius"
    assert f"{parts(positions, 1.0)} parts" in caught.value.accepted
    enough = float(caught.value.accepted.split()[2])
    Network.from_positions(positions, enough)
    assert parts(positions, enough) == 1
    with pytest.raises(InputError):
        Network.from_positions(positions, 0.9999 * enough)
    assert parts(positions, 0.9999 * enough) == 2


@pytest.mark.parametrize(
    ("positions", "radius", "argument"),
    [
        ([], 1.0, "positions"),
        ([[0.0, 0.0]], 1.0, "positions"),
        (np.zeros(4), 1.0, "positions"),
        ([[0.0, 0.0, 0.0]] * 3, 1.0, "positions"),
        ([[0.0, 0.0], [1.0]], 1.0, "positions"),
        ([[0.0, "east"], [1.0, 0.0]], 1.0, "positions"),
        ([[0.0, 0.0], [1.0, float("nan")]], 1.0, r"positions\[1\]"),
        ([[0.0, float("inf")], [1.0, 0.0]], 1.0, r"positions\[0\]"),
        ([[0.0, 0.0], [1e101, 0.0]], 1.0, r"positions\[1\]"),
        (PLACES, 0.0, "radius"),
        (PLACES, float("nan"), "radius"),
        (PLACES, float("inf"), "radius"),
    ],
)
def test_places_are_checked(positions: Any, radius: float, argument: str) -> None:
    with pytest.raises(InputError, match=f"^{argument} = "):
        Network.from_positions(positions, radius)


def test_a_layout_from_file_to_manifest(tmp_path: Path, capsys: Any) -> None:
    path, out = tmp_path / "placed.toml", tmp_path / "out"
    small = {"network": PLACED, "problem": SOURCES, "runs": 3, "iterations": 2, "block": 3}
    path.write_text(tomli_w.dumps(tables({**small, "record.points": 2})), encoding="utf-8")
    assert main(["run", str(path), "--out", str(out), "--no-figures"]) == 0
    capsys.readouterr()
    stored = load(out)
    described = stored.manifest["problem"]
    assert stored.manifest["network"]["positions"] == described["positions"] == PLACES
    assert stored.manifest["network"]["name"] == "from_positions(5, 0.6)"
    assert {key: described[key] for key in ("seed", "side", "reach", "disturbance")} == {
        "seed": 4,
        "side": 2,
        "reach": 0.2,
        "disturbance": 0.1,
    }
    assert described["sources"] == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    # What the manifest holds makes the same problem again.
    keys = ("side", "reach", "seed", "noise", "disturbance")
    again = SensorEstimation.of_sources(
        np.array(described["positions"]),
        omega=described["omega"][0],
        **{key: described[key] for key in keys},
    )
    problem = stored.config.build().problem
    assert isinstance(problem, SensorEstimation)
    np.testing.assert_array_equal(again.M, problem.M)
    np.testing.assert_array_equal(again.z, problem.z)


def test_what_random_sensors_were_made_from_is_in_the_manifest() -> None:
    problem = SensorEstimation.random(3, 2, 4, seed=9, disturbance=0.2)
    described = problem.describe()
    assert (described["seed"], described["disturbance"]) == (9, 0.2)
    json.dumps(described, allow_nan=False)
    single = problem.with_dtype(jnp.dtype("float32")).describe()
    assert (single["seed"], single["disturbance"]) == (9, 0.2)
    assert "seed" not in SensorEstimation(problem.M, problem.z, problem.omega).describe()


def test_configurations_survive_and_keep_their_hash() -> None:
    placed = parse(tables({"network": PLACED}))
    again = parse(tomllib.loads(resolved_toml(placed)))
    assert again == placed
    assert config_hash(again) == config_hash(placed)
    other = {**PLACED, "positions": [[0.2, 0.2], *PLACES[1:]]}
    assert config_hash(parse(tables({"network": other}))) != config_hash(placed)
    drawn = parse(tables({"network": DRAWN}))
    assert "positions" not in drawn.model_dump(mode="json")["network"]
    assert "positions" not in resolved_toml(drawn)


BAD: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
    ({**PLACED, "radius": 0.3}, ("network.radius", "0.3", "at least 0.565691")),
    ({**PLACED, "agents": 5}, ("network.agents", "5", "with positions needs positions, radius")),
    ({**PLACED, "seed": 1}, ("network.seed", "1", "with positions needs positions, radius")),
    (
        {"graph": "geometric", "positions": PLACES},
        ("network.radius", "None", "with positions needs positions, radius"),
    ),
    (
        {"graph": "ring", "agents": 5, "positions": PLACES},
        ("network.positions", "[[0.1", "no such key; graph 'ring' needs agents"),
    ),
    (
        {"graph": "geometric"},
        ("network.agents", "None", "needs agents, radius, seed (or else positions, radius)"),
    ),
    ({**PLACED, "positions": []}, ("network.positions", "[]", "at least 2 agents")),
    ({**PLACED, "positions": [[0.1, 0.1]]}, ("network.positions", "[[0.1", "at least 2 agents")),
    ({**PLACED, "positions": 3}, ("network.positions", "3", "an array")),
    ({**PLACED, "positions": [1, 2]}, ("network.positions[0]", "1", "an array")),
    (
        {**PLACED, "positions": [*PLACES, [0.5]]},
        ("network.positions[5]", "[0.5]", "two coordinates [x, y]"),
    ),
    (
        {**PLACED, "positions": [[0.1, float("nan")], *PLACES]},
        ("network.positions[0][1]", "nan", "a finite number"),
    ),
    (
        {**PLACED, "positions": [[0.1, "a"], *PLACES]},
        ("network.positions[0][1]", "'a'", "a number"),
    ),
    (
        {**PLACED, "positions": [[1.2, 0.5], *PLACES[1:]], "radius": 2},
        ("network.positions[0]", "[1.2, 0.5]", "coordinates from 0 to 1"),
    ),
    ({**PLACED, "weights": [[0.0]]}, ("network.weights", "(1, 1)", "shape (5, 5)")),
]


@pytest.mark.parametrize(("network", "expected"), BAD, ids=lambda value: str(value)[-60:])
def test_a_bad_layout_is_refused_in_one_line(
    network: dict[str, Any], expected: tuple[str, str, str], tmp_path: Path, capsys: Any
) -> None:
    line = refused_key({"network": network, "problem": SOURCES}, expected, tmp_path, capsys)
    assert line.startswith(f"dpe: {expected[0]} = ")


def test_places_outside_of_the_square_are_for_other_problems() -> None:
    far = {**PLACED, "positions": (3 * np.array(PLACES)).tolist(), "radius": 1.8}
    built = parse(tables({"network": far})).build()
    np.testing.assert_array_equal(built.network.positions, far["positions"])
    same = parse(tables({"network": PLACED})).build()
    np.testing.assert_array_equal(built.network.coupling, same.network.coupling)
