"""The only thing that parties share: serialised messages, counted and, if asked, recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dpe_jax.errors import InputError

Kind = Literal["key", "level", "reply"]
"""A public key; −q_i under the sender's key; a neighbor's answer, under the receiver's key."""


@dataclass(frozen=True)
class Message:
    """One message to one recipient, as it went over the wire."""

    sender: int
    recipient: int
    iteration: int | None
    """None before the first iteration, when keys are announced."""
    kind: Kind
    payload: bytes
    """Ciphertexts of fixed length, big-endian, one after the other; or a key announcement."""


class Channel:
    """Mailboxes, one an agent. A broadcast to m neighbors counts as m messages.

    Whoever runs the protocol opens its phases. What is sent in one phase can be received in the
    next. Iteration and kind belong to the phase: in a synchronous protocol everybody knows them,
    so they are not sent.
    """

    def __init__(self, agents: int, keep: bool = False) -> None:
        self._agents = agents
        self._delivered: list[list[tuple[int, bytes]]] = [[] for _ in range(agents)]
        self._underway: list[list[tuple[int, bytes]]] = [[] for _ in range(agents)]
        self._keep = keep
        self._iteration: int | None = None
        self._kind: Kind = "key"
        self.messages = 0
        self.wire_bytes = 0
        self.announcements = 0
        self.announcement_bytes = 0
        self.transcript: list[Message] = []
        """Every message in the order sent, if `keep`."""

    def open_phase(self, iteration: int | None, kind: Kind) -> None:
        """Deliver what is underway; messages sent from now on are of this iteration and kind."""
        for mailbox, arriving in zip(self._delivered, self._underway, strict=True):
            mailbox.extend(arriving)
            arriving.clear()
        self._iteration, self._kind = iteration, kind

    def send(self, sender: int, recipients: Sequence[int], payload: bytes) -> None:
        """The same bytes to each recipient."""
        if type(payload) is not bytes:
            raise InputError("payload", payload, "bytes")
        for recipient in recipients:
            if not 0 <= recipient < self._agents or recipient == sender:
                raise InputError("recipient", recipient, f"another of {self._agents} agents")
            self._underway[recipient].append((sender, payload))
            if self._keep:
                message = Message(sender, recipient, self._iteration, self._kind, payload)
                self.transcript.append(message)
        if self._kind == "key":
            self.announcements += len(recipients)
            self.announcement_bytes += len(recipients) * len(payload)
        else:
            self.messages += len(recipients)
            self.wire_bytes += len(recipients) * len(payload)

    def receive(self, recipient: int) -> list[tuple[int, bytes]]:
        """Everything delivered to an agent since it last asked, as (sender, payload)."""
        mail = self._delivered[recipient]
        self._delivered[recipient] = []
        return mail
