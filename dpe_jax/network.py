"""Networks of agents: graphs, integer coupling weights, their spectrum, and Lemma 1."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, final, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Float64, Int64

from dpe_jax.errors import InputError
from dpe_jax.graphs import (
    adjacency_of,
    as_edge,
    as_positions,
    check_count,
    count_components,
    within_radius,
)
from dpe_jax.weights import (
    LARGEST_DENOMINATOR,
    Weights,
    check_matrix,
    first_asymmetry,
    levels_on,
    rationalise_matrix,
)

if TYPE_CHECKING:
    import networkx


@runtime_checkable
class Attenuation(Protocol):
    """What `Network.lemma1_from` needs of a schedule γ^k."""

    def values(self, k: Int64[np.ndarray, "count"]) -> Float64[np.ndarray, "count"]:
        """Return γ^k for each iteration k."""
        ...


@final
class Network(eqx.Module):
    """A connected undirected graph with symmetric rational coupling weights w_ij = c_ij / D.

    The weights obey w_ij = w_ji, w_ij in (0, 1] on edges and w_ii = −Σ_j w_ij (reconstructed; the
    article, Zhou et al. 2026, says: symmetric, one eigenvalue zero, all others negative).
    Integers c_ij over one denominator D are what the encrypted exchange computes with.
    `rounding` is max |c_ij/D − w_ij| over the weights that were asked for, 0.0 when exact.

    Every constructor takes `weights` = "metropolis", w_ij = 1/(1 + max(deg_i, deg_j));
    "max-degree", w_ij = 1/(1 + max_l deg_l); or a symmetric matrix whose nonzero pattern is the
    graph. D is the least common denominator where that is at most `max_denominator`; otherwise
    D = max_denominator and c_ij = round(w_ij D). A float stands for the fraction of denominator
    at most `max_denominator` within one unit in its last place, where there is one.

    Raises `InputError` when the graph has fewer than two agents, self-loops or several components,
    and when a weight is asymmetric, negative, above one, not finite or rounds to zero.
    """

    coupling: Int64[np.ndarray, "agents agents"]
    denominator: int = eqx.field(static=True)
    rounding: float = eqx.field(static=True)
    name: str = eqx.field(static=True)
    positions: Float64[np.ndarray, "agents 2"] | None = None
    """Where the agents are, for a network that has a layout."""

    def __check_init__(self) -> None:
        c = self.coupling
        if not 1 <= self.denominator <= LARGEST_DENOMINATOR:
            raise InputError("denominator", self.denominator, "an integer from 1 to 2**31")
        if c.shape[0] < 2:
            raise InputError("agents", c.shape[0], "an integer, at least 2")
        if np.diagonal(c).any():
            raise InputError("coupling", np.diagonal(c).tolist(), "a zero diagonal")
        if not np.array_equal(c, c.T):
            raise InputError("coupling", first_asymmetry(c), "a symmetric matrix")
        if c.min() < 0 or c.max() > self.denominator:
            raise InputError(
                "coupling", (int(c.min()), int(c.max())), f"levels from 0 to D = {self.denominator}"
            )
        components = count_components(c != 0)
        if components != 1:
            raise InputError(
                f"connected components of {self.name}", components, "1 (a connected graph)"
            )

    @classmethod
    def ring(
        cls, agents: int, weights: Weights = "metropolis", max_denominator: int = 2**16
    ) -> "Network":
        """Return the cycle 0 − 1 − … − (agents−1) − 0; two agents share one edge."""
        check_count("agents", agents)
        edges = [(i, (i + 1) % agents) for i in range(agents)]
        return _build(f"ring({agents})", agents, edges, weights, max_denominator)

    @classmethod
    def path(
        cls, agents: int, weights: Weights = "metropolis", max_denominator: int = 2**16
    ) -> "Network":
        """Return the path 0 − 1 − … − (agents−1)."""
        check_count("agents", agents)
        edges = [(i, i + 1) for i in range(agents - 1)]
        return _build(f"path({agents})", agents, edges, weights, max_denominator)

    @classmethod
    def star(
        cls, agents: int, weights: Weights = "metropolis", max_denominator: int = 2**16
    ) -> "Network":
        """Return the star with agent 0 at its center; `agents` counts the center."""
        check_count("agents", agents)
        edges = [(0, i) for i in range(1, agents)]
        return _build(f"star({agents})", agents, edges, weights, max_denominator)

    @classmethod
    def complete(
        cls, agents: int, weights: Weights = "metropolis", max_denominator: int = 2**16
    ) -> "Network":
        """Return the graph in which all agents are neighbors."""
        check_count("agents", agents)
        edges = [(i, j) for i in range(agents) for j in range(i)]
        return _build(f"complete({agents})", agents, edges, weights, max_denominator)

    @classmethod
    def grid(
        cls, rows: int, columns: int, weights: Weights = "metropolis", max_denominator: int = 2**16
    ) -> "Network":
        """Return the rectangular grid; the agent at (r, c) has the index r·columns + c."""
        check_count("rows", rows, 1)
        check_count("columns", columns, 1)
        agents = rows * columns
        across = [(i, i + 1) for i in range(agents) if (i + 1) % columns]
        down = [(i, i + columns) for i in range(agents - columns)]
        name = f"grid({rows}, {columns})"
        return _build(name, agents, across + down, weights, max_denominator)

    @classmethod
    def erdos_renyi(
        cls,
        agents: int,
        probability: float | int,
        seed: int,
        weights: Weights = "metropolis",
        max_denominator: int = 2**16,
    ) -> "Network":
        """Return a graph with each edge present independently; a disconnected draw is refused."""
        import networkx

        check_count("agents", agents)
        if not 0 < probability <= 1:
            raise InputError("probability", probability, "a number above 0 and at most 1")
        graph = networkx.gnp_random_graph(agents, probability, seed=seed)
        name = f"erdos_renyi({agents}, {probability}, seed={seed})"
        return _build(name, agents, graph.edges, weights, max_denominator)

    @classmethod
    def random_regular(
        cls,
        agents: int,
        degree: int,
        seed: int,
        weights: Weights = "metropolis",
        max_denominator: int = 2**16,
    ) -> "Network":
        """Return a random graph of equal degrees; a disconnected draw is refused."""
        import networkx

        check_count("agents", agents)
        if not 1 <= degree < agents or agents * degree % 2:
            accepted = f"from 1 to {agents - 1}, with agents * degree even (agents = {agents})"
            raise InputError("degree", degree, accepted)
        graph = networkx.random_regular_graph(degree, agents, seed=seed)
        name = f"random_regular({agents}, {degree}, seed={seed})"
        return _build(name, agents, graph.edges, weights, max_denominator)

    @classmethod
    def geometric(
        cls,
        agents: int,
        radius: float | int,
        seed: int,
        weights: Weights = "metropolis",
        max_denominator: int = 2**16,
    ) -> "Network":
        """Return agents at random in the unit square, with a link between any two within `radius`.

        A draw that is not connected is refused. `positions` says where they are.
        """
        check_count("agents", agents)
        positions = np.random.default_rng(seed).random((agents, 2))
        name = f"geometric({agents}, {radius}, seed={seed})"
        return _placed(name, positions, radius, weights, max_denominator)

    @classmethod
    def from_positions(
        cls,
        positions: np.ndarray | Sequence[Sequence[float | int]],
        radius: float | int,
        weights: Weights = "metropolis",
        max_denominator: int = 2**16,
    ) -> "Network":
        """Return agents at given places, with a link between any two within `radius`.

        Coordinates and `radius` are in one unit, whichever that is; the problem of
        `SensorEstimation.of_sources` takes the unit square. A radius that leaves agents unconnected
        is refused.
        """
        places = as_positions(positions)
        name = f"from_positions({len(places)}, {radius})"
        return _placed(name, places, radius, weights, max_denominator)

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[Sequence[int]] | np.ndarray,
        agents: int | None = None,
        weights: Weights = "metropolis",
        max_denominator: int = 2**16,
    ) -> "Network":
        """Return the graph of an edge list; repeated edges count once, in either direction.

        `agents` defaults to the largest index plus one.
        """
        pairs = [as_edge(edge) for edge in edges]
        if agents is None:
            agents = max((max(pair) for pair in pairs), default=-1) + 1
        return _build(f"from_edges({agents})", agents, pairs, weights, max_denominator)

    @classmethod
    def from_graph(
        cls, graph: "networkx.Graph", weights: Weights = "metropolis", max_denominator: int = 2**16
    ) -> "Network":
        """Return a simple undirected networkx graph; agent i is the i-th of `graph.nodes`.

        Edge attributes are ignored: pass weights as a matrix in the order of `graph.nodes`.
        """
        if graph.is_directed() or graph.is_multigraph():
            accepted = "an undirected networkx.Graph without parallel edges"
            raise InputError("graph", type(graph).__name__, accepted)
        index = {node: i for i, node in enumerate(graph.nodes)}
        pairs = [(index[a], index[b]) for a, b in graph.edges]
        name = f"from_graph({len(index)})"
        return _build(name, len(index), pairs, weights, max_denominator)

    @classmethod
    def from_matrix(
        cls, weights: np.ndarray | Sequence[Sequence[float | int]], max_denominator: int = 2**16
    ) -> "Network":
        """Return the graph and the weights of a symmetric matrix of w_ij in [0, 1].

        The diagonal carries nothing: all of it must be 0, or −Σ_j w_ij (this module's W), or
        1 − Σ_j w_ij (the doubly stochastic I + W), to within 1e-9.
        """
        w = check_matrix(weights)
        adjacency = w != 0
        levels, denominator, rounding = rationalise_matrix(w, adjacency, max_denominator)
        return cls(levels, denominator, rounding, f"from_matrix({w.shape[0]})")

    def scaled(self, factor: Fraction | float | int) -> "Network":
        """Return the same graph with the weights `factor` · w_ij, exactly.

        A float factor stands for the fraction of denominator at most 2**16 that it is the nearest
        float64 to (0.1 is 1/10), or else for its binary value. A weight above one is refused.
        """
        largest = Fraction(int(self.coupling.max()), self.denominator)
        if not (math.isfinite(factor) and factor > 0):
            raise InputError("factor", factor, "a finite number above 0")
        exact = Fraction(factor)
        if isinstance(factor, float):
            near = exact.limit_denominator(2**16)
            exact = near if float(near) == factor else exact
        if exact * largest > 1:
            accepted = f"at most {1 / largest} (no weight above one)"
            raise InputError("factor", factor, accepted)
        # Over the gcd the pair (c, D) is smallest, so Γ and the plaintexts keep their headroom.
        common = math.gcd(*(int(c) for c in np.unique(self.coupling)))
        ratio = exact * Fraction(common, self.denominator)
        if ratio.denominator > LARGEST_DENOMINATOR:
            bits = ratio.denominator.bit_length()
            accepted = f"a ratio that keeps the denominator (of {bits} bits) up to 2**31"
            raise InputError("factor", factor, accepted)
        return Network(
            self.coupling // common * ratio.numerator,
            ratio.denominator,
            float(exact) * self.rounding,
            f"{self.name}.scaled({exact})",
            self.positions,
        )

    @property
    def agents(self) -> int:
        """The number of agents n."""
        return self.coupling.shape[0]

    @property
    def laplacian_levels(self) -> Int64[np.ndarray, "agents agents"]:
        """The integer matrix C = D W: v = C q is v_i = Σ_j c_ij (q_j − q_i)."""
        return self.coupling - np.diag(self.coupling.sum(axis=1))

    @property
    def weights(self) -> Float64[np.ndarray, "agents agents"]:
        """The matrix W with w_ij = c_ij / D and w_ii = −Σ_j w_ij."""
        return self.laplacian_levels / self.denominator

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The edges (i, j) with i < j, in lexical order."""
        return [(int(i), int(j)) for i, j in np.argwhere(np.triu(self.coupling))]

    @property
    def degrees(self) -> Int64[np.ndarray, "agents"]:
        """The number of neighbors of each agent."""
        return np.count_nonzero(self.coupling, axis=1).astype(np.int64)

    def neighbors(self, i: int) -> list[int]:
        """Return the neighbors of agent i in ascending order."""
        if not 0 <= i < self.agents:
            raise InputError("i", i, f"an agent from 0 to {self.agents - 1}")
        return [int(j) for j in np.flatnonzero(self.coupling[i])]

    @property
    def spectrum(self) -> Float64[np.ndarray, "agents"]:
        """The eigenvalues 0 = ρ_1 > ρ_2 ≥ … ≥ ρ_n of W."""
        rho = np.linalg.eigvalsh(self.laplacian_levels.astype(np.float64))[::-1] / self.denominator
        rho[0] = 0.0  # exactly zero in theory: the rows of W sum to zero
        return rho

    @property
    def mu(self) -> float:
        """The smallest nonzero eigenvalue magnitude of W, μ = |ρ_2|, above 0."""
        return float(-self.spectrum[1])

    @property
    def gamma_limit(self) -> float:
        """The largest γ with ‖I + γW − 11ᵀ/n‖ = 1 − μγ, which is 2/(|ρ_2| + |ρ_n|) (derived).

        Lemma 1 of Zhou et al. 2026 states the equation. On the complement of the consensus
        direction the norm is max(|1 − γ|ρ_2||, |1 − γ|ρ_n||): the first is 1 − μγ, and the second
        exceeds it as soon as γ|ρ_n| − 1 > 1 − γ|ρ_2|.
        """
        rho = self.spectrum
        return float(2.0 / -(rho[1] + rho[-1]))

    def contraction(self, gamma: float | int) -> float:
        """Return ‖I + γW − 11ᵀ/n‖_2, measured by a singular value decomposition."""
        if not math.isfinite(gamma):
            raise InputError("gamma", gamma, "a finite number")
        n = self.agents
        matrix = np.eye(n) + gamma * self.weights - np.full((n, n), 1.0 / n)
        return float(np.linalg.norm(matrix, 2))

    def lemma1_from(self, gamma: Attenuation) -> int | None:
        """Return the first k from which 0 ≤ γ^k ≤ gamma_limit always holds, None if never.

        All k from 0 to 10**6 are searched, and the answer is one more than the last k found in
        violation. So for a nonincreasing γ an answer holds for ever, and None says that 10**6 is
        still too early; for any other γ both speak of k ≤ 10**6 only. A NaN counts as a violation.
        `gamma_limit` is allowed 1e-12 of itself, for the rounding of the eigenvalues.
        """
        last, chunk = 10**6, 10**5
        limit = self.gamma_limit * (1 + 1e-12)
        # From the end backwards, so that the first violation met is the last one.
        for stop in range(last + 1, 0, -chunk):
            k = np.arange(max(0, stop - chunk), stop, dtype=np.int64)
            gammas = gamma.values(k)
            violations = k[~((gammas >= 0) & (gammas <= limit))]
            if violations.size:
                first = int(violations[-1]) + 1
                return first if first <= last else None
        return 0

    def summary(self) -> dict[str, object]:
        """Return what a report says of the network, in JSON types."""
        return {
            "name": self.name,
            "agents": self.agents,
            "edges": len(self.edges),
            "levels": [[i, j, int(self.coupling[i, j])] for i, j in self.edges],
            "denominator": self.denominator,
            "rounding": self.rounding,
            "mu": self.mu,
            "gamma_limit": self.gamma_limit,
            "spectrum": self.spectrum.tolist(),
            **({} if self.positions is None else {"positions": self.positions.tolist()}),
        }


def _build(
    name: str, agents: int, edges: Iterable[tuple[int, int]], weights: Weights, max_denominator: int
) -> "Network":
    """Return the network of an edge list with the weights asked for."""
    levels = levels_on(adjacency_of(agents, edges), weights, max_denominator)
    return Network(*levels, name)


def _placed(
    name: str,
    positions: Float64[np.ndarray, "agents 2"],
    radius: float | int,
    weights: Weights,
    max_denominator: int,
) -> "Network":
    """Return the network of the links within a radius, with the weights asked for."""
    levels = levels_on(within_radius(positions, radius), weights, max_denominator)
    return Network(*levels, name, positions)
