"""Hooks of MkDocs: what the pages show of the rest of the repository, and notebooks as pages.

Pages link to files outside of docs/ as GitHub needs it (`../results/…`). Here such a file becomes
one of the site, under `files/`, and the link leads there. A link to what does not exist stays, and
`mkdocs build --strict` refuses it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)")
"""The target of a link or picture that goes up."""

NOTEBOOK = re.compile(r"(?<=[\w-])\.ipynb(?=\))")
"""The end of a link to a notebook, which on the site is a page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages made of notebooks, and what pages link to outside of docs/."""
    root, docs = Path(config.config_file_path).parent, Path(config.docs_dir)
    for path in sorted(docs.rglob("*.ipynb")):
        _add_notebook(files, config, path)
    for page in list(files.documentation_pages()):
        for target in LINK.findall(page.content_string):
            linked = _outside(page.src_uri, target)
            if linked and (root / linked).is_file() and not files.get_file_from_path(_copy(linked)):
                found = File.generated(config, _copy(linked), abs_src_path=str(root / linked))
                files.append(found)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files outside of docs/ lead to their copies."""

    def moved(match: re.Match[str]) -> str:
        linked = _outside(page.file.src_uri, match[1])
        if linked is None or files.get_file_from_path(_copy(linked)) is None:
            return match[1]
        return posixpath.relpath(_copy(linked), posixpath.dirname(page.file.src_uri) or ".")

    return NOTEBOOK.sub(".md", LINK.sub(moved, markdown))


def _outside(page: str, target: str) -> str | None:
    """The path in the repository that a page's link leads to; None within docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if path.startswith("docs/") else path


def _copy(path: str) -> str:
    return f"files/{path}"


def _add_notebook(files: Files, config: MkDocsConfig, path: Path) -> None:
    """The page of a notebook and its pictures; the notebook itself stays beside it."""
    from nbconvert import MarkdownExporter

    name = path.relative_to(config.docs_dir).as_posix()
    folder, stem = posixpath.dirname(name), path.stem
    resources = {"output_files_dir": f"{stem}_files", "unique_key": stem}
    text, made = MarkdownExporter().from_filename(str(path), resources)
    files.append(File.generated(config, str(Path(name).with_suffix(".md")), content=text))
    for picture, content in made["outputs"].items():
        files.append(File.generated(config, posixpath.join(folder, picture), content=content))
