"""`dpe report`: folders that are damaged, or not to be read, are refused in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import made_reports
import pytest
from command_line import refusal
from made_reports import change, reproduction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A reproduction, to be damaged."""
    return reproduction(tmp_path / "out")


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _unlink(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _folder(name: str) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return put


def _truncate(name: str) -> Callable[[Path], None]:
    return lambda folder: _cut(folder / name)


def _put(name: str, text: str) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / name).write_text(text, encoding="utf-8")

    return put


def _entry(folder: str, **entries: object) -> Callable[[Path], None]:
    return lambda out: change(out / folder, **entries)


def _figure(files: list[str]) -> Callable[[Path], None]:
    item = {"name": "objective", "caption": "Objective.", "files": files}
    return _entry("objective", figures=[item])


def _table(heads: list[str]) -> Callable[[Path], None]:
    item = {"name": "bound", "caption": "Bound.", "files": ["tables/bound.csv"], "heads": heads}
    return _entry("quantization", tables=[item])


_OWN = {"name": "the gap falls", "passed": False, "detail": ""}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_unlink("objective/figures/objective.png"), "objective/figures/objective.png is missing"),
        (_unlink("objective/figures/objective.pdf"), "objective/figures/objective.pdf is missing"),
        (_unlink("accuracy/tables/accuracy.tex"), "accuracy/tables/accuracy.tex is missing"),
        (_unlink("accuracy/config.toml"), "accuracy/config.toml is missing"),
        (_unlink("accuracy/manifest.json"), "accuracy/manifest.json is missing"),
        (_unlink("manifest.json"), "manifest.json is missing, which dpe reproduce"),
        (_folder("manifest.json"), "audit wrote (manifest.json is a folder)"),
        (_put("manifest.json", "{}"), "manifest.json does not say which; dpe reproduce"),
        (lambda out: shutil.rmtree(out / "accuracy"), "accuracy/ is missing"),
        (_truncate("objective/figures/objective.png"), "objective.png is no whole PNG"),
        (_truncate("accuracy/manifest.json"), "accuracy/manifest.json is no whole JSON"),
        (_truncate("manifest.json"), "manifest.json is no whole JSON"),
        (_put("accuracy/manifest.json", "[]"), "is no whole JSON: manifest.json is no object"),
        (_put("accuracy/manifest.json", "[" * 9999), "accuracy/manifest.json is no whole JSON"),
        (_put("accuracy/tables/accuracy.csv", "a,b\n1,2\n3"), "row 3: 1 cells under 2 headings"),
        (_put("accuracy/tables/accuracy.csv", "a,b\n"), "accuracy.csv has no rows"),
        (_put("accuracy/tables/accuracy.csv", 'a,b\n1,"2'), "accuracy.csv is no whole CSV"),
        (_put("accuracy/tables/accuracy.tex", ""), "accuracy.tex is empty"),
        (_put("accuracy/config.toml", "runs = "), "accuracy/config.toml is no valid TOML"),
        (_entry("accuracy", part="fraud"), "accuracy/manifest.json is that of the part fraud"),
        (_entry("accuracy", seconds="long"), "accuracy/manifest.json: seconds"),
        (_entry("accuracy", checks=[_OWN]), "do not agree on the check"),
        (_entry("objective", checks=[_OWN]), "do not agree on the check 'the gap falls'"),
        (_entry(".", passed=True), "says otherwise than its checks"),
        (_entry(".", parts="objective"), "manifest.json: parts"),
        (_entry(".", parts=["../objective"]), "is no path within the folder"),
        (_table(["n", "bound"]), "has 2 headings for 6 columns"),
        (_figure(["figures/objective.pdf"]), "has 0 PNG files"),
        (_figure(["/etc/hostname.png"]), "is no path within the folder"),
        (_figure(["../quantization/figures/bound.png"]), "is no path within the folder"),
    ],
)
def test_damage_is_refused_in_one_line(
    folder: Path,
    damage: Callable[[Path], None],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder)
    line = refusal(["report", str(folder)], capsys)
    assert told in line
    assert line.startswith("dpe: DIR = ")
    assert not (folder / "report.html").exists()


def test_a_link_out_of_the_folder_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    inner = folder / "accuracy" / "tables" / "accuracy.csv"
    inner.unlink()
    inner.symlink_to(secret)
    assert "is a link that leads out of it" in refusal(["report", str(folder)], capsys)


def test_other_folders_and_files_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    known = "a folder that dpe reproduce, run, sweep or audit wrote"
    assert known in refusal(["report", str(empty)], capsys)
    made_reports.write(empty, {"kind": "bench"})
    assert known in refusal(["report", str(empty)], capsys)
    assert "a folder that dpe wrote" in refusal(["report", str(tmp_path / "none")], capsys)
    assert "DIR = ''" in refusal(["report", ""], capsys)
    other = tmp_path / "mine.html"
    other.write_text("<p>mine")
    line = refusal(["report", str(folder), "--out", str(other)], capsys)
    assert "expected a new file, or a page of dpe report" in line
    assert other.read_text() == "<p>mine"
    line = refusal(["report", str(folder), "--out", str(empty)], capsys)
    assert "a file; this is a folder" in line
    line = refusal(["report", str(folder), "--out", str(other / "page.html")], capsys)
    assert line.startswith("dpe: --out = ")
