"""Mutual information between a private gradient and what is observed, and what follows from it.

Of one coordinate, over runs: g is the private value, m the observation. In nats,

    I(g; m)      Kraskov, Stögbauer and Grassberger 2004, first estimator, k nearest neighbors;
    h(g)         Kozachenko and Leonenko 1987;
    h(g | m) = h(g) − I(g; m);
    E(g − ĝ)² ≥ exp(2 h(g | m)) / (2πe)   for every estimator ĝ of g from m

(Cover and Thomas 2006, Section 8.6, conditioned on m.) The bound is an equality where g given m is
normal with one variance.

**Scale.** Any increasing function of g or of m leaves I as it is, so both are replaced by the
normal scores of their ranks. Heavy tails then cost nothing, and the estimator always sees the same
margins: what it gives for *permuted* pairs, which share nothing, depends on the number of runs
alone. That is the chance level.

**Ties.** Nearest neighbors need values without ties. With `ties="random"` equal values are ranked
in random order, as if noise smaller than any gap had been added. The value can be read off the
noisy one, and the noise knows nothing of the other variable, so I is the same (derived).

**Intervals.** A bootstrap draws runs twice, at distance zero of each other, and so makes nearest
neighbors nearer than they are: estimates of resamples are far too high. Here runs are split into
disjoint subsets, whose estimates are independent; the variance of such an estimator is c/N, so
that of the whole is estimated by that of the subsets over their number (Holmes and Nemenman 2019),
with Student's t. For the bias 2 % are allowed beside; in Gaussian channels of 0.3 to 3.5 nats it is
about 1 %. Estimates and low ends may be slightly negative.

**Exact observation.** Of N runs no estimate can be above ψ(N) − ψ(k). One that comes within
`MARGIN` of it is too low by more than its interval, or I is infinite: it is called a lower bound.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num

from dpe_jax.errors import InputError
from dpe_jax.privacy.intervals import LEVEL, Estimate

NEIGHBORS = 3
"""k: fewer have less bias, more less variance."""

LEAST_RUNS = 100
"""With fewer finite pairs nothing is estimated."""

MARGIN = 2.5
"""Nats below the largest estimate that N runs can give. Of Gaussian channels estimates are right
within their intervals up to there, and too low beyond (the tests show both)."""

_SUBSETS = 10
_BIAS = 0.02
_PERMUTATIONS = 100

Status = Literal["measured", "at least", "constant", "atoms", "too few"]


@dataclasses.dataclass(frozen=True)
class Information:
    """What an observation tells of one coordinate; informations and entropies in nats."""

    status: Status
    """`at least`: the information is a lower bound (an exact observation, perhaps), and the error
    bound may be as low as 0. `constant`: g or m never varies, so nothing is learned of g. `atoms`:
    g takes some value again and again, so h(g) = −∞ and the error bound is 0."""
    runs: int
    """Pairs that count."""
    excluded: int
    """Pairs left out since one of them is not finite."""
    ties: int
    """Values of g or of m that came before, broken at random."""
    information: Estimate
    """I(g; m)."""
    chance: Estimate
    """Of permuted pairs: their mean, and between which ends 95 % of them are."""
    entropy: Estimate
    """h(g)."""
    conditional: Estimate
    """h(g | m)."""
    bound: Estimate
    """Of E(g − ĝ)², for every ĝ; its low end is the safe one."""
    relative_bound: Estimate
    """Of the relative RMSE, √(E(g − ĝ)² / E g²)."""

    @property
    def found(self) -> bool:
        """Whether the information is above what permuted pairs give, beyond both intervals."""
        return self.information.low > self.chance.high

    def to_dict(self) -> dict[str, Any]:
        """For JSON; an infinity becomes null there."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, Estimate) else value
            for name, value in plain.items()
        }


def information(
    g: Num[np.ndarray, " runs"],
    m: Num[np.ndarray, " runs"],
    *,
    ties: Literal["refuse", "random"] = "refuse",
    seed: int = 0,
) -> Information:
    """What m tells of g; InputError for ties unless they are broken at `random`, with `seed`."""
    return _measure(g, m, ties, seed, _Chance(seed))


