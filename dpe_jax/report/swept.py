"""A folder of `dpe sweep`: every configuration and method at the last iteration."""

from typing import Any

from dpe_jax.folder import MANIFEST, SUMMARY
from dpe_jax.observe import LABELS
from dpe_jax.report import entries, origin
from dpe_jax.report.content import Page, Row, Section, Table
from dpe_jax.report.experiments import description, held
from dpe_jax.report.folders import Folder
from dpe_jax.report.numbers import number
from dpe_jax.report.pictures import Known, figures

_CAPTIONS = (
    Known("heat_map", "Mean over two axes of the sweep, at the last iteration", "{of}"),
    Known("curves", "Curves of the configurations, mean and 5–95 % band over runs", "{of}"),
    Known("response", "Response to one axis of the sweep, at the last iteration", "{of}"),
)
_MOST_ROWS = 200
_COLUMNS = ("mean", "standard_error", "low", "median", "high")
_HEADS = ("mean", "standard error", "5 %", "median", "95 %")


def page(folder: Folder) -> Page:
    """The result of a sweep."""
    manifest = folder.model(MANIFEST, entries.Sweep)
    remarks = held(folder, manifest.contents)
    summary = folder.model(SUMMARY, entries.SweepSummary)
    config = folder.config()
    of = (
        f"{number(manifest.sweep.configurations)} configurations of {number(manifest.runs)} runs "
        f"each, to k = {number(manifest.iterations)}"
    )
    drawn, told = figures(folder, [one.said(of=of) for one in _CAPTIONS])
    if not drawn:
        told.append("No figures are in the folder: dpe plot DIR draws them.")
    labels = list(manifest.sweep.labels)
    tables = [
        table
        for metric, rows in summary.final.items()
        if (table := _table(folder, metric, rows, labels, summary)) is not None
    ]
    axes = tuple((axis.name, f"{number(axis.size)} values") for axis in manifest.sweep.axes)
    return Page(
        "dpe sweep",
        manifest.name,
        description(config.text),
        (
            ("configurations", number(manifest.sweep.configurations)),
            ("runs each", number(manifest.runs)),
            ("iterations", number(manifest.iterations)),
            ("seed", str(manifest.seed)),
            ("time", origin.took(manifest.seconds)),
            ("dpe-jax", manifest.versions.get("dpe-jax", "not said")),
        ),
        (*remarks, *manifest.warnings),
        (
            Section(title="Figures", remarks=tuple(told), figures=drawn),
            Section(title="Configurations", facts=axes, tables=tuple(tables)),
            _conditions(manifest),
            origin.environment(
                manifest,
                (config,),
                more=(("precision of gradients", manifest.precision), ("kept", manifest.keep)),
            ),
        ),
    )


def _table(
    folder: Folder,
    metric: str,
    found: tuple[dict[str, Any], ...],
    labels: list[str],
    summary: entries.SweepSummary,
) -> Table | None:
    names: dict[str, str] = {str(name): label for name, label in LABELS.items()}
    rows: list[Row] = []
    try:
        for one in found[:_MOST_ROWS]:
            values = (one[f"{metric}_{column}"] for column in _COLUMNS)
            rows.append(
                (
                    str(one["configuration"]),
                    *(_label(one[label]) for label in labels),
                    str(one["algorithm"]),
                    *(number(value) for value in values),
                    number(one["failed"]),
                )
            )
    except (KeyError, TypeError) as error:
        raise folder.refused(
            f"{SUMMARY}: final.{metric}: {error} is missing or of no use"
        ) from error
    note = ""
    if len(found) > _MOST_ROWS:
        note = f"The first {_MOST_ROWS} of {number(len(found))} rows; {SUMMARY} has all."
    caption = (
        f"{names.get(metric, metric)} at k = {number(summary.iterations)}, over "
        f"{number(summary.runs)} runs of each configuration"
    )
    head = ("number", *labels, "method", *_HEADS, "failed runs")
    return Table(caption, head, tuple(rows), note) if rows else None


def _label(value: Any) -> str:
    return number(value, 6) if isinstance(value, float) else str(value)


def _conditions(manifest: entries.Sweep) -> Section:
    """The conditions that configurations break."""
    broken: dict[tuple[str, str], int] = {}
    for one in manifest.sweep.violated:
        for method, statements in one.items():
            for statement in statements:
                key = method, statement
                broken[key] = broken.get(key, 0) + 1
    title = "Conditions of convergence"
    if not broken:
        return Section(title=title, paragraphs=("Every configuration meets those of its methods.",))
    count = number(manifest.sweep.configurations)
    rows: tuple[Row, ...] = tuple(
        (method, statement, f"{number(times)} of {count}")
        for (method, statement), times in broken.items()
    )
    head = ("method", "condition", "configurations")
    return Section(title=title, tables=(Table("Conditions that do not hold", head, rows),))
