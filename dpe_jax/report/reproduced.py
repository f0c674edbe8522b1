"""A folder of `dpe reproduce`, or that of one of its parts."""

import hashlib

from dpe_jax.folder import CONFIG, MANIFEST, REPORT, shown
from dpe_jax.report import claimed, entries, origin, resuming
from dpe_jax.report.content import Page, Parts, Section, Verdict
from dpe_jax.report.folders import Folder
from dpe_jax.reproduce.again import command


def whole(folder: Folder) -> Page:
    """All parts that the manifest names, in its order."""
    cure = resuming.unread(folder.path)
    manifest = folder.cured(cure).model(MANIFEST, entries.Reproduction)
    asked = manifest.asked or manifest.parts
    goes_on = command(folder.top, manifest.scale, manifest.seed, asked)
    folder = folder.cured(goes_on)
    old = list(manifest.anew)
    for name, told in manifest.sha256.items():
        held = hashlib.sha256(folder.within(name).data(MANIFEST)).hexdigest()
        if held not in (told, manifest.coming.get(name)):
            raise folder.refused(f"{name}/{MANIFEST} is not as it was written")
        if held != told and name in old:
            old.remove(name)
    parts = {name: _read(folder.within(name), name) for name in manifest.parts}
    _check_same(folder, manifest, parts)
    older = [name for name in manifest.others if _is_older(folder, name, manifest)]
    damaged = [name for name in manifest.others if folder.has(f"{name}/{MANIFEST}")]
    damaged = [name for name in damaged if name not in {*older, *manifest.parts}]
    remarks = _unknown(folder, {MANIFEST, *manifest.parts, *older, *damaged})
    remarks += [
        f"{name} is not as it was made, and left out; {goes_on} makes it anew." for name in damaged
    ]
    old += [name for name in older if name not in old]
    if old:
        told = f"{', '.join(old)}: still as before dpe reproduce --overwrite, which was"
        remarks.append(f"{told} interrupted; {goes_on} goes on.")
    found = Parts(manifest.parts, asked, goes_on)
    sections = [section(folder.within(name), part, manifest) for name, part in parts.items()]
    environment = origin.environment(manifest, more=(("started", manifest.started),))
    return Page(
        "dpe reproduce",
        "Encrypted decentralized optimization, reproduced",
        (
            "Zhou, Chen, Zhi and Gao (arXiv:2604.21381) let agents on a network minimise a shared "
            "objective over encrypted links. Each part below is a figure, a table or a claim of an "
            "article on their paper, “The Algorithm That Lets AI Networks Collaborate Without "
            "Seeing Each Other's Secrets”, or a question that it leaves open, made from "
            "simulations that were run for this page. The body of the paper was not at hand: what "
            "is said of it is what the article tells.",
        ),
        (
            ("scale", manifest.scale),
            ("parts", str(len(parts)) if not found.missing else found.told),
            ("time", origin.spent(manifest)),
            ("seed", str(manifest.seed)),
            ("dpe-jax", manifest.versions.get("dpe-jax", "not said")),
        ),
        tuple(remarks),
        (*sections, environment),
        found,
    )


def single(folder: Folder) -> Page:
    """One part by itself."""
    folder = folder.cured(resuming.of_one(folder.path))
    part = folder.model(MANIFEST, entries.Part)
    found = section(folder, part, None)
    environment = origin.environment(part, (folder.config(),))
    return Page(
        "a part of dpe reproduce",
        part.title,
        (),
        (("part", part.part), ("scale", part.scale), ("seed", str(part.seed))),
        (),
        (found, environment),
    )


