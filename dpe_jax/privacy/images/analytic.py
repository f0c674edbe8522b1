"""What a gradient of batch 1 tells without any search: the label, and the picture itself.

For a fully connected first layer W a + b with units' errors d, ∂ℓ/∂W = d aᵀ and ∂ℓ/∂b = d: each row
of the first over the same element of the second is the picture. For the last layer V h + c,
∂ℓ/∂c = p − y and ∂ℓ/∂V = (p − y) hᵀ, where only the true class has p_c − y_c < 0, and where
|p_y − 1| is the sum of all the others' |p_c − y_c|. All arrays may have several times, the
observations of one gradient at some iterations.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int64

from dpe_jax.privacy.images.networks import Classifier, FullyConnected
from dpe_jax.problems.digits import CLASSES


def labels_by_sign(
    network: Classifier, observed: Float[Array, "targets times dim"]
) -> Int64[Array, " targets"]:
    """The class whose last-layer row has the least sum of signs (of V and c).

    Zhao, Mopuri, Bilen 2020, "iDLG: improved deep leakage from gradients", arXiv:2001.02610: the
    row of the true class is the one that is negative where h > 0, as sigmoid units are. Multipliers
    that are positive leave it so.
    """
    return jnp.argmin(jnp.sum(jnp.sign(_last_layer(network, observed)), axis=(1, 3)), axis=1)


def labels_by_size(
    network: Classifier, observed: Float[Array, "targets times dim"]
) -> Int64[Array, " targets"]:
    """The class whose last-layer row has the largest sum of sizes (derived).

    |p_y − 1| = Σ_{c≠y} p_c is at least every other p_c. Multipliers of any sign have one mean size
    for all classes, so that they leave the largest sum where it is, up to their spread
    over √hidden.
    """
    return jnp.argmax(jnp.sum(jnp.abs(_last_layer(network, observed)), axis=(1, 3)), axis=1)


def labels_by_sum(
    network: Classifier, observed: Float[Array, "targets times dim"]
) -> Int64[Array, " targets"]:
    """The class whose last-layer row has the least sum (derived).

    As `labels_by_sign`, but noise on coordinates of no size does not vote.
    """
    return jnp.argmin(jnp.sum(_last_layer(network, observed), axis=(1, 3)), axis=1)


def pictures_by_largest(
    network: FullyConnected, observed: Float[Array, "targets times dim"]
) -> Float[Array, "targets pixels"]:
    """The row with the largest |∂ℓ/∂b|, divided by it: the picture, up to rounding, if exact.

    Several times are averaged first.
    """
    weights, bias = _first_layer(network, jnp.mean(observed, axis=1, keepdims=True))
    weights, bias = weights[:, 0], bias[:, 0]
    row = jnp.argmax(jnp.abs(bias), axis=1)[:, None]
    chosen = jnp.take_along_axis(weights, row[..., None], axis=1)[:, 0]
    return chosen / jnp.take_along_axis(bias, row, axis=1)


def pictures_by_median(
    network: FullyConnected, observed: Float[Array, "targets times dim"]
) -> Float[Array, "targets pixels"]:
    """The median over rows of their ratios, of the mean over times."""
    weights, bias = _first_layer(network, jnp.mean(observed, axis=1, keepdims=True))
    # A coarse message may show no change of a bias at all: such a row has no ratio.
    divisor = jnp.where(bias == 0, jnp.nan, bias)
    return jnp.nanmedian(weights[:, 0] / divisor[:, 0, :, None], axis=1)


def pictures_by_least_squares(
    network: FullyConnected, observed: Float[Array, "targets times dim"]
) -> Float[Array, "targets pixels"]:
    """min over a of Σ ‖∂ℓ/∂W − ∂ℓ/∂b aᵀ‖², of the mean over times."""
    weights, bias = _first_layer(network, jnp.mean(observed, axis=1, keepdims=True))
    products = jnp.sum(weights[:, 0] * bias[:, 0, :, None], axis=1)
    return products / jnp.sum(jnp.square(bias[:, 0]), axis=1, keepdims=True)


def pictures_by_size(
    network: FullyConnected, observed: Float[Array, "targets times dim"]
) -> Float[Array, "targets pixels"]:
    """Σ |∂ℓ/∂W| over rows and times, over Σ |∂ℓ/∂b| (derived).

    Pixels are not negative, so their sizes are all there is to learn. Independent multipliers have
    one mean size E|m| for all coordinates, positive or signed, and it cancels: what is left is an
    average over rows, off by the relative spread of |m| over √rows.
    """
    weights, bias = _first_layer(network, observed)
    rows = jnp.sum(jnp.abs(weights), axis=(1, 2))
    return rows / jnp.sum(jnp.abs(bias), axis=(1, 2))[:, None]


def _first_layer(
    network: FullyConnected, observed: Float[Array, "targets times dim"]
) -> tuple[Float[Array, "targets times hidden pixels"], Float[Array, "targets times hidden"]]:
    """∂ℓ/∂W and ∂ℓ/∂b."""
    hidden, pixels = network.hidden, network.pixels
    first = observed[..., : hidden * pixels]
    bias = observed[..., hidden * pixels : hidden * (pixels + 1)]
    return first.reshape(*observed.shape[:2], hidden, pixels), bias


def _last_layer(
    network: Classifier, observed: Float[Array, "targets times dim"]
) -> Float[Array, "targets times classes columns"]:
    """∂ℓ/∂V, and ∂ℓ/∂c as its last column."""
    features = network.shapes[-2][1]
    last, bias = observed[..., -CLASSES * (features + 1) : -CLASSES], observed[..., -CLASSES:]
    weights = last.reshape(*observed.shape[:2], CLASSES, features)
    return jnp.concatenate([weights, bias[..., None]], axis=-1)
