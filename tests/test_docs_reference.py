"""The reference has every public name, and its docstring what a reader needs."""

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import dpe_jax as dpe
from dpe_jax.algorithms import Algorithm
from dpe_jax.problems import Problem
from dpe_jax.stepsizes import Multipliers

ROOT = Path(__file__).parent.parent

PAGES = {p.stem: p.read_text("utf-8") for p in sorted((ROOT / "docs" / "reference").glob("*.md"))}

SHAPED = ("Algorithm", "Schedule", "Multipliers", "Factors", "Problem", "Network")
"""Contracts and what holds arrays: their annotations have shapes."""

REFUSING = re.compile(r"\b(InputError\(|_require\(|_check\(|positive_number\(|check_\w+\()")

NAMES = sorted(dpe.__all__)


def documentation(public: Any) -> str:
    """Its own docstring, and that of its constructor and fields."""
    texts = [inspect.getdoc(public) or ""]
    if inspect.isclass(public):
        own = vars(public).get("__init__")
        texts += [getattr(own, "__doc__", None) or ""]
    return "\n".join(texts)


def test_the_reference_has_every_public_name_once() -> None:
    entries = Counter(
        entry for page in PAGES.values() for entry in re.findall(r"^::: (\S+)", page, re.MULTILINE)
    )
    assert entries == Counter(f"dpe_jax.{name}" for name in NAMES)


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
