"""Small networks of sigmoid units, and the gradient of one sample's loss in their parameters.

Parameters and gradients are flat vectors, as states of the engine are. Smooth units matter: the
attack differentiates the gradient itself.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dpe_jax.errors import InputError
from dpe_jax.problems.digits import CLASSES

_KERNEL, _CHANNELS = 5, 12
_STREAM = 6
"""Keeps the draws of parameters apart from others with the same seed."""


class Classifier(eqx.Module):
    """A map from a picture to the logits of ten classes, with its parameters in one vector."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""

    @property
    @abc.abstractmethod
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the parameter arrays, in the order of the vector."""

    @abc.abstractmethod
    def logits(
        self, parts: tuple[Float[Array, "..."], ...], picture: Float[Array, " pixels"]
    ) -> Float[Array, " classes"]:
        """The logits of one picture."""

    @abc.abstractmethod
    def describe(self) -> str:
        """A short text, such as "64-64-10"."""

    @property
    def pixels(self) -> int:
        """Numbers in a picture."""
        return int(np.prod(self.shape))

    @property
    def dim(self) -> int:
        """Numbers in the vector of parameters."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def parameters(self, seed: int) -> Float[np.ndarray, " dim"]:
        """A draw of U(−½, ½) for every parameter, weights and biases (Zhu et al. 2019)."""
        return np.random.default_rng([seed, _STREAM]).uniform(-0.5, 0.5, self.dim)

    def parts(self, vector: Float[Array, " dim"]) -> tuple[Float[Array, "..."], ...]:
        """The vector as the arrays that it is made of."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        pieces = jnp.split(vector, ends[:-1])
        return tuple(piece.reshape(shape) for piece, shape in zip(pieces, self.shapes, strict=True))

    def loss(
        self,
        parts: tuple[Float[Array, "..."], ...],
        picture: Float[Array, " pixels"],
        target: Float[Array, " classes"],
    ) -> Float[Array, ""]:
        """−Σ_c y_c log softmax(logits)_c, for probabilities y of the classes."""
        return -jnp.dot(target, jax.nn.log_softmax(self.logits(parts, picture)))

    def gradient(
        self,
        vector: Float[Array, " dim"],
        picture: Float[Array, " pixels"],
        target: Float[Array, " classes"],
    ) -> Float[Array, " dim"]:
        """∇ of the loss of one sample in the parameters."""
        # Of the arrays rather than of the vector: one concatenation, no padding and adding.
        gradients = jax.grad(self.loss)(self.parts(vector), picture, target)
        return jnp.concatenate([part.ravel() for part in gradients])


class FullyConnected(Classifier):
    """V σ(W a + b) + c, as the problem `digits_network` has it; the vector holds W, b, V and c.

    Zhu et al. 2019, "Deep leakage from gradients", use such layers; the sizes are ours.
    """

    inputs: tuple[int, int, int] = (8, 8, 1)
    """Height, width and channels of a picture."""

    hidden: int = 64

    def __check_init__(self) -> None:
        _check_shape(self.inputs)
        if self.hidden < 1:
            raise InputError("hidden", self.hidden, "a positive number of units")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.inputs

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """W [hidden, pixels], b, V [classes, hidden], c."""
        return (self.hidden, self.pixels), (self.hidden,), (CLASSES, self.hidden), (CLASSES,)

    def logits(
        self, parts: tuple[Float[Array, "..."], ...], picture: Float[Array, " pixels"]
    ) -> Float[Array, " classes"]:
        """V σ(W a + b) + c."""
        W, b, V, c = parts
        return V @ jax.nn.sigmoid(W @ picture + b) + c

    def describe(self) -> str:
        """Its sizes, such as "64-64-10"."""
        return f"{self.pixels}-{self.hidden}-{CLASSES}"


class ConvNet(Classifier):
    """Zhu et al.'s network: three convolutions of sigmoid units, and a fully connected layer.

    5 × 5 kernels, 12 channels each, strides 2, 2 and 1, two zeros of padding on each side; of their
    published code, with ten classes. The vector holds each kernel [row, column, channel in, channel
    out] and its bias, then V [classes, features] and c.
    """

    inputs: tuple[int, int, int] = (8, 8, 1)
    """Height, width and channels of a picture."""

    strides: tuple[int, ...] = (2, 2, 1)

    def __check_init__(self) -> None:
        _check_shape(self.inputs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.inputs

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Kernel and bias of each convolution, then V and c."""
        height, width, channels = self.inputs
        found: list[tuple[int, ...]] = []
        for stride in self.strides:
            found += [(_KERNEL, _KERNEL, channels, _CHANNELS), (_CHANNELS,)]
            height, width, channels = -(-height // stride), -(-width // stride), _CHANNELS
        return (*found, (CLASSES, height * width * channels), (CLASSES,))

    def logits(
        self, parts: tuple[Float[Array, "..."], ...], picture: Float[Array, " pixels"]
    ) -> Float[Array, " classes"]:
        """V h + c, h the last convolution's units."""
        *convolutions, V, c = parts
        h = picture.reshape(self.inputs)
        for layer, stride in enumerate(self.strides):
            kernel, bias = convolutions[2 * layer], convolutions[2 * layer + 1]
            h = jax.nn.sigmoid(_patches(h, stride) @ kernel.reshape(-1, _CHANNELS) + bias)
        return V @ h.ravel() + c

    def describe(self) -> str:
        """Its kind and the size of its pictures."""
        return "ConvNet, " + " × ".join(str(size) for size in self.inputs)


@eqx.filter_jit
def gradients(
    network: Classifier,
    vector: Float[Array, " dim"],
    pictures: Float[Array, "targets pixels"],
    labels: Int[Array, " targets"],
) -> Float[Array, "targets dim"]:
    """The gradient of each picture's loss with its true label, batch 1."""
    targets = jax.nn.one_hot(labels, CLASSES, dtype=pictures.dtype)
    return jax.vmap(network.gradient, (None, 0, 0))(vector, pictures, targets)


def _patches(
    h: Float[Array, "height width channels"], stride: int
) -> Float[Array, "rows columns inputs"]:
    """What each 5 × 5 kernel position sees, as 25 strided slices.

    The derivative of a slice is a padding; with a convolution, the kernel's gradient of each lane
    would be a convolution with groups, which is slow on a CPU.
    """
    height, width, _ = h.shape
    margin = _KERNEL // 2
    padded = jnp.pad(h, ((margin, margin), (margin, margin), (0, 0)))
    slices = [
        padded[row : row + height : stride, column : column + width : stride]
        for row in range(_KERNEL)
        for column in range(_KERNEL)
    ]
    return jnp.concatenate(slices, axis=-1)


def _check_shape(inputs: tuple[int, int, int]) -> None:
    if len(inputs) != 3 or min(inputs) < 1:
        raise InputError("inputs", inputs, "height, width and channels, each at least 1")
