"""A folder of `dpe run`: what was asked and found, compared, certified and replayed."""

from typing import Any

from dpe_jax.convergence import at_most
from dpe_jax.folder import (
    CERTIFICATE,
    COMPARISON,
    CONFIG,
    CURVES,
    MANIFEST,
    REPORT,
    SUMMARY,
    TRACE,
    contents,
)
from dpe_jax.observe import LABELS
from dpe_jax.report import entries, judged, origin
from dpe_jax.report.content import Cell, Page, Row, Section, Table, Verdict
from dpe_jax.report.folders import Folder
from dpe_jax.report.numbers import interval, number
from dpe_jax.report.pictures import Known, figures

_CAPTIONS = (
    Known("objective", "Objective at the mean state", "{band}"),
    Known("errors", "Error of the worst agent and consensus error, in units of x", "{band}"),
    Known(
        "quantization",
        "Quantization error E‖ξ_i‖² of each agent beside its bound ½(n−1)²dδ², in units of x²",
        "mean over {runs} runs, to k = {iterations}",
    ),
    Known("stationarity", "Norm of the gradient at the mean state", "{band}"),
    Known("test", "The mean state on the test set", "{band}"),
    Known(
        "certificate",
        "Almost sure convergence: the share of runs beyond ε at or after iteration m with its "
        "upper bound, and suprema of the error from m on in units of the error at the start",
        "{runs} runs to k = {iterations}",
    ),
)
_SURE = "almost sure convergence"
"""How the checks of a result name what certificate.json judges."""

_BAND = "mean and 5–95 % band over {runs} runs of each method, to k = {iterations}"
_COMPARED = (
    "{label} of each method, and beside the baseline: means with 95 % bootstrap intervals over "
    "{runs} runs, to k = {iterations}"
)


def page(folder: Folder) -> Page:
    """The result of an experiment."""
    manifest = folder.model(MANIFEST, entries.Experiment)
    remarks = held(folder, manifest.contents)
    summary = folder.model(SUMMARY, entries.Summary)
    config = folder.config()
    sections = [_findings(summary, manifest)]
    counts = {"runs": number(manifest.runs), "iterations": number(manifest.iterations)}
    known = [one.said(band=_BAND.format(**counts), **counts) for one in _CAPTIONS]
    known += [
        Known(f"compare-{metric}", _COMPARED.format(label=label, **counts))
        for metric, label in LABELS.items()
    ]
    drawn, told = figures(folder, known)
    if not drawn:
        told.append("No figures are in the folder: dpe plot DIR draws them.")
    sections.append(Section(title="Figures", remarks=tuple(told), figures=drawn))
    names = {figure.name for figure in drawn}
    for name, made in ((COMPARISON, _compared), (CERTIFICATE, _certified)):
        if folder.has(name):
            sections.append(made(folder, manifest, names, summary.checks))
    sections += [
        judged.verifications(manifest.verifications, bool(manifest.trace)),
        judged.conditions(manifest.conditions),
        origin.environment(
            manifest,
            (config,),
            more=(
                ("precision of gradients", manifest.precision),
                ("network", origin.described(manifest.network)),
                ("problem", origin.described(manifest.problem)),
            ),
        ),
    ]
    return Page(
        "dpe run",
        manifest.name,
        description(config.text),
        (
            ("runs", counts["runs"]),
            ("iterations", counts["iterations"]),
            ("methods", str(len(summary.methods))),
            ("seed", str(manifest.seed)),
            ("time", origin.took(manifest.seconds)),
            ("dpe-jax", manifest.versions.get("dpe-jax", "not said")),
        ),
        (*remarks, *manifest.warnings),
        tuple(section for section in sections),
    )


def description(config: str) -> tuple[str, ...]:
    """What a configuration says of itself."""
    import tomllib

    found = tomllib.loads(config).get("description", "")
    return (str(found),) if found else ()


def held(folder: Folder, recorded: dict[str, Any]) -> list[str]:
    """Refuse files that are not as they were written; name what is not there."""
    found, told = contents(folder.path), []
    for name in sorted({*found, *recorded}):
        if name in (CURVES, TRACE) and name not in found:
            told.append(f"{name} is not in the folder; nothing on this page is read from it.")
        elif found.get(name) != recorded.get(name):
            raise folder.refused(f"{name} is not as it was written")
    known = {*recorded, MANIFEST, CONFIG, SUMMARY, COMPARISON, CERTIFICATE, REPORT, "figures"}
    told += [f"{name} is half-written." for name in folder.half_written()]
    return told + [
        f"{name} lies in the folder, and is no part of the result."
        for name in folder.others(known)
        if not name.endswith(".html")
    ]


