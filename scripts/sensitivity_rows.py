"""The numbers of a sensitivity study: a row for each configuration, measured and predicted.

`x` is a mean over runs and `x_se` its standard error, `x_predicted` what `quadratic_moments` says
of the same settings, and `x_ratio` a ratio of means to a reference configuration whose runs have
the same random draws, with a standard error over pairs of runs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.bounds import quantization_bound
from dpe_jax.conditions import error_exponent, violated
from dpe_jax.inflation import inflation
from dpe_jax.problems import Quadratic
from dpe_jax.quadratic_moments import Moments, moments
from dpe_jax.simulation import Simulation
from dpe_jax.sweep_run import Planned
from dpe_jax.sweep_statistics import statistics

if TYPE_CHECKING:
    import xarray as xr

Row = dict[str, Any]

METHOD = "encrypted"
PAIRED = ("multipliers", "delta")
"""Studies that keep all runs, for ratios of runs with the same draws."""

LATER = 5
"""How many times the iterations the recursion goes on, for the exponent that it has there."""

_DIGITS = 6


def rows(study: str, planned: Planned, dataset: "xr.Dataset") -> list[Row]:
    """All configurations of a study that has been run."""
    simulations = planned.study.simulations
    labels = planned.sweep.labels
    found = moments(simulations, METHOD)
    of_study = _STUDIES[study](planned, dataset, found)
    table = []
    for place, own in enumerate(of_study):
        row: Row = {name: values[place].item() for name, values in labels.items()}
        for metric in ("gap_mean_state", "gap_agents"):
            mean, error = _last(dataset, metric)
            row |= {metric: mean[place], f"{metric}_se": error[place]}
            row[f"{metric}_predicted"] = getattr(found, metric)[place, -1]
        mean, error = _last(dataset, "error_worst_agent")
        row |= {"error_worst_agent": mean[place], "error_worst_agent_se": error[place]}
        square, error = _consensus(dataset)
        row |= {"consensus_square": square[place], "consensus_square_se": error[place]}
        row["consensus_square_predicted"] = found.consensus_square[place, -1]
        table.append({key: _short(value) for key, value in (row | own).items()})
    return table


def _short(value: Any) -> Any:
    """Numbers in six digits: what is computed from rows must not depend on where they were."""
    if isinstance(value, bool | str | int) or value is None:
        return value
    return float(f"{float(value):.{_DIGITS}g}") if np.isfinite(value) else None


def _multipliers(planned: Planned, dataset: "xr.Dataset", found: Moments) -> list[Row]:
    simulations, spread = planned.study.simulations, planned.sweep.labels["spread"]
    labels = planned.sweep.labels["multipliers"]
    variances = [float(np.asarray(_method(s).multipliers.variance)) for s in simulations]
    families = [label.split(" ")[0] for label in labels.tolist()]
    problems: dict[float, tuple[float, float]] = {}
    made = []
    for place, simulation in enumerate(simulations):
        same = np.flatnonzero(spread == spread[place])
        none = next(p for p in same.tolist() if variances[p] == 0)
        # Families are compared with uniform multipliers, which the article has.
        alike = [p for p in same.tolist() if abs(variances[p] - variances[place]) < 1e-6]
        uniform = next((p for p in alike if families[p] == "uniform"), none)
        if spread[place] not in problems:
            near = inflation(simulation.problem, simulation.problem.solve(), 0.0)
            problems[spread[place]] = near.noise, near.disagreement
        noise, disagreement = problems[spread[place]]
        row: Row = {"family": families[place], "variance": variances[place]}
        algorithm = _method(simulation)
        row["may_be_negative"] = algorithm.multipliers.may_be_negative
        for metric in ("gap_mean_state", "gap_agents", "error_worst_agent"):
            row |= _ratio(dataset, metric, place, none, found)
        row |= _ratio(dataset, "gap_mean_state", place, uniform, None, "to_uniform")
        row |= _ratio(dataset, "gap_agents", place, uniform, None, "to_uniform")
        row["ratio_near_optimum"] = 1 + variances[place] * (1 + disagreement / noise)
        row |= _tail(dataset, place)
        made.append(row)
    return made


def _tail(dataset: "xr.Dataset", place: int) -> Row:
    """The 95 % quantile of F(x̄) − F* in means of it."""
    values = _runs(dataset, "gap_mean_state", place)
    return {"gap_mean_state_q95_over_mean": np.quantile(values, 0.95) / values.mean()}


def _delta(planned: Planned, dataset: "xr.Dataset", found: Moments) -> list[Row]:
    labels = planned.sweep.labels
    made = []
    for place, simulation in enumerate(planned.study.simulations):
        same = np.flatnonzero(labels["gamma_scale"] == labels["gamma_scale"][place])
        finest = int(same[np.argmin(labels["delta"][same])])
        row: Row = {}
        for metric in ("gap_mean_state", "gap_agents", "consensus_square"):
            row |= _ratio(dataset, metric, place, finest, found)
        problem = simulation.problem
        row["message_square_predicted"] = found.message_square[place, -1]
        row["message_square_bound"] = quantization_bound(
            problem.agents, problem.dim, _method(simulation).delta
        )
        made.append(row)
    return made


def _exponents(planned: Planned, dataset: "xr.Dataset", found: Moments) -> list[Row]:
    simulations = planned.study.simulations
    k = dataset.iteration.values
    first = int(np.flatnonzero(k >= k[-1] / 10)[0])
    span = np.log((k[-1] + 1) / (k[first] + 1))
    gaps = statistics(dataset, "gap_agents")
    mean, error = gaps.mean.values[0], gaps.standard_error.values[0]
    shares = error[:, [first, -1]] / mean[:, [first, -1]]
    later = LATER * int(k[-1])
    far = moments(simulations, METHOD, later).gap_agents
    made = []
    for place, simulation in enumerate(simulations):
        algorithm = _method(simulation)
        predicted = found.gap_agents[place]
        broken = violated(algorithm.conditions(simulation.network))
        made.append(
            {
                "from": int(k[first]),
                # The error falls like the root of F(x_i) − F*.
                "exponent": np.log(mean[place, first] / mean[place, -1]) / span / 2,
                # Of the logarithm of a ratio whose parts are correlated in some way.
                "exponent_se": shares[place].sum() / span / 2,
                "exponent_predicted": np.log(predicted[k[first]] / predicted[k[-1]]) / span / 2,
                "exponent_later": np.log(far[place, k[-1]] / far[place, -1]) / np.log(LATER) / 2,
                "later": later,
                "exponent_in_the_limit": _limit(algorithm),
                "broken": "; ".join(condition.statement for condition in broken),
            }
        )
    return made


def _limit(algorithm: EncryptedDSGD) -> float | None:
    """The predicted exponent; none where sums of γ or λ̄ are finite, and the error stops."""
    exponents = algorithm.gamma.decay_exponent(), algorithm.stepsize.decay_exponent()
    if max(exponents) > 1 + 1e-9:
        return None
    return error_exponent(algorithm.gamma, algorithm.stepsize)


def _network(planned: Planned, dataset: "xr.Dataset", found: Moments) -> list[Row]:
    made = []
    for simulation in planned.study.simulations:
        network, problem = simulation.network, simulation.problem
        assert isinstance(problem, Quadratic)
        algorithm = _method(simulation)
        k = np.arange(simulation.iterations, dtype=np.int64)
        gamma, stepsize = algorithm.gamma.values(k), algorithm.stepsize.values(k)
        offset = np.asarray(problem.solve().x) - np.asarray(problem.b)
        gradient = np.einsum("ide,ie->id", np.asarray(problem.A), offset)
        settled = (stepsize[-1] / gamma[-1]) * np.linalg.pinv(network.weights) @ gradient
        made.append(
            {
                "agents": network.agents,
                "links": len(network.edges),
                "mu": network.mu,
                "mixing": network.mu * gamma.sum(),
                "disagreement": np.mean(np.sum(gradient**2, axis=1)),
                "consensus_square_settled": np.mean(np.sum(settled**2, axis=1)),
            }
        )
    return made


_STUDIES: dict[str, Callable[[Planned, "xr.Dataset", Moments], list[Row]]] = {
    "multipliers": _multipliers,
    "delta": _delta,
    "exponents": _exponents,
    "network": _network,
    "weights": _network,
}


def _method(simulation: Simulation) -> EncryptedDSGD:
    algorithm = simulation.algorithms[METHOD]
    assert isinstance(algorithm, EncryptedDSGD)
    return algorithm


def _last(dataset: "xr.Dataset", metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of each configuration at the last iteration."""
    found = statistics(dataset.isel(iteration=[-1]), metric)
    return found.mean.values[0, :, 0], found.standard_error.values[0, :, 0]


