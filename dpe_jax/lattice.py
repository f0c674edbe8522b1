"""Fixed point: the integer lattice that the encrypted method's state lives on.

A state is an int64 Y with x = Y·δ/2³²: 32 fraction bits below the quantization step δ. Importing
this module turns on JAX's 64-bit types, without which there is no int64 state.

The simulation carries Y and its rounding decision in one word, P = 2Y + b, where b ∈ {0, 1} says
whether the level is q = ⌊Y/2³²⌋ or one above. Exchange and update then read one array, and XLA
keeps a whole step in a single fused pass in which each random word is generated once.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int8, Int64, UInt32

from dpe_jax import lanes
from dpe_jax.errors import InputError

jax.config.update("jax_enable_x64", True)

FRACTION_BITS = 32
"""Bits of the state below one level (one quantization step δ)."""

STATE_LIMIT = 2**60
"""The largest |Y| that a lane may reach; beyond it the lane has left the range."""

INCREMENT_LIMIT = 2**60
"""The largest private increment |U| of one step."""

OK, LEFT_RANGE, NON_FINITE = 0, 1, 2
"""Lane status: sound; |Y| or |U| passed its limit (|x|, for a method with a float64 state); a
gradient or state is NaN or infinite."""

STATUS_NAMES = ("ok", "left the range", "non-finite")

# A dead element keeps one of these two words for good. Both lie far outside 2·STATE_LIMIT + 1.
_LEFT_RANGE_WORD = np.int64(-(2**62))
_NON_FINITE_WORD = np.int64(-(2**63))
_FRACTION_MASK = np.int64(2**FRACTION_BITS - 1)


Delta = float | Float[Array, "*#lanes"]
"""δ: one for all lanes, or one a lane."""


def from_float(x: Float[Array, "*points lanes"], delta: Delta) -> Int64[Array, "*points lanes"]:
    """The lattice point nearest to x, Y = round(x·2³²/δ); x in float64 and within range."""
    return jnp.rint(x * (2.0**FRACTION_BITS / delta)).astype(jnp.int64)


def rounding_bit(
    Y: Int64[Array, "*shape"], word: UInt32[Array, "*shape"] | np.uint32
) -> Int64[Array, "*shape"]:
    """b of stochastic rounding, q = (Y + r) >> 32 = (Y >> 32) + b, r the 32-bit word.

    b = 1 with probability frac(Y/2³²) exactly, so E q = Y/2³² to the last bit. A constant word
    2³¹ gives nearest rounding.
    """
    return ((Y & _FRACTION_MASK) + word.astype(jnp.int64)) >> FRACTION_BITS


def pack(Y: Int64[Array, "*shape"], bit: Int64[Array, "*shape"]) -> Int64[Array, "*shape"]:
    """P = 2Y + b."""
    return 2 * Y + bit


def unpack(
    P: Int64[Array, "*shape"],
) -> tuple[Int64[Array, "*shape"], Int64[Array, "*shape"]]:
    """The state Y and its level q = ⌊Y/2³²⌋ + b."""
    return P >> 1, (P >> (FRACTION_BITS + 1)) + (P & 1)


def to_float(Y: Int64[Array, "*shape"], delta: Delta, dtype: jnp.dtype) -> Float[Array, "*shape"]:
    """x = Y·δ/2³² in `dtype` (exact in float64 while |Y| < 2⁵³ and δ is a power of two)."""
    return Y.astype(dtype) * jnp.asarray(delta / 2**FRACTION_BITS, dtype)


def quantization_error(
    Y: Int64[Array, "*shape"], q: Int64[Array, "*shape"], delta: Delta
) -> Float[Array, "*shape"]:
    """e = Q(x) − x = (2³² q − Y)·δ/2³², the difference taken in integers; in float32."""
    return to_float((q << FRACTION_BITS) - Y, delta, jnp.dtype(jnp.float32))


def advance(
    P: Int64[Array, "*shape"],
    Y: Int64[Array, "*shape"],
    bit_word: UInt32[Array, "*shape"] | np.uint32,
    increment: Float[Array, "*shape"],
) -> Int64[Array, "*shape"]:
    """The next packed state from the updated Y, or the element's final word if it has failed.

    `P` is the state before the step, `Y` the updated state, and `increment` the private increment
    before it was rounded to an integer, which is where NaN, infinity and overflow show.
    """
    packed = pack(Y, rounding_bit(Y, bit_word))
    size = jnp.abs(increment)
    inside = (size <= INCREMENT_LIMIT) & (jnp.abs(Y) <= STATE_LIMIT)
    failed = jnp.where(jnp.isfinite(size), _LEFT_RANGE_WORD, _NON_FINITE_WORD)
    return jnp.where(_dead(P), P, jnp.where(inside, packed, failed))


def _dead(P: Int64[Array, "*shape"]) -> Bool[Array, "*shape"]:
    return P <= _LEFT_RANGE_WORD


def lane_status(P: Int64[Array, "agents dim lanes"]) -> Int8[Array, " lanes"]:
    """Status of each lane: ok, left the range, or non-finite (which outranks the other)."""
    worst = lanes.smallest(lanes.smallest(P, 0), 0)
    status = jnp.where(_dead(worst), LEFT_RANGE, OK)
    return jnp.where(worst == _NON_FINITE_WORD, NON_FINITE, status).astype(jnp.int8)


def gain(
    gamma: Float[np.ndarray, " iterations"], denominator: float | int
) -> Int64[np.ndarray, " iterations"]:
    """Γ^k = round(2³² γ^k / D), tabulated on the host in float64.

    Raises InputError where Γ^k does not fit int64.
    """
    scaled = gamma * (2.0**FRACTION_BITS / denominator)
    if not np.all(scaled < 2.0**62):
        limit = 2.0**62 * denominator / 2.0**FRACTION_BITS
        raise InputError("gamma", float(np.max(gamma)), f"below {limit:.3g} at every k")
    return np.rint(scaled).astype(np.int64)


def check_headroom(gamma_max: float, largest_row_sum: float) -> None:
    """Refuse a γ for which one exchange could overflow int64 before the range check sees it.

    |Y| + |Γ v| + |U| ≤ 2⁶⁰ (2 + 2γ Σ_j w_ij) must stay below 2⁶³, hence γ Σ_j w_ij < 3 (derived).
    """
    if not gamma_max * largest_row_sum < 3.0:
        raise InputError(
            "gamma", gamma_max, f"below {3.0 / largest_row_sum:.6g} = 3 / max_i Σ_j w_ij at every k"
        )


LEVEL_LIMIT = (STATE_LIMIT >> FRACTION_BITS) + 1
"""The largest |q| of a state within the range."""


def sum_limit(row_sum: int) -> int:
    """The largest |v_i| = |Σ_j c (q_j − q_i)| in range; `row_sum` is the largest Σ_j c."""
    return 2 * LEVEL_LIMIT * row_sum


def plaintext_bits(row_sum: int) -> int:
    """Bits of a signed Paillier plaintext that holds any v_i in range."""
    return sum_limit(row_sum).bit_length() + 1


def check_plaintext(row_sum: int) -> None:
    """Refuse weights and factors with which a v_i in range could overflow int64."""
    if sum_limit(row_sum) >= 2**63:
        limit = (2**63 - 1) // (2 * LEVEL_LIMIT)
        accepted = f"at most {limit}; take a smaller common denominator or smaller factors"
        raise InputError("largest Σ_j c_ij a_ij a_ji", row_sum, accepted)
