"""`dpe report`: pages of reproductions, and that texts are inert."""

import itertools
import json
import os
import re
import shutil
import time
from pathlib import Path

import made_reports
import pages
import pytest
from command_line import python, the_object
from made_reports import BOUND, DEVICE, VERSIONS, change, part, reproduction, whole
from PIL import Image

from dpe_jax import cli


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return reproduction(tmp_path_factory.mktemp("made") / "out")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return shutil.copytree(made, tmp_path / "out")


@pytest.fixture(scope="module")
def page(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    assert cli.main(["report", str(made), "--out", str(path)]) == 0
    return path


def report(folder: Path) -> pages.Read:
    assert cli.main(["report", str(folder)]) == 0
    return pages.read(folder / "report.html")


def remarks(found: pages.Read) -> str:
    return " | ".join(found.lists.get("remarks", []))


def test_every_part_and_check_is_on_the_page_and_failed_ones_come_first(page: Path) -> None:
    found = pages.read(page)
    titles = [title for level, title in found.headings if level == 2]
    assert titles[:2] == ["Contents", "Verdict"]
    assert [re.sub(" [✓✗].*", "", title) for title in titles[2:]] == [
        "Objective against iterations",
        "Quantization error: bound and measurement",
        "Accuracy of every method on every preset",
        "Environment",
    ]
    assert "1 of 4 checks failed." in found.text
    first, *others = found.lists["verdicts"]
    assert first.startswith("✗ failed Quantization error: bound and measurement: article's n = 10")
    assert len(others) == 4
    assert sum(one.startswith("✗") for one in others) == 1
    assert found.text.index("1 of 4 checks failed") < found.text.index("How it differs")
    assert "remarks" not in found.lists


def test_figures_are_those_of_the_folder_pixel_for_pixel_with_their_files(
    made: Path, page: Path
) -> None:
    found = pages.read(page)
    paths = ["objective/figures/objective", "quantization/figures/bound"]
    paths += ["quantization/figures/ratio"]
    assert len(found.images) == len(paths)
    links = {str(link["download"]): link for link in found.links if link.get("download")}
    for image, path in zip(found.images, paths, strict=True):
        expected = Image.open(made / f"{path}.png")
        assert (pages.pixels(str(image["src"])) == expected.convert("RGB")).all()
        assert (image["width"], image["height"]) == (str(expected.width), str(expected.height))
        assert "256 runs of 300 iterations" in str(image["alt"])
        for kind in ("pdf", "csv"):
            file = made / f"{path}.{kind}"
            name = f"{path}.{kind}".replace("/", "-")
            assert pages.held(links[name]) == file.read_bytes()
    for name in ("quantization-tables-bound.csv", "accuracy-tables-accuracy.tex"):
        assert name in links
    assert page.stat().st_size < 200_000


def test_tables_show_the_numbers_of_their_files_and_what_is_no_number(page: Path) -> None:
    head, *rows = pages.read(page).table("Quantization error: bound and measurement")
    assert head == BOUND[0]
    assert rows[0] == ["2", "5e-5", "5e-5", "2.498e-5", "1.2e-7", "–"]
    assert rows[1] == ["10", "0.0004", "0.00405", "0.002251", "3.1e-6", "misprint"]
    assert rows[2] == ["20", "0.01805", "0.01805", "NaN", "∞", "every run <failed>"]
    _, *rows = pages.read(page).table("Accuracy of every method")
    assert [row[0] for row in rows] == ["hospitals", "digits"]
    assert [float(cell) for cell in rows[0][1:]] == pytest.approx(
        [0.00123 * place for place in range(1, 13)], rel=5e-4
    )


def test_text_is_inert(folder: Path) -> None:
    nasty = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    broken = '"><svg onload=alert(3)>'
    change(folder / "accuracy", title=nasty, differs=nasty, source=broken)
    manifest = json.loads((folder / "objective" / "manifest.json").read_text())
    manifest["figures"][0]["caption"] = broken
    manifest["versions"] = manifest["versions"] | {nasty: broken}
    made_reports.write(folder / "objective", manifest)
    table = folder / "accuracy" / "tables" / "accuracy.csv"
    made_reports.sheet(table, [["a", nasty], [broken, nasty]])
    found = report(folder)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "svg", "iframe", "object", "form"}
    assert not [
        name for _, attributes in found.tags for name in attributes if name.startswith("on")
    ]
    assert found.text.count(nasty) >= 3
    assert str(found.images[0]["alt"]) == broken
    assert [broken, nasty] in [row for rows in found.tables.values() for row in rows]
    # The settings of the fixture hold a script too, in each part.
    assert found.text.count("<script>alert(1)</script> & more") == 3


