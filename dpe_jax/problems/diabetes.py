"""Ridge regression on diabetes data that clinics keep to themselves."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.held_out import HeldOut
from dpe_jax.problems.split import hold_out, split_over_agents, standardised

_LEVELS = 5
"""Parts of the targets' range that take the place of classes in a Dirichlet split."""


def linear_prediction(x: Float[Array, " dim"], features: Float[Array, " dim"]) -> Float[Array, ""]:
    """xᵀa."""
    return jnp.dot(features, x)


def squared_loss(
    x: Float[Array, " dim"], sample: tuple[Float[Array, " dim"], Float[Array, ""]]
) -> Float[Array, ""]:
    """½ (xᵀa − y)² of one sample (a, y)."""
    features, target = sample
    return (jnp.dot(features, x) - target) ** 2 / 2


def diabetes(
    agents: int = 5,
    *,
    split: str = "equal",
    concentration: float = 1.0,
    seed: int = 0,
    batch: int | None = 8,
    penalty: float = 0.01,
    test_fraction: float = 0.2,
) -> EmpiricalRisk:
    """F(x) = (1/m) Σ_s ½ (xᵀa_s − y_s)² + ½ penalty ‖x‖², an agent being a clinic.

    scikit-learn's diabetes data: 442 patients, 10 features, the progression of the disease after a
    year as target. A random share `test_fraction` is held out for a test; features and targets are
    standardised on the others, so there is no intercept (d = 10), and a test error of 1 is that of
    predicting their mean. "equal" shuffles the patients and deals them out evenly; "dirichlet"
    deals out each fifth of them, by target, in Dirichlet proportions. f_i is n m_i/m times clinic
    i's mean loss, plus the penalty, so F does not depend on the split. `seed` is that of the split
    and of the test set. `InputError` for shares, agents and batches that the samples do not allow.
    """
    from sklearn.datasets import load_diabetes

    pooled: Any = load_diabetes(scaled=False)
    features, target = np.asarray(pooled["data"], np.float64), np.asarray(pooled["target"])
    training, test = hold_out(
        np.zeros(len(target), np.int64),
        test_fraction,
        seed=seed,
        agents=agents,
        features=features.shape[1],
    )
    features = standardised(features, training, test_fraction)
    target = (target - target[training].mean()) / target[training].std()
    held_out = None
    if len(test):
        held_out = HeldOut(linear_prediction, features[test], target[test], "values")
    features, target = features[training], target[training]
    inner = np.quantile(target, np.arange(1, _LEVELS) / _LEVELS)
    levels = np.searchsorted(inner, target)
    parts, details = split_over_agents(levels, agents, split, concentration, seed=seed)
    counts = [np.bincount(levels[part], minlength=_LEVELS) for part in parts]
    details["target_fifths"] = np.array(counts)
    return EmpiricalRisk(
        squared_loss,
        [(features[part], target[part]) for part in parts],
        batch,
        dim=features.shape[1],
        penalty=penalty,
        name=f"diabetes, {split} split",
        details=details,
        test=held_out,
    )
