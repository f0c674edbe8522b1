"""What the numbers of a sensitivity study say, in sentences made from its rows alone."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Row = dict[str, Any]
Report = dict[str, Any]

Z = 1.96
"""Standard errors to each side of a 95 % interval."""

MIXED = 10.0
"""μ Σγ from which on the start is taken as forgotten: its disagreement has fallen by e^−10."""

FALLS = 0.1
"""As in `dpe certify`: an error falls whose exponent is surely above half of the predicted one, or
above this where none is predicted."""


def findings(report: Report) -> list[str]:
    """One sentence or two for each thing that a study shows."""
    rows = report["rows"]
    sentences = [_agreement(rows), *_FINDINGS[report["study"]](rows)]
    return [" ".join(sentence.split()) for sentence in sentences]


def _agreement(rows: list[Row]) -> str:
    """How well the recursion predicts what was measured."""
    parts = []
    for metric, label in (
        ("gap_mean_state", "F(x̄) − F*"),
        ("gap_agents", "mean_i F(x_i) − F*"),
        ("consensus_square", "the squared consensus error"),
    ):
        ratios = [row[metric] / row[f"{metric}_predicted"] for row in rows]
        distances = [
            abs(row[metric] - row[f"{metric}_predicted"]) / row[f"{metric}_se"] for row in rows
        ]
        parts.append(
            f"{label} is {_span(ratios)} times what is predicted (at most {max(distances):.1f} "
            "standard errors away)"
        )
    return (
        f"Over {len(rows)} configurations {parts[0]}, {parts[1]} and {parts[2]}. Draws are shared, "
        f"so these are not {len(rows)} separate trials."
    )


def _multipliers(rows: list[Row]) -> list[str]:
    sentences = []
    for spread, agents in ((0.0, "alike"), (1.0, "unlike")):
        own = [row for row in rows if row["spread"] == spread and row["variance"] > 0]
        variance = np.array([row["variance"] for row in own])
        weights = np.array([row["gap_mean_state_ratio_se"] for row in own]) ** -2
        slopes = {}
        for name in ("gap_mean_state_ratio", "gap_mean_state_ratio_predicted"):
            added = np.array([row[name] for row in own]) - 1
            slopes[name] = np.sum(weights * variance * added) / np.sum(weights * variance**2)
        near = own[-1]
        slope = (near["ratio_near_optimum"] - 1) / near["variance"]
        worst = [row["error_worst_agent_ratio"] for row in own if row["variance"] > 3]
        sentences.append(
            f"With agents {agents}, random multipliers of variance ρ² raise F(x̄) − F* by "
            f"{slopes['gap_mean_state_ratio']:.3g} ρ² of its value without them (predicted: "
            f"{slopes['gap_mean_state_ratio_predicted']:.3g} ρ²; the variance alone, near x*: "
            f"{slope:.3g} ρ²), and the worst agent's mean error to {_span(worst)} times at the "
            "largest ρ²."
        )
    compared = [row for row in rows if row["family"] not in ("none", "uniform")]
    apart = [abs(row["gap_mean_state_to_uniform"] - 1) for row in compared]
    z = [
        abs(row["gap_mean_state_to_uniform"] - 1) / row["gap_mean_state_to_uniform_se"]
        for row in compared
    ]
    share = sum(value > Z for value in z)
    negative = [value for value, row in zip(z, compared, strict=True) if row["family"] == "normal"]
    sentences.append(
        "Families at equal variance: beside uniform multipliers F(x̄) − F* differs by at most "
        f"{max(apart):.2g} of itself, "
        f"{max(z):.2g} standard errors, and by more than {Z} of them in {share} of "
        f"{len(compared)} comparisons."
    )
    sentences.append(
        "Normal multipliers, which may be negative and so hide signs of gradients in part, are at "
        f"most {max(negative):.2g} standard errors from uniform ones of their variance."
    )
    tails = {
        variance: [
            row["gap_mean_state_q95_over_mean"]
            for row in rows
            if row["spread"] == 1.0 and row["variance"] == variance
        ]
        for variance in sorted({row["variance"] for row in rows})
    }
    least, most = min(tails), max(tails)
    sentences.append(
        "Tails of single runs: with agents unlike the 95 % quantile of "
        f"F(x̄) − F* is {_span(tails[least])} times its mean without multipliers and "
        f"{_span(tails[most])} times at ρ² = {most:g}."
    )
    return sentences


def _delta(rows: list[Row]) -> list[str]:
    sentences = []
    scales = sorted({row["gamma_scale"] for row in rows})
    own = {scale: [row for row in rows if row["gamma_scale"] == scale] for scale in scales}
    for scale in scales:
        largest = own[scale][-1]
        reached = [
            _crossing(own[scale], f"consensus_square_ratio{suffix}", 2.0)
            for suffix in ("", "_predicted")
        ]
        if None in reached:
            said = (
                f"is not doubled by any δ up to {largest['delta']:g}: there it is "
                f"{largest['consensus_square_ratio']:.3g} times that of the finest grid"
            )
        else:
            said = f"is doubled by δ = {reached[0]:.3g} (predicted: {reached[1]:.3g})"
        sentences.append(
            f"With γ = {scale:g} (k+1)^−0.6 the squared consensus error {said}; F(x̄) − F* is "
            f"{largest['gap_mean_state_ratio']:.3f} ± "
            f"{Z * largest['gap_mean_state_ratio_se']:.3f} times that of the finest grid even at δ "
            f"= {largest['delta']:g}."
        )
    largest = own[scales[-1]]
    below, beyond = (_slope(largest, part) for part in ((0.1, 0.6), (3.0, 100.0)))
    sentences.append(
        "What rounding adds to the squared consensus error (largest γ) grows like "
        f"δ^{below:.2f} for δ from 1/8 to 1/2, and like δ^{beyond:.2f} for δ from 4 on, where all "
        "states lie within one cell and rounding has a variance of about |x| δ."
    )
    for low, high in itertools.pairwise(scales):
        pairs = [
            {
                "delta": row["delta"],
                **{
                    key: other[key] / row[key]
                    for key in ("consensus_square", "consensus_square_predicted")
                },
            }
            for row, other in zip(own[low], own[high], strict=True)
        ]
        beyond = [
            _crossing(pairs, key, 1.0) for key in ("consensus_square", "consensus_square_predicted")
        ]
        text = (
            f"On fine grids agents agree better with the larger attenuation factor: γ scaled by "
            f"{high:g} has {pairs[0]['consensus_square']:.3g} times the squared consensus error of "
            f"{low:g}"
        )
        if None in beyond:
            text += f", and still {pairs[-1]['consensus_square']:.3g} times on the coarsest"
        else:
            text += (
                f"; beyond δ = {beyond[0]:.3g} (predicted: {beyond[1]:.3g}) it is the other way "
                "round, since a larger γ lets more of the rounding through"
            )
        sentences.append(f"{text}.")
    slack = [row["message_square_bound"] / row["message_square_predicted"] for row in rows]
    fine = [s for s, row in zip(slack, rows, strict=True) if row["delta"] <= 0.01]
    sentences.append(
        f"The bound ½ (n − 1)² d δ² on what an exchange adds is {_span(fine)} times the predicted "
        f"value on fine grids, and up to {max(slack):.0f} times on coarse ones."
    )
    return sentences


def _crossing(rows: list[Row], key: str, level: float) -> float | None:
    """Where a quantity first reaches a level, between two δ by logarithms."""
    for before, after in itertools.pairwise(rows):
        low, high = before[key], after[key]
        if low < level <= high:
            share = np.log(level / low) / np.log(high / low)
            return float(before["delta"] * (after["delta"] / before["delta"]) ** share)
    return None


def _slope(rows: list[Row], between: tuple[float, float]) -> float:
    """Of what rounding adds to the squared consensus error against δ, both in logarithms."""
    base = rows[0]["consensus_square"]
    inside = [row for row in rows if between[0] < row["delta"] < between[1]]
    # Among few runs it can be lost in their noise.
    chosen = [row for row in inside if row["consensus_square"] > base]
    if len(chosen) < 2:
        return float("nan")
    added = [np.log(row["consensus_square"] - base) for row in chosen]
    return float(np.polyfit([np.log(row["delta"]) for row in chosen], added, 1)[0])


def falls(row: Row) -> bool:
    """Whether an error is seen to fall, by the second rule of `dpe certify`."""
    limit = row["exponent_in_the_limit"]
    least = FALLS if limit is None else limit / 2
    return row["exponent"] - Z * row["exponent_se"] > least


def _exponents(rows: list[Row]) -> list[str]:
    inside = sum(
        abs(row["exponent"] - row["exponent_predicted"]) <= Z * row["exponent_se"] for row in rows
    )
    sentences = [
        f"The exponent of the agents' error from k = {rows[0]['from']} on is within its interval "
        f"of the predicted one in {inside} of {len(rows)} configurations; the largest distance is "
        f"{max(abs(row['exponent'] - row['exponent_predicted']) for row in rows):.2g}."
    ]
    sound = [row for row in rows if not row["broken"]]
    sentences.append(
        f"All conditions hold in {len(sound)} configurations; the error falls in "
        f"{sum(map(falls, sound))} of them."
    )
    for statement in dict.fromkeys(s for row in rows for s in row["broken"].split("; ") if s):
        broken = [row for row in rows if statement in row["broken"].split("; ")]
        alone = [row for row in broken if row["broken"] == statement]
        text = (
            f"“{statement}” is broken in {len(broken)}, and the error falls all the same in "
            f"{sum(map(falls, broken))} of them"
        )
        if alone:
            text += f" (in {sum(map(falls, alone))} of the {len(alone)} that break nothing else)"
        sentences.append(f"{text}.")
    stalled = [row for row in rows if row["a"] >= row["b"] - 1e-9]
    others = [row for row in rows if row["a"] < row["b"] - 1e-9 and row["b"] < 1.05]
    short = [row for row in rows if row["a"] < row["b"] - 1e-9 and row["b"] > 1.05]
    sentences.append(
        f"With a ≥ b the error falls in {sum(map(falls, stalled))} of {len(stalled)} "
        f"configurations, with a < b ≤ 1 in {sum(map(falls, others))} of {len(others)}, whichever "
        "conditions they break."
    )
    drop = [row["exponent_later"] / row["exponent"] for row in short]
    sentences.append(
        f"With b > 1, whose steps sum to too little, and a < b the error still falls in "
        f"{sum(map(falls, short))} of {len(short)}; the recursion has its exponent at "
        f"{_span(drop)} times the measured one by k = {rows[0]['later']:,}."
    )
    for delta in sorted({row["delta"] for row in rows}):
        own = [row for row in rows if row["delta"] == delta]
        best = min(own, key=lambda row: row["error_worst_agent"])
        allowed = [row for row in own if not row["broken"]]
        least = min(allowed, key=lambda row: row["error_worst_agent"])
        fastest = max(allowed, key=lambda row: row["exponent_in_the_limit"])
        sentences.append(
            f"With δ = {delta:g} the worst agent's error is least at a = {best['a']:g}, b = "
            f"{best['b']:g}: {with_error(best, 'error_worst_agent')}"
            + (", which breaks a condition" if best["broken"] else "")
            + f". Where all conditions hold it is least at a = {least['a']:g}, b = {least['b']:g}: "
            f"{with_error(least, 'error_worst_agent')}; the largest limiting exponent there, "
            f"{fastest['exponent_in_the_limit']:.3g}, belongs to a = {fastest['a']:g}, b = "
            f"{fastest['b']:g}, among others."
        )
    return sentences


def by_network(rows: list[Row]) -> list[Row]:
    """Means over the draws of the costs, geometric for errors, one row for each network."""
    found = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        one = {key: own[0][key] for key in ("network", "agents", "links", "mu", "mixing")}
        one["graph"] = name.rsplit(" ", 1)[0]
        errors = {
            "consensus": [row["consensus_square"] ** 0.5 for row in own],
            "consensus_settled": [row["consensus_square_settled"] ** 0.5 for row in own],
            "gap_mean_state": [row["gap_mean_state"] for row in own],
            "error_worst_agent": [row["error_worst_agent"] for row in own],
        }
        for key, values in errors.items():
            logs = np.log(values)
            one[key] = float(np.exp(logs.mean()))
            one[f"{key}_factor"] = float(np.exp(Z * logs.std(ddof=1) / np.sqrt(len(logs))))
        found.append(one)
    return found


def _network(rows: list[Row]) -> list[str]:
    table = by_network(rows)
    mixed = [row for row in table if row["mixing"] >= MIXED]
    slow = [row for row in table if row["mixing"] < MIXED]
    settled = [row["consensus"] / row["consensus_settled"] for row in mixed]
    unsettled = [row["consensus"] / row["consensus_settled"] for row in slow]
    sentences = [
        f"Over {len(table)} networks, μ from {min(r['mu'] for r in table):.2g} to "
        f"{max(r['mu'] for r in table):.2g}, the consensus error goes like "
        f"μ^{_power(table, 'mu', 'consensus'):.2f} (fitted), where the bound "
        "λ̄ G/(γ μ) has 1/μ: disagreement is spread over all eigenvectors of W, and only the "
        "slowest has μ.",
        f"Measured is {_span(settled)} times the settled value λ̄/γ ‖W⁺∇f(x*)‖/√n where "
        f"μ Σγ ≥ {MIXED:g} ({len(mixed)} networks), and {_span(unsettled)} times in the "
        f"{len(slow)} slower ones, which at this k have not drifted as far apart as they will.",
    ]
    parts = []
    for graph in dict.fromkeys(row["graph"] for row in table):
        own = [row for row in rows if row["network"].rsplit(" ", 1)[0] == graph]
        parts.append(
            f"{graph} {_power_over_draws(own, 'consensus_square', 0.5)} and "
            f"{_power_over_draws(own, 'gap_mean_state')}"
        )
    sentences.append(
        "With the number of agents the consensus error and F(x̄) − F* go like n to the power (± 95 "
        f"% over draws of the costs): {'; '.join(parts)}. The mean of n agents' noise alone would "
        "make the second n^−1."
    )
    largest = max(row["agents"] for row in table)
    own = [row for row in table if row["agents"] == largest]
    best, worst = (pick(own, key=lambda r: r["consensus"]) for pick in (min, max))
    sentences.append(
        f"With {largest} agents the consensus error is {best['consensus']:.3g} on the "
        f"{best['graph']} graph ({best['links']} links) and {worst['consensus']:.3g} on the "
        f"{worst['graph']} ({worst['links']} links); a random graph of degree 4 "
        f"({_named(own, 'random-regular')['links']} links) has "
        f"{_named(own, 'random-regular')['consensus']:.3g}."
    )
    return sentences


def _weights(rows: list[Row]) -> list[str]:
    grids = sorted({row["delta"] for row in rows})
    fine, coarse = ([row for row in rows if row["delta"] == delta] for delta in grids)
    mixed = [row for row in fine if row["mixing"] >= MIXED]
    last = fine[-2:]
    power = np.log(last[1]["consensus_square"] / last[0]["consensus_square"]) / 2
    power /= np.log(last[1]["mu"] / last[0]["mu"])
    extra = [
        (c["consensus_square"] / f["consensus_square"]) ** 0.5
        for c, f in zip(coarse, fine, strict=True)
    ]
    ratios = [(row["consensus_square"] / row["consensus_square_settled"]) ** 0.5 for row in mixed]
    best = min(coarse, key=lambda row: row["consensus_square"])
    return [
        f"All else equal the consensus error goes like μ^{power:.2f} between the two largest "
        f"weights, where μ Σγ is {last[0]['mixing']:.3g} and {last[1]['mixing']:.3g}; it is "
        f"{_span(ratios)} times the settled value there.",
        f"The worst agent's error falls from {fine[0]['error_worst_agent']:.3g} to "
        f"{fine[-1]['error_worst_agent']:.3g} as weights grow {fine[-1]['mu'] / fine[0]['mu']:.3g} "
        "times.",
        f"What a coarse grid (δ = {grids[1]:g}) costs depends on the weights: the consensus error "
        f"is {extra[0]:.3f} times that of δ = {grids[0]:g} at the smallest and "
        f"{extra[-1]:.3g} times at the largest; it is least at a scale of {best['scale']:g}.",
    ]


def _power(rows: list[Row], x: str, y: str) -> float:
    return float(
        np.polyfit(np.log([row[x] for row in rows]), np.log([row[y] for row in rows]), 1)[0]
    )


def _power_over_draws(rows: list[Row], key: str, root: float = 1.0) -> str:
    """The power of n in what is measured: one fit for each draw, with an interval of their mean."""
    from scipy.stats import t

    found = []
    for seed in sorted({row["seed"] for row in rows}):
        own = [row for row in rows if row["seed"] == seed]
        found.append(root * _power(own, "agents", key))
    half = t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / np.sqrt(len(found))
    return f"{np.mean(found):.2f} ± {half:.2f}"


def _named(rows: list[Row], graph: str) -> Row:
    return next(row for row in rows if row["graph"] == graph)


def _span(values: Iterable[float]) -> str:
    found = list(values)
    if not found:
        return "(none)"
    low, high = f"{min(found):.3g}", f"{max(found):.3g}"
    return low if low == high else f"{low} to {high}"


def with_error(row: Row, key: str) -> str:
    """A mean and half of its 95 % interval."""
    return f"{row[key]:.3g} ± {Z * row[f'{key}_se']:.1g}"


_FINDINGS: dict[str, Callable[[list[Row]], list[str]]] = {
    "multipliers": _multipliers,
    "delta": _delta,
    "exponents": _exponents,
    "network": _network,
    "weights": _weights,
}
