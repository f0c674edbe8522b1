"""Test sets: samples that no agent has, and how well a model predicts them."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dpe_jax.errors import InputError
from dpe_jax.problems.arrays import cast, over_lanes, values_a_sample

Kind = Literal["binary", "classes", "values"]

_SCORES: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "auc", "average_precision"),
    "classes": ("accuracy",),
    "values": ("error",),
}


class HeldOut(eqx.Module):
    """A test set, and what a model x predicts of one of its samples.

    `predict(x, features)` is, in plain JAX, of one sample: for kind "binary" a number that is
    positive for the class +1 (the targets are ±1); for "classes" one number a class, of which the
    largest wins (the targets are 0, 1, …); for "values" the target itself.
    """

    predict: Callable[..., Any] = eqx.field(static=True)
    features: Any
    """[samples, ...]; of kind "binary" those of class +1 come first."""
    targets: np.ndarray | Array
    kind: Kind = eqx.field(static=True)
    positives: int = eqx.field(static=True)
    """Samples of class +1, for kind "binary"; else 0."""

    def __init__(
        self, predict: Callable[..., Any], features: np.ndarray, targets: np.ndarray, kind: Kind
    ) -> None:
        """Take features [samples, ...] and targets [samples].

        `InputError` for none, for other targets, and for only one class.
        """
        if kind not in _SCORES:
            raise InputError("kind", kind, f"one of {', '.join(get_args(Kind))}")
        features, targets = np.asarray(features), np.asarray(targets)
        if targets.ndim != 1 or not len(targets) or features.shape[:1] != targets.shape:
            shapes = features.shape, targets.shape
            raise InputError("targets", shapes, "at least one sample, and one target for each")
        if kind == "binary":
            if set(np.unique(targets).tolist()) != {-1, 1}:
                raise InputError("targets", np.unique(targets), "both of -1 and +1, nothing else")
            order = np.argsort(-targets, kind="stable")
            features, targets = features[order], targets[order]
        if kind == "classes" and (targets.dtype.kind != "i" or targets.min() < 0):
            raise InputError("targets", targets, "class numbers 0, 1, …")
        self.predict = predict
        self.features = features
        self.targets = targets
        self.kind = kind
        self.positives = int(np.sum(targets > 0)) if kind == "binary" else 0

    @property
    def samples(self) -> int:
        """Size of the test set."""
        return self.targets.shape[0]

    @property
    def scores(self) -> tuple[str, ...]:
        """What is measured: accuracy, auc, average_precision, or error."""
        return _SCORES[self.kind]

    def score(self, x: Float[Array, "dim lanes"]) -> dict[str, Float[Array, " lanes"]]:
        """Each of `scores` for the model of each lane.

        accuracy: the share of samples in the predicted class. auc: the probability that a sample
        of class +1 is scored above one of −1, ties counting half (the rank statistic of Mann and
        Whitney). average_precision: the mean, over samples of class +1, of the share of that class
        among all samples that are scored no lower. error: the mean squared error.
        """
        x0 = jax.ShapeDtypeStruct(x.shape[:1], x.dtype)
        width = values_a_sample(self.predict, x0, self.features)
        return over_lanes(self._of_model, x, self.samples * width)

    def _of_model(self, x: Float[Array, " dim"]) -> dict[str, Float[Array, ""]]:
        predicted = jax.vmap(self.predict, in_axes=(None, 0))(x, jnp.asarray(self.features))
        targets = jnp.asarray(self.targets)
        if self.kind == "values":
            return {"error": jnp.mean((predicted - targets) ** 2)}
        if self.kind == "classes":
            found = {"accuracy": _share(jnp.argmax(predicted, axis=-1) == targets)}
        else:
            right = (predicted > 0) == (targets > 0)
            found = {"accuracy": _share(right), **self._ranked(predicted)}
        # NaN is in no order: without this it would be in the last class, and above all others.
        scored = jnp.all(~jnp.isnan(predicted))
        return {name: jnp.where(scored, value, jnp.nan) for name, value in found.items()}

    def _ranked(self, predicted: Float[Array, " samples"]) -> dict[str, Float[Array, ""]]:
        """auc and average_precision.

        One pass over the other samples for each of class +1: no more memory than the scores, and
        ten times faster than XLA's sort on a processor for a thousand samples.
        """
        positive, negative = predicted[: self.positives], predicted[self.positives :]

        def against_all(total: tuple[Array, Array], score: Array):
            below, precision = total
            no_lower = jnp.sum(negative >= score, dtype=jnp.int32)
            higher = jnp.sum(negative > score, dtype=jnp.int32)
            same = jnp.sum(positive >= score, dtype=jnp.int32).astype(jnp.float64)
            # Twice the pairs that are in order; a tie is half a pair.
            below = below + (2 * negative.shape[0] - no_lower - higher)
            return (below, precision + same / (same + no_lower)), None

        start = jnp.zeros((), jnp.int64), jnp.zeros((), jnp.float64)
        (below, precision), _ = jax.lax.scan(against_all, start, positive)
        pairs = positive.shape[0] * negative.shape[0]
        return {"auc": below / (2 * pairs), "average_precision": precision / positive.shape[0]}

    def describe(self) -> dict[str, Any]:
        """Size, and samples of each class."""
        described: dict[str, Any] = {"samples": self.samples}
        if self.kind != "values":
            values, counts = np.unique(np.asarray(self.targets), return_counts=True)
            described["classes"] = {
                str(int(v)): int(c) for v, c in zip(values, counts, strict=True)
            }
        return described

    def with_dtype(self, dtype: jnp.dtype) -> "HeldOut":
        """The same samples in another precision."""
        features, targets = cast((self.features, self.targets), dtype)
        return type(self)(self.predict, features, targets, self.kind)


def _share(right: Bool[Array, " samples"]) -> Float[Array, ""]:
    return jnp.mean(right, dtype=jnp.float64)
