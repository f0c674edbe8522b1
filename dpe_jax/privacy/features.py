"""What a program without the key can look at in a ciphertext, and a classifier that learns from it.

Looked at are the length, every bit of the payload, and numbers that belong to the scheme: the
Jacobi symbol of c mod n, residues of c modulo small primes, and the ends of c mod n and of ⌊c/n⌋.
The classifier keeps the features whose means differ between the two classes of the training set by
more than the largest of so many would by chance, √(2 ln features) standard errors, and fits a
logistic regression to them. It finds what single bits or numbers tell, even one among thousands;
what only products of several features tell it does not look for.
"""

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Bool, Float32

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import ciphertext_bytes
from dpe_jax.paillier.checks import jacobi_symbol

KEPT = 32
"""Features of the logistic regression at most, and at least one."""

_PRIMES = 3, 5, 7, 11, 13
_END_BITS = 16


def features(
    payloads: Sequence[bytes], moduli: Sequence[int], width: int
) -> Float32[np.ndarray, "payloads features"]:
    """One row a payload; of the bits those of the first `width` bytes, zeros where it is shorter.

    `moduli` is n of each payload's key. The numbers are those of the first ciphertext.
    """
    numbers = [_numbers(payload, n) for payload, n in zip(payloads, moduli, strict=True)]
    padded = b"".join(payload[:width].ljust(width, b"\0") for payload in payloads)
    bits = np.unpackbits(np.frombuffer(padded, np.uint8).reshape(len(payloads), width), axis=1)
    return np.hstack([np.array(numbers, np.float32), bits.astype(np.float32)])


def _numbers(payload: bytes, n: int) -> list[float]:
    c = int.from_bytes(payload[: ciphertext_bytes(n)], "big")
    found = [float(len(payload)), float(jacobi_symbol(c, n))]
    for prime in _PRIMES:
        found += [float(c % prime == residue) for residue in range(prime)]
    quotient, rest = divmod(c, n)
    for number in (quotient, rest):
        found.append(float(number >> max(0, n.bit_length() - 32)))
        found += [float(number >> bit & 1) for bit in range(_END_BITS)]
    return found


@final
class Classifier:
    """Logistic regression on the features that differ most."""

    def __init__(
        self,
        payloads: Sequence[bytes],
        moduli: Sequence[int],
        labels: Bool[np.ndarray, " payloads"],
    ) -> None:
        from sklearn.linear_model import LogisticRegression

        if labels.all() or not labels.any():
            raise InputError("labels", f"{labels.size} alike", "payloads of both classes")
        self._width = max(map(len, payloads))
        values = features(payloads, moduli, self._width).astype(np.float64)
        self._mean, spread = values.mean(axis=0), values.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        values = (values - self._mean) / self._scale
        # A feature that never varies differs by nothing.
        gap = np.abs(values[labels].mean(axis=0) - values[~labels].mean(axis=0))
        error = np.sqrt(1 / labels.sum() + 1 / (~labels).sum())
        largest = np.sqrt(2 * np.log(gap.size))
        self._kept = np.argsort(-gap)[: np.clip(np.sum(gap / error > largest), 1, KEPT)]
        self._model = LogisticRegression(max_iter=1000).fit(values[:, self._kept], labels)

    def __call__(
        self, payloads: Sequence[bytes], moduli: Sequence[int]
    ) -> Bool[np.ndarray, " payloads"]:
        """The class that is likelier for each."""
        values = features(payloads, moduli, self._width).astype(np.float64)
        values = (values - self._mean) / self._scale
        return np.asarray(self._model.predict(values[:, self._kept])).astype(bool)
