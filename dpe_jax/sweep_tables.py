"""The table `[sweep]` of a configuration: axes of values, each a change of some keys."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import (
    Discriminator,
    Field,
    PositiveInt,
    StringConstraints,
    Tag,
    model_serializer,
    model_validator,
)

from dpe_jax.fields import Seed, Table, wrong
from dpe_jax.observe import METRICS

MOST_CONFIGURATIONS = 100_000
"""Of one sweep."""

Key = Annotated[str, StringConstraints(pattern=r"^[^.\s/\\][^/\\\p{Cc}]*$", max_length=400)]
"""A dotted path into the configuration."""
AxisName = Annotated[str, StringConstraints(pattern=r"^\w[^=/\\\p{Cc}]*$", max_length=80)]
Points = Annotated[list[Any], Field(min_length=1)]
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]

_TAKEN = (
    *("algorithm", "configuration", "iteration", "run", "agent", "coordinate"),
    *("quantile", "threshold", "status", "failed_at", "final_state", "status_count"),
    *("runs", "sound", "failed"),
)
"""Names that results have for something else."""


class Column(NamedTuple):
    """One key of an axis, with its value at each point of the axis."""

    where: str
    """The key of the axis' table that names it, for messages."""
    key: str
    values: list[Any]


class RangeTable(Table):
    """`count` values from `from` to `to`, both included."""

    start: float | int = Field(alias="from")
    to: float | int
    count: Annotated[int, Field(ge=2, le=MOST_CONFIGURATIONS)]

    @model_validator(mode="after")
    def _ordered(self) -> "RangeTable":
        if not self.start < self.to:
            raise wrong("to", self.to, f"a number greater than from = {self.start}")
        return self

    @model_serializer
    def _written(self) -> dict[str, float | int]:
        return {"from": self.start, "to": self.to, "count": self.count}

    def linear(self) -> list[float | int]:
        """Equal steps; integers where the ends are integers and all values come out whole."""
        # Halves: the whole of it may be more than a float holds.
        return self._rounded(2 * np.linspace(self.start / 2, self.to / 2, self.count))

    def geometric(self) -> list[float | int]:
        """Equal ratios; integers where the ends are integers and all values come out whole."""
        return self._rounded(np.geomspace(self.start, self.to, self.count))

    def _rounded(self, values: np.ndarray) -> list[float | int]:
        # Twelve digits: 0.7 rather than 0.7000000000000001, in labels as in the configuration.
        shown = [float(f"{value:.12g}") for value in values[1:-1]]
        whole = all(isinstance(end, int) for end in (self.start, self.to))
        if whole and all(value.is_integer() for value in shown):
            return [self.start, *(int(value) for value in shown), self.to]
        return [float(self.start), *shown, float(self.to)]


class ValuesAxis(Table):
    """One key that takes given values, or those of a range."""

    name: AxisName | None = None
    key: Key
    values: Points | None = None
    linear: RangeTable | None = None
    geometric: RangeTable | None = None
    labels: list[str] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "ValuesAxis":
        given = [k for k in ("values", "linear", "geometric") if getattr(self, k) is not None]
        if len(given) != 1:
            accepted = "one of the keys values, linear and geometric"
            raise wrong("key", self.key, f"{accepted} beside it, not {len(given)}")
        if self.values is not None:
            _check_values("values", self.values)
            _check_distinct("values", self.values)
        if self.geometric is not None and not self.geometric.start > 0:
            raise wrong("geometric.from", self.geometric.start, "a number greater than 0")
        _check_labels(self.labels, self.size)
        return self

    @property
    def keys(self) -> list[str]:
        """The keys that the axis sets."""
        return [self.key]

    @property
    def size(self) -> int:
        """The number of points."""
        table = self.linear or self.geometric
        return len(self.values or ()) if table is None else table.count

    def columns(self) -> list[Column]:
        """The key and its values."""
        if self.linear is not None:
            return [Column("key", self.key, self.linear.linear())]
        if self.geometric is not None:
            return [Column("key", self.key, self.geometric.geometric())]
        return [Column("key", self.key, list(self.values or ()))]


