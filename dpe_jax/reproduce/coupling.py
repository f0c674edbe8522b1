"""The article's chart of ‖W̄^k‖ = 1 − μγ^k: the formula, and the norm that is measured."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt

from dpe_jax import drawing
from dpe_jax.config import NetworkTable
from dpe_jax.network import Network
from dpe_jax.reproduce import part
from dpe_jax.reproduce.entries import beside_measured
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.summary import Check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Decay of the consensus error, ‖W̄^k‖"
SOURCE = (
    'The article\'s chart "Spectral Norm Decay of Consensus Matrix": ‖W̄^k‖ = 1 − μγ^k at μ = 0.5 '
    "and γ^k = 1/(k + 1), of the paper's Lemma 1."
)
DIFFERS = (
    "The article evaluates the formula only, for no graph in particular. Here ‖I + γ^k W − 11ᵀ/n‖ "
    "is measured too, by singular values: of a complete graph whose weights are scaled to μ = 0.5, "
    "and of other graphs with Metropolis weights."
)

ENTRIES = {1: 0.75, 5: 0.917, 10: 0.955, 20: 0.976, 50: 0.990, 100: 0.995, 200: 0.998}
"""The article's, by k."""


class Settings(part.Settings):
    """Iterations, beside those of the article, and graphs, beside its own."""

    iterations: list[PositiveInt]
    networks: Annotated[dict[str, NetworkTable], Field(min_length=1)]


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Measure the norm at each k, for the article's μ and for other graphs."""
    networks = {_OWN: article_network()}
    networks |= {name: table.build() for name, table in settings.networks.items()}
    rows = [
        row
        for name, network in networks.items()
        for row in _rows(name, network, settings.iterations)
    ]
    work.step(1, 1)
    own = [row for row in rows if row["article"] is not None]
    sizes = "; ".join(
        f"{name}: n = {net.agents}, μ = {net.mu:.3g}" for name, net in networks.items()
    )
    return Made(
        [
            Drawing(
                "coupling",
                "Norm ‖W̄^k‖ = ‖I + γ^k W − 11ᵀ/n‖, by which the consensus error is multiplied at "
                "most in an exchange, against the iteration k, with γ^k = 1/(k + 1) (no unit). "
                "Left: formula, measurement by singular values, and the article's entries, at μ = "
                "0.5. Right: its distance from 1, for several graphs; lines are the formula μγ^k, "
                f"marks are measured ({sizes}). Nothing is random here.",
                rows,
                lambda: _figure(rows),
            )
        ],
        [
            Table(
                "coupling",
                "‖W̄^k‖ by the article, by the formula 1 − μγ^k, and measured by singular values, "
                "at μ = 0.5 and γ^k = 1/(k + 1): complete graph of five agents, weights 1/10.",
                (
                    Column("k", "k", digits="d", latex="$k$"),
                    Column("article", "article", digits=".3f"),
                    Column("formula", "1 − μγ^k", digits=".6f", latex=r"$1 - \mu\gamma^k$"),
                    Column("measured", "measured", digits=".6f"),
                ),
                own,
            )
        ],
        checks(rows),
        DIFFERS,
    )


_OWN = "complete, μ = 0.5"


def article_network() -> Network:
    """The complete graph of five agents with w = 1/10, which has μ = 0.5."""
    return Network.complete(5).scaled(Fraction(1, 2))


def _rows(name: str, network: Network, iterations: list[int]) -> list[dict[str, Any]]:
    found = []
    for k in sorted({*iterations, *(ENTRIES if name == _OWN else ())}):
        gamma = 1.0 / (k + 1)
        if gamma > network.gamma_limit:
            # Lemma 1 speaks of γ up to the limit.
            continue
        found.append(
            {
                "network": name,
                "agents": network.agents,
                "mu": network.mu,
                "k": k,
                "article": ENTRIES.get(k) if name == _OWN else None,
                "formula": 1 - network.mu * gamma,
                "measured": network.contraction(gamma),
            }
        )
    return found


def checks(rows: list[dict[str, Any]]) -> list[Check]:
    """Formula against the article, and measurement against formula."""
    printed = [row for row in rows if row["article"] is not None]
    agree = all(f"{row['formula']:.3f}" == f"{row['article']:.3f}" for row in printed)
    error = max(abs(row["measured"] - row["formula"]) for row in rows)
    graphs = len({row["network"] for row in rows})
    return [
        Check(
            "article's ‖W̄^k‖",
            agree and bool(printed),
            f"1 − μγ^k equals all {len(printed)} entries of the article",
        ),
        Check(
            "measured ‖W̄^k‖",
            error < 1e-12,
            f"the measured norm of {graphs} graphs differs from 1 − μγ^k by {error:.0e} at most",
        ),
    ]


def _figure(rows: list[dict[str, Any]]) -> "Figure":
    figure, (left, right) = drawing.plain_panels(2)
    own = [row for row in rows if row["network"] == _OWN]
    k = np.geomspace(min(row["k"] for row in own), max(row["k"] for row in own), 100)
    left.plot(k, 1 - own[0]["mu"] / (k + 1), color="black", label=r"formula $1 - \mu\gamma^k$")
    beside_measured(left, own, "k")
    left.set_ylabel(r"$\|\bar{W}^k\|$")
    for place, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        _distance(right, [row for row in rows if row["network"] == name], place)
    right.set_yscale("log")
    right.set_ylabel(r"$1 - \|\bar{W}^k\|$")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("iteration $k$")
        # A legend each: a dot does not mean the same in both.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
    figure.set_figheight(figure.get_figheight() + 0.65)
    return figure


def _distance(axes: "Axes", rows: list[dict[str, Any]], place: int) -> None:
    """How far one graph's norm is from 1: the formula as a line, measurements as marks."""
    k = np.geomspace(rows[0]["k"], rows[-1]["k"], 100)
    colour, dash = drawing.COLOURS[place], drawing.DASHES[place % len(drawing.DASHES)]
    marker = "osD^v*"[place % 6]
    axes.plot(k, rows[0]["mu"] / (k + 1), color=colour, ls=dash)
    measured = [1 - row["measured"] for row in rows]
    axes.plot([row["k"] for row in rows], measured, color=colour, ls="none", marker=marker, ms=3)
    # One entry for both.
    label = rows[0]["network"]
    axes.plot([], [], color=colour, ls=dash, marker=marker, ms=3, label=label)
