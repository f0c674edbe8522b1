"""The encrypted method's lattice in plain Python integers: an oracle that shares no code.

States, levels and exchanged sums are nested lists [agent][coordinate]. Nothing here imports the
package, NumPy or JAX.
"""

from collections.abc import Sequence
from typing import NamedTuple

Grid = list[list[int]]
Words = tuple[int, int, int, int]

MASK = 2**32 - 1
ONE_LEVEL = 2**32
STATE, MINIBATCH, MEASUREMENT = 0, 1, 2


def philox4x32(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10 as the paper writes it: ten rounds, the key bumped between them."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (second >> 32) ^ c1 ^ k0,
            second & MASK,
            (first >> 32) ^ c3 ^ k1,
            first & MASK,
        )
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def words(seed: int, run: int, time: int, element: int, stream: int = STATE) -> Words:
    """The four words of one element of one stream at one time of one run."""
    return philox4x32((run, time, element, stream), (seed % 2**32, seed // 2**32))


class Replay(NamedTuple):
    """Y^0 … Y^K, and the levels q and exchanged sums v of iterations 0 … K − 1."""

    Y: list[Grid]
    q: list[Grid]
    v: list[Grid]


def round_levels(Y: Grid, seed: int, run: int, time: int, rounding: str) -> Grid:
    """q = ⌊(Y + r) / 2³²⌋, r a random word or, to the nearest level, one half."""
    dim = len(Y[0])
    levels = []
    for i, row in enumerate(Y):
        levels.append([])
        for coordinate, value in enumerate(row):
            nearest = rounding == "nearest"
            r = ONE_LEVEL // 2 if nearest else words(seed, run, time, i * dim + coordinate)[0]
            levels[-1].append((value + r) // ONE_LEVEL)
    return levels


def exchange(q: Grid, coupling: Sequence[tuple[int, int, int]]) -> Grid:
    """v_i = Σ_j c_ij (q_j − q_i), link by link; `coupling` lists (i, j, c_ij) once a link."""
    v = [[0] * len(row) for row in q]
    for i, j, c in coupling:
        for coordinate in range(len(q[i])):
            difference = c * (q[j][coordinate] - q[i][coordinate])
            v[i][coordinate] += difference
            v[j][coordinate] -= difference
    return v


def replay(
    Y0: Grid,
    U: Sequence[Grid],
    gains: Sequence[int],
    coupling: Sequence[tuple[int, int, int]],
    seed: int,
    run: int,
    rounding: str = "stochastic",
) -> Replay:
    """Y^{k+1} = Y^k + Γ^k v^k − U^k from Y^0 and the private increments alone."""
    out = Replay([Y0], [], [])
    for k, increment in enumerate(U):
        Y = out.Y[-1]
        q = round_levels(Y, seed, run, k, rounding)
        v = exchange(q, coupling)
        out.q.append(q)
        out.v.append(v)
        out.Y.append(
            [
                [y + gains[k] * s - u for y, s, u in zip(*rows, strict=True)]
                for rows in zip(Y, v, increment, strict=True)
            ]
        )
    return out
