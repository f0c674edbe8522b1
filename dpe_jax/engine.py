"""The one scan: the only place where time runs.

An outer scan over segments, each of which records (observers run inside the loop) and then
iterates; arrays are [agent, coordinate, lane]; a block of lanes is one call after another of a
single compiled program, so memory is bounded by the block and the host sees progress in between.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int8, Int32, Int64, UInt32

from dpe_jax import philox, stacking
from dpe_jax.algorithms.base import Algorithm, Row, State
from dpe_jax.draws import Draws
from dpe_jax.exchange import Exchange
from dpe_jax.lattice import OK
from dpe_jax.network import Network
from dpe_jax.observe import PEAKS, Metric, observe, worst_square
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.recording import Keep, Log, Place, Recording, Snapshot, Values
from dpe_jax.timeline import Chunk, plan
from dpe_jax.tracing import Buffers
from dpe_jax.watching import Sight, Watched, Watcher
from dpe_jax.whole import Whole

T = TypeVar("T")

LANE_MULTIPLE = 16
"""Blocks are padded to a multiple of this many lanes, so that one lane alone runs the same
vectorised code as thousands do."""

WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}
"""Vectors of eight 64-bit integers, where a CPU has them: XLA's own choice is four."""

_CHUNK_ELEMENT_STEPS = 1e8
"""Agent-coordinate-lane steps between two visits of the host: about half a second on two cores."""


class Setting(eqx.Module):
    """Everything that a program reads and never changes."""

    algorithm: Algorithm
    """The methods of all configurations in one, without schedules; see `stacking`."""
    problem: Problem
    exact_problem: Problem
    """The same problem in float64, for metrics."""
    optimum: Optimum
    exchange: Exchange
    key: tuple[UInt32[Array, ""], UInt32[Array, ""]]
    lane: Int32[Array, " lanes"] | None
    """Each lane's configuration; None if there is one."""
    watcher: Watcher | None
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

    def row(self, table: Row, index: Int64[Array, ""]) -> Row:
        """The coefficients of one iteration: numbers, or one a lane."""
        row = jax.tree.map(lambda column: column[index], table)
        if self.lane is None:
            return row
        # Lanes are those of the table: nothing has to be clamped into it, in every step anew.
        of_lane = self.lane
        return jax.tree.map(lambda c: c.at[of_lane].get(mode="promise_in_bounds"), row)


class Moving(eqx.Module):
    """What a program carries from one iteration to the next."""

    state: State
    peak: Float64[Array, " lanes"] | None
    """The largest max_i ‖x_i − x*‖² since the last record point, if that is recorded."""
    watched: Watched
    buffers: Buffers | None


@Whole
def _start(setting: Setting, x0: Float[Array, "agents dim"], run: UInt32[Array, " lanes"]) -> State:
    return setting.algorithm.init(x0, setting.exchange, setting.draws(run, jnp.int64(0)))


