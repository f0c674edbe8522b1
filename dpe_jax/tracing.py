"""Traces: integers of chosen runs, as the production program computed and used them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int8, Int64, UInt32


class Trace(NamedTuple):
    """Integers of the traced lanes."""

    run: UInt32[np.ndarray, " lanes"]
    state: Int64[np.ndarray, "lanes moments agents dim"]
    """Y_0 … Y_K."""
    level: Int64[np.ndarray, "lanes iterations agents dim"]
    """q_0 … q_{K−1}, the messages."""
    sums: Int64[np.ndarray, "lanes iterations agents dim"]
    """v_0 … v_{K−1}, what the exchange gave."""
    increment: Int64[np.ndarray, "lanes iterations agents dim"]
    """U_0 … U_{K−1}, what the update subtracted: Y_k + Γ^k v_k − Y_{k+1} in the program's integers.

    U is not taken from the program's floating point. XLA may evaluate that a second time for the
    trace, and round it otherwise than for the update; integers it cannot round.
    """
    status: Int8[np.ndarray, " lanes"]
    """Of the whole run; a lane that failed keeps words beyond the range from then on."""


def joined(pieces: list[Trace]) -> Trace:
    """The lanes of several traces in one."""
    return Trace(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


class Buffers(NamedTuple):
    """What the traced lanes of one chunk emit."""

    state: Int64[Array, "iterations agents dim traced"]
    level: Int64[Array, "iterations agents dim traced"]
    sums: Int64[Array, "iterations agents dim traced"]
    mixing: Int64[Array, "iterations agents dim traced"]


class Pieces:
    """Buffers of one chunk after another, brought to the host."""

    def __init__(self, held: list[tuple[np.ndarray, ...]] | None = None) -> None:
        self.held = [] if held is None else held

    def add(self, buffers: Buffers, count: int) -> None:
        """Keep the first `count` iterations of a chunk's buffers."""
        self.held.append(tuple(np.asarray(buffer[:count]) for buffer in buffers))

    def trace(
        self,
        run: UInt32[np.ndarray, " lanes"],
        status: Int8[np.ndarray, " lanes"],
        last: Int64[np.ndarray, "agents dim lanes"],
    ) -> Trace:
        """The whole trace; `last` is Y_K."""
        before, level, sums, mixing = map(np.concatenate, zip(*self.held, strict=True))
        state = np.concatenate([before, last[None]])
        increment = state[:-1] + mixing - state[1:]
        by_lane = [np.moveaxis(column, -1, 0) for column in (state, level, sums, increment)]
        return Trace(run, by_lane[0], by_lane[1], by_lane[2], by_lane[3], status)
