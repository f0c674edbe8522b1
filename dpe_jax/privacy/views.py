"""Views: what an adversary gets to see of one agent, its target.

What a view sees follows from two things: what a method declares to send (`Algorithm.wire`), and for
encrypted messages how weights are split into factors (`factors.Factors.kind`). Nobody is assumed to
keep to the protocol's decryptions: an agent decrypts each single reply that it can.
"""

import abc
import dataclasses
from typing import ClassVar, Literal, final

from dpe_jax.algorithms import Algorithm, EncryptedDSGD
from dpe_jax.errors import InputError
from dpe_jax.network import Network

Source = Literal["nothing", "replies", "messages", "states"]
"""Where the target's state is known from: not at all; replies with private factors, from which it
is guessed; its messages; or the state itself."""


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """What a view knows of its target."""

    source: Source
    heard: tuple[bool, ...]
    """The agents whose messages, weighted as the target does it, are known."""
    insiders: tuple[int, ...]
    """Agents among the adversary."""
    near: tuple[int, ...]
    """Those that share a link with the target."""
    around: tuple[tuple[int, int, int], ...]
    """The target's neighbors j, the numbers of their links with it, and c_tj."""


@dataclasses.dataclass(frozen=True)
class View(abc.ABC):
    """An adversary, and the agent it looks at."""

    target: int

    listens: ClassVar[bool] = False
    """Whether it reads the wire."""
    granted: ClassVar[bool] = False
    """Whether it is given the states themselves, however it came by them."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """In a few words, for tables."""

    @abc.abstractmethod
    def members(self, network: Network) -> tuple[int, ...]:
        """Agents among the adversary; InputError for what is no view on this network."""

    def knowledge(self, algorithm: Algorithm, network: Network) -> Knowledge:
        """What it knows of its target under a method."""
        if not 0 <= self.target < network.agents:
            raise InputError("target", self.target, f"an agent, 0 to {network.agents - 1}")
        insiders = self.members(network)
        everyone = (True,) * network.agents
        around = _around(network, self.target)
        near = tuple(j for j in insiders if j in {neighbor for neighbor, _, _ in around})
        if self.granted:
            return Knowledge("states", everyone, insiders, near, around)
        if self.listens and algorithm.wire().readable:
            return Knowledge("messages", everyone, insiders, near, around)
        decrypted = {agent for insider in insiders for agent in neighbors(network, insider)}
        if not algorithm.wire().readable and _kind(algorithm) != "public":
            # An insider knows what its own link adds to the target's sum, and no other's.
            decrypted = set()
        heard = decrypted | set(insiders)
        source: Source = "messages" if near else "nothing"
        if source == "messages" and _kind(algorithm) != "public":
            source = "replies"
        known = tuple(agent in heard for agent in range(network.agents))
        return Knowledge(source, known, insiders, near, around)


@final
@dataclasses.dataclass(frozen=True)
class Eavesdropper(View):
    """Listens to every link: plaintext if there is any, else ciphertexts and nothing else."""

    listens: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """In a few words."""
        return "eavesdropper"

    def members(self, network: Network) -> tuple[int, ...]:
        """None."""
        return ()


@final
@dataclasses.dataclass(frozen=True)
class Neighbor(View):
    """One honest-but-curious neighbor: its own keys and plaintexts, and not the other links."""

    agent: int

    @property
    def name(self) -> str:
        """In a few words."""
        return "neighbor"

    def members(self, network: Network) -> tuple[int, ...]:
        """The neighbor."""
        if self.agent not in neighbors(network, self.target):
            accepted = f"a neighbor of agent {self.target}: {neighbors(network, self.target)}"
            raise InputError("neighbor", self.agent, accepted)
        return (self.agent,)


@final
@dataclasses.dataclass(frozen=True)
class Coalition(View):
    """Chosen agents with the eavesdropper; of all neighbors of the target if none are named."""

    listens: ClassVar[bool] = True
    agents: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """In a few words."""
        return "coalition" if self.agents else "coalition of all neighbors"

    def members(self, network: Network) -> tuple[int, ...]:
        """The chosen agents, or all neighbors."""
        for agent in self.agents:
            if not 0 <= agent < network.agents or agent == self.target:
                accepted = f"agents 0 to {network.agents - 1} other than {self.target}"
                raise InputError("coalition", agent, accepted)
        if len(set(self.agents)) != len(self.agents):
            raise InputError("coalition", self.agents, "each agent once")
        return self.agents or neighbors(network, self.target)


@final
@dataclasses.dataclass(frozen=True)
class WorstCase(View):
    """A coalition of all neighbors that was given every state, however it came by them.

    The article's second line of defence is against this one: the whole state sequence in plaintext.
    """

    listens: ClassVar[bool] = True
    granted: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """In a few words."""
        return "states granted"

    def members(self, network: Network) -> tuple[int, ...]:
        """All neighbors."""
        return neighbors(network, self.target)


def neighbors(network: Network, agent: int) -> tuple[int, ...]:
    """Agents that share a link with one."""
    return tuple(sorted({i + j - agent for i, j in network.edges if agent in (i, j)}))


def _around(network: Network, agent: int) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (i + j - agent, link, int(network.coupling[i, j]))
        for link, (i, j) in enumerate(network.edges)
        if agent in (i, j)
    )


def most_curious(network: Network, target: int) -> int:
    """The neighbor that hears most of the target's other neighbors; of equals the first."""
    around = neighbors(network, target)
    if not around:
        raise InputError("target", target, "an agent with neighbors")
    return max(around, key=lambda agent: len(set(neighbors(network, agent)) & set(around)))


def views(network: Network, target: int, neighbor: int | None = None) -> tuple[View, ...]:
    """The four views of an audit: from nothing but the wire to the states themselves.

    `neighbor` is the one that is curious alone, `most_curious` unless it is chosen.
    """
    one = Neighbor(target, most_curious(network, target) if neighbor is None else neighbor)
    one.members(network)
    return Eavesdropper(target), one, Coalition(target), WorstCase(target)


def _kind(algorithm: Algorithm) -> str:
    return algorithm.factors.kind if isinstance(algorithm, EncryptedDSGD) else "public"
