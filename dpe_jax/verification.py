"""Verification: traced lanes replayed with real Paillier encryption, integer for integer.

Three questions, answered apart:

- Does the trace belong to the settings? Weights, D, δ, Γ^k, λ̄^k, seed, rounding, weight factors
  and Y_0 are worked out once more and compared with what the trace says (`agreement`).
- Do the encrypted parties, from Y_0 and their private increments, arrive at every recorded level q,
  sum v and state Y? Nothing here is in floating point, so they must be equal (`paillier.replay`).
- How far are the recorded increments U from those of an independent float64 gradient? That is a
  distance, not a verdict (`recompute`).
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from dpe_jax import recompute
from dpe_jax.agreement import Disagreement, disagreements, out_of_range
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.checkpoint import Checkpoint
from dpe_jax.errors import InputError
from dpe_jax.fanout import Fanout, InProcess
from dpe_jax.folder import alone
from dpe_jax.lattice import STATUS_NAMES
from dpe_jax.paillier.protocol import Factors, Protocol
from dpe_jax.paillier.replay import Mismatch, Replayed, Stretch
from dpe_jax.paillier.setup import Encryption, Keys, Work, protocol_for
from dpe_jax.paillier.tally import Tally
from dpe_jax.results import Stored, trace_dataset
from dpe_jax.simulation import Simulation
from dpe_jax.study import Result

if TYPE_CHECKING:
    import xarray as xr

SEGMENT = 250
"""Iterations of one part, the unit of fan-out and of resume."""

Progress = Callable[[str, int, int], None]
"""Told the method, the iterations replayed since the last call, and the method's total."""


