"""A folder of `dpe audit`: what adversaries learn of an agent, beside what was claimed."""

from dpe_jax.folder import AUDIT, AUDIT_PAGE, CONFIG, REPORT
from dpe_jax.privacy.leaks import GRANTED, SECRETS
from dpe_jax.report import audit_entries as entries
from dpe_jax.report import judged, origin
from dpe_jax.report.content import Cell, Page, Row, Section, Table, Tone, Verdict
from dpe_jax.report.experiments import description
from dpe_jax.report.folders import Folder
from dpe_jax.report.numbers import estimate, number
from dpe_jax.report.pictures import Known, figures

_TONES: tuple[Tone, ...] = ("score-0", "score-1", "score-2", "score-3")


def page(folder: Folder) -> Page:
    """The result of an audit."""
    audit = folder.model(AUDIT, entries.Audit)
    config = folder.config()
    sample = f"agent {audit.target}, {number(audit.runs)} runs to k = {number(audit.iterations)}"
    drawn, told = figures(folder, _captions(audit, sample))
    if not drawn:
        told.append("No figures are in the folder: dpe audit draws them unless --no-figures.")
    remarks = [f"{name} is half-written." for name in folder.half_written()]
    known = {AUDIT, AUDIT_PAGE, CONFIG, REPORT, "figures"}
    remarks += [
        f"{name} lies in the folder, and is no part of the result."
        for name in folder.others(known)
        if not name.endswith(".html")
    ]
    if audit.skipped:
        remarks.append(f"Left out, since nothing is sent: {', '.join(audit.skipped)}.")
    less = sum(not claim.agrees for claim in audit.claims.scores)
    if less:
        remarks.append(
            f"{less} of {len(audit.claims.scores)} measured scores of the article's method and its "
            "variants are below what the article claims."
        )
    for name, part in (("images", audit.images), ("ciphertexts", audit.ciphertexts)):
        if part is None:
            remarks.append(f"The audit was made without its part {name}.")
    sections = [
        _scores(audit, sample),
        _claims(audit),
        _leaks(audit),
        _prices(audit, sample),
        Section(title="Findings", points=audit.findings),
        *([] if audit.images is None else [_images(audit.images)]),
        *([] if audit.ciphertexts is None else [_ciphertexts(audit.ciphertexts)]),
        Section(title="Figures", remarks=tuple(told), figures=drawn),
        judged.conditions(audit.manifest.conditions),
        origin.environment(
            audit.manifest,
            (config,),
            more=(
                ("precision of gradients", audit.manifest.precision),
                ("network", origin.described(audit.manifest.network)),
                ("problem", origin.described(audit.manifest.problem)),
            ),
        ),
    ]
    return Page(
        "dpe audit",
        f"Privacy audit: {audit.name}",
        (*description(config.text), _about(audit)),
        (
            ("target", f"agent {audit.target}"),
            ("runs", number(audit.runs)),
            ("iterations", number(audit.iterations)),
            ("methods", str(len(_methods(audit)))),
            ("seed", str(audit.manifest.seed)),
            ("time", origin.took(audit.manifest.seconds)),
            ("dpe-jax", audit.manifest.versions.get("dpe-jax", "not said")),
        ),
        tuple(remarks),
        tuple(sections),
    )


def _about(audit: entries.Audit) -> str:
    members = "; ".join(
        f"{view}: {', '.join(map(str, agents)) or 'none'}" for view, agents in audit.members.items()
    )
    return f"What is learned of agent {audit.target}. Agents among the adversary: {members}."


def _captions(audit: entries.Audit, sample: str) -> list[Known]:
    return [
        Known("scores", "Scores of privacy and the errors that they rest on", sample),
        *(
            Known(
                f"attacks-{name}",
                f"Errors of attacks on {name} against iterations, beside chance",
                sample,
            )
            for name in _methods(audit)
        ),
        Known(
            "averages",
            f"Errors of averages over iterations, from k = {number(audit.averages_from)} on",
            sample,
        ),
        Known("pareto", "Leakage of gradients against accuracy, bytes and processor time", sample),
        Known("images", "Handwritten digits, and what attacks make of one gradient of each"),
    ]


