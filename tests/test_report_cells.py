"""Tables of `dpe report` show the digits of the LaTeX tables, and refuse other numbers."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pages
import pytest
from command_line import refusal
from made_reports import part, reproduction, sheet, whole, write

from dpe_jax import cli
from dpe_jax.report import latex_cells, numbers
from dpe_jax.reproduce import latex
from dpe_jax.reproduce.part import Column, Table

COMMITTED = Path(__file__).parent.parent / "results" / "reproduce"


def document(rows: Sequence[Sequence[float | str | bool | None]], *digits: str) -> str:
    columns = [Column(f"c{place}", "head", digits=each) for place, each in enumerate(digits)]
    keyed = [{column.key: cell for column, cell in zip(columns, row, strict=True)} for row in rows]
    return latex.document(Table("bound", "Bound.", tuple(columns), keyed))


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.3394327129300414, ".6f", "0.339433"),
        (0.00011311911395366558, ".2e", "1.13e-4"),
        (0.002246092006726248, ".2%", "0.22 %"),
        (1.0, ".2%", "100.00 %"),
        (0.0004, ".5f", "0.00040"),
        (10597.012896082233, ".3g", "10,597"),
        (34410, ",d", "34,410"),
        (-0.12156053445200221, ".3f", "-0.122"),
        (0.9999999999999911, ".3g", "1"),
        (-1.26e-7, ".1e", "-1.3e-7"),
        (0.0, ".3g", "0"),
        (math.inf, ".3g", "∞"),
        (-math.inf, ".3g", "−∞"),
        (math.nan, ".3g", "NaN"),
        (None, ".3g", "–"),
        (True, ".3g", "yes"),
        (False, ".3g", "no"),
    ],
)
def test_a_cell_has_the_digits_of_its_latex(
    value: float | bool | None, digits: str, shown: str
) -> None:
    exact = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    assert latex_cells.shown([[exact, "2"]], document([[value, 2]], digits, "d")) == [[shown, "2"]]


@pytest.mark.parametrize(
    ("value", "exact", "digits", "shown"),
    [
        (8.126e-5, "[7.91234e-05, 8.31415e-05]", ".3g", ("8.13e-5", "[7.91e-5, 8.31e-5]")),
        (0.000115, "[0.0001012345, ∞]", ".2e", ("1.15e-4", "[1.01e-4, ∞]")),
        (34410.2, "[34000.4, 35123.6]", ",.0f", ("34,410", "[34,000, 35,124]")),
        (-1.5, "[-1.75, -1.25]", ".3g", ("-1.5", "[-1.75, -1.25]")),
    ],
)
def test_an_interval_has_the_digits_of_its_latex(
    value: float, exact: str, digits: str, shown: tuple[str, str]
) -> None:
    made = document([[value, exact]], digits, digits)
    assert latex_cells.shown([[str(value), exact]], made) == [list(shown)]
    other = exact.replace("[", "[9")
    with pytest.raises(latex_cells.DisagreementError, match="not the numbers"):
        latex_cells.shown([[str(value), other]], made)


def test_the_committed_tables_are_shown_to_the_digits_of_their_latex(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert cli.main(["report", str(COMMITTED), "--out", str(page)]) == 0
    found, compared = pages.read(page), 0
    tables = list(found.tables.values())
    for name in json.loads((COMMITTED / "manifest.json").read_text(encoding="utf-8"))["parts"]:
        manifest = json.loads((COMMITTED / name / "manifest.json").read_text(encoding="utf-8"))
        for table in manifest["tables"]:
            text = (COMMITTED / name / "tables" / f"{table['name']}.tex").read_text("utf-8")
            rows = [line for line in text.splitlines() if line.endswith(r" \\")][1:]
            _, *shown = tables.pop(0)
            for line, cells in zip(rows, shown, strict=True):
                digits = re.findall(r"\$(-?[\d.,{}]+)", line)
                digits = [one.replace("{,}", ",") for one in digits]
                of_cells = [found[0] for cell in cells if (found := re.match(r"-?[\d,.]+", cell))]
                for one in digits:
                    assert one in of_cells, (name, table["name"], line, cells)
                    compared += 1
            assert not {"true", "false"} & {cell for cells in shown for cell in cells}
    assert compared > 800


def _made(folder: Path, text: str, rows: list[list[object]] | None = None) -> Path:
    rows = rows or [["n", "bound"], [2, 0.00225131], [3, 0.5]]
    made = part(folder, "quantization", "Bound", tables={"bound": rows})
    (folder / "quantization" / "tables" / "bound.tex").write_text(text, encoding="utf-8")
    return whole(folder, [made])


def test_rounded_numbers_are_said_to_be_rounded(tmp_path: Path) -> None:
    told = "Numbers are rounded; the CSV file has all digits."
    rows: list[list[float | bool | None]] = [[2, 0.00225131], [3, 0.5]]
    for name, digits, shown in (("a", ".3f", "0.002"), ("b", ".8f", "0.00225131")):
        folder = _made(tmp_path / name, document(rows, "d", digits))
        assert cli.main(["report", str(folder)]) == 0
        found = pages.read(folder / "report.html")
        assert found.table("measured over 256 runs")[1] == ["2", shown]
        assert (told in found.text) is (name == "a")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([[2, 0.00226], [3, 0.5]], "has 0.00226 in place of 0.00225131, not the numbers"),
        ([[2, 0.00225131]], "has not the rows and columns"),
        ([[2, 0.00225131], [3, 5.0]], "has 5 in place of 0.5, not the numbers"),
    ],
)
def test_a_latex_table_of_other_numbers_is_refused(
    rows: list[list[float | bool | None]],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = _made(tmp_path, document(rows, "d", ".3g"))
    line = refusal(["report", str(folder)], capsys)
    assert f"quantization/tables/bound.tex {told} of its CSV file" in line


def test_a_changed_digit_of_a_committed_table_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(COMMITTED / "objective", tmp_path / "objective")
    table = folder / "tables" / "objective.tex"
    text = table.read_text(encoding="utf-8")
    assert "0.339433" in text
    table.write_text(text.replace("0.339433", "0.339434"), encoding="utf-8")
    line = refusal(["report", str(folder)], capsys)
    assert "(tables/objective.tex is not as it was written)" in line
    # Without digests, of which earlier versions had fewer, by the numbers themselves.
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"sha256": {}}))
    assert "has 0.339434 in place of 0.3394327" in refusal(["report", str(folder)], capsys)


def test_without_rows_in_latex_numbers_have_four_digits(tmp_path: Path) -> None:
    folder = _made(tmp_path, "\\begin{tabular}{l}\\end{tabular}\n")
    assert cli.main(["report", str(folder)]) == 0
    found = pages.read(folder / "report.html")
    assert found.table("measured over 256 runs")[1] == ["2", "0.002251"]


def _page(folder: Path) -> pages.Read:
    assert cli.main(["report", str(folder)]) == 0
    return pages.read(folder / "report.html")


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    folder = reproduction(tmp_path)
    table = folder / "accuracy" / "tables" / "accuracy.csv"
    sheet(table, [["k", "gap"], *([k, k * k] for k in range(1000))])
    found = _page(folder)
    rows = found.table("Accuracy of every method")
    assert len(rows) == 201
    assert "The first 200 of 1000 rows." in found.text
    links = [link for link in found.links if link.get("download") == "accuracy-tables-accuracy.csv"]
    assert pages.held(links[0]) == table.read_bytes()


def test_heads_of_tables_are_for_reading(tmp_path: Path) -> None:
    folder = reproduction(tmp_path)
    manifest = json.loads((folder / "quantization" / "manifest.json").read_text())
    heads = ["agents", "article", "½(n−1)²dδ²", "measured", "± s.e.", "said"]
    manifest["tables"][0]["heads"] = heads
    write(folder / "quantization", manifest)
    table = folder / "accuracy" / "tables" / "accuracy.csv"
    sheet(table, [["k", "gap_mean_state [1]"], [1, 2]])
    found = _page(folder)
    assert found.table("Quantization error: bound and measurement")[0] == heads
    assert found.table("Accuracy of every method")[0] == ["k", "gap mean state [1]"]


@pytest.mark.parametrize(
    ("text", "shown", "aligned"),
    [
        ("0.00405", "0.00405", True),
        ("2.4983105e-05", "2.498e-5", True),
        ("12345.678", "12,346", True),
        ("123456", "123456", True),
        ("-0.123456", "-0.1235", True),
        ("1e400", "1e400", True),
        ("-inf", "−∞", True),
        ("nan", "NaN", True),
        ("", "–", True),
        ("k^2", "k^2", False),
        ("true", "yes", False),
        ("false", "no", False),
        ("[7.93e-05, 8.31e-05]", "[7.93e-5, 8.31e-5]", True),
        ("0.3.0", "0.3.0", False),
        ("3 of 4,096", "3 of 4,096", True),
        ("1.2 [1.1, 1.3]", "1.2 [1.1, 1.3]", True),
        ("2026-11-22T21:13:32Z", "2026-11-22T21:13:32Z", False),
    ],
)
def test_cells(text: str, shown: str, aligned: bool) -> None:
    assert numbers.written(text) == shown
    assert numbers.is_number(shown) is aligned


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (4096, "4,096"),
        (0.0, "0"),
        (0.00113119, "0.00113"),
        (1.13119e-5, "1.13e-5"),
        (9.9999e-4, "1.00e-3"),
        (12345.6, "12,346"),
        (-2.5, "-2.5"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
    ],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert numbers.number(value) == shown
