"""Sums over the short leading axes of [agent, coordinate, lane] arrays."""

import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num, Shaped

UNROLLED = 32
"""Up to this length a sum is written out term by term. XLA then keeps it in one vectorised pass
over lanes together with what it is made of, and each lane's bits do not depend on how many lanes
there are; a reduction or a `dot_general` would be a pass of its own."""


_PIECE = 16
"""Columns of a matrix that a mix of more agents takes at a time."""


def total(x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """Σ over one axis other than the last (the lanes)."""
    if x.shape[axis] > UNROLLED:
        return jnp.sum(x, axis=axis)
    return functools.reduce(operator.add, _slices(x, axis))


def mean(x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """The mean over one axis other than the last."""
    return total(x, axis) / x.shape[axis]


def largest(x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """The maximum over one axis other than the last."""
    if x.shape[axis] > UNROLLED:
        return jnp.max(x, axis=axis)
    return functools.reduce(jnp.maximum, _slices(x, axis))


def smallest(x: Num[Array, "..."], axis: int) -> Num[Array, "..."]:
    """The minimum over one axis other than the last."""
    if x.shape[axis] > UNROLLED:
        return jnp.min(x, axis=axis)
    return functools.reduce(jnp.minimum, _slices(x, axis))


def mix(
    matrix: Shaped[Array, "rows columns"], x: Shaped[Array, "columns dim lanes"]
) -> Shaped[Array, "rows dim lanes"]:
    """Σ_j M_ij x_j for every coordinate and lane."""
    if x.shape[0] <= UNROLLED:
        return _mixed(matrix, x)
    # XLA's product of integer matrices on a CPU is far slower (results/bench/large.json).
    columns = -(-x.shape[0] // _PIECE) * _PIECE
    missing = columns - x.shape[0]
    matrix = jnp.pad(matrix, ((0, 0), (0, missing)))
    x = jnp.pad(x, ((0, missing), (0, 0), (0, 0)))

    def add(piece: Array, total: Array) -> Array:
        start = piece * _PIECE
        some = jax.lax.dynamic_slice_in_dim(matrix, start, _PIECE, axis=1)
        return total + _mixed(some, jax.lax.dynamic_slice_in_dim(x, start, _PIECE, axis=0))

    nothing = jnp.zeros((matrix.shape[0], *x.shape[1:]), x.dtype)
    return jax.lax.fori_loop(0, columns // _PIECE, add, nothing)


def product(
    A: Num[Array, "*#points rows dim"], x: Num[Array, "*points dim lanes"]
) -> Num[Array, "*points rows lanes"]:
    """A x for every point and lane; A may be one matrix for each point, or one for all."""
    if x.shape[-2] > UNROLLED // 4:
        return jnp.einsum("...de,...el->...dl", A, x)
    terms = (A[..., e, None] * x[..., e, None, :] for e in range(x.shape[-2]))
    return functools.reduce(operator.add, terms)


def _mixed(
    matrix: Shaped[Array, "rows columns"], x: Shaped[Array, "columns dim lanes"]
) -> Shaped[Array, "rows dim lanes"]:
    terms = (matrix[:, j, None, None] * x[j] for j in range(x.shape[0]))
    return functools.reduce(operator.add, terms)


def _slices(x: Num[Array, "..."], axis: int) -> list[Num[Array, "..."]]:
    return [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
