"""What a page needs of the JSON files of result folders; other entries are not looked at."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = float | None
"""None for a number that JSON cannot hold: NaN or an infinity."""

Ends = tuple[Number, Number]


class Entry(BaseModel):
    """An object of which some entries are read."""

    model_config = ConfigDict(extra="ignore")


class Check(Entry):
    """Of any manifest or summary."""

    name: str
    passed: bool
    detail: str


class PartCheck(Check):
    """Of a whole reproduction."""

    part: str


class Item(Entry):
    """A figure or a table of a part."""

    name: str
    caption: str = Field(min_length=1)
    files: tuple[str, ...]
    heads: tuple[str, ...] = ()
    """Of the columns of a table, for reading; those of its CSV file if there are none."""


class Origin(Entry):
    """With what something was made."""

    versions: dict[str, str]
    device: dict[str, Any]
    seed: int
    seconds: float | dict[str, float]
    config_hash: str = ""
    written: str = ""


class Reproduction(Origin):
    """manifest.json of `dpe reproduce`."""

    kind: Literal["reproduce"]
    scale: str
    started: str
    wall_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of the commands that made it; `seconds` are those of all parts."""
    parts: tuple[str, ...]
    asked: tuple[str, ...] = ()
    checks: tuple[PartCheck, ...]
    passed: bool
    sha256: dict[str, str] = {}
    """Of the manifests of its parts."""
    coming: dict[str, str] = {}
    """Of one that was about to take the place of an old one."""
    anew: tuple[str, ...] = ()
    """Parts that are still those of before, and are to be made anew."""
    others: dict[str, str] = {}
    """Of the manifests of parts that lie there and are damaged, or of another scale or seed."""


class Part(Origin):
    """manifest.json of a part of it."""

    kind: Literal["part"]
    part: str
    title: str
    resumed: bool = False
    scale: str
    checks: tuple[Check, ...]
    differs: str
    source: str
    figures: tuple[Item, ...]
    tables: tuple[Item, ...]
    sha256: dict[str, str] = {}
    """Of its files and stores, by their paths."""


class Condition(Entry):
    """A condition of convergence, and whether a method's settings meet it."""

    name: str
    statement: str
    holds: bool
    detail: str


class Lane(Entry):
    """A run that was replayed."""

    method: str
    run: int
    iterations: int
    status: str
    recorded: int


class Mismatch(Entry):
    """The first integer that differed."""

    method: str
    lane: int
    iteration: int
    agent: int
    coordinate: int
    quantity: str
    expected: int
    got: int


class Keys(Entry):
    """How something was encrypted."""

    backend: str
    randomness: str
    key_bits: int
    insecure_test_keys: bool


class Verification(Entry):
    """An entry of `dpe verify` in a manifest."""

    written: str
    verified: bool
    lanes: tuple[Lane, ...]
    iterations: int
    integers_compared: int
    mismatches: int
    first_mismatch: Mismatch | None
    stopped: tuple[str, ...]
    disagreements: tuple[Any, ...]
    messages: int
    ciphertext_bytes: int
    key_bytes: int
    encryption: Keys
    wall_seconds: float
    fanout: dict[str, Any]


class Budget(Entry):
    """What a differentially private method spends."""

    total: Number


class Experiment(Origin):
    """manifest.json of `dpe run`."""

    name: str
    runs: int
    iterations: int
    precision: str
    trace: tuple[int, ...]
    network: dict[str, Any]
    problem: dict[str, Any]
    conditions: dict[str, tuple[Condition, ...]]
    budget: dict[str, Budget | None] = {}
    warnings: tuple[str, ...]
    contents: dict[str, Any]
    verifications: tuple[Verification, ...] = ()


class Axis(Entry):
    """An axis of a sweep."""

    name: str
    size: int


class Axes(Entry):
    """What a sweep varies."""

    configurations: int
    axes: tuple[Axis, ...]
    labels: dict[str, tuple[Any, ...]]
    violated: tuple[dict[str, tuple[str, ...]], ...]


class Sweep(Origin):
    """manifest.json of `dpe sweep`."""

    name: str
    runs: int
    iterations: int
    precision: str
    keep: str
    sweep: Axes
    warnings: tuple[str, ...]
    contents: dict[str, Any]


class SweepSummary(Entry):
    """summary.json of `dpe sweep`."""

    runs: int
    iterations: int
    final: dict[str, tuple[dict[str, Any], ...]]


class Final(Entry):
    """A metric at the last iteration."""

    mean: Number
    standard_error: Number
    low: Number
    median: Number
    high: Number
    sound: int


class Decay(Entry):
    """How the error falls."""

    exponent: Number
    low: Number
    high: Number
    first: int
    last: int
    runs: int


class Method(Entry):
    """A method in summary.json."""

    status: dict[str, int]
    first_failure: int | None
    final: dict[str, Final]
    predicted_exponent: Number
    decay: Decay | None


class Summary(Entry):
    """summary.json of `dpe run`."""

    runs: int
    iterations: int
    minimum: Number
    methods: dict[str, Method]
    checks: tuple[Check, ...] = ()


class Compared(Entry):
    """A method beside the baseline, by one metric."""

    mean: Number
    interval: Ends | None
    difference: Number
    difference_interval: Ends | None
    ratio: Number
    ratio_interval: Ends | None
    verdict: str | None
    real: str | None
    note: str


class Metric(Entry):
    """All methods by one metric."""

    label: str
    better: str
    methods: dict[str, Compared]


class Comparison(Entry):
    """comparison.json."""

    baseline: str
    iteration: int
    runs: int
    recorded: int
    comparisons: int
    notes: tuple[str, ...]
    by_metric: dict[str, Metric]


class Exceedance(Entry):
    """The verdict at one ε."""

    fraction: float
    accepted: bool
    reasons: tuple[str, ...]
    settles_from: int | None
    tail_exceeding: int
    tail_upper_bound: Number


class Rate(Entry):
    """How the error falls at the end."""

    exponent: Number
    low: Number
    high: Number


class Certified(Entry):
    """A method in certificate.json."""

    control: bool
    as_expected: bool
    runs: int
    initial_error: Number
    final_peak_error: Number
    tail_from: int
    rate: Rate | None
    predicted_exponent: Number
    epsilon: tuple[Exceedance, ...]


class Certificate(Entry):
    """certificate.json."""

    passed: bool
    iterations: int
    confidence: float
    level: float
    meaning: str
    methods: dict[str, Certified]