@functools.partial(Whole, options=WIDE_VECTORS)
def _advance(
    fixed: tuple[Setting, UInt32[Array, " lanes"], Int32[Array, " traced"]],
    table: Row,
    origin: Int64[Array, ""],
    segments: tuple[Array, Array, Array],
    moving: Moving,
) -> tuple[Moving, Values]:
    """One chunk. `table` holds the coefficients from iteration `origin` on."""
    setting, run, traced = fixed
    algorithm, problem, exchange = setting.algorithm, setting.problem, setting.exchange

    # Traced once for the shapes of what is skipped and for what is not.
    @jax.jit
    def record(
        moving: Moving, k: Array
    ) -> tuple[dict[str, Float[Array, "*agents lanes"]], Int8[Array, " lanes"]]:
        draws, row = setting.draws(run, k + 1), setting.row(table, k - origin)
        _, step = algorithm.step(moving.state, problem, exchange, draws, row)
        values = observe(
            setting.metrics,
            step.position,
            step.quantization_error,
            setting.exact_problem,
            setting.optimum,
            moving.peak,
        )
        if setting.watcher is not None:
            sight = Sight(k, algorithm, step, row, exchange, draws)
            values |= setting.watcher.read(moving.watched, sight)
        status = algorithm.status(moving.state)
        # What a lane shows from the point on at which it failed is no measurement.
        rounded = {
            name: jnp.where(status == OK, value, jnp.nan).astype(jnp.float32)
            for name, value in values.items()
        }
        return rounded, status

    def skip(moving: Moving, k: Array):
        shapes = eqx.filter_eval_shape(record, moving, k)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def iterate(i: Array, moving: Moving, start: Array) -> Moving:
        k = start + i
        before = algorithm.integer_state(moving.state)
        draws, row = setting.draws(run, k + 1), setting.row(table, k - origin)
        state, step = algorithm.step(moving.state, problem, exchange, draws, row)
        peak, watched, buffers = moving.peak, moving.watched, moving.buffers
        if setting.watcher is not None:
            sight = Sight(k, algorithm, step, row, exchange, draws)
            watched = setting.watcher.look(watched, sight)
        if peak is not None:
            peak = jnp.maximum(peak, worst_square(step.position, setting.optimum))
        if buffers is not None:
            assert before is not None  # the caller gives buffers to lattice methods only
            emitted = Buffers(before, step.message, step.sums, step.mixing)
            buffers = jax.tree.map(
                lambda buffer, value: buffer.at[k - origin].set(value[..., traced]),
                buffers,
                emitted,
            )
        return Moving(state, peak, watched, buffers)

    def segment(moving: Moving, item: tuple[Array, Array, Array]):
        start, length, keep = item
        recorded = jax.lax.cond(keep, record, skip, moving, start)
        if moving.peak is not None:
            peak = jnp.where(keep, 0.0, moving.peak)
            moving = eqx.tree_at(lambda moving: moving.peak, moving, peak)
        moving = jax.lax.fori_loop(
            jnp.int64(0), length, lambda i, moving: iterate(i, moving, start), moving
        )
        return moving, recorded

    moving, (curves, status) = jax.lax.scan(segment, moving, segments)
    bad = status != OK
    failed = jnp.where(jnp.any(bad, axis=0), jnp.argmax(bad, axis=0), -1).astype(jnp.int32)
    return moving, Values(curves, failed)


@Whole
def _finish(
    setting: Setting, state: State
) -> tuple[Array, Int8[Array, " lanes"], Int64[Array, "agents dim lanes"] | None]:
    algorithm = setting.algorithm
    return algorithm.position(state), algorithm.status(state), algorithm.integer_state(state)


class Program(NamedTuple):
    """What all blocks of some configurations of one method have in common."""

    algorithms: tuple[Algorithm, ...]
    """The method of each configuration, as it is on the host."""
    setting: Setting
    network: Network
    x0: Float[np.ndarray, "agents dim"]
    points: Int64[np.ndarray, " points"]
    """Iterations at which metrics are recorded."""
    trace: tuple[int, ...]
    """Run numbers to trace, of a single configuration."""
    lanes: int
    """Lanes in a block; a shorter last block is padded, so that it needs no program of its own."""
    runs: int
    """Runs of each configuration in a block; with several configurations, no fewer."""
    columns: int
    """Configurations in a block; fewer are padded likewise."""
    keep: Keep


class Saving(NamedTuple):
    """How a block is kept while it runs."""

    found: Snapshot | None
    """Where to go on from."""
    save: Callable[[Callable[[], Snapshot]], None]
    """Called between two chunks; may call for the snapshot, and keep it."""


