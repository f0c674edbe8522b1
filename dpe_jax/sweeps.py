"""Sweeps: the configurations that a `[sweep]` table stands for, with their labels."""

import contextlib
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ValidationError

from dpe_jax.config import Config
from dpe_jax.errors import InputError
from dpe_jax.fields import refusal
from dpe_jax.sweep_tables import SweepTable, ValuesAxis, ZipAxis, names

if TYPE_CHECKING:
    import xarray as xr

Path = tuple[str, ...]

ROOTS = ("network", "problem", "methods", "x0")
"""The keys of a configuration that a sweep may change; the others are the same for all of it."""

AXES = "sweep_axes"
"""The attribute of a dataset that holds the axes of its configurations."""

_TAGS = ("kind", "family")
"""Keys that say which keys a table has; they stay where they have their default."""


class Axis(NamedTuple):
    """An axis of a sweep."""

    name: str
    size: int
    labels: tuple[str, ...]
    """The entries of `Sweep.labels` that belong to it: its own name, then those of its keys."""
    paths: tuple[Path, ...] = ()
    """What it changes, as keys of the configuration."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Configurations in the order of the grid, the last axis fastest."""

    configs: tuple[Config, ...]
    """Each is complete, without `sweep` and `trace`; tables that are alike are shared."""
    labels: dict[str, np.ndarray]
    """One value for each configuration, by name: float64, or text."""
    axes: tuple[Axis, ...]

    def coordinates(self) -> dict[str, tuple[str, np.ndarray]]:
        """The labels as coordinates of a dataset."""
        return {name: ("configuration", values) for name, values in self.labels.items()}

    def attributes(self) -> dict[str, str]:
        """What a dataset says about its sweep: its name, and its axes."""
        axes = [{"name": axis.name, "size": axis.size, "labels": axis.labels} for axis in self.axes]
        return {"name": self.configs[0].name, AXES: json.dumps(axes)}

    @contextlib.contextmanager
    def naming(self, index: int) -> Iterator[None]:
        """Say of an InputError which axis and value of a configuration led to it."""
        try:
            yield
        except InputError as error:
            shown = {axis.name: self.labels[axis.name][index].item() for axis in self.axes}
            raise _refused(self.axes, shown, error) from error


def expand(config: Config) -> Sweep:
    """All configurations of a sweep; InputError names the axis, and the value, that does not fit.

    The configurations are validated, but not built: see `Sweep.naming`.
    """
    if config.sweep is None:
        raise InputError("sweep", None, "a table; this configuration has none")
    axes, labels, columns = _axes(config.sweep, config)
    base = config.model_copy(update={"sweep": None, "trace": []})
    tables = _tables(base)
    top = {name: getattr(base, name) for name in Config.model_fields if name not in ROOTS}
    # What each root consists of at some points of the axes that change it, once validated.
    known: dict[tuple[Any, ...], Any] = {}
    touching = {root: _touching(axes, root) for root in _roots(base)}
    configs = []
    for point in itertools.product(*(range(axis.size) for axis in axes)):
        made: dict[str, Any] = {**top, "methods": {}}
        fresh = []
        for root, indices in touching.items():
            key = (root, *(point[index] for index in indices))
            if not indices:
                value = _at(base, root)
            elif key in known:
                value = known[key]
            else:
                value = _assigned(tables, root, indices, columns, point)
                fresh.append((key, root))
            if root[0] == "methods":
                made["methods"][root[1]] = value
            else:
                made[root[0]] = value
        try:
            one = Config.model_validate(made)
        except ValidationError as error:
            shown = {
                axis.name: labels[axis.name][place].item()
                for axis, place in zip(axes, point, strict=True)
            }
            raise _refused(axes, shown, refusal(made, error)) from error
        for key, root in fresh:
            known[key] = _at(one, root)
        configs.append(one)
    grid = np.indices([axis.size for axis in axes]).reshape(len(axes), -1)
    spread = {
        name: labels[name][grid[place]] for place, axis in enumerate(axes) for name in axis.labels
    }
    return Sweep(tuple(configs), spread, axes)


def axes_of(dataset: "xr.Dataset") -> tuple[Axis, ...]:
    """The axes of a dataset's configurations."""
    axes = json.loads(dataset.attrs.get(AXES, "[]"))
    return tuple(Axis(axis["name"], axis["size"], tuple(axis["labels"])) for axis in axes)


def as_written(dataset: "xr.Dataset") -> "xr.Dataset":
    """The same with labels that have a space in their name as variables, as a file has them."""
    return dataset.reset_coords([name for name in dataset.coords if " " in str(name)])


def as_read(dataset: "xr.Dataset") -> "xr.Dataset":
    """The same with all labels as coordinates."""
    labels = [label for axis in axes_of(dataset) for label in axis.labels]
    return dataset.set_coords([label for label in labels if label in dataset])


