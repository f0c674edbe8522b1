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
STATE, MINIBATCH, MEASUREMENT, FACTORS = 0, 1, 2, 3
PUBLIC = ("public", 1, 1)


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


def factor_product(
    factors: tuple[str, int, int], pair: int, coordinate: int, dim: int, place: tuple[int, int, int]
) -> int:
    """a_{i→j} a_{j→i} of the link with pair number i·agents + j; `place` is seed, run, time."""
    kind, low, high = factors
    if kind == "public":
        return 1
    element = pair if kind == "link" else pair * dim + coordinate
    lower, higher, _, _ = words(*place, element, FACTORS)
    count = high - low + 1
    return (low + lower * count // 2**32) * (low + higher * count // 2**32)


def exchange(
    q: Grid,
    coupling: Sequence[tuple[int, int, int]],
    factors: tuple[str, int, int] = PUBLIC,
    place: tuple[int, int, int] = (0, 0, 0),
) -> Grid:
    """v_i = Σ_j c_ij (q_j − q_i), link by link; `coupling` lists (i, j, c_ij), i < j, once a link.

    With `factors` (kind, low, high) each c_ij is multiplied by those of the link's two ends.
    """
    v = [[0] * len(row) for row in q]
    for i, j, c in coupling:
        pair, dim = i * len(q) + j, len(q[i])
        for coordinate in range(dim):
            weight = c * factor_product(factors, pair, coordinate, dim, place)
            difference = weight * (q[j][coordinate] - q[i][coordinate])
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
    factors: tuple[str, int, int] = PUBLIC,
) -> Replay:
    """Y^{k+1} = Y^k + Γ^k v^k − U^k from Y^0 and the private increments alone."""
    out = Replay([Y0], [], [])
    for k, increment in enumerate(U):
        Y = out.Y[-1]
        q = round_levels(Y, seed, run, k, rounding)
        v = exchange(q, coupling, factors, (seed, run, k + 1))
        out.q.append(q)
        out.v.append(v)
        out.Y.append(
            [
                [y + gains[k] * s - u for y, s, u in zip(*rows, strict=True)]
                for rows in zip(Y, v, increment, strict=True)
            ]
        )
    return out
