"""The article's chart of the quantization error: its bound, and what is measured, against n."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat

from dpe_jax import drawing
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bounds import quantization_bound
from dpe_jax.network import Network
from dpe_jax.problems import Quadratic
from dpe_jax.reproduce import part
from dpe_jax.reproduce.entries import beside_measured
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.schedules import PowerLaw
from dpe_jax.study import simulate
from dpe_jax.summary import Check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Quantization error against the number of agents"
SOURCE = (
    'The article\'s chart "Quantization Error Variance Bound vs. Network Size": E‖ξ_i‖² ≤ '
    "½(n − 1)²dδ² at d = 1 and δ = 0.01."
)
DIFFERS = (
    "The article prints the bound only; measurements are added, at the states where the error is "
    "largest. Its entry at n = 10, 0.0004, is below that at n = 5 and is taken for a misprint of "
    "0.00405."
)

ENTRIES = {2: 0.00005, 3: 0.0002, 4: 0.00045, 5: 0.0008, 6: 0.00125, 8: 0.00245, 10: 0.0004}
"""The article's, by n."""
DELTA, MISPRINTED = 0.01, 10

_MOST = 5.0
"""Standard errors that a mean may be off."""


class Settings(part.Settings):
    """How many runs, and the numbers of agents: those of the article, and more if there are."""

    runs: Annotated[int, Field(ge=100, le=2**32)]
    delta: PositiveFloat = DELTA
    agents: list[Annotated[int, Field(ge=2, le=1000)]]


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Measure E‖ξ_i‖² for each n, and put it beside the bound and the article's entries."""
    rows = []
    for done, agents in enumerate(settings.agents):
        rows.append(row(agents, settings.delta, settings.runs, work.seed))
        work.step(done + 1, len(settings.agents))
    shape = (
        f"d = 1, δ = {settings.delta:g}; {settings.runs} runs of one exchange each, on complete "
        "graphs with all weights 1 and every state half-way between two levels"
    )
    return Made(
        [
            Drawing(
                "quantization",
                "Mean squared quantization error E‖ξ_i‖² that an exchange adds to an agent's "
                "state, in units of x², against the number of agents n: the bound ½(n − 1)²dδ², "
                "the exact value n(n − 1)dδ²/4 where it is largest, measured means with 95 % "
                f"intervals (narrower than the dots), and the article's entries ({shape}; all n "
                "share their random draws, and stray together). The article's entry at n = 10 is a "
                "misprint of 0.00405.",
                rows,
                lambda: _figure(rows, settings.delta),
            )
        ],
        [
            Table(
                "quantization",
                "Bound on E‖ξ_i‖² by the article and by the formula, and the mean that is "
                f"measured with its standard error, in units of x² ({shape}). The article's entry "
                "at n = 10 is a misprint.",
                (
                    Column("agents", "n", digits="d", latex="$n$"),
                    Column("article", "article", digits=".5f"),
                    Column(
                        "bound",
                        "½(n − 1)²dδ²",
                        digits=".5f",
                        latex=r"$\frac{1}{2}(n-1)^2 d \delta^2$",
                    ),
                    Column(
                        "expected",
                        "n(n − 1)dδ²/4",
                        digits=".6f",
                        latex=r"$n(n-1) d \delta^2 / 4$",
                    ),
                    Column("measured", "measured", digits=".6f"),
                    Column("standard_error", "standard error", digits=".1e"),
                    Column("misprint", "misprint"),
                ),
                rows,
            )
        ],
        checks(rows),
        DIFFERS,
    )


