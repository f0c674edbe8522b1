"""Whether a trace belongs to the simulation that it is said to come from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int64

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.lattice import FRACTION_BITS, LEFT_RANGE, NON_FINITE, STATE_LIMIT
from dpe_jax.simulation import Simulation

if TYPE_CHECKING:
    import xarray as xr


_LAST_WORDS = {LEFT_RANGE: -(2**61), NON_FINITE: -(2**62)}
"""What an element of Y is from its failure on; the later status outranks the other."""


@dataclass(frozen=True)
class Disagreement:
    """A number of a trace that is not what the settings make it."""

    method: str
    name: str
    index: tuple[int, ...]
    expected: Any
    """By the settings."""
    got: Any
    """In the trace."""

    def __str__(self) -> str:
        index = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{self.method}: {self.name}{index} is {self.got!r}, expected {self.expected!r}"


def disagreements(simulation: Simulation, method: str, trace: "xr.Dataset") -> list[Disagreement]:
    """Weights, D, δ, Γ^k, λ̄^k·2³²/δ, seed, rounding, factors, runs and Y_0, each worked out anew.

    Likewise the status of each lane, from its last state, and that whatever left the range stayed
    as it was.

    Of an array the first number that differs is named. InputError if the trace is of a method that
    the simulation does not have on the lattice.
    """
    algorithm = simulation.algorithms.get(method)
    if not isinstance(algorithm, EncryptedDSGD):
        names = [name for name, m in simulation.algorithms.items() if isinstance(m, EncryptedDSGD)]
        raise InputError("trace", method, f"one of a method on the lattice ({', '.join(names)})")
    network = simulation.network
    table = algorithm.table(network, np.arange(simulation.iterations, dtype=np.int64))
    runs = np.array(simulation.trace, np.int64)
    start = np.rint(simulation.start * (2.0**FRACTION_BITS / algorithm.delta)).astype(np.int64)
    found = []

    def compare(name: str, expected: Any, got: Any) -> None:
        expected, got = np.asarray(expected), np.asarray(got)
        if expected.shape != got.shape:
            found.append(Disagreement(method, f"shape of {name}", (), expected.shape, got.shape))
            return
        for index in np.argwhere(expected != got)[:1]:
            place = tuple(index.tolist())
            values = expected[place].item(), got[place].item()
            found.append(Disagreement(method, name, place, *values))

    attributes: dict[str, Any] = {
        "method": method,
        "denominator": network.denominator,
        "delta": algorithm.delta,
        "rounding": algorithm.rounding,
        **{f"factors_{key}": value for key, value in algorithm.factors.describe().items()},
        "seed": str(simulation.seed),
        "precision": simulation.precision,
        "fraction_bits": FRACTION_BITS,
    }
    for name, expected in attributes.items():
        compare(name, expected, trace.attrs.get(name))
    compare("coupling", network.coupling, trace.coupling.values)
    compare("gain", table.gain, trace.gain.values)
    compare("increment_scale", table.increment_scale, trace.increment_scale.values)
    compare("run", np.sort(runs), np.sort(trace.run.values))
    lanes = trace.sizes["lane"]
    state = trace.trace_state.values
    compare("Y_0", np.broadcast_to(start, (lanes, *start.shape)), state[:, 0])
    status = np.zeros(lanes, np.int64)
    for code, word in _LAST_WORDS.items():
        status[(state[:, -1] == word).any(axis=(1, 2))] = code
    compare("status", status, trace.status.values)
    # A failed element has one of these words from then on; nothing else is out of range.
    kept = np.where(out_of_range(state[:, :-1]), state[:, :-1], state[:, 1:])
    compare("trace_state", np.concatenate([state[:, :1], kept], axis=1), state)
    words = np.isin(state, list(_LAST_WORDS.values()))
    for index in np.argwhere(out_of_range(state) & ~words)[:1]:
        place = tuple(index.tolist())
        expected = f"at most {STATE_LIMIT} in size"
        found.append(Disagreement(method, "trace_state", place, expected, state[place].item()))
    return found


def out_of_range(state: Int64[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """|Y| > 2⁶⁰."""
    # Not np.abs: −2⁶³ is its own.
    return (state > STATE_LIMIT) | (state < -STATE_LIMIT)
