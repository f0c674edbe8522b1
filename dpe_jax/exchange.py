"""The exchange: what agents compute from each other's messages, and nothing else of the network."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64, Num

from dpe_jax import lanes
from dpe_jax.gathering import Gathered
from dpe_jax.network import Network

Products = Int64[Array, "links #dim lanes"]
"""a_{i→j} a_{j→i} of each link, for one coordinate or for each."""

SPARSE = 4
"""Networks with fewer than n²/4 weights are held as lists: a gathered term costs up to four times
one of a matrix product (measured with 40 to 200 agents)."""


class Coupling(eqx.Module):
    """The coupling weights of a network, and the sums that they weight."""

    @abc.abstractmethod
    def levels(self, q: Int64[Array, "agents dim lanes"]) -> Int64[Array, "agents dim lanes"]:
        """Σ_j c_ij (q_j − q_i) in integers."""

    @abc.abstractmethod
    def values(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij (x_j − x_i) in the precision of x."""

    @abc.abstractmethod
    def weighted(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij x_j over the neighbors alone, in the precision of x."""


@final
class Dense(Coupling):
    """As matrices: n² multiplications."""

    C: Int64[Array, "agents agents"]
    """Integer coupling weights, c_ii = −Σ_j c_ij."""
    W: Float[Array, "agents agents"]
    """w_ij = c_ij / D in float64."""

    def levels(self, q: Int64[Array, "agents dim lanes"]) -> Int64[Array, "agents dim lanes"]:
        """C q."""
        return lanes.mix(self.C, q)

    def values(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """W x."""
        return lanes.mix(self.W.astype(x.dtype), x)

    def weighted(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """W x without the diagonal."""
        W = self.W - jnp.diag(jnp.diagonal(self.W))
        return lanes.mix(W.astype(x.dtype), x)


@final
class Sparse(Coupling):
    """As lists of neighbors: as many multiplications as there are links, twice."""

    neighbors: Gathered
    """Σ_j c_ij x_j over the neighbors."""
    row_sums: Int64[Array, " agents"]
    """Σ_j c_ij."""
    unit: Float[Array, ""]
    """1/D."""

    def levels(self, q: Int64[Array, "agents dim lanes"]) -> Int64[Array, "agents dim lanes"]:
        """The sum over neighbors, less the agent's own share: the integers of `Dense`."""
        return self.neighbors(q) - self.row_sums[:, None, None] * q

    def values(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Likewise in floating point, times 1/D."""
        own = self.row_sums[:, None, None].astype(x.dtype) * x
        return (self.neighbors(x) - own) * self.unit.astype(x.dtype)

    def weighted(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """The sum over neighbors, times 1/D."""
        return self.neighbors(x) * self.unit.astype(x.dtype)


def coupling_of(network: Network) -> Coupling:
    """Matrices for small and for dense networks, and lists of neighbors for the others."""
    links = 2 * len(network.edges)
    if network.agents <= lanes.UNROLLED or SPARSE * links > network.agents**2:
        return Dense(jax.device_put(network.laplacian_levels), jax.device_put(network.weights))
    lists: list[list[tuple[int, int]]] = [[] for _ in range(network.agents)]
    for i, j in network.edges:
        c = int(network.coupling[i, j])
        lists[i].append((j, c))
        lists[j].append((i, c))
    row_sums = jax.device_put(network.coupling.sum(axis=1))
    return Sparse(
        Gathered.of(lists), row_sums, jax.device_put(np.float64(1.0 / network.denominator))
    )


class Exchange(eqx.Module):
    """Weighted differences over the links, as arrays of a compiled program."""

    coupling: Coupling
    links: Int64[Array, "links 2"]
    """Agents i < j of each link."""
    incident: Gathered
    """Σ over an agent's links of ± what is on them: + at the lower end."""
    weights: Int64[Array, " links"]
    """c_ij of each link."""
    unit: Float[Array, ""]
    """1/D."""

    @classmethod
    def of(cls, network: Network) -> "Exchange":
        """The exchange over a network."""
        links = np.array(network.edges, np.int64).reshape(-1, 2)
        lists: list[list[tuple[int, int]]] = [[] for _ in range(network.agents)]
        for link, (i, j) in enumerate(links.tolist()):
            lists[i].append((link, 1))
            lists[j].append((link, -1))
        return cls(
            coupling_of(network),
            jax.device_put(links),
            Gathered.of(lists),
            jax.device_put(network.coupling[links[:, 0], links[:, 1]]),
            jax.device_put(np.float64(1.0 / network.denominator)),
        )

    def levels(
        self, q: Int64[Array, "agents dim lanes"], products: Products | None = None
    ) -> Int64[Array, "agents dim lanes"]:
        """v_i = Σ_j c_ij a_{i→j} a_{j→i} (q_j − q_i) in integers: what Paillier computes."""
        return self.coupling.levels(q) if products is None else self._over_links(q, products)

    def values(
        self,
        x: Float[Array, "agents dim lanes"],
        products: Products | None = None,
        mean: float = 1.0,
    ) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij (x_j − x_i) in the precision of x, with w_ij times products / mean²."""
        if products is None:
            return self.coupling.values(x)
        scale = (self.unit / mean**2).astype(x.dtype)
        return self._over_links(x, products.astype(x.dtype)) * scale

    def weighted(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij x_j over the neighbors alone, in the precision of x."""
        return self.coupling.weighted(x)

    def circulate(self, flow: Float[Array, "links dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ of what flows to each agent; what one end of a link receives, the other gives.

        `flow` goes from the higher agent of a link to the lower one. Over all agents it sums to
        zero but for rounding.
        """
        return self.incident(flow)

    def _over_links(
        self, x: Num[Array, "agents dim lanes"], products: Num[Array, "links #dim lanes"]
    ) -> Num[Array, "agents dim lanes"]:
        weighted = self.weights.astype(x.dtype)[:, None, None] * products
        return self.incident(weighted * (x[self.links[:, 1]] - x[self.links[:, 0]]))
