"""The tables of a configuration that describe methods: schedules, multipliers, algorithms."""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_serializer,
    model_validator,
)

from dpe_jax import factors, stepsizes
from dpe_jax.algorithms import (
    Algorithm,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    FunctionSharing,
    GeometricDP,
    RandomizedStateSharing,
    TailoredDP,
    TernaryDSGD,
)
from dpe_jax.errors import InputError
from dpe_jax.fields import Table, tagged, within, wrong
from dpe_jax.schedules import OptaxSchedule, PowerGrowth, PowerLaw, Schedule


class PowerLawTable(Table):
    """scale·(k + offset)^−exponent."""

    kind: Literal["power"] = "power"
    scale: PositiveFloat
    exponent: NonNegativeFloat
    offset: PositiveFloat = 1.0

    def build(self) -> Schedule:
        """The schedule."""
        return PowerLaw(self.scale, self.exponent, self.offset)


class PowerGrowthTable(Table):
    """scale·(k + offset)^exponent."""

    kind: Literal["growth"] = "growth"
    scale: PositiveFloat
    exponent: NonNegativeFloat
    offset: PositiveFloat = 1.0

    def build(self) -> Schedule:
        """The schedule."""
        return PowerGrowth(self.scale, self.exponent, self.offset)


class OptaxTable(Table):
    """A schedule of `optax.schedules` by name, with its arguments."""

    kind: Literal["optax"]
    function: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _storable(self) -> "OptaxTable":
        try:
            json.dumps(self.arguments, allow_nan=False)
        except (TypeError, ValueError) as error:
            accepted = "finite numbers, strings, booleans, arrays and tables"
            raise wrong("arguments", self.arguments, accepted) from error
        return self

    def build(self) -> Schedule:
        """The schedule, or InputError if optax does not take these arguments."""
        from optax import schedules

        known = [name for name in dir(schedules) if _FACTORY.fullmatch(name)]
        if self.function not in known:
            raise InputError("function", self.function, f"one of {', '.join(known)}")
        factory = getattr(schedules, self.function)
        try:
            schedule = OptaxSchedule(factory(**_integer_keys(self.arguments)))
            schedule.values(np.arange(2, dtype=np.int64))
        except InputError:
            raise
        # Optax checks little itself, and fails on bad arguments in whatever way it happens to.
        except Exception as error:
            accepted = f"arguments of optax.schedules.{self.function} ({error})"
            raise InputError("arguments", self.arguments, accepted) from error
        return schedule


_FACTORY = re.compile(r"[a-z]\w*_(schedule|decay)")


def _integer_keys(value: Any) -> Any:
    """TOML keys are text; optax's boundaries are integers."""
    if not isinstance(value, dict):
        return value
    return {
        int(key) if key.isascii() and key.isdigit() else key: _integer_keys(item)
        for key, item in value.items()
    }


ScheduleTable = Annotated[
    PowerLawTable | OptaxTable,
    Field(discriminator="kind"),
    tagged("kind", "power", "optax", default="power"),
]


NoiseTable = Annotated[
    PowerGrowthTable | PowerLawTable | OptaxTable,
    Field(discriminator="kind"),
    tagged("kind", "growth", "power", "optax", default="growth"),
]


class UniformTable(Table):
    """U[1 − h, 1 + h]."""

    family: Literal["uniform"] = "uniform"
    half_width: PositiveFloat = 1.0

    def build(self) -> stepsizes.Multipliers:
        """The distribution."""
        return stepsizes.Uniform(self.half_width)


class LogNormalTable(Table):
    """exp(σz − σ²/2)."""

    family: Literal["lognormal"]
    sigma: NonNegativeFloat

    def build(self) -> stepsizes.Multipliers:
        """The distribution."""
        return stepsizes.LogNormal(self.sigma)


class GammaTable(Table):
    """Gamma with mean one and variance 1/shape."""

    family: Literal["gamma"]
    shape: PositiveFloat

    def build(self) -> stepsizes.Multipliers:
        """The distribution."""
        return stepsizes.Gamma(self.shape)


class TwoPointTable(Table):
    """low or high, with mean one."""

    family: Literal["two-point"]
    low: float
    high: float

    def build(self) -> stepsizes.Multipliers:
        """The distribution."""
        return stepsizes.TwoPoint(self.low, self.high)


class NormalTable(Table):
    """1 + σz, which may be negative."""

    family: Literal["normal"]
    sigma: NonNegativeFloat

    def build(self) -> stepsizes.Multipliers:
        """The distribution."""
        return stepsizes.Normal(self.sigma)


class NoneTable(Table):
    """m = 1."""

    family: Literal["none"]

    def build(self) -> stepsizes.Multipliers:
        """The distribution."""
        return stepsizes.NoMultipliers()


MultipliersTable = Annotated[
    UniformTable | LogNormalTable | GammaTable | TwoPointTable | NormalTable | NoneTable,
    Field(discriminator="family"),
    tagged(
        "family",
        *("uniform", "lognormal", "gamma", "two-point", "normal", "none"),
        default="uniform",
    ),
]


class PublicTable(Table):
    """All weight factors are one."""

    kind: Literal["public"] = "public"

    def build(self) -> factors.Factors:
        """The factors."""
        return factors.PublicFactors()


