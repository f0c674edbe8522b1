"""How near a reconstruction is to the picture: MSE, PSNR and SSIM."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from dpe_jax.errors import InputError

EXACT = 1e-6
"""A picture came back if its MSE is below this: 60 dB."""

RECOGNISABLE = 1e-2
"""A picture is recognisable if its MSE is below this: 20 dB; guesses stay some 6 dB below."""


class Scores(NamedTuple):
    """Of each target; NaN where nothing came back."""

    mse: Float[np.ndarray, " targets"]
    psnr: Float[np.ndarray, " targets"]
    """10 log₁₀(1/MSE), in dB; infinite for equal pictures."""
    ssim: Float[np.ndarray, " targets"]


class Rate(NamedTuple):
    """A share of successes, with its 95 % interval after Clopper and Pearson."""

    successes: int
    targets: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share."""
        return self.successes / self.targets


def score(
    found: Float[np.ndarray, "targets pixels"],
    pictures: Float[np.ndarray, "targets pixels"],
    shape: tuple[int, int, int],
) -> Scores:
    """Compare reconstructions, cut to [0, 1] as everyone knows that pixels are, with the pictures.

    SSIM is that of Wang et al. 2004 with uniform 7 × 7 windows, by scikit-image.
    """
    from skimage.metrics import structural_similarity

    cut = np.clip(found, 0.0, 1.0)
    mse = np.mean(np.square(cut - pictures), axis=1)
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(mse)
    ssim = [
        float(
            np.asarray(
                structural_similarity(
                    one.reshape(shape), other.reshape(shape), data_range=1.0, channel_axis=-1
                )
            )
        )
        if np.all(np.isfinite(one))
        else np.nan
        for one, other in zip(cut, pictures, strict=True)
    ]
    return Scores(mse, psnr, np.array(ssim))


def success(
    mse: Float[np.ndarray, " targets"], threshold: float = EXACT
) -> Bool[np.ndarray, " targets"]:
    """Whether the MSE is below the threshold; what has failed has not succeeded."""
    return np.nan_to_num(mse, nan=np.inf) < threshold


def rate(successes: Bool[np.ndarray, " targets"], confidence: float = 0.95) -> Rate:
    """Share and two-sided interval of independent targets."""
    count, targets = int(np.sum(successes)), successes.size
    if targets == 0:
        raise InputError("successes", targets, "at least one target")
    found = stats.binomtest(count, targets).proportion_ci(confidence, "exact")
    return Rate(count, targets, float(found.low), float(found.high))