class ZipAxis(Table):
    """Several keys that move together."""

    name: AxisName | None = None
    zip: Annotated[dict[Key, Points], Field(min_length=1)]
    labels: list[str] | None = None

    @model_validator(mode="after")
    def _equally_long(self) -> "ZipAxis":
        first = next(iter(self.zip))
        for key, values in self.zip.items():
            _check_values(f"zip.{key}", values)
            if len(values) != self.size:
                accepted = f"as many values as {first} has ({self.size})"
                raise wrong(f"zip.{key}", values, accepted)
        _check_distinct("zip", list(map(list, zip(*self.zip.values(), strict=True))))
        _check_labels(self.labels, self.size)
        return self

    @property
    def keys(self) -> list[str]:
        """The keys that the axis sets."""
        return list(self.zip)

    @property
    def size(self) -> int:
        """The number of points."""
        return len(next(iter(self.zip.values())))

    def columns(self) -> list[Column]:
        """The keys and their values."""
        return [Column("zip", key, values) for key, values in self.zip.items()]


class RandomAxis(Table):
    """Random values of several keys, each uniform or log-uniform between two ends.

    A key's values depend on `seed` and on the key alone, so neither other keys nor other axes
    change them, and a larger number of samples begins with those of a smaller one.
    """

    name: AxisName | None = None
    samples: Annotated[PositiveInt, Field(le=MOST_CONFIGURATIONS)]
    seed: Seed = 0
    uniform: dict[Key, Ends] = Field(default_factory=dict)
    log_uniform: dict[Key, Ends] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ordered(self) -> "RandomAxis":
        if not self.uniform and not self.log_uniform:
            accepted = "a key in uniform or log_uniform beside it"
            raise wrong("samples", self.samples, accepted)
        for kind in ("uniform", "log_uniform"):
            for key, (low, high) in getattr(self, kind).items():
                if kind == "log_uniform" and not low > 0:
                    raise wrong(f"{kind}.{key}", [low, high], "ends greater than 0")
                if not low < high:
                    raise wrong(f"{kind}.{key}", [low, high], "[low, high] with low < high")
        return self

    @property
    def keys(self) -> list[str]:
        """The keys that the axis sets."""
        return [*self.uniform, *self.log_uniform]

    @property
    def size(self) -> int:
        """The number of points."""
        return self.samples

    def columns(self) -> list[Column]:
        """The keys and their values."""
        drawn = [
            Column("uniform", key, (low + (high - low) * self._draws(key)).tolist())
            for key, (low, high) in self.uniform.items()
        ]
        for key, (low, high) in self.log_uniform.items():
            # Rounding must not lead out of the interval.
            values = np.exp(math.log(low) + (math.log(high) - math.log(low)) * self._draws(key))
            drawn.append(Column("log_uniform", key, np.clip(values, low, high).tolist()))
        return drawn

    def _draws(self, key: str) -> np.ndarray:
        """Uniform on [0, 1), from a generator of the key's own."""
        word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
        return np.random.default_rng([self.seed, word]).random(self.samples)


def _kind(value: Any) -> Literal["of values", "of zips", "of samples"]:
    """What an axis is, of its table or as the object that it has become; no key has that name."""
    keys = value if isinstance(value, dict) else {}
    if "zip" in keys or isinstance(value, ZipAxis):
        return "of zips"
    if "samples" in keys or isinstance(value, RandomAxis):
        return "of samples"
    return "of values"


Axis = Annotated[
    Annotated[ValuesAxis, Tag("of values")]
    | Annotated[ZipAxis, Tag("of zips")]
    | Annotated[RandomAxis, Tag("of samples")],
    Discriminator(_kind),
]


