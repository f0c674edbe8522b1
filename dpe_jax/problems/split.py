"""Partitions of a pooled data set over agents."""

import numpy as np
from jaxtyping import Float, Int64

from dpe_jax.errors import InputError

_HOLD_OUT = 1
"""Keeps the draws of a test set apart from those of a split with the same seed."""

_REDRAWS = 1000
"""Dirichlet draws that may leave an agent without samples before the split is refused."""


def hold_out(
    labels: np.ndarray, fraction: float, *, seed: int, agents: int = 1, features: int = 1
) -> tuple[Int64[np.ndarray, " training"], Int64[np.ndarray, " test"]]:
    """Sample indices for training and for the test, each class in its share (stratified).

    Of m samples of a class round(fraction · m) are drawn for the test. Fixed by `seed`, and
    independent of the splits below with the same seed. Raises InputError for a fraction outside
    [0, 1); where a class would be missing on either side of a test that is not empty; and where
    it would leave fewer training samples than there are `agents` or `features`.
    """
    labels = np.asarray(labels)
    _check_agents(len(labels), agents)
    sizes = np.unique(labels, return_counts=True)[1].tolist()
    least = max(agents, features)
    if not _leaves_enough(sizes, fraction, least):
        needed = f"{least} for training, {agents} agents and {features} features"
        raise InputError("test_fraction", fraction, _shares(sizes, least, needed))
    held = np.zeros(len(labels), np.bool_)
    rng = np.random.default_rng([seed, _HOLD_OUT])
    for label in np.unique(labels) if fraction else ():
        members = np.flatnonzero(labels == label)
        held[rng.permutation(members)[: round(fraction * len(members))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _leaves_enough(sizes: list[int], fraction: float, least: int) -> bool:
    """Whether a share of classes of these sizes leaves some of each on both sides."""
    if not 0 < fraction < 1:
        return fraction == 0
    counts = [round(fraction * size) for size in sizes]
    some = all(0 < count < size for count, size in zip(counts, sizes, strict=True))
    return some and sum(sizes) - sum(counts) >= least


def _shares(sizes: list[int], least: int, needed: str) -> str:
    """Which shares do, to the nearest thousandth."""
    good = [i / 1000 for i in range(1, 1000) if _leaves_enough(sizes, i / 1000, least)]
    if not good:
        return f"0 (no test): {sum(sizes)} samples are too few for one (at least {needed})"
    share = "a share of each class" if len(sizes) > 1 else "a share"
    return (
        f"0 (no test) or {share} from {good[0]:g} to {good[-1]:g} of the {sum(sizes)} samples "
        f"(at least {needed})"
    )


def standardised(
    features: Float[np.ndarray, "samples features"],
    training: Int64[np.ndarray, " training"],
    fraction: float,
) -> Float[np.ndarray, "samples features"]:
    """Features of mean 0 and variance 1 over the training samples, a share 1 − `fraction`.

    Raises InputError if one of them is the same in all training samples.
    """
    own = features[training]
    spread = own.std(0)
    if not np.all(spread > 0):
        accepted = f"a smaller share: a feature does not vary in {len(own)} training samples"
        raise InputError("test_fraction", fraction, accepted)
    return (features - own.mean(0)) / spread


def split_over_agents(
    labels: np.ndarray, agents: int, split: str, concentration: float, *, seed: int
) -> tuple[list[Int64[np.ndarray, " own"]], dict[str, np.ndarray]]:
    """Sample indices of each agent by "equal" or "dirichlet", and what a manifest says of it."""
    details = {"split_seed": np.asarray(seed)}
    if split == "equal":
        return equal_split(len(labels), agents, seed=seed), details
    if split == "dirichlet":
        details["concentration"] = np.asarray(concentration)
        return dirichlet_split(labels, agents, concentration, seed=seed), details
    raise InputError("split", split, "'equal' or 'dirichlet'")


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
