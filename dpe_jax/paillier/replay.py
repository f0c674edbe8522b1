"""Replay of a traced lane by encrypted parties, compared integer for integer.

The parties start from one recorded state and the private increments. Everything else they work out
themselves: levels, encrypted exchange, update. Whatever the trace holds of these is only compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import Backend
from dpe_jax.paillier.channel import Channel
from dpe_jax.paillier.party import Party
from dpe_jax.paillier.protocol import Protocol
from dpe_jax.paillier.tally import Tally

Quantity = Literal["level", "sum", "state"]


@dataclass(frozen=True)
class Stretch:
    """Iterations first … first + count − 1 of one lane, as they were recorded."""

    method: str
    run: int
    first: int
    gains: Int64[np.ndarray, " count"]
    """Γ^k."""
    state: Int64[np.ndarray, "count+1 agents dim"]
    """Y^k, one more than iterations."""
    level: Int64[np.ndarray, "count agents dim"]
    """q^k."""
    sums: Int64[np.ndarray, "count agents dim"]
    """v^k."""
    increment: Int64[np.ndarray, "count agents dim"]
    """U^k."""

    @property
    def count(self) -> int:
        """Iterations."""
        return len(self.gains)


@dataclass(frozen=True)
class Mismatch:
    """One integer that the replay found otherwise than it was recorded."""

    method: str
    lane: int
    """The run number."""
    iteration: int
    """k; a state is that which iteration k leaves, Y^{k+1}."""
    quantity: Quantity
    agent: int
    coordinate: int
    expected: int
    """As recorded."""
    got: int
    """As replayed."""


@dataclass(frozen=True)
class Replayed:
    """What came of a stretch."""

    method: str
    run: int
    first: int
    iterations: int
    """Iterations done."""
    compared: int
    """Integers compared."""
    mismatches: int
    first_mismatch: Mismatch | None
    """By iteration, then level, sum, state, then agent and coordinate."""
    messages: int
    wire_bytes: int
    """Of ciphertexts; a broadcast to m neighbors counts m times."""
    announcements: int
    announcement_bytes: int
    tally: Tally
    stopped: str | None
    """Why the replay ended early: after a mismatch a level had left the range."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        found = self.first_mismatch
        mismatch = None if found is None else asdict(found)
        return plain | {"first_mismatch": mismatch, "tally": self.tally.to_dict()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Replayed":
        """What `to_dict` made."""
        found = stored["first_mismatch"]
        mismatch = None if found is None else Mismatch(**found)
        tally = Tally.from_dict(stored["tally"])
        return cls(**(stored | {"first_mismatch": mismatch, "tally": tally}))


class _Comparison:
    """Mismatches so far."""

    def __init__(self, method: str, lane: int) -> None:
        self._method, self._lane = method, lane
        self.compared = 0
        self.mismatches = 0
        self.first: Mismatch | None = None

    def at(
        self,
        iteration: int,
        quantity: Quantity,
        recorded: Int64[np.ndarray, "agents dim"],
        got: list[list[int]],
    ) -> None:
        """Compare all agents' integers of one quantity."""
        self.compared += recorded.size
        expected = recorded.tolist()
        if expected == got:
            return
        for agent, rows in enumerate(zip(expected, got, strict=True)):
            for coordinate, (one, other) in enumerate(zip(*rows, strict=True)):
                if one != other:
                    self.mismatches += 1
                    place = (iteration, quantity, agent, coordinate)
                    found = Mismatch(self._method, self._lane, *place, one, other)
                    self.first = self.first or found


def replay(
    protocol: Protocol,
    stretch: Stretch,
    backend: Backend,
    keys: Sequence[tuple[int, int]],
    channel: Channel | None = None,
    progress: Callable[[int], None] | None = None,
    ahead: int = 0,
) -> Replayed:
    """Y ← Y + Γ^k v − U from the first recorded state on, v exchanged in real ciphertexts.

    After a mismatch the parties go on with their own integers, and further mismatches are counted.
    `keys` are the agents' prime pairs; `progress` is called with 1 after each iteration; the random
    part of ciphertexts is computed for `ahead` iterations at a time where the backend can, or, if
    0, when it is needed. InputError for a stretch that does not fit the protocol, and for a level
    beyond the range unless a mismatch came before it.
    """
    _check(protocol, stretch, keys)
    channel = Channel(protocol.agents) if channel is None else channel
    start = channel.messages, channel.wire_bytes
    start_of_keys = channel.announcements, channel.announcement_bytes
    parties, tally = _parties(protocol, stretch, backend, keys, channel)
    comparison = _Comparison(stretch.method, stretch.run)
    done, stopped = 0, None
    for step, gain in enumerate(stretch.gains.tolist()):
        iteration = stretch.first + step
        if ahead and step % ahead == 0:
            for party in parties:
                party.prepare(min(ahead, stretch.count - step))
        try:
            for party in parties:
                party.round_state(iteration)
        except InputError as error:
            if comparison.first is None or error.argument != "level":
                raise
            stopped = f"after a mismatch a level left the range: {error}"
            break
        _exchange(parties, channel, iteration, gain)
        comparison.at(iteration, "level", stretch.level[step], [p.levels for p in parties])
        comparison.at(iteration, "sum", stretch.sums[step], [p.sums for p in parties])
        comparison.at(iteration, "state", stretch.state[step + 1], [p.state for p in parties])
        done += 1
        if progress is not None:
            progress(1)
    return Replayed(
        method=stretch.method,
        run=stretch.run,
        first=stretch.first,
        iterations=done,
        compared=comparison.compared,
        mismatches=comparison.mismatches,
        first_mismatch=comparison.first,
        messages=channel.messages - start[0],
        wire_bytes=channel.wire_bytes - start[1],
        announcements=channel.announcements - start_of_keys[0],
        announcement_bytes=channel.announcement_bytes - start_of_keys[1],
        tally=sum((party.tally for party in parties), tally),
        stopped=stopped,
    )


def _parties(
    protocol: Protocol,
    stretch: Stretch,
    backend: Backend,
    keys: Sequence[tuple[int, int]],
    channel: Channel,
) -> tuple[list[Party], Tally]:
    """The agents at the beginning of the stretch, knowing each other's public keys."""
    tally = Tally()
    parties = []
    for agent, (p, q) in enumerate(keys):
        with tally.timing("keys", 1):
            key = backend.private_key(p, q)
        state = stretch.state[0, agent].tolist()
        increments = stretch.increment[:, agent].tolist()
        parties.append(Party(protocol, agent, stretch.run, key, state, increments, channel))
    channel.open_phase(None, "key")
    for party in parties:
        party.announce_key()
    channel.open_phase(stretch.first, "level")
    for party in parties:
        party.learn_keys(backend)
    return parties, tally


def _exchange(parties: list[Party], channel: Channel, iteration: int, gain: int) -> None:
    """One iteration after rounding; it ends in the phase of the next iteration's levels."""
    for party in parties:
        party.send_encrypted()
    channel.open_phase(iteration, "reply")
    for party in parties:
        party.reply()
    channel.open_phase(iteration + 1, "level")
    for party in parties:
        party.finish(gain)


def _check(protocol: Protocol, stretch: Stretch, keys: Sequence[tuple[int, int]]) -> None:
    if stretch.count < 1:
        raise InputError("stretch", stretch.count, "at least one iteration")
    for name, last in (("run", stretch.run), ("first", stretch.first + stretch.count)):
        number = getattr(stretch, name)
        if type(number) is not int or number < 0 or last >= 2**32:
            raise InputError(name, number, "a Python integer that fits a 32-bit word")
    shape = (stretch.count, protocol.agents, protocol.dim)
    for name in ("gains", "state", "level", "sums", "increment"):
        array = getattr(stretch, name)
        expected = {"gains": shape[:1], "state": (shape[0] + 1, *shape[1:])}.get(name, shape)
        if array.dtype != np.int64 or array.shape != expected:
            given = f"{array.dtype} {array.shape}"
            raise InputError(name, given, f"int64 {expected}")
    if len(keys) != protocol.agents:
        raise InputError("keys", f"{len(keys)} pairs", f"{protocol.agents} pairs of primes")
