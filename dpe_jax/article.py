"""The article's two tables, by formula and by measurement."""

from typing import Any

import numpy as np

from dpe_jax.bounds import quantization_bound
from dpe_jax.summary import Check

_DELTA = 0.01
_BOUND_TABLE = {
    2: 0.00005,
    3: 0.0002,
    4: 0.00045,
    5: 0.0008,
    6: 0.00125,
    8: 0.00245,
    10: 0.0004,
}
"""Bound on E‖ξ_i‖² against n, d = 1, δ = 0.01. The entry for n = 10 is a misprint of 0.00405."""

_CONTRACTION_TABLE = {1: 0.75, 5: 0.917, 10: 0.955, 20: 0.976, 50: 0.990, 100: 0.995, 200: 0.998}
"""‖W̄^k‖ against k, μ = 0.5, γ^k = 1/(k + 1)."""

_MISPRINTED = 10
_RUNS = 20_000


def tables() -> dict[str, list[dict[str, Any]]]:
    """Both tables: the article's entry, the formula's value, and a measurement by the engine."""
    return {
        "quantization_bound": [_bound_row(agents) for agents in _BOUND_TABLE],
        "contraction": _contraction_rows(),
    }


def _bound_row(agents: int) -> dict[str, Any]:
    """E‖ξ_i‖² where it is largest: complete graph, w = 1, every state half-way between levels.

    There e has variance δ²/4 exactly, and E‖ξ_i‖² = n(n − 1) d δ²/4 (derived), which meets the
    bound at n = 2.
    """
    from dpe_jax.algorithms import EncryptedDSGD
    from dpe_jax.network import Network
    from dpe_jax.problems import Quadratic
    from dpe_jax.schedules import PowerLaw
    from dpe_jax.study import simulate

    network = Network.complete(agents, weights=np.ones((agents, agents)) - np.eye(agents))
    problem = Quadratic(np.ones((agents, 1, 1)), np.zeros((agents, 1)))
    # γ only has to be small enough for w = 1; nothing but k = 0 is looked at.
    method = EncryptedDSGD(PowerLaw(1.0 / agents, 0.6), PowerLaw(0.1, 0.9), delta=_DELTA)
    result = simulate(
        method,
        problem,
        network,
        runs=_RUNS,
        iterations=1,
        metrics=("quantization_error",),
        x0=np.full((agents, 1), _DELTA / 2),
    )
    # The agents' errors of one run depend on each other; runs do not.
    per_run = result.curves.quantization_error.values[0, 0].astype(np.float64).mean(axis=0)
    return {
        "agents": agents,
        "article": _BOUND_TABLE[agents],
        "misprint": agents == _MISPRINTED,
        "formula": quantization_bound(agents, 1, _DELTA),
        "measured": float(per_run.mean()),
        "standard_error": float(per_run.std(ddof=1) / np.sqrt(per_run.size)),
        "expected": agents * (agents - 1) * _DELTA**2 / 4,
    }


def _contraction_rows() -> list[dict[str, Any]]:
    """‖I + γW − 11ᵀ/n‖ of the complete graph of five agents with w = 1/10, which has μ = 0.5."""
    from fractions import Fraction

    from dpe_jax.network import Network

    network = Network.complete(5).scaled(Fraction(1, 2))
    rows = []
    for k, printed in _CONTRACTION_TABLE.items():
        gamma = 1.0 / (k + 1)
        rows.append(
            {
                "k": k,
                "article": printed,
                "formula": 1 - network.mu * gamma,
                "measured": network.contraction(gamma),
            }
        )
    return rows


def checks(made: dict[str, list[dict[str, Any]]]) -> list[Check]:
    """Formula against the article (but for the misprint), and measurement against formula."""
    bounds, contraction = made["quantization_bound"], made["contraction"]
    printed = [row for row in bounds if not row["misprint"]]
    agree = all(f"{row['formula']:.5f}" == f"{row['article']:.5f}" for row in printed)
    under = all(row["measured"] <= row["formula"] + 4 * row["standard_error"] for row in bounds)
    worst = max(
        abs(row["measured"] - row["expected"]) / row["standard_error"]
        for row in bounds
        if row["standard_error"] > 0
    )
    exact = all(f"{row['formula']:.3f}" == f"{row['article']:.3f}" for row in contraction)
    error = max(abs(row["measured"] - row["formula"]) for row in contraction)
    return [
        Check(
            "article: bound ½(n−1)²dδ²",
            agree,
            "formula equals every entry but n = 10, a misprint of 0.00405",
        ),
        Check(
            "article: measured E‖ξ_i‖²",
            under and worst < 5,
            f"under the bound; {worst:.1f} standard errors at most from n(n−1)dδ²/4",
        ),
        Check(
            "article: ‖W̄^k‖ = 1 − μγ",
            exact and error < 1e-12,
            f"formula equals every entry; measured norm differs by {error:.0e} at most",
        ),
    ]
