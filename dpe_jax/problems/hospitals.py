"""Regularised logistic regression on breast-cancer data that hospitals keep to themselves."""

from typing import Any

import numpy as np

from dpe_jax.errors import InputError
from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.logistic import logistic_regression


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
    return logistic_regression(
        "breast_cancer",
        features,
        2.0 * target - 1.0,
        ("benign", "malignant"),
        agents,
        split=split,
        concentration=concentration,
        seed=seed,
        batch=batch,
        penalty=penalty,
        intercept=intercept,
        test_fraction=test_fraction,
    )
