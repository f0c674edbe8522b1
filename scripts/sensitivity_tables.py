"""The pages of sensitivity studies: findings, figure and table in Markdown, from their rows."""

from collections.abc import Callable, Iterable, Sequence

from sensitivity_findings import Report, Row, Z, by_network, falls, with_error


def page(report: Report) -> str:
    """The study as Markdown."""
    name = report["study"]
    lines = [
        f"# Sensitivity: {report['description']}",
        "",
        f"`scripts/sensitivity/{name}.toml`, run by `scripts/sensitivity.py`: "
        f"{report['configurations']} configurations, {report['runs']} runs of "
        f"{report['iterations']} iterations each. Numbers are those of the last iteration; "
        "± is a 95 % interval of a mean; *predicted* is the recursion of "
        "`dpe_jax/quadratic_moments.py`, which simulates nothing.",
        "",
        *(f"- {sentence}" for sentence in report["findings"]),
        "",
        f"![{report['description']}]({name}.png)",
        "",
        *_TABLES[name](report["rows"]),
        f"All columns are in [{name}.csv]({name}.csv) and [{name}.json]({name}.json).",
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], cells: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, ""]


def _beside(row: Row, key: str) -> tuple[str, str]:
    """A mean with its interval, and its ratio to what is predicted."""
    return with_error(row, key), f"{row[key] / row[f'{key}_predicted']:.3f}"


def _table_multipliers(rows: list[Row]) -> list[str]:
    head = ["multipliers", "ρ²", "agents", "F(x̄) − F*", "/ predicted", "/ none", "predicted"]
    head += ["near x*", "worst agent", "/ none"]
    cells = []
    for row in sorted(rows, key=lambda row: row["spread"]):
        paired = row["gap_mean_state_ratio"], Z * row["gap_mean_state_ratio_se"]
        cells.append(
            [
                row["family"],
                f"{row['variance']:.3g}",
                "alike" if row["spread"] == 0 else "unlike",
                *_beside(row, "gap_mean_state"),
                f"{paired[0]:.3f} ± {paired[1]:.3f}",
                f"{row['gap_mean_state_ratio_predicted']:.3f}",
                f"{row['ratio_near_optimum']:.3g}",
                with_error(row, "error_worst_agent"),
                f"{row['error_worst_agent_ratio']:.3f}",
            ]
        )
    return _table(head, cells)


def _table_delta(rows: list[Row]) -> list[str]:
    head = ["γ scale", "δ", "consensus²", "/ predicted", "/ finest grid", "predicted"]
    head += ["F(x̄) − F*", "/ finest grid", "worst agent", "bound / E‖ξ‖²"]
    cells = []
    for row in sorted(rows, key=lambda row: row["gamma_scale"]):
        slack = row["message_square_bound"] / row["message_square_predicted"]
        cells.append(
            [
                f"{row['gamma_scale']:g}",
                f"{row['delta']:.3g}",
                *_beside(row, "consensus_square"),
                f"{row['consensus_square_ratio']:.4f} ± {Z * row['consensus_square_ratio_se']:.4f}",
                f"{row['consensus_square_ratio_predicted']:.4f}",
                with_error(row, "gap_mean_state"),
                f"{row['gap_mean_state_ratio']:.3f} ± {Z * row['gap_mean_state_ratio_se']:.3f}",
                with_error(row, "error_worst_agent"),
                f"{slack:.3g}",
            ]
        )
    return _table(head, cells)


def _table_exponents(rows: list[Row]) -> list[str]:
    head = [
        "a",
        "b",
        "δ",
        "exponent",
        "predicted",
        f"at {rows[0]['later']:,}",
        "limit",
        "falls",
        "worst agent",
    ]
    head += ["conditions broken"]
    cells = []
    for row in sorted(rows, key=lambda row: row["delta"]):
        limit = row["exponent_in_the_limit"]
        cells.append(
            [
                f"{row['a']:g}",
                f"{row['b']:g}",
                f"{row['delta']:.3g}",
                f"{row['exponent']:.3f} ± {Z * row['exponent_se']:.3f}",
                f"{row['exponent_predicted']:.3f}",
                f"{row['exponent_later']:.3f}",
                "none" if limit is None else f"{limit:.3g}",
                "yes" if falls(row) else "no",
                with_error(row, "error_worst_agent"),
                ", ".join(s.split(" needs ")[1] for s in row["broken"].split("; ") if s) or "none",
            ]
        )
    return _table(head, cells)


def _table_network(rows: list[Row]) -> list[str]:
    head = ["network", "n", "links", "μ", "μ Σγ", "consensus error", "/ settled"]
    head += ["F(x̄) − F*", "worst agent"]
    cells = []
    for row in by_network(rows):
        spread = {
            key: f"{row[key]:.3g} ×/÷ {row[f'{key}_factor']:.2f}"
            for key in ("consensus", "gap_mean_state", "error_worst_agent")
        }
        cells.append(
            [
                row["graph"],
                f"{row['agents']}",
                f"{row['links']}",
                f"{row['mu']:.3g}",
                f"{row['mixing']:.3g}",
                spread["consensus"],
                f"{row['consensus'] / row['consensus_settled']:.3g}",
                spread["gap_mean_state"],
                spread["error_worst_agent"],
            ]
        )
    said = (
        "Geometric means over draws of the agents' costs; ×/÷ is the factor of a 95 % interval for "
        "another draw of costs, beside which the error of the runs is small. *Settled* is λ̄/γ "
        "‖W⁺∇f(x*)‖/√n."
    )
    return [said, "", *_table(head, cells)]


def _table_weights(rows: list[Row]) -> list[str]:
    head = ["scale", "δ", "μ", "μ Σγ", "consensus²", "/ predicted", "/ settled", "F(x̄) − F*"]
    head += ["worst agent"]
    cells = [
        [
            f"{row['scale']:.3g}",
            f"{row['delta']:.3g}",
            f"{row['mu']:.3g}",
            f"{row['mixing']:.3g}",
            *_beside(row, "consensus_square"),
            f"{row['consensus_square'] / row['consensus_square_settled']:.3g}",
            with_error(row, "gap_mean_state"),
            with_error(row, "error_worst_agent"),
        ]
        for row in sorted(rows, key=lambda row: row["delta"])
    ]
    return _table(head, cells)


_TABLES: dict[str, Callable[[list[Row]], list[str]]] = {
    "multipliers": _table_multipliers,
    "delta": _table_delta,
    "exponents": _table_exponents,
    "network": _table_network,
    "weights": _table_weights,
}
