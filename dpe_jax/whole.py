"""Whole programs on disk: what an earlier command has traced, lowered and compiled.

JAX keeps what XLA compiles, but finds it by the lowered program, and Python's tracing and lowering
take several times as long as reading it. Here a program is found by what it is made from: the
package's sources, the versions below it, JAX's settings, the device, and the arguments with their
arrays as shapes. Whatever cannot be named that way (a function or a class from elsewhere, a
lambda, several devices, sources that have changed since they were read) is left to JAX, as
everything is unless `compilation.keep_programs` says where to keep programs: a process that
replaces parts of the package as it runs has to keep none.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import os
import pickle
import re
import secrets
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax.core import Tracer

import dpe_jax
from dpe_jax.compilation import digest_of_sources, whole_programs

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE = "dpe_jax"
_BELOW = (jax, jaxlib, eqx, np)
_PLAIN = (type(None), bool, int, str, bytes)
_DIGEST = hashlib.sha256().digest_size
_CALLS = re.compile(r"custom_call @(\w+)")
_LINEAR_ALGEBRA = "lapack_"
_UNUSED_SECONDS = 30 * 86400.0
"""After so long a program that no command has read is removed."""


class UnnamedError(ValueError):
    """Something of which no text says all that a program depends on."""


class _Program(NamedTuple):
    compiled: jax.stages.Compiled
    """A function of arrays alone, that returns a list of arrays."""
    returned: Any
    """The structure that they are of."""


class Whole(Generic[P, T]):
    """A function of arrays and structure, like `equinox.filter_jit`, kept whole where it can be."""

    def __init__(self, function: Callable[P, T], options: dict[str, Any] | None = None) -> None:
        functools.update_wrapper(self, function)
        self._function: Callable[..., Any] = function
        self._options = options
        self._name = f"{function.__module__}.{function.__qualname__} {options}"
        self.jitted: Callable[P, T] = eqx.filter_jit(function, compiler_options=options)  # pyright: ignore[reportCallIssue] (it has no types for it)
        self._programs: dict[str, _Program] = {}
        self._locks: dict[str, threading.Lock] = collections.defaultdict(threading.Lock)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> T:
        """The function's value, by a program that was kept or is to be kept."""
        folder = whole_programs()
        if (
            folder is None
            or len(jax.devices()) > 1
            or jax.process_count() > 1
            or jax.config.values["jax_disable_jit"]
        ):
            return self.jitted(*arguments, **named)
        given = arguments, named
        try:
            text = f"{_surroundings()} {self._name} {described(given)}"
            key = hashlib.sha256(text.encode()).hexdigest()
            # One thread makes a program, and others that need the same one wait for it.
            with self._locks[key]:
                if key not in self._programs:
                    path = folder / f"{self._function.__name__}-{key}"
                    self._programs[key] = _read(path) or self._made(given, path)
        except UnnamedError:
            return self.jitted(*arguments, **named)
        program = self._programs[key]
        arrays = jax.tree.leaves(eqx.filter(given, eqx.is_array))
        return jax.tree.unflatten(program.returned, program.compiled(*arrays))

    def _made(self, given: tuple[Any, Any], path: Path) -> "_Program":
        dynamic, static = eqx.partition(given, eqx.is_array)
        arrays, tree = jax.tree.flatten(dynamic)
        returned: list[Any] = []

        def of_arrays(*arrays: Any) -> list[Any]:
            arguments, named = eqx.combine(jax.tree.unflatten(tree, arrays), static)
            leaves, structure = jax.tree.flatten(self._function(*arguments, **named))
            if not all(map(eqx.is_array, leaves)):
                raise UnnamedError("a value that is no array")
            returned.append(structure)
            return leaves

        # A name that JAX has not kept: what it reads from its own store, XLA does not write whole
        # again, but without functions that it calls.
        of_arrays.__name__ = f"{self._function.__name__}_{secrets.token_hex(8)}"
        jitted = jax.jit(of_arrays, compiler_options=self._options)
        lowered = jitted.lower(*arrays)
        program = _Program(lowered.compile(), returned[-1])
        # Whatever stands against keeping it, it is used all the same.
        with contextlib.suppress(Exception):
            # JAX's copy has a name that never comes again.
            for copy in path.parent.parent.glob(f"jit_{of_arrays.__name__}-*"):
                copy.unlink()
            if _read_sources() == _sources() and _readable(lowered.as_text()):
                _write(path, program)
        return program


def _readable(lowered: str) -> bool:
    """Whether a program calls nothing outside it but what can be made ready where it is read."""
    return all(name.startswith(_LINEAR_ALGEBRA) for name in _CALLS.findall(lowered))


@functools.cache
def _ready_linear_algebra() -> None:
    """Let JAX find the functions of LAPACK, which it does as it lowers a call of one.

    A program that is read without them calls address 0.
    """
    jax.jit(jnp.linalg.inv).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))


