"""The contract that every method fulfils."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int8, Int64, PyTree

from dpe_jax.conditions import Condition
from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.exchange import Exchange
from dpe_jax.network import Network
from dpe_jax.problems.base import Problem

State = PyTree
"""What a method's next step needs, nothing else."""

Row = PyTree
"""The method's tabulated coefficients at one iteration."""


class Step(eqx.Module):
    """What observers, traces and adversaries may see of one step; never fed back into the state.

    Whatever a program does not use of it costs nothing: XLA removes the computation.
    """

    position: Float[Array, "agents dim lanes"]
    """x^k, before the step."""

    message: Array
    """What each agent's neighbors are to learn a weighted difference of: x, or the levels q."""

    quantization_error: Float[Array, "agents dim lanes"]
    """ξ_i = Σ_j w_ij (e_j − e_i), e = Q(x) − x; zero for a method that does not quantize."""

    sums: Array
    """What an agent learns from the exchange: v in integers on the lattice, otherwise
    Σ_j w_ij (x_j − x_i)."""

    mixing: Array
    """What the exchange adds to the state: Γ^k v in integers on the lattice, otherwise the sums."""

    increment: Array
    """Λ_i g_i, what the private step subtracts: int64 U on the lattice, otherwise in units of x."""

    gradient: Float[Array, "agents dim lanes"]
    """g_i^k as it was drawn, before a method clips or masks it: what is to stay private."""


class Disclosure(eqx.Module):
    """What a coalition works out of one iteration if it hears all messages, in units of x.

    Agent i moves by x̂_i⁺ = y_i + gain Σ_j w_ij (y_j − y_i) − stepsize (g_i + mask_i), up to what
    messages hide.
    """

    said: Float[Array, "agents dim lanes"]
    """y_i, the message."""
    state: Float[Array, "agents dim lanes"]
    """x̂_i: the message without what insiders know of its perturbation."""
    mask: Float[Array, "agents dim lanes"]
    """What insiders know to be added to the gradients."""
    gain: Float[Array, "*lanes"]
    """Of the weighted differences of messages in the update."""
    stepsize: Float[Array, "*lanes"]
    """λ^k, or the public mean λ̄^k."""


@dataclasses.dataclass(frozen=True)
class Wire:
    """What one agent sends to a neighbor, and how much of it an eavesdropper can read."""

    message: str
    """The message, as a formula; what `Step.message` holds."""
    readable: bool
    """Whether whoever listens reads it; if not, it is encrypted, or nothing is sent."""
    public: tuple[str, ...]
    """Parameters that everybody knows."""
    private: tuple[str, ...] = ()
    """What each agent draws and keeps to itself."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """ε of differential privacy that a method spends, for one run; see `assumptions`."""

    epsilon: Float[np.ndarray, " iterations"]
    """Spent in each iteration."""
    total: float
    """Over all iterations of the run."""
    limit: float | None
    """Over infinitely many iterations; None where the sum diverges or no closed form is known."""
    assumptions: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """For the manifest: ε of some iterations and spent by their end, and what they rest on."""
        last = len(self.epsilon) - 1
        at = np.unique(np.geomspace(1, last + 1, 20).astype(np.int64)) - 1
        return {
            "iteration": at.tolist(),
            "epsilon": self.epsilon[at].tolist(),
            "spent": np.cumsum(self.epsilon)[at].tolist(),
            "total": self.total,
            "limit": self.limit,
            "assumptions": list(self.assumptions),
        }


class Algorithm(eqx.Module):
    """A method; its fields are its hyper-parameters, and it keeps no state of its own.

    A subclass is a method of one's own: x^{k+1} follows from the state [agents, dim, lanes] of k,
    the draws of k + 1 and the coefficients of k, tabulated on the host. `InputError` for
    hyper-parameters, a network or a start with which it cannot run. Each subclass names its source
    and what of it is reconstructed.
    """

    @abc.abstractmethod
    def table(self, network: Network, iterations: Int64[np.ndarray, " iterations"]) -> Row:
        """Coefficients of the given iterations, tabulated on the host in float64.

        A pytree of arrays [iterations]; `step` receives one row of each. Raises InputError for
        coefficients with which a step could not be computed exactly.
        """

    @abc.abstractmethod
    def conditions(self, network: Network) -> tuple[Condition, ...]:
        """The sufficient conditions of the method's convergence, each with its verdict."""

    @abc.abstractmethod
    def check(self, network: Network, x0: Float[np.ndarray, "agents dim"]) -> None:
        """Refuse settings that cannot run."""

    @abc.abstractmethod
    def reach(self) -> float:
        """The largest |x_i| of a lane in range, in units of x; see `lattice.LEFT_RANGE`."""

    @abc.abstractmethod
    def init(self, x0: Float[Array, "agents dim"], exchange: Exchange, draws: Draws) -> State:
        """The state at k = 0; `draws` are those of time 0 and say how many lanes there are.

        What agents agree on before the first iteration, they agree on here, over the exchange.
        """

    @abc.abstractmethod
    def step(
        self, state: State, problem: Problem, exchange: Exchange, draws: Draws, row: Row
    ) -> tuple[State, Step]:
        """One iteration k → k + 1 with the draws of time k + 1 and the coefficients of k."""

    @abc.abstractmethod
    def position(self, state: State) -> Float[Array, "agents dim lanes"]:
        """Each agent's x, in float64."""

    @abc.abstractmethod
    def integer_state(self, state: State) -> Int64[Array, "agents dim lanes"] | None:
        """Y, for a method whose state lives on the lattice (only those are traced); else None."""

    @abc.abstractmethod
    def status(self, state: State) -> Int8[Array, " lanes"]:
        """Status of each lane, as in `lattice`: ok, left the range, non-finite."""

    @abc.abstractmethod
    def disclosed(
        self,
        step: Step,
        exchange: Exchange,
        draws: Draws,
        row: Row,
        insiders: Bool[Array, " agents"],
    ) -> Disclosure:
        """What a coalition knows of an iteration; `insiders` are the agents among it.

        Arguments are those of `step`, and what it gave. How a message is encrypted is not the
        matter here: whether a coalition can read it, its view decides.
        """

    @abc.abstractmethod
    def wire(self) -> Wire:
        """What goes over the wire."""

    @abc.abstractmethod
    def budget(self, network: Network, dim: int, iterations: int) -> Budget | None:
        """ε of differential privacy; None for a method that promises none."""

    @abc.abstractmethod
    def predicted_exponent(self) -> float | None:
        """β of the agents' error ~ k^−β with unlike agents, where theory predicts one (derived)."""

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """The method and its hyper-parameters, for the manifest."""


def check_start(x0: Float[np.ndarray, "agents dim"], reach: float, name: str) -> None:
    """Refuse a start with an |x| beyond `reach`; `name` says what that is."""
    largest = float(np.max(np.abs(x0)))
    if not largest <= reach:
        accepted = f"numbers of magnitude at most {name} = {reach:.6g}"
        raise InputError("x0", largest, accepted)
