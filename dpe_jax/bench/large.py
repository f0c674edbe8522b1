"""A large sparse network: the engine's exchange beside those by a matrix of integer weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from dpe_jax import exchange, lattice
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.algorithms.encrypted import Coefficients
from dpe_jax.bench.growth import on_network
from dpe_jax.bench.timing import Candidate, Told, about, by_turns, nanoseconds, over, within_turns
from dpe_jax.draws import Draws
from dpe_jax.engine import padded_lanes
from dpe_jax.network import Network
from dpe_jax.philox import seed_key
from dpe_jax.problems import Problem, Quadratic
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study


@final
class ByMatrix(exchange.Coupling):
    """v = C q in int64, as it is written down: n² multiplications."""

    C: Int64[Array, "n n"]
    W: Float[Array, "n n"]

    def levels(self, q: Int64[Array, "agents dim lanes"]) -> Int64[Array, "agents dim lanes"]:
        """C q."""
        return jnp.einsum("ij,jdl->idl", self.C, q)

    def values(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """W x."""
        return jnp.einsum("ij,jdl->idl", self.W.astype(x.dtype), x)

    def weighted(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """W x without the diagonal."""
        return self.values(x) - jnp.diagonal(self.W).astype(x.dtype)[:, None, None] * x


@final
class Loop(eqx.Module):
    """The engine's step with another exchange in it."""

    algorithm: EncryptedDSGD
    problem: Problem
    coupling: exchange.Coupling
    table: Coefficients
    key: tuple[Array, Array]

    @eqx.filter_jit
    def __call__(self, Y: Int64[Array, "n dim lanes"], run: Array) -> Int64[Array, "n dim lanes"]:
        """Y after all iterations."""
        method, problem = self.algorithm, self.problem

        def draws(time: Array) -> Draws:
            return Draws(self.key, run, time.astype(jnp.uint32), problem.agents, problem.dim)

        def body(k: Array, packed: Array) -> Array:
            Y, q = lattice.unpack(packed)
            now, row = draws(k + 1), jax.tree.map(lambda column: column[k], self.table)
            g = problem.gradient(lattice.to_float(Y, method.delta, problem.dtype), now)
            m = method.multipliers(now.stepsize_word(), g.dtype)
            increment = row.increment_scale.astype(g.dtype) * m * g
            following = Y + row.gain * self.coupling.levels(q)
            following -= jnp.rint(increment).astype(jnp.int64)
            return lattice.advance(packed, following, now.rounding_word(), increment)

        packed = lattice.pack(Y, lattice.rounding_bit(Y, draws(jnp.int64(0)).rounding_word()))
        iterations = self.table.gain.shape[0]
        return lattice.unpack(jax.lax.fori_loop(0, iterations, body, packed))[0]


def simulation_of(agents: int, degree: int, dim: int, runs: int, iterations: int) -> Simulation:
    """A random regular graph and quadratics."""
    problem = Quadratic.random(agents, dim, seed=1, noise=0.5)
    network = Network.random_regular(agents, degree, seed=1)
    return dataclasses.replace(on_network(network, problem, runs), iterations=iterations)


def engine_states(simulation: Simulation) -> Int64[np.ndarray, "n dim runs"]:
    """Y at the end of all runs, by the engine."""
    (method,) = simulation.algorithms.values()
    assert isinstance(method, EncryptedDSGD)
    final = [recording.final for _, recording in Study((simulation,)).recordings()]
    # Exact where |Y| < 2⁵³ and δ is a power of two.
    scaled = np.concatenate(final, axis=-1) * (2.0**lattice.FRACTION_BITS / method.delta)
    return np.rint(scaled).astype(np.int64)


def states_by(coupling: exchange.Coupling, simulation: Simulation) -> Candidate:
    """The same by `Loop`, all runs in one block."""
    (method,), problem = simulation.algorithms.values(), simulation.problem
    assert isinstance(method, EncryptedDSGD)
    k = np.arange(simulation.iterations, dtype=np.int64)
    low, high = seed_key(simulation.seed)
    program = Loop(
        method,
        problem.with_dtype(jnp.dtype(simulation.precision)),
        coupling,
        jax.tree.map(jnp.asarray, method.table(simulation.network, k)),
        (jnp.uint32(low), jnp.uint32(high)),
    )
    width = padded_lanes(simulation.runs)
    run = jnp.arange(width, dtype=jnp.uint32)
    start = lattice.from_float(jnp.asarray(simulation.start)[..., None], method.delta)
    Y = jnp.broadcast_to(start, (*start.shape[:2], width))
    return lambda: np.asarray(program(Y, run))[..., : simulation.runs]


def dense(network: Network) -> dict[str, exchange.Coupling]:
    """By a matrix: XLA's product, and the sums in pieces that dense networks are given."""
    C, W = jnp.asarray(network.laplacian_levels), jnp.asarray(network.weights)
    return {"einsum": ByMatrix(C, W), "pieces": exchange.Dense(C, W)}


def beside(
    candidates: Mapping[str, Candidate],
    unit: float | int,
    turns: int,
    told: Told = lambda _: None,
) -> dict[str, Any]:
    """Ways to the same integers: how many equal those of the first, and what each takes."""
    last: dict[str, object] = {}

    def kept(name: str) -> Candidate:
        return lambda: last.update({name: candidates[name]()})

    timed = by_turns({name: kept(name) for name in candidates}, turns, told)
    base, *others = candidates
    one, *rest = (np.asarray(last[name]) for name in candidates)
    return {
        "integers": int(one.size) * len(rest),
        "integers_equal": sum(int(np.sum(one == other)) for other in rest),
        **nanoseconds(timed, unit),
        "ratios": over(timed, base, others),
        "ratios_within_turns": within_turns(timed, base, others),
    }


def measure(
    agents: int,
    degree: int,
    dim: int,
    runs: int,
    iterations: int,
    turns: int,
    told: Told = lambda _: None,
) -> dict[str, Any]:
    """Nanoseconds per agent-coordinate-step."""
    simulation = simulation_of(agents, degree, dim, runs, iterations)
    unit = agents * dim * runs * iterations
    candidates: dict[str, Candidate] = {
        "engine": lambda: engine_states(simulation),
        **{n: states_by(one, simulation) for n, one in dense(simulation.network).items()},
    }
    return {
        **beside(candidates, unit, turns, told),
        "agents": agents,
        "degree": degree,
        "dim": dim,
        "runs": runs,
        "iterations": iterations,
        **about(turns),
    }
