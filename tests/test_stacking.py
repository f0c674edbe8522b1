"""Configurations as lanes of one program: the same bits as alone, and one compilation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dpe_jax import engine, reductions
from dpe_jax.algorithms import Algorithm, EncryptedDSGD, GeometricDP, TailoredDP, TernaryDSGD
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic, SensorEstimation
from dpe_jax.recording import Keep, Recording
from dpe_jax.schedules import PowerGrowth, PowerLaw
from dpe_jax.simulation import Simulation
from dpe_jax.stepsizes import Gamma, LogNormal, Multipliers, Normal, TwoPoint, Uniform
from dpe_jax.study import Study

pytestmark = pytest.mark.slow

NETWORK = Network.ring(5)
GAMMA, STEPSIZE = PowerLaw(0.8, 0.6), PowerLaw(0.5, 0.9)
RUNS, ITERATIONS = 20, 40
METRICS = ("gap_mean_state", "error_worst_agent", "peak_error", "consensus_error")


def quadratic(noise: float = 0.5) -> Quadratic:
    return Quadratic.random(5, 2, seed=2, noise=noise)


def simulation(algorithm: Algorithm, **changes: Any) -> Simulation:
    made = Simulation(
        {"method": algorithm},
        quadratic(),
        NETWORK,
        RUNS,
        ITERATIONS,
        points=12,
        metrics=METRICS,
    )
    return dataclasses.replace(made, **changes)


def recorded(*simulations: Simulation, keep: Keep = "runs", width: int | None = None):
    """Recordings of a study, with the blocks they are of."""
    return list(Study(simulations, keep, width).recordings())


def split(found: list[tuple[Any, Recording]], count: int) -> list[dict[str, np.ndarray]]:
    """The curves, status and end of each configuration, its runs in order."""
    pieces: list[list[dict[str, np.ndarray]]] = [[] for _ in range(count)]
    for block, recording in found:
        for column, configuration in enumerate(block.configurations):
            own = slice(column * block.runs, (column + 1) * block.runs)
            values = recording.curves | {"status": recording.status, "end": recording.final}
            pieces[configuration].append({key: v[..., own] for key, v in values.items()})
    return [
        {key: np.concatenate([part[key] for part in parts], axis=-1) for key in parts[0]}
        for parts in pieces
    ]


def encrypted(multipliers: Multipliers, **settings: Any) -> EncryptedDSGD:
    return EncryptedDSGD(
        **({"gamma": GAMMA, "stepsize": STEPSIZE, "multipliers": multipliers} | settings)
    )


FAMILIES: dict[str, list[Algorithm]] = {
    "uniform": [encrypted(Uniform(h), delta=d) for h, d in ((0.0, 0.01), (1.0, 0.1), (1.7, 1.0))],
    "lognormal": [encrypted(LogNormal(s)) for s in (0.0, 0.5, 1.25)],
    "gamma": [encrypted(Gamma(s)) for s in (0.5, 3.0, 900.0)],
    "two-point": [encrypted(TwoPoint(*p)) for p in ((0.5, 3.0), (-2.0, 1.5), (0.0, 2.0))],
    "normal": [encrypted(Normal(s)) for s in (0.1, 1.0, 4.0)],
    "schedules": [
        encrypted(Uniform(), gamma=PowerLaw(c, a), stepsize=PowerLaw(c / 2, b), delta=2.0**-7)
        for c, a, b in ((1.0, 0.6, 0.9), (0.7, 0.51, 0.8), (0.3, 1.0, 1.0))
    ],
    "means": [encrypted(Uniform(), means=(1.0, 1.0, x, 1.0, 1.0)) for x in (0.5, 1.0, 4.0)],
    "ternary": [TernaryDSGD(STEPSIZE, GAMMA, r) for r in (4.0, 9.0, 30.0)],
    "geometric": [
        GeometricDP(0.3, 0.9, M, 0.95, r, 1.0) for M, r in ((1.0, 3.0), (0.1, 9.0), (5.0, 2.0))
    ],
    "tailored": [TailoredDP(STEPSIZE, GAMMA, PowerGrowth(s, 0.1), 1.0) for s in (0.01, 0.1, 1.0)],
    "clipped": [TailoredDP(STEPSIZE, GAMMA, 0.1, c, clip=True) for c in (0.1, 1.0, 5.0)],
}


PRECISIONS = [(family, "float32") for family in FAMILIES]
# In double precision those that differ most: a family, one of its own sampler, one of noise.
PRECISIONS += [(family, "float64") for family in ("uniform", "gamma", "geometric")]


@pytest.mark.parametrize(("family", "precision"), PRECISIONS)
def test_a_configuration_has_the_same_bits_alone_and_among_others(family, precision) -> None:
    simulations = [simulation(method, precision=precision) for method in FAMILIES[family]]
    found = recorded(*simulations)
    assert [block.configurations for block, _ in found] == [(0, 1, 2)]
    together = split(found, 3)
    for one, mixed in zip(simulations, together, strict=True):
        (alone,) = split(recorded(one), 1)
        for name, value in alone.items():
            np.testing.assert_array_equal(mixed[name], value, err_msg=name)
    # The configurations differ, so that a block which mixed them up would be seen.
    ends = [mixed["end"] for mixed in together]
    assert not np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[1], ends[2])


def test_noise_scale_and_start_may_differ_between_configurations() -> None:
    method = encrypted(Uniform())
    simulations = [
        simulation(method, problem=quadratic(noise), network=network, x0=x0)
        for noise, network, x0 in (
            (0.5, NETWORK, None),
            (0.0, NETWORK, None),
            (0.5, NETWORK.scaled(0.5), None),
            (0.5, NETWORK, np.ones(2)),
            (0.5, NETWORK, None),
        )
    ]
    study = Study(tuple(simulations))
    assert study.twins["method"] == (0, 1, 2, 3, 0)
    found = list(study.recordings())
    # Noise is a number, and shares a block; weights and starts are not.
    assert sorted(block.configurations for block, _ in found) == [(0, 1), (2,), (3,)]
    together = split(found, 4) if len(found) == 3 else []
    for one, mixed in zip(simulations, together, strict=False):
        (alone,) = split(recorded(one), 1)
        for name, value in alone.items():
            np.testing.assert_array_equal(mixed[name], value, err_msg=name)
    assert len(together) == 4


class Shifted(SensorEstimation):
    """Its gap is F(x) − F*, in numbers of F with the noise in it."""

    def excess(self, x, optimum):
        return self.objective(x) - optimum.value


def test_noise_that_is_a_part_of_the_objective_is_in_the_optimum_as_well() -> None:
    """The sensors' F has the noise in it, so that configurations differ in F* though not in x*."""
    simulations = [
        simulation(encrypted(Uniform()), problem=Shifted.random(5, 2, 3, seed=1, noise=noise))
        for noise in (0.1, 0.9)
    ]
    study = Study(tuple(simulations))
    assert np.array_equal(study.optima[0].x, study.optima[1].x)
    assert float(study.optima[1].value) > float(study.optima[0].value) + 1
    found = list(study.recordings())
    assert [block.configurations for block, _ in found] == [(0, 1)]
    for one, mixed in zip(simulations, split(found, 2), strict=True):
        (alone,) = split(recorded(one), 1)
        for name, value in alone.items():
            np.testing.assert_array_equal(mixed[name], value, err_msg=name)


