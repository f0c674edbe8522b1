"""Simulations: which methods, problem and network, how many runs, and what comes back."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax import lattice
from dpe_jax.algorithms import Algorithm, Budget, EncryptedDSGD
from dpe_jax.conditions import Condition, violated
from dpe_jax.errors import InputError
from dpe_jax.layout import coordinates
from dpe_jax.network import Network
from dpe_jax.observe import Metric, check_metrics, defaults
from dpe_jax.problems.base import Problem
from dpe_jax.timeline import Spacing, record_points

_COARSE_GAIN = 1e-2
"""Relative rounding of Γ^k from which on a simulation warns."""

Precision = Literal["float32", "float64"]


class ConditionWarning(UserWarning):
    """The chosen settings break a sufficient condition of convergence, or round γ^k coarsely.

    The conditions of each method are in its `conditions`; those of the encrypted one, such as
    Σ λ̄²/γ < ∞, are reconstructed. They are sufficient only: it is a warning, and the run goes on.
    """


@dataclasses.dataclass(frozen=True)
class Simulation:
    """Everything that determines a simulation; a `study.Study` runs it.

    Fields are the arguments of `study.simulate`: `runs` Monte Carlo runs of `iterations` each, of
    which the integers of runs `trace` are kept, with `points` record points; `block` lanes at a
    time; x0 [agents, dim] or [dim], in units of x. `InputError` for whatever does not fit, before
    anything runs.
    """

    algorithms: Mapping[str, Algorithm]
    problem: Problem
    network: Network
    runs: int
    iterations: int
    seed: int = 0
    trace: tuple[int, ...] = ()
    metrics: tuple[Metric, ...] | None = None
    """By default those of `observe.defaults`; here `observed` says which."""
    points: int = 200
    spacing: Spacing = "log"
    precision: Precision = "float32"
    block: int | None = None
    x0: Float[np.ndarray, "*agents dim"] | None = None

    def __post_init__(self) -> None:
        named = isinstance(self.algorithms, Mapping) and self.algorithms
        if not named or not all(isinstance(m, Algorithm) for m in self.algorithms.values()):
            accepted = "a method, or names of methods with the methods (at least one)"
            raise InputError("algorithms", self.algorithms, accepted)
        for name, least in (("runs", 1), ("iterations", 1), ("points", 2)):
            value = getattr(self, name)
            if not _is_integer(value) or value < least:
                raise InputError(name, value, f"an integer of at least {least}")
        if self.runs > 2**32:
            raise InputError("runs", self.runs, "at most 2³², the range of the run counter")
        if not _is_integer(self.seed) or not 0 <= self.seed < 2**64:
            raise InputError("seed", self.seed, "an integer from 0 to 2⁶⁴ − 1")
        if self.precision not in ("float32", "float64"):
            raise InputError("precision", self.precision, "'float32' or 'float64'")
        if self.block is not None and (not _is_integer(self.block) or self.block < 1):
            raise InputError("block", self.block, "a positive integer of lanes, or none")
        for run in self.trace:
            if not _is_integer(run) or not 0 <= run < self.runs:
                raise InputError("trace", run, f"run numbers from 0 to {self.runs - 1}")
        if len(set(self.trace)) != len(self.trace):
            raise InputError("trace", self.trace, "run numbers without repetition")
        if self.problem.agents != self.network.agents:
            raise InputError(
                "network",
                self.network.agents,
                f"as many agents as the problem has ({self.problem.agents})",
            )
        metrics = defaults(self.problem) if self.metrics is None else self.metrics
        object.__setattr__(self, "metrics", check_metrics(metrics, self.problem))
        shape = (self.problem.agents, self.problem.dim)
        x0 = _start(self.problem.start if self.x0 is None else self.x0, shape)
        if x0.shape not in (shape, shape[1:]):
            raise InputError("x0", x0.shape, f"shape {shape} or {shape[1:]}")
        if not np.all(np.isfinite(x0)):
            raise InputError("x0", x0, "finite numbers")
        object.__setattr__(self, "x0", np.broadcast_to(x0, shape).copy())
        record_points(self.iterations, self.points, self.spacing)
        for name, algorithm in self.algorithms.items():
            try:
                algorithm.check(self.network, self.start)
            except InputError as error:
                # Neither x_0 nor the network says which method refuses them.
                accepted = f"{error.accepted} (method {name})"
                raise InputError(error.argument, error.value, accepted) from error
            algorithm.table(self.network, self._sample)

    @property
    def start(self) -> Float[np.ndarray, "agents dim"]:
        """x_0 of every run."""
        assert self.x0 is not None  # set in __post_init__
        return self.x0

    @property
    def observed(self) -> tuple[Metric, ...]:
        """The metrics that are recorded."""
        assert self.metrics is not None  # set in __post_init__
        return self.metrics

    @property
    def record(self) -> Int64[np.ndarray, " points"]:
        """Iterations at which metrics are recorded."""
        return record_points(self.iterations, self.points, self.spacing)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """The labels of every dimension of the curves."""
        problem = self.problem
        return coordinates(self.algorithms, self.record, self.runs, problem.agents, problem.dim)

    def conditions(self) -> dict[str, tuple[Condition, ...]]:
        """Each method's convergence conditions with their verdicts."""
        return {name: method.conditions(self.network) for name, method in self.algorithms.items()}

    def budgets(self) -> dict[str, Budget | None]:
        """ε of differential privacy that each method spends over the run; None if it has none."""
        dim = self.problem.dim
        return {
            name: method.budget(self.network, dim, self.iterations)
            for name, method in self.algorithms.items()
        }

    def warn(self) -> None:
        """Name every violated condition in a `ConditionWarning`."""
        for name, conditions in self.conditions().items():
            for condition in violated(conditions):
                text = f"{name}: {condition.statement} does not hold: {condition.detail}"
                warnings.warn(text, ConditionWarning, stacklevel=3)
        for name, rounding in self.headroom()["gain_rounding"].items():
            if rounding > _COARSE_GAIN:
                text = (
                    f"{name}: Γ^k is up to {rounding:.1%} away from its exact value; weights with "
                    f"a smaller common denominator than {self.network.denominator}, or smaller "
                    "weight factors, mend that"
                )
                warnings.warn(text, ConditionWarning, stacklevel=3)

    def headroom(self) -> dict[str, Any]:
        """What the lattice leaves room for.

        Per method the plaintext bits of the exchange, and the largest relative rounding of Γ^k
        against 2³² γ^k / (D E[a]²) over the run.
        """
        encrypted = {
            name: algorithm
            for name, algorithm in self.algorithms.items()
            if isinstance(algorithm, EncryptedDSGD)
        }
        return {
            "state_bits": 64,
            "fraction_bits": lattice.FRACTION_BITS,
            "state_limit": lattice.STATE_LIMIT,
            "plaintext_bits": {
                name: lattice.plaintext_bits(algorithm.row_sum(self.network))
                for name, algorithm in encrypted.items()
            },
            "gain_rounding": {
                name: algorithm.gain_rounding(self.network, self._sample)
                for name, algorithm in encrypted.items()
            },
        }

    @property
    def _sample(self) -> Int64[np.ndarray, " iterations"]:
        """All iterations up to 10⁶ and a thousand log-spaced ones beyond."""
        head = np.arange(min(self.iterations, 1_000_000), dtype=np.int64)
        tail = np.unique(np.geomspace(1, self.iterations, 1000).astype(np.int64) - 1)
        return np.union1d(head, tail)


def _start(x0: Any, shape: tuple[int, int]) -> np.ndarray:
    try:
        given = np.asarray(x0)
        if given.dtype.kind not in "fiu":
            raise ValueError
    except ValueError as error:
        raise InputError("x0", x0, f"real numbers of shape {shape} or {shape[1:]}") from error
    return given.astype(np.float64)


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