def _methods(audit: entries.Audit) -> list[str]:
    return list(dict.fromkeys(cell.method for cell in audit.cells))


def _scores(audit: entries.Audit, sample: str) -> Section:
    found = {(cell.method, cell.view): cell for cell in audit.cells}
    rows: list[Row] = []
    for name in _methods(audit):
        cells = [found.get((name, view)) for view in audit.views]
        rows.append((name, *("–" if cell is None else _cell(cell) for cell in cells)))
    caption = (
        f"Scores of {sample}, 0 to 3, then the best attacks' errors with 95 % bootstrap intervals: "
        "g a single gradient, ± the share of wrong signs, mean the long-run mean, x the state"
    )
    told = (
        "Errors are relative to saying 0, that of a state to the best guess without an attack; of "
        "signs, half are guessed wrong. Of each kind, the attack and iteration that do best in one "
        "half of the runs, as measured in the other half."
    )
    table = Table(caption, ("method", *audit.views), tuple(rows))
    return Section(title="Scores", paragraphs=(told,), points=audit.rule, tables=(table,))


def _cell(cell: entries.AuditCell) -> Cell:
    score = cell.scores.gradients if cell.view == GRANTED else cell.scores.total
    tone = _TONES[score] if 0 <= score < len(_TONES) else ""
    if cell.source == "nothing":
        return Cell(f"{score}: nothing to attack", tone)
    parts = [f"g {_relative(cell.gradient)}"]
    if cell.sign is not None:
        value, low, high = (None if e is None else 100 * e for e in cell.sign.error)
        parts.append(f"± {estimate((value, low, high))} % wrong")
    if cell.mean is not None:
        parts.append(f"mean {_relative(cell.mean)}")
    if cell.view == GRANTED:
        parts.append("x given")
    elif cell.state is not None:
        parts.append(f"x {_relative(cell.state)}")
    return Cell(f"{score}: {'; '.join(parts)}", tone)


def _relative(leak: entries.Leak | None) -> str:
    if leak is None:
        return "unknown"
    value, low, high = (
        None if error is None or not leak.chance else error / leak.chance for error in leak.error
    )
    return estimate((value, low, high), 2)


def _claims(audit: entries.Audit) -> Section:
    """What the article says of the proposed method, and what was measured."""
    names = list(dict.fromkeys(claim.method for claim in audit.claims.scores))
    title = "The article's scores"
    if not names:
        return Section(title=title, paragraphs=("No method of this audit is the article's.",))
    rows: list[Row] = []
    for criterion in dict.fromkeys(claim.criterion for claim in audit.claims.scores):
        those = {c.method: c for c in audit.claims.scores if c.criterion == criterion}
        one = next(iter(those.values()))
        cells = (_claimed(those.get(name)) for name in names)
        rows.append((criterion, str(one.claimed), one.view, *cells))
    caption = "Protection that is claimed, and that was measured, of each variant; 0 to 3"
    table = Table(caption, ("criterion", "claimed", "measured by", *names), tuple(rows))
    return Section(title=title, source=audit.claims.source, tables=(table,))


def _claimed(claim: entries.Claim | None) -> str | Cell:
    if claim is None:
        return "–"
    tone = _TONES[claim.measured] if 0 <= claim.measured < len(_TONES) else ""
    return Cell(f"{claim.measured}" if claim.agrees else f"{claim.measured} (less)", tone)


def _leaks(audit: entries.Audit) -> Section:
    rows: list[Row] = []
    secrets: dict[str, str] = {str(name): text for name, text in SECRETS.items()}
    for leak in audit.leaks:
        cells = []
        for kind in ("open", "narrowed", "closed"):
            names = [name for name, verdict in leak.verdicts.items() if verdict == kind]
            told = (f"{name} ({number(leak.errors.get(name), 2)})" for name in names)
            cells.append(", ".join(told) or "–")
        rows.append((secrets.get(leak.secret, leak.secret), leak.view, *cells))
    caption = (
        "What an attack recovers (open), learns something of (narrowed) or nothing of (closed) "
        "under encrypted methods with random stepsizes; in parentheses the best attack's error "
        "beside chance, or the share of wrong signs"
    )
    head = ("secret", "against", "open under", "narrowed under", "closed under")
    tables = (Table(caption, head, tuple(rows)),) if rows else ()
    held = sum(bound.holds for bound in audit.bounds)
    verdicts = ()
    if audit.bounds:
        detail = f"in {held} of {len(audit.bounds)} comparisons, within both intervals"
        name = "No attack on single gradients errs less than the entropy bound"
        verdicts = (Verdict(name, held == len(audit.bounds), detail),)
    return Section(title="Leaks and what closes them", verdicts=verdicts, tables=tables)


