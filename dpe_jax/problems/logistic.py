"""Logistic regression on samples that agents keep to themselves."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.held_out import HeldOut
from dpe_jax.problems.split import hold_out, split_over_agents, standardised


def margin(x: Float[Array, " dim"], features: Float[Array, " dim"]) -> Float[Array, ""]:
    """xᵀa, positive where the class +1 is predicted."""
    return jnp.dot(features, x)


def logistic_loss(
    x: Float[Array, " dim"], sample: tuple[Float[Array, " dim"], Float[Array, ""]]
) -> Float[Array, ""]:
    """log(1 + exp(−y xᵀa)) of one sample (a, y), y = ±1."""
    features, label = sample
    return jax.nn.softplus(-label * jnp.dot(features, x))


def logistic_regression(
    name: str,
    features: Float[np.ndarray, "samples features"],
    labels: Float[np.ndarray, " samples"],
    classes: tuple[str, str],
    agents: int,
    *,
    split: str,
    concentration: float,
    seed: int,
    batch: int | None,
    penalty: float,
    intercept: bool,
    test_fraction: float,
) -> EmpiricalRisk:
    """F(x) = (1/m) Σ_s log(1 + exp(−y_s xᵀa_s)) + ½ penalty ‖x‖², labels y = ±1.

    The share `test_fraction` of each class is held out for a test; features are standardised on the
    m others, which are split over the agents, and a constant 1 comes last with `intercept`.
    `classes` are the names of +1 and −1 in the manifest's counts.
    """
    dim = features.shape[1] + intercept
    training, test = hold_out(labels, test_fraction, seed=seed, agents=agents, features=dim)
    features = standardised(features, training, test_fraction)
    if intercept:
        features = np.column_stack([features, np.ones(len(features))])
    held_out = HeldOut(margin, features[test], labels[test], "binary") if len(test) else None
    features, labels = features[training], labels[training]
    parts, details = split_over_agents(labels, agents, split, concentration, seed=seed)
    for label, counted in zip((1, -1), classes, strict=True):
        details[counted] = np.array([np.sum(labels[part] == label) for part in parts])
    return EmpiricalRisk(
        logistic_loss,
        [(features[part], labels[part]) for part in parts],
        batch,
        dim=dim,
        penalty=penalty,
        name=f"{name}, {split} split",
        details=details,
        test=held_out,
    )
