"""The one scan: the only place where time runs.

An outer scan over segments, each of which records (observers run inside the loop) and then
iterates; arrays are [agent, coordinate, lane]; a block of lanes is one call after another of a
single compiled program, so memory is bounded by the block and the host sees progress in between.
"""

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8, Int32, Int64, UInt32

from dpe_jax import philox
from dpe_jax.algorithms.base import Algorithm, Row, State
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.lattice import OK
from dpe_jax.network import Network
from dpe_jax.observe import Metric, observe
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.timeline import Chunk, plan

LANE_MULTIPLE = 16
"""Blocks are padded to a multiple of this many lanes, so that one lane alone runs the same
vectorised code as thousands do."""

_CHUNK_ELEMENT_STEPS = 1e8
"""Agent-coordinate-lane steps between two visits of the host: about half a second on two cores."""


class Setting(eqx.Module):
    """Everything that a program reads and never changes."""

    algorithm: Algorithm
    problem: Problem
    exact_problem: Problem
    """The same problem in float64, for metrics."""
    optimum: Optimum
    exchange: Exchange
    key: tuple[UInt32[Array, ""], UInt32[Array, ""]]
    metrics: tuple[Metric, ...] = eqx.field(static=True)

    def draws(self, run: UInt32[Array, " lanes"], time: Int64[Array, ""]) -> Draws:
        """The draws of one time."""
        # Always zero, but XLA cannot know: it would hoist the twenty round keys and the first
        # round out of the loop, as so many inputs of the step that jax 0.12 no longer vectorises
        # it (five times slower). Computing them anew costs nothing.
        zero = (time >> 32).astype(jnp.uint32)
        key = self.key[0] + zero, self.key[1] + zero
        problem = self.problem
        return Draws(key, run, time.astype(jnp.uint32), problem.agents, problem.dim)


class Recording(NamedTuple):
    """What one block of lanes leaves behind, on the host."""

    run: UInt32[np.ndarray, " lanes"]
    curves: dict[str, Float[np.ndarray, "points *agents lanes"]]
    """float32; NaN from the first record point at which a lane's status is not ok."""
    status: Int8[np.ndarray, " lanes"]
    failed_at: Int64[np.ndarray, " lanes"]
    """The first record point at which the lane was not ok, or −1."""
    final: Float[np.ndarray, "agents dim lanes"]
    """The agents' positions at the end; NaN in a lane whose status is not ok."""
    trace: "Trace | None"


class Trace(NamedTuple):
    """Integers of the traced lanes, as the production program computed and used them."""

    run: UInt32[np.ndarray, " lanes"]
    state: Int64[np.ndarray, "lanes moments agents dim"]
    """Y_0 … Y_K."""
    level: Int64[np.ndarray, "lanes iterations agents dim"]
    """q_0 … q_{K−1}, the messages."""
    sums: Int64[np.ndarray, "lanes iterations agents dim"]
    """v_0 … v_{K−1}, what the exchange gave."""
    increment: Int64[np.ndarray, "lanes iterations agents dim"]
    """U_0 … U_{K−1}, what the update subtracted: Y_k + Γ^k v_k − Y_{k+1} in the program's integers.

    U is not taken from the program's floating point. XLA may evaluate that a second time for the
    trace, and round it otherwise than for the update; integers it cannot round.
    """
    status: Int8[np.ndarray, " lanes"]
    """Of the whole run; a lane that failed keeps words beyond the range from then on."""


class _Buffers(NamedTuple):
    """What the traced lanes of one chunk emit."""

    state: Int64[Array, "iterations agents dim traced"]
    level: Int64[Array, "iterations agents dim traced"]
    sums: Int64[Array, "iterations agents dim traced"]
    mixing: Int64[Array, "iterations agents dim traced"]


@eqx.filter_jit
def _start(setting: Setting, x0: Float[Array, "agents dim"], run: UInt32[Array, " lanes"]) -> State:
    return setting.algorithm.init(x0, setting.exchange, setting.draws(run, jnp.int64(0)))


