"""Partitions of a pooled data set over agents."""

import numpy as np
from jaxtyping import Int64

from dpe_jax.errors import InputError

_REDRAWS = 1000
"""Dirichlet draws that may leave an agent without samples before the split is refused."""


def equal_split(samples: int, agents: int, *, seed: int) -> list[Int64[np.ndarray, " own"]]:
    """Sample indices of each agent: shuffled, and sizes that differ by at most one.

    Raises InputError if there are fewer samples than agents.
    """
    _check_agents(samples, agents)
    order = np.random.default_rng(seed).permutation(samples)
    return [np.sort(part) for part in np.array_split(order, agents)]


def dirichlet_split(
    labels: np.ndarray, agents: int, concentration: float, *, seed: int
) -> list[Int64[np.ndarray, " own"]]:
    """Sample indices of each agent, with label skew.

    Each class is dealt out in proportions p ~ Dirichlet(concentration, ..., concentration) over
    the agents, one p a class (Yurochkin et al. 2019, "Bayesian nonparametric federated learning of
    neural networks"; Hsu et al. 2019 draw a class mix per client instead, which does not partition
    the data). A small concentration gives agents of very unequal size and class balance. A draw
    that leaves an agent without samples is replaced by the next one of the same generator.

    Raises InputError if that happens a thousand times, or if there are fewer samples than agents.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise InputError("labels", labels, "one label a sample, [samples]")
    _check_agents(len(labels), agents)
    if not (np.isfinite(concentration) and concentration > 0):
        raise InputError("concentration", concentration, "a positive finite number")
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for _ in range(_REDRAWS):
        dealt = [_deal(rng, members, agents, concentration) for members in classes]
        parts = [np.sort(np.concatenate(own)) for own in zip(*dealt, strict=True)]
        if min(len(part) for part in parts) > 0:
            return parts
    raise InputError(
        "concentration",
        concentration,
        f"a larger value: {_REDRAWS} draws each left one of {agents} agents without samples",
    )


def _deal(
    rng: np.random.Generator, members: np.ndarray, agents: int, concentration: float
) -> list[np.ndarray]:
    """One class, shuffled and cut at the rounded cumulative proportions."""
    proportions = rng.dirichlet(np.full(agents, concentration))
    cuts = np.rint(np.cumsum(proportions)[:-1] * len(members)).astype(np.int64)
    return np.split(rng.permutation(members), cuts)


def _check_agents(samples: int, agents: int) -> None:
    if not 1 <= agents <= samples:
        raise InputError("agents", agents, f"between 1 and the {samples} samples")
