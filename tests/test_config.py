"""Configurations: what they stand for, and that every bad one is refused in one line."""

import tomllib
from typing import Any

import numpy as np
import optax
import pytest
from command_line import refused_key
from small import DIVERGING, ENCRYPTED, REMOVED, config, tables, write

from dpe_jax import algorithms, experiment
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.cli import main
from dpe_jax.config import parse
from dpe_jax.errors import InputError
from dpe_jax.results import config_hash, resolved_toml
from dpe_jax.stepsizes import Gamma, LogNormal, NoMultipliers, Normal, TwoPoint

METHOD = "methods.encrypted"
OPTAX = {"kind": "optax", "function": "exponential_decay"}
LINEAR = {"init_value": 1.0, "end_value": -1.0, "transition_steps": 4}
ONES = [[[1.0]]] * 5
COLUMN = [[1.0]] * 5

# Key and new value; then what stderr must hold: the key, the value, and what is accepted.
BAD: list[tuple[str, Any, tuple[str, str, str]]] = [
    ("runs", 0, ("runs", "0", "greater than or equal to 1")),
    ("runs", "4", ("runs", "'4'", "an integer")),
    ("runs", True, ("runs", "True", "an integer")),
    ("runs", 2.5, ("runs", "2.5", "an integer")),
    ("runs", 2**33, ("runs", "8589934592", "less than or equal to 4294967296")),
    ("runs", REMOVED, ("runs", "None", "the key is missing")),
    ("iterations", 2**32, ("iterations", "4294967296", "less than 4294967295")),
    ("x0", 0.1, ("x0", "0.1", "array")),
    ("network.edges", [[0, 10**9]], ("network.edges[0][1]", "1000000000", "less than 10000")),
    (f"{METHOD}.delta", 1e300, (f"{METHOD}.delta", "1e+300", "2⁶⁴")),
    (f"{METHOD}.delta", 1e-300, (f"{METHOD}.delta", "1e-300", "2⁻⁶⁴")),
    ("seed", -1, ("seed", "-1", "greater than or equal to 0")),
    ("name", "../x", ("name", "'../x'", "a name that matches")),
    ("name", "x" * 81, ("name", "xxx", "at most 80 characters")),
    ("description", 3, ("description", "3", "a valid string")),
    ("precision", "float16", ("precision", "'float16'", "'float32' or 'float64'")),
    ("trace", [20], ("trace", "20", "run numbers from 0 to 19")),
    ("trace", [0, 0], ("trace", "(0, 0)", "without repetition")),
    ("trace", [0, -1], ("trace[1]", "-1", "greater than or equal to 0")),
    ("trace", 3, ("trace", "3", "an array")),
    ("block", 0, ("block", "0", "greater than 0")),
    ("x0", [1.0], ("x0", "(1,)", "shape (5, 2) or (2,)")),
    ("x0", [[0.0, 0.0], [1.0]], ("x0", "[1.0]", "rows of one length")),
    ("x0", [[0.0, "a"]] * 5, ("x0[0][1]", "'a'", "a number")),
    ("x0", [float("nan"), 0.0], ("x0[0]", "nan", "a finite number")),
    ("x0", [1e9, 0.0], ("x0", "1000000000.0", "magnitude at most")),
    ("unknown", 1, ("unknown", "1", "one of the keys name, description, runs")),
    ("record.points", 1, ("record.points", "1", "greater than or equal to 2")),
    ("record.spacing", "cubic", ("record.spacing", "'cubic'", "'linear' or 'log'")),
    ("record.metrics", ["gap"], ("record.metrics[0]", "'gap'", "'gap_mean_state'")),
    ("record.metrics", [], ("record.metrics", "[]", "at least 1")),
    ("record.metric", ["gap"], ("record.metric", "['gap']", "points, spacing, metrics")),
    ("checks.gap_fraction", 0, ("checks.gap_fraction", "0", "greater than 0")),
    ("checks.methods", ["nobody"], ("checks.methods", "'nobody'", "some of encrypted")),
    ("checks.methods", [], ("checks.methods", "[]", "at least 1")),
    ("checks.refused", ["nobody"], ("checks.refused", "'nobody'", "some of encrypted")),
    ("checks.certify", [1.0], ("checks.certify[0]", "1.0", "less than 1")),
    ("checks.certify", [0.5], ("checks.certify", "[0.5]", "peak_error among record.metrics")),
    ("network", REMOVED, ("network", "None", "the key is missing")),
    ("network", 3, ("network", "3", "a table")),
    ("network.graph", "torus", ("network.graph", "'torus'", "'ring', 'path', 'star'")),
    ("network.edges", REMOVED, ("network.edges", "None", "graph 'edges' needs edges")),
    ("network.edges", [[0, 1], [2, 3]], ("network", "= 2", "1 (a connected graph)")),
    ("network.edges", [[0, 1], [1, 1]], ("network", "(1, 1)", "two different agents")),
    ("network.edges", [[0, 1, 2]], ("network.edges[0]", "[0, 1, 2]", "at most 2")),
    ("network.edges", [[0, -1]], ("network.edges[0][1]", "-1", "equal to 0")),
    ("network.agents", 3, ("network", "(2, 3)", "agents from 0 to 2")),
    ("network.agents", 10**9, ("network.agents", "1000000000", "equal to 10000")),
    ("network.rows", 3, ("network.rows", "3", "graph 'edges' needs edges")),
    ("network.weights", "uniform", ("network.weights", "'uniform'", "'max-degree'")),
    ("network.weights", [[0.0]], ("network.weights", "(1, 1)", "shape (5, 5)")),
    ("network.weights", [[0.0, 0.5], [0.5]], ("network.weights", "[0.5]", "square matrix")),
    ("network.scale", 100.0, ("network.scale", "100.0", "at most 4")),
    ("network.max_denominator", 2**40, ("network.max_denominator", "1099511627776", "2**31")),
    ("network", {"graph": "ring"}, ("network.agents", "None", "graph 'ring' needs agents")),
    ("network", {"graph": "ring", "agents": 1}, ("network.agents", "1", "at least 2")),
    (
        "network",
        {"graph": "erdos-renyi", "agents": 9, "probability": 0.01, "seed": 0},
        ("network (connected components", "= 9", "1 (a connected graph)"),
    ),
    (
        "network",
        {"graph": "random-regular", "agents": 5, "degree": 3, "seed": 0},
        ("network.degree", "3", "agents * degree even"),
    ),
    (
        "network",
        {"graph": "grid", "rows": 5000, "columns": 5000},
        ("network.rows", "5000", "at most 10000 agents"),
    ),
    ("network", {"graph": "matrix"}, ("network.weights", "'metropolis'", "a matrix")),
    (
        "network",
        {"graph": "matrix", "weights": [[0.0, 0.5], [0.4, 0.0]]},
        ("network.weights[0, 1]", "0.5", "weights[1, 0] = 0.4"),
    ),
    ("problem.kind", "cubic", ("problem.kind", "'cubic'", "quadratic, sensors, breast-cancer")),
    ("problem.kind", REMOVED, ("problem.kind", "None", "quadratic, sensors, breast-cancer")),
    ("problem.dim", REMOVED, ("problem.dim", "None", "or else both A and b")),
    ("problem.dim", 10**8, ("problem.dim", "100000000", "at most 268435456 numbers")),
    ("problem.seed", -3, ("problem.seed", "-3", "greater than or equal to 0")),
    ("problem.noise", float("inf"), ("problem.noise", "inf", "a finite number")),
    ("problem.curvature", [2.0, 1.0], ("problem.curvature", "(2.0, 1.0)", "0 < low <= high")),
    ("problem.A", ONES, ("problem.b", "None", "A and b go together")),
    (
        "problem",
        {"kind": "quadratic", "A": ONES, "b": COLUMN[:4]},
        ("problem.b", "[1.0]", "5 vectors of 1 numbers"),
    ),
    (
        "problem",
        {"kind": "quadratic", "A": [[[1.0], [2.0, 3.0]]], "b": COLUMN},
        ("problem.A", "[2.0, 3.0]", "a square matrix for each agent"),
    ),
    (
        "problem",
        {"kind": "quadratic", "A": ONES[:4], "b": COLUMN[:4]},
        ("network", "5", "as many agents as the problem has (4)"),
    ),
    (
        "problem",
        {"kind": "quadratic", "A": [[[-1.0]]] * 5, "b": COLUMN},
        ("problem.A", "-1.0", "convex"),
    ),
    (
        "problem",
        {"kind": "sensors", "dim": 9, "rows": 1, "seed": 0, "noise": 0.1, "omega": 0},
        ("problem.omega", "0.0", "do not identify θ"),
    ),
    ("problem", {"kind": "breast-cancer", "penalty": 0}, ("problem.penalty", "0.0", "positive")),
    (
        "problem",
        {"kind": "breast-cancer", "split": "dirichlet", "concentration": 1e-9},
        ("problem.concentration", "1e-09", "a larger value"),
    ),
    ("methods", {}, ("methods", "{}", "at least 1")),
    ("methods", {"a/b": ENCRYPTED}, ("methods.a/b", "'a/b'", "a name that matches")),
    ("methods", {"..": ENCRYPTED}, ("methods...", "'..'", "a name that matches")),
    (METHOD, 3, (METHOD, "3", "a table")),
    (f"{METHOD}.method", "SGD", (f"{METHOD}.method", "'SGD'", "EncryptedDSGD, Conventional")),
    (f"{METHOD}.method", REMOVED, (f"{METHOD}.method", "None", "CentralizedSGD")),
    (f"{METHOD}.sigma", 1, (f"{METHOD}.sigma", "1", "one of the keys method, gamma, stepsize")),
    (f"{METHOD}.gamma", 1.0, (f"{METHOD}.gamma", "1.0", "a table")),
    (f"{METHOD}.gamma", REMOVED, (f"{METHOD}.gamma", "None", "the key is missing")),
    (f"{METHOD}.gamma.scale", -1, (f"{METHOD}.gamma.scale", "-1", "greater than 0")),
    (f"{METHOD}.gamma.scale", REMOVED, (f"{METHOD}.gamma.scale", "None", "is missing")),
    (f"{METHOD}.gamma.scale", 10, (f"{METHOD}.gamma", "10.0", "below 3.75")),
    (f"{METHOD}.gamma.exponent", "x", (f"{METHOD}.gamma.exponent", "'x'", "a number")),
    (f"{METHOD}.gamma.kind", "cosine", (f"{METHOD}.gamma.kind", "'cosine'", "power, optax")),
    (
        f"{METHOD}.stepsize",
        {"scale": 1e300, "exponent": 300.0, "offset": 1e-9},
        (f"{METHOD}.stepsize.offset", "1e-09", "finite"),
    ),
    (
        f"{METHOD}.stepsize",
        {"kind": "optax", "function": "exp"},
        (f"{METHOD}.stepsize.function", "'exp'", "constant_schedule"),
    ),
    (
        f"{METHOD}.stepsize",
        {**OPTAX, "arguments": {"foo": 1}},
        (f"{METHOD}.stepsize.arguments", "{'foo': 1}", "optax.schedules.exponential_decay"),
    ),
    (
        f"{METHOD}.stepsize",
        {**OPTAX, "arguments": {"init_value": float("inf")}},
        (f"{METHOD}.stepsize.arguments", "inf", "finite numbers"),
    ),
    (
        f"{METHOD}.gamma",
        {"kind": "optax", "function": "linear_schedule", "arguments": LINEAR},
        (f"{METHOD}.gamma (schedule(3))", "-0.5", "at least 0"),
    ),
    (f"{METHOD}.delta", 0, (f"{METHOD}.delta", "0", "greater than 0")),
    (
        f"{METHOD}.multipliers",
        {"family": "cauchy"},
        (f"{METHOD}.multipliers.family", "'cauchy'", "uniform, lognormal, gamma, two-point"),
    ),
    (
        f"{METHOD}.multipliers",
        {"family": "gamma", "shape": 0.1},
        (f"{METHOD}.multipliers.shape", "0.1", "within [0.5, 10000]"),
    ),
    (
        f"{METHOD}.multipliers",
        {"family": "two-point", "low": 2.0, "high": 3.0},
        (f"{METHOD}.multipliers.low", "2.0", "below 1"),
    ),
    (
        f"{METHOD}.multipliers",
        {"family": "lognormal"},
        (f"{METHOD}.multipliers.sigma", "None", "is missing"),
    ),
    (f"{METHOD}.means", [1.0], (f"{METHOD}.means", "(1.0,)", "5 numbers")),
    (f"{METHOD}.means", [1, 1, 1, 1, -1], (f"{METHOD}.means[4]", "-1", "greater than 0")),
    (f"{METHOD}.rounding", "up", (f"{METHOD}.rounding", "'up'", "'stochastic' or 'nearest'")),
    ("methods.conventional.gamma", {}, ("methods.conventional.gamma", "{}", "method, stepsize")),
]