@eqx.filter_jit
def _advance(
    fixed: tuple[Setting, UInt32[Array, " lanes"], Int32[Array, " traced"]],
    table: Row,
    origin: Int64[Array, ""],
    segments: tuple[Array, Array, Array],
    moving: tuple[State, _Buffers | None],
) -> tuple[tuple[State, _Buffers | None], tuple[dict[str, Array], Int8[Array, "segments lanes"]]]:
    """One chunk. `table` holds the coefficients from iteration `origin` on."""
    setting, run, traced = fixed
    algorithm, problem, exchange = setting.algorithm, setting.problem, setting.exchange

    def row_at(k: Array) -> Row:
        return jax.tree.map(lambda column: column[k - origin], table)

    def record(
        state: State, k: Array
    ) -> tuple[dict[str, Float[Array, "*agents lanes"]], Int8[Array, " lanes"]]:
        _, step = algorithm.step(state, problem, exchange, setting.draws(run, k + 1), row_at(k))
        values = observe(
            setting.metrics,
            step.position,
            step.quantization_error,
            setting.exact_problem,
            setting.optimum,
        )
        rounded = {name: value.astype(jnp.float32) for name, value in values.items()}
        return rounded, algorithm.status(state)

    def skip(state: State, k: Array):
        shapes = eqx.filter_eval_shape(record, state, k)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def iterate(
        i: Array, carry: tuple[State, _Buffers | None], start: Array
    ) -> tuple[State, _Buffers | None]:
        state, buffers = carry
        k = start + i
        before = algorithm.integer_state(state)
        state, step = algorithm.step(state, problem, exchange, setting.draws(run, k + 1), row_at(k))
        if buffers is not None:
            assert before is not None  # the caller gives buffers to lattice methods only
            emitted = _Buffers(before, step.message, step.sums, step.mixing)
            buffers = jax.tree.map(
                lambda buffer, value: buffer.at[k - origin].set(value[..., traced]),
                buffers,
                emitted,
            )
        return state, buffers

    def segment(carry: tuple[State, _Buffers | None], item: tuple[Array, Array, Array]):
        start, length, keep = item
        recorded = jax.lax.cond(keep, record, skip, carry[0], start)
        carry = jax.lax.fori_loop(
            jnp.int64(0), length, lambda i, carry: iterate(i, carry, start), carry
        )
        return carry, recorded

    return jax.lax.scan(segment, moving, segments)


@eqx.filter_jit
def _finish(setting: Setting, state: State) -> tuple[Array, Array | None]:
    return setting.algorithm.position(state), setting.algorithm.integer_state(state)


class Program(NamedTuple):
    """What all blocks of one method have in common."""

    setting: Setting
    network: Network
    x0: Float[np.ndarray, "agents dim"]
    points: Int64[np.ndarray, " points"]
    """Iterations at which metrics are recorded."""
    trace: tuple[int, ...]
    """Run numbers to trace."""
    lanes: int
    """Lanes in a block; a shorter last block is padded, so that it needs no program of its own."""


class _StoppedError(Exception):
    """Raised inside a block that is no longer wanted."""


