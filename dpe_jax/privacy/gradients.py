"""Attacks on the target's gradients, as one observer of the scan.

Whoever knows the target's state x̂ and what its neighbors' messages add to it sees

    m^k = x̂^k + gain Σ_j w_tj (y_j − y_t) − x̂^{k+1} = Λ^k g^k + what messages hide,

and takes ĝ^k = m^k / λ̄^k for the gradient: exactly right with one public stepsize, right in the
mean with private random ones of known mean. Everything here is made of these ĝ^k.
"""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int64

from dpe_jax import lanes
from dpe_jax.algorithms import Disclosure, EncryptedDSGD
from dpe_jax.privacy.replies import guessed, replies
from dpe_jax.privacy.views import Knowledge
from dpe_jax.watching import Sight, Watcher

MOST_REGRESSED = 16
"""Coordinates up to which m is regressed on x: the normal equations are held for every run."""

CONTROL_STREAM = 5
"""Random signs that make an observation worthless, for negative controls."""

OnTarget = Float[Array, "dim lanes"]


class Truth(eqx.Module):
    """What estimates of the target's cost are compared with."""

    goal: Float[np.ndarray, " dim"] | Float[Array, " dim"]
    """∇f_t(x*); NaN where no x* is known."""
    probes: Float[np.ndarray, "probes dim"] | Float[Array, "probes dim"]
    """x_0 of the target, and x* if it is known: a regression has to tell the gradient there."""
    answers: Float[np.ndarray, "probes dim"] | Float[Array, "probes dim"]
    """∇f_t there."""


class Window(eqx.Module):
    """What averaging adds up, from its first iteration on."""

    estimates: OnTarget
    """Σ ĝ."""
    gradients: OnTarget
    """Σ g."""
    weighted_estimates: OnTarget
    """Σ m: of weights λ̄, for which what messages hide cancels between iterations."""
    weighted_gradients: OnTarget
    """Σ λ̄ g."""
    weights: Float[Array, " lanes"]
    """Σ λ̄."""
    largest: OnTarget
    smallest: OnTarget


class Held(eqx.Module):
    """What is carried."""

    before: OnTarget
    """x̂^{k−1} + gain Σ_j w_tj (y_j − y_t), of which m^{k−1} is short of x̂^k."""
    state: OnTarget
    """x̂^{k−1}."""
    gradient: OnTarget
    """g^{k−1}."""
    mask: OnTarget
    """What insiders know to be added to it."""
    stepsize: Float[Array, " lanes"]
    window: Window
    products: Float[Array, "weights known known lanes"] | None
    """Σ w z zᵀ of z = (1, x̂ − origin), for the regression: with w = 1, and with w = λ̄²."""
    responses: Float[Array, "weights known dim lanes"] | None
    """Σ w z ĝᵀ."""