def test_the_page_asks_for_nothing_and_has_one_tree_of_names(page: Path) -> None:
    found = pages.read(page)
    for tag, attributes in found.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
        assert "style" not in attributes
    text = page.read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text
    assert len(found.ids) == len(set(found.ids))
    for link in found.links:
        address = str(link["href"])
        assert not address.startswith("#") or address[1:] in found.ids
    levels = [level for level, _ in found.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    (root,) = [attributes for tag, attributes in found.tags if tag == "html"]
    assert root["lang"] == "en"
    assert all(attributes.get("scope") for tag, attributes in found.tags if tag == "th")


def test_environment_and_settings_are_said(page: Path) -> None:
    found = pages.read(page)
    assert dict(found.table("Versions")[1:]) == VERSIONS
    for text in ("platform cpu", "21.8 s", "7.2 s", "31e2edcf47084313", "seed = 3"):
        assert text in found.text
    assert DEVICE["machine"] in found.text
    assert _fact(found, "processors") == ["2"]
    # Earlier folders do not say.
    assert _fact(found, "processor") == _fact(found, "operating system") == []


def _fact(found: pages.Read, name: str) -> list[str]:
    return [value for (_, term), (_, value) in itertools.pairwise(found.terms) if term == name]


def test_the_processor_and_the_system_are_said_where_a_folder_has_them(folder: Path) -> None:
    device = {**DEVICE, "cpu": "Xeon <8481C>", "cpus": 16, "os": "Linux 6.8, glibc 2.39"}
    versions = {**VERSIONS, "gmpy2": "2.2.1"}
    change(folder, device=device, versions=versions)
    change(folder / "accuracy", device={**device, "cpus": 8}, versions=versions, resumed=True)
    for name in ("objective", "quantization"):
        change(folder / name, device=device, versions=versions)
    found = report(folder)
    assert _fact(found, "processor") == ["Xeon <8481C>"]
    assert _fact(found, "processors") == ["16"]
    assert _fact(found, "operating system") == ["Linux 6.8, glibc 2.39"]
    assert _fact(found, "device") == ["platform cpu, kind cpu, count 1, machine x86_64"]
    assert dict(found.table("Versions")[1:]) == versions
    assert "Not made like the other parts: device: cpus 8." in remarks(found)
    assert _fact(found, "resumed") == ["yes, and the time is that since then"]


def test_a_part_has_a_page_of_its_own(folder: Path) -> None:
    found = report(folder / "quantization")
    assert found.headings[0] == (1, "Quantization error: bound and measurement")
    assert len(found.images) == 2
    assert "1 of 2 checks failed." in found.text
    assert dict(found.table("Versions")[1:]) == VERSIONS
    assert "remarks" not in found.lists


def test_the_command_says_what_it_wrote(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "a page.html"
    assert cli.main(["report", str(folder), "--out", str(out), "--json"]) == 0
    said = the_object(capsys.readouterr().out)
    assert said == {
        "page": str(out),
        "bytes": out.stat().st_size,
        "sections": [
            "Objective against iterations",
            "Quantization error: bound and measurement",
            "Accuracy of every method on every preset",
            "Environment",
        ],
        "remarks": [],
        "passed": False,
        "parts_finished": 3,
        "parts_asked": 3,
        "parts_missing": [],
    }
    assert cli.main(["report", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 4 checks FAILED" in shown
    assert str(folder / "report.html") in shown.replace("\n", "")
    # Nothing but the folder decides what is on it, and a page may be replaced.
    before = (folder / "report.html").read_bytes()
    assert cli.main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before == out.read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_passed_is_true_or_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = reproduction(tmp_path / "good", failing=False)
    assert cli.main(["report", str(good), "--json"]) == 0
    assert the_object(capsys.readouterr().out)["passed"] is True
    assert "All 4 checks passed." in pages.read(good / "report.html").text
    out = tmp_path / "unchecked"
    whole(out, [part(out, "objective", "Objective", figures={"objective": 1})])
    assert cli.main(["report", str(out), "--json"]) == 0
    assert the_object(capsys.readouterr().out)["passed"] is None
    assert "Nothing here was checked." in pages.read(out / "report.html").text


def test_what_is_odd_is_named(folder: Path) -> None:
    changed = {**VERSIONS, "jax": "0.12.0"}
    change(folder / "accuracy", versions=changed, scale="quick")
    (folder / "stray").mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "accuracy" / "figures" / "old.png").write_bytes(b"old")
    (folder / "accuracy" / "tables" / ".x.csv.partial-1").write_bytes(b"half")
    result = folder / "accuracy" / "fraud"
    result.mkdir()
    made_reports.write(result, {"config_hash": "1"})
    found = report(folder)
    said = remarks(found)
    for text in (
        "stray lies in the folder",
        "notes.txt lies in the folder",
        "figures/old.png lies in the folder",
        "accuracy/tables/.x.csv.partial-1 is half-written",
        "Not made like the other parts: jax 0.12.0",
        "Made at another scale: quick",
    ):
        assert text in said
    # What else a part has left is no fault.
    assert "fraud lies" not in said
    assert ("dt", "also in the folder of the part") in found.terms
    assert ("dd", "fraud") in found.terms


def test_what_killed_commands_left_of_a_page_is_removed(folder: Path, tmp_path: Path) -> None:
    """But not what another one is writing now, nor files of other names."""
    there = {name: tmp_path / f".{name}.partial-0123abcd" for name in ("old", "now", "[on]*")}
    for path in there.values():
        path.write_text("half")
    hours_ago = time.time() - 7200
    for name in ("old", "[on]*"):
        os.utime(there[name], (hours_ago, hours_ago))
    for name in ("now", "[on]*"):
        assert cli.main(["report", str(folder), "--out", str(tmp_path / name)]) == 0
    assert [path.exists() for path in there.values()] == [True, True, False]
    assert cli.main(["report", str(folder), "--out", str(tmp_path / "old")]) == 0
    assert not there["old"].exists()


def test_many_checks_that_passed_are_folded_and_failed_ones_are_not(tmp_path: Path) -> None:
    checks = [(f"check {place}", place != 7, "as told") for place in range(12)]
    whole(tmp_path, [part(tmp_path, "accuracy", "Accuracy", checks=checks)])
    found = report(tmp_path)
    assert "11 checks that passed" in found.text
    # At the top, in its section, and then those that passed.
    names = [re.findall(r"check \d+", text)[0] for text in found.lists["verdicts"]]
    assert names == ["check 7", "check 7", *(f"check {p}" for p in range(12) if p != 7)]
    assert found.ancestors("check 7") == [["ul"], ["ul"]]
    assert found.ancestors("check 3") == [["details", "ul"]]


def test_help_does_not_import_what_writes_pages() -> None:
    program = (
        "import sys\n"
        "from dpe_jax import cli\n"
        "cli.main(['--help']), cli.main(['report', '--help'])\n"
        "bad = {'jinja2', 'pydantic', 'jax', 'PIL'} & set(sys.modules)\n"
        "sys.exit(repr(sorted(bad)) if bad else 0)\n"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    assert "DIR/report.html" in done.stdout
