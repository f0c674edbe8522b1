"""Pictures with labels that an attack is after, in [0, 1]; which ones is decided by a seed."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.errors import InputError
from dpe_jax.problems.digits import CLASSES

_STREAM = 5
"""Keeps the choice of pictures apart from other draws with the same seed."""

_PATCH = 32
_LEAST_SPREAD = 1e-4


class Pictures(NamedTuple):
    """Pictures, row after row of pixels, channels innermost."""

    name: str
    shape: tuple[int, int, int]
    """Height, width and channels."""
    values: Float[np.ndarray, "targets pixels"]
    labels: Int64[np.ndarray, " targets"]
    typical: Float[np.ndarray, " pixels"]
    """The mean of those that were not chosen: the best constant guess of one who sees nothing."""
    spread: Float[np.ndarray, " pixels"]
    """The variance of each pixel among those that were not chosen, at least 1e-4."""


def digits(count: int, seed: int = 0) -> Pictures:
    """`count` of scikit-learn's 1797 handwritten digits of 8 × 8 pixels, divided by 16.

    Raises InputError unless 1 <= count < 1797.
    """
    from sklearn.datasets import load_digits

    pooled: Any = load_digits()
    values = np.asarray(pooled["data"], np.float64) / 16.0
    labels = np.asarray(pooled["target"]).astype(np.int64)
    return _pictures("digits", (8, 8, 1), values, labels, count, seed)


def patches(count: int, seed: int = 0) -> Pictures:
    """`count` patches of 32 × 32 colour pixels of scikit-learn's photographs china and flower.

    From a grid without overlap (13 × 20 patches each), divided by 255. Photographs have no classes:
    the label is the patch's place on the grid, modulo ten. Raises InputError unless
    1 <= count < 520.
    """
    from sklearn.datasets import load_sample_image

    found = [_grid(np.asarray(load_sample_image(name))) for name in ("china.jpg", "flower.jpg")]
    values = np.concatenate(found) / 255.0
    labels = np.concatenate([np.arange(len(grid)) % CLASSES for grid in found]).astype(np.int64)
    return _pictures("patches", (_PATCH, _PATCH, 3), values, labels, count, seed)


def _grid(image: np.ndarray) -> Float[np.ndarray, "patches pixels"]:
    """The whole patches of a photograph, row after row."""
    rows, columns = image.shape[0] // _PATCH, image.shape[1] // _PATCH
    whole = image[: rows * _PATCH, : columns * _PATCH].astype(np.float64)
    parts = whole.reshape(rows, _PATCH, columns, _PATCH, 3).transpose(0, 2, 1, 3, 4)
    return parts.reshape(rows * columns, -1)


def _pictures(
    name: str,
    shape: tuple[int, int, int],
    values: Float[np.ndarray, "pool pixels"],
    labels: Int64[np.ndarray, " pool"],
    count: int,
    seed: int,
) -> Pictures:
    pool = len(values)
    if not 1 <= count < pool:
        raise InputError("count", count, f"a number from 1 to {pool - 1}")
    order = np.random.default_rng([seed, _STREAM]).permutation(pool)
    chosen, others = order[:count], values[order[count:]]
    spread = np.maximum(others.var(axis=0), _LEAST_SPREAD)
    return Pictures(name, shape, values[chosen], labels[chosen], others.mean(axis=0), spread)