def _consensus(dataset: "xr.Dataset") -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs of the squared consensus error c², with its standard error.

    Of a summary only E c and Var c are known: E c² = (E c)² + Var c, and c is taken as normal for
    Var c² = 4 (E c)² Var c + 2 (Var c)².
    """
    if "consensus_error" in dataset:
        count = dataset.sizes["configuration"]
        squares = np.array([_runs(dataset, "consensus_square", place) for place in range(count)])
        return squares.mean(axis=1), squares.std(axis=1, ddof=1) / np.sqrt(squares.shape[1])
    found = statistics(dataset.isel(iteration=[-1]), "consensus_error")
    count = found.count.values[0, :, 0]
    mean = found.mean.values[0, :, 0]
    variance = found.standard_error.values[0, :, 0] ** 2 * count
    spread = 4 * mean**2 * variance + 2 * variance**2
    return mean**2 + variance, np.sqrt(spread / count)


def _runs(dataset: "xr.Dataset", metric: str, place: int) -> np.ndarray:
    """The kept runs of a configuration at the last iteration."""
    recorded = "consensus_error" if metric == "consensus_square" else metric
    values = dataset[recorded].isel(configuration=place, iteration=-1).sel(algorithm=METHOD)
    exact = values.values.astype(np.float64)
    return exact**2 if metric == "consensus_square" else exact


def _ratio(
    dataset: "xr.Dataset",
    metric: str,
    place: int,
    reference: int,
    found: Moments | None,
    name: str = "ratio",
) -> Row:
    """A ratio of means over runs with the same draws, and its standard error."""
    values, others = _runs(dataset, metric, place), _runs(dataset, metric, reference)
    ratio = values.mean() / others.mean()
    error = (values - ratio * others).std(ddof=1) / np.sqrt(len(values)) / others.mean()
    row = {f"{metric}_{name}": ratio, f"{metric}_{name}_se": error}
    if found is not None and metric in Moments._fields:
        predicted = getattr(found, metric)[:, -1]
        row[f"{metric}_{name}_predicted"] = predicted[place] / predicted[reference]
    return row
