"""The theorem: almost sure convergence, judged by runs, beside controls that must be refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpe_jax import drawing
from dpe_jax.certificate import CONFIDENCE, LEVEL, QUANTILES, TAIL, Study
from dpe_jax.certificate_figures import drawn
from dpe_jax.config import Config
from dpe_jax.convergence import at_most
from dpe_jax.errors import InputError
from dpe_jax.folder import CERTIFICATE, write_json
from dpe_jax.reproduce import curves, part
from dpe_jax.reproduce.part import Column, Drawing, Made, Table, Work
from dpe_jax.results import Stored
from dpe_jax.summary import Check, certified

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Almost sure convergence, with controls"
SOURCE = (
    "The paper's theorem: under its conditions the states converge almost surely to the optimum. "
    "The article has no figure of it."
)
DIFFERS = (
    "The theorem is about a limit, which runs of finite length cannot show. What is certified is "
    "stated below, and methods that break a condition each are put to the same test, which has to "
    "refuse them."
)


class Settings(part.Settings):
    """One experiment with `checks.certify`, and `checks.refused` for the controls."""

    experiment: Config


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Simulate the method and its controls, and judge the suprema of the error."""
    checks = settings.experiment.checks
    if not checks.certify:
        raise InputError("experiment.checks.certify", checks.certify, "one ε or more")
    simulating, judging = work.pieces(9, 1)
    outcome = simulating.run(settings.experiment, folder / "certify", check=False, warn=False)
    stored = outcome.stored
    study = certified(stored.config.checks, stored.summary, stored.curves)
    assert study is not None  # there is an ε
    judging.step(1, 1)
    write_json(stored.path / CERTIFICATE, study.summary())
    one = next(iter(study.certificates.values()))
    shape = (
        f"{one.runs} runs of K = {one.iterations} iterations each (n = "
        f"{stored.curves.sizes['agent']} agents, d = {stored.curves.sizes['coordinate']})"
    )
    rows = _rows(stored, study)
    tail = next(iter(study.certificates.values())).tail
    return Made(
        [
            Drawing(
                "certificate",
                "Left: share of runs whose largest error max_i ‖x_i − x*‖ at any iteration from m "
                f"to K exceeds ε = {checks.certify[0]:g} e_0: upper {100 * CONFIDENCE:g} % bounds "
                "(Clopper–Pearson), shaded down to the share that was counted, against m; e_0 is "
                f"the error at the start. {_beyond(study)}Accepted is a bound of at most "
                f"{100 * LEVEL:g} % at m = K/{TAIL} (at the record point m = {tail}), if the error "
                "still falls. Right: median (line) to 99 % quantile (shaded) of that largest "
                "error, in units of e_0, with ε and the predicted slope of the methods that are to "
                "be accepted; measured slopes are in the table. Controls break a condition each; "
                f"equal decay: γ = λ = 1/(k + 1). {_grids(stored)}{shape}.",
                rows,
                lambda: _figure(stored, study),
            )
        ],
        [_table(study, shape)],
        _checks(study),
        f"{DIFFERS} {study.meaning()}",
    )


def _checks(study: Study) -> list[Check]:
    """That every method is accepted, and every control refused."""
    return [
        Check(
            f"{curves.named(name)}: {'refused' if name in study.controls else 'accepted'}",
            study.as_expected(name),
            study.told(name),
        )
        for name in study.certificates
    ]


def _figure(stored: Stored, study: Study) -> "Figure":
    figure = drawn(stored, study, curves.methods(stored))
    drawing.entitle(figure, [])
    return figure


def _rows(stored: Stored, study: Study) -> list[dict[str, Any]]:
    """A row for each method, ε and m."""
    rows = []
    for name in stored.config.methods:
        found = study.certificates[name]
        for exceedance in found.exceedances:
            for place, m in enumerate(found.first):
                rows.append(
                    {
                        "method": curves.named(name),
                        "control": name in study.controls,
                        "epsilon_over_e0": exceedance.fraction,
                        "m": int(m),
                        "runs_beyond": int(exceedance.counts[place]),
                        "upper_bound": float(exceedance.bounds.upper[place]),
                        **{
                            f"supremum_over_e0_q{level:g}": float(row[place]) / found.start
                            for level, row in zip(QUANTILES, found.quantiles, strict=True)
                        },
                    }
                )
    return rows


def _beyond(study: Study) -> str:
    """Whose lines lie on each other: those of which all runs are beyond ε to the end."""
    always = [
        curves.named(name)
        for name, found in study.certificates.items()
        if found.exceedances[0].counts[-1] == found.runs
    ]
    return f"Lines at 1 lie on each other ({'; '.join(always)}). " if len(always) > 1 else ""


def _grids(stored: Stored) -> str:
    """The quantization steps, where they are not one."""
    steps: dict[float, list[str]] = {}
    for name, method in stored.config.methods.items():
        delta = getattr(method, "delta", None)
        if delta is not None:
            steps.setdefault(delta, []).append(curves.named(name))
    if len(steps) < 2:
        return ""
    usual = max(steps, key=lambda delta: len(steps[delta]))
    others = [
        f"δ = {delta:g} in {' and '.join(names)}"
        for delta, names in steps.items()
        if delta != usual
    ]
    return f"Quantization steps: {', '.join(others)}, δ = {usual:g} elsewhere. "


def _table(study: Study, shape: str) -> Table:
    tail = next(iter(study.certificates.values())).tail
    rows = [
        {
            "method": curves.named(name),
            "epsilon": exceedance.fraction,
            "beyond": exceedance.tail_count,
            "bound": at_most(exceedance.tail_bound),
            "settles": exceedance.settles_from,
            "final": found.final / found.start,
            "rate": None if found.rate is None else found.rate.exponent,
            "predicted": None if name in study.controls else found.predicted,
            "verdict": "accepted" if exceedance.accepted else "refused",
        }
        for name, found in study.certificates.items()
        for exceedance in found.exceedances
    ]
    return Table(
        "certificate",
        f"The certificate: {shape}; ε and errors in units of the error at the start, e_0. Runs "
        f"beyond ε are counted in the tail k ≥ K/{TAIL}, from the record point {tail} on; bounds "
        f"of the share of all runs, rounded up, hold with {100 * CONFIDENCE:g} %. β: the mean of "
        "the largest errors falls like k^−β in the tail; it is predicted where all conditions "
        "hold.",
        (
            Column("method", "method"),
            Column("epsilon", "ε", digits="g"),
            Column("beyond", "runs beyond", digits="d"),
            Column("bound", "share at most", digits=".2%"),
            Column("settles", "holds from m", digits="d"),
            Column("final", "error at K", digits=".3g"),
            Column("rate", "β", digits=".3f"),
            Column("predicted", "β predicted", digits=".3f"),
            Column("verdict", "verdict"),
        ),
        rows,
    )