def information_table(
    g: Num[np.ndarray, "points coordinates runs"],
    m: Num[np.ndarray, "points coordinates runs"],
    *,
    ties: Literal["refuse", "random"] = "refuse",
    seed: int = 0,
) -> tuple[tuple[Information, ...], ...]:
    """`information` at each record point, of each coordinate by itself.

    Coordinates may tell of each other; what all of them together tell is at least as much.
    """
    if g.shape != m.shape:
        raise InputError("m", m.shape, f"the shape of g, {g.shape}")
    chance = _Chance(seed)
    return tuple(
        tuple(_measure(one, other, ties, seed, chance) for one, other in zip(*rows, strict=True))
        for rows in zip(g, m, strict=True)
    )


def mutual_information(
    x: Float[np.ndarray, " runs"], y: Float[np.ndarray, " runs"], k: int = NEIGHBORS
) -> float:
    """The Kraskov–Stögbauer–Grassberger estimate ψ(k) + ψ(N) − ⟨ψ(n_x + 1) + ψ(n_y + 1)⟩.

    ε_i is the distance to the k-th neighbor in the larger of the two coordinates' distances, n_x
    and n_y how many values of x and of y are nearer than ε_i.
    """
    from scipy.spatial import KDTree
    from scipy.special import digamma

    pairs = np.column_stack([x, y])
    tree = KDTree(pairs, balanced_tree=False, compact_nodes=False)
    distance = np.asarray(tree.query(pairs, k + 1, p=np.inf)[0])[:, -1]
    # The k-th neighbor itself is not nearer than ε, whatever x ± ε is rounded to.
    distance = distance * (1 - 1e-10)
    total = float(digamma(k) + digamma(x.size))
    for values in (x, y):
        order = np.sort(values)
        within = np.searchsorted(order, values + distance)
        # A value counts itself, which is the one of n + 1.
        within -= np.searchsorted(order, values - distance)
        total -= float(digamma(within).mean())
    return total


def differential_entropy(x: Float[np.ndarray, " runs"], k: int = NEIGHBORS) -> float:
    """The Kozachenko–Leonenko estimate ψ(N) − ψ(k) + ⟨ln 2ε_i⟩; −∞ where values repeat too often.

    ε_i is the distance to the k-th neighbor.
    """
    from scipy.special import digamma

    order = np.sort(x)
    padded = np.concatenate([np.full(k, -np.inf), order, np.full(k, np.inf)])
    size = order.size
    distance = np.full(size, np.inf)
    for left in range(k + 1):
        # The farther of the `left`-th to the left and the (k − left)-th to the right.
        below = order - padded[k - left : k - left + size]
        above = padded[2 * k - left : 2 * k - left + size] - order
        distance = np.minimum(distance, np.maximum(below, above))
    with np.errstate(divide="ignore"):
        return float(digamma(size) - digamma(k) + np.mean(np.log(2 * distance)))


def error_bound(conditional: float) -> float:
    """exp(2h)/(2πe): no estimator has a smaller mean squared error, given h(g | m) = h."""
    return float(np.exp(2 * conditional - 1) / (2 * np.pi))


def normal_scores(
    values: Num[np.ndarray, " runs"], rng: np.random.Generator
) -> Float[np.ndarray, " runs"]:
    """Φ⁻¹((rank − ½)/N), equal values in random order."""
    from scipy.special import ndtri

    order = np.lexsort([rng.random(values.size), values])
    scores = np.empty(values.size)
    scores[order] = ndtri((np.arange(values.size) + 0.5) / values.size)
    return scores


