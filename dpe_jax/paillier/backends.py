"""Backends by their names on the command line."""

from dpe_jax.errors import InputError
from dpe_jax.paillier.backend import Backend
from dpe_jax.paillier.fast import Fast
from dpe_jax.paillier.reference import Reference


def backend(name: str, randomness: str | None = None) -> Backend:
    """The backend `fast` (randomness `short`, its default, or `full`) or `phe` (`full` only)."""
    if name == "fast":
        return Fast("short" if randomness is None else randomness)
    if name != "phe":
        raise InputError("backend", name, "'fast' or 'phe'")
    if randomness not in (None, "full"):
        raise InputError("randomness", randomness, "'full' with the backend phe")
    return Reference()
