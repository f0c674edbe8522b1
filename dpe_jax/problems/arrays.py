"""What problems share: precision of their arrays, and many lanes within bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

VALUES_AT_ONCE = 2**22
"""Intermediate numbers of (sample, lane) pairs held in memory at once: 32 MiB an array."""


def cast(tree: Any, dtype: jnp.dtype) -> Any:
    """Every floating-point array leaf of a pytree in `dtype`."""

    def leaf(value: object) -> object:
        if isinstance(value, np.ndarray | jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
            return np.asarray(value).astype(dtype)
        return value

    return jax.tree.map(leaf, tree)


def host_array(value: Any) -> np.ndarray:
    """An array of a problem's field on the host; whole numbers become float64."""
    array = np.asarray(value)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def over_lanes(of_lane: Callable[[Any], Any], x: Shaped[Array, "*shape lanes"], values: int) -> Any:
    """`of_lane` on every lane of x, as many lanes at once as memory should hold.

    `values` is how many numbers one lane's largest intermediate array has.
    """
    at_once = max(1, VALUES_AT_ONCE // values)
    if x.shape[-1] <= at_once:
        return jax.vmap(of_lane, in_axes=-1, out_axes=-1)(x)
    # Differentiated, a loop would keep the intermediate arrays of all lanes. `checkpoint` hashes
    # its function, which the method of a module with arrays does not allow.
    one = jax.checkpoint(lambda lane: of_lane(lane))
    mapped = jax.lax.map(one, jnp.moveaxis(x, -1, 0), batch_size=at_once)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), mapped)


def values_a_sample(function: Callable[..., Any], x: Any, samples: Any) -> int:
    """Numbers in the largest intermediate array of `function(x, sample)`, for each sample.

    `x` and the leaves of `samples`, [samples, ...], are arrays or `jax.ShapeDtypeStruct`.
    """

    def sizes(count: int) -> list[int]:
        some = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), samples
        )
        program: Any = jax.make_jaxpr(jax.vmap(function, in_axes=(None, 0)))(x, some)
        return [
            int(np.prod(value.aval.shape))
            for equation in program.jaxpr.eqns
            for value in equation.outvars
        ]

    # What does not grow with the samples, such as a matrix made from x, is there once a lane.
    return max([1, *(two - one for one, two in zip(sizes(1), sizes(2), strict=True))])