def unstack(dataset: "xr.Dataset") -> "xr.Dataset":
    """The same values with one dimension for each axis in the place of `configuration`.

    Labels become coordinates of their axis. Needs all configurations of the sweep, in order
    (`InputError`); values are read into memory.
    """
    axes = axes_of(dataset)
    shape = {axis.name: axis.size for axis in axes}
    count = dataset.sizes.get("configuration", 0)
    if not axes or count != np.prod(list(shape.values()), dtype=np.int64):
        accepted = f"all configurations of the axes {', '.join(shape) or '(none)'}"
        raise InputError("configurations", count, accepted)
    of_axis = {label: axis.name for axis in axes for label in axis.labels}
    variables, coordinates = {}, {}
    for name, variable in dataset.variables.items():
        if name == "configuration":
            continue
        dims = list(variable.dims)
        if "configuration" in dims:
            place = dims.index("configuration")
            dims[place : place + 1] = list(shape)
            variable = variable.unstack(configuration=shape).transpose(*dims)
        if name in of_axis:
            others = {axis.name: 0 for axis in axes if axis.name != of_axis[str(name)]}
            variable = variable.isel(others)
        (coordinates if name in dataset.coords else variables)[name] = variable
    return type(dataset)(variables, coordinates, dataset.attrs)


def _axes(
    sweep: SweepTable, config: Config
) -> tuple[tuple[Axis, ...], dict[str, np.ndarray], list[list[tuple[Path, list[Any]]]]]:
    """Axes, labels at the points of their axis, and what each axis sets: paths and values."""
    titles, keys = names(sweep)
    axes: list[Axis] = []
    labels: dict[str, np.ndarray] = {}
    columns: list[list[tuple[Path, list[Any]]]] = []
    for index, axis in enumerate(sweep.axis):
        title, of, own = titles[index], keys[index], axis.columns()
        sets: list[tuple[Path, list[Any]]] = []
        for column in own:
            where = f"sweep.axis[{index}].{column.where}"
            for path in _paths(where, column.key, config):
                _check_order(where, column.key, path, [p for s in (*columns, sets) for p, _ in s])
                sets.append((path, column.values))
            labels[of[column.key]] = _labels(column.values)
        given = None if not isinstance(axis, ValuesAxis | ZipAxis) else axis.labels
        if given is not None:
            labels[title] = np.array(given)
        elif isinstance(axis, ZipAxis):
            texts = [[f"{value}" for value in _texts(column.values)] for column in own]
            labels[title] = np.array([", ".join(row) for row in zip(*texts, strict=True)])
        elif not isinstance(axis, ValuesAxis):
            labels[title] = np.arange(axis.size, dtype=np.float64)
        if len(set(labels[title].tolist())) < axis.size:
            accepted = "labels beside the values: these cannot be told apart by themselves"
            raise InputError(f"sweep.axis[{index}].labels", None, accepted)
        every = tuple(dict.fromkeys((title, *of.values())))
        axes.append(Axis(title, axis.size, every, tuple(path for path, _ in sets)))
        columns.append(sets)
    return tuple(axes), labels, columns


def _paths(where: str, key: str, config: Config) -> list[Path]:
    """The keys that a dotted path stands for: one, or one of several methods."""
    root, _, rest = key.partition(".")
    if root not in ROOTS:
        accepted = f"a key of {', '.join(ROOTS)}"
        if root in Config.model_fields:
            accepted += f"; {root} is the same for a whole sweep"
        raise InputError(where, key, accepted)
    if root != "methods":
        parts = tuple(rest.split(".")) if rest else ()
        _check_known(where, key, root, {Config}, (root, *parts))
        return [(root, *parts)]
    if rest.startswith("*."):
        parts = tuple(rest[2:].split("."))
        having = [name for name, table in config.methods.items() if _has(table, parts)]
        if not having:
            raise InputError(where, key, "a key that some method has")
        return [("methods", name, *parts) for name in having]
    fitting = [name for name in config.methods if f"{rest}.".startswith(f"{name}.")]
    if not fitting:
        accepted = f"methods. followed by * or by one of {', '.join(config.methods)}"
        raise InputError(where, key, accepted)
    name = max(fitting, key=len)
    parts = tuple(rest[len(name) + 1 :].split(".")) if rest != name else ()
    _check_known(where, key, f"methods.{name}", {type(config.methods[name])}, parts)
    return [("methods", name, *parts)]


