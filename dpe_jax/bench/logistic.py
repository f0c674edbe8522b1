"""Minibatch logistic regression beside vectorised NumPy and JAX doing the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bench.engines import encrypted_alone, engine
from dpe_jax.bench.timing import Told, about, by_turns, nanoseconds, over, within_turns
from dpe_jax.problems import EmpiricalRisk


@dataclass(frozen=True)
class LogisticStudy:
    """Minibatch logistic regression on a weighted graph, stepsizes as tables."""

    features: list[np.ndarray]
    """Of each agent, `[samples, dim]`."""
    labels: list[np.ndarray]
    """±1, `[samples]`."""
    scale: np.ndarray
    """ρ_i of the agents' mean losses, `[agents]`."""
    penalty: float
    batch: int
    W: np.ndarray
    delta: float
    gamma: np.ndarray
    lambda_bar: np.ndarray


def numpy_logistic_runs(
    study: LogisticStudy, runs: int, seed: int, *, block: int = 256
) -> np.ndarray:
    """Encrypted DSGD on logistic regression in vectorised NumPy: float32 gradients, PCG64.

    One thread. Runs go through time in blocks whose gathered minibatches stay in the cache; a
    gradient is two batched matrix products over them. States `[agents, runs, dim]` are float64.
    """
    from scipy.special import expit

    agents, dim = len(study.features), study.features[0].shape[1]
    features = [a.astype(np.float32) for a in study.features]
    labels = [y.astype(np.float32) for y in study.labels]
    finals = []
    for stream, first in zip(
        np.random.SeedSequence(seed).spawn(-(-runs // block)), range(0, runs, block), strict=True
    ):
        rng, width = np.random.Generator(np.random.PCG64(stream)), min(block, runs - first)
        x = np.zeros((agents, width, dim))
        g = np.empty((agents, width, dim), np.float32)
        for gamma, lambda_bar in zip(study.gamma, study.lambda_bar, strict=True):
            levels = np.floor(x / study.delta + rng.random(x.shape, np.float32))
            for i in range(agents):
                rows = rng.integers(len(labels[i]), size=(width, study.batch), dtype=np.int32)
                a, y = features[i][rows], labels[i][rows]
                narrow = x[i].astype(np.float32)
                pull = y * expit(-y * (a @ narrow[:, :, None])[..., 0])
                mean = (pull[:, None, :] @ a)[:, 0] / np.float32(study.batch)
                g[i] = np.float32(study.penalty) * narrow - np.float32(study.scale[i]) * mean
            multipliers = 2 * rng.random(x.shape, np.float32)
            mixed = (study.W @ levels.reshape(agents, -1)).reshape(x.shape)
            x += gamma * study.delta * mixed
            x -= lambda_bar * (multipliers * g)
        finals.append(np.moveaxis(x, 1, 2))
    return np.concatenate(finals, axis=-1)


def vmap_logistic_program(study: LogisticStudy) -> Callable[[jax.Array], jax.Array]:
    """The same as `jit(vmap(one_run))` over keys `[runs]`, as `competitors.vmap_program`."""
    # Agents have unlike numbers of samples: one array, and where each one's begin.
    sizes = np.array([len(y) for y in study.labels])
    starts = jnp.asarray(np.cumsum(sizes) - sizes)[:, None]
    features = jnp.asarray(np.concatenate(study.features), jnp.float32)
    labels = jnp.asarray(np.concatenate(study.labels), jnp.float32)
    agents, dim = len(sizes), features.shape[1]
    W, scale = jnp.asarray(study.W), jnp.asarray(study.scale, jnp.float32)[:, None]

    def body(x: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        key, gamma, lambda_bar = inputs
        uniform_key, row_key = jax.random.split(key)
        uniforms = jax.random.uniform(uniform_key, (2, *x.shape), jnp.float32)
        drawn = jax.random.randint(row_key, (agents, study.batch), 0, jnp.asarray(sizes)[:, None])
        a, y = features[starts + drawn], labels[starts + drawn]
        narrow = x.astype(jnp.float32)
        pull = y * jax.nn.sigmoid(-y * jnp.einsum("isd,id->is", a, narrow))
        mean = jnp.einsum("is,isd->id", pull, a) / study.batch
        g = study.penalty * narrow - scale * mean
        levels = jnp.floor(x / study.delta + uniforms[0])
        return x + gamma * study.delta * (W @ levels) - lambda_bar * (2 * uniforms[1] * g), None

    tables = jnp.asarray(study.gamma), jnp.asarray(study.lambda_bar)

    def one_run(key: jax.Array) -> jax.Array:
        keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(jnp.arange(len(study.gamma)))
        return jax.lax.scan(body, jnp.zeros((agents, dim)), (keys, *tables))[0]

    return jax.jit(jax.vmap(one_run))


def measure(runs: int, iterations: int, turns: int, told: Told = lambda _: None) -> dict[str, Any]:
    """Encrypted DSGD on `hospitals`, in nanoseconds per agent-coordinate-step."""
    simulation = encrypted_alone("hospitals", runs, iterations)
    problem, algorithm = simulation.problem, simulation.algorithms["encrypted"]
    assert isinstance(problem, EmpiricalRisk)
    assert isinstance(algorithm, EncryptedDSGD)
    assert problem.batch is not None
    features, labels = (np.asarray(leaf) for leaf in problem.data)
    sizes = np.asarray(problem.sizes)
    ends = np.cumsum(sizes)[:-1]
    k = np.arange(iterations)
    study = LogisticStudy(
        np.split(features, ends),
        np.split(labels, ends),
        len(sizes) * sizes / sizes.sum(),
        problem.penalty,
        problem.batch,
        simulation.network.weights,
        algorithm.delta,
        algorithm.gamma.values(k),
        algorithm.stepsize.values(k),
    )
    vmapped = vmap_logistic_program(study)
    keys = jax.random.split(jax.random.key(0), runs)
    timed = by_turns(
        {
            "engine": engine(simulation),
            "numpy": lambda: numpy_logistic_runs(study, runs, 0),
            "vmap": lambda: jax.block_until_ready(vmapped(keys)),
        },
        turns,
        told,
    )
    return {
        "dim": problem.dim,
        "batch": problem.batch,
        "runs": runs,
        "iterations": iterations,
        **nanoseconds(timed, problem.agents * problem.dim * runs * iterations),
        **over(timed, "engine", ("numpy", "vmap")),
        "ratios_within_turns": within_turns(timed, "engine", ("numpy", "vmap")),
        **about(turns),
    }