class LinkTable(Table):
    """Random weight factors, one for each end of a link."""

    kind: Literal["link"]
    low: PositiveInt = 1
    high: PositiveInt = 15

    def build(self) -> factors.Factors:
        """The factors."""
        return factors.LinkFactors(self.low, self.high)


class CoordinateTable(Table):
    """Random weight factors, one for each end of a link and coordinate."""

    kind: Literal["coordinate"]
    low: PositiveInt = 1
    high: PositiveInt = 15

    def build(self) -> factors.Factors:
        """The factors."""
        return factors.CoordinateFactors(self.low, self.high)


FactorsTable = Annotated[
    PublicTable | LinkTable | CoordinateTable,
    Field(discriminator="kind"),
    tagged("kind", "public", "link", "coordinate", default="public"),
]


class EncryptedTable(Table):
    """`EncryptedDSGD`."""

    method: Literal["EncryptedDSGD"]
    gamma: ScheduleTable
    stepsize: ScheduleTable
    delta: PositiveFloat = 2.0**-7
    multipliers: MultipliersTable = UniformTable()
    means: list[PositiveFloat] | None = None
    rounding: Literal["stochastic", "nearest"] = "stochastic"
    factors: FactorsTable = PublicTable()

    def build(self) -> Algorithm:
        """The method."""
        return EncryptedDSGD(
            _built("gamma", self.gamma),
            _built("stepsize", self.stepsize),
            self.delta,
            _built("multipliers", self.multipliers),
            None if self.means is None else tuple(self.means),
            self.rounding,
            _built("factors", self.factors),
        )


class ConventionalTable(Table):
    """`ConventionalDSGD`."""

    method: Literal["ConventionalDSGD"]
    stepsize: ScheduleTable

    def build(self) -> Algorithm:
        """The method."""
        return ConventionalDSGD(_built("stepsize", self.stepsize))


class CentralizedTable(Table):
    """`CentralizedSGD`."""

    method: Literal["CentralizedSGD"]
    stepsize: ScheduleTable

    def build(self) -> Algorithm:
        """The method."""
        return CentralizedSGD(_built("stepsize", self.stepsize))


class TernaryTable(Table):
    """`TernaryDSGD`."""

    method: Literal["TernaryDSGD"]
    stepsize: ScheduleTable
    gamma: ScheduleTable
    range: PositiveFloat

    def build(self) -> Algorithm:
        """The method."""
        stepsize, gamma = _built("stepsize", self.stepsize), _built("gamma", self.gamma)
        return TernaryDSGD(stepsize, gamma, self.range)


class FunctionSharingTable(Table):
    """`FunctionSharing`."""

    method: Literal["FunctionSharing"]
    stepsize: ScheduleTable
    scale: PositiveFloat

    def build(self) -> Algorithm:
        """The method."""
        return FunctionSharing(_built("stepsize", self.stepsize), self.scale)


class StateSharingTable(Table):
    """`RandomizedStateSharing`."""

    method: Literal["RandomizedStateSharing"]
    stepsize: ScheduleTable
    scale: PositiveFloat

    def build(self) -> Algorithm:
        """The method."""
        return RandomizedStateSharing(_built("stepsize", self.stepsize), self.scale)


class _ClippingTable(Table):
    """Of a method that may clip its gradients."""

    clip: bool = False

    @model_serializer(mode="wrap")
    def _without_default(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        # So that a configuration without the key keeps its hash.
        written = handler(self)
        return written if self.clip else {k: v for k, v in written.items() if k != "clip"}


class GeometricTable(_ClippingTable):
    """`GeometricDP`."""

    method: Literal["GeometricDP"]
    c: PositiveFloat
    q: PositiveFloat
    M: PositiveFloat
    p: PositiveFloat
    radius: PositiveFloat
    gradient_bound: PositiveFloat

    def build(self) -> Algorithm:
        """The method."""
        return GeometricDP(
            self.c, self.q, self.M, self.p, self.radius, self.gradient_bound, self.clip
        )


class TailoredTable(_ClippingTable):
    """`TailoredDP`."""

    method: Literal["TailoredDP"]
    stepsize: ScheduleTable
    gamma: ScheduleTable
    noise: NoiseTable
    gradient_bound: PositiveFloat

    def build(self) -> Algorithm:
        """The method."""
        return TailoredDP(
            _built("stepsize", self.stepsize),
            _built("gamma", self.gamma),
            _built("noise", self.noise),
            self.gradient_bound,
            self.clip,
        )


MethodTable = Annotated[
    EncryptedTable
    | ConventionalTable
    | CentralizedTable
    | TernaryTable
    | FunctionSharingTable
    | StateSharingTable
    | GeometricTable
    | TailoredTable,
    Field(discriminator="method"),
    tagged(
        "method",
        "EncryptedDSGD",
        "ConventionalDSGD",
        "CentralizedSGD",
        "TernaryDSGD",
        "FunctionSharing",
        "RandomizedStateSharing",
        "GeometricDP",
        "TailoredDP",
    ),
]


def _built(key: str, table: Any) -> Any:
    with within(key, type(table).model_fields):
        return table.build()