@pytest.mark.parametrize("width", [16, 20, 33, 40, 41, 1000])
def test_the_partition_into_blocks_does_not_show(width: int) -> None:
    simulations = [simulation(method) for method in FAMILIES["uniform"]]
    whole = split(recorded(*simulations), 3)
    parts = split(recorded(*simulations, width=width), 3)
    for one, other in zip(whole, parts, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(other[name], value, err_msg=name)


@pytest.mark.parametrize("columns", [1, 3])
def test_other_numbers_are_no_other_program(columns: int) -> None:
    def run(start: float, count: int) -> None:
        methods = [
            encrypted(Uniform(1.0 + 0.01 * i), delta=start + 0.001 * i, gamma=PowerLaw(1.0, 0.6))
            for i in range(count)
        ]
        recorded(*(simulation(m) for m in methods), width=RUNS * columns)

    run(0.01, 6)
    compiled = getattr(engine._advance.jitted, "_cached")  # noqa: B009 (of equinox, and not public)
    before = compiled._cache_size()
    run(0.3, 12)
    assert compiled._cache_size() == before


def test_a_run_that_fails_leaves_its_neighbors_alone() -> None:
    methods = [encrypted(Uniform(), stepsize=PowerLaw(c, 0.0)) for c in (0.1, 1e9, 0.2)]
    found = split(recorded(*(simulation(m) for m in methods)), 3)
    assert (found[1]["status"] != 0).all()
    assert np.isnan(found[1]["gap_mean_state"][-1]).all()
    for index in (0, 2):
        (alone,) = split(recorded(simulation(methods[index])), 1)
        for name, value in alone.items():
            np.testing.assert_array_equal(found[index][name], value)


# Peaks


def test_a_peak_is_the_largest_error_since_the_last_record_point() -> None:
    sparse = simulation(encrypted(Uniform()), iterations=200, points=9)
    every = dataclasses.replace(sparse, points=201, spacing="linear")
    (peaks,), (errors,) = split(recorded(sparse), 1), split(recorded(every), 1)
    points = sparse.record
    worst = errors["error_worst_agent"]
    assert np.array_equal(every.record, np.arange(201))
    for i, k in enumerate(points):
        first = points[max(i - 1, 0)]
        np.testing.assert_array_equal(peaks["peak_error"][i], worst[first : k + 1].max(axis=0))
    # Not what is seen at record points alone.
    assert (peaks["peak_error"][1:] > peaks["error_worst_agent"][1:]).mean() > 0.5


# Statistics


def test_statistics_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=(7, 64)).astype(np.float32)
    values[3] = 1.0  # all alike
    values[4, :40] = -2.5  # ties
    values[5, 7] = np.inf
    values[2, 10:20] = np.nan
    values[6, :32] = np.nan  # one configuration without a sound run
    start = np.abs(values[0]) * 7
    found = reductions.reduce(jnp.asarray(values), jnp.asarray(start), (2, 30))
    for c in range(2):
        for p in range(7):
            sound = values[p, 30 * c : 30 * (c + 1)]
            first = start[30 * c : 30 * (c + 1)][~np.isnan(sound)].astype(np.float64)
            sound = sound[~np.isnan(sound)].astype(np.float64)
            assert int(found.sound[p, c]) == sound.size
            if not sound.size:
                assert np.isnan(found.quantile[p, c]).all()
                assert np.isnan(found.mean[p, c])
                continue
            np.testing.assert_allclose(found.mean[p, c], sound.mean(), rtol=1e-12)
            if np.isfinite(sound).all():
                np.testing.assert_allclose(
                    found.squares[p, c], sound.var() * sound.size, rtol=1e-9, atol=1e-20
                )
            expected = np.quantile(sound, reductions.QUANTILES)
            finite = np.isfinite(expected)
            np.testing.assert_allclose(found.quantile[p, c][finite], expected[finite], rtol=1e-12)
            above = [(sound > f * first).sum() for f in reductions.FRACTIONS]
            assert found.exceedance[p, c].tolist() == above