def row(agents: int, delta: float, runs: int, seed: int) -> dict[str, Any]:
    """E‖ξ_i‖² where it is largest: complete graph, w = 1, every state half-way between levels.

    There e has variance δ²/4 exactly, and E‖ξ_i‖² = n(n − 1) d δ²/4 (derived), which meets the
    bound at n = 2.
    """
    network = Network.complete(agents, weights=np.ones((agents, agents)) - np.eye(agents))
    problem = Quadratic(np.ones((agents, 1, 1)), np.zeros((agents, 1)))
    # γ only has to be small enough for w = 1; nothing but k = 0 is looked at.
    method = EncryptedDSGD(PowerLaw(1.0 / agents, 0.6), PowerLaw(0.1, 0.9), delta=delta)
    result = simulate(
        method,
        problem,
        network,
        runs=runs,
        iterations=1,
        seed=seed,
        metrics=("quantization_error",),
        x0=np.full((agents, 1), delta / 2),
    )
    # The agents' errors of one run depend on each other; runs do not.
    per_run = result.curves.quantization_error.values[0, 0].astype(np.float64).mean(axis=0)
    return {
        "agents": agents,
        "article": ENTRIES.get(agents) if delta == DELTA else None,
        "misprint": delta == DELTA and agents == MISPRINTED,
        "bound": quantization_bound(agents, 1, delta),
        "expected": agents * (agents - 1) * delta**2 / 4,
        "measured": float(per_run.mean()),
        "standard_error": float(per_run.std(ddof=1) / np.sqrt(per_run.size)),
    }


def checks(rows: list[dict[str, Any]]) -> list[Check]:
    """Formula against the article (but for the misprint), and measurement against both."""
    given = [row for row in rows if row["article"] is not None]
    printed = [row for row in given if not row["misprint"]]
    agree = all(f"{row['bound']:.5f}" == f"{row['article']:.5f}" for row in printed)
    under = all(row["measured"] <= row["bound"] + _MOST * row["standard_error"] for row in rows)
    # At n = 2 both agents' errors are the same, and in every run.
    off = [
        abs(row["measured"] - row["expected"]) / row["standard_error"]
        for row in rows
        if row["standard_error"] > 1e-6 * row["expected"]
    ]
    exact = [row for row in rows if row["standard_error"] <= 1e-6 * row["expected"]]
    equal = all(abs(row["measured"] / row["expected"] - 1) < 1e-5 for row in exact)
    return [
        Check(
            "bound ½(n−1)²dδ²",
            agree and bool(printed),
            f"the formula equals {len(printed)} entries of the article"
            + (f", all but the misprint at n = {MISPRINTED}" if len(printed) < len(given) else ""),
        ),
        Check(
            "measured E‖ξ_i‖²",
            under and equal and max(off, default=0.0) <= _MOST,
            f"nowhere above the bound by more than {_MOST:g} standard errors (it is met at n = 2), "
            f"and {max(off, default=0.0):.1f} of them at most from n(n−1)dδ²/4 (limit {_MOST:g}), "
            f"at {len(rows)} numbers of agents",
        ),
    ]


def _figure(rows: list[dict[str, Any]], delta: float) -> "Figure":
    figure, (axes,) = drawing.plain_panels(1)
    agents = [row["agents"] for row in rows]
    # Drawn as the curves that they are, however few numbers of agents are measured.
    n = np.geomspace(min(agents), max(agents), 100)
    axes.plot(
        n,
        (n - 1) ** 2 * delta**2 / 2,
        color="black",
        label=r"bound $\frac{1}{2}(n-1)^2 d\delta^2$",
    )
    axes.plot(
        n,
        n * (n - 1) * delta**2 / 4,
        color=drawing.COLOURS[0],
        ls=drawing.DASHES[1],
        label=r"exact $n(n-1)d\delta^2/4$",
    )
    beside_measured(axes, rows, "agents")
    for wrong in (row for row in rows if row["misprint"]):
        axes.annotate(
            "misprint",
            (wrong["agents"], wrong["article"]),
            (-6, -12),
            textcoords="offset points",
            ha="right",
            color=drawing.COLOURS[1],
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(agents, [str(one) for one in agents])
    axes.minorticks_off()
    axes.set_xlabel("number of agents $n$")
    axes.set_ylabel(r"$\mathrm{E}\|\xi_i\|^2$  (units of $x^2$)")
    drawing.entitle(figure, [])
    return figure
