"""What replies to encrypted messages show to whoever decrypts each by itself.

A neighbor i of the target t gets r = f (q_t − q_i), f = c_ti a_{t→i} with a private factor a of t,
under its own key. The protocol has it decrypt the sum of all replies; nothing keeps it to that.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int64

from dpe_jax.factors import Factors
from dpe_jax.privacy.views import Knowledge
from dpe_jax.watching import Sight

Levels = Int64[Array, "dim lanes"]


def replies(
    sight: Sight, factors: Factors, target: int, knowledge: Knowledge
) -> tuple[list[Levels], list[Levels], list[Int64[Array, ""]]]:
    """Of each insider that has a link with the target t, in the order of `knowledge.near`.

    Its own levels q_i, the reply r = c a_{t→i} (q_t − q_i), and c = c_ti.
    """
    q, exchange = sight.step.message, sight.exchange
    ends = factors.ends(sight.draws, exchange.links)
    own, received, coupling = [], [], []
    around = {neighbor: (link, c) for neighbor, link, c in knowledge.around}
    for insider in knowledge.near:
        link, c = around[insider]
        difference = q[target] - q[insider]
        if ends is not None:
            difference = difference * ends[0 if target < insider else 1][link]
        own.append(q[insider])
        received.append(c * difference)
        coupling.append(jnp.int64(c))
    return own, received, coupling


def guessed(
    own: list[Levels], reply: list[Levels], c: list[Int64[Array, ""]], factors: Factors
) -> Float[Array, "dim lanes"]:
    """q_t as well as all these replies tell it.

    With one factor a link and d ≥ 2 the lines of two insiders meet in it; else, and with a factor
    for each coordinate, levels are tried that fit all replies. A single reply with a factor for
    each coordinate is fitted by too many, and is divided by what factors are in the mean.
    """
    if factors.kind == "public":
        return from_public_weights(own[0], reply[0], c[0]).astype(jnp.float64)
    if factors.kind == "link" and len(own) == 1:
        return from_one_factor(own[0], reply[0], c[0], factors).astype(jnp.float64)
    if factors.kind == "link" and own[0].shape[0] > 1:
        return from_two_insiders((own[0], own[1]), (reply[0], reply[1]))
    if len(own) == 1:
        return from_mean_factors(own, reply, c, factors)
    return from_many_factors(own, reply, c, factors)[0]


def from_public_weights(own: Levels, reply: Levels, c: Int64[Array, ""]) -> Levels:
    """q_t = q_i + r/c: exact, as a_{t→i} = 1 (derived)."""
    return own + reply // c


def from_one_factor(own: Levels, reply: Levels, c: Int64[Array, ""], factors: Factors) -> Levels:
    """q_t from a single reply with one factor for all coordinates (derived).

    The greatest common divisor of the coordinates of r is a multiple of f = c a, and f itself if
    the coordinates of q_t − q_i have none; the largest a that divides it is taken.
    """
    divisor = jax.lax.fori_loop(
        1, reply.shape[0], lambda i, g: jnp.gcd(g, jnp.abs(reply[i])), jnp.abs(reply[0])
    )

    def larger(a: Array, found: Int64[Array, " lanes"]) -> Int64[Array, " lanes"]:
        return jnp.where(divisor % (c * a) == 0, c * a, found)

    least = jnp.full_like(divisor, c * factors.low)
    f = jax.lax.fori_loop(factors.low, factors.high + 1, larger, least)
    return own + reply // f


def from_mean_factors(
    own: list[Levels], reply: list[Levels], c: list[Int64[Array, ""]], factors: Factors
) -> Float[Array, "dim lanes"]:
    """q_t from the law of the factors alone, q_i + (r/c) E[a]/E[a²]; the mean over insiders.

    Of all multiples of r it is the nearest to q_t − q_i in mean square: √(Var a/E[a²]) of the
    distance, whatever that is (derived).
    """
    square = factors.mean**2 + ((factors.high - factors.low + 1) ** 2 - 1) / 12
    guesses = [
        level + (received / weight) * (factors.mean / square)
        for level, received, weight in zip(own, reply, c, strict=True)
    ]
    return sum(guesses[1:], guesses[0]) / len(guesses)


def from_two_insiders(
    own: tuple[Levels, Levels], reply: tuple[Levels, Levels]
) -> Float[Array, "dim lanes"]:
    """q_t as the point where two lines meet, q_i + s_i r_i with unknown s_i (derived).

    Two neighbors pool one reply each, both with a private factor of the target for all coordinates.
    With d ≥ 2 that is d equations for two unknowns, solved by least squares; where the lines are
    parallel, as with d = 1, the middle of the neighbors' own levels is returned.
    """
    one, other = (r.astype(jnp.float64) for r in reply)
    gap = (own[1] - own[0]).astype(jnp.float64)
    aa, bb, ab = (jnp.sum(u * v, axis=0) for u, v in ((one, one), (other, other), (one, other)))
    ag, bg = jnp.sum(one * gap, axis=0), jnp.sum(other * gap, axis=0)
    determinant = aa * bb - ab**2
    sound = determinant > 1e-9 * aa * bb
    s = jnp.where(sound, (bb * ag - ab * bg) / jnp.where(sound, determinant, 1.0), 0.0)
    t = jnp.where(sound, (ab * ag - aa * bg) / jnp.where(sound, determinant, 1.0), 0.0)
    start, end = (level.astype(jnp.float64) for level in own)
    meeting = ((start + s * one) + (end + t * other)) / 2
    # A neighbor whose reply is zero stands where the target stands.
    meeting = jnp.where(jnp.all(other == 0, axis=0), end, meeting)
    return jnp.where(jnp.all(one == 0, axis=0), start, meeting)


def from_many_factors(
    own: list[Levels], reply: list[Levels], c: list[Int64[Array, ""]], factors: Factors
) -> tuple[Float[Array, "dim lanes"], Int64[Array, "dim lanes"]]:
    """q_t from replies with a factor for each coordinate, and how many levels fit (derived).

    A level fits if every insider's reply is an allowed factor times its distance from that
    insider's own level. If one fits, it is the target's. Of several, distances from the first
    insider are taken to be as likely as 1/|distance|, which prefers no scale: their mean is then
    the harmonic one.
    """
    first, others = (own[0], reply[0], c[0]), list(zip(own[1:], reply[1:], c[1:], strict=True))

    def fits(q: Levels, own: Levels, reply: Levels, c: Array) -> Bool[Array, "dim lanes"]:
        distance = c * (q - own)
        a = reply // jnp.where(distance == 0, 1, distance)
        allowed = (a >= factors.low) & (a <= factors.high) & (a * distance == reply)
        return jnp.where(distance == 0, reply == 0, allowed)

    def add(
        a: Array, found: tuple[Float[Array, "dim lanes"], Int64[Array, "dim lanes"]]
    ) -> tuple[Float[Array, "dim lanes"], Int64[Array, "dim lanes"]]:
        total, count = found
        level, received, weight = first
        shift = received // (weight * a)
        fit = shift * weight * a == received
        # A reply of zero has one solution, not one for each factor.
        fit &= (received != 0) | (a == factors.low)
        for other in others:
            fit &= fits(level + shift, *other)
        inverse = 1 / jnp.where(shift == 0, 1, shift).astype(jnp.float64)
        return total + jnp.where(fit & (shift != 0), inverse, 0.0), count + fit

    nothing = jnp.zeros(own[0].shape, jnp.float64), jnp.zeros(own[0].shape, jnp.int64)
    total, count = jax.lax.fori_loop(factors.low, factors.high + 1, add, nothing)
    distance = jnp.where(total == 0, 0.0, count / jnp.where(total == 0, 1.0, total))
    return own[0].astype(jnp.float64) + distance, count
