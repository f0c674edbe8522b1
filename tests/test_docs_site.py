"""The documentation as a site, and that what it refers to is there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PAGES = sorted((ROOT / "docs").rglob("*.md"))

NOWHERE = ("http://", "https://", "//", "mailto:")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "mkdocs.yml"]
    done = subprocess.run(
        [*command, "--site-dir", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_and_notebook_is_one_of_the_site(site: Path) -> None:
    sources = [*PAGES, *(ROOT / "docs").rglob("*.ipynb")]
    for source in sources:
        page = site / source.relative_to(ROOT / "docs").with_suffix(".html")
        assert page.is_file(), page
        # Nobody finds a page that no other leads to.
        assert f"{page.stem}.html" in (site / "index.html").read_text("utf-8")


def test_pictures_and_links_lead_to_files(site: Path) -> None:
    count = 0
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue
        for target in re.findall(r'(?:src|href)="([^"#]+)', page.read_text("utf-8")):
            if not target.startswith((*NOWHERE, "data:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
                count += target.endswith(".png")
    assert count >= 10
    assert (site / "files/results/sensitivity/multipliers.png").is_file()


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?(?:https?:)?//"
        r"|<link[^>]*rel=[\"']?(?:stylesheet|preconnect|preload|icon)[^>]*href=[\"']?(?:https?:)?//"
        r"|url\([\"']?(?:https?:)?//|@import\s+[\"'](?:https?:)?//"
    )
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 20
    assert [str(f) for f in files if loads.search(f.read_text("utf-8"))] == []


def test_the_reference_has_the_docstrings(site: Path) -> None:
    page = (site / "reference/methods.html").read_text("utf-8")
    assert 'id="dpe_jax.EncryptedDSGD"' in page
    assert "x_i⁺ = x_i + γ^k Σ_j w_ij (Q(x_j) − Q(x_i)) − Λ_i^k g_i^k" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Paths in backquotes, from the top of the repository or of the package."""
    text = page.read_text("utf-8")
    for name in re.findall(r"`((?:tests|scripts|results|docs|dpe_jax)/[\w/.*-]+)`", text):
        # A capital, as in PRESET, stands for a name.
        assert re.search(r"[A-Z]{3}", name) or list(ROOT.glob(name.rstrip("/"))), name


def test_the_version_of_mkdocs_is_held() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert "mkdocs>=1.6,<2" in extras["docs"]
    assert "dpe-jax[docs]" in extras["test"]
