"""Quantization step, key length, convergence and wall-clock: what a deployment chooses between."""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.config import Config
from dpe_jax.cost import protocol_of
from dpe_jax.paillier.backend import ciphertext_bytes
from dpe_jax.paillier.packing import Packing
from dpe_jax.paillier.protocol import Protocol, sum_limit
from dpe_jax.paillier.replay import Stretch, replay
from dpe_jax.paillier.setup import Encryption, Keys
from dpe_jax.quadratic_moments import moments
from dpe_jax.reproduce import deployment_figure, part
from dpe_jax.reproduce.part import Column, Made, Table, Work
from dpe_jax.reproduce.shown import finite, interval, spread, standard_errors
from dpe_jax.reproduce.swept import METHOD, Swept, first_at, swept
from dpe_jax.simulation import Simulation
from dpe_jax.study import simulate
from dpe_jax.summary import Check

TITLE = "Key length, quantization step, convergence and wall-clock"
SOURCE = (
    "The article's open question: “The relationship between quantization precision δ, encryption "
    "key size, and convergence speed deserves deeper empirical treatment.”"
)

_SETUP = ("keys", "tables")
"""Operations that are done once."""

_MOST = 4.0
"""Standard errors that a mean may be from its prediction."""

Row = dict[str, Any]


class Settings(part.Settings):
    """The sweep over δ, the lengths of keys, and how long is replayed."""

    experiment: Config
    """With an axis over δ of its method `encrypted`."""
    target: float = Field(gt=0, lt=1)
    """What part of the mean of F(x_i) − F* at the start is to be reached."""
    key_bits: list[PositiveInt] = Field(min_length=1)
    replayed: int = Field(ge=3)
    """Iterations of a replay; the first is left out of the times."""
    turns: PositiveInt
    horizon: PositiveInt
    fitted_range: PositiveFloat


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Simulate each δ, replay each δ with each length of keys, and put both together."""
    sweeping, predicting, replaying = work.pieces(5, 3, 20)
    with swept(settings.experiment, "gap_agents", settings.seed, folder, sweeping) as found:
        return _made(found, settings, predicting, replaying)


def _made(found: Swept, settings: Settings, predicting: Work, replaying: Work) -> Made:
    horizon = max(settings.horizon, settings.experiment.iterations)
    predicted = moments(found.simulations, METHOD, horizon).gap_agents
    predicting.step(1, 1)
    target = settings.target * float(predicted[0, 0])
    speeds = [_speed(found, place, predicted[place], target) for place in range(len(predicted))]
    keys, timed = _timed(found.simulations, settings, replaying)
    rows = [_joined(speed, own) for speed in speeds for own in timed[speed["delta"]]]
    sample = (
        f"{settings.experiment.runs} runs of {settings.experiment.iterations} iterations for each "
        f"δ, n = {found.simulations[0].network.agents}, d = {found.simulations[0].problem.dim}"
    )
    replays = (
        f"medians of {settings.turns * (settings.replayed - 1)} encrypted iterations on one "
        "processor, all agents one after the other"
    )
    told = deployment_figure.Told(target, settings.target, sample, replays)
    return Made(
        deployment_figure.drawings(found, predicted, rows, told),
        [_convergence(speeds, told), _times(rows, told), _keys(keys, rows, found)],
        _checks(found, speeds, rows, keys, settings),
        _DIFFERS,
    )


_DIFFERS = (
    "The article tells of no measurement of this, and leaves it open. Times are of "
    "this implementation on this machine, with packed ciphertexts, the Chinese remainder theorem "
    "and short exponents, and of no network: messages take no time. The range of the levels is "
    "fixed at |q| ≤ 2²⁸ here, so slots do not depend on δ; the table says what they would be if "
    "they were fitted to δ. Keys of 1024 bits are shorter than is recommended today, and are here "
    "for comparison only."
)


def _speed(found: Swept, place: int, predicted: np.ndarray, target: float) -> Row:
    """How fast one δ converges, measured and predicted."""
    course = found.courses[place]
    reached, last = course.reached(target), int(course.iteration[-1])
    return {
        "delta": float(_method(found.simulations[place]).delta),
        **spread("iterations", reached),
        "iterations_predicted": finite(first_at(np.arange(len(predicted)), predicted, target)),
        **spread("gap", course.end),
        "gap_standard_error": float(course.error[-1]),
        "gap_predicted": float(predicted[last]),
    }


def _timed(
    simulations: tuple[Simulation, ...], settings: Settings, work: Work
) -> tuple[list[Row], dict[float, list[Row]]]:
    """Keys, and for each δ a row for each length: packing, bytes, and times of real replays."""
    generated, keys = [], {}
    lengths = settings.key_bits
    making, tracing, replaying = work.pieces(3, 2, 15)
    agents = simulations[0].network.agents
    for place, bits in enumerate(lengths):
        began = time.perf_counter()
        keys[bits] = _encryption(bits).generate(agents)
        seconds = time.perf_counter() - began
        generated.append({"key_bits": bits, "agents": agents, "seconds": seconds})
        making.step(place + 1, len(lengths))
    stretches = []
    for place, simulation in enumerate(simulations):
        stretches.append(_stretch(simulation, settings.replayed))
        tracing.step(place + 1, len(simulations))
    # By turns, so that what else the machine does is spread over all.
    times: dict[tuple[int, int], list[float]] = {}
    counts: dict[tuple[int, int], dict[str, int]] = {}
    total = len(simulations) * settings.turns * sum(bits**3 for bits in lengths)
    done = 0
    for turn in range(settings.turns):
        pairs = [(place, bits) for place in range(len(simulations)) for bits in lengths]
        for place, bits in pairs if turn % 2 == 0 else reversed(pairs):
            protocol = protocol_of(simulations[place], METHOD, _encryption(bits))
            spent, counts[place, bits] = _milliseconds(protocol, stretches[place], keys[bits], bits)
            times.setdefault((place, bits), []).extend(spent)
            done += bits**3
            replaying.step(done, total)
    rows: dict[float, list[Row]] = {}
    for place, simulation in enumerate(simulations):
        delta = float(_method(simulation).delta)
        rows[delta] = [
            _packed(simulation, bits, settings)
            | _spent(times[place, bits])
            | {"operations": sum(counts[place, bits].values()) / settings.replayed}
            for bits in lengths
        ]
    return generated, rows


def _encryption(bits: int) -> Encryption:
    return Encryption(key_bits=bits, insecure_test_keys=bits < 2048)


def _method(simulation: Simulation) -> EncryptedDSGD:
    algorithm = simulation.algorithms[METHOD]
    assert isinstance(algorithm, EncryptedDSGD)  # `moments` refuses others
    return algorithm


def _stretch(simulation: Simulation, iterations: int) -> Stretch:
    """The integers of the first iterations of run 0."""
    result = simulate(
        {METHOD: simulation.algorithms[METHOD]},
        simulation.problem,
        simulation.network,
        runs=1,
        iterations=iterations,
        seed=simulation.seed,
        trace=(0,),
        metrics=("gap_agents",),
        points=2,
        x0=simulation.start,
    )
    trace = result.traces[METHOD]
    table = _method(simulation).table(simulation.network, np.arange(iterations, dtype=np.int64))
    integers = trace.state[0], trace.level[0], trace.sums[0], trace.increment[0]
    return Stretch(METHOD, 0, 0, np.asarray(table.gain), *integers)


def _milliseconds(
    protocol: Protocol, stretch: Stretch, keys: Keys, bits: int
) -> tuple[list[float], dict[str, int]]:
    """Of each encrypted iteration but the first, with whose time those of keys and tables are.

    With it how often each operation was done in all iterations.
    """
    ends: list[float] = []
    replayed = replay(
        protocol,
        stretch,
        _encryption(bits).backend(),
        keys,
        progress=lambda _: ends.append(time.perf_counter()),
    )
    if replayed.mismatches:
        raise RuntimeError(f"a replay with {bits}-bit keys differs: {replayed.first_mismatch}")
    done = {name: n for name, n in replayed.tally.counts.items() if name not in _SETUP}
    return list(1e3 * np.diff(ends)), done


def _packed(simulation: Simulation, bits: int, settings: Settings) -> Row:
    """How messages are packed, and what they weigh."""
    protocol, delta = protocol_of(simulation, METHOD, _encryption(bits)), _method(simulation).delta
    links = sum(len(protocol.weights(agent)) for agent in range(protocol.agents))
    limit = int(np.ceil(settings.fitted_range / delta)) + 1
    needed = sum_limit(protocol.coupling, protocol.factors, limit).bit_length() + 1
    fitted = Packing.fitting(protocol.dim, needed, bits, packed=True)
    size = ciphertext_bytes(2**bits - 1)
    return {
        "key_bits": bits,
        "slot_bits": protocol.packing.width,
        "slots": protocol.packing.slots,
        "ciphertexts": protocol.message_ciphertexts,
        "fitted_slot_bits": fitted.width,
        "fitted_slots": fitted.slots,
        "bytes": 2 * links * protocol.message_ciphertexts * size,
    }


def _spent(milliseconds: list[float]) -> Row:
    low, median, high = np.quantile(milliseconds, [0.25, 0.5, 0.75])
    found = {"ms": float(median), "ms_low": float(low), "ms_high": float(high)}
    return found | {"timed": len(milliseconds)}


def _joined(speed: Row, own: Row) -> Row:
    """Iterations to the target times what one of them takes."""
    row = speed | own
    for end, iterations in (
        ("", speed["iterations"]),
        ("_low", speed["iterations_low"]),
        ("_high", speed["iterations_high"]),
        ("_predicted", speed["iterations_predicted"]),
    ):
        row[f"seconds{end}"] = None if iterations is None else iterations * own["ms"] / 1e3
    kilo = None if speed["iterations"] is None else speed["iterations"] * own["bytes"] / 1e3
    return row | {"kilobytes": kilo}


def _checks(
    found: Swept, speeds: list[Row], rows: list[Row], keys: list[Row], settings: Settings
) -> list[Check]:
    off = [standard_errors(s["gap"], s["gap_standard_error"], s["gap_predicted"]) for s in speeds]
    runs = settings.experiment.runs * len(speeds)
    by_key = {
        key["key_bits"]: [r for r in rows if r["key_bits"] == key["key_bits"]] for key in keys
    }
    medians = [float(np.median([r["ms"] for r in own])) for _, own in sorted(by_key.items())]
    finest, coarsest = speeds[0], speeds[-1]
    return [
        Check("every run sound", found.failed == 0, f"{found.failed} of {runs} runs failed"),
        Check(
            "the gap at the end is what the recursion predicts",
            max(off) <= _MOST,
            f"at most {max(off):.2g} standard errors away (limit {_MOST:g}) for {len(speeds)} δ",
        ),
        Check(
            "a coarser δ converges more slowly",
            finest["gap_high"] < coarsest["gap_low"],
            f"gap at the end {finest['gap']:.3g} [{finest['gap_low']:.3g}, "
            f"{finest['gap_high']:.3g}] at δ = {finest['delta']:.3g}, {coarsest['gap']:.3g} "
            f"[{coarsest['gap_low']:.3g}, {coarsest['gap_high']:.3g}] at δ = "
            f"{coarsest['delta']:.3g}",
        ),
        Check(
            "δ changes neither packing nor bytes nor the operations of an iteration",
            all(
                len({tuple(r[name] for name in _OF_THE_KEY) for r in own}) == 1
                for own in by_key.values()
            ),
            "; ".join(_same(bits, own) for bits, own in by_key.items()),
        ),
        Check(
            "longer keys take longer, and change nothing else",
            all(first < second for first, second in itertools.pairwise(medians)),
            ", ".join(
                f"{bits} bits {median:.3g} ms"
                for bits, median in zip(sorted(by_key), medians, strict=True)
            )
            + "; every integer of every replay is that of the simulation",
        ),
    ]


_OF_THE_KEY = ("slots", "ciphertexts", "bytes", "operations")
"""What δ must not change."""


def _same(bits: int, own: list[Row]) -> str:
    """What a length of keys decides, and how far times are apart all the same."""
    first, ms = own[0], [row["ms"] for row in own]
    return (
        f"{bits} bits: {first['slots']} slots, {first['bytes']:,} bytes and "
        f"{first['operations']:g} operations an iteration, {min(ms):.3g} to {max(ms):.3g} ms over δ"
    )


def _convergence(speeds: list[Row], told: "deployment_figure.Told") -> Table:
    shown = [
        speed
        | {
            "iterations_95": interval(speed["iterations_low"], speed["iterations_high"]),
            "gap_95": interval(speed["gap_low"], speed["gap_high"]),
        }
        for speed in speeds
    ]
    return Table(
        "convergence",
        f"Quantization step δ and convergence: iterations until the mean of F(x_i) − F* over "
        f"agents and runs stays at or below {told.target:.3g} ({told.fraction:g} of its start; a "
        "dash: not reached), and this mean at the end. Predicted: the recursion of means and "
        "variances, which simulates nothing and takes states as normal where it rounds. "
        f"{told.sample}; 95 % intervals: bootstrap over runs.",
        (
            Column("delta", "δ", digits=".5g"),
            Column("iterations", "iterations", digits=".0f"),
            Column("iterations_95", "iterations, 95 %", digits=".0f"),
            Column("iterations_predicted", "iterations, predicted", digits=".0f"),
            Column("gap", "gap at the end"),
            Column("gap_95", "gap, 95 %"),
            Column("gap_predicted", "gap, predicted"),
        ),
        shown,
    )


def _times(rows: list[Row], told: "deployment_figure.Told") -> Table:
    shown = [
        row
        | {
            "quartiles": interval(row["ms_low"], row["ms_high"]),
            "seconds_95": interval(row["seconds_low"], row["seconds_high"]),
        }
        for row in rows
    ]
    return Table(
        "wall-clock",
        f"Wall-clock and traffic until the target of {told.target:.3g} is reached (a dash: not "
        f"reached), for each quantization step δ and key length: {told.replays}, with quartiles; "
        f"set-up not included. Where the target is not reached the figure has what is predicted. "
        f"{told.sample}. 95 % intervals are those of the iterations.",
        (
            Column("delta", "δ", digits=".5g"),
            Column("key_bits", "key", "bits", digits="d"),
            Column("ms", "an iteration", "ms"),
            Column("quartiles", "an iteration, quartiles", "ms"),
            Column("iterations", "iterations", digits=".0f"),
            Column("seconds", "to the target", "s"),
            Column("seconds_95", "to the target, 95 %", "s"),
            Column("kilobytes", "to the target, on the wire", "kB", digits=",.0f"),
        ),
        shown,
    )


def _keys(keys: list[Row], rows: list[Row], found: Swept) -> Table:
    """A row for each length of keys: what depends on it, and what on δ it might depend on."""
    shown = []
    for key in keys:
        own = [row for row in rows if row["key_bits"] == key["key_bits"]]
        fitted = sorted((row["fitted_slot_bits"], row["fitted_slots"]) for row in own)
        shown.append(
            key
            | {name: own[0][name] for name in ("slot_bits", "slots", "ciphertexts", "bytes")}
            | {
                "fitted_bits": f"{fitted[0][0]} – {fitted[-1][0]}",
                "fitted_slots": f"{fitted[-1][1]} – {fitted[0][1]}",
                "ms": float(np.median([row["ms"] for row in own])),
            }
        )
    network = found.simulations[0].network
    return Table(
        "keys",
        f"What the key length decides: seconds to generate the key pairs of {network.agents} "
        "agents one after the other (one sample; single ones vary widely), slots in a plaintext "
        "(coordinates that one ciphertext carries) and their bits, which are the same for every δ; "
        "what they would be if they were fitted to δ, over all δ of the sweep; ciphertexts in a "
        f"message, bytes an iteration over all {len(network.edges)} links, and the time of an "
        "encrypted iteration, the median over δ of the medians.",
        (
            Column("key_bits", "key", "bits", digits="d"),
            Column("seconds", "generation", "s"),
            Column("slot_bits", "slot", "bits", digits="d"),
            Column("slots", "slots", digits="d"),
            Column("fitted_bits", "fitted slot", "bits"),
            Column("fitted_slots", "fitted slots"),
            Column("ciphertexts", "ciphertexts", digits="d"),
            Column("bytes", "traffic, an iteration", "bytes", digits=",d"),
            Column("ms", "time, an iteration", "ms"),
        ),
        shown,
    )
