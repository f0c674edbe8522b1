"""What the tables of a configuration share: strict types, and refusals that name a key."""

import contextlib
import math
import re
from collections.abc import Collection, Container, Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from dpe_jax.errors import InputError

Matrix = list[list[float]]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""A name that is also that of a folder."""
Title = Annotated[str, StringConstraints(pattern=r"^\w[^/\\\p{Cc}]*$", max_length=80)]
"""A name that may have spaces, but nothing that leads out of a folder."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]

_WRONG = "wrong_key"


class Table(BaseModel):
    """A TOML table: other keys, other types, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in value if isinstance(value, dict) else ():
            if key not in known:
                raise wrong(key, value[key], f"one of the keys {', '.join(known)}")
        return value


def wrong(key: str, value: Any, accepted: str) -> PydanticCustomError:
    """What a validator raises about one key of its table."""
    return PydanticCustomError(_WRONG, "{accepted}", {"key": key, "v": value, "accepted": accepted})


def tagged(key: str, *tags: str, default: str | None = None) -> BeforeValidator:
    """Goes before a union of tables that `key` tells apart; a `default` may be left out."""
    accepted = f"one of {', '.join(tags)}"

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if key not in value and default is not None:
            return {key: default} | value
        if value.get(key) not in tags:
            raise wrong(key, value.get(key), accepted)
        return value

    return BeforeValidator(check)


@contextlib.contextmanager
def within(where: str, keys: Container[str] = ()) -> Iterator[None]:
    """Put `where` before the argument that an InputError names.

    An argument that is none of the `keys` of the table is put in brackets behind it.
    """
    try:
        yield
    except InputError as error:
        head = re.split(r"[.\[(]", error.argument)[0]
        known = head in keys
        argument = f"{where}.{error.argument}" if known else f"{where} ({error.argument})"
        raise InputError(argument, error.value, error.accepted) from error


def refusal(tables: Any, error: ValidationError) -> InputError:
    """The first error of a validation, with the key as it stands in the file."""
    first = error.errors(include_url=False)[0]
    # Tags of unions appear in the location; a key of the file does not.
    path = _path(tables, first["loc"])
    value: Any = first["input"]
    if first["type"] == "missing":
        path.append(first["loc"][-1])
        value = None
    elif first["type"] == _WRONG:
        context = first.get("ctx", {})
        path.append(context["key"])
        value = context["v"]
    elif isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    return InputError(_shown(path) or "configuration", value, _accepted(first))


def _path(tables: Any, location: tuple[str | int, ...]) -> list[str | int]:
    """The part of a location that exists in the file."""
    path: list[str | int] = []
    here: Any = tables
    for part in location:
        if part in _keys(here):
            here = here[part]
            path.append(part)
    return path


def array_of(value: Any) -> np.ndarray | None:
    """The array of nested lists of numbers; None if their lengths differ."""
    try:
        return np.array(value, np.float64)
    except ValueError:
        return None


def _keys(value: Any) -> Collection[Any]:
    if isinstance(value, list):
        return range(len(value))
    return value.keys() if isinstance(value, dict) else ()


def _shown(path: list[str | int]) -> str:
    """methods.encrypted.means[2]."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _accepted(error: ErrorDetails) -> str:
    """What would be accepted, in the words of a file's author rather than of Python."""
    context = error.get("ctx", {})
    message = error["msg"].removeprefix("Input should be ")
    match error["type"]:
        case "missing":
            return "a value; the key is missing"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "a table"
        case "list_type" | "tuple_type":
            return "an array"
        case "int_type" | "int_from_float":
            return "an integer"
        case "float_type":
            return "a number"
        case "bool_type":
            return "true or false"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"a number {message}"
        case "string_pattern_mismatch":
            return f"a name that matches {context['pattern']}"
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case "too_short":
            return f"at least {context['min_length']} of them"
        case "too_long":
            return f"at most {context['max_length']} of them"
    return message