def run_block(
    program: Program,
    first: int,
    runs: int,
    progress: Callable[[int], None] = lambda _: None,
    saving: Saving | None = None,
    device: Place = None,
) -> Recording:
    """Simulate runs first … first + runs − 1 of each configuration through all record points.

    Lanes are in the order of configurations, and for each in that of runs. `progress` is told
    lane-iterations as they are done.
    """
    if program.setting.lane is not None and runs != program.runs:
        raise ValueError(f"{runs} runs of each configuration, not the program's {program.runs}")
    numbers = np.tile(np.arange(first, first + runs, dtype=np.uint32), len(program.algorithms))
    lanes = len(numbers)
    width = padded_lanes(max(lanes, program.lanes))
    inputs = (
        program.setting,
        jax.device_put(np.concatenate([numbers, np.full(width - lanes, numbers[-1], np.uint32)])),
        jax.device_put(np.asarray(program.x0, np.float64)),
    )
    setting, padded, x0 = _placed(inputs, device)
    problem, points = setting.problem, program.points
    elements = problem.agents * problem.dim * width
    chunks = plan(points, max(1, int(_CHUNK_ELEMENT_STEPS / elements)))
    longest = max(chunk.iterations for chunk in chunks)
    # Powers of two, so that runs of similar length share a program.
    rows = 1 << max(0, (longest - 1).bit_length())

    traced = [lane for lane, number in enumerate(numbers.tolist()) if number in program.trace]
    moving = _begin(setting, x0, padded, rows, len(traced))
    log = Log(program.keep, len(program.algorithms), runs)
    done = 0
    if saving is not None and _fits(saving.found, chunks, rows):
        assert saving.found is not None  # it fits
        done, arrays = saving.found
        moving = _restored(moving, arrays)
        log.restore(arrays, device)
        progress(sum(chunk.iterations for chunk in chunks[:done]) * lanes)
    fixed = setting, padded, jax.device_put(np.array(traced, np.int32))
    waiting: Chunk | None = None
    for number, chunk in enumerate(chunks[done:], done + 1):
        table = _padded_table(program, chunk, rows)
        start, length, keep = (jax.device_put(column) for column in chunk)
        moving, values = _advance(
            fixed, table, jax.device_put(np.int64(chunk.first)), (start, length, keep), moving
        )
        if waiting is not None:
            log.wait()
            progress(waiting.iterations * lanes)
        log.add(chunk, values, moving.buffers)
        waiting = chunk
        if saving is not None and number < len(chunks):
            cut = _cut(chunks, number, rows)
            saving.save(functools.partial(_snapshot, number, cut, moving, log))
    log.wait()
    if waiting is not None:
        progress(waiting.iterations * lanes)
    position, status, integers = _finish(setting, moving.state)
    status = np.asarray(status)[:lanes]
    final = np.where(status == OK, np.asarray(position)[..., :lanes], np.nan)
    trace = None
    if moving.buffers is not None:
        lane = np.array(traced)
        trace = log.pieces.trace(numbers[lane], status[lane], np.asarray(integers)[..., lane])
    curves, moments = log.recorded()
    return Recording(numbers, curves, moments, status, log.failed_at, final, trace)


def _placed(inputs: T, device: Place) -> T:
    """The inputs with their arrays on a device; what is computed from them follows."""

    def place(leaf: object) -> object:
        array = isinstance(leaf, np.ndarray | jax.Array)
        return jax.device_put(leaf, device) if array else leaf

    return jax.tree.map(place, inputs)