def described(value: Any, traced: bool = True) -> str:
    """A text of all that a program depends on of a value that it is made from.

    Arrays are shapes and types where they are a program's inputs (`traced`), and elsewhere refused,
    as their values would be a part of it. `UnnamedError` for them and for what is not the
    package's own.
    """
    if isinstance(value, Tracer):
        raise UnnamedError("a tracer")
    if eqx.is_array(value):
        if not traced:
            raise UnnamedError("an array that is a part of the program")
        weak = isinstance(value, jax.Array) and value.weak_type
        return f"array({value.shape},{value.dtype},{weak})"
    if type(value) in _PLAIN:
        return f"{type(value).__qualname__}:{value!r}"
    if type(value) is float:
        return value.hex()
    if isinstance(value, np.dtype):
        return f"dtype:{value.name}"
    if type(value) is dict:
        items = (f"{described(k, False)}={described(v, traced)}" for k, v in value.items())
        return f"{{{','.join(items)}}}"
    if type(value) in (tuple, list):
        items = (described(item, traced) for item in value)
        return f"{type(value).__qualname__}({','.join(items)})"
    if isinstance(value, tuple):
        return f"{_named(type(value))}{described(tuple(value), traced)}"
    if isinstance(value, type | types.FunctionType):
        return _named(value)
    if type(value) is functools.partial:
        return f"partial{described((value.func, value.args, value.keywords), False)}"
    if dataclasses.is_dataclass(value):
        # Of other classes than equinox's JAX sees one constant, whatever is in them.
        fields = {
            field.name: described(
                getattr(value, field.name),
                traced and isinstance(value, eqx.Module) and not field.metadata.get("static"),
            )
            for field in dataclasses.fields(value)
        }
        return f"{_named(type(value))}{fields}"
    raise UnnamedError(type(value).__qualname__)


def _named(value: type | types.FunctionType) -> str:
    """The place where the package, or the standard types of arrays, has this very object."""
    module, name = value.__module__, value.__qualname__
    if module.split(".")[0] not in (_PACKAGE, "builtins", "numpy"):
        raise UnnamedError(f"{module}.{name}")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise UnnamedError(f"{module}.{name}")
    return f"{module}.{name}"


@functools.cache
def _sources() -> str:
    return _read_sources()


def _read_sources() -> str:
    """A digest of the package's sources and of the versions below, as they are in this process.

    `UnnamedError` where they are not there to be read, or have changed since they were.
    """
    folder = Path(__file__).parent
    read = digest_of_sources(folder)
    # After they are read, so that none changes in between.
    paths = sorted(folder.rglob("*.py"))
    if Path(__file__) not in paths:
        raise UnnamedError("sources that are not there")
    if any(path.stat().st_mtime > dpe_jax._IMPORTED for path in paths):
        raise UnnamedError("sources that have changed")
    versions = [version("dpe-jax"), sys.version, *(module.__version__ for module in _BELOW)]
    return hashlib.sha256(" ".join([read, *versions]).encode()).hexdigest()


def _surroundings() -> str:
    """What programs depend on beside their arguments."""
    device = jax.devices()[0]
    place = device.platform, device.device_kind, device.client.platform_version
    # XLA cuts loops into pieces for the processors that it finds.
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    variables = [os.environ.get(name) for name in ("XLA_FLAGS", "NPROC")]
    settings = sorted(jax.config.values.items(), key=str)
    return f"{_sources()} {place} {processors} {variables} {settings}"


def _read(path: Path) -> _Program | None:
    """The program that is kept there, if it is whole and runs here."""
    from jax.experimental import serialize_executable

    try:
        kept = path.read_bytes()
    except OSError:
        return None
    digest, content = kept[:_DIGEST], kept[_DIGEST:]
    if _seal(path, content) != digest:
        return None
    try:
        if _LINEAR_ALGEBRA.encode() in content:
            _ready_linear_algebra()
        *stored, numbered = pickle.loads(content)
        compiled = serialize_executable.deserialize_and_load(*stored)
        os.utime(path)
    except Exception:  # Whatever this version of JAX says to it, the program is made anew.
        return None
    return _Program(compiled, jax.tree.structure(numbered))


def _seal(path: Path, content: bytes) -> bytes:
    """A digest of a program and of what it is called: a file of another name is another program."""
    return hashlib.sha256(path.name.encode() + content).digest()


def _write(path: Path, program: _Program) -> None:
    """Whole or not at all, also where two commands write at once."""
    from jax.experimental import serialize_executable

    # A structure is not pickled faithfully, but an example of it is.
    numbered = jax.tree.unflatten(program.returned, range(program.returned.num_leaves))
    content = pickle.dumps((*serialize_executable.serialize(program.compiled), numbered))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in path.parent.iterdir():
        # Another process may have moved it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - other.stat().st_mtime > _UNUSED_SECONDS:
                other.unlink()
    file, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(_seal(path, content) + content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