@dataclasses.dataclass(frozen=True)
class Lane:
    """What is replayed of one lane."""

    method: str
    run: int
    iterations: int
    status: str
    """Of the whole run. One that failed is replayed up to and with the iteration of its failure."""
    recorded: int
    """Iterations of the run."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a verification found."""

    verified: bool
    """Every planned iteration was replayed, every integer was equal, and the settings agree."""
    lanes: tuple[Lane, ...]
    """What was replayed of each."""
    iterations: int
    """Iterations replayed, summed over lanes."""
    integers_compared: int
    """Levels, sums and states of all of them."""
    mismatches: int
    """How many of the integers differ."""
    first_mismatch: Mismatch | None
    """The earliest of the first lane that has one; None where all are equal."""
    stopped: tuple[str, ...]
    """Parts that ended early, since after a mismatch a level had left the range."""
    disagreements: tuple[Disagreement, ...]
    """Of the traces with the settings."""
    increments: dict[str, dict[str, Any]]
    """Per method the distance of U from an independent float64 recomputation, in ulp."""
    messages: int
    """With ciphertexts, over all links and iterations."""
    ciphertext_bytes: int
    """On the wire; a broadcast to m neighbors counts m times."""
    key_bytes: int
    """Of public keys on the wire."""
    encryption: dict[str, Any]
    """Backend, randomness, versions, key bits, and whether the keys are too short to protect."""
    packing: dict[str, dict[str, int]]
    """Per method: bits of a plaintext slot, slots in a plaintext, ciphertexts in a message."""
    seconds: dict[str, float]
    """By operation, summed over workers; `keys` includes their generation."""
    wall_seconds: float
    """Of the whole, in which workers compute at the same time."""
    fanout: dict[str, Any]
    """Where replays were computed: the kind, the number of workers and versions."""
    resumed: int
    """Parts that an interrupted verification had finished before."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class _Part:
    """A stretch of one lane, and how it is replayed."""

    lane: Lane
    stretch: Stretch
    protocol: Protocol
    sound: int
    """Iterations whose every update was recorded: all but that in which the lane failed."""


def verify(
    source: Result | Stored,
    *,
    encryption: Encryption | None = None,
    runs: tuple[int, ...] | None = None,
    iterations: int | None = None,
    segment: int = SEGMENT,
    fanout: Fanout | None = None,
    resume: bool = True,
    progress: Progress = lambda *_: None,
    keys: Keys | None = None,
) -> Report:
    """Replay the traced lanes of a result, or only `runs` and the first `iterations` of them.

    Parts of `segment` iterations, each from a recorded Y_k, go to the workers of `fanout`. Those of
    a stored result are kept in its folder until all are done, so that an interrupted verification
    goes on where it was (unless not `resume`: then it begins anew, and keeps its own). Agents
    have new keys unless there are `keys`. InputError where nothing was traced, for settings that do
    not fit, and while another verification works in the folder.
    """
    simulation, traces = _source(source)
    stored = source if isinstance(source, Stored) else None
    with alone(stored.path) if stored else contextlib.nullcontext():
        return verify_traces(
            simulation,
            traces,
            Encryption() if encryption is None else encryption,
            runs=runs,
            iterations=iterations,
            segment=segment,
            fanout=InProcess() if fanout is None else fanout,
            stored=stored,
            resume=resume,
            progress=progress,
            keys=keys,
        )


def verify_traces(
    simulation: Simulation,
    traces: Mapping[str, "xr.Dataset"],
    encryption: Encryption,
    *,
    runs: tuple[int, ...] | None = None,
    iterations: int | None = None,
    segment: int = SEGMENT,
    fanout: Fanout = InProcess(),  # noqa: B008 (it is frozen)
    stored: Stored | None = None,
    resume: bool = True,
    progress: Progress = lambda *_: None,
    keys: Keys | None = None,
) -> Report:
    """As `verify`, of the traces (by method) that a simulation is said to have left.

    Finished parts are kept in the folder of `stored`, if there is one.
    """
    began = time.perf_counter()
    _check(runs, iterations, segment, simulation)
    differing = [
        d for name, trace in traces.items() for d in disagreements(simulation, name, trace)
    ]
    protocols = {name: _protocol(trace, encryption) for name, trace in traces.items()}
    lanes: list[Lane] = []
    parts: list[_Part] = []
    for name, trace in traces.items():
        for lane, recorded in _lanes(name, trace, runs, iterations):
            lanes.append(lane)
            parts += _parts(lane, recorded, protocols[name], segment)
    where = fanout.describe()
    checkpoint = None
    if stored is not None:
        checkpoint = Checkpoint(stored.path, _job(encryption, parts, stored))
        if not resume:
            checkpoint.clear()
    done = _finished(checkpoint, parts)
    resumed = len(done)
    totals = {name: sum(p.stretch.count for p in parts if p.lane.method == name) for name in traces}
    for number, part in enumerate(parts):
        progress(part.lane.method, part.stretch.count * (number in done), totals[part.lane.method])
    left = [number for number in range(len(parts)) if number not in done]
    generation = time.perf_counter()
    if keys is None:
        keys = encryption.generate(simulation.network.agents) if left else []
    generation = time.perf_counter() - generation
    tasks = [(parts[number].protocol, parts[number].stretch) for number in left]
    # Not kept in a variable, so that whatever leaves the loop ends the workers.
    for index, replayed in fanout.results(Work(encryption, keys), tasks):
        number = left[index]
        done[number] = replayed
        if checkpoint:
            checkpoint.save(number, replayed.to_dict())
        method = parts[number].lane.method
        progress(method, parts[number].stretch.count, totals[method])
    replays = [done[number] for number in range(len(parts))]
    increments = {
        name: _increments(simulation, name, trace, parts) for name, trace in traces.items()
    }
    tally = sum((replayed.tally for replayed in replays), Tally())
    seconds = dict(tally.seconds) | {"keys": tally.seconds["keys"] + generation}
    mismatches = sum(replayed.mismatches for replayed in replays)
    firsts = [replayed.first_mismatch for replayed in replays if replayed.first_mismatch]
    complete = all(r.iterations == p.stretch.count for r, p in zip(replays, parts, strict=True))
    report = Report(
        verified=bool(parts) and complete and not mismatches and not differing,
        lanes=tuple(lanes),
        iterations=sum(replayed.iterations for replayed in replays),
        integers_compared=sum(replayed.compared for replayed in replays),
        mismatches=mismatches,
        first_mismatch=firsts[0] if firsts else None,
        stopped=tuple(replayed.stopped for replayed in replays if replayed.stopped),
        disagreements=tuple(differing),
        increments=increments,
        messages=sum(replayed.messages for replayed in replays),
        ciphertext_bytes=sum(replayed.wire_bytes for replayed in replays),
        key_bytes=sum(replayed.announcement_bytes for replayed in replays),
        encryption=encryption.describe(),
        packing={name: _packing(protocol) for name, protocol in protocols.items()},
        seconds=seconds,
        wall_seconds=time.perf_counter() - began,
        fanout=dict(where),
        resumed=resumed,
    )
    if checkpoint:
        checkpoint.clear()
    return report


def _source(source: Result | Stored) -> tuple[Simulation, dict[str, "xr.Dataset"]]:
    """What was simulated, and the integers of its traced lanes by method."""
    if isinstance(source, Stored):
        simulation = source.config.build()
        # Into memory once: every lane would read its chunks again.
        traces = {name: trace.load() for name, trace in source.traces().items()}
        where = str(source.path)
    else:
        simulation, where = source.simulation, "a result"
        traces = {
            name: trace_dataset(name, trace, simulation) for name, trace in source.traces.items()
        }
    if not traces:
        accepted = "one with traced runs of a method on the lattice (dpe run … --trace 0,1)"
        raise InputError("DIR", where, accepted)
    return simulation, traces


def _check(
    runs: tuple[int, ...] | None,
    iterations: int | None,
    segment: int,
    simulation: Simulation,
) -> None:
    for name, value in (("iterations", iterations), ("segment", segment)):
        if value is not None and (type(value) is not int or value < 1):
            raise InputError(name, value, "an integer of at least 1")
    if iterations is not None and iterations > simulation.iterations:
        accepted = f"at most the {simulation.iterations} iterations of the result"
        raise InputError("iterations", iterations, accepted)
    if runs is not None and not runs:
        raise InputError("runs", runs, "at least one")
    for run in runs or ():
        if run not in simulation.trace:
            traced = ", ".join(map(str, simulation.trace))
            raise InputError("runs", run, f"traced runs ({traced})")


def _protocol(trace: "xr.Dataset", encryption: Encryption) -> Protocol:
    """The protocol as the trace describes it."""
    attrs = trace.attrs
    factors = Factors(attrs["factors_kind"], int(attrs["factors_low"]), int(attrs["factors_high"]))
    coupling, dim = trace.coupling.values, trace.sizes["coordinate"]
    return protocol_for(coupling, dim, int(attrs["seed"]), attrs["rounding"], factors, encryption)


def _packing(protocol: Protocol) -> dict[str, int]:
    packing = protocol.packing
    return {
        "plaintext_bits": packing.plaintext_bits,
        "guard_bits": packing.guard_bits,
        "slots": packing.slots,
        "ciphertexts_a_message": protocol.message_ciphertexts,
    }


def _lanes(
    method: str, trace: "xr.Dataset", runs: tuple[int, ...] | None, iterations: int | None
) -> Iterator[tuple[Lane, "xr.Dataset"]]:
    """What is replayed of each lane, and its integers."""
    for place, run in enumerate(trace.run.values.tolist()):
        if runs is None or run in runs:
            recorded = trace.isel(lane=place)
            state = recorded.trace_state.values
            count = _defined(state) if iterations is None else min(_defined(state), iterations)
            status = dict(enumerate(STATUS_NAMES)).get(int(recorded.status), "unknown")
            yield Lane(method, run, count, status, len(state) - 1), recorded


def _parts(lane: Lane, recorded: "xr.Dataset", protocol: Protocol, segment: int) -> Iterator[_Part]:
    """The stretches of one lane, in order."""
    gain, state = recorded.gain.values, recorded.trace_state.values.copy()
    level, sums = recorded.trace_level.values, recorded.trace_sum.values
    increment = recorded.trace_increment.values.copy()
    last = lane.iterations - 1
    failed = out_of_range(state[last + 1])
    # Of what failed there is no recorded update, only that it failed: see `disagreements`.
    increment[last][failed] = 0
    state[last + 1][failed] = (state[last] + gain[last] * sums[last])[failed]
    for first in range(0, lane.iterations, segment):
        own = slice(first, min(first + segment, lane.iterations))
        following = state[own.start : own.stop + 1]
        integers = gain[own], following, level[own], sums[own], increment[own]
        sound = own.stop - own.start - (own.stop > last and bool(failed.any()))
        yield _Part(lane, Stretch(lane.method, lane.run, first, *integers), protocol, sound)


def _defined(state: Int64[np.ndarray, "moments agents dim"]) -> int:
    """Iterations up to and with that in which the lane failed; all, if it did not.

    From then on it computes with what is no state any more.
    """
    beyond = out_of_range(state).any(axis=(1, 2))
    return int(np.argmax(beyond)) if beyond.any() else len(state) - 1


def _job(encryption: Encryption, parts: list[_Part], source: Stored) -> dict[str, Any]:
    """Everything that decides what the parts are, and what their outcomes are worth."""
    places = [
        (part.lane.method, part.lane.run, part.stretch.first, part.stretch.count) for part in parts
    ]
    held = source.manifest["contents"]
    described = encryption.describe() | {"dpe-jax": version("dpe-jax")}
    return {"encryption": described, "parts": places, "contents": held}


def _finished(checkpoint: Checkpoint | None, parts: list[_Part]) -> dict[int, Replayed]:
    """Outcomes of parts that were finished before."""
    found = checkpoint.parts() if checkpoint else {}
    finished = {}
    for number in sorted(found.keys() & set(range(len(parts)))):
        # What is no outcome, whoever left it there, counts for nothing.
        with contextlib.suppress(KeyError, TypeError):
            finished[number] = Replayed.from_dict(found[number])
    return finished


def _increments(
    simulation: Simulation, method: str, trace: "xr.Dataset", parts: list[_Part]
) -> dict[str, Any]:
    """How far the recorded U of the replayed iterations are from recomputed ones."""
    algorithm, problem = simulation.algorithms[method], simulation.problem
    assert isinstance(algorithm, EncryptedDSGD)  # by `disagreements`
    reason = recompute.unsupported(problem, algorithm)
    if reason is not None:
        return {"not_recomputed": reason}
    scale = trace.increment_scale.values
    segments = [
        recompute.Segment(
            part.stretch.run,
            part.stretch.first,
            part.stretch.state[: part.sound],
            part.stretch.increment[: part.sound],
            scale[part.stretch.first : part.stretch.first + part.sound],
        )
        for part in parts
        if part.lane.method == method
    ]
    difference = recompute.compare(
        problem, algorithm, segments, simulation.seed, simulation.precision
    )
    assert difference is not None  # supported
    return dataclasses.asdict(difference)