def section(folder: Folder, part: entries.Part, of: entries.Reproduction | None) -> Section:
    """A part as a section; `of` a whole whose versions and device need not be said again."""
    folder.check_digests(part.sha256)
    figures = tuple(folder.figure(item.name, item.caption, item.files) for item in part.figures)
    tables = tuple(
        folder.table(item.name, item.caption, item.files, item.heads) for item in part.tables
    )
    named = {file for item in (*part.figures, *part.tables) for file in item.files}
    named |= {MANIFEST, CONFIG, REPORT, "figures", "tables"}
    others = folder.others({file.partition("/")[0] for file in named})
    remarks = [
        f"{name} lies in the folder, but the manifest does not name it."
        for name in _beside(folder, named)
    ]
    if of is not None and (part.versions, part.device) != (of.versions, of.device):
        changed = [
            f"{name} {part.versions.get(name, 'none')}"
            for name in dict.fromkeys((*part.versions, *of.versions))
            if part.versions.get(name) != of.versions.get(name)
        ]
        other = origin.differing(part.device, of.device)
        device = [f"device: {origin.described(other)}"] if other else []
        remarks.append(f"Not made like the other parts: {', '.join([*changed, *device])}.")
    if of is not None and part.scale != of.scale:
        remarks.append(f"Made at another scale: {part.scale}.")
    if of is not None and part.seed != of.seed:
        remarks.append(f"Made with another seed: {part.seed}.")
    facts = [] if of is None else [*origin.made(part)]
    if part.resumed:
        facts.append(("resumed", "yes, and the time is that since then"))
    if others:
        facts.append(("also in the folder of the part", ", ".join(others)))
    return Section(
        title=part.title if of is not None else "Figures and tables",
        source=part.source,
        paragraphs=(f"How it differs from the paper: {part.differs}",) if part.differs else (),
        remarks=tuple(remarks),
        verdicts=tuple(Verdict(check.name, check.passed, check.detail) for check in part.checks),
        claims=claimed.claims(folder, part),
        figures=figures,
        tables=tables,
        facts=tuple(facts),
        # Ten of them fill sheets that are about results.
        texts=(folder.config(printed=False),) if of is not None else (),
    )


def _read(folder: Folder, name: str) -> entries.Part:
    part = folder.model(MANIFEST, entries.Part)
    if part.part != name:
        raise folder.refused(f"{name}/{MANIFEST} is that of the part {part.part}")
    return part


def _is_older(folder: Folder, name: str, of: entries.Reproduction) -> bool:
    """Whether a part is of another seed or scale, and so none of the whole yet."""
    if not folder.has(f"{name}/{MANIFEST}"):
        return False
    part = folder.within(name).model(MANIFEST, entries.Part)
    return (part.scale, part.seed) != (of.scale, of.seed)


def _check_same(
    folder: Folder, manifest: entries.Reproduction, parts: dict[str, entries.Part]
) -> None:
    """Refuse a whole whose manifest does not say of checks what those of its parts say."""
    own = {(check.part, check.name): check.passed for check in manifest.checks}
    said = {(name, check.name): check.passed for name, p in parts.items() for check in p.checks}
    for part, name in sorted({*own, *said}):
        if own.get((part, name)) != said.get((part, name)):
            told = f"{MANIFEST} and {part}/{MANIFEST} do not agree on the check {name!r}"
            raise folder.refused(told)
    if manifest.passed != all(own.values()):
        raise folder.refused(f"{MANIFEST} says otherwise than its checks whether all passed")


def _unknown(folder: Folder, known: set[str]) -> list[str]:
    """What lies beside the parts."""
    told = [f"{name} is half-written." for name in folder.half_written()]
    return told + [
        f"{name} lies in the folder, but the manifest does not name it."
        for name in folder.others(known)
        if not name.endswith(".html")
    ]


def _beside(folder: Folder, named: set[str]) -> list[str]:
    """Files in the folders of figures and tables that the manifest does not name."""
    kept = [folder.path / name for name in ("figures", "tables")]
    paths = [path for place in kept if place.is_dir() for path in place.rglob("*")]
    names = [path.relative_to(folder.path).as_posix() for path in paths if path.is_file()]
    return sorted(shown(name) for name in names if name not in named)
