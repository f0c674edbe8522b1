"""Many configurations as lanes of one program: which may share a block, and how.

A method's and a problem's numbers are Python floats on the host, where they are checked and
described. In a program they are arrays, one number for all lanes of a block or one a lane, so that
another configuration is other input to the same program and not another program. What is no number
(the kind of rounding, a family of multipliers, a count) is the program's structure.
"""

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int

from dpe_jax.schedules import Schedule

M = TypeVar("M", bound=eqx.Module)


def without_schedules(module: M) -> M:
    """A copy whose schedules are gone: a step reads their tabulated values."""
    return jax.tree.map(
        lambda leaf: None if isinstance(leaf, Schedule) else leaf, module, is_leaf=_is_schedule
    )


def _is_schedule(leaf: object) -> bool:
    return isinstance(leaf, Schedule)


def structure(module: eqx.Module) -> Hashable:
    """What two modules must have in common to be inputs of one program."""
    leaves, tree = jax.tree.flatten(module)
    return tree, tuple(_kind(leaf) for leaf in leaves)


def _kind(leaf: object) -> Hashable:
    if isinstance(leaf, float):
        return "number"
    if isinstance(leaf, np.ndarray | jax.Array):
        return leaf.shape, str(leaf.dtype)
    return type(leaf).__qualname__, leaf


def contents(module: Any) -> Hashable:
    """What two modules of one structure must have in common to share a block: their arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(module):
        if isinstance(leaf, np.ndarray | jax.Array):
            digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def numbers(module: eqx.Module) -> list[float]:
    """The numbers of a module, in the order of its leaves."""
    return [leaf for leaf in jax.tree.leaves(module) if isinstance(leaf, float)]


def stacked(modules: Sequence[M], lane: Int[np.ndarray, " lanes"] | None) -> M:
    """One module for a block: its numbers as arrays, [] if there is one configuration.

    With several, `lane` tells each lane's configuration and the arrays are [lane]. Arrays of a
    method (such as the fit of `Gamma`) get the lanes as a last axis.
    """

    def stack(*leaves: Any) -> Any:
        if not isinstance(leaves[0], float | np.ndarray | jax.Array):
            return leaves[0]
        return spread(np.stack([np.asarray(leaf) for leaf in leaves], axis=-1), lane)

    return jax.tree.map(stack, *modules)


def shared(modules: Sequence[M], lane: Int[np.ndarray, " lanes"] | None, varying: bool) -> M:
    """One module for a block whose arrays are the same in all; its numbers only if `varying`.

    A problem of a user's own may decide on a number in Python, which an array would not allow.
    """
    if not varying:
        return modules[0]
    of_each = [eqx.filter(module, lambda leaf: isinstance(leaf, float)) for module in modules]
    return eqx.combine(stacked(of_each, lane), modules[0])


def spread(
    values: Float[np.ndarray, "*shape configurations"], lane: Int[np.ndarray, " lanes"] | None
) -> jax.Array:
    """Each lane's own of some values, or the only one."""
    return jax.device_put(values[..., 0] if lane is None else values[..., lane])