def _findings(summary: entries.Summary, manifest: entries.Experiment) -> Section:
    """Checks, failures, and every metric at the last iteration."""
    metrics = list(dict.fromkeys(name for m in summary.methods.values() for name in m.final))
    labels: dict[str, str] = {str(name): label for name, label in LABELS.items()}
    tables = [_ends(summary), *_decays(summary)]
    for metric in metrics:
        rows: list[Row] = []
        for name, method in summary.methods.items():
            final = method.final.get(metric)
            if final is not None:
                numbers = final.mean, final.standard_error, final.low, final.median, final.high
                rows.append((name, *(number(one) for one in numbers), number(final.sound)))
        tables.append(
            Table(
                f"{labels.get(metric, metric)} at k = {number(summary.iterations)}, over the runs "
                f"that are sound there, of {number(summary.runs)}",
                ("method", "mean", "standard error", "5 %", "median", "95 %", "sound runs"),
                tuple(rows),
            )
        )
    remarks = [
        f"{name}: {number(count)} of {number(summary.runs)} runs {status}; they are left out of "
        "means from then on."
        for name, method in summary.methods.items()
        for status, count in method.status.items()
        if status != "ok" and count
    ]
    remarks += [
        f"{name} spends ε = {number(budget.total, 4)} over the run, for one agent's cost, under "
        "the assumptions in manifest.json."
        for name, budget in manifest.budget.items()
        if budget is not None
    ]
    checks = tuple(Verdict(check.name, check.passed, check.detail) for check in summary.checks)
    told = () if checks else ("No checks were asked for: dpe run --check asks for them.",)
    return Section(
        title="Results",
        paragraphs=told,
        remarks=tuple(remarks),
        verdicts=checks,
        tables=tuple(tables),
    )


def _ends(summary: entries.Summary) -> Table:
    """How the runs ended."""
    names = list(dict.fromkeys(name for m in summary.methods.values() for name in m.status))
    rows: list[Row] = []
    for name, method in summary.methods.items():
        cells = [
            Cell(number(method.status.get(status, 0)), "bad" if bad else "")
            for status in names
            for bad in [status != "ok" and method.status.get(status, 0) > 0]
        ]
        first = "–" if method.first_failure is None else f"k = {number(method.first_failure)}"
        rows.append((name, *cells, first))
    head = ("method", *names, "first failure")
    return Table(f"How the {number(summary.runs)} runs of each method ended", head, tuple(rows))


def _decays(summary: entries.Summary) -> list[Table]:
    """The fitted exponents beside those that theory predicts, if there are any."""
    rows: list[Row] = []
    for name, method in summary.methods.items():
        fit = method.decay
        if fit is not None:
            rows.append(
                (
                    name,
                    f"{number(fit.exponent)} {interval(fit.low, fit.high)}",
                    number(method.predicted_exponent),
                    f"{number(fit.first)} – {number(fit.last)}",
                    number(fit.runs),
                )
            )
    caption = "How max ‖x_i − x*‖ falls, like k^−β, with 95 % bootstrap intervals over runs"
    head = ("method", "β", "predicted in the limit", "iterations k", "runs")
    return [Table(caption, head, tuple(rows))] if rows else []


def _compared(
    folder: Folder,
    manifest: entries.Experiment,
    drawn: set[str],
    checks: tuple[entries.Check, ...],
) -> Section:
    found = folder.model(COMPARISON, entries.Comparison)
    tables = []
    for metric in found.by_metric.values():
        rows = tuple(_row(name, one, found.baseline) for name, one in metric.methods.items())
        head = ("method", "mean", "difference", "ratio", "is it real?")
        tables.append(Table(f"{metric.label} ({metric.better} is better)", head, rows))
    remarks = [f"{note}." for note in found.notes]
    if found.recorded != manifest.runs:
        remarks.append(
            f"The comparison is of {number(found.recorded)} runs, the result has "
            f"{number(manifest.runs)}: dpe compare DIR compares again."
        )
    if not any(name.startswith("compare-") for name in drawn):
        remarks.append("The figures of the comparison are missing: dpe compare DIR draws them.")
    told = (
        f"{number(found.runs)} paired runs at k = {number(found.iteration)}, beside "
        f"{found.baseline}. The difference is the mean over runs of method minus baseline, the "
        "ratio that of the two means; brackets are 95 % bootstrap intervals over runs. Real: the "
        "interval of the difference leaves out zero, and p survives a Bonferroni correction over "
        f"all {number(found.comparisons)} comparisons; only alone: p does not."
    )
    return Section(
        title="Comparison", paragraphs=(told,), remarks=tuple(remarks), tables=tuple(tables)
    )


