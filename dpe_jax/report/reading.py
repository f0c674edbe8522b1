"""Which command wrote a folder, and what a page says of it."""

from pathlib import Path
from typing import Any

from dpe_jax.errors import InputError
from dpe_jax.folder import AUDIT, CONFIG, MANIFEST, SUMMARY
from dpe_jax.report import audits, experiments, reproduced, resuming, swept
from dpe_jax.report.content import Page
from dpe_jax.report.folders import Folder


def read(path: Path) -> Page:
    """What a result folder holds; InputError unless it is a whole one that this knows.

    Folders are known by their files: those of `dpe reproduce` and of its parts by the kind in
    manifest.json, those of `dpe audit` by audit.json, of `dpe run` and `dpe sweep` by summary.json
    beside a manifest.
    """
    if not path.is_dir():
        raise InputError("DIR", str(path), "a folder that dpe wrote")
    folder = Folder(path)
    try:
        # A part of a reproduction may hold an audit of its own.
        manifest = _manifest(folder) if folder.has(MANIFEST) else {}
        if folder.has(AUDIT) and manifest.get("kind") != "part":
            return audits.page(folder)
        if not folder.has(MANIFEST):
            raise InputError("DIR", str(path), _accepted(path))
        kind = manifest.get("kind")
        if kind == "reproduce":
            return reproduced.whole(folder)
        if kind == "part":
            return reproduced.single(folder)
        if kind is not None or "config_hash" not in manifest:
            raise InputError("DIR", str(path), _accepted(path))
        return (swept if "sweep" in manifest else experiments).page(folder)
    except OSError as error:
        accepted = f"a readable folder ({error.strerror or error})"
        raise InputError("DIR", str(path), accepted) from error


def _manifest(folder: Folder) -> dict[str, Any]:
    try:
        return folder.json(MANIFEST)
    except InputError:
        return folder.cured(resuming.unread(folder.path)).json(MANIFEST)


def _accepted(path: Path) -> str:
    """What would be, and what is near it."""
    accepted = "a folder that dpe reproduce, run, sweep or audit wrote"
    if (path / MANIFEST).is_dir():
        return f"{accepted} ({MANIFEST} is a folder)"
    is_there, cure = (path / MANIFEST).is_file(), resuming.unread(path)
    if cure and not is_there:
        return f"{accepted} ({MANIFEST} is missing, which {cure} writes)"
    if is_there:
        writes = f"; {cure} writes it anew" if cure else ""
        return f"{accepted} ({MANIFEST} does not say which{writes})"
    if any((path / name).is_file() for name in (SUMMARY, CONFIG)):
        return f"{accepted} ({MANIFEST} is missing)"
    return accepted
