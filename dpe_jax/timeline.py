"""Which iterations are recorded, and how a run is cut into chunks between host visits."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from dpe_jax.errors import InputError

Spacing = Literal["linear", "log"]

_SEGMENTS = 256
"""Segments in one compiled call; what a chunk does not need of them costs next to nothing."""


def record_points(iterations: int, points: int, spacing: Spacing) -> Int64[np.ndarray, " points"]:
    """Record points from 0 to `iterations`, both included; at most `points` of them.

    Log-spaced points are rounded to integers and merged, so early ones are consecutive.
    """
    if iterations < 1:
        raise InputError("iterations", iterations, "a positive integer")
    if iterations >= 2**32 - 1:
        raise InputError("iterations", iterations, "below 2³² − 1, the range of the time counter")
    if points < 2:
        raise InputError("points", points, "an integer of at least 2 (the start and the end)")
    if spacing not in ("linear", "log"):
        raise InputError("spacing", spacing, "'linear' or 'log'")
    if points > iterations:
        return np.arange(iterations + 1, dtype=np.int64)
    if spacing == "linear":
        raw = np.linspace(0, iterations, points)
    else:
        first = 1 if points > 2 else iterations
        raw = np.concatenate([[0.0], np.geomspace(first, iterations, points - 1)])
    return np.unique(np.rint(raw).astype(np.int64))


class Chunk(NamedTuple):
    """One compiled call: segments that each record (perhaps) and then iterate."""

    start: Int64[np.ndarray, " segments"]
    length: Int64[np.ndarray, " segments"]
    keep: Bool[np.ndarray, " segments"]

    @property
    def first(self) -> int:
        """The first iteration of the chunk."""
        return int(self.start[0])

    @property
    def iterations(self) -> int:
        """Iterations in the chunk."""
        return int(self.length.sum())


def plan(points: Int64[np.ndarray, " points"], chunk_iterations: int) -> list[Chunk]:
    """Cut the run at record points, and longer gaps at `chunk_iterations`, into chunks.

    The last segment records the final state and iterates no further. All chunks have the same
    number of segments, padded with empty ones, so that one program serves them all.
    """
    segments: list[tuple[int, int, bool]] = []
    for start, stop in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        for piece in range(start, stop, chunk_iterations):
            length = min(chunk_iterations, stop - piece)
            segments.append((piece, length, piece == start))
    segments.append((int(points[-1]), 0, True))
    chunks: list[list[tuple[int, int, bool]]] = [[]]
    for segment in segments:
        held = sum(length for _, length, _ in chunks[-1])
        full = len(chunks[-1]) == _SEGMENTS or held + segment[1] > chunk_iterations
        if full and chunks[-1]:
            chunks.append([])
        chunks[-1].append(segment)
    width = max(len(chunk) for chunk in chunks)
    return [_pad(chunk, width) for chunk in chunks]


def _pad(segments: list[tuple[int, int, bool]], width: int) -> Chunk:
    end = segments[-1][0] + segments[-1][1]
    padded = segments + [(end, 0, False)] * (width - len(segments))
    start, length, keep = zip(*padded, strict=True)
    return Chunk(np.array(start, np.int64), np.array(length, np.int64), np.array(keep, np.bool_))
