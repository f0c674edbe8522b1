"""Pages of `dpe report` in a real browser: on phones, on screens, in the dark and on paper."""

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browsing
import made_reports
import numpy as np
import pytest
from browsing import Scheme, Visit
from PIL import Image

from dpe_jax import cli

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow  # together over 20 s

RESULTS = Path(__file__).parent.parent / "results"
FOLDERS = {
    "committed": RESULTS / "reproduce",
    "run": RESULTS / "runs" / "five-agents",
    "certified": RESULTS / "runs" / "certify",
    "audit": RESULTS / "privacy" / "audit",
}
PAGES = ("reproduction", *FOLDERS)
WIDTHS: tuple[int, ...] = (375, 768, 1280)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages, none of them beside what it is of."""
    folder = tmp_path_factory.mktemp("pages")
    folders = {"reproduction": made_reports.reproduction(folder / "made"), **FOLDERS}
    # One figure of each kind: of attacks there is one for each method, all of the same shape.
    folders["audit"] = shutil.copytree(
        FOLDERS["audit"],
        folder / "audited",
        ignore=lambda _, names: {
            name for name in names if name[:8] == "attacks-" and "encrypted" not in name
        },
    )
    paths = {name: folder / f"{name}.html" for name in folders}
    for name, path in paths.items():
        assert cli.main(["report", str(folders[name]), "--out", str(path)]) == 0
    return paths


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_at_any_width_in_light_and_dark(
    name: str, written: dict[str, Path], browser: "Browser"
) -> None:
    for width in WIDTHS:
        with Visit(browser, written[name], width, "light") as visit:
            assert visit.evaluate("document.documentElement.clientWidth") == width
            assert visit.evaluate("document.images.length") >= 3
            for scheme in SCHEMES:
                # A page of some megabytes is loaded once for both.
                visit.page.emulate_media(color_scheme=scheme)
                assert visit.faults() == [], (width, scheme)
                ground = visit.evaluate(_GROUND)
                assert (ground == "rgb(255, 255, 255)") is (scheme == "light")
                cards = visit.evaluate(
                    "[...document.querySelectorAll('.card')].map("
                    "card => getComputedStyle(card).backgroundColor)"
                )
                assert set(cards) == {"rgb(255, 255, 255)"}


_GROUND = "getComputedStyle(document.documentElement).backgroundColor"


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_it_is_light_open_and_within_the_sheet(
    name: str, written: dict[str, Path], browser: "Browser"
) -> None:
    # 180 of 210 mm are printed on.
    with Visit(browser, written[name], 680, "dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert visit.faults() == []
        assert visit.evaluate(_GROUND) == "rgb(255, 255, 255)"
        # Of a reproduction settings are left out, and nothing else is folded in the small one.
        settings = visit.evaluate("document.querySelectorAll('.unprinted').length")
        assert bool(settings) is (name in ("reproduction", "committed"))
        assert visit.evaluate(_UNPRINTED) == settings
        assert visit.evaluate(_SETTINGS) >= (name != "reproduction")
        # 265 of 297 mm, of which a caption needs some.
        heights = visit.evaluate(
            "[...document.images].map(image => image.getBoundingClientRect().height)"
        )
        assert max(heights) < 265 / 25.4 * 96 - 60
        sheets = browsing.printed(visit.page)
    assert sheets.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", sheets)) >= 2


# Folds that can be read; one that is shut can not.
_SETTINGS = """() => {
  const texts = [...document.querySelectorAll('details:not(.unprinted) > :not(summary)')];
  const open = texts.filter(text =>
    text.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true})
    && text.getBoundingClientRect().height > 20);
  return open.length === texts.length ? open.length : 0;
}"""


# Settings that take no place.
_UNPRINTED = """() => [...document.querySelectorAll('.unprinted')]
  .filter(one => one.getBoundingClientRect().height === 0).length"""


_BOXES = """chosen => [...document.querySelectorAll(chosen)].map(box => ({
  id: box.parentElement.id,
  beyond: box.scrollWidth - box.clientWidth,
  place: box.tabIndex,
  role: box.getAttribute('role'),
  tag: box.firstElementChild.tagName,
}))"""


def boxes(visit: Visit, chosen: str) -> list[dict[str, Any]]:
    """Boxes that can scroll, with how far what they hold reaches beyond them."""
    found: list[dict[str, Any]] = visit.page.evaluate(_BOXES, chosen)
    return found


def test_on_a_screen_no_table_is_cut_and_names_of_rows_are_on_one_line(
    written: dict[str, Path], browser: "Browser"
) -> None:
    with Visit(browser, written["committed"], 1280, "light") as visit:
        found = boxes(visit, ".table .scroll")
        assert len(found) > 10
        assert [box["id"] for box in found if box["beyond"] > 0] == []
        lines = visit.evaluate(
            "[...document.querySelectorAll('tbody th:not(.long)')]"
            ".map(cell => getComputedStyle(cell).whiteSpace)"
        )
        assert set(lines) == {"nowrap"}
        # Settings of parts are there to be unfolded.
        assert visit.evaluate(_UNPRINTED) == 0


def test_a_figure_that_is_wider_than_a_phone_has_a_shadow_until_its_end(
    written: dict[str, Path], browser: "Browser"
) -> None:
    for scheme in SCHEMES:
        with Visit(browser, written["committed"], 375, scheme) as visit:
            card = visit.page.locator("figure.page .card").first
            assert card.evaluate("card => card.scrollWidth - card.clientWidth") > 100
            begun = _edge(card.screenshot())
            card.evaluate("card => { card.scrollLeft = card.scrollWidth; }")
            ended = _edge(card.screenshot())
            # Grey, where the picture is white.
            assert begun < 215
            assert ended > 245


def _edge(picture: bytes) -> float:
    """How light the last columns of a card are within its border, in the middle of it."""
    with Image.open(io.BytesIO(picture)) as image:
        levels = np.asarray(image.convert("L"), dtype=float)
    rows, columns = levels.shape
    return float(np.median(levels[rows // 4 : -rows // 4, columns - 5 : columns - 3]))


def test_on_a_screen_settings_are_folded_until_they_are_asked_for(
    written: dict[str, Path], browser: "Browser"
) -> None:
    with Visit(browser, written["run"], 375, "light") as visit:
        assert visit.evaluate(_SETTINGS) == 0
        visit.page.locator("summary").last.click()
        assert visit.evaluate(_SETTINGS) == 1
        assert visit.faults() == []


def test_wide_tables_and_figures_scroll_in_boxes_of_their_own_by_keyboard_too(
    written: dict[str, Path], browser: "Browser"
) -> None:
    with Visit(browser, written["reproduction"], 375, "light") as visit:
        wide = [box for box in boxes(visit, ".scroll") if box["beyond"] > 1]
        assert {box["tag"] for box in wide} == {"TABLE", "IMG"}
        assert {(box["place"], box["role"]) for box in wide} == {(0, "region")}
        box = visit.page.locator(".table .scroll").nth(1)
        caption = box.locator(".held")
        box.focus()
        before = caption.bounding_box()
        for _ in range(5):
            visit.page.keyboard.press("ArrowRight")
        visit.evaluate(_SCROLLED)
        # The caption and the names of rows stay where they are read.
        assert caption.bounding_box() == before


_SCROLLED = """() => new Promise(done => {
  const box = document.querySelectorAll('.table .scroll')[1];
  const look = () => box.scrollLeft > 100 ? done() : requestAnimationFrame(look);
  look();
})"""


def test_the_skip_link_is_first_and_leads_to_the_results(
    written: dict[str, Path], browser: "Browser"
) -> None:
    with Visit(browser, written["reproduction"], 1280, "light") as visit:
        visit.page.keyboard.press("Tab")
        skip = visit.page.locator(":focus")
        assert skip.inner_text() == "Skip to the results"
        place = skip.bounding_box()
        assert place is not None
        assert place["x"] >= 0
        visit.page.keyboard.press("Enter")
        assert visit.evaluate("document.activeElement.id") == "content"
        link = visit.page.locator("main .verdicts a").first
        link.click()
        assert visit.page.url.endswith("#quantization-error-bound-and-measurement")


def test_files_are_saved_as_they_are(written: dict[str, Path], browser: "Browser") -> None:
    made = written["reproduction"].parent / "made"
    with Visit(browser, written["reproduction"], 1280, "light") as visit:
        for file in ("quantization/tables/bound.csv", "objective/figures/objective.pdf"):
            name = file.replace("/", "-")
            with visit.page.expect_download() as saved:
                visit.page.locator(f"a[download='{name}']").click()
            assert saved.value.suggested_filename == name
            assert Path(saved.value.path()).read_bytes() == (made / file).read_bytes()
        assert visit.faults() == []


WRONG = {
    "an element that is too wide": (
        "</header>",
        "<p class='files' id='x'>" + "w" * 900 + "</p></header>",
        "wide in 1280",
    ),
    "a picture that is none": ("data:image/webp;base64,", "data:image/webp;base64,AAAA", "picture"),
    "text that is hardly seen": ("--quiet: #555c66", "--quiet: #9a9fa6", "contrast"),
    "a request": ("</header>", "<img src='file:///none.png' alt='x'></header>", "asked for"),
    "a heading that skips a level": ("<h2 id=", "<h4 id=", "skips a level"),
    "no language": ('<html lang="en">', "<html>", "language"),
    "a script that fails": ("</header>", "<script>nothing()</script></header>", "nothing"),
}


@pytest.fixture(scope="module")
def plain(written: dict[str, Path], browser: "Browser") -> str:
    """A page without what would hold most of it back, in which nothing is wrong."""
    text = written["reproduction"].read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    text = text.replace("p, li { max-width: 76ch; overflow-wrap: anywhere; }", "")
    text = text.replace("overflow-wrap: break-word;", "")
    path = written["reproduction"].with_name("plain.html")
    path.write_text(text, encoding="utf-8")
    with Visit(browser, path, 1280, "light") as visit:
        assert visit.faults() == []
    return text


@pytest.mark.parametrize("wrong", list(WRONG))
def test_the_checker_finds_what_is_wrong(
    wrong: str, plain: str, browser: "Browser", tmp_path: Path
) -> None:
    before, after, told = WRONG[wrong]
    assert before in plain
    # Of headings the last one.
    head, _, tail = (plain.rpartition if before == "<h2 id=" else plain.partition)(before)
    changed = tmp_path / "changed.html"
    changed.write_text(f"{head}{after}{tail}", encoding="utf-8")
    with Visit(browser, changed, 1280, "light") as visit:
        assert any(told in fault for fault in visit.faults()), visit.faults()


def test_the_policy_of_a_page_holds_scripts_styles_and_requests_back(
    written: dict[str, Path], browser: "Browser", tmp_path: Path
) -> None:
    text = written["reproduction"].read_text(encoding="utf-8")
    added = (
        "<script>document.title = 'ran'</script><p style='font-size: 99px' id='styled'>x</p>"
        "<img src='https://example.org/x.png' alt='x' onerror=\"document.title = 'ran'\">"
    )
    path = tmp_path / "changed.html"
    path.write_text(text.replace("</header>", f"{added}</header>"), encoding="utf-8")
    with Visit(browser, path, 1280, "light") as visit:
        assert visit.page.title() != "ran"
        size = visit.evaluate("getComputedStyle(document.getElementById('styled')).fontSize")
        assert size == "16px"
        assert sum("Content Security Policy" in said for said in visit.complaints) >= 3
        assert "failed: https://example.org/x.png: csp" in visit.complaints


def test_a_fold_that_stays_shut_on_paper_would_be_found(
    written: dict[str, Path], browser: "Browser", tmp_path: Path
) -> None:
    text = written["run"].read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    path = tmp_path / "shut.html"
    path.write_text(text.replace("details::details-content", ".none"), encoding="utf-8")
    with Visit(browser, path, 680, "light") as visit:
        visit.page.emulate_media(media="print")
        assert visit.evaluate(_SETTINGS) == 0


def test_without_a_browser_tests_fail_in_ci_and_are_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        browsing.driver()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no browser"):
        browsing.driver()
