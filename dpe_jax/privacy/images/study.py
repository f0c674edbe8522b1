"""Attacks on many pictures through many channels, with what they rest on."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.errors import InputError
from dpe_jax.privacy.images import analytic, networks, scores
from dpe_jax.privacy.images.matching import (
    NON_FINITE,
    Matching,
    Prior,
    Reconstructions,
    reconstruct,
)
from dpe_jax.privacy.images.metrics import Cosine, Likelihood, SquaredError
from dpe_jax.privacy.images.networks import Classifier, FullyConnected
from dpe_jax.privacy.images.observed import Channel, Nothing, RandomStepsizes, States, observations
from dpe_jax.privacy.images.pictures import Pictures
from dpe_jax.stepsizes import LogNormal, Multipliers, NoMultipliers, Normal, Uniform

Attack = Literal["plain", "idlg", "cosine", "informed", "rows"]
"""plain: gradient matching by squared error, label unknown (Zhu et al. 2019). idlg: the same with
the label read from signs (Zhao et al. 2020). cosine: as plain, but by direction. informed: by the
likelihood under the known law of the channel, with the mean and the variance of pixels of the kind,
and the label by sum or size. rows: the first layer's rows by size."""

Family = Literal["uniform", "lognormal", "normal"]

_LARGEST_LOGNORMAL = float(np.expm1(1.25**2))


class Targets(NamedTuple):
    """Pictures, and their gradients at one vector of parameters."""

    pictures: Pictures
    network: Classifier
    parameters: Float[Array, " dim"]
    gradients: Float[Array, "targets dim"]


class Effort(NamedTuple):
    """How hard the search attacks try."""

    iterations: int = 100
    restarts: int = 3
    memory: int = 30


class Outcome(NamedTuple):
    """What one attack reached through one channel."""

    attack: Attack
    channel: str
    times: int
    exact: scores.Rate
    """MSE below 1e-6."""
    recognisable: scores.Rate
    """MSE below 1e-2."""
    labels: scores.Rate | None
    """Labels found; None where the attack looks for none."""
    scores: scores.Scores
    failed: int
    """Targets of which nothing finite came back: not successful, and not in the medians."""
    found: Float[np.ndarray, "targets pixels"]

    def record(self) -> dict[str, Any]:
        """The numbers, for a file."""
        psnr = self.scores.psnr
        return {
            "attack": self.attack,
            "channel": self.channel,
            "times": self.times,
            "targets": self.exact.targets,
            "exact": _rate(self.exact),
            "recognisable": _rate(self.recognisable),
            "labels": None if self.labels is None else _rate(self.labels),
            "mse_median": _quantile(self.scores.mse, 0.5),
            "psnr_median": _quantile(psnr, 0.5),
            "psnr_5_95": [_quantile(psnr, 0.05), _quantile(psnr, 0.95)],
            "psnr_best": _quantile(psnr, 1.0),
            "ssim_median": _quantile(self.scores.ssim, 0.5),
            "failed": self.failed,
        }


class Controls(NamedTuple):
    """Where an attack must succeed, and where it cannot."""

    plaintext: Outcome
    noise: Outcome
    other: Outcome
    """Plaintext gradients, but of another picture each."""
    chance: scores.Scores
    """Of the mean of other pictures: what one who sees nothing would say."""


def targets(network: Classifier, pictures: Pictures, seed: int = 0) -> Targets:
    """The gradient of each picture, batch 1, at parameters drawn with `seed`."""
    if pictures.shape != network.shape:
        raise InputError("pictures", pictures.shape, f"pictures of {network.shape}")
    parameters = jnp.asarray(network.parameters(seed))
    found = networks.gradients(
        network, parameters, jnp.asarray(pictures.values), jnp.asarray(pictures.labels)
    )
    return Targets(pictures, network, parameters, found)


def attack(
    of: Targets,
    channel: Channel,
    kind: Attack = "plain",
    *,
    effort: Effort = Effort(),  # noqa: B008  (a tuple)
    times: int = 1,
    seed: int = 0,
    mixed_up: bool = False,
) -> Outcome:
    """Attack every target through a channel, with all targets and restarts in one batched call.

    `times` is the number of iterations at which the same gradient is observed. With `mixed_up`
    each target is attacked with the observation of the next one (a negative control).
    """
    seen = observations(channel, of.gradients, of.parameters, times=times, seed=seed)
    if mixed_up:
        seen = jnp.roll(seen, -1, axis=0)
    labels: np.ndarray | None = None
    if kind == "rows":
        if not isinstance(of.network, FullyConnected):
            raise InputError("kind", kind, "a network whose first layer is fully connected")
        found = np.asarray(analytic.pictures_by_size(of.network, seen))
    else:
        back = _matched(of, channel, kind, seen, effort, seed)
        found, labels = back.pictures, back.labels
        labels = np.where(back.status == NON_FINITE, -1, labels)
    finite = np.all(np.isfinite(found), axis=1)
    result = scores.score(found, of.pictures.values, of.pictures.shape)
    return Outcome(
        kind,
        channel.describe(),
        times,
        scores.rate(scores.success(result.mse)),
        scores.rate(scores.success(result.mse, scores.RECOGNISABLE)),
        None if labels is None else scores.rate(labels == of.pictures.labels),
        result,
        int(np.sum(~finite)),
        np.clip(found, 0.0, 1.0),
    )


