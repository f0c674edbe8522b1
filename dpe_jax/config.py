"""Configurations: what a TOML file may say, and the objects it stands for."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from dpe_jax.algorithms import Algorithm
from dpe_jax.certificate import METRIC
from dpe_jax.errors import InputError
from dpe_jax.fields import Matrix, Name, Seed, Table, Title, array_of, refusal, within, wrong
from dpe_jax.network import Network
from dpe_jax.observe import Metric
from dpe_jax.problem_tables import ProblemTable
from dpe_jax.problems import Problem
from dpe_jax.simulation import Simulation
from dpe_jax.sweep_tables import SweepTable
from dpe_jax.tables import MethodTable

_MOST_AGENTS = 10_000
"""Coupling weights are a dense matrix: more agents take gigabytes for it alone."""

Count = Annotated[int, Field(ge=1, le=_MOST_AGENTS)]
Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Agent = Annotated[int, Field(ge=0, lt=_MOST_AGENTS)]
Pair = Annotated[list[Agent], Field(min_length=2, max_length=2)]

_GRAPH_KEYS: dict[str, tuple[str, ...]] = {
    "ring": ("agents",),
    "path": ("agents",),
    "star": ("agents",),
    "complete": ("agents",),
    "grid": ("rows", "columns"),
    "erdos-renyi": ("agents", "probability", "seed"),
    "random-regular": ("agents", "degree", "seed"),
    "geometric": ("agents", "radius", "seed"),
    "edges": ("edges",),
    "matrix": (),
}

_PLACED_KEYS = ("positions", "radius")
"""Of graph "geometric" where the positions are given instead of drawn."""


Weights = Annotated[
    Annotated[Literal["metropolis", "max-degree"], Tag("name")] | Annotated[Matrix, Tag("matrix")],
    Discriminator(lambda value: "matrix" if isinstance(value, list) else "name"),
]


class NetworkTable(Table):
    """A graph with coupling weights; which keys a graph needs is in the message that misses one.

    Graph "geometric" draws its agents' positions (`agents`, `seed`) or is given them (`positions`).
    """

    graph: Literal[
        "ring",
        "path",
        "star",
        "complete",
        "grid",
        "erdos-renyi",
        "random-regular",
        "geometric",
        "edges",
        "matrix",
    ]
    agents: Count | None = None
    rows: Count | None = None
    columns: Count | None = None
    probability: Probability | None = None
    degree: PositiveInt | None = None
    radius: PositiveFloat | None = None
    seed: Seed | None = None
    positions: Annotated[Matrix, Field(max_length=_MOST_AGENTS)] | None = None
    edges: list[Pair] | None = None
    weights: Weights = "metropolis"
    scale: PositiveFloat = 1.0
    max_denominator: PositiveInt = 2**16

    @model_validator(mode="after")
    def _keys(self) -> "NetworkTable":
        needed, needs = self._needed()
        keys = (key for keys in (*_GRAPH_KEYS.values(), _PLACED_KEYS) for key in keys)
        for key in dict.fromkeys(keys):
            given = getattr(self, key) is not None
            if key in needed and not given:
                raise wrong(key, None, f"a value; {needs}")
            if given and key not in needed and not (key == "agents" and self.graph == "edges"):
                raise wrong(key, getattr(self, key), f"no such key; {needs}")
        for agent, place in enumerate(self.positions or ()):
            if len(place) != 2:
                raise wrong(f"positions[{agent}]", place, "two coordinates [x, y]")
        if self.graph == "matrix" and isinstance(self.weights, str):
            raise wrong("weights", self.weights, "a matrix (an array of rows) for graph 'matrix'")
        if self.rows and self.columns and self.rows * self.columns > _MOST_AGENTS:
            accepted = f"at most {_MOST_AGENTS} agents, rows · columns"
            raise wrong("rows", self.rows, accepted)
        return self

    @model_serializer(mode="wrap")
    def _without_default(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # So that a configuration without the key keeps its hash.
        written = handler(self)
        return {k: v for k, v in written.items() if k != "positions" or v is not None}

    def _needed(self) -> tuple[tuple[str, ...], str]:
        """The keys that the graph needs, and a message that says so."""
        kind, needed = f"graph {self.graph!r}", _GRAPH_KEYS[self.graph]
        if self.positions is not None and self.graph == "geometric":
            kind, needed = f"{kind} with positions", _PLACED_KEYS
        needs = f"{kind} needs {', '.join(needed) or 'none'}"
        if self.graph == "geometric" and needed != _PLACED_KEYS:
            needs += f" (or else {', '.join(_PLACED_KEYS)})"
        return needed, needs

    def build(self) -> Network:
        """The network."""
        network = self._graph()
        if self.scale == 1:
            return network
        try:
            return network.scaled(self.scale)
        except InputError as error:
            raise InputError("scale", error.value, error.accepted) from error

    def _graph(self) -> Network:
        if self.graph == "matrix" and not isinstance(self.weights, str):
            return Network.from_matrix(self.weights, self.max_denominator)
        extra: dict[str, Any] = {"weights": self.weights, "max_denominator": self.max_denominator}
        if self.graph == "edges":
            return Network.from_edges(self.edges or [], self.agents, **extra)
        if self.positions is not None:
            assert self.radius is not None  # by the validator
            return Network.from_positions(self.positions, self.radius, **extra)
        constructor = getattr(Network, self.graph.replace("-", "_"))
        return constructor(*(getattr(self, key) for key in _GRAPH_KEYS[self.graph]), **extra)


class RecordTable(Table):
    """Which iterations are recorded, and what."""

    points: Annotated[int, Field(ge=2)] = 200
    spacing: Literal["linear", "log"] = "log"
    metrics: Annotated[list[Metric], Field(min_length=1)] | None = None
    """By default all that the problem has; see `observe.defaults`."""


class ChecksTable(Table):
    """What `dpe run --check` and `dpe reproduce` check, beside that no run failed."""

    gap_fraction: PositiveFloat | None = None
    """Every method's mean F(x̄) − F* must fall to this fraction of its start."""
    decay_from: PositiveInt | None = None
    """Fit max_i ‖x_i − x*‖ from this iteration on; k^−(b−a) must lie in the interval."""
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    """Of which methods both are asked; by default all."""
    certify: Annotated[list[Fraction], Field(min_length=1)] | None = None
    """ε of `dpe certify`, as fractions of the initial error; every method must be accepted."""
    refused: Annotated[list[str], Field(min_length=1)] | None = None
    """Controls: methods that break a condition, and that `dpe certify` must refuse instead."""

    @model_serializer(mode="wrap")
    def _without_default(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # So that a configuration without these keys keeps its hash.
        written = handler(self)
        added = ("certify", "refused")
        return {k: v for k, v in written.items() if k not in added or v is not None}


Start = Annotated[
    Annotated[list[float], Tag("one")] | Annotated[Matrix, Tag("each")],
    Discriminator(
        lambda value: (
            "each" if isinstance(value, list) and value and isinstance(value[0], list) else "one"
        )
    ),
]


Built = dict[str | tuple[str, str], Any]
"""Networks by their table, and problems by the tables of network and problem."""


class Config(Table):
    """A whole experiment."""

    name: Name
    description: str = ""
    runs: Annotated[int, Field(ge=1, le=2**32)]
    iterations: Annotated[int, Field(ge=1, lt=2**32 - 1)]
    seed: Seed = 0
    precision: Literal["float32", "float64"] = "float32"
    trace: list[NonNegativeInt] = Field(default_factory=list)
    block: PositiveInt | None = None
    x0: Start | None = None
    record: RecordTable = RecordTable()
    checks: ChecksTable = ChecksTable()
    network: NetworkTable
    problem: ProblemTable
    methods: Annotated[dict[Title, MethodTable], Field(min_length=1)]
    sweep: SweepTable | None = None
    """What `sweeps.expand` varies; without it the configuration stands for one experiment."""

    @model_serializer(mode="wrap")
    def _without_default(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # So that a configuration without the key keeps its hash.
        written = handler(self)
        return {k: v for k, v in written.items() if k != "sweep" or v is not None}

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.x0 is not None and array_of(self.x0) is None:
            raise wrong("x0", self.x0, "rows of one length, one for each agent")
        for key in ("methods", "refused"):
            for name in getattr(self.checks, key) or ():
                if name not in self.methods:
                    raise wrong(f"checks.{key}", name, f"some of {', '.join(self.methods)}")
        if self.checks.certify is not None and METRIC not in (self.record.metrics or ()):
            accepted = f"{METRIC} among record.metrics beside it"
            raise wrong("checks.certify", self.checks.certify, accepted)
        return self

    def build(self, built: Built | None = None) -> Simulation:
        """The simulation; InputError names the key that does not fit.

        Networks and problems that are in `built` already are not built again.
        """
        if self.sweep is not None:
            axes = [column.key for axis in self.sweep.axis for column in axis.columns()]
            accepted = "no such table: this is one experiment, and a sweep is for dpe sweep"
            raise InputError("sweep", axes, accepted)
        # What overflows is refused by what checks it, in one line.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._build({} if built is None else built)

    def _build(self, built: Built) -> Simulation:
        place, kind = self.network.model_dump_json(), self.problem.model_dump_json()
        if place not in built:
            with within("network", NetworkTable.model_fields):
                built[place] = self.network.build()
        network = built[place]
        if (place, kind) not in built:
            built[place, kind] = self._problem(network)
        problem = built[place, kind]
        for key in ("gap_fraction", "decay_from") if not problem.has_optimum else ():
            if (value := getattr(self.checks, key)) is not None:
                raise InputError(
                    f"checks.{key}", value, "none (no optimum of this problem is known)"
                )
        algorithms = {}
        for name, table in self.methods.items():
            with within(f"methods.{name}", type(table).model_fields):
                algorithms[name] = table.build()
        try:
            return self._simulation(algorithms, problem, network)
        except InputError as error:
            key = self._key(error, algorithms, problem, network)
            raise InputError(key, error.value, error.accepted) from error

    def _problem(self, network: Network) -> Problem:
        """The problem; what it takes from the network and refuses is a key of the network."""
        try:
            return self.problem.build(network)
        except InputError as error:
            table, where = type(self.problem), "problem"
            if error.argument.split("[")[0] in ("agents", "positions"):
                table, where = NetworkTable, "network"
            with within(where, table.model_fields):
                raise

    def _simulation(
        self, algorithms: dict[str, Algorithm], problem: Problem, network: Network
    ) -> Simulation:
        return Simulation(
            algorithms,
            problem,
            network,
            self.runs,
            self.iterations,
            self.seed,
            tuple(self.trace),
            None if self.record.metrics is None else tuple(self.record.metrics),
            self.record.points,
            self.record.spacing,
            self.precision,
            self.block,
            None if self.x0 is None else np.array(self.x0, np.float64),
        )

    def _key(
        self,
        error: InputError,
        algorithms: dict[str, Algorithm],
        problem: Problem,
        network: Network,
    ) -> str:
        """The key of the file that an argument of `Simulation` or of a method stands for."""
        if error.argument in Config.model_fields:
            return error.argument
        if error.argument in RecordTable.model_fields:
            return f"record.{error.argument}"
        for name, algorithm in algorithms.items():
            try:
                self._simulation({name: algorithm}, problem, network)
            except InputError:
                # The first method that is refused by itself is the one that was named.
                table = self.methods[name]
                for key in ("gamma", "stepsize", "noise"):
                    if not _evaluates(getattr(algorithm, key, None), self.iterations):
                        return f"methods.{name}.{key} ({error.argument})"
                known = error.argument in type(table).model_fields
                return f"methods.{name}.{error.argument}" if known else error.argument
        return error.argument


def parse(tables: dict[str, Any]) -> Config:
    """A validated configuration; InputError names the first key that is wrong."""
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        raise refusal(tables, error) from error


def _evaluates(schedule: Any, iterations: int) -> bool:
    """Whether a schedule has a value at every iteration that a simulation looks at first."""
    if schedule is None:
        return True
    try:
        schedule.values(np.arange(min(iterations, 100_000), dtype=np.int64))
    except InputError:
        return False
    return True
