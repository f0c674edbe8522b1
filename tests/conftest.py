"""Every annotation of the package is checked at run time while the tests run."""

import functools
import os

# Tests measure and count compilations; what a user's home folder holds must not matter to them.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import pytest
from jaxtyping import install_import_hook

install_import_hook("dpe_jax", "beartype.beartype")


@pytest.fixture
def same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test makes keys once for each length and number: their primes are tested elsewhere."""
    from dpe_jax.paillier.setup import Encryption

    made = functools.cache(Encryption.generate)
    monkeypatch.setattr(Encryption, "generate", lambda self, agents: made(self, agents))
