"""The tables of a configuration that describe problems."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from dpe_jax.errors import InputError
from dpe_jax.fields import Matrix, Seed, Table, array_of, tagged, wrong
from dpe_jax.network import Network
from dpe_jax.problems import (
    Problem,
    Quadratic,
    SensorEstimation,
    breast_cancer,
    diabetes,
    digits,
    digits_network,
    fraud,
)

_MOST_VALUES = 2**28
"""Numbers in a problem's matrices: 2 GiB of them."""

Range = Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class QuadraticTable(Table):
    """Random quadratics, or given matrices A [agents][dim][dim] and minimizers b [agents][dim]."""

    kind: Literal["quadratic"]
    dim: PositiveInt | None = None
    seed: Seed | None = None
    noise: NonNegativeFloat = 0.0
    curvature: Range | None = None
    spread: NonNegativeFloat | None = None
    A: list[Matrix] | None = None
    b: Matrix | None = None

    @model_validator(mode="after")
    def _keys(self) -> "QuadraticTable":
        if self.A is None and self.b is None:
            for key in ("dim", "seed"):
                if getattr(self, key) is None:
                    raise wrong(key, None, "a value (random costs), or else both A and b")
            return self
        for key in ("A", "b"):
            if getattr(self, key) is None:
                raise wrong(key, None, "a value; A and b go together")
        for key in ("dim", "seed", "curvature", "spread"):
            if getattr(self, key) is not None:
                raise wrong(key, getattr(self, key), "no such key beside A and b")
        A, b = array_of(self.A), array_of(self.b)
        if A is None or A.ndim != 3 or not A.size or A.shape[1] != A.shape[2]:
            raise wrong("A", self.A, "a square matrix for each agent, all of one size")
        if b is None or b.shape != A.shape[:2]:
            raise wrong("b", self.b, f"{A.shape[0]} vectors of {A.shape[1]} numbers, like A")
        return self

    def build(self, network: Network) -> Problem:
        """The problem."""
        if self.A is not None and self.b is not None:
            return Quadratic(np.array(self.A, float), np.array(self.b, float), self.noise)
        assert self.dim is not None  # by the validator
        assert self.seed is not None
        _check_size("dim", self.dim, network.agents * self.dim**2)
        low, high = self.curvature or (0.5, 1.5)
        return Quadratic.random(
            network.agents,
            self.dim,
            seed=self.seed,
            noise=self.noise,
            curvature=(low, high),
            spread=1.0 if self.spread is None else self.spread,
        )


class SensorsTable(Table):
    """Sensor estimation with random measurement matrices."""

    kind: Literal["sensors"]
    dim: PositiveInt
    rows: PositiveInt
    seed: Seed
    noise: NonNegativeFloat
    omega: NonNegativeFloat
    disturbance: NonNegativeFloat = 0.1

    def build(self, network: Network) -> Problem:
        """The problem."""
        key, value = max(("dim", self.dim), ("rows", self.rows), key=lambda pair: pair[1])
        _check_size(key, value, network.agents * self.rows * self.dim)
        return SensorEstimation.random(
            network.agents,
            self.dim,
            self.rows,
            seed=self.seed,
            noise=self.noise,
            omega=self.omega,
            disturbance=self.disturbance,
        )


class SourcesTable(Table):
    """Strengths of sources, measured by the sensors of a network whose agents have positions."""

    kind: Literal["sources"]
    side: PositiveInt = 3
    reach: PositiveFloat = 0.2
    seed: Seed
    noise: NonNegativeFloat
    omega: NonNegativeFloat
    disturbance: NonNegativeFloat = 0.1

    def build(self, network: Network) -> Problem:
        """The problem."""
        if network.positions is None:
            raise InputError(
                "kind", self.kind, "a network with positions (network.graph = 'geometric')"
            )
        _check_size("side", self.side, network.agents * self.side**2)
        return SensorEstimation.of_sources(
            network.positions,
            side=self.side,
            reach=self.reach,
            seed=self.seed,
            noise=self.noise,
            omega=self.omega,
            disturbance=self.disturbance,
        )


class DivisionTable(Table):
    """What the tables of data sets share: how the samples are divided, and how many are drawn."""

    split: Literal["equal", "dirichlet"] = "equal"
    concentration: PositiveFloat = 1.0
    seed: Seed = 0
    batch: PositiveInt = 8


class BreastCancerTable(DivisionTable):
    """Logistic regression on scikit-learn's breast-cancer data, split over hospitals."""

    kind: Literal["breast-cancer"]
    penalty: NonNegativeFloat = 0.01
    intercept: bool = True
    test_fraction: Fraction = 0.0

    def build(self, network: Network) -> Problem:
        """The problem."""
        return breast_cancer(network.agents, **_arguments(self))


class DiabetesTable(DivisionTable):
    """Ridge regression on scikit-learn's diabetes data, split over clinics."""

    kind: Literal["diabetes"]
    penalty: NonNegativeFloat = 0.01
    test_fraction: Fraction = 0.2

    def build(self, network: Network) -> Problem:
        """The problem."""
        return diabetes(network.agents, **_arguments(self))


class DigitsTable(DivisionTable):
    """Softmax regression on scikit-learn's digits."""

    kind: Literal["digits"]
    penalty: NonNegativeFloat = 0.01
    test_fraction: Fraction = 0.2

    def build(self, network: Network) -> Problem:
        """The problem."""
        return digits(network.agents, **_arguments(self))


class DigitsNetworkTable(DivisionTable):
    """A small network of sigmoid units on scikit-learn's digits."""

    kind: Literal["digits-network"]
    hidden: PositiveInt = 16
    penalty: NonNegativeFloat = 0.0
    test_fraction: Fraction = 0.2

    def build(self, network: Network) -> Problem:
        """The problem."""
        _check_size("hidden", self.hidden, network.agents * 75 * self.hidden)
        return digits_network(network.agents, **_arguments(self))


class FraudTable(DivisionTable):
    """Logistic regression on made transactions of which few are fraud, split over banks."""

    kind: Literal["fraud"]
    split: Literal["equal", "dirichlet"] = "dirichlet"
    samples: PositiveInt = 4000
    positive: Share = 0.02
    penalty: NonNegativeFloat = 0.01
    test_fraction: Fraction = 0.25

    def build(self, network: Network) -> Problem:
        """The problem."""
        _check_size("samples", self.samples, 21 * self.samples)
        return fraud(network.agents, **_arguments(self))


ProblemTable = Annotated[
    QuadraticTable
    | SensorsTable
    | BreastCancerTable
    | SourcesTable
    | DiabetesTable
    | DigitsTable
    | DigitsNetworkTable
    | FraudTable,
    Field(discriminator="kind"),
    tagged(
        "kind",
        "quadratic",
        "sensors",
        "breast-cancer",
        "sources",
        "diabetes",
        "digits",
        "digits-network",
        "fraud",
    ),
]


def _arguments(table: Table) -> dict[str, Any]:
    """The keys of a table as arguments: those of a data set's function have the same names."""
    return table.model_dump(exclude={"kind"})


def _check_size(key: str, value: int, numbers: int) -> None:
    if numbers > _MOST_VALUES:
        raise InputError(key, value, f"matrices of at most {_MOST_VALUES} numbers")
