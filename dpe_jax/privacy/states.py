"""Attacks on the target's state: what an adversary takes it for at a record point."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from dpe_jax import lanes
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.privacy.replies import from_many_factors, from_mean_factors, guessed, replies
from dpe_jax.privacy.views import Knowledge
from dpe_jax.watching import Sight, Watched, Watcher


@final
class StateWatch(Watcher):
    """Errors max_l |x̂_l − x_l| of the target's state, in units of x, by attack.

    `start`: that all agents still are at x_0; what whoever knows nothing else is left with. `own`:
    that the target is where one of its neighbors is. `message`: the message as it is read,
    without what insiders know of its perturbation. `filtered`: a mean over the messages of about
    the last fifth of all iterations, in which states move little and noise is averaged.
    `reply`: the reply to one insider, with public weights, one factor for all coordinates, or one
    for each; `divisors`: the latter by what divides it. `linear`: replies divided by what private
    factors are in the mean. `collusion`: replies to all insiders that share a link with the target.
    """

    target: int = eqx.field(static=True)
    knowledge: Knowledge = eqx.field(static=True)
    beside: int = eqx.field(static=True)
    """A neighbor of the target; the one that is curious alone."""
    x0: Float[Array, "agents dim"]

    def begin(self, agents: int, dim: int, lanes: int) -> Float[Array, "dim lanes"]:
        """Of `filtered`; the first message replaces it."""
        return jnp.zeros((dim, lanes))

    def look(self, watched: Float[Array, "dim lanes"], sight: Sight) -> Float[Array, "dim lanes"]:
        """The mean with message k in it."""
        if not self._reads(sight):
            return watched
        # Weights (k + 4 choose 3) of iteration k: a mean age of a fifth of all iterations.
        return watched + (self._message(sight) - watched) * (4.0 / (sight.k + 4.0))

    def read(
        self, watched: Float[Array, "dim lanes"], sight: Sight
    ) -> dict[str, Float[Array, "*shape lanes"]]:
        """Every error; see `attacks.state_curves`."""
        x = sight.step.position
        guesses = {"start": jnp.broadcast_to(self.x0[self.target][:, None], x[self.target].shape)}
        # The same for all views, also those with nobody there: their errors can be compared.
        guesses["own"] = x[self.beside]
        algorithm = sight.algorithm
        if self.knowledge.source == "states":
            guesses["message"] = x[self.target]
        elif isinstance(algorithm, EncryptedDSGD):
            if self.knowledge.near:
                guesses |= self._from_replies(sight, algorithm)
        elif self._reads(sight):
            guesses["message"] = self._message(sight)
            guesses["filtered"] = self.look(watched, sight)
        return {
            f"state/{name}": lanes.largest(jnp.abs(guess - x[self.target]), 0)
            for name, guess in guesses.items()
        }

    def _reads(self, sight: Sight) -> bool:
        """Whether messages are in plaintext, and read."""
        return self.knowledge.source == "messages" and not isinstance(
            sight.algorithm, EncryptedDSGD
        )

    def _message(self, sight: Sight) -> Float[Array, "dim lanes"]:
        agents = jnp.arange(sight.step.position.shape[0])
        inside = jnp.isin(agents, jnp.array(self.knowledge.insiders, agents.dtype))
        seen = sight.algorithm.disclosed(sight.step, sight.exchange, sight.draws, sight.row, inside)
        return seen.state[self.target]

    def _from_replies(
        self, sight: Sight, algorithm: EncryptedDSGD
    ) -> dict[str, Float[Array, "dim lanes"]]:
        factors = algorithm.factors
        own, reply, c = replies(sight, factors, self.target, self.knowledge)
        alone = own[:1], reply[:1], c[:1]
        levels = {"reply": guessed(*alone, factors)}
        if factors.kind != "public":
            levels["linear"] = from_mean_factors(own, reply, c, factors)
        if factors.kind == "coordinate":
            levels["divisors"] = from_many_factors(*alone, factors)[0]
        if len(self.knowledge.near) > 1 and factors.kind != "public":
            levels["collusion"] = guessed(own, reply, c, factors)
        return {name: q * algorithm.delta for name, q in levels.items()}


@final
class Several(Watcher):
    """Watchers of the same steps; what each records has its name before it."""

    names: tuple[str, ...] = eqx.field(static=True)
    watchers: tuple[Watcher, ...]

    def begin(self, agents: int, dim: int, lanes: int) -> tuple[Watched, ...]:
        """That of each."""
        return tuple(watcher.begin(agents, dim, lanes) for watcher in self.watchers)

    def look(self, watched: tuple[Watched, ...], sight: Sight) -> tuple[Watched, ...]:
        """Each with its own."""
        pairs = zip(self.watchers, watched, strict=True)
        return tuple(watcher.look(own, sight) for watcher, own in pairs)

    def read(
        self, watched: tuple[Watched, ...], sight: Sight
    ) -> dict[str, Float[Array, "*shape lanes"]]:
        """What each records."""
        each = zip(self.names, self.watchers, watched, strict=True)
        return {
            f"{name}/{key}": value
            for name, watcher, own in each
            for key, value in watcher.read(own, sight).items()
        }