def _prices(audit: entries.Audit, sample: str) -> Section:
    rows: list[Row] = []
    for price in audit.pareto:
        cost = audit.costs.get(price.method)
        ratios = (None, None) if cost is None else (cost.times_plain, cost.times_conventional)
        rows.append(
            (
                price.method,
                estimate(price.leakage),
                estimate(price.state_leakage),
                number(price.accuracy),
                *("–" if ratio is None else number(ratio) for ratio in ratios),
                "–" if price.bytes is None else f"{price.bytes:,.0f}",
                "not measured" if price.cpu_seconds is None else number(price.cpu_seconds),
                "" if price.dominated else "yes",
            )
        )
    caption = (
        "Leakage (1 − the relative error of the best attack by the coalition of all neighbors) "
        "beside median error, bytes over all links and processor seconds of encryption an "
        f"iteration: {sample}"
    )
    head = (
        *("method", "leakage of gradients", "leakage of states", "median error", "× plain"),
        *("× conventional", "bytes", "processor s", "not dominated"),
    )
    tables = (Table(caption, head, tuple(rows)),) if rows else ()
    return Section(title="Leakage, accuracy, bytes and time", tables=tables)


def _images(found: entries.Images) -> Section:
    rows: list[Row] = []
    for name, views in found.methods.items():
        for view, label in views.items():
            attacks = found.channels.get(label, {})
            if not attacks:
                rows.append((name, view, "missing", "–", "–", "–", "–"))
                continue
            attack, best = max(
                attacks.items(),
                key=lambda pair: (pair[1].recognisable.count, pair[1].psnr_median or 0.0),
            )
            rows.append(
                (
                    name,
                    view,
                    attack,
                    f"{best.exact.count} of {best.targets}",
                    f"{best.recognisable.count} of {best.targets}",
                    number(best.psnr_median),
                    number(best.ssim_median, 2),
                )
            )
    caption = (
        f"Deep Leakage from Gradients, network {found.network}, one gradient of one picture at "
        f"k = {found.iteration}: pictures that come back by the best attack (exact: MSE below "
        "1e-6, recognisable: below 1e-2), medians of PSNR in dB and of SSIM"
    )
    head = ("method", "view", "best attack", "exact", "recognisable", "PSNR", "SSIM")
    return Section(title="Pictures from gradients", tables=(Table(caption, head, tuple(rows)),))


def _ciphertexts(found: entries.Ciphertexts) -> Section:
    rows: list[Row] = []
    for one in (*found.experiments, *found.controls):
        attacks = [attack.advantage for attack in one.adversaries.values()]
        largest = max(attacks, key=lambda advantage: advantage[0] or 0.0, default=None)
        rows.append(
            (
                one.scheme,
                one.path,
                one.flaw or "none",
                number(one.trials),
                "–" if largest is None else estimate(largest),
                number(one.least_p),
                "yes" if one.caught else "no",
            )
        )
    caught = sum(control.caught for control in found.controls)
    detail = (
        f"p = {number(found.family_p)} of {found.tests} tests of sound schemes together; {caught} "
        f"of {len(found.controls)} schemes that are broken on purpose were caught"
    )
    name = "Ciphertexts tell nothing, and broken schemes are caught"
    caption = (
        "Ciphertexts of two chosen messages: the largest advantage of an adversary with its 95 % "
        "interval, and the least p of the tests of an experiment"
    )
    head = ("scheme", "path", "flaw", "challenges", "advantage", "least p", "caught")
    return Section(
        title="Ciphertexts",
        verdicts=(Verdict(name, found.passed, detail),),
        tables=(Table(caption, head, tuple(rows)),),
    )
