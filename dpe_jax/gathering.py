"""Weighted sums over ragged lists of rows, such as those of each agent's neighbors.

By gathers, so that they cost as many rows as the lists have entries; a product with a matrix would
cost agents². Nothing is scattered: the order of every sum is fixed, on any device.
"""

import functools
import operator
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int32, Int64, Num

import dpe_jax.lattice  # noqa: F401  (turns on 64-bit types)

SLOTS = 16
"""Entries that one gather sums up. Longer lists are cut into pieces, whose sums are then summed, so
that one agent with very many neighbors does not make all others' lists as long as its own."""

Entry = tuple[int, int]
"""A row, and the integer that it is weighted with."""


class Gathered(eqx.Module):
    """Σ_s w_is x[row_is] for every i."""

    rows: Int32[Array, "sums slots"]
    weights: Int64[Array, "sums slots"]
    """0 where a list is shorter."""
    pieces: "Gathered | None"
    """How these sums are summed in turn, if lists had to be cut."""

    @classmethod
    def of(cls, lists: Sequence[Sequence[Entry]], slots: int = SLOTS) -> "Gathered":
        """The sums over these lists; an empty one has the sum 0."""
        if slots < 2:
            raise ValueError(f"{slots} slots: at least 2, or pieces never become fewer")
        if max(map(len, lists), default=0) <= slots:
            return cls(*_tables(lists), None)
        cut = [
            [entries[start : start + slots] for start in range(0, max(1, len(entries)), slots)]
            for entries in lists
        ]
        numbers = iter(range(sum(map(len, cut))))
        again = [[(next(numbers), 1) for _ in pieces] for pieces in cut]
        flat = [piece for pieces in cut for piece in pieces]
        return cls(*_tables(flat), cls.of(again, slots))

    def __call__(self, x: Num[Array, "rows dim lanes"]) -> Num[Array, "sums dim lanes"]:
        """The sums, in the precision of x."""
        weights = self.weights.astype(x.dtype)[..., None, None]
        terms = (weights[:, s] * x[self.rows[:, s]] for s in range(self.rows.shape[1]))
        total = functools.reduce(operator.add, terms)
        return total if self.pieces is None else self.pieces(total)


def _tables(
    lists: Sequence[Sequence[Entry]],
) -> tuple[Int32[Array, "sums slots"], Int64[Array, "sums slots"]]:
    """Rows and weights, shorter lists filled up with row 0 and weight 0."""
    shape = len(lists), max(1, max(map(len, lists), default=0))
    rows, weights = np.zeros(shape, np.int32), np.zeros(shape, np.int64)
    for i, entries in enumerate(lists):
        for slot, (row, weight) in enumerate(entries):
            rows[i, slot], weights[i, slot] = row, weight
    return jax.device_put(rows), jax.device_put(weights)
