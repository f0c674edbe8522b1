"""Reference optima of problems without a closed form."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from dpe_jax.errors import OptimumError
from dpe_jax.problems.base import Optimum, Problem

GRADIENT_NORM = 1e-10
"""A reference optimum has ‖∇F(x*)‖ below this."""

_ITERATIONS = 2000
_NEWTON_STEPS = 20
_NEWTON_DIM = 500
"""Up to this d a Hessian is small enough to end with Newton steps."""


def minimize(problem: Problem) -> Optimum:
    """A minimum of F from x = 0: L-BFGS, then Newton steps if it stalls above 1e-10.

    For a convex F it is the optimum; otherwise only a stationary point is promised. Float64 if the
    problem is. Raises OptimumError if ‖∇F‖ < 1e-10 is not reached.
    """
    x, used = _lbfgs(problem, jnp.zeros(problem.dim))
    value, norm = _evaluate(problem, x)
    newton = 0
    # The Newton step reaches the last digits, where a line search no longer sees F decrease.
    while not norm < GRADIENT_NORM and newton < _NEWTON_STEPS and problem.dim <= _NEWTON_DIM:
        closer = x - _newton_step(problem, x)
        closer_value, closer_norm = _evaluate(problem, closer)
        newton += 1
        if not closer_norm < norm:
            break
        x, value, norm = closer, closer_value, closer_norm
    if not norm < GRADIENT_NORM:
        raise OptimumError(
            f"‖∇F‖ = {float(norm):.3g} after {int(used)} L-BFGS and {newton} Newton steps, above "
            f"{GRADIENT_NORM:g}: F may have no minimum (add a penalty) or be badly scaled "
            "(standardise the data)"
        )
    method = "L-BFGS" if newton == 0 else f"L-BFGS and {newton} Newton steps"
    return Optimum(np.asarray(x), float(value), float(norm), method)


def _at_point(problem: Problem, x: Float[Array, " dim"]) -> Float[Array, ""]:
    return problem.objective(x[:, None])[0]


@eqx.filter_jit
def _lbfgs(problem: Problem, x0: Float[Array, " dim"]) -> tuple[Float[Array, " dim"], Any]:
    """The last iterate of optax's L-BFGS with zoom line search, and the iterations used."""

    def objective(x: Float[Array, " dim"]) -> Float[Array, ""]:
        return _at_point(problem, x)

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def unfinished(carry: Any) -> Any:
        _, _, norm, used = carry
        # NaN compares false and ends the loop; infinity is the start.
        return (norm >= GRADIENT_NORM) & (used < _ITERATIONS)

    def iterate(carry: Any) -> Any:
        x, state, _, used = carry
        value, gradient = value_and_grad(x, state=state)
        updates, state = solver.update(
            gradient, state, x, value=value, grad=gradient, value_fn=objective
        )
        # The line search leaves the gradient at the new x in the state.
        norm = jnp.linalg.norm(optax.tree.get(state, "grad"))
        return optax.apply_updates(x, updates), state, norm, used + 1

    start = (x0, solver.init(x0), jnp.asarray(jnp.inf), jnp.asarray(0))
    x, _, _, used = jax.lax.while_loop(unfinished, iterate, start)
    return x, used


@eqx.filter_jit
def _evaluate(
    problem: Problem, x: Float[Array, " dim"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """F and ‖∇F‖ at x."""
    value, gradient = jax.value_and_grad(lambda x: _at_point(problem, x))(x)
    return value, jnp.linalg.norm(gradient)


@eqx.filter_jit
def _newton_step(problem: Problem, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """(∇²F)⁻¹ ∇F at x."""

    def objective(x: Float[Array, " dim"]) -> Float[Array, ""]:
        return _at_point(problem, x)

    return jnp.linalg.solve(jax.hessian(objective)(x), jax.grad(objective)(x))


def hessian(problem: Problem, x: Float[Array, " dim"]) -> Float[np.ndarray, "dim dim"]:
    """∇²F at x, symmetric to the last bit."""
    found = np.asarray(_columns(problem, x))
    return (found + found.T) / 2


@eqx.filter_jit
def _columns(problem: Problem, x: Float[Array, " dim"]) -> Float[Array, "dim dim"]:
    slope = jax.grad(lambda x: _at_point(problem, x))
    # One after another: all at once need d copies of whatever the gradient needs.
    return jax.lax.map(lambda unit: jax.jvp(slope, (x,), (unit,))[1], jnp.eye(x.shape[0]))
