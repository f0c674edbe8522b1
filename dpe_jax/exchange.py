"""The exchange: what agents compute from each other's messages, and nothing else of the network."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int64

from dpe_jax import lanes
from dpe_jax.network import Network


class Exchange(eqx.Module):
    """Weighted differences over the links, as arrays of a compiled program."""

    C: Int64[Array, "agents agents"]
    """Integer coupling weights, c_ii = −Σ_j c_ij."""
    W: Float[Array, "agents agents"]
    """w_ij = c_ij / D in float64."""

    @classmethod
    def of(cls, network: Network) -> "Exchange":
        """The exchange over a network."""
        return cls(jnp.asarray(network.laplacian_levels), jnp.asarray(network.weights))

    def levels(self, q: Int64[Array, "agents dim lanes"]) -> Int64[Array, "agents dim lanes"]:
        """v_i = Σ_j c_ij (q_j − q_i) in integers: what Paillier computes."""
        return lanes.mix(self.C, q)

    def values(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """Σ_j w_ij (x_j − x_i) in the precision of x."""
        return lanes.mix(self.W.astype(x.dtype), x)
