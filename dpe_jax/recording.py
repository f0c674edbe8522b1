"""What a block of lanes leaves behind, collected chunk by chunk on the host."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array, Float, Int8, Int32, Int64, UInt32

from dpe_jax import reductions
from dpe_jax.observe import PER_AGENT
from dpe_jax.reductions import Moments
from dpe_jax.timeline import Chunk
from dpe_jax.tracing import Buffers, Pieces, Trace

Place = SingleDeviceSharding | None
"""Where a block is computed; None is JAX's own choice."""

Keep = Literal["runs", "summary"]
"""What is kept: curves of every run, or statistics of each configuration."""


class Recording(NamedTuple):
    """What one block of lanes leaves behind."""

    run: UInt32[np.ndarray, " lanes"]
    curves: dict[str, Float[np.ndarray, "points *agents lanes"]]
    """float32; NaN from the first record point at which a lane's status is not ok. Empty if only
    a summary is kept."""
    moments: dict[str, Moments]
    """Statistics of each configuration, if only a summary is kept; not of metrics an agent."""
    status: Int8[np.ndarray, " lanes"]
    failed_at: Int64[np.ndarray, " lanes"]
    """The first record point at which the lane was not ok, or −1."""
    final: Float[np.ndarray, "agents dim lanes"]
    """The agents' positions at the end; NaN in a lane whose status is not ok."""
    trace: Trace | None


class Values(NamedTuple):
    """What one chunk records."""

    curves: dict[str, Float[Array, "segments *agents lanes"]]
    failed: Int32[Array, " lanes"]
    """The first segment at which a lane was not ok, or −1."""


class Snapshot(NamedTuple):
    """Where a block stands between two chunks: all that it needs to go on, as arrays."""

    chunks: int
    """Chunks that are done."""
    arrays: dict[str, np.ndarray]


class Log:
    """The record of one block; `configurations` of so many `runs` each."""

    def __init__(self, keep: Keep, configurations: int, runs: int) -> None:
        self._keep = keep
        self._shape = configurations, runs
        self._lanes = configurations * runs
        self._waiting: tuple[Chunk, dict[str, Array | Moments], Array] | None = None
        self._start: dict[str, Array] = {}
        self._held: dict[str, list[np.ndarray]] = {}
        self.pieces = Pieces()
        self.failed_at = np.full(self._lanes, -1, np.int64)

    def add(self, chunk: Chunk, values: Values, buffers: Buffers | None) -> None:
        """Take what a chunk records; it is brought to the host by `wait`."""
        recorded: dict[str, Array | Moments] = {}
        for name, curve in values.curves.items():
            if self._keep == "runs":
                recorded[name] = curve
            elif name not in PER_AGENT:
                start = self._start.setdefault(name, curve[0])
                recorded[name] = reductions.reduce(curve, start, self._shape)
        self._waiting = chunk, recorded, values.failed
        if buffers is not None:
            self.pieces.add(buffers, chunk.iterations)

    def wait(self) -> None:
        """Bring what was added last to the host, once it is there."""
        if self._waiting is None:
            return
        (chunk, recorded, failed), self._waiting = self._waiting, None
        count = int(chunk.keep.sum())
        kept = slice(count) if chunk.keep[:count].all() else chunk.keep
        for name, value in recorded.items():
            if isinstance(value, Moments):
                for field, column in value._asdict().items():
                    self._hold(f"{name}/{field}", np.asarray(column)[kept])
            else:
                self._hold(name, np.asarray(value)[kept, ..., : self._lanes])
        segment = np.asarray(failed)[: self._lanes]
        new = (segment >= 0) & (self.failed_at < 0)
        self.failed_at[new] = chunk.start[segment[new]]

    def _hold(self, name: str, rows: np.ndarray) -> None:
        self._held.setdefault(name, []).append(rows)

    def recorded(self) -> tuple[dict[str, np.ndarray], dict[str, Moments]]:
        """Curves or moments of all chunks; a view of JAX's own memory if there was one chunk."""
        joined = {
            name: pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            for name, pieces in self._held.items()
        }
        if self._keep == "runs":
            return joined, {}
        names = dict.fromkeys(name.split("/")[0] for name in joined)
        return {}, {
            name: Moments(*(joined[f"{name}/{field}"] for field in Moments._fields))
            for name in names
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is held, for a snapshot."""
        self.wait()
        found = {f"held/{name}": np.concatenate(pieces) for name, pieces in self._held.items()}
        found |= {f"start/{name}": np.asarray(value) for name, value in self._start.items()}
        if self.pieces.held:
            columns = zip(*self.pieces.held, strict=True)
            found |= {f"trace/{i}": np.concatenate(column) for i, column in enumerate(columns)}
        return found | {"failed_at": self.failed_at.copy()}

    def restore(self, arrays: dict[str, np.ndarray], device: Place) -> None:
        """Take up what `arrays` gave."""
        for key, value in arrays.items():
            kind, _, name = key.partition("/")
            if kind == "held":
                self._held[name] = [value]
            elif kind == "start":
                self._start[name] = jax.device_put(jnp.asarray(value), device)
        traced = sorted(key for key in arrays if key.startswith("trace/"))
        if traced:
            self.pieces.held = [tuple(arrays[key] for key in traced)]
        self.failed_at = arrays["failed_at"].copy()
