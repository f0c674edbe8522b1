"""Programs that are kept whole are found by all that they depend on, and change nothing."""

import collections
import dataclasses
import enum
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import REMOVED, config

from dpe_jax import engine, whole
from dpe_jax.problems import Quadratic
from dpe_jax.recording import Recording
from dpe_jax.stepsizes import Uniform
from dpe_jax.study import Study
from dpe_jax.whole import UnnamedError, Whole, described


class Counted:
    """A function of an array and a number, that counts how often it is traced."""

    def __init__(self) -> None:
        self.traced = 0

    def whole(self) -> Whole[..., dict[str, Any]]:
        """As another process would have it."""

        def multiple(x: jax.Array, by: Any, kind: str = "times") -> dict[str, Any]:
            self.traced += 1
            return {"product": x * by, "nothing": None, "kinds": [x + len(kind)]}

        return Whole(multiple)


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    monkeypatch.setattr(whole, "whole_programs", lambda: tmp_path / "whole")
    return Counted()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "whole").glob("*"))


def test_another_process_does_not_trace_it_anew(counted: Counted, tmp_path: Path) -> None:
    x = jnp.arange(3.0)
    for _ in range(3):
        found = counted.whole()(x, 2.0)
        np.testing.assert_array_equal(found["product"], [0, 2, 4])
        np.testing.assert_array_equal(found["kinds"][0], [5, 6, 7])
        assert found["nothing"] is None
    assert counted.traced == 1
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("given", "product"),
    [
        ((jnp.arange(4.0), 2.0), [0, 2, 4, 6]),
        ((jnp.arange(3), 2.0), [0, 2, 4]),
        ((jnp.arange(3.0), 3.0), [0, 3, 6]),
        ((jnp.arange(3.0), 2), [0, 2, 4]),
        ((jnp.arange(3.0), jnp.float32(2)), [0, 2, 4]),
        ((jnp.arange(3.0), 2.0, "other"), [0, 2, 4]),
    ],
)
def test_other_shapes_types_and_numbers_are_other_programs(
    counted: Counted, given: tuple[Any, ...], product: list[float]
) -> None:
    counted.whole()(jnp.arange(3.0), 2.0)
    found = counted.whole()(*given)
    assert counted.traced == 2
    np.testing.assert_array_equal(found["product"], product)


def test_other_values_of_arrays_are_the_same_program(counted: Counted) -> None:
    for by in (2.0, 3.0):
        found = counted.whole()(jnp.arange(3.0), np.float64(by))
        np.testing.assert_array_equal(found["product"], by * np.arange(3))
    assert counted.traced == 1


