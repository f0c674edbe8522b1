"""The command `dpe audit`, and how an audit is shown."""

import argparse
import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax import experiment
from dpe_jax.config import Config
from dpe_jax.errors import InputError
from dpe_jax.fanout import Processes
from dpe_jax.folder import (
    AUDIT,
    AUDIT_PAGE,
    CONFIG,
    check_replaceable,
    whole,
    whole_folder,
    write_json,
)
from dpe_jax.options import changes, in_words, tell
from dpe_jax.paillier.setup import Encryption
from dpe_jax.privacy.audit import Audit, audit
from dpe_jax.privacy.pareto import Price, prices
from dpe_jax.privacy.report import Part, Report, markdown
from dpe_jax.privacy.scores import RULE
from dpe_jax.progress import Bars
from dpe_jax.replays import asked_encryption
from dpe_jax.results import manifest, resolved_toml
from dpe_jax.simulation import Simulation
from dpe_jax.study import Study, processors

_OPTIONS = {
    "target": "--target",
    "neighbor": "--neighbor",
    "coalition": "--coalition",
    "start": "--from",
    "runs": "--runs",
    "iterations": "--iterations",
}
"""Arguments of `audit`, as options."""

_NAME = 14
"""Letters of a method's name in a line of the table; it is broken at hyphens first."""


def run_audit(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe audit PRESET|CONFIG`."""
    began = time.perf_counter()
    config = experiment.override(experiment.find_config(options.config), changes(options))
    without = frozenset(options.without or ())
    encryption = asked_encryption(options, log)
    out = Path(options.out) if options.out else _default_folder(config, options)
    # A default folder is named after all that decides the result.
    overwrite = options.overwrite or not options.out
    check_replaceable(out, overwrite)
    simulation = config.build()
    _warn(simulation, log)
    with whole_folder(out, overwrite) as scratch:
        with _as_options(), Bars(log) as bars:
            found = audit(
                simulation,
                target=options.target,
                neighbor=options.neighbor,
                coalition=tuple(options.coalition or ()),
                start=options.start,
                told=lambda name: log.print(f"{name}: runs, observers and attacks"),
                progress=bars,
            )
        figures = None if options.no_figures else scratch / "figures"
        costs = _prices(simulation, found, None if "cost" in without else encryption, log)
        parts = _parts(simulation, found, options, without, figures, log)
        report = Report(config.name, simulation, found, costs, parts)
        drawn = [] if figures is None else _draw(report, figures)
        record = manifest(config, Study((simulation,)))
        record["seconds"] = round(time.perf_counter() - began, 1)
        (scratch / CONFIG).write_text(resolved_toml(config), encoding="utf-8")
        content = report.to_dict() | {"manifest": record}
        write_json(scratch / AUDIT, content, compact=True)
        with whole(scratch / AUDIT_PAGE) as stream:
            stream.write(markdown(report, drawn).encode())
    if screen:
        show(screen, report)
        screen.print(f"written to {out}", soft_wrap=True)
    files = [str(out / "figures" / f"{name}.{kind}") for name in drawn for kind in ("png", "pdf")]
    return 0, {"folder": str(out), "figures": files, **report.to_dict(curves=False)}


def show(screen: Console, report: Report) -> None:
    """The table of scores with its rule, then what was found."""
    found = report.audit
    tell(
        screen,
        f"{report.name}: what is learned of agent {found.target}, {found.runs} runs to k = "
        f"{found.iterations}\nscore, then the best attacks' errors beside chance: g a single "
        "gradient, ± its signs,\nmean: the long-run mean, x the state\n",
    )
    screen.print(scores(report), "")
    for line in (*RULE, "", *report.findings):
        screen.print(line, soft_wrap=not screen.is_terminal)


def scores(report: Report) -> Table:
    """Methods by views."""
    found = report.audit
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    for view in found.views:
        table.add_column(view)
    for name in found.methods:
        cells = [report.lines(found.cell(name, view)) for view in found.views]
        table.add_row(in_words(name, _NAME), *("\n".join(cell) for cell in cells))
        table.add_section()
    return table


def _default_folder(config: Config, options: argparse.Namespace) -> Path:
    """dpe-results/<name>-<hash of everything that decides the result>-audit."""
    names = ("target", "neighbor", "coalition", "start", "without", "key_bits", "no_figures")
    asked = {name: getattr(options, name) for name in names}
    canonical = json.dumps([config.model_dump(mode="json"), asked], sort_keys=True)
    short = hashlib.sha256(canonical.encode()).hexdigest()[:8]
    return Path("dpe-results") / f"{config.name}-{short}-audit"


def _prices(
    simulation: Simulation, found: Audit, encryption: Encryption | None, log: Console
) -> tuple[Price, ...]:
    return prices(
        simulation,
        found,
        encryption,
        told=lambda name: log.print(f"{name}: calibrating the cost of encryption"),
    )


def _parts(
    simulation: Simulation,
    found: Audit,
    options: argparse.Namespace,
    without: frozenset[str],
    figures: Path | None,
    log: Console,
) -> tuple[Part, ...]:
    """Those that are not left out."""
    from dpe_jax.privacy import parts

    made = []
    if "images" not in without:
        made.append(
            parts.images(simulation, found, figures, lambda name: log.print(f"{name}: pictures"))
        )
    if "ciphertexts" not in without:
        log.print(f"ciphertexts: experiments with keys of {options.key_bits} bits")
        workers = Processes(processors())
        made.append(
            parts.ciphertexts(simulation, options.key_bits, options.insecure_test_keys, workers)
        )
    return tuple(made)


def _draw(report: Report, figures: Path) -> list[str]:
    """Names of all figures in the folder, those of parts among them."""
    from dpe_jax.privacy import figures as drawing

    drawn = [path.stem for path in drawing.draw(report, figures) if path.suffix == ".png"]
    others = sorted(path.stem for path in figures.glob("*.png"))
    return [*drawn, *(name for name in others if name not in drawn)]


def _warn(simulation: Simulation, log: Console) -> None:
    """Conditions that do not hold."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulation.warn()
    for warning in caught:
        log.print(f"warning: {warning.message}", style="yellow")


@contextlib.contextmanager
def _as_options() -> Iterator[None]:
    """Name the option in a refusal of an argument."""
    try:
        yield
    except InputError as error:
        if error.argument not in _OPTIONS:
            raise
        raise InputError(_OPTIONS[error.argument], error.value, error.accepted) from error
