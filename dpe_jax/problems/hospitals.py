"""Regularised logistic regression on breast-cancer data that hospitals keep to themselves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dpe_jax.errors import InputError
from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.held_out import HeldOut
from dpe_jax.problems.split import hold_out, split_over_agents


def margin(x: Float[Array, " dim"], features: Float[Array, " dim"]) -> Float[Array, ""]:
    """xᵀa, positive where the class +1 is predicted."""
    return jnp.dot(features, x)


def logistic_loss(
    x: Float[Array, " dim"], sample: tuple[Float[Array, " dim"], Float[Array, ""]]
) -> Float[Array, ""]:
    """log(1 + exp(−y xᵀa)) of one sample (a, y), y = ±1."""
    features, label = sample
    return jax.nn.softplus(-label * jnp.dot(features, x))


def breast_cancer(
    agents: int = 5,
    *,
    split: str = "equal",
    concentration: float = 1.0,
    seed: int = 0,
    batch: int | None = 8,
    penalty: float = 0.01,
    intercept: bool = True,
    test_fraction: float = 0.0,
) -> EmpiricalRisk:
    """F(x) = (1/m) Σ_s log(1 + exp(−y_s xᵀa_s)) + ½ penalty ‖x‖², an agent being a hospital.

    scikit-learn's breast-cancer data: m = 569 patients, 30 features standardised on the pooled
    data, y = +1 benign and −1 malignant. With `intercept` a constant column 1 is added last (d =
    31), and the penalty holds for its coefficient as for all others. f_i is n m_i/m times hospital
    i's mean loss, plus the penalty, so F does not depend on the split. "equal" shuffles the
    patients and deals them out evenly, "dirichlet" deals out each class in Dirichlet proportions;
    `seed` is that of the split.

    With a `test_fraction` that share of each class is held out for a test, m counts the others,
    and it is these that features are standardised on.

    Raises InputError for a penalty of 0: a plane separates these classes, and F has no minimum.
    """
    from sklearn.datasets import load_breast_cancer

    if not penalty > 0:
        raise InputError("penalty", penalty, "a positive number (the classes are separable)")
    pooled: Any = load_breast_cancer()
    features, target = np.asarray(pooled["data"]), np.asarray(pooled["target"])
    training, test = hold_out(target, test_fraction, seed=seed)
    own = features[training]
    features = (features - own.mean(0)) / own.std(0)
    if intercept:
        features = np.column_stack([features, np.ones(len(features))])
    labels = 2.0 * target - 1.0
    held_out = HeldOut(margin, features[test], labels[test], "binary") if len(test) else None
    features, labels = features[training], labels[training]
    parts, details = split_over_agents(labels, agents, split, concentration, seed=seed)
    details["benign"] = np.array([np.sum(labels[part] > 0) for part in parts])
    details["malignant"] = np.array([np.sum(labels[part] < 0) for part in parts])
    return EmpiricalRisk(
        logistic_loss,
        [(features[part], labels[part]) for part in parts],
        batch,
        dim=features.shape[1],
        penalty=penalty,
        name=f"breast_cancer, {split} split",
        details=details,
        test=held_out,
    )
