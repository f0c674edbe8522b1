"""Compiled programs, kept from one command to the next."""

import hashlib
import os
import platform
from pathlib import Path

_LEAST_SECONDS = 0.0
"""Programs that compile faster than this are not kept: none, as to read one takes less still."""


_whole: Path | None = None
"""Set by `keep_programs`, like JAX's own settings of the process."""


def whole_programs() -> Path | None:
    """Where programs are kept that need not be traced anew (`whole`), if they are."""
    return _whole


def keep_programs() -> Path | None:
    """Let JAX keep compiled programs on disk, unless the user has told it where or not to.

    They lie under $XDG_CACHE_HOME/dpe-jax (or ~/.cache/dpe-jax), in a folder for each kind of
    processor: code that was compiled for one may not run on another that shares the home folder.
    Whole programs, which need not even be traced, lie below in a folder of their own.
    JAX's own variables JAX_COMPILATION_CACHE_DIR and JAX_ENABLE_COMPILATION_CACHE come first.
    Returns the folder, or None where none is used.
    """
    global _whole
    import jax

    if (
        "JAX_COMPILATION_CACHE_DIR" in os.environ
        or not jax.config.values["jax_enable_compilation_cache"]
    ):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(home) / "dpe-jax" / f"programs-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    _whole = folder / "whole"
    return folder


def digest_of_sources(folder: Path) -> str:
    """A digest of a package's sources and of where they lie in its folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)} ".encode() + path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    """A short name for the processor's kind and its instructions."""
    described = f"{platform.machine()} {platform.processor()}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = ("flags", "Features", "model name", "CPU part")
        described += "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
    except OSError:
        pass
    return hashlib.sha256(described.encode()).hexdigest()[:12]