def _row(name: str, one: entries.Compared, baseline: str) -> Row:
    def with_interval(value: float | None, ends: tuple[float | None, float | None] | None) -> str:
        return number(value) + (f" {interval(*ends)}" if ends else "")

    mean = with_interval(one.mean, one.interval)
    if name == baseline:
        return (name, mean, "–", "–", "the baseline")
    if one.verdict is None:
        return (name, mean, "–", "–", f"not compared{f': {one.note}' if one.note else ''}")
    verdict = one.verdict
    if one.real in ("yes", "only alone"):
        verdict += ": real" if one.real == "yes" else ": only alone, perhaps chance"
    return (
        name,
        mean,
        with_interval(one.difference, one.difference_interval),
        with_interval(one.ratio, one.ratio_interval),
        verdict + (f" ({one.note})" if one.note else ""),
    )


def _certified(
    folder: Folder,
    manifest: entries.Experiment,
    drawn: set[str],
    checks: tuple[entries.Check, ...],
) -> Section:
    found = folder.model(CERTIFICATE, entries.Certificate)
    rows: list[Row] = []
    for name, method in found.methods.items():
        rate = method.rate
        beta = "unknown" if rate is None else f"{number(rate.exponent)} "
        beta += "" if rate is None else interval(rate.low, rate.high)
        for one in method.epsilon:
            settled = "never" if one.settles_from is None else number(one.settles_from)
            rows.append(
                (
                    f"{name} (control)" if method.control else name,
                    number(one.fraction),
                    f"{number(one.tail_exceeding)} of {number(method.runs)}",
                    _bound(one.tail_upper_bound),
                    settled,
                    beta,
                    number(method.predicted_exponent),
                    Cell("accepted" if one.accepted else "refused"),
                )
            )
    start = next(iter(found.methods.values()), None)
    told = "" if start is None else (
        f"ε in units of the error at the start; the tail is k = {number(start.tail_from)} … "
        f"{number(found.iterations)}; bounds hold with {_percent(found.confidence)}."
    )  # fmt: skip
    table = Table(
        f"Runs beyond ε in the tail, and how the largest errors fall there, like k^−β. {told}",
        ("method", "ε", "beyond", "of all at most", "holds from m", "β", "predicted", "verdict"),
        tuple(rows),
    )
    remarks = []
    if any(method.runs != manifest.runs for method in found.methods.values()):
        remarks.append("The certificate is of fewer runs than the result: dpe certify DIR.")
    if "certificate" not in drawn:
        remarks.append("The figure of the certificate is missing: dpe certify DIR draws it.")
    # Where the checks of the result say the same, they are not counted twice.
    said = {(check.name, check.passed) for check in checks}
    verdicts = [
        _judged(name, method)
        for name, method in found.methods.items()
        if (f"{name}: {_SURE}", method.as_expected) not in said
    ]
    paragraphs = [found.meaning]
    if len(verdicts) < len(found.methods):
        paragraphs.append("Its checks are among those of the results, above.")
    return Section(
        title="Almost sure convergence",
        paragraphs=tuple(paragraphs),
        remarks=tuple(remarks),
        verdicts=tuple(verdicts),
        tables=(table,),
    )


def _judged(name: str, method: entries.Certified) -> Verdict:
    """That a method is accepted, or a control refused."""
    reasons = dict.fromkeys(reason for one in method.epsilon for reason in one.reasons)
    accepted = all(one.accepted for one in method.epsilon)
    detail = "accepted" if accepted else f"refused: {'; '.join(reasons)}"
    if method.control:
        return Verdict(f"{name}, a control that has to be refused", method.as_expected, detail)
    return Verdict(f"{name}: {_SURE}", method.as_expected, detail)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.3g} %"


def _bound(share: float | None) -> str:
    """An upper bound in percent: rounded up, so that it still is one."""
    return _percent(None if share is None else at_most(share, 5))
