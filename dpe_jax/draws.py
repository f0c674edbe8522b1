"""The random words of one moment of one run, laid out for lanes.

Contract: key = (seed low word, seed high word), counter = (run, time, element, stream).

The words at time t make the state of time t and round it: the update of iteration k, which makes
x^{k+1}, draws at time k + 1; the rounding of x^k, its word at time k. One Philox call an element
and a step thereby serves both. Elements and streams:

| stream | element | words |
|---|---|---|
| 0 STATE | agent·d + coordinate | w0 rounding, w1 stepsize, w2 gradient noise, w3 message noise |
| 1 MINIBATCH | agent·⌈batch/4⌉ + ⌊slot/4⌋ | word slot mod 4 is the sample index of that slot |
| 2 MEASUREMENT | agent·rows + row | w0 measurement noise |
| 3 FACTORS | i·agents + j, for each coordinate (·)·d + coordinate; i < j | w0 a_{i→j}, w1 a_{j→i} |
| 4 SHARES | like FACTORS, for each coordinate | w0 what i gives to j, w1 what j gives to i |
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Int64, UInt32

from dpe_jax import philox

STATE, MINIBATCH, MEASUREMENT, FACTORS, SHARES = 0, 1, 2, 3, 4


class Draws(eqx.Module):
    """All random draws of one time, for every agent, coordinate and lane."""

    key: tuple[UInt32[Array, ""], UInt32[Array, ""]]
    run: UInt32[Array, " lanes"]
    time: UInt32[Array, ""]
    agents: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)

    def at(self, time: int | UInt32[Array, ""]) -> "Draws":
        """Those of another time."""
        return Draws(self.key, self.run, jnp.uint32(time), self.agents, self.dim)

    def words(self, stream: int, rows: int, columns: int) -> philox.Words:
        """The four words of elements row·columns + column of a stream, each [row column lane]."""
        element = jnp.arange(rows * columns, dtype=jnp.uint32).reshape(rows, columns, 1)
        return self._words(stream, element)

    def _words(self, stream: int, element: UInt32[Array, "rows columns 1"]) -> philox.Words:
        counter = (self.run, self.time, element, jnp.uint32(stream))
        return philox.philox4x32(counter, self.key)

    def rounding_word(self) -> UInt32[Array, "agents dim lanes"]:
        """Word r of stochastic rounding, q = (Y + r) >> 32."""
        return self.words(STATE, self.agents, self.dim)[0]

    def stepsize_word(self) -> UInt32[Array, "agents dim lanes"]:
        """The word that the private stepsize multiplier is made from."""
        return self.words(STATE, self.agents, self.dim)[1]

    def message_word(self) -> UInt32[Array, "agents dim lanes"]:
        """The word of a method that perturbs what it sends: one for each agent's own message."""
        return self.words(STATE, self.agents, self.dim)[3]

    def noise(self, dtype: jnp.dtype) -> Float[Array, "agents dim lanes"]:
        """Standard normal gradient noise, the same for every method."""
        return philox.normal(self.words(STATE, self.agents, self.dim)[2], dtype)

    def measurement_noise(self, rows: int, dtype: jnp.dtype) -> Float[Array, "agents rows lanes"]:
        """Standard normal noise of each agent's `rows` measurements."""
        return philox.normal(self.words(MEASUREMENT, self.agents, rows)[0], dtype)

    def link_words(
        self, links: Int64[Array, "links 2"], columns: int, stream: int = FACTORS
    ) -> tuple[UInt32[Array, "links columns lanes"], UInt32[Array, "links columns lanes"]]:
        """The words of each link's lower and higher agent."""
        pair = links[:, :1] * self.agents + links[:, 1:]
        element = (pair * columns + jnp.arange(columns))[..., None]
        words = self._words(stream, element.astype(jnp.uint32))
        return words[0], words[1]

    def minibatch(
        self, sizes: Int64[np.ndarray, " agents"] | Int64[Array, " agents"], batch: int
    ) -> Int32[Array, "agents batch lanes"]:
        """Sample indices, drawn with replacement: ⌊w·m_i / 2³²⌋ for an agent with m_i samples.

        Each index is uniform up to a relative bias of m_i·2⁻³².
        """
        groups = -(-batch // 4)
        words = jnp.stack(self.words(MINIBATCH, self.agents, groups), axis=2)
        flat = words.reshape(self.agents, groups * 4, -1)[:, :batch]
        scaled = flat.astype(jnp.uint64) * jnp.asarray(sizes).astype(jnp.uint64)[:, None, None]
        return (scaled >> np.uint64(32)).astype(jnp.int32)
