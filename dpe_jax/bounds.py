"""Bounds on what quantization adds to the exchange."""

import math

from dpe_jax.errors import InputError


def quantization_bound(agents: int, dim: int, delta: float) -> float:
    """Bound on the quantization error that an exchange adds, E‖ξ_i‖² ≤ ½ (n − 1)² d δ².

    ξ_i = Σ_j w_ij (e_j − e_i) with e = Q(x) − x, in units of x². Zhou et al. 2026 state the bound;
    derived: two independent errors of variance at most δ²/4 a coordinate differ by d·δ²/2 in mean
    square, and Cauchy–Schwarz over at most n − 1 neighbors with w_ij ≤ 1 gives (n − 1)². It is
    tight for two agents with w = 1. Raises `InputError`.
    """
    if agents < 1:
        raise InputError("agents", agents, "a positive integer")
    if dim < 1:
        raise InputError("dim", dim, "a positive integer")
    if not (math.isfinite(delta) and delta > 0):
        raise InputError("delta", delta, "a positive finite number")
    return 0.5 * (agents - 1) ** 2 * dim * delta**2
