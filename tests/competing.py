"""A small study for competitors, and the moments of its final states by a linear recursion."""

import numpy as np

from dpe_jax.bench.competitors import Study

LIMIT = 5.0
"""Standard errors from which on a sample is rejected."""


def made(agents: int = 5, dim: int = 2, iterations: int = 60) -> Study:
    """Random costs on a ring with two chords."""
    rng = np.random.default_rng(3)
    W = np.zeros((agents, agents))
    edges = [(i, (i + 1) % agents) for i in range(agents)] + [(0, 2), (1, 3)][: agents - 3]
    for i, j in edges:
        W[i, j] = W[j, i] = 0.2
    W -= np.diag(W.sum(1))
    root = np.eye(dim) + 0.3 * rng.normal(size=(agents, dim, dim))
    k = np.arange(iterations) + 1.0
    return Study(
        A=root @ root.transpose(0, 2, 1),
        b=rng.normal(size=(agents, dim)),
        sigma=0.3,
        W=W,
        delta=0.35,
        gamma=0.8 * k**-0.6,
        lambda_bar=0.5 * k**-0.9,
        x0=rng.normal(size=(agents, dim)),
    )


def moments(study: Study, multiplier_variance: float = 1 / 3) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the final state, by a linear recursion over the noise.

    The mean is exact. A coordinate's rounding error has variance δ² f (1 − f) at fraction f of a
    cell; the recursion takes its average over uniform f, δ²/6, and so is good to a few percent.
    """
    agents, dim = study.b.shape
    size = agents * dim
    A = np.zeros((size, size))
    for i in range(agents):
        A[i * dim : (i + 1) * dim, i * dim : (i + 1) * dim] = study.A[i]
    W = np.kron(study.W, np.eye(dim))
    mean, covariance = study.x0.ravel(), np.zeros((size, size))
    for gamma, step in zip(study.gamma, study.lambda_bar, strict=True):
        gradient = A @ (mean - study.b.ravel())
        square = gradient**2 + np.diag(A @ covariance @ A.T) + study.sigma**2
        T = np.eye(size) + gamma * W - step * A
        mean = mean + gamma * W @ mean - step * gradient
        covariance = T @ covariance @ T.T + gamma**2 * study.delta**2 / 6 * W @ W.T
        covariance += step**2 * np.diag(multiplier_variance * square + study.sigma**2)
    return mean.reshape(agents, dim), np.sqrt(np.diag(covariance)).reshape(agents, dim)


def distance(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> float:
    """Largest deviation of a sample's mean, or of its standard deviation, in standard errors."""
    runs = x.shape[-1]
    means = (x.mean(-1) - mean) / (std / np.sqrt(runs))
    spreads = np.log(x.std(-1, ddof=1) / std) * np.sqrt(2 * runs)
    return float(max(np.abs(means).max(), np.abs(spreads).max()))
