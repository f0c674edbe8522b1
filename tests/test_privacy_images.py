"""Pictures, networks and scores of attacks on pictures, against NumPy, SciPy and scikit-image."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from losses import numpy_network
from scipy import stats
from scipy.signal import correlate2d
from skimage.metrics import peak_signal_noise_ratio
from sklearn.datasets import load_digits, load_sample_image

from dpe_jax.errors import InputError
from dpe_jax.privacy.images import pictures, scores
from dpe_jax.privacy.images.networks import Classifier, ConvNet, FullyConnected, gradients
from dpe_jax.problems.digits import network_logits

pytestmark = pytest.mark.slow  # together over 20 s


def numpy_convnet(network: ConvNet, vector: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Logits by one two-dimensional correlation for each pair of channels."""
    parts, begin = [], 0
    for shape in network.shapes:
        size = int(np.prod(shape))
        parts.append(vector[begin : begin + size].reshape(shape))
        begin += size
    h = picture.reshape(network.inputs)
    for layer, stride in enumerate(network.strides):
        kernel, bias = parts[2 * layer], parts[2 * layer + 1]
        padded = np.pad(h, ((2, 2), (2, 2), (0, 0)))
        maps = [
            sum(
                correlate2d(padded[..., i], kernel[:, :, i, o], mode="valid")
                for i in range(h.shape[-1])
            )
            + bias[o]
            for o in range(kernel.shape[-1])
        ]
        h = 1 / (1 + np.exp(-np.stack(maps, axis=-1)[::stride, ::stride]))
    return parts[-2] @ h.ravel() + parts[-1]


def cross_entropy(logits: np.ndarray, label: int) -> float:
    return float(np.log(np.sum(np.exp(logits))) - logits[label])


def test_digits_are_those_of_scikit_learn_and_follow_the_seed() -> None:
    chosen = pictures.digits(20, seed=3)
    data: Any = load_digits()
    for value, label in zip(chosen.values, chosen.labels, strict=True):
        where = np.flatnonzero(np.all(data["data"] / 16 == value, axis=1))
        assert label in data["target"][where]
    assert chosen.values.min() >= 0
    assert chosen.values.max() <= 1
    assert np.array_equal(chosen.values, pictures.digits(20, seed=3).values)
    assert np.array_equal(chosen.values[:5], pictures.digits(5, seed=3).values)
    assert not np.array_equal(chosen.values, pictures.digits(20, seed=4).values)
    # The typical picture is made of the others, so that chance is not told the answers.
    total = (data["data"] / 16).sum(axis=0)
    assert np.allclose(chosen.typical * (1797 - 20), total - chosen.values.sum(axis=0))


def test_patches_are_cut_from_the_photographs() -> None:
    chosen = pictures.patches(12)
    assert chosen.values.shape == (12, 3072)
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    places = [
        (photograph[r : r + 32, c : c + 32], row * 20 + column)
        for photograph in photographs
        for row, r in enumerate(range(0, 416, 32))
        for column, c in enumerate(range(0, 640, 32))
    ]
    for value, label in zip(chosen.values, chosen.labels, strict=True):
        whole = np.rint(value.reshape(32, 32, 3) * 255)
        assert [place % 10 for cut, place in places if np.array_equal(cut, whole)] == [label]
    with pytest.raises(InputError, match=r"^count = 520: expected a number from 1 to 519$"):
        pictures.patches(520)


def test_the_connected_network_is_that_of_the_problem() -> None:
    network, chosen = FullyConnected(hidden=16), pictures.digits(7)
    vector = network.parameters(2)
    assert np.abs(vector).max() <= 0.5
    logits = network.logits(network.parts(jnp.asarray(vector)), jnp.asarray(chosen.values[0]))
    expected = network_logits(jnp.asarray(vector), jnp.asarray(chosen.values[0]))
    assert np.allclose(logits, expected, rtol=1e-13)
    found = gradients(
        network, jnp.asarray(vector), jnp.asarray(chosen.values), jnp.asarray(chosen.labels)
    )
    by_hand = numpy_network(vector, chosen.values, chosen.labels)[1]
    assert np.allclose(found, by_hand, rtol=1e-12, atol=1e-15)
    wrong = numpy_network(vector, chosen.values, (chosen.labels + 1) % 10)[1]
    assert not np.allclose(found, wrong, rtol=1e-2)


