"""Empirical risk of a user's own loss on the agents' own data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from dpe_jax.draws import Draws
from dpe_jax.errors import InputError
from dpe_jax.problems.arrays import cast, over_lanes, values_a_sample
from dpe_jax.problems.base import Optimum, Problem
from dpe_jax.problems.held_out import HeldOut
from dpe_jax.problems.reference import minimize

_MOST_DRAWN = 2**30
"""Numbers in the minibatches of the smallest block: 4 GiB of them in float32."""

_LEAST_LANES = 16
"""The engine computes no fewer lanes at a time."""


class EmpiricalRisk(Problem):
    """F(x) = (1/n) Σ_i f_i(x), f_i a mean of losses over agent i's m_i own samples.

    f_i(x) = ρ_i (1/m_i) Σ_s loss(x, sample_is) + ½ penalty ‖x‖². With weighting "samples",
    ρ_i = n m_i / Σ_j m_j, so that F is the mean loss over all samples of all agents; with "agents",
    ρ_i = 1, so that F is the mean of the agents' means. In both F holds the penalty once.

    The stochastic gradient is that of `batch` samples drawn with replacement from the agent's own,
    or the exact ∇f_i if `batch` is None. It is differentiated by JAX.
    """

    loss: Callable[..., Any] = eqx.field(static=True)
    data: Any
    """The samples of all agents, agent after agent: every leaf is [samples, ...]."""
    sizes: Int64[np.ndarray, " agents"] | Int64[Array, " agents"]
    """Samples m_i of each agent."""
    penalty: float
    details: dict[str, np.ndarray | Array]
    """Further numbers for the manifest; arrays, so that they do not decide what is compiled."""
    batch: int | None = eqx.field(static=True)
    parameters: int = eqx.field(static=True)
    weighting: str = eqx.field(static=True)
    largest: int = eqx.field(static=True)
    """max_i m_i for exact gradients, else 0: minibatches compile alike for any sizes."""
    width: int = eqx.field(static=True)
    """Numbers in the largest intermediate array of one loss."""
    convex: bool = eqx.field(static=True)
    """Whether F has an optimum that can be computed."""
    initial: Float[np.ndarray, " dim"] | Float[Array, " dim"]
    test: HeldOut | None
    dtype: jnp.dtype = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def __init__(
        self,
        loss: Callable[..., Any],
        data: Any,
        batch: int | None = None,
        *,
        dim: int,
        weighting: str = "samples",
        penalty: float = 0.0,
        dtype: Any = np.float64,
        name: str = "EmpiricalRisk",
        details: dict[str, np.ndarray] | None = None,
        convex: bool = True,
        start: Float[np.ndarray, " dim"] | None = None,
        test: HeldOut | None = None,
    ) -> None:
        """Take each agent's data.

        `loss(x, sample)` is the cost of one sample at x [dim], a scalar in plain JAX. `data` is a
        list with one entry an agent: a pytree (such as a tuple) of arrays [m_i, ...], whose rows
        at one index make up one sample. Floats are cast to `dtype`, integers stay integers.

        With `convex` false no optimum is sought, and metrics that need one are refused. `start` is
        the x_0 of all agents where a simulation gives none, by default 0; `test` a test set.

        Raises InputError for data without samples, of unequal counts, structure or row shape, or
        not finite; for a loss that is not one real number a sample; and for bad numbers.
        """
        if dim < 1:
            raise InputError("dim", dim, "a positive integer")
        if batch is not None and (type(batch) is not int or batch < 1):
            raise InputError("batch", batch, "a positive integer, or None for exact gradients")
        if weighting not in ("samples", "agents"):
            raise InputError("weighting", weighting, "'samples' or 'agents'")
        if not 0 <= penalty <= 1e30:
            raise InputError("penalty", penalty, "a number from 0 to 1e30")
        pooled, sizes = _pool(data)
        self.loss = loss
        self.data = cast(pooled, jnp.dtype(dtype))
        self.sizes = sizes
        self.penalty = float(penalty)
        self.details = dict(details or {})
        self.batch = batch
        self.parameters = dim
        self.weighting = weighting
        self.largest = int(sizes.max()) if batch is None else 0
        self.dtype = jnp.dtype(dtype)
        self.name = name
        self.convex = convex
        self.initial = np.zeros(dim) if start is None else np.asarray(start, np.float64)
        if self.initial.shape != (dim,) or not np.all(np.isfinite(self.initial)):
            raise InputError("start", start, f"{dim} finite numbers")
        self.test = None if test is None else test.with_dtype(self.dtype)
        self.width = _check_loss(loss, self.data, dim, self.dtype)
        if batch is not None:
            _check_batch(batch, len(sizes), self.data, self.width)

    @property
    def agents(self) -> int:
        """Number of agents."""
        return self.sizes.shape[0]

    @property
    def dim(self) -> int:
        """Dimension of x."""
        return self.parameters

    @property
    def start(self) -> Float[np.ndarray, " dim"]:
        """x_0 of all agents where a simulation gives none."""
        return np.asarray(self.initial)

    @property
    def has_optimum(self) -> bool:
        """Whether F was said to be convex."""
        return self.convex

    @property
    def held_out(self) -> HeldOut | None:
        """The test set, if there is one."""
        return self.test

    def gradient(
        self, x: Float[Array, "agents dim lanes"], draws: Draws
    ) -> Float[Array, "agents dim lanes"]:
        """ρ_i times the mean of ∇loss over the minibatch or all own samples, plus penalty · x."""
        x = x.astype(self.dtype)
        g = self._exact(x) if self.batch is None else self._minibatch(x, draws, self.batch)
        scale = self._scale().astype(self.dtype)
        return scale[:, None, None] * g + jnp.asarray(self.penalty, self.dtype) * x

    def _minibatch(
        self, x: Float[Array, "agents dim lanes"], draws: Draws, batch: int
    ) -> Float[Array, "agents dim lanes"]:
        """The mean of ∇loss over samples drawn with replacement."""
        first = self._first_rows().astype(jnp.int32)
        rows = draws.minibatch(self.sizes, batch) + first[:, None, None]

        def of_agent(x: Array, rows: Array) -> Array:
            return jax.grad(lambda x: jnp.mean(self._losses(x, self._samples(rows))))(x)

        return jax.vmap(jax.vmap(of_agent, in_axes=-1, out_axes=-1))(x, rows)

    def _exact(self, x: Float[Array, "agents dim lanes"]) -> Float[Array, "agents dim lanes"]:
        """The mean of ∇loss over all own samples."""
        position = jnp.arange(self.largest)
        sizes = jnp.asarray(self.sizes)[:, None]
        # Agents with fewer samples than the largest repeat their last row, which is not counted.
        rows = self._first_rows()[:, None] + jnp.minimum(position, sizes - 1)
        weights = ((position < sizes) / sizes).astype(self.dtype)

        def of_agent(x: Array, rows: Array, weights: Array) -> Array:
            samples = self._samples(rows)
            return jax.grad(lambda x: jnp.dot(weights, self._losses(x, samples)))(x)

        def of_lane(x: Array) -> Array:
            return jax.vmap(of_agent)(x, rows, weights)

        return over_lanes(of_lane, x, self.agents * self.largest * self.width)

    def _first_rows(self) -> Int64[Array, " agents"]:
        """The pooled row at which each agent's samples begin."""
        sizes = jnp.asarray(self.sizes)
        return jnp.cumsum(sizes) - sizes

    def _samples(self, rows: Array) -> Any:
        """Pooled rows; every row exists, so the gather needs no bounds check."""

        def take(leaf: Any) -> Array:
            return jnp.asarray(leaf).at[rows].get(mode="promise_in_bounds")

        return jax.tree.map(take, self.data)

    def _losses(self, x: Array, samples: Any) -> Array:
        """One loss a sample."""
        return jax.vmap(self.loss, in_axes=(None, 0))(x, samples)

    def _scale(self) -> Float[Array, " agents"]:
        """ρ_i, the factor of agent i's mean loss in f_i."""
        sizes = jnp.asarray(self.sizes)
        return (
            self.agents * sizes / jnp.sum(sizes) if self.weighting == "samples" else sizes / sizes
        )

    def objective(self, x: Float[Array, "*points dim lanes"]) -> Float[Array, "*points lanes"]:
        """(1/n) Σ_i (ρ_i/m_i) Σ_s loss(x, sample_is) + ½ penalty ‖x‖²."""
        samples = jax.tree.leaves(self.data)[0].shape[0]
        sizes = jnp.asarray(self.sizes)
        weights = jnp.repeat(
            self._scale() / (self.agents * sizes), sizes, total_repeat_length=samples
        ).astype(self.dtype)

        def of_lane(x: Array) -> Array:
            return jnp.dot(weights, self._losses(x, self.data)) + self.penalty / 2 * jnp.dot(x, x)

        # All points of all lanes are the columns of one matrix, so that a linear model is one
        # matrix product.
        columns = jnp.moveaxis(x, -2, 0).reshape(self.dim, -1)
        values = over_lanes(of_lane, columns, samples * self.width)
        return values.reshape(*x.shape[:-2], x.shape[-1])

    def excess(
        self, x: Float[Array, "*points dim lanes"], optimum: Optimum
    ) -> Float[Array, "*points lanes"]:
        """F(x) − F*, a difference: values below about 1e-16 F* are rounding."""
        return self.objective(x) - optimum.value

    def solve(self) -> Optimum:
        """The optimum by L-BFGS in float64, or none where F is not convex.

        Only ‖∇F‖ is checked: where F is not convex although it was said to be, or falls forever
        (separable classes without a penalty), x* is merely a point that flat. Raises OptimumError
        if ‖∇F‖ < 1e-10 is not reached.
        """
        if not self.convex:
            return Optimum.none(self.dim, "F is not convex")
        return minimize(self.with_dtype(jnp.dtype("float64")))

    def describe(self) -> dict[str, Any]:
        """Sizes, samples of each agent, batch, weighting and penalty."""
        return {
            "problem": self.name,
            "agents": self.agents,
            "dim": self.dim,
            "samples": self.sizes.tolist(),
            "batch": self.batch,
            "weighting": self.weighting,
            "penalty": float(self.penalty),
            **{key: np.asarray(value).tolist() for key, value in self.details.items()},
            **({} if self.test is None else {"test": self.test.describe()}),
        }

    def without_noise(self) -> "EmpiricalRisk":
        """The same losses with gradients over all samples of an agent."""
        return self._copy(None, self.dtype)

    def with_dtype(self, dtype: jnp.dtype) -> "EmpiricalRisk":
        """The same losses with data and gradients in another precision."""
        return self._copy(self.batch, dtype)

    def _copy(self, batch: int | None, dtype: jnp.dtype) -> "EmpiricalRisk":
        ends = np.cumsum(np.asarray(self.sizes))[:-1]
        leaves, structure = jax.tree.flatten(self.data)
        parts = [np.split(np.asarray(leaf), ends) for leaf in leaves]
        return type(self)(
            self.loss,
            [jax.tree.unflatten(structure, own) for own in zip(*parts, strict=True)],
            batch,
            dim=self.parameters,
            weighting=self.weighting,
            penalty=self.penalty,
            dtype=dtype,
            name=self.name,
            details={key: np.asarray(value) for key, value in self.details.items()},
            convex=self.convex,
            start=np.asarray(self.initial),
            test=self.test,
        )


