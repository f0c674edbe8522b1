"""What a page needs of audit.json."""

from typing import Any

from dpe_jax.report.entries import Condition, Entry, Number, Origin

Estimate = tuple[Number, Number, Number]
"""A value and its interval."""


class Leak(Entry):
    """The best attack of a kind."""

    attack: str
    iteration: int
    error: Estimate
    chance: float


class Scores(Entry):
    """0 to 3."""

    gradients: int
    states: int
    total: int


class AuditCell(Entry):
    """A method under a view."""

    method: str
    view: str
    source: str
    gradient: Leak | None
    sign: Leak | None
    mean: Leak | None
    state: Leak | None
    scores: Scores


class Claim(Entry):
    """A score of the article, and what was measured."""

    criterion: str
    claimed: int
    view: str
    method: str
    measured: int
    agrees: bool


class Claims(Entry):
    """All of them."""

    source: str
    scores: tuple[Claim, ...]


class LeakVerdict(Entry):
    """Which methods leave a secret open to a view."""

    secret: str
    view: str
    verdicts: dict[str, str]
    errors: dict[str, Number]


class Bound(Entry):
    """An attack beside the bound on every estimator."""

    holds: bool


class Price(Entry):
    """What a method costs beside what it leaks."""

    method: str
    leakage: Estimate
    state_leakage: Estimate
    accuracy: Number
    bytes: Number
    cpu_seconds: Number
    dominated: bool


class Cost(Entry):
    """The accuracy of a method."""

    times_plain: Number
    times_conventional: Number
    failed: int


class Advantage(Entry):
    """With which ciphertexts were told apart."""

    advantage: Estimate


class Distinguished(Entry):
    """An experiment with ciphertexts of two messages."""

    scheme: str
    path: str
    flaw: str | None
    trials: int
    adversaries: dict[str, Advantage]
    least_p: Number
    caught: bool


class Ciphertexts(Entry):
    """That part of an audit."""

    passed: bool
    tests: int
    family_p: Number
    experiments: tuple[Distinguished, ...]
    controls: tuple[Distinguished, ...]


class Counted(Entry):
    """How many pictures."""

    count: int


class Pictured(Entry):
    """An attack on pictures."""

    targets: int
    exact: Counted
    recognisable: Counted
    psnr_median: Number
    ssim_median: Number


class Images(Entry):
    """That part of an audit."""

    network: str
    iteration: int
    channels: dict[str, dict[str, Pictured]]
    methods: dict[str, dict[str, str]]


class AuditOrigin(Origin):
    """The manifest within audit.json."""

    runs: int
    iterations: int
    precision: str
    network: dict[str, Any]
    problem: dict[str, Any]
    conditions: dict[str, tuple[Condition, ...]]


class Audit(Entry):
    """audit.json."""

    name: str
    target: int
    runs: int
    iterations: int
    averages_from: int
    views: tuple[str, ...]
    members: dict[str, tuple[int, ...]]
    skipped: tuple[str, ...]
    cells: tuple[AuditCell, ...]
    rule: tuple[str, ...]
    claims: Claims
    leaks: tuple[LeakVerdict, ...]
    costs: dict[str, Cost]
    bounds: tuple[Bound, ...]
    pareto: tuple[Price, ...]
    findings: tuple[str, ...]
    images: Images | None = None
    ciphertexts: Ciphertexts | None = None
    manifest: AuditOrigin
