"""Deep leakage from gradients: pictures whose gradient is what was observed."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Int8, Int64

from dpe_jax.errors import InputError
from dpe_jax.privacy.images.metrics import Metric, SquaredError
from dpe_jax.privacy.images.networks import Classifier
from dpe_jax.problems.digits import CLASSES

CONVERGED, SETTLED, UNFINISHED, NON_FINITE = 0, 1, 2, 3
"""Status of a lane: the distance reached that of the truth; it fell no further; it ran out of
iterations; it is NaN or infinite."""

STATUS_NAMES = ("converged", "settled", "unfinished", "non-finite")

_STREAM = 7
"""Keeps the draws of starts apart from others with the same seed."""

_START_SPREAD = 0.2
_LEAST_DECREASE = 1e-3
_LARGEST_COUNTED = 1e-2

Candidate = tuple[Float[Array, "*lanes pixels"], Float[Array, "*lanes classes"] | None]
"""A picture, and the logits of its label; None where the label is given."""


def _array(value: object) -> Float[Array, "..."]:
    # An array, so that another number is other input to the same program.
    return jnp.asarray(value, jnp.float64)


class Prior(eqx.Module):
    """What an attacker knows of pictures of the kind: independent normal pixels."""

    mean: Float[Array, " pixels"] = eqx.field(converter=_array)
    variance: Float[Array, " pixels"] = eqx.field(converter=_array)

    def penalty(self, picture: Float[Array, " pixels"]) -> Float[Array, ""]:
        """Minus twice the log density, but for a constant."""
        return jnp.sum(jnp.square(picture - self.mean) / self.variance)


def _integer(value: object) -> Int[Array, ""]:
    return jnp.asarray(value, jnp.int64)


class Matching(eqx.Module):
    r"""The attack: min over (x′, y′) of the distance of ∇ℓ(x′, y′) to what was observed.

    Zhu, Liu, Han 2019, "Deep leakage from gradients", NeurIPS: L-BFGS on the picture and the logits
    of a soft label, batch 1. Here with a line search (Moré–Thuente's zoom, of optax), starts
    N(½, 0.2²) for pixels and N(0, 1) for logits, all lanes in one program. With given labels only
    the picture is sought (Zhao, Mopuri, Bilen 2020, "iDLG").
    """

    network: Classifier
    metric: Metric = SquaredError()
    iterations: Int[Array, ""] = eqx.field(converter=_integer, default=300)
    """The most of them, in each stage of the metric."""

    memory: int = 30
    """Steps that L-BFGS remembers."""

    patience: Int[Array, ""] = eqx.field(converter=_integer, default=20)
    """So many iterations in a row, each of which gains almost nothing, end a lane."""

    line_search: int = 15
    """The most evaluations of an iteration."""

    clip: Float[Array, ""] | None = eqx.field(
        converter=lambda bound: None if bound is None else _array(bound), default=None
    )
    """The norm that gradients were clipped to before use: the attacker clips as well."""

    prior: Prior | None = None
    """Added to a metric that is a mean of minus twice log likelihoods; not with other metrics."""

    def __check_init__(self) -> None:
        for name in ("iterations", "memory", "patience", "line_search"):
            if int(getattr(self, name)) < 1:
                raise InputError(name, int(getattr(self, name)), "a positive number")

    def distance(
        self,
        candidate: Candidate,
        observed: Float[Array, "times dim"],
        parameters: Float[Array, "times dim"],
        wanted: Float[Array, " classes"] | None,
        floor: Float[Array, ""],
    ) -> Float[Array, ""]:
        """What is minimised."""
        picture, logits = candidate
        target = jnp.asarray(wanted) if logits is None else jax.nn.softmax(logits)
        gradient = self.candidate_gradient(parameters, picture, target)
        found = self.metric(gradient, observed, floor)
        return found if self.prior is None else found + self.prior.penalty(picture) / observed.size

    def candidate_gradient(
        self,
        parameters: Float[Array, "times dim"],
        picture: Float[Array, " pixels"],
        target: Float[Array, " classes"],
    ) -> Float[Array, "times dim"]:
        """What a candidate's gradient would be, at each of the observed times."""
        found = jax.vmap(self.network.gradient, (0, None, None))(parameters, picture, target)
        if self.clip is None:
            return found
        norms = jnp.sqrt(jnp.sum(jnp.square(found), axis=1, keepdims=True))
        return found * (self.clip / jnp.maximum(norms, self.clip))


class Reconstructions(NamedTuple):
    """What came back of each target: that of its restart with the least distance."""

    pictures: Float[np.ndarray, "targets pixels"]
    labels: Int64[np.ndarray, " targets"]
    """The likeliest class, or the label that was given."""
    distance: Float[np.ndarray, " targets"]
    status: Int8[np.ndarray, " targets"]
    """That of the chosen restart; NON_FINITE if all of them are, and then pictures are NaN."""
    iterations: Int64[np.ndarray, " targets"]
    restarts: Int64[np.ndarray, "targets restarts"]
    """The status of every restart."""
    distances: Float[np.ndarray, "targets restarts"]


class _Lanes(NamedTuple):
    candidate: Candidate
    optimizer: optax.OptState
    value: Float[Array, " lanes"]
    idle: Int[Array, " lanes"]
    active: Bool[Array, " lanes"]
    iterations: Int[Array, " lanes"]


def reconstruct(
    matching: Matching,
    observed: Float[Array, "targets times dim"],
    parameters: Float[Array, "times dim"] | Float[Array, "targets times dim"],
    *,
    seed: int = 0,
    restarts: int = 1,
    labels: Int[np.ndarray, " targets"] | None = None,
) -> Reconstructions:
    """Attack all targets from all starts in one call, and choose a restart for each target.

    `observed` is what the attacker has of each target's gradient at one or more times, and
    `parameters` the network's at these times, the same for all targets or (targets of several
    agents) of each. The choice among restarts is by distance: the truth is not looked at.
    """
    if restarts < 1:
        raise InputError("restarts", restarts, "a positive number")
    targets, dim = observed.shape[0], matching.network.dim
    if observed.shape[-1] != dim or parameters.shape[-1] != dim:
        raise InputError("observed", observed.shape, f"gradients of {dim} coordinates")
    pictures, logits = starts(matching.network, targets, restarts, seed)
    wanted = None
    if labels is not None:
        wanted = jnp.repeat(jax.nn.one_hot(labels, CLASSES, dtype=jnp.float64), restarts, axis=0)
    if parameters.ndim == 3:
        parameters = jnp.repeat(parameters, restarts, axis=0)
    found = _minimise(
        matching,
        (pictures, logits if labels is None else None),
        jnp.repeat(observed, restarts, axis=0),
        parameters,
        wanted,
    )
    (pictures, logits), value, status, iterations = jax.tree.map(np.asarray, found)
    value = np.where(status == NON_FINITE, np.inf, value).reshape(targets, restarts)
    best = np.arange(targets) * restarts + np.argmin(value, axis=1)
    if logits is not None:
        labels = np.argmax(logits[best], axis=1)
    chosen = status[best]
    return Reconstructions(
        np.where((chosen == NON_FINITE)[:, None], np.nan, pictures[best]),
        np.asarray(labels).astype(np.int64),
        np.where(chosen == NON_FINITE, np.nan, value.ravel()[best]),
        chosen.astype(np.int8),
        iterations[best].astype(np.int64),
        status.reshape(targets, restarts).astype(np.int64),
        value,
    )


def starts(
    network: Classifier, targets: int, restarts: int, seed: int
) -> tuple[Float[Array, "lanes pixels"], Float[Array, "lanes classes"]]:
    """Where all restarts of all targets begin; those of a target do not depend on the others."""
    drawn = [
        np.random.default_rng([seed, _STREAM, target]).normal(
            size=(restarts, network.pixels + CLASSES)
        )
        for target in range(targets)
    ]
    together = jnp.asarray(np.concatenate(drawn))
    pictures = 0.5 + _START_SPREAD * together[:, : network.pixels]
    return pictures, together[:, network.pixels :]


@eqx.filter_jit
def _minimise(
    matching: Matching,
    start: Candidate,
    observed: Float[Array, "lanes times dim"],
    parameters: Float[Array, "times dim"] | Float[Array, "lanes times dim"],
    wanted: Float[Array, "lanes classes"] | None,
) -> tuple[Candidate, Float[Array, " lanes"], Int[Array, " lanes"], Int[Array, " lanes"]]:
    """All lanes, through all stages; their distance, status and iterations."""
    optimizer = optax.lbfgs(
        memory_size=matching.memory,
        linesearch=optax.scale_by_zoom_linesearch(
            max_linesearch_steps=matching.line_search, initial_guess_strategy="one"
        ),
    )
    shared = None if parameters.ndim == 2 else 0

    def distance(candidate, observed, parameters, wanted, active, floor):
        found = matching.distance(candidate, observed, parameters, wanted, floor)
        # A lane that has ended has a flat zero to minimise: its line search ends at once.
        return jnp.where(active, found, 0.0)

    def advance(candidate, state, observed, parameters, wanted, active, floor):
        def function(candidate):
            return distance(candidate, observed, parameters, wanted, active, floor)

        value, slope = optax.value_and_grad_from_state(function)(candidate, state=state)
        updates, state = optimizer.update(
            slope, state, candidate, value=value, grad=slope, value_fn=function
        )
        return optax.apply_updates(candidate, updates), state, optax.tree.get(state, "value")

    every = jax.vmap(advance, (0, 0, 0, shared, 0, 0, None))

    def stage(carried, floor):
        candidate, alive, spent = carried
        count = alive.shape[0]
        lanes = _Lanes(
            candidate,
            jax.vmap(optimizer.init)(candidate),
            jnp.full(count, jnp.inf),
            jnp.zeros(count, jnp.int64),
            alive,
            jnp.zeros(count, jnp.int64),
        )

        def body(lanes: _Lanes) -> _Lanes:
            candidate, state, value = every(
                lanes.candidate, lanes.optimizer, observed, parameters, wanted, lanes.active, floor
            )
            value = jnp.where(lanes.active, value, lanes.value)
            # Of what is small a share, of what is large an amount: a likelihood may cross zero.
            counted = jnp.minimum(jnp.abs(lanes.value), _LARGEST_COUNTED)
            gained = ~(value >= lanes.value - _LEAST_DECREASE * counted)
            idle = jnp.where(gained, 0, lanes.idle + 1)
            going = jnp.isfinite(value) & (value > matching.metric.target)
            return _Lanes(
                _where(lanes.active, candidate, lanes.candidate),
                _where(lanes.active, state, lanes.optimizer),
                value,
                idle,
                lanes.active
                & going
                & (idle < matching.patience)
                & (lanes.iterations + 1 < matching.iterations),
                lanes.iterations + lanes.active,
            )

        lanes = jax.lax.while_loop(lambda lanes: jnp.any(lanes.active), body, lanes)
        finite = jnp.isfinite(lanes.value)
        spent = spent + lanes.iterations
        return (lanes.candidate, alive & finite, spent), (lanes.value, lanes.idle)

    count = observed.shape[0]
    floors = jnp.asarray(matching.metric.floors)
    begin = (start, jnp.ones(count, bool), jnp.zeros(count, jnp.int64))
    (candidate, alive, spent), (values, idle) = jax.lax.scan(stage, begin, floors)
    value = values[-1]
    settled = jnp.where(idle[-1] >= matching.patience, SETTLED, UNFINISHED)
    status = jnp.where(value <= matching.metric.target, CONVERGED, settled)
    return candidate, value, jnp.where(alive, status, NON_FINITE), spent


def _where(active: Bool[Array, " lanes"], new, old):
    """The new leaves of active lanes, the old ones of the others."""

    def chosen(a: Array, b: Array) -> Array:
        return jnp.where(active.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(chosen, new, old)
