"""Stretches of traces as the simulation would record them, and where a replay must differ."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import reference

from dpe_jax.paillier import primes
from dpe_jax.paillier.backend import Backend
from dpe_jax.paillier.backends import backend
from dpe_jax.paillier.packing import Packing
from dpe_jax.paillier.protocol import Factors, Protocol, sum_limit
from dpe_jax.paillier.replay import Mismatch, Replayed, Stretch, replay

PATH = ((0, 1, 1), (1, 2, 3))
STAR = ((0, 1, 2), (0, 2, 1), (0, 3, 5))
FIVE = tuple((i, j, 1 + (i + j) % 3) for i, j in [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 3)])
COMPLETE = tuple((i, j, 1) for i in range(4) for j in range(i + 1, 4))
PUBLIC, LINK, COORDINATE = Factors(), Factors("link", 1, 9), Factors("coordinate", 2, 6)
FIRST, RUN, SEED = 3, 11, 2**33 + 5


@cache
def keys(agents: int, bits: int = 256) -> list[tuple[int, int]]:
    return [primes.generate(bits) for _ in range(agents)]


def implementation(name: str) -> Backend:
    """`phe`; `fast` with full-length randomness, cheapest with short keys; `short` exponents."""
    return backend("phe") if name == "phe" else backend("fast", "full" if name == "fast" else name)


def protocol(
    coupling: tuple[tuple[int, int, int], ...] = FIVE,
    dim: int = 2,
    factors: Factors = PUBLIC,
    packed: bool = True,
    bits: int = 256,
    **others: Any,
) -> Protocol:
    agents = 1 + max(j for _, j, _ in coupling)
    # One more bit than needed, so that a weight may be one unit larger.
    wanted = sum_limit(coupling, factors).bit_length() + 2
    packing = Packing.fitting(dim, wanted, bits, packed)
    return Protocol(
        agents, dim, coupling, packing, others.pop("seed", SEED), factors=factors, **others
    )


def oracle(protocol: Protocol, stretch: Stretch) -> reference.Replay:
    """Y, q and v from the first state, gains and increments, with another's Philox."""
    agents, dim, factors = protocol.agents, protocol.dim, protocol.factors
    out = reference.Replay([stretch.state[0].tolist()], [], [])
    for step, gain in enumerate(stretch.gains.tolist()):
        k = stretch.first + step
        Y = out.Y[-1]
        q = reference.round_levels(Y, protocol.seed, stretch.run, k, protocol.rounding)
        v = [[0] * dim for _ in range(agents)]
        for i, j, c in protocol.coupling:
            for s in range(dim):
                weight = c
                if factors.kind != "public":
                    element = i * agents + j
                    if factors.kind == "coordinate":
                        element = element * dim + s
                    pair = reference.words(protocol.seed, stretch.run, k + 1, element, 3)[:2]
                    for word in pair:
                        span = factors.high - factors.low + 1
                        weight *= factors.low + word * span // 2**32
                v[i][s] += weight * (q[j][s] - q[i][s])
                v[j][s] += weight * (q[i][s] - q[j][s])
        out.q.append(q)
        out.v.append(v)
        U = stretch.increment[step].tolist()
        rows = [zip(Y[i], v[i], U[i], strict=True) for i in range(agents)]
        out.Y.append([[y + gain * s - u for y, s, u in row] for row in rows])
    return out


def stretch_of(
    protocol: Protocol, count: int = 4, seed: int = 0, spread: float = 2.0**34, **others: Any
) -> Stretch:
    """A stretch as the simulation would have recorded it."""
    rng = np.random.default_rng(seed)
    shape = (count, protocol.agents, protocol.dim)
    size = max(c for _, _, c in protocol.coupling) * protocol.factors.high**2 * protocol.agents
    gains = others.pop("gains", rng.integers(1, 2**32 // size, count))
    state = others.pop("state", rng.normal(0, spread, shape[1:]).astype(np.int64))
    increment = others.pop("increment", rng.normal(0, 2.0**31, shape).astype(np.int64))
    empty = np.zeros(shape, np.int64)
    states = np.concatenate([state[None], empty])
    blank = Stretch("method", RUN, FIRST, np.asarray(gains), states, empty, empty, increment)
    truth = oracle(protocol, blank)
    Y, q, v = (np.asarray(grids, dtype=np.int64) for grids in truth)
    return replace(blank, state=Y, level=q, sums=v)


def predicted(protocol: Protocol, stretch: Stretch) -> tuple[Mismatch | None, int]:
    """The first place where the oracle differs from the record, and how many there are."""
    truth = oracle(protocol, stretch)
    found: list[Mismatch] = []
    quantity: Any
    for step in range(stretch.count):
        for quantity, recorded, got in (
            ("level", stretch.level[step], truth.q[step]),
            ("sum", stretch.sums[step], truth.v[step]),
            ("state", stretch.state[step + 1], truth.Y[step + 1]),
        ):
            for place in np.argwhere(recorded != np.asarray(got)).tolist():
                i, s = place
                values = int(recorded[i, s]), got[i][s]
                k = stretch.first + step
                found.append(Mismatch("method", RUN, k, quantity, i, s, *values))
    return (found[0] if found else None), len(found)


def replayed(
    protocol: Protocol, stretch: Stretch, name: str = "fast", bits: int = 256, **others: Any
) -> Replayed:
    pairs = keys(protocol.agents, bits)
    return replay(protocol, stretch, implementation(name), pairs, **others)