def padded_lanes(lanes: int) -> int:
    """The lanes of a block with its padding."""
    return -(-lanes // LANE_MULTIPLE) * LANE_MULTIPLE


def _begin(
    setting: Setting, x0: Array, run: UInt32[Array, " lanes"], rows: int, traced: int
) -> Moving:
    state = _start(setting, x0, run)
    peak, buffers = None, None
    if any(metric in PEAKS for metric in setting.metrics):
        peak = jnp.zeros(run.shape, jnp.float64)
    if traced and _finish(setting, state)[2] is not None:
        shape = (rows, setting.problem.agents, setting.problem.dim, traced)
        buffers = Buffers(*(jnp.zeros(shape, jnp.int64) for _ in Buffers._fields))
    watched = None
    if setting.watcher is not None:
        problem = setting.problem
        watched = setting.watcher.begin(problem.agents, problem.dim, len(run))
    return Moving(state, peak, watched, buffers)


def _snapshot(number: int, cut: Int64[np.ndarray, "3"], moving: Moving, log: Log) -> Snapshot:
    leaves = enumerate(jax.tree.leaves(moving))
    arrays = {f"moving/{i}": np.asarray(leaf) for i, leaf in leaves}
    return Snapshot(number, arrays | log.arrays() | {"cut": cut})


def _cut(chunks: list[Chunk], number: int, rows: int) -> Int64[np.ndarray, "3"]:
    """How time is cut, as far as a snapshot before chunk `number` depends on it."""
    return np.array([len(chunks), chunks[number].first, rows], np.int64)


def _fits(found: Snapshot | None, chunks: list[Chunk], rows: int) -> bool:
    """Whether a snapshot is of these chunks, and not of longer or shorter ones."""
    if found is None or not 0 < found.chunks < len(chunks):
        return False
    return np.array_equal(found.arrays["cut"], _cut(chunks, found.chunks, rows))


def _restored(moving: Moving, arrays: dict[str, np.ndarray]) -> Moving:
    fresh, tree = jax.tree.flatten(moving)
    kept = [
        jax.device_put(arrays[f"moving/{i}"], next(iter(leaf.devices())))
        for i, leaf in enumerate(fresh)
    ]
    return jax.tree.unflatten(tree, kept)


def _padded_table(program: Program, chunk: Chunk, rows: int) -> Row:
    """The coefficients of a chunk, its last row repeated: a schedule ends with the run."""
    last = max(chunk.first, chunk.first + chunk.iterations - 1)
    end = min(last, int(program.points[-1]) - 1)
    iterations = np.minimum(np.arange(chunk.first, chunk.first + rows, dtype=np.int64), end)
    needed = iterations[: max(1, chunk.iterations)]
    tables = [algorithm.table(program.network, needed) for algorithm in program.algorithms]
    longer, wider = rows - len(needed), program.columns - len(tables)

    def stack(*columns: np.ndarray) -> Array:
        if program.setting.lane is None:
            return jax.device_put(np.pad(columns[0], (0, longer), mode="edge"))
        table = np.stack(columns, axis=-1)
        return jax.device_put(np.pad(table, ((0, longer), (0, wider)), mode="edge"))

    return jax.tree.map(stack, *tables)


def program_for(
    algorithms: Sequence[Algorithm],
    problems: Sequence[Problem],
    optima: Sequence[Optimum],
    network: Network,
    *,
    seed: int,
    precision: jnp.dtype,
    metrics: tuple[Metric, ...],
    x0: Float[np.ndarray, "agents dim"],
    points: Int64[np.ndarray, " points"],
    trace: tuple[int, ...] = (),
    lanes: int,
    runs: int,
    columns: int = 1,
    varying: bool = False,
    keep: Keep = "runs",
    watcher: Watcher | None = None,
) -> Program:
    """The program of some configurations that may share blocks of `lanes` lanes.

    A `watcher` adds to what is recorded. With several `columns` (configurations a block), a block
    has all `runs` of each. `varying` says that the problems differ in their numbers, somewhere in
    the study. x* is the same for all; F* need not be, as noise may be a part of it.
    """
    lane = None
    if columns > 1:
        of_run = np.repeat(np.arange(len(algorithms), dtype=np.int32), runs)
        lane = np.pad(of_run, (0, padded_lanes(max(lanes, len(of_run))) - len(of_run)), mode="edge")
    low, high = philox.seed_key(seed)

    def cast(dtype: jnp.dtype) -> Problem:
        return stacking.shared([p.with_dtype(dtype) for p in problems], lane, varying)

    setting = Setting(
        stacking.stacked([stacking.without_schedules(method) for method in algorithms], lane),
        cast(precision),
        cast(jnp.dtype("float64")),
        Optimum(
            optima[0].x,
            stacking.spread(np.array([optimum.value for optimum in optima]), lane),
            stacking.spread(np.array([optimum.gradient_norm for optimum in optima]), lane),
            optima[0].method,
        ),
        Exchange.of(network),
        (jax.device_put(low), jax.device_put(high)),
        None if lane is None else jax.device_put(lane),
        watcher,
        metrics,
    )
    shape = lanes, runs, columns
    return Program(tuple(algorithms), setting, network, x0, points, trace, *shape, keep)
