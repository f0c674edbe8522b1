"""The reference has every public name, and its docstring what a reader needs."""

import importlib
import inspect
import re
import typing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import xarray

import dpe_jax as dpe
from dpe_jax.algorithms import Algorithm
from dpe_jax.bands import Band, Decay
from dpe_jax.problems import Problem
from dpe_jax.results import Stored
from dpe_jax.stepsizes import Multipliers

ROOT = Path(__file__).parent.parent

PAGES = {p.stem: p.read_text("utf-8") for p in sorted((ROOT / "docs" / "reference").glob("*.md"))}

SHAPED = ("Algorithm", "Schedule", "Multipliers", "Factors", "Problem", "Network")
"""Contracts and what holds arrays: their annotations have shapes."""

REFUSING = re.compile(r"\b(InputError\(|_require\(|_check\(|positive_number\(|check_\w+\()")

NAMES = sorted(dpe.__all__)

WITHIN = re.compile(r"(State|States|Row|Coefficients|Program)$")
"""What methods and studies carry and tabulate for themselves."""


def documentation(public: Any) -> str:
    """Its own docstring, and that of its constructor and fields."""
    texts = [inspect.getdoc(public) or ""]
    if inspect.isclass(public):
        own = vars(public).get("__init__")
        texts += [getattr(own, "__doc__", None) or ""]
    return "\n".join(texts)


def entries() -> list[str]:
    """What the pages have, by its place in the package."""
    pages = PAGES.values()
    return [entry for page in pages for entry in re.findall(r"^::: (\S+)", page, re.MULTILINE)]


def found(entry: str) -> Any:
    """The object of an entry."""
    module, _, name = entry.rpartition(".")
    return getattr(importlib.import_module(module), name)


def classes(annotation: Any) -> set[type]:
    """The package's classes that an annotation is made of."""
    own = inspect.isclass(annotation) and annotation.__module__.startswith("dpe_jax")
    parts = map(classes, typing.get_args(annotation))
    return set().union({annotation} if own else set(), *parts)


def hints(public: Any) -> dict[str, Any]:
    """Its annotations, those of libraries that it does not import itself too."""
    return typing.get_type_hints(public, localns={"xr": xarray})


def given(public: Any) -> set[type]:
    """The package's classes that a caller gets from it."""
    if not inspect.isclass(public):
        return classes(hints(public).get("return"))
    met = [classes(kind) for kind in hints(public).values()]
    for name, member in vars(public).items():
        own = member.fget if isinstance(member, property) else getattr(member, "func", member)
        if not name.startswith("_") and callable(own) and not inspect.isclass(own):
            met.append(classes(hints(own).get("return")))
    return set().union(*met)


def test_the_reference_has_every_public_name_once() -> None:
    listed = Counter(entries())
    assert max(listed.values()) == 1
    assert {f"dpe_jax.{name}" for name in NAMES} <= set(listed)
    further = [entry for entry in listed if entry.count(".") > 1]
    assert len(further) + len(NAMES) == len(listed)
    for entry in further:
        assert found(entry).__module__ == entry.rpartition(".")[0]


def test_what_public_names_return_is_in_the_reference() -> None:
    listed = [found(entry) for entry in entries()]
    returned = set().union(*(given(getattr(dpe, name)) for name in NAMES))
    assert {Stored, Band, Decay} <= returned
    assert [one for one in returned if one not in listed and not WITHIN.search(one.__name__)] == []


@pytest.mark.parametrize("entry", sorted(e for e in entries() if e.count(".") > 1))
def test_further_entries_begin_with_a_sentence(entry: str) -> None:
    first, *_ = (inspect.getdoc(found(entry)) or "").split("\n\n")
    assert re.match(r"\S.*[.:;]$", " ".join(first.split())), first


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_begins_with_a_sentence(name: str) -> None:
    first, *_ = documentation(getattr(dpe, name)).split("\n\n")
    assert re.match(r"\S.*[.:;]$", " ".join(first.split())), first


@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused_is_said(name: str) -> None:
    public = getattr(dpe, name)
    if name == "InputError" or not REFUSING.search(inspect.getsource(public)):
        return
    assert "InputError" in documentation(public)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_names_equation_and_source(name: str) -> None:
    public = getattr(dpe, name)
    if inspect.isclass(public) and issubclass(public, Algorithm) and public is not Algorithm:
        text = documentation(public)
        assert re.search(r"\b(19|20)\d\d\b", text), "no source"
        assert re.search(r"^    .*⁺.*=", text, re.MULTILINE), "no equation"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_minimised_is_an_equation(name: str) -> None:
    public = getattr(dpe, name)
    if inspect.isclass(public):
        if not issubclass(public, Problem):
            return
    elif inspect.signature(public).return_annotation not in (dpe.EmpiricalRisk, "EmpiricalRisk"):
        return
    assert re.search(r"(F\(x\)|f_i\(x\)|f_i\(θ\)) = ", documentation(public))


@pytest.mark.parametrize("name", NAMES)
def test_multipliers_say_their_variance(name: str) -> None:
    public = getattr(dpe, name)
    if inspect.isclass(public) and issubclass(public, Multipliers) and public is not Multipliers:
        assert "variance" in documentation(public)


@pytest.mark.parametrize("name", SHAPED)
def test_arrays_of_contracts_have_shapes(name: str) -> None:
    """In signatures `Float[Array, "agents dim"]`, and never a bare array."""
    source = inspect.getsource(getattr(dpe, name))
    signatures = " ".join(re.findall(r"def \w+\(.*?\)(?: -> .*?)?:\n", source, re.DOTALL))
    assert re.search(r"\[(np\.ndarray|Array), \"", signatures)
    assert not re.search(r"\bArray\b(?!, \")", signatures)
    # The weights that a network is made of are a name or a matrix, as its docstring says.
    assert name == "Network" or not re.search(r"np\.ndarray(?!, \")", signatures)


def test_pages_say_what_they_are_about() -> None:
    index = PAGES["index"]
    for name, page in PAGES.items():
        assert name == "index" or f"]({name}.md)" in index
        heading, _, intro, *_ = page.splitlines()
        assert heading.startswith("# ")
        assert name == "index" or intro.endswith(".")
    for word in ("lane", "units", "seconds", "bytes", "InputError", "axes"):
        assert word in index