@pytest.mark.parametrize(("key", "value", "expected"), BAD)
def test_a_bad_key_is_refused_in_one_line(key, value, expected, tmp_path, capsys) -> None:
    line = refused_key({key: value}, expected, tmp_path, capsys)
    # No tag of a union, no class of ours.
    assert "Table" not in line
    assert "DSGD." not in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "name = None"),
        (b"runs = ", "valid TOML"),
        (b"name = 'x'\nname = 'y'", "valid TOML"),
        (b"name = '\xff'", "valid TOML"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(text, reason, tmp_path, capsys) -> None:
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_bytes(text)
    assert main(["run", str(path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line
    assert line.startswith("dpe: ")
    assert main(["run", str(tmp_path)]) == 2
    accepted = "one of audit, certify, digits, five-agents, fraud, hospitals, sensors, or a path"
    assert accepted in capsys.readouterr().err


def test_the_second_of_two_methods_is_named() -> None:
    with pytest.raises(InputError, match=r"^methods\.other\.means = \(1\.0,\)"):
        config({"methods.other": {**ENCRYPTED, "means": [1.0]}}).build()
    with pytest.raises(InputError, match=r"^network\.weights = .*at most 1, so that A"):
        config({"network.scale": 2.5}).build()


METHODS = set(algorithms.__all__) - {"Algorithm", "Budget", "Disclosure", "Step", "Wire"}


def test_every_preset_builds_and_survives_its_resolved_file() -> None:
    known = experiment.presets()
    names = ["audit", "certify", "digits", "five-agents", "fraud", "hospitals", "sensors"]
    assert list(known) == names
    for name, preset in known.items():
        assert preset.name == name
        simulation = preset.build()
        assert simulation.network.agents == (20 if name == "sensors" else 5)
        held = {m: all(c.holds for c in all_) for m, all_ in simulation.conditions().items()}
        private = {m for m, t in preset.methods.items() if t.method == "GeometricDP"}
        assert {m for m, holds in held.items() if not holds} == private | set(
            preset.checks.refused or ()
        )
        if name not in ("audit", "certify", "five-agents"):
            assert {table.method for table in preset.methods.values()} == METHODS
        again = parse(tomllib.loads(resolved_toml(preset)))
        assert again == preset
        assert config_hash(again) == config_hash(preset)


def test_the_hash_tells_configurations_apart() -> None:
    base = config_hash(config())
    assert base == config_hash(config({"seed": 0, "network.weights": "metropolis"}))
    assert base == config_hash(config({f"{METHOD}.gamma": {"kind": "power"} | ENCRYPTED["gamma"]}))
    others = [
        {"seed": 1},
        {"runs": 21},
        {f"{METHOD}.delta": 2.0**-8},
        {"methods": {"a": ENCRYPTED}},
    ]
    hashes = {config_hash(config(change)) for change in others}
    assert len({base, *hashes}) == 5


def test_every_key_reaches_its_object() -> None:
    families = {
        "a": ({"family": "lognormal", "sigma": 0.5}, LogNormal),
        "b": ({"family": "gamma", "shape": 3}, Gamma),
        "c": ({"family": "two-point", "low": 0.5, "high": 3.0}, TwoPoint),
        "d": ({"family": "normal", "sigma": 0.3}, Normal),
        "e": ({"family": "none"}, NoMultipliers),
    }
    means = [1.0, 2.0, 1.0, 1.0, 1.0]
    simulation = config(
        {
            "methods": {name: {**ENCRYPTED, "multipliers": t} for name, (t, _) in families.items()}
            | {"all": {**ENCRYPTED, "delta": 0.25, "means": means, "rounding": "nearest"}},
            "x0": [[float(i), -1.0] for i in range(5)],
            "precision": "float64",
            "seed": 7,
            "trace": [3],
            "record": {"points": 5, "spacing": "linear", "metrics": ["gap_agents"]},
            "network": {"graph": "ring", "agents": 5, "scale": 0.5},
        }
    ).build()
    for name, (_, family) in families.items():
        method = simulation.algorithms[name]
        assert isinstance(method, EncryptedDSGD)
        assert isinstance(method.multipliers, family)
    method = simulation.algorithms["all"]
    assert isinstance(method, EncryptedDSGD)
    assert (method.delta, method.means, method.rounding) == (0.25, tuple(means), "nearest")
    k = np.arange(9)
    np.testing.assert_allclose(method.gamma.values(k), (k + 1.0) ** -0.6)
    np.testing.assert_allclose(method.stepsize.values(k), 0.5 * (k + 1.0) ** -0.9)
    assert simulation.start[4].tolist() == [4.0, -1.0]
    assert (simulation.precision, simulation.seed, simulation.trace) == ("float64", 7, (3,))
    assert simulation.record.tolist() == [0, 8, 15, 22, 30]
    assert simulation.metrics == ("gap_agents",)
    assert simulation.network.weights[0, 1] == pytest.approx(1 / 6)


def test_optax_schedules_by_name() -> None:
    arguments = {"init_value": 0.5, "transition_steps": 10, "decay_rate": 0.7}
    table = {**OPTAX, "arguments": arguments}
    method = config({f"{METHOD}.stepsize": table}).build().algorithms["encrypted"]
    assert isinstance(method, EncryptedDSGD)
    schedule = optax.schedules.exponential_decay(0.5, 10, 0.7)
    expected = [np.asarray(schedule(k)) for k in range(30)]
    np.testing.assert_allclose(method.stepsize.values(np.arange(30)), expected, rtol=1e-5)
    # TOML keys are text, and boundaries are integers.
    steps = {"init_value": 1.0, "boundaries_and_scales": {"5": 0.5, "8": 0.1}}
    table = {"kind": "optax", "function": "piecewise_constant_schedule", "arguments": steps}
    piecewise = config({f"{METHOD}.gamma": table})
    assert config_hash(parse(tomllib.loads(resolved_toml(piecewise)))) == config_hash(piecewise)
    method = piecewise.build().algorithms["encrypted"]
    assert isinstance(method, EncryptedDSGD)
    np.testing.assert_allclose(method.gamma.values(np.array([0, 4, 6, 9])), [1, 1, 0.5, 0.05])


CONSTANT = {"scale": 0.1, "exponent": 0.0}
DECAY = {**OPTAX, "arguments": {"init_value": 0.5, "transition_steps": 9, "decay_rate": 0.7}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gamma": {"scale": 1, "exponent": 1}, "stepsize": {"scale": 1, "exponent": 1}}, "2b − a"),
        ({"means": [1.0, 1.0, 1.0, 1.0, 1.5]}, "equality of the agents' mean stepsizes"),
        ({"rounding": "nearest"}, "stochastic rounding"),
        ({"stepsize": CONSTANT}, "(λ̄^k)² < ∞ (needs b > 1/2)"),
        ({"stepsize": DECAY}, "λ̄^k = ∞ (needs b ≤ 1)"),
    ],
)
def test_violated_conditions_are_named_and_run_all_the_same(
    change, named, tmp_path, capsys
) -> None:
    method = {**ENCRYPTED, **change}
    path = write(tmp_path, {"methods": {"m": method}, "runs": 2, "iterations": 3})
    out = tmp_path / "out"
    assert main(["run", path, "--out", str(out), "--no-figures"]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if named in line]
    assert warned
    assert all(line.startswith("warning: m: ") for line in warned)
    manifest = experiment.load(out).manifest
    violated = [c for c in manifest["conditions"]["m"] if not c["holds"]]
    assert any(named in c["statement"] for c in violated)
    assert len(manifest["warnings"]) == len(violated)
    assert any(named in warning for warning in manifest["warnings"])


def test_no_condition_is_violated_by_the_small_configuration() -> None:
    simulation = config().build()
    assert all(c.holds for conditions in simulation.conditions().values() for c in conditions)
    assert tables({"methods": {"m": DIVERGING}})["methods"]["m"]["stepsize"]["scale"] == 1e7
