"""Coupling weights as integers over one denominator."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Int64

from dpe_jax.errors import InputError

Weights = str | np.ndarray | Sequence[Sequence[float | int]]

LARGEST_DENOMINATOR = 2**31  # c_ij <= D, so a row of int64 levels cannot overflow


def levels_on(
    adjacency: Bool[np.ndarray, "agents agents"], weights: Weights, max_denominator: int
) -> tuple[Int64[np.ndarray, "agents agents"], int, float]:
    """Return (c, D, rounding) of the weights asked for, named or given, on the edges of a graph."""
    if isinstance(weights, str):
        degrees = adjacency.sum(axis=1)
        if weights == "metropolis":
            reach = np.maximum(degrees[:, None], degrees[None, :])
        elif weights == "max-degree":
            reach = np.full(adjacency.shape, degrees.max())
        else:
            raise InputError("weights", weights, '"metropolis", "max-degree" or a matrix')
        values, where = np.unique(reach, return_inverse=True)
        wanted = [Fraction(1, 1 + int(value)) for value in values]
        return rationalise(
            wanted, wanted, where.reshape(adjacency.shape), adjacency, max_denominator
        )
    w = check_matrix(weights)
    if w.shape != adjacency.shape:
        raise InputError("weights", f"shape {w.shape}", f"shape {adjacency.shape}")
    unlike = np.argwhere((w != 0) != adjacency)
    if unlike.size:
        i, j = unlike[0]
        kind = "a nonzero weight on the edge" if adjacency[i, j] else "0 where no edge is"
        raise InputError(f"weights[{i}, {j}]", float(w[i, j]), kind)
    return rationalise_matrix(w, adjacency, max_denominator)


def rationalise_matrix(
    w: Float[np.ndarray, "agents agents"],
    adjacency: Bool[np.ndarray, "agents agents"],
    max_denominator: int,
) -> tuple[Int64[np.ndarray, "agents agents"], int, float]:
    """Return (c, D, rounding) for floats, each read as the simple fraction it stands for."""
    values, where = np.unique(w, return_inverse=True)
    wanted = [Fraction(float(value)) for value in values]
    meant = list(wanted)
    check_denominator(max_denominator)
    for index, value in enumerate(values):
        near = wanted[index].limit_denominator(max_denominator)
        if abs(float(near) - float(value)) <= float(np.spacing(value)):
            meant[index] = near
    return rationalise(wanted, meant, where.reshape(w.shape), adjacency, max_denominator)


def rationalise(
    wanted: list[Fraction],
    meant: list[Fraction],
    where: Int64[np.ndarray, "agents agents"],
    adjacency: Bool[np.ndarray, "agents agents"],
    max_denominator: int,
) -> tuple[Int64[np.ndarray, "agents agents"], int, float]:
    """Return (c, D, rounding) for w_ij = meant[where_ij] on edges, in exact arithmetic."""
    check_denominator(max_denominator)
    used = [int(index) for index in np.unique(where[adjacency])]
    denominator = math.lcm(*(meant[index].denominator for index in used))
    if denominator > max_denominator:
        denominator = max_denominator
    table = np.zeros(len(meant), dtype=np.int64)
    rounding = 0.0
    for index in used:
        level = round(meant[index] * denominator)
        table[index] = level
        rounding = max(rounding, abs(level / denominator - float(wanted[index])))
    if used and table[used].min() == 0:
        # The smallest weight decides, and round() is 1 as soon as w D is above one half.
        smallest = min(used, key=lambda index: meant[index])
        i, j = np.argwhere(adjacency & (where == smallest))[0]
        enough = math.floor(1 / (2 * meant[smallest])) + 1
        weight = f"weight {float(wanted[smallest])} of edge ({i}, {j})"
        accepted = f"a number with which the {weight} no longer rounds to 0, at least {enough}"
        raise InputError("max_denominator", max_denominator, accepted)
    return np.where(adjacency, table[where], 0), denominator, rounding


def check_matrix(
    weights: np.ndarray | Sequence[Sequence[float | int]],
) -> Float[np.ndarray, "agents agents"]:
    """Return the off-diagonal part of a matrix of weights, zero on the diagonal."""
    accepted = "a square matrix of real numbers"
    try:
        given = np.asarray(weights)
    except ValueError as error:  # rows of unequal length
        raise InputError("weights", weights, accepted) from error
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise InputError("weights", f"shape {given.shape}", accepted)
    if given.dtype.kind not in "fiub":
        raise InputError("weights", f"dtype {given.dtype}", accepted)
    # A float32 keeps its type: one unit in its last place is what it can say.
    w = given.astype(np.float32 if given.dtype == np.float32 else np.float64)
    diagonal = np.diagonal(w).astype(np.float64)
    np.fill_diagonal(w, 0)
    for bad, wish in (
        (~np.isfinite(w), "a finite weight from 0 to 1"),
        (w < 0, "a weight from 0 to 1 (not negative)"),
        (w > 1, "a weight from 0 to 1 (not above one)"),
    ):
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise InputError(f"weights[{i}, {j}]", float(w[i, j]), wish)
    if not np.array_equal(w, w.T):
        i, j, one, other = first_asymmetry(w)
        raise InputError(f"weights[{i}, {j}]", one, f"weights[{j}, {i}] = {other} (symmetric)")
    row_sums = w.sum(axis=1, dtype=np.float64)
    # float32 rows cannot sum to one any better than a few units in their last place.
    tolerance = 1e-9 if w.dtype == np.float64 else 1e-5
    if not any(
        np.allclose(diagonal, expected, rtol=0, atol=tolerance)
        for expected in (np.zeros_like(row_sums), -row_sums, 1 - row_sums)
    ):
        raise InputError(
            "diagonal of weights", diagonal.tolist(), "all 0, minus or 1 minus the row sums"
        )
    return w


def first_asymmetry(matrix: np.ndarray) -> tuple[int, int, float, float]:
    """Return (i, j, m_ij, m_ji) for the first pair that differs."""
    i, j = (int(index) for index in np.argwhere(matrix != matrix.T)[0])
    return i, j, float(matrix[i, j]), float(matrix[j, i])


def check_denominator(value: int) -> None:
    """Refuse a largest denominator whose levels could overflow."""
    if not 1 <= value <= LARGEST_DENOMINATOR:
        raise InputError("max_denominator", value, "an integer from 1 to 2**31")