def _check_known(where: str, key: str, table: str, kinds: set[Any], parts: Path) -> None:
    """Refuse a path that no table has, whichever of its kinds each table on the way is."""
    for part in parts:
        fields = [kind.model_fields[part] for kind in kinds if part in kind.model_fields]
        if not fields:
            known = list(dict.fromkeys(k for kind in kinds for k in kind.model_fields))
            accepted = f"one of the keys of {table}: {', '.join(sorted(known))}"
            raise InputError(where, key, accepted if known else f"no key within {table}")
        if any(get_origin(field.annotation) is dict for field in fields):
            return
        kinds = {kind for field in fields for kind in _kinds(field.annotation)}
        table = part if part == table else f"{table}.{part}"


def _kinds(annotation: Any) -> set[Any]:
    """The tables in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {kind for part in get_args(annotation) for kind in _kinds(part)}


def _has(value: Any, parts: Path) -> bool:
    """Whether a table, as it is, has a key."""
    for part in parts:
        if isinstance(value, dict):
            return True
        if not isinstance(value, BaseModel) or part not in type(value).model_fields:
            return False
        value = getattr(value, part)
    return True


def _check_order(where: str, key: str, path: Path, before: list[Path]) -> None:
    """Refuse what would undo an earlier change: the same key, or a table that holds it."""
    for other in before:
        if other[: len(path)] == path:
            accepted = f"a key that leaves {'.'.join(other)} alone, which is swept already"
            raise InputError(where, key, accepted)


def _tables(value: Any) -> Any:
    """A validated value as it could stand in a file, without keys that have their default.

    A table whose kind a sweep changes must not keep the defaults of the kind that it was.
    """
    if isinstance(value, BaseModel):
        return {
            name: _tables(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name in _TAGS or getattr(value, name) != field.get_default(call_default_factory=True)
        }
    if isinstance(value, dict):
        return {key: _tables(item) for key, item in value.items()}
    return value


def _roots(config: Config) -> list[Path]:
    """The parts that a configuration is put together from."""
    methods = [("methods", name) for name in config.methods]
    return [*((root,) for root in ROOTS if root != "methods"), *methods]


def _touching(axes: tuple[Axis, ...], root: Path) -> list[int]:
    """The axes that change something within a root."""
    return [
        index
        for index, axis in enumerate(axes)
        if any(path[: len(root)] == root for path in axis.paths)
    ]


def _at(config: Config, root: Path) -> Any:
    value = getattr(config, root[0])
    return value[root[1]] if root[0] == "methods" else value


def _assigned(
    tables: dict[str, Any],
    root: Path,
    indices: list[int],
    columns: list[list[tuple[Path, list[Any]]]],
    point: tuple[int, ...],
) -> Any:
    """The tables of one root at a point of the grid."""
    for index in indices:
        for path, values in columns[index]:
            if path[: len(root)] == root:
                tables = _replaced(tables, path, values[point[index]])
    for part in root:
        tables = tables[part]
    return tables


def _replaced(tables: Any, path: Path, value: Any) -> Any:
    """A copy with one key replaced, which shares all else."""
    if not path:
        return value
    here = tables if isinstance(tables, dict) else {}
    return {**here, path[0]: _replaced(here.get(path[0]), path[1:], value)}


def _labels(values: list[Any]) -> np.ndarray:
    """Numbers as they are, anything else as text."""
    if all(type(value) in (int, float) for value in values):
        return np.array(values, np.float64)
    return np.array(_texts(values))


def _texts(values: list[Any]) -> list[str]:
    """Short texts; a table by its kind and by what it has otherwise than the others."""
    if not all(isinstance(value, dict) for value in values):
        return [_text(value) for value in values]
    keys = list(dict.fromkeys(key for value in values for key in value))
    tag = next((key for key in ("kind", "family", "graph", "method") if key in keys), None)
    differing = [
        key
        for key in keys
        if key != tag and len({_text(value[key]) for value in values if key in value}) > 1
    ]
    texts = []
    for value in values:
        told = [_text(value[tag])] if tag in value else []
        told += [f"{key} {_text(value[key])}" for key in differing if key in value]
        texts.append(" ".join(told))
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else f"{value:.6g}"


def _refused(axes: tuple[Axis, ...], shown: dict[str, Any], error: InputError) -> InputError:
    """The error about one configuration, with the axis that it comes from if that is clear."""
    fitting = [
        (len(path), axis.name)
        for axis in axes
        for path in axis.paths
        if re.match(re.escape(".".join(path)) + r"(\.|\[| \(|$)", error.argument)
    ]
    names = list(shown)
    if not fitting and len(names) > 1:
        at = ", ".join(f"{name} = {_text(value)}" for name, value in shown.items())
        return InputError("sweep", at, f"configurations that can be run ({error})")
    name = max(fitting)[1] if fitting else names[0]
    accepted = f"a value that the configuration takes ({error})"
    return InputError(f"sweep axis {name!r}", shown[name], accepted)