def _pool(data: Any) -> tuple[Any, Int64[np.ndarray, " agents"]]:
    """All samples in one pytree of NumPy arrays, agent after agent, and the agents' counts."""
    if not isinstance(data, list | tuple) or len(data) == 0:
        raise InputError("data", data, "a list with one pytree of arrays [samples, ...] an agent")
    structure = jax.tree.structure(data[0])
    entries: list[list[np.ndarray]] = []
    for agent, entry in enumerate(data):
        if jax.tree.structure(entry) != structure:
            raise InputError(f"data[{agent}]", entry, f"the structure of data[0], {structure}")
        entries.append(_check_entry(agent, entry))
    pooled = []
    for leaf, column in enumerate(zip(*entries, strict=True)):
        rows = [(array.shape[1:], array.dtype.kind) for array in column]
        for agent, row in enumerate(rows):
            if row != rows[0]:
                raise InputError(
                    f"data[{agent}], leaf {leaf}", row, f"row shape and kind of data[0], {rows[0]}"
                )
        pooled.append(np.concatenate(column))
    sizes = np.array([entry[0].shape[0] for entry in entries], np.int64)
    return jax.tree.unflatten(structure, pooled), sizes


def _check_entry(agent: int, entry: Any) -> list[np.ndarray]:
    """The leaves of one agent's data."""
    where = f"data[{agent}]"
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(entry)]
    if not leaves or any(leaf.ndim == 0 for leaf in leaves):
        raise InputError(where, entry, "arrays [samples, ...]")
    counts = [leaf.shape[0] for leaf in leaves]
    if min(counts) != max(counts):
        raise InputError(where, counts, "the same number of samples in every array")
    if counts[0] == 0:
        raise InputError(where, entry, "at least one sample")
    for leaf in leaves:
        if leaf.dtype.kind not in "fiub":
            raise InputError(where, leaf.dtype, "floating-point, integer or boolean arrays")
        if leaf.dtype.kind == "f" and not np.all(np.isfinite(leaf)):
            raise InputError(where, leaf, "finite numbers")
    return leaves


def _check_loss(loss: Callable[..., Any], data: Any, dim: int, dtype: jnp.dtype) -> int:
    """The loss accepts one sample and x [dim], and is one real number; the width it needs."""
    sample = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), data)
    try:
        result = jax.eval_shape(loss, jax.ShapeDtypeStruct((dim,), dtype), sample)
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(
            "loss", loss, f"a JAX function of x [{dim}] and one sample, which raised: {error}"
        ) from error
    shape, kind = getattr(result, "shape", None), getattr(result, "dtype", None)
    if shape != () or kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise InputError("loss", result, "one real number a sample, a floating-point scalar")
    return values_a_sample(loss, jax.ShapeDtypeStruct((dim,), dtype), data)


def _check_batch(batch: int, agents: int, data: Any, width: int) -> None:
    """Refuse a minibatch that no block has memory for, however few its lanes."""
    row = max(width, *(int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(data)))
    most = max(1, _MOST_DRAWN // (_LEAST_LANES * agents * row))
    if batch > most:
        accepted = f"at most {most}: minibatches of {_MOST_DRAWN} numbers in {_LEAST_LANES} lanes"
        raise InputError("batch", batch, accepted)