def run_blocks(
    program: Program, runs: int, workers: int, progress: Callable[[int], None]
) -> Iterator[Recording]:
    """Simulate runs 0 … runs − 1 block by block, in order, `workers` blocks at a time.

    Threads that compute whole blocks use several processors better than XLA does within a step
    (and jax 0.12 runs a fused step on one processor only).
    """
    blocks = (
        np.arange(first, min(first + program.lanes, runs), dtype=np.uint32)
        for first in range(0, runs, program.lanes)
    )
    if workers == 1 or runs <= program.lanes:
        yield from (run_block(program, block, progress) for block in blocks)
        return
    stop, one_at_a_time = threading.Event(), threading.Lock()

    def report(done: int) -> None:
        if stop.is_set():
            raise _StoppedError
        with one_at_a_time:
            progress(done)

    pending: collections.deque[concurrent.futures.Future[Recording]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            for block in blocks:
                pending.append(pool.submit(run_block, program, block, report))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def run_block(
    program: Program,
    run: UInt32[np.ndarray, " lanes"],
    progress: Callable[[int], None] = lambda _: None,
) -> Recording:
    """Simulate one block of lanes through all record points.

    `run` gives each lane's run number; `progress` is told lane-iterations as they are done.
    """
    setting, points = program.setting, program.points
    lanes = len(run)
    width = -(-max(lanes, program.lanes) // LANE_MULTIPLE) * LANE_MULTIPLE
    padded = jnp.asarray(np.concatenate([run, np.full(width - lanes, run[-1], np.uint32)]))
    problem = setting.problem
    elements = problem.agents * problem.dim * width
    chunks = plan(points, max(1, int(_CHUNK_ELEMENT_STEPS / elements)))
    longest = max(chunk.iterations for chunk in chunks)
    # Powers of two, so that runs of similar length share a program.
    rows = 1 << max(0, (longest - 1).bit_length())

    state = _start(setting, jnp.asarray(program.x0, jnp.float64), padded)
    traced = [lane for lane, number in enumerate(run.tolist()) if number in program.trace]
    integers = _finish(setting, state)[1] if traced else None
    buffers, pieces = None, _TracePieces()
    if integers is not None:
        shape = (rows, problem.agents, problem.dim, len(traced))
        buffers = _Buffers(*(jnp.zeros(shape, jnp.int64) for _ in _Buffers._fields))
    fixed = setting, padded, jnp.asarray(traced, jnp.int32)

    recorded: list[tuple[Chunk, tuple[dict[str, Array], Array]]] = []
    for chunk in chunks:
        table = _padded_table(program, chunk, rows)
        start, length, keep = (jnp.asarray(column) for column in chunk)
        (state, buffers), values = _advance(
            fixed, table, jnp.int64(chunk.first), (start, length, keep), (state, buffers)
        )
        if buffers is not None:
            pieces.add(buffers, chunk.iterations)
        if recorded:
            jax.block_until_ready(recorded[-1][1])
            progress(recorded[-1][0].iterations * lanes)
        recorded.append((chunk, values))
    curves, status = _gather(recorded, lanes)
    progress(recorded[-1][0].iterations * lanes)
    bad = status != OK
    failed_at = np.where(bad.any(axis=0), points[bad.argmax(axis=0)], -1)
    final = np.asarray(_finish(setting, state)[0])[..., :lanes]
    final = np.where(status[-1] == OK, final, np.nan)
    recorded_trace = None
    if integers is not None:
        last = _finish(setting, state)[1]
        lane = np.array(traced)
        recorded_trace = pieces.trace(run[lane], status[-1][lane], np.asarray(last)[..., lane])
    return Recording(run, curves, status[-1], failed_at, final, recorded_trace)


def _padded_table(program: Program, chunk: Chunk, rows: int) -> Row:
    """The coefficients of a chunk, its last row repeated: a schedule ends with the run."""
    last = max(chunk.first, chunk.first + chunk.iterations - 1)
    end = min(last, int(program.points[-1]) - 1)
    iterations = np.minimum(np.arange(chunk.first, chunk.first + rows, dtype=np.int64), end)
    needed = iterations[: max(1, chunk.iterations)]
    table = program.setting.algorithm.table(program.network, needed)
    return jax.tree.map(
        lambda column: jnp.asarray(np.pad(column, (0, rows - len(needed)), mode="edge")), table
    )


class _TracePieces:
    """Trace buffers of one chunk after another, brought to the host."""

    def __init__(self) -> None:
        self._pieces: list[tuple[np.ndarray, ...]] = []

    def add(self, buffers: _Buffers, count: int) -> None:
        self._pieces.append(tuple(np.asarray(buffer[:count]) for buffer in buffers))

    def trace(
        self,
        run: UInt32[np.ndarray, " lanes"],
        status: Int8[np.ndarray, " lanes"],
        last: Int64[np.ndarray, "agents dim lanes"],
    ) -> Trace:
        before, level, sums, mixing = map(np.concatenate, zip(*self._pieces, strict=True))
        state = np.concatenate([before, last[None]])
        increment = state[:-1] + mixing - state[1:]
        by_lane = [np.moveaxis(column, -1, 0) for column in (state, level, sums, increment)]
        return Trace(run, by_lane[0], by_lane[1], by_lane[2], by_lane[3], status)


def _gather(
    recorded: list[tuple[Chunk, tuple[dict[str, Array], Array]]], lanes: int
) -> tuple[dict[str, np.ndarray], Int8[np.ndarray, "points lanes"]]:
    """Curves and status of the kept record points, without the padding lanes.

    What a lane shows from the point on at which it failed is no measurement, and becomes NaN.
    """
    names = recorded[0][1][0].keys()
    curves = {
        name: _kept([(chunk, values[0][name]) for chunk, values in recorded], lanes)
        for name in names
    }
    status = _kept([(chunk, values[1]) for chunk, values in recorded], lanes)
    point, lane = np.nonzero(status != OK)
    if point.size:
        for name, curve in curves.items():
            curves[name] = np.array(curve)
            curves[name][point, ..., lane] = np.nan
    return curves, status


def _kept(recorded: list[tuple[Chunk, Array]], lanes: int) -> np.ndarray:
    """The kept record points of all chunks; a view of JAX's own memory if it is all in one."""
    pieces = []
    for chunk, values in recorded:
        count = int(chunk.keep.sum())
        kept = slice(count) if chunk.keep[:count].all() else chunk.keep
        pieces.append(np.asarray(values)[kept, ..., :lanes])
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def setting_for(
    algorithm: Algorithm,
    problem: Problem,
    optimum: Optimum,
    network: Network,
    seed: int,
    precision: jnp.dtype,
    metrics: tuple[Metric, ...],
) -> Setting:
    """Assemble a program's fixed inputs; numbers that only data decide become arrays."""
    low, high = philox.seed_key(seed)
    return Setting(
        algorithm,
        problem.with_dtype(precision),
        problem.with_dtype(jnp.dtype("float64")),
        Optimum(
            optimum.x,
            jnp.float64(optimum.value),
            jnp.float64(optimum.gradient_norm),
            optimum.method,
        ),
        Exchange.of(network),
        (jnp.uint32(low), jnp.uint32(high)),
        metrics,
    )
