"""Whether a trace belongs to the simulation that it is said to come from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.lattice import FRACTION_BITS
from dpe_jax.simulation import Simulation

if TYPE_CHECKING:
    import xarray as xr


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
    compare("Y_0", np.broadcast_to(start, (lanes, *start.shape)), trace.trace_state.values[:, 0])
    return found
