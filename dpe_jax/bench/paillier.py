"""Encrypted replays beside a straightforward exchange with phe, and forecasts beside replays.

For `five-agents` (d = 2) and `hospitals` (d = 31), on the traced levels of the same run:
milliseconds an iteration of

- the replay with the backend `fast` (short exponents), everything included that an iteration does:
  rounding, serialised messages, update, comparison of every integer;
- the same with the backend `phe`;
- a straightforward exchange with phe, one coordinate a ciphertext, written as in phe's
  documentation, which passes phe's own objects instead of messages and only exchanges.

Beside that the forecasts of `dpe cost` against measured replays, three by turns, for every kind of
weight factors and randomness.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from phe import paillier

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bench.timing import Told, about
from dpe_jax.cost import forecast, protocol_of
from dpe_jax.experiment import find_config, override
from dpe_jax.factors import CoordinateFactors, Factors, LinkFactors, PublicFactors
from dpe_jax.paillier.protocol import Protocol
from dpe_jax.paillier.replay import Replayed, Stretch
from dpe_jax.paillier.setup import Encryption, Work
from dpe_jax.simulation import Simulation
from dpe_jax.study import simulate

_SETUP = ("keys", "tables")
_FAST_ITERATIONS = 40
_FORECAST_TURNS = 3


def measure(
    key_bits: int, turns: int, forecasts: bool = True, told: Told = lambda _: None
) -> dict[str, Any]:
    """The report; `forecasts` takes some minutes with keys of 2048 bits."""
    return {
        "exchange": {
            name: _compare(name, phe_iterations, key_bits, turns, told)
            for name, phe_iterations in (("five-agents", 4), ("hospitals", 1))
        },
        **({"forecast": _forecasts(key_bits, told)} if forecasts else {}),
        "key_bits": key_bits,
        **about(turns, ("phe", "gmpy2")),
    }


def _compare(preset: str, phe_iterations: int, bits: int, turns: int, told: Told) -> dict[str, Any]:
    simulation = _simulation(preset, PublicFactors())
    stretch = _stretch(simulation, _FAST_ITERATIONS)
    few = _first(stretch, phe_iterations)
    fast = Encryption("fast", None, bits, bits < 2048)
    phe = Encryption("phe", None, bits, bits < 2048)
    keys = fast.generate(simulation.network.agents)
    coupling = simulation.network.coupling.tolist()
    pairs = [paillier.generate_paillier_keypair(n_length=bits) for _ in keys]
    candidates: dict[str, Callable[[], float]] = {
        "fast": lambda: _replay(_protocol(simulation, fast), stretch, Work(fast, keys)),
        "phe backend": lambda: _replay(_protocol(simulation, phe), few, Work(phe, keys)),
        "straightforward phe": lambda: _straightforward(few, coupling, pairs),
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(turns):
        for name, candidate in candidates.items():
            times[name].append(candidate())
            told(f"{preset}, turn {turn + 1}: {name} {times[name][-1]:.1f} ms")
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "dim": simulation.problem.dim,
        "iterations": {"fast": stretch.count, "phe": few.count},
        "milliseconds": {
            name: {"median": medians[name], "low": min(values), "high": max(values)}
            for name, values in times.items()
        },
        "times_fast": {name: medians[name] / medians["fast"] for name in medians},
    }


def _simulation(preset: str, factors: Factors) -> Simulation:
    """A few runs of the encrypted method of a preset."""
    config = override(find_config(preset), {"runs": 2, "trace": [1]})
    simulation = config.build()
    method = simulation.algorithms["encrypted"]
    assert isinstance(method, EncryptedDSGD)
    encrypted = EncryptedDSGD(
        method.gamma, method.stepsize, method.delta, method.multipliers, factors=factors
    )
    return Simulation(
        {"encrypted": encrypted},
        simulation.problem,
        simulation.network,
        simulation.runs,
        simulation.iterations,
        trace=(1,),
    )


def _stretch(simulation: Simulation, iterations: int) -> Stretch:
    """What was traced of the first iterations."""
    result = simulate(
        simulation.algorithms,
        simulation.problem,
        simulation.network,
        runs=2,
        iterations=iterations,
        trace=(1,),
        metrics=(),
        points=2,
    )
    trace = result.traces["encrypted"]
    table = simulation.algorithms["encrypted"].table(simulation.network, np.arange(iterations))
    return Stretch(
        "encrypted", 1, 0, table.gain, trace.state[0], trace.level[0], trace.sums[0],
        trace.increment[0],
    )  # fmt: skip


def _first(stretch: Stretch, count: int) -> Stretch:
    return Stretch(
        stretch.method, stretch.run, stretch.first, stretch.gains[:count],
        stretch.state[: count + 1], stretch.level[:count], stretch.sums[:count],
        stretch.increment[:count],
    )  # fmt: skip


def _protocol(simulation: Simulation, encryption: Encryption) -> Protocol:
    return protocol_of(simulation, "encrypted", encryption)


def _replay(protocol: Protocol, stretch: Stretch, work: Work) -> float:
    """Milliseconds an iteration, without the set-up of keys."""
    seconds, replayed = _timed(work, protocol, stretch)
    return 1e3 * (seconds - _setup(replayed)) / stretch.count


def _timed(work: Work, protocol: Protocol, stretch: Stretch) -> tuple[float, Replayed]:
    began = time.perf_counter()
    replayed = work((protocol, stretch))
    seconds = time.perf_counter() - began
    if replayed.mismatches or replayed.iterations != stretch.count:
        raise RuntimeError(f"the replay does not agree: {replayed.first_mismatch}")
    return seconds, replayed


def _setup(replayed: Replayed) -> float:
    return sum(replayed.tally.seconds[name] for name in _SETUP)


def _straightforward(
    stretch: Stretch,
    coupling: list[list[int]],
    pairs: list[tuple[paillier.PaillierPublicKey, paillier.PaillierPrivateKey]],
) -> float:
    """Milliseconds an iteration of the exchange alone."""
    agents = range(len(pairs))
    levels, sums = stretch.level.tolist(), stretch.sums.tolist()
    began = time.perf_counter()
    found = []
    for q in levels:
        announced = [[pairs[i][0].encrypt(-value) for value in q[i]] for i in agents]
        v = []
        for i in agents:
            public, private = pairs[i]
            total = None
            for j in agents:
                if coupling[i][j]:
                    reply = [
                        (cipher + public.encrypt(value)) * coupling[i][j]
                        for cipher, value in zip(announced[i], q[j], strict=True)
                    ]
                    total = reply if total is None else [a + b for a, b in zip(total, reply)]  # noqa: B905
            v.append([private.decrypt(cipher) for cipher in total or []])
        found.append(v)
    seconds = time.perf_counter() - began
    if found != sums:
        raise RuntimeError("the straightforward exchange does not agree")
    return 1e3 * seconds / len(levels)


def _forecasts(bits: int, told: Told) -> list[dict[str, Any]]:
    """Forecast and measured seconds of replays; set-up apart, since primes are a lottery."""
    found = []
    short, full, phe = (
        Encryption("fast", "short", bits, bits < 2048),
        Encryption("fast", "full", bits, bits < 2048),
        Encryption("phe", None, bits, bits < 2048),
    )
    cases: tuple[tuple[str, Factors, Encryption, int], ...] = (
        ("five-agents", PublicFactors(), short, 200),
        ("five-agents", LinkFactors(), short, 200),
        ("five-agents", CoordinateFactors(), short, 100),
        ("five-agents", PublicFactors(), full, 50),
        ("five-agents", PublicFactors(), phe, 10),
        ("hospitals", PublicFactors(), short, 200),
        ("hospitals", CoordinateFactors(), short, 10),
        ("hospitals", PublicFactors(), phe, 1),
    )
    for preset, factors, encryption, iterations in cases:
        simulation = _simulation(preset, factors)
        stretch = _stretch(simulation, iterations)
        work = Work(encryption, encryption.generate(simulation.network.agents))
        protocol = _protocol(simulation, encryption)
        pairs, foretold, replayed = [], None, None
        # By turns, since the machine's speed drifts.
        for _ in range(_FORECAST_TURNS):
            foretold = forecast(simulation, "encrypted", encryption, iterations)
            seconds, replayed = _timed(work, protocol, stretch)
            pairs.append((foretold.iteration_seconds, (seconds - _setup(replayed)) / iterations))
        assert foretold is not None
        assert replayed is not None
        forecast_seconds, measured = (
            statistics.median(column) for column in zip(*pairs, strict=True)
        )
        found.append(
            {
                "preset": preset,
                "factors": factors.kind,
                "backend": encryption.name,
                "randomness": encryption.randomness,
                "iterations": iterations,
                "forecast_milliseconds": 1e3 * forecast_seconds,
                "measured_milliseconds": 1e3 * measured,
                "ratio": forecast_seconds / measured,
                "forecast_bytes": foretold.wire_bytes,
                "measured_bytes": replayed.wire_bytes,
            }
        )
        told(f"forecast for {preset}, {factors.kind}: {found[-1]['ratio']:.2f} of what it took")
    return found