def controls(of: Targets, kind: Attack = "plain", *, effort: Effort = Effort()) -> Controls:  # noqa: B008
    """The positive and the negative controls of an attack, and the level of chance."""
    size = float(jnp.sqrt(jnp.mean(jnp.square(of.gradients))))
    constant = np.broadcast_to(of.pictures.typical, of.pictures.values.shape)
    return Controls(
        attack(of, States(1.0), kind, effort=effort),
        attack(of, Nothing(size), kind, effort=effort),
        attack(of, States(1.0), kind, effort=effort, mixed_up=True),
        scores.score(constant, of.pictures.values, of.pictures.shape),
    )


def multipliers(family: Family, variance: float) -> Multipliers:
    """The distribution of a family that has a variance; none at all for 0.

    Uniform ones are signed beyond ρ² = 1/3, normal ones always; lognormal ones are positive, and
    have a variance of at most 3.77 here. Raises InputError for others.
    """
    largest = _LARGEST_LOGNORMAL if family == "lognormal" else np.inf
    if not (np.isfinite(variance) and 0 <= variance <= largest):
        raise InputError("variance", variance, f"a number from 0 to {largest:.4g}")
    if variance == 0:
        return NoMultipliers()
    match family:
        case "uniform":
            return Uniform(float(np.sqrt(3 * variance)))
        case "lognormal":
            return LogNormal(float(np.sqrt(np.log1p(variance))))
        case "normal":
            return Normal(float(np.sqrt(variance)))


def curve(
    of: Targets,
    family: Family,
    variances: Sequence[float],
    kind: Attack,
    *,
    effort: Effort = Effort(),  # noqa: B008
    times: int = 1,
    seed: int = 0,
) -> list[tuple[float, Outcome]]:
    """An attack over the variance ρ² of multipliers, states granted: nothing else hides g."""
    return [
        (
            variance,
            attack(
                of,
                RandomStepsizes(multipliers(family, variance)),
                kind,
                effort=effort,
                times=times,
                seed=seed,
            ),
        )
        for variance in variances
    ]


def _matched(
    of: Targets, channel: Channel, kind: Attack, seen: Array, effort: Effort, seed: int
) -> Reconstructions:
    known = channel.knowledge(np.asarray(of.parameters))
    settings: dict[str, Any] = {
        "iterations": effort.iterations,
        "memory": effort.memory,
        "clip": known.clip,
    }
    at = jnp.broadcast_to(of.parameters, seen.shape[1:])
    search: dict[str, Any] = {"seed": seed, "restarts": effort.restarts}
    if kind != "informed":
        metric = Cosine() if kind == "cosine" else SquaredError()
        matching = Matching(of.network, metric, **settings)
        signs = np.asarray(analytic.labels_by_sign(of.network, seen))
        return reconstruct(matching, seen, at, labels=signs if kind == "idlg" else None, **search)
    # One shape for all channels, so that one program serves them.
    noise = np.broadcast_to(known.noise, (of.network.dim,))
    metric = Likelihood(known.multiplier_variance, noise)
    prior = Prior(of.pictures.typical, of.pictures.spread)
    matching = Matching(of.network, metric, prior=prior, **settings)
    # Sums stand more additive noise, sizes stand multipliers of either sign.
    rule = analytic.labels_by_sum if known.multiplier_variance <= 1 else analytic.labels_by_size
    labels = np.asarray(rule(of.network, seen))
    return reconstruct(matching, seen, at, labels=labels, **search)


def _rate(rate: scores.Rate) -> dict[str, Any]:
    return {"count": rate.successes, "interval_95": [round(rate.low, 4), round(rate.high, 4)]}


def _quantile(values: Float[np.ndarray, " targets"], share: float) -> float | None:
    finite = values[~np.isnan(values)]
    return float(f"{np.quantile(finite, share):.4g}") if finite.size else None