def test_a_wrong_rank_would_be_seen() -> None:
    values = np.arange(30, dtype=np.float32)[None]
    found = reductions.reduce(jnp.asarray(values), jnp.asarray(values[0]), (1, 30))
    for wrong in (np.array(reductions.QUANTILES) + 1 / 60, np.array(reductions.QUANTILES) - 1 / 60):
        assert not np.allclose(found.quantile[0, 0], np.quantile(values[0], wrong), rtol=1e-6)


def test_statistics_of_blocks_are_merged() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(size=(3, 90)).astype(np.float32)
    values[1, 5] = np.nan
    values[2, :30] = np.nan
    start = jnp.ones(90, jnp.float32)
    parts = [
        jax.tree.map(
            np.asarray,
            reductions.reduce(jnp.asarray(values[:, i : i + 30]), start[:30], (1, 30)),
        )
        for i in (0, 30, 60)
    ]
    merged = reductions.merged(parts)
    for p in range(3):
        sound = values[p][~np.isnan(values[p])].astype(np.float64)
        assert merged.sound[p, 0] == sound.size
        np.testing.assert_allclose(merged.mean[p, 0], sound.mean(), rtol=1e-12)
        np.testing.assert_allclose(merged.squares[p, 0], sound.var() * sound.size, rtol=1e-9)
        assert merged.exceedance[p, 0].tolist() == [(sound > f).sum() for f in reductions.FRACTIONS]
        # Means of the blocks' quantiles: near those of all, within a few standard errors.
        exact = np.quantile(sound, reductions.QUANTILES)
        assert np.all(np.abs(merged.quantile[p, 0] / exact - 1) < 0.35)
    assert reductions.merged(parts[:1]) is parts[0]


def test_a_summary_has_the_statistics_of_the_runs() -> None:
    simulations = [simulation(method, iterations=300) for method in FAMILIES["uniform"]]
    runs = split(recorded(*simulations), 3)
    found = recorded(*simulations, keep="summary")
    assert all(not recording.curves for _, recording in found)
    for block, recording in found:
        for name in METRICS:
            moments = recording.moments[name]
            for column, configuration in enumerate(block.configurations):
                values = runs[configuration][name].astype(np.float64)
                np.testing.assert_allclose(moments.mean[:, column], values.mean(-1), rtol=1e-12)
                np.testing.assert_allclose(
                    moments.quantile[:, column], np.quantile(values, reductions.QUANTILES, -1).T
                )
                above = (values[..., None] > values[0][:, None] * reductions.FRACTIONS).sum(1)
                np.testing.assert_array_equal(moments.exceedance[:, column], above)