class _Chance:
    """Estimates of permuted pairs, which the number of runs decides: once for each number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[int, Estimate] = {}

    def of(self, runs: int) -> Estimate:
        """Their mean and the ends between which 95 % of them are."""
        if runs not in self._known:
            rng = np.random.default_rng((self._seed, runs))
            scores = normal_scores(np.arange(runs), rng)
            drawn = [
                mutual_information(scores, rng.permutation(scores)) for _ in range(_PERMUTATIONS)
            ]
            low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            self._known[runs] = Estimate(float(np.mean(drawn)), float(low), float(high))
        return self._known[runs]


def _measure(
    g: Num[np.ndarray, " runs"],
    m: Num[np.ndarray, " runs"],
    ties: Literal["refuse", "random"],
    seed: int,
    chance: _Chance,
) -> Information:
    from scipy.special import digamma

    if g.shape != m.shape:
        raise InputError("m", m.shape, f"the shape of g, {g.shape}")
    if ties not in ("refuse", "random"):
        raise InputError("ties", ties, "'refuse' or 'random'")
    sound = np.isfinite(g) & np.isfinite(m)
    excluded = int(g.size - sound.sum())
    g, m = g[sound], m[sound]
    runs, nothing = g.size, Estimate(np.nan, np.nan, np.nan)
    if runs < LEAST_RUNS:
        return Information("too few", runs, excluded, 0, *[nothing] * 6)
    repeated = [runs - np.unique(values).size for values in (g, m)]
    constant = [count == runs - 1 for count in repeated]
    tied = sum(count for count, same in zip(repeated, constant, strict=True) if not same)
    if tied and ties == "refuse":
        accepted = "values without ties, or ties='random' to break them at random"
        raise InputError("g, m", f"{tied} values that came before", accepted)
    exact = g.astype(np.float64)
    # Squares of tiny gradients would underflow.
    scale = float(np.max(np.abs(exact))) or 1.0
    exact = exact / scale
    rng = np.random.default_rng(seed)
    x, y = normal_scores(g, rng), normal_scores(m, rng)
    # Runs come in the order of their numbers, which may mean something to whoever chose them.
    split = np.array_split(rng.permutation(runs), _SUBSETS)
    status: Status = "constant" if any(constant) else "measured"
    told = Estimate(0.0, 0.0, 0.0)
    if status == "measured":
        told = _spread(lambda part: mutual_information(x[part], y[part]), split, runs)
        told = _widened(told, _BIAS * abs(told.value))
        if told.value > float(digamma(runs) - digamma(NEIGHBORS)) - MARGIN:
            status, told = "at least", told._replace(high=np.inf)
    entropy = left = Estimate(-np.inf, -np.inf, -np.inf)
    if constant[0] or not np.isfinite(differential_entropy(exact)):
        status = "atoms" if status == "measured" else status
    else:
        entropy = left = _spread(lambda part: differential_entropy(exact[part]), split, runs)
        if status != "constant":
            # Of the difference itself: the two estimates rise and fall together.
            left = _spread(
                lambda part: (
                    differential_entropy(exact[part]) - mutual_information(x[part], y[part])
                ),
                split,
                runs,
            )
            left = _widened(left, _BIAS * abs(told.value))
        if status == "at least":
            left = left._replace(low=-np.inf)
    bounds = [error_bound(end) for end in left]
    mean_square = float(np.mean(exact**2))
    return Information(
        status,
        runs,
        excluded,
        tied,
        told,
        chance.of(runs),
        Estimate(*(end + float(np.log(scale)) for end in entropy)),
        Estimate(*(end + float(np.log(scale)) for end in left)),
        Estimate(*(bound * scale**2 for bound in bounds)),
        Estimate(*((bound / mean_square) ** 0.5 if mean_square else 0.0 for bound in bounds)),
    )


def _spread(
    estimate: Callable[[np.ndarray], float], split: list[np.ndarray], runs: int
) -> Estimate:
    """The estimate from all runs, with the interval that disjoint subsets of them give it."""
    from scipy import stats

    whole = estimate(np.arange(runs))
    parts = np.array([estimate(part) for part in split])
    # Each subset has 1/S of the runs, so S times the variance of the whole.
    error = float(parts.std(ddof=1)) / len(split) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(split) - 1)) * error
    return Estimate(whole, whole - reach, whole + reach)


def _widened(found: Estimate, by: float) -> Estimate:
    return Estimate(found.value, found.low - by, found.high + by)