@pytest.mark.parametrize("what", ["sources", "flags", "processors", "settings"])
def test_what_lies_around_a_program_is_a_part_of_its_name(
    counted: Counted, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    x = jnp.arange(3.0)
    counted.whole()(x, 2.0)
    if what == "sources":
        monkeypatch.setattr(whole, "_sources", lambda: "others")
        monkeypatch.setattr(whole, "_read_sources", lambda: "others")
    elif what == "processors":
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(77)))
    elif what == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    try:
        if what == "settings":
            jax.config.update("jax_default_matmul_precision", "highest")
        counted.whole()(x, 2.0)
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert counted.traced == 2


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, from before this process, in place of its sources."""
    here, copies = Path(whole.__file__).parent, tmp_path / "dpe_jax"
    for path in here.rglob("*.py"):
        copy = copies / path.relative_to(here)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (1e9, 1e9))
    monkeypatch.setattr(whole, "__file__", str(copies / "whole.py"))
    return copies


def test_sources_are_those_of_the_whole_package(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole._read_sources()
    assert before == whole._read_sources()
    changed = package / "algorithms" / "ternary.py"
    right = changed.read_bytes()
    changed.write_bytes(right + b"\n")
    os.utime(changed, (1e9, 1e9))
    assert whole._read_sources() != before
    changed.write_bytes(right)
    os.utime(changed, (1e9, 1e9))
    assert whole._read_sources() == before
    monkeypatch.setattr(np, "__version__", "0")
    assert whole._read_sources() != before


def test_sources_that_have_changed_since_they_were_read_name_nothing(
    counted: Counted, package: Path, tmp_path: Path
) -> None:
    whole._sources.cache_clear()
    os.utime(package / "observe.py")
    with pytest.raises(UnnamedError, match="changed"):
        whole._read_sources()
    for _ in range(2):
        np.testing.assert_array_equal(counted.whole()(jnp.arange(3.0), 2.0)["product"], [0, 2, 4])
    assert counted.traced == 2
    assert not files(tmp_path)
    # Those that change while a program is made neither.
    os.utime(package / "observe.py", (1e9, 1e9))
    whole._sources.cache_clear()

    def slow(x: jax.Array) -> jax.Array:
        os.utime(package / "observe.py")
        return 2 * x

    np.testing.assert_array_equal(Whole(slow)(jnp.arange(3.0)), [0, 2, 4])
    assert not files(tmp_path)
    (package / "whole.py").unlink()
    with pytest.raises(UnnamedError, match="not there"):
        whole._read_sources()
    whole._sources.cache_clear()


def cut(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: len(content) // 2]


def flipped(path: Path) -> bytes:
    content = path.read_bytes()
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


def resealed(path: Path) -> bytes:
    """Whole, but no program."""
    return whole._seal(path, b"other") + b"other"


@pytest.mark.parametrize("damage", [cut, flipped, resealed, lambda _: b""])
def test_a_damaged_program_is_made_anew(
    counted: Counted, tmp_path: Path, damage: Callable[[Path], bytes]
) -> None:
    x = jnp.arange(3.0)
    counted.whole()(x, 2.0)
    (path,) = files(tmp_path)
    path.write_bytes(damage(path))
    np.testing.assert_array_equal(counted.whole()(x, 2.0)["product"], [0, 2, 4])
    assert counted.traced == 2
    counted.whole()(x, 2.0)
    assert counted.traced == 2


def test_another_program_under_its_name_is_made_anew(counted: Counted, tmp_path: Path) -> None:
    """Such as two files that have changed places: each is whole, and takes other arguments."""
    three, two = jnp.arange(3.0), jnp.arange(2.0)
    for x in (three, two):
        counted.whole()(x, 2.0)
    one, other = files(tmp_path)
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    assert counted.traced == 2
    np.testing.assert_array_equal(counted.whole()(three, 2.0)["product"], [0, 2, 4])
    np.testing.assert_array_equal(counted.whole()(two, 2.0)["product"], [0, 2])
    assert counted.traced == 4
    counted.whole()(three, 2.0)
    assert counted.traced == 4


def test_a_folder_that_cannot_be_written_is_no_error(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").write_text("")
    np.testing.assert_array_equal(counted.whole()(jnp.arange(3.0), 2.0)["product"], [0, 2, 4])


def test_threads_make_a_program_once(counted: Counted) -> None:
    shared, found = counted.whole(), []
    threads = [
        threading.Thread(target=lambda: found.append(shared(jnp.arange(3.0), 2.0)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.traced == 1
    assert len(found) == 4


@pytest.mark.parametrize("devices", [1, 2])
def test_programs_for_several_devices_are_left_to_jax(
    counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    monkeypatch.setattr(jax, "devices", lambda *_: jax.local_devices()[:1] * devices)
    np.testing.assert_array_equal(counted.whole()(jnp.arange(3.0), 2.0)["product"], [0, 2, 4])
    assert len(files(tmp_path)) == (devices == 1)


def test_what_cannot_be_written_is_used_all_the_same(
    counted: Counted, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def told(x: jax.Array) -> jax.Array:
        counted.traced += 1
        jax.debug.print("{}", x.sum())
        return 2 * x

    for _ in range(2):
        np.testing.assert_array_equal(Whole(told)(jnp.arange(3.0)), [0, 2, 4])
    assert counted.traced == 2
    assert not files(tmp_path)


def test_values_that_are_no_arrays_are_left_to_jax(counted: Counted, tmp_path: Path) -> None:
    def both(x: jax.Array) -> tuple[jax.Array, str]:
        return 2 * x, "twice"

    twice, word = Whole(both)(jnp.arange(3.0))
    np.testing.assert_array_equal(twice, [0, 2, 4])
    assert word == "twice"
    assert not files(tmp_path)


def test_nothing_is_compiled_where_jax_is_told_not_to(counted: Counted, tmp_path: Path) -> None:
    with jax.disable_jit():
        np.testing.assert_array_equal(counted.whole()(jnp.arange(3.0), 2.0)["product"], [0, 2, 4])
    assert not files(tmp_path)


def test_what_is_not_used_for_long_is_removed(counted: Counted, tmp_path: Path) -> None:
    counted.whole()(jnp.arange(3.0), 2.0)
    (old,) = files(tmp_path)
    os.utime(old, (1e9, 1e9))
    counted.whole()(jnp.arange(3.0), 2.0)  # which it is, here
    counted.whole()(jnp.arange(4.0), 2.0)
    assert old in files(tmp_path)
    os.utime(old, (1e9, 1e9))
    counted.whole()(jnp.arange(5.0), 2.0)
    assert old not in files(tmp_path)
    assert len(files(tmp_path)) == 2


class OfAUser(eqx.Module):
    """A class that is not the package's."""

    x: jax.Array


