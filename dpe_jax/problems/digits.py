"""Handwritten digits: softmax regression, and a small network of sigmoid units."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64

from dpe_jax.errors import InputError
from dpe_jax.problems.empirical import EmpiricalRisk
from dpe_jax.problems.held_out import HeldOut
from dpe_jax.problems.split import hold_out, split_over_agents

PIXELS, CLASSES = 64, 10

_START = 2
"""Keeps the draws of a start apart from those of a split with the same seed."""


def softmax_logits(
    x: Float[Array, " dim"], features: Float[Array, " inputs"]
) -> Float[Array, " classes"]:
    """V a, where x holds V [classes, inputs], row after row."""
    return x.reshape(CLASSES, features.shape[0]) @ features


def softmax_loss(
    x: Float[Array, " dim"], sample: tuple[Float[Array, " inputs"], Int[Array, ""]]
) -> Float[Array, ""]:
    """−log softmax(V a)_y of one sample (a, y)."""
    features, label = sample
    return _cross_entropy(softmax_logits(x, features), label)


def network_logits(
    x: Float[Array, " dim"], features: Float[Array, " inputs"]
) -> Float[Array, " classes"]:
    """V σ(W a + b) + c, where x holds W [hidden, inputs], b, V [classes, hidden] and c in turn.

    σ(t) = 1/(1 + e^−t). The number of hidden units follows from the length of x.
    """
    inputs = features.shape[0]
    hidden = (x.shape[0] - CLASSES) // (inputs + 1 + CLASSES)
    W, b, V, c = jnp.split(x, np.cumsum([hidden * inputs, hidden, CLASSES * hidden]))
    units = jax.nn.sigmoid(W.reshape(hidden, inputs) @ features + b)
    return V.reshape(CLASSES, hidden) @ units + c


def network_loss(
    x: Float[Array, " dim"], sample: tuple[Float[Array, " inputs"], Int[Array, ""]]
) -> Float[Array, ""]:
    """−log softmax(V σ(W a + b) + c)_y of one sample (a, y)."""
    features, label = sample
    return _cross_entropy(network_logits(x, features), label)


def _cross_entropy(logits: Float[Array, " classes"], label: Int[Array, ""]) -> Float[Array, ""]:
    # A sum over all classes: a gather of one would be slower to differentiate.
    chosen = jnp.sum(jnp.where(jnp.arange(CLASSES) == label, logits, 0))
    return jax.nn.logsumexp(logits) - chosen


def digits(
    agents: int = 5,
    *,
    split: str = "equal",
    concentration: float = 1.0,
    seed: int = 0,
    batch: int | None = 8,
    penalty: float = 0.01,
    test_fraction: float = 0.2,
) -> EmpiricalRisk:
    """F(x) = (1/m) Σ_s −log softmax(V a_s)_{y_s} + ½ penalty ‖x‖², x the rows of V.

    scikit-learn's digits: 1797 images of 8 × 8 pixels, divided by 16 to lie in [0, 1], and a
    constant 1 last: d = 650; the penalty holds for its coefficients as for all others. The share
    `test_fraction` of each class is held out for a test, m = 1438 for the default; the others are
    split over the agents. "equal" shuffles them and deals them out evenly, "dirichlet" deals out
    each class in Dirichlet proportions; f_i is n m_i/m times agent i's mean loss, plus the
    penalty, so F does not depend on the split. `seed` is that of the split and of the test set.

    Raises InputError for a penalty of 0: F would have no unique minimum.
    """
    if not penalty > 0:
        raise InputError("penalty", penalty, "a positive number (else the minimum is not unique)")
    images, labels = _load()
    images = np.column_stack([images, np.ones(len(images))])
    division = _divide(labels, images.shape[1], agents, split, concentration, seed, test_fraction)
    parts, test, details = division
    return EmpiricalRisk(
        softmax_loss,
        [(images[part], labels[part]) for part in parts],
        batch,
        dim=CLASSES * images.shape[1],
        penalty=penalty,
        name=f"digits, {split} split",
        details=details,
        test=_test(softmax_logits, images[test], labels[test]),
    )


def digits_network(
    agents: int = 5,
    *,
    hidden: int = 16,
    split: str = "equal",
    concentration: float = 1.0,
    seed: int = 0,
    batch: int | None = 8,
    penalty: float = 0.0,
    test_fraction: float = 0.2,
) -> EmpiricalRisk:
    """F(x) = (1/m) Σ_s −log softmax(V σ(W a_s + b) + c)_{y_s} + ½ penalty ‖x‖², not convex.

    The data of `digits` (without the constant), and one layer of `hidden` sigmoid units: x holds W,
    b, V and c in turn, d = 75 hidden + 10. No optimum is known: what shows progress is ‖∇F(x̄)‖,
    F(x̄) and the accuracy on the test set. All agents start from one draw of U(−½, ½)^d, as `seed`
    has it: from x = 0, where all hidden units are alike, they would remain so. `InputError` for
    less than one unit.
    """
    if hidden < 1:
        raise InputError("hidden", hidden, "a positive number of units")
    images, labels = _load()
    division = _divide(labels, PIXELS, agents, split, concentration, seed, test_fraction)
    parts, test, details = division
    dim = hidden * (PIXELS + 1 + CLASSES) + CLASSES
    return EmpiricalRisk(
        network_loss,
        [(images[part], labels[part]) for part in parts],
        batch,
        dim=dim,
        penalty=penalty,
        name=f"digits_network, {split} split",
        details={"hidden": np.asarray(hidden), "start_seed": np.asarray(seed), **details},
        convex=False,
        start=np.random.default_rng([seed, _START]).uniform(-0.5, 0.5, dim),
        test=_test(network_logits, images[test], labels[test]),
    )


def _load() -> tuple[Float[np.ndarray, "images pixels"], Int64[np.ndarray, " images"]]:
    from sklearn.datasets import load_digits

    pooled: Any = load_digits()
    return np.asarray(pooled["data"]) / 16.0, np.asarray(pooled["target"]).astype(np.int64)


def _divide(
    labels: Int64[np.ndarray, " images"],
    features: int,
    agents: int,
    split: str,
    concentration: float,
    seed: int,
    test_fraction: float,
) -> tuple[list[np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Images of each agent, of the test, and what a manifest says of them."""
    training, test = hold_out(labels, test_fraction, seed=seed, agents=agents, features=features)
    own = labels[training]
    parts, details = split_over_agents(own, agents, split, concentration, seed=seed)
    details["classes"] = np.array([np.bincount(own[part], minlength=CLASSES) for part in parts])
    return [training[part] for part in parts], test, details


def _test(predict: Any, images: np.ndarray, labels: np.ndarray) -> HeldOut | None:
    return HeldOut(predict, images, labels, "classes") if len(labels) else None
