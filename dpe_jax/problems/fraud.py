"""Rare fraud among transactions that banks keep to themselves: imbalanced logistic regression."""

from typing import Any

import numpy as np

from dpe_jax.errors import InputError
from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.logistic import logistic_regression

_FEATURES, _INFORMATIVE, _REDUNDANT = 20, 6, 4


def fraud(
    agents: int = 5,
    *,
    samples: int = 4000,
    positive: float = 0.02,
    split: str = "dirichlet",
    concentration: float = 1.0,
    seed: int = 0,
    batch: int | None = 8,
    penalty: float = 0.01,
    test_fraction: float = 0.25,
) -> EmpiricalRisk:
    """F(x) = (1/m) Σ_s log(1 + exp(−y_s xᵀa_s)) + ½ penalty ‖x‖², an agent being a bank.

    Made by scikit-learn's `make_classification`: `samples` transactions of which about the share
    `positive` is fraud (y = +1), one cluster a class, and two labels in a thousand are redrawn at
    random; 20 features, 6 of them informative, 4 combinations of these and 10 noise, standardised
    on the training data, and a constant 1 last (d = 21). The share `test_fraction` of each class
    is held out for a test. "dirichlet" deals out each class in Dirichlet proportions, so that some
    banks may see next to no fraud; "equal" shuffles and deals out evenly. f_i is n m_i/m times
    bank i's mean loss, plus the penalty, so F does not depend on the split. `seed` decides data,
    test set and split. Where so few are positive, accuracy says little: the area under the ROC
    curve and the average precision do.

    Raises InputError for a penalty of 0: the classes may be separable, and F without a minimum.
    """
    from sklearn.datasets import make_classification

    if not penalty > 0:
        raise InputError("penalty", penalty, "a positive number (the classes may be separable)")
    if not 0 < positive < 1:
        raise InputError("positive", positive, "a number between 0 and 1")
    if samples < 2:
        raise InputError("samples", samples, "at least 2")
    made: Any = make_classification(
        n_samples=samples,
        n_features=_FEATURES,
        n_informative=_INFORMATIVE,
        n_redundant=_REDUNDANT,
        n_clusters_per_class=1,
        weights=[1 - positive],
        flip_y=0.002,
        class_sep=1.0,
        # scikit-learn takes 32 bits, a seed has up to 63.
        random_state=int(np.random.SeedSequence(seed).generate_state(1)[0]),
    )
    features, labels = np.asarray(made[0]), 2.0 * np.asarray(made[1]) - 1.0
    if len(np.unique(labels)) < 2:
        accepted = f"a share that leaves both classes of {samples} samples"
        raise InputError("positive", positive, accepted)
    if samples <= _FEATURES:
        raise InputError("samples", samples, f"at least {_FEATURES + 1}, the dimension of x")
    return logistic_regression(
        "fraud",
        features,
        labels,
        ("fraud", "sound"),
        agents,
        split=split,
        concentration=concentration,
        seed=seed,
        batch=batch,
        penalty=penalty,
        intercept=True,
        test_fraction=test_fraction,
    )
