"""The exchange: what agents compute from each other's messages, and nothing else of the network."""

import functools
import operator
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64, Num

from dpe_jax import lanes
from dpe_jax.network import Network

Products = Int64[Array, "links #dim lanes"]
"""a_{i→j} a_{j→i} of each link, for one coordinate or for each."""


class Exchange(eqx.Module):
    """Weighted differences over the links, as arrays of a compiled program."""

    C: Int64[Array, "agents agents"]
    """Integer coupling weights, c_ii = −Σ_j c_ij."""
    W: Float[Array, "agents agents"]
    """w_ij = c_ij / D in float64."""
    links: Int64[Array, "links 2"]
    """Agents i < j of each link."""
    incident: Int64[Array, "agents slots"]
    """Links of each agent, filled up with any."""
    signed: Int64[Array, "agents slots"]
    """c_ij at the lower end of the incident link, −c_ij at the higher end, 0 where filled up."""
    unit: Float[Array, ""]
    """1/D."""

    @classmethod
    def of(cls, network: Network) -> "Exchange":
        """The exchange over a network."""
        links = np.array(network.edges, np.int64).reshape(-1, 2)
        slots = max(np.bincount(links.ravel(), minlength=network.agents))
        incident = np.zeros((network.agents, slots), np.int64)
        signed = np.zeros_like(incident)
        filled = np.zeros(network.agents, np.int64)
        for link, (i, j) in enumerate(links):
            for agent, sign in ((i, 1), (j, -1)):
                incident[agent, filled[agent]] = link
                signed[agent, filled[agent]] = sign * network.coupling[i, j]
                filled[agent] += 1
        return cls(
            jnp.asarray(network.laplacian_levels),
            jnp.asarray(network.weights),
            jnp.asarray(links),
            jnp.asarray(incident),
            jnp.asarray(signed),
            jnp.asarray(1.0 / network.denominator),
        )

    def levels(
        self, q: Int64[Array, "agents dim lanes"], products: Products | None = None
    ) -> Int64[Array, "agents dim lanes"]:
        """v_i = Σ_j c_ij a_{i→j} a_{j→i} (q_j − q_i) in integers: what Paillier computes."""
        if products is None:
            return lanes.mix(self.C, q)
        return self._over_links(q, products)

    def values(
        self,
        x: Float[Array, "agents dim lanes"],
        products: Products | None = None,
        mean: float = 1.0,
    ) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij (x_j − x_i) in the precision of x, with w_ij times products / mean²."""
        if products is None:
            return lanes.mix(self.W.astype(x.dtype), x)
        scale = (self.unit / mean**2).astype(x.dtype)
        return self._over_links(x, products.astype(x.dtype)) * scale

    def weighted(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij x_j over the neighbors alone, in the precision of x."""
        W = self.W - jnp.diag(jnp.diagonal(self.W))
        return lanes.mix(W.astype(x.dtype), x)

    def circulate(self, flow: Float[Array, "links dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ of what flows to each agent; what one end of a link receives, the other gives.

        `flow` goes from the higher agent of a link to the lower one. Over all agents it sums to
        zero but for rounding.
        """

        def slot(s: int | Array) -> Float[Array, "agents dim lanes"]:
            sign = jnp.sign(self.signed[:, s, None, None]).astype(flow.dtype)
            return sign * flow[self.incident[:, s]]

        return self._sum_slots(slot)

    def _over_links(
        self, x: Num[Array, "agents dim lanes"], products: Num[Array, "links #dim lanes"]
    ) -> Num[Array, "agents dim lanes"]:
        flow = products * (x[self.links[:, 1]] - x[self.links[:, 0]])

        def slot(s: int | Array) -> Num[Array, "agents dim lanes"]:
            return self.signed[:, s, None, None].astype(x.dtype) * flow[self.incident[:, s]]

        return self._sum_slots(slot)

    def _sum_slots(self, slot: Callable[[int | Array], Array]) -> Num[Array, "agents dim lanes"]:
        slots = self.signed.shape[1]
        if slots > lanes.UNROLLED:
            return jax.lax.fori_loop(1, slots, lambda s, total: total + slot(s), slot(0))
        return functools.reduce(operator.add, map(slot, range(slots)))
