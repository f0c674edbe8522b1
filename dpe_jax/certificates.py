"""The command `dpe certify`, and how certificates are shown."""

import argparse
import textwrap
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dpe_jax.certificate import CONFIDENCE, LEVEL, METRIC, TAIL, Certificate, Exceedance, Study
from dpe_jax.convergence import at_most
from dpe_jax.errors import InputError
from dpe_jax.folder import CERTIFICATE, write_json
from dpe_jax.results import Stored, load_experiment
from dpe_jax.summary import certified

_WIDTH = 80


def run_certify(
    options: argparse.Namespace, log: Console, screen: Console | None
) -> tuple[int, dict[str, Any]]:
    """`dpe certify DIR`."""
    stored = load_experiment(Path(options.folder))
    report = made(stored, screen, options.epsilon, options.confidence, not options.no_figures)
    if screen:
        screen.print(f"written to {stored.path}", soft_wrap=True)
    return 0 if report["passed"] else 1, {"folder": str(stored.path), **report}


def made(
    stored: Stored,
    screen: Console | None,
    epsilon: list[float] | None = None,
    confidence: float = CONFIDENCE,
    figures: bool = True,
) -> dict[str, Any]:
    """Certify a result, show what is found, and write certificate.json and the figure."""
    if METRIC not in stored.curves:
        accepted = f"a result with {METRIC} among its record.metrics"
        raise InputError("DIR", str(stored.path), accepted)
    checks = stored.config.checks
    study = certified(checks, stored.summary, stored.curves, epsilon, confidence)
    if study is None:
        accepted = "fractions of the initial error: the configuration has no checks.certify"
        raise InputError("--epsilon", None, accepted)
    report = study.summary()
    try:
        write_json(stored.path / CERTIFICATE, report)
    except OSError as error:
        accepted = f"a writable folder ({error.strerror})"
        raise InputError("DIR", str(stored.path), accepted) from error
    if screen:
        show(screen, stored, study)
    return {"figures": _draw(stored, study) if figures else [], **report}


def _draw(stored: Stored, study: Study) -> list[str]:
    from dpe_jax import certificate_figures

    drawn = certificate_figures.draw(stored, study, stored.path / "figures")
    return [str(path) for path in drawn]


def show(screen: Console, stored: Stored, study: Study) -> None:
    """A table within 80 columns, every reason to refuse, what it means, and the verdict."""
    one = next(iter(study.certificates.values()))
    screen.print(
        f"{stored.config.name}: {one.runs} runs to K = {one.iterations}; does max_i ‖x_i − x*‖ "
        f"stay within ε?\nε in units of e_0 = {one.start:.4g}, the error at the start; "
        f"the tail is k = {one.tail} … K\nβ: the mean of the largest errors falls like k^−β "
        f"there; bounds hold with {100 * one.confidence:.4g} %\n",
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold", min_width=12)
    for heading, width in (
        ("ε", 4),
        ("beyond\nin tail", 7),
        ("of all\nat most", 7),
        ("holds\nfrom m", 6),
        ("at K,\nin e_0", 6),
        ("β (predicted)", 16),
    ):
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    table.add_column("verdict", no_wrap=True, min_width=8)
    for name, found in study.certificates.items():
        for place, exceedance in enumerate(found.exceedances):
            shown = textwrap.fill(name, _NAME) + ("\n(control)" * (name in study.controls))
            table.add_row("" if place else shown, *_cells(found, exceedance, not place))
    screen.print(table, "", width=_WIDTH)
    for line in (*_refusals(stored, study), study.meaning(), verdict(study)):
        screen.print(textwrap.fill(line, _WIDTH, subsequent_indent="  "), "", soft_wrap=True)


def _cells(found: Certificate, exceedance: Exceedance, first: bool) -> tuple[str, ...]:
    rate, settled = found.rate, exceedance.settles_from
    predicted = "none" if found.predicted is None else f"{found.predicted:.3f}"
    beta = f"unknown ({predicted})"
    if rate is not None:
        beta = f"{rate.exponent:.3f} ({predicted})\n[{rate.low:.3f}, {rate.high:.3f}]"
    return (
        f"{exceedance.fraction:g}",
        f"{exceedance.tail_count}",
        f"{at_most(exceedance.tail_bound):.2%}",
        "never" if settled is None else f"{settled}",
        f"{found.final / found.start:.3g}" if first and found.start > 0 else "",
        beta if first else "",
        "accepted" if exceedance.accepted else "REFUSED",
    )


_NAME = 12
"""Characters of a method's name in one line of a table; it is broken at hyphens first."""


def _refusals(stored: Stored, study: Study) -> list[str]:
    """Why each method is refused, each reason once, and which conditions it breaks."""
    lines = []
    conditions = stored.manifest.get("conditions", {})
    for name, found in study.certificates.items():
        reasons: dict[str, list[str]] = {}
        for exceedance in found.exceedances:
            for reason in exceedance.reasons:
                reasons.setdefault(reason, []).append(f"{exceedance.fraction:g}")
        told = [f"refused at ε = {', '.join(at)}, since {why}" for why, at in reasons.items()]
        broken = [c["name"] for c in conditions.get(name, []) if not c["holds"]]
        if broken:
            told.append(f"conditions that do not hold: {', '.join(broken)}")
        lines += [f"{name}: {'; '.join(told)}"] if told else []
    return lines


def verdict(study: Study) -> str:
    """One line: whether methods are accepted and controls refused, or which are not."""
    wrong = [name for name in study.certificates if not study.as_expected(name)]
    if wrong:
        told = ", ".join(
            f"{name} {'(a control) is accepted' if name in study.controls else 'is refused'}"
            for name in wrong
        )
        return f"NOT CERTIFIED: {told}"
    accepted = [name for name in study.certificates if name not in study.controls]
    controls = f"; refused as they should be: {', '.join(study.controls)}"
    return (
        f"CERTIFIED up to K, with m ≤ K/{TAIL} and at most {LEVEL:.0%} of runs beyond ε: "
        f"{', '.join(accepted) or 'no method'}{controls if study.controls else ''}"
    )