def test_what_cannot_be_named_is_left_to_jax(counted: Counted, tmp_path: Path) -> None:
    by = OfAUser(jnp.float32(2))
    for _ in range(2):

        def product(x: jax.Array, by: OfAUser) -> jax.Array:
            counted.traced += 1
            return x * by.x

        np.testing.assert_array_equal(Whole(product)(jnp.arange(3.0), by), [0, 2, 4])
    assert counted.traced == 2
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        lambda x: x,
        test_threads_make_a_program_once,
        np.sin,
        Counted().whole,
        OfAUser(jnp.ones(2)),
        object(),
        {"a": [object()]},
        Quadratic.gradient.__get__(1),
        functools.partial(whole.described, object()),
        collections.OrderedDict(a=1),
        enum.IntEnum("Level", "low")(1),
        type("int", (int,), {})(3),
        type("float", (float,), {})(3),
    ],
)
def test_no_text_stands_for_what_is_not_the_packages_own(value: object) -> None:
    with pytest.raises(UnnamedError):
        described(value)


def test_arrays_that_are_no_inputs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True)
    class Constant:
        __module__, __qualname__ = "dpe_jax.whole", "Constant"
        x: Any

    class Held(eqx.Module):
        __module__, __qualname__ = "dpe_jax.whole", "Held"
        inside: Any
        constant: Any = eqx.field(static=True, default=None)

    monkeypatch.setattr(whole, "Constant", Constant, raising=False)
    monkeypatch.setattr(whole, "Held", Held, raising=False)
    assert "array((2,)" in described(Held(np.ones(2)))
    assert "Constant" in described(Held(Constant(1.0), Constant(2)))
    for held in (Constant(np.ones(2)), Held(Constant(np.ones(2))), Held(1.0, Constant(np.ones(2)))):
        with pytest.raises(UnnamedError, match="a part of the program"):
            described(held)
    with pytest.raises(UnnamedError, match="a part of the program"):
        described(functools.partial(whole.described, np.ones(2)))
    with pytest.raises(UnnamedError, match="tracer"):
        jax.jit(lambda x: described(x))(1.0)


def test_a_function_that_was_exchanged_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = whole.described
    assert described(before) == "dpe_jax.whole.described"
    monkeypatch.setattr(whole, "described", lambda value: "")
    with pytest.raises(UnnamedError):
        described(before)


def test_texts_differ_where_programs_do() -> None:
    texts = [
        described(value)
        for value in [
            1, 1.0, True, "1", b"1", None, (1,), [1], (), {}, {1: 2}, {2: 1}, 1.0 + 2**-52,
            jnp.ones(2), jnp.ones(3), jnp.ones(2, jnp.int32), jnp.asarray(1.0), jnp.float32(1),
            np.dtype("float32"), np.dtype("float64"), jnp.dtype("bfloat16"),
            jnp.dtype("float8_e4m3fn"), jnp.dtype("int4"), float, int, Uniform(), Uniform(0.5),
            (("a", "b"), "c"), ("a", ("b", "c")), ["a,str:'b'"], ["a", "b"],
        ]
    ]  # fmt: skip
    assert len(set(texts)) == len(texts)


def recorded(changes: dict[str, Any] | None = None) -> list[Recording]:
    small = {"runs": 4, "block": 16, "record.metrics": ["gap_mean_state", "peak_error"]}
    study = Study((config(small | (changes or {})).build(),))
    return [recording for _, recording in study.recordings()]


@pytest.mark.slow
def test_the_engines_bits_are_those_of_programs_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"methods.conventional": REMOVED}
    changes: list[dict[str, Any]] = [
        {},
        {"problem.noise": 0.25, **alone},
        {"methods.encrypted.delta": 0.5, "seed": 7},
        {"methods.encrypted.rounding": "nearest", **alone},
        {"trace": [1], **alone},
    ]
    plain = [recorded(change) for change in changes]
    monkeypatch.setattr(whole, "whole_programs", lambda: tmp_path / "whole")
    kept = []
    programs = engine._start, engine._advance, engine._finish
    for _ in range(2):
        # As another process would find them.
        for program in programs:
            monkeypatch.setattr(program, "_programs", {})
        for change, expected in zip(changes, plain, strict=True):
            for one, other in zip(recorded(change), expected, strict=True):
                jax.tree.map(np.testing.assert_array_equal, one, other)
        kept.append(files(tmp_path))
    assert kept[0] == kept[1]
    names = [path.name.split("-")[0] for path in kept[0]]
    # Two methods, then one; δ and the seed are inputs, the noise of a problem is a part of the
    # program, and so are how a method rounds and how many runs are traced.
    assert names.count("_advance") == 2 + 1 + 0 + 1 + 1