@pytest.mark.parametrize("shape", [(8, 8, 1), (6, 9, 3)])
def test_the_convolutions_and_their_gradient(shape: tuple[int, int, int]) -> None:
    network = ConvNet(shape)
    rng = np.random.default_rng(5)
    vector, picture = network.parameters(1), rng.uniform(size=network.pixels)
    logits = network.logits(network.parts(jnp.asarray(vector)), jnp.asarray(picture))
    assert np.allclose(logits, numpy_convnet(network, vector, picture), rtol=1e-12)
    found = np.asarray(
        gradients(network, jnp.asarray(vector), jnp.asarray(picture)[None], jnp.asarray([3]))
    )[0]
    for place in rng.choice(network.dim, 25, replace=False):
        shift = np.zeros(network.dim)
        shift[place] = 1e-5
        above, below = (
            cross_entropy(numpy_convnet(network, vector + sign * shift, picture), 3)
            for sign in (1, -1)
        )
        slope = (above - below) / 2e-5
        assert abs(found[place] - slope) < 1e-8 + 1e-5 * abs(slope)


def test_the_published_sizes() -> None:
    # Zhu et al.'s last layer has 768 inputs for pictures of 32 × 32 pixels.
    assert ConvNet((32, 32, 3)).shapes[-2] == (10, 768)
    assert FullyConnected().dim == 64 * 64 + 64 + 640 + 10


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)])
def test_scores_are_those_of_scikit_image(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=(3, int(np.prod(shape))))
    found = truth + 0.1 * rng.normal(size=truth.shape)
    found[1] = truth[1]
    found[2] = np.nan
    result = scores.score(found, truth, shape)
    cut = np.clip(found[0], 0, 1)
    assert np.isclose(result.psnr[0], peak_signal_noise_ratio(truth[0], cut, data_range=1.0))
    assert np.isclose(result.ssim[0], plain_ssim(cut.reshape(shape), truth[0].reshape(shape)))
    assert result.psnr[1] == np.inf
    assert np.isclose(result.ssim[1], 1.0)
    assert np.isnan(result.mse[2])
    assert np.isnan(result.ssim[2])
    # What failed has not succeeded, and is counted.
    assert scores.success(result.mse).tolist() == [False, True, False]


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The formula of Wang et al. 2004, over all whole 7 × 7 windows and channels."""
    values = []
    for i in range(a.shape[0] - 6):
        for j in range(a.shape[1] - 6):
            for channel in range(a.shape[2]):
                p, q = (x[i : i + 7, j : j + 7, channel].ravel() for x in (a, b))
                covariance = np.cov(p, q)
                light = (2 * p.mean() * q.mean() + 1e-4) / (p.mean() ** 2 + q.mean() ** 2 + 1e-4)
                structure = (2 * covariance[0, 1] + 9e-4) / (np.trace(covariance) + 9e-4)
                values.append(light * structure)
    return float(np.mean(values))


@pytest.mark.parametrize("count", [0, 7, 32])
def test_intervals_of_shares_cover(count: int) -> None:
    rate = scores.rate(np.arange(32) < count)
    assert (rate.successes, rate.targets) == (count, 32)
    # Each end is where the tail beyond what was counted has probability 2.5 %.
    if count:
        assert np.isclose(stats.binom.sf(count - 1, 32, rate.low), 0.025)
    if count < 32:
        assert np.isclose(stats.binom.cdf(count, 32, rate.high), 0.025)


@pytest.mark.parametrize("network", [FullyConnected((8, 8, 2), 4), ConvNet((5, 5, 1), (1,))])
def test_a_vector_has_all_parameters(network: Classifier) -> None:
    parts = network.parts(jnp.arange(float(network.dim)))
    assert [part.shape for part in parts] == list(network.shapes)
    assert np.array_equal(np.concatenate([np.ravel(part) for part in parts]), range(network.dim))