@final
class GradientWatch(Watcher):
    """One view on one target's gradients; see `attacks.gradient_curves` for what is read."""

    target: int = eqx.field(static=True)
    knowledge: Knowledge = eqx.field(static=True)
    """Of a view that has a source."""
    truth: Truth
    start: int = eqx.field(static=True)
    """The first iteration that is averaged over."""
    coordinates: tuple[int, ...] = eqx.field(static=True)
    """Those of which single estimates are recorded."""
    support: tuple[float, float] = eqx.field(static=True)
    """Bounds of the multipliers."""
    control: bool = eqx.field(static=True, default=False)
    """Whether random signs take all that m says of g: for negative controls."""

    def begin(self, agents: int, dim: int, lanes: int) -> Held:
        """Nothing is known."""
        zero, one = jnp.zeros((dim, lanes)), jnp.zeros(lanes)
        infinite = jnp.full((dim, lanes), jnp.inf)
        window = Window(zero, zero, zero, zero, one, -infinite, infinite)
        products = responses = None
        if self._regresses(dim):
            products = jnp.zeros((2, dim + 1, dim + 1, lanes))
            responses = jnp.zeros((2, dim + 1, dim, lanes))
        return Held(zero, zero, zero, zero, one, window, products, responses)

    def look(self, watched: Held, sight: Sight) -> Held:
        """Complete iteration k − 1, and begin k."""
        seen, state, mixing = self._seen(sight)
        held = self._completed(watched, sight, state)
        target = self.target
        # RSS mixes the messages, and hides the state in them: from there the update starts.
        start = seen.said[target] if self.knowledge.source == "messages" else state
        return Held(
            start + mixing,
            state,
            sight.step.gradient[target],
            seen.mask[target],
            jnp.broadcast_to(seen.stepsize, held.stepsize.shape),
            held.window,
            held.products,
            held.responses,
        )

    def read(self, watched: Held, sight: Sight) -> dict[str, Float[Array, "*shape lanes"]]:
        """Of iteration k − 1 and the averages up to it; NaN where there is none yet."""
        _, state, _ = self._seen(sight)
        held = self._completed(watched, sight, state)
        estimate, g = self._estimate(watched, sight, state), watched.gradient
        some = jnp.array(self.coordinates)
        values: dict[str, Float[Array, "*shape lanes"]] = {
            "estimate": estimate[some],
            "gradient": g[some],
            "error": lanes.total((estimate - g) ** 2, 0),
            "square": lanes.total(g**2, 0),
            # For the best multiple of ĝ, which whoever knows second moments can take.
            "cross": lanes.total(estimate * g, 0),
            "power": lanes.total(estimate**2, 0),
            # Where m is 0 a coin is thrown.
            "signs_right": lanes.total((jnp.sign(estimate) * jnp.sign(g) + 1) / 2 * (g != 0), 0),
            "signs": lanes.total((g != 0).astype(g.dtype), 0),
        }
        values = {name: jnp.where(sight.k > 0, value, jnp.nan) for name, value in values.items()}
        values |= self._averages(held.window, sight.k - self.start)
        values |= self._running(held.window, g, sight.k - self.start)
        if held.products is not None and held.responses is not None:
            values["regression"] = self._predicted(held.products, held.responses)
        return values

    def _regresses(self, dim: int) -> bool:
        return dim <= MOST_REGRESSED and len(self.truth.probes) > 0

    def _seen(self, sight: Sight) -> tuple[Disclosure, OnTarget, OnTarget]:
        """What is disclosed, x̂ of the target, and what its neighbors' messages add to it."""
        target, exchange, step = self.target, sight.exchange, sight.step
        inside = jnp.array(
            [agent in self.knowledge.insiders for agent in range(len(self.knowledge.heard))]
        )
        algorithm = sight.algorithm
        seen = algorithm.disclosed(step, exchange, sight.draws, sight.row, inside)
        if self.knowledge.source == "states":
            x = step.position[target]
            unit = _lattice_unit(sight)
            return seen, x, step.mixing[target].astype(x.dtype) * unit
        said = seen.said
        products, mean = None, 1.0
        if isinstance(algorithm, EncryptedDSGD):
            products = algorithm.factors.products(sight.draws, exchange.links)
            mean = algorithm.factors.mean
        mixing = jnp.zeros_like(said[target])
        for other, link, c in self.knowledge.around:
            if self.knowledge.heard[other]:
                difference = said[other] - said[target]
                if products is not None:
                    difference = difference * (products[link] / mean**2)
                mixing = mixing + c * exchange.unit * difference
        state = seen.state[target]
        if self.knowledge.source == "replies":
            state = self._guessed(sight)
        return seen, state, jnp.asarray(seen.gain) * mixing

    def _guessed(self, sight: Sight) -> OnTarget:
        """x̂ from replies with private factors."""
        algorithm = sight.algorithm
        assert isinstance(algorithm, EncryptedDSGD)  # only its views have this source
        own, received, c = replies(sight, algorithm.factors, self.target, self.knowledge)
        return guessed(own, received, c, algorithm.factors) * algorithm.delta

    def _estimate(self, watched: Held, sight: Sight, state: OnTarget) -> OnTarget:
        """ĝ^{k−1}."""
        moved = watched.before - state
        if self.control:
            words = sight.draws.words(CONTROL_STREAM, moved.shape[0], 1)[0][:, 0]
            moved = jnp.where(words >> 31 == 0, moved, -moved)
        return moved / jnp.where(watched.stepsize == 0, 1.0, watched.stepsize) - watched.mask

    def _completed(self, watched: Held, sight: Sight, state: OnTarget) -> Held:
        """With iteration k − 1 added to what is summed up."""
        estimate = self._estimate(watched, sight, state)
        one, weight = (sight.k > self.start).astype(estimate.dtype), watched.stepsize
        held = watched.window
        weight_now = jnp.where(sight.k > self.start, weight, 0.0)
        window = Window(
            held.estimates + one * estimate,
            held.gradients + one * watched.gradient,
            held.weighted_estimates + weight_now * estimate,
            held.weighted_gradients + weight_now * watched.gradient,
            held.weights + weight_now,
            jnp.where(one > 0, jnp.maximum(held.largest, estimate), held.largest),
            jnp.where(one > 0, jnp.minimum(held.smallest, estimate), held.smallest),
        )
        products, responses = watched.products, watched.responses
        if products is not None and responses is not None:
            z = jnp.concatenate(
                [jnp.ones_like(state[:1]), watched.state - self.truth.probes[0][:, None]]
            )
            # What messages hide is divided by λ̄, so that later iterations may say less of g.
            w = jnp.stack([jnp.ones_like(weight), weight**2])
            w = jnp.where(sight.k > 0, w, 0.0)[:, None, None]
            products = products + w * (z[:, None] * z[None])
            responses = responses + w * (z[:, None] * estimate[None])
        return eqx.tree_at(
            lambda held: (held.window, held.products, held.responses),
            watched,
            (window, products, responses),
            is_leaf=lambda leaf: leaf is None,
        )

    def _averages(
        self, window: Window, count: Int64[Array, ""]
    ) -> dict[str, Float[Array, "*shape lanes"]]:
        """Squared errors of averages, and what they are relative to."""
        enough = count > 0
        T = jnp.maximum(count, 1).astype(jnp.float64)
        weights = jnp.where(window.weights == 0, 1.0, window.weights)
        mean, weighted = window.gradients / T, window.weighted_gradients / weights
        goal = jnp.asarray(self.truth.goal)[:, None]
        found = {
            "average": (window.estimates / T, mean),
            "sum": (window.weighted_estimates / weights, weighted),
            "likelihood": (self._most_likely(window), mean),
        }
        values = {"mean_square": lanes.total(mean**2, 0)}
        for name, (estimate, own) in found.items():
            values[f"{name}_error"] = lanes.total((estimate - own) ** 2, 0)
            values[f"{name}_goal_error"] = lanes.total((estimate - goal) ** 2, 0)
        return {name: jnp.where(enough, value, jnp.nan) for name, value in values.items()}

    def _running(
        self, window: Window, g: OnTarget, count: Int64[Array, ""]
    ) -> dict[str, Float[Array, "*shape lanes"]]:
        """How far Σ m / Σ λ̄ is from the last gradient itself, which it hides less and less."""
        mean = window.weighted_estimates / jnp.where(window.weights == 0, 1.0, window.weights)
        right = (jnp.sign(mean) * jnp.sign(g) + 1) / 2 * (g != 0)
        values = {
            "running_error": lanes.total((mean - g) ** 2, 0),
            "running_signs_right": lanes.total(right, 0),
        }
        return {name: jnp.where(count > 0, value, jnp.nan) for name, value in values.items()}

    def _most_likely(self, window: Window) -> OnTarget:
        """The least |g| with which every ĝ/g lies in the multipliers' support (derived).

        That is the maximum of the likelihood where multipliers are uniform and g is constant.
        """
        low, high = self.support
        if not np.isfinite(high):
            return jnp.full_like(window.largest, jnp.nan)
        positive, negative = window.largest / high, window.smallest / high
        if low >= 0:
            return jnp.where(window.largest >= -window.smallest, positive, negative)
        positive = jnp.maximum(positive, window.smallest / low)
        negative = jnp.minimum(negative, window.largest / low)
        return jnp.where(positive <= -negative, positive, negative)

    def _predicted(
        self,
        products: Float[Array, "weights known known lanes"],
        responses: Float[Array, "weights known dim lanes"],
    ) -> Float[Array, "weights probes lanes"]:
        """Squared relative error of the regressions' gradient at each probe."""
        A, B = jnp.moveaxis(products, -1, 0), jnp.moveaxis(responses, -1, 0)
        size = A.shape[-1]
        trace = jnp.trace(A, axis1=-2, axis2=-1)[..., None, None]
        ridge = jnp.where(trace > 0, 1e-12 * trace, 1.0) * jnp.eye(size)
        coefficients = jnp.linalg.solve(A + ridge, B)
        z = jnp.concatenate(
            [
                jnp.ones((len(self.truth.probes), 1)),
                jnp.asarray(self.truth.probes) - self.truth.probes[0],
            ],
            axis=1,
        )
        predicted = jnp.einsum("pk,lwkd->wpdl", z, coefficients)
        answers = jnp.asarray(self.truth.answers)[..., None]
        return jnp.sum((predicted - answers) ** 2, axis=2) / jnp.sum(answers**2, axis=1)


def _lattice_unit(sight: Sight) -> float | Array:
    """What integers of a step are multiples of, in units of x."""
    algorithm = sight.algorithm
    return algorithm.delta / 2.0**32 if isinstance(algorithm, EncryptedDSGD) else 1.0
