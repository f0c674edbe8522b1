"""Whether the bytes of ciphertexts are as likely one as another."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from dpe_jax.errors import InputError

TOP = 8
"""Bytes at the head of a ciphertext that are left out: a number below n² has no uniform top bytes.
After so many the probabilities of a uniform number's bytes differ by less than 2⁻⁵⁶."""


@dataclasses.dataclass(frozen=True)
class Uniformity:
    """Two χ² tests against bytes that are uniform and independent."""

    bytes: int
    pooled: float
    """χ² of the 256 values over all positions, with 255 degrees of freedom."""
    pooled_p: float
    positions: float
    """The sum of each position's own χ², less its mean and over its standard deviation."""
    positions_p: float
    """That a normal value is so large, on this side alone: a byte that stands still makes it so."""

    @property
    def least_p(self) -> float:
        """Of the two, as one test (Bonferroni)."""
        return min(1.0, 2 * min(self.pooled_p, self.positions_p))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self) | {"least_p": self.least_p}


def uniformity(ciphertexts: Sequence[bytes]) -> Uniformity:
    """Of ciphertexts of one length, their top bytes left out; InputError for fewer than two.

    A position's χ² of N bytes has mean k − 1 and variance 2 (k − 1)(1 − 1/N) with k = 256 values
    (exactly, for uniform bytes); positions are independent of each other.
    """
    from scipy import stats

    lengths = {len(ciphertext) for ciphertext in ciphertexts}
    if len(ciphertexts) < 2 or len(lengths) != 1 or min(lengths) <= TOP:
        found = f"{len(ciphertexts)} of {sorted(lengths)} bytes"
        raise InputError("ciphertexts", found, f"at least two, of one length above {TOP} bytes")
    values = np.frombuffer(b"".join(ciphertexts), np.uint8).reshape(len(ciphertexts), -1)[:, TOP:]
    count, positions = values.shape
    places = values.astype(np.int64) + 256 * np.arange(positions)
    table = np.bincount(places.ravel(), minlength=256 * positions).reshape(positions, 256)
    pooled = stats.chisquare(table.sum(axis=0))
    each = np.sum((table - count / 256) ** 2, axis=1) / (count / 256)
    spread = np.sqrt(positions * 2 * 255 * (1 - 1 / count))
    excess = float((each.sum() - positions * 255) / spread)
    return Uniformity(
        int(values.size),
        float(pooled.statistic),
        float(pooled.pvalue),
        excess,
        float(stats.norm.sf(excess)),
    )
