"""Every annotation of the package is checked at run time while the tests run."""

import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

# What a user's home folder holds must not matter. All tests of a session, also those that start
# processes of their own, find what another one has compiled: that is a third of their time. With
# DPE_JAX_TEST_PROGRAMS several sessions do.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.get(
        "DPE_JAX_TEST_PROGRAMS"
    ) or tempfile.mkdtemp(prefix="dpe-jax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

# Output is as wide as where nobody says how wide it is to be, which pytest-xdist does.
os.environ.pop("COLUMNS", None)

import pytest
from jaxtyping import install_import_hook

install_import_hook("dpe_jax", "beartype.beartype")


def pytest_unconfigure() -> None:
    """Remove what was compiled, once all workers are done with it."""
    if "PYTEST_XDIST_WORKER" not in os.environ and "DPE_JAX_TEST_PROGRAMS" not in os.environ:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture
def same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test makes keys once for each length and number: their primes are tested elsewhere."""
    from dpe_jax.paillier.setup import Encryption

    made = functools.cache(Encryption.generate)
    monkeypatch.setattr(Encryption, "generate", lambda self, agents: made(self, agents))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three parts of `dpe reproduce` that simulate nothing, in place of all that there are."""
    import small_parts

    return small_parts.parts(monkeypatch)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished reproduction of such parts."""
    import small_parts

    from dpe_jax import cli

    out = tmp_path_factory.mktemp("template") / "out"
    with pytest.MonkeyPatch.context() as patch:
        small_parts.parts(patch)
        assert cli.main(small_parts.arguments(out)) == 0
    return out


@pytest.fixture
def finished(small: Any, template: Path, tmp_path: Path) -> Path:
    """A copy of it, as if its parts had just been made."""
    for one in small.values():
        one.made = 1
    return shutil.copytree(template, tmp_path / "out")
