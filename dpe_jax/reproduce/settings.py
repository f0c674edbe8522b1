"""The settings of a part, from its committed file, at a scale."""

import hashlib
import json
import tomllib
from importlib import resources
from typing import Any, TypeVar

from pydantic import ValidationError

from dpe_jax.fields import refusal
from dpe_jax.reproduce.part import SCALES, Scale, Settings

_S = TypeVar("_S", bound=Settings)


def load(name: str, kind: type[_S], scale: Scale, seed: int | None = None) -> _S:
    """The settings in `configs/NAME.toml`, with its table of the scale put over them."""
    file = resources.files("dpe_jax.reproduce") / "configs" / f"{name}.toml"
    tables = tomllib.loads(file.read_text("utf-8"))
    changes = {each: tables.pop(each, {}) for each in SCALES}
    resolved = _over(tables, changes[scale])
    return parse(kind, resolved if seed is None else resolved | {"seed": seed})


def parse(kind: type[_S], tables: dict[str, Any]) -> _S:
    """Validated settings; InputError names the first key that is wrong."""
    try:
        return kind.model_validate(tables)
    except ValidationError as error:
        raise refusal(tables, error) from error


def _over(tables: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables with those of the same name merged, and other keys replaced."""
    both = {
        key: _over(tables[key], value)
        if isinstance(value, dict) and isinstance(tables.get(key), dict)
        else value
        for key, value in changes.items()
    }
    return tables | both


def settings_hash(settings: Settings) -> str:
    """SHA-256 of resolved settings."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def resolved_toml(settings: Settings) -> str:
    """Resolved settings as TOML; keys that are unset are left out."""
    import tomli_w

    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))