class SweepTable(Table):
    """Axes that multiply: every point of one with every point of the others."""

    axis: Annotated[list[Axis], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> "SweepTable":
        total = math.prod(axis.size for axis in self.axis)
        if total > MOST_CONFIGURATIONS:
            accepted = f"at most {MOST_CONFIGURATIONS} configurations in all"
            raise wrong("axis", total, accepted)
        self._check_keys()
        self._check_names()
        return self

    def _check_keys(self) -> None:
        seen: set[str] = set()
        for index, axis in enumerate(self.axis):
            for key in axis.keys:
                if key in seen:
                    raise wrong(f"axis[{index}]", key, "each key once; this one is there twice")
                seen.add(key)

    def _check_names(self) -> None:
        seen: set[str] = set()
        for index, axis in enumerate(self.axis):
            if axis.name is not None:
                where = f"axis[{index}].name"
                if _is_taken(axis.name):
                    accepted = "another name: results have this one for something else"
                    raise wrong(where, axis.name, accepted)
                if axis.name in seen:
                    raise wrong(where, axis.name, "a name that no other axis has")
                seen.add(axis.name)
        titles, labels = names(self)
        seen = set()
        for index, (title, of) in enumerate(zip(titles, labels, strict=True)):
            for name in dict.fromkeys((title, *of.values())):
                if name in seen:
                    accepted = f"a name that tells it from other axes and keys ({name!r} is taken)"
                    raise wrong(f"axis[{index}].name", self.axis[index].name, accepted)
                seen.add(name)


def names(sweep: SweepTable) -> tuple[list[str], list[dict[str, str]]]:
    """The name of each axis, and of each of its keys: the shortest end that is its own.

    A key that is the only one of its axis has the axis' name.
    """
    keys = [key for axis in sweep.axis for key in axis.keys]
    own = {axis.name for axis in sweep.axis if axis.name is not None}
    shortest = {key: _ending(key, keys, own) for key in keys}
    titles: list[str] = []
    labels: list[dict[str, str]] = []
    for axis in sweep.axis:
        of = {key: shortest[key] for key in axis.keys}
        if isinstance(axis, ValuesAxis):
            titles.append(axis.name or of[axis.key])
            labels.append({axis.key: titles[-1]})
        else:
            joined = "-".join(of.values()) if isinstance(axis, ZipAxis) else "sample"
            if len(of) == 1 and joined in of.values():
                joined += " point"
            titles.append(axis.name or joined)
            labels.append(of)
    return titles, labels


def _ending(key: str, keys: list[str], taken: set[str]) -> str:
    """The last parts of a key, as many as tell it from other keys and names."""
    parts = key.split(".")
    for count in range(1, len(parts) + 1):
        ending = ".".join(parts[-count:])
        same = [other for other in keys if f".{other}".endswith(f".{ending}")]
        if len(same) == 1 and ending not in taken and not _is_taken(ending):
            return ending
    return key


def _is_taken(name: str) -> bool:
    return name in _TAKEN or name.startswith(METRICS)


def _check_labels(labels: list[str] | None, size: int) -> None:
    if labels is None:
        return
    if len(labels) != size:
        raise wrong("labels", labels, f"{size} labels, one for each point of the axis")
    _check_distinct("labels", labels)


def _check_values(key: str, values: list[Any]) -> None:
    for index, value in enumerate(values):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            accepted = "finite numbers, strings, booleans, arrays and tables"
            raise wrong(f"{key}[{index}]", value, accepted) from error


def _check_distinct(key: str, values: list[Any]) -> None:
    seen: set[str] = set()
    for value in values:
        # 1 and 1.0 are one number, 1 and "1" are not.
        text = (
            repr(float(value)) if type(value) in (int, float) else json.dumps(value, sort_keys=True)
        )
        if text in seen:
            raise wrong(key, value, "values that differ; this one is there twice")
        seen.add(text)
