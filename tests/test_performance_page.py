"""The tables of docs/performance.md are what `results/bench` holds."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Not `import performance_tables`: scripts/ is on the path in pytest only.
performance_tables = importlib.import_module("performance_tables")


def test_the_page_is_filled_from_the_files() -> None:
    text = performance_tables.PAGE.read_text(encoding="utf-8")
    assert performance_tables.filled(text, performance_tables.RESULTS) == text


@pytest.mark.parametrize("part", ["engine", "large", "growth", "startup", "blocks"])
def test_a_changed_number_is_found(part: str, tmp_path: Path) -> None:
    text = performance_tables.PAGE.read_text(encoding="utf-8")
    path = performance_tables.RESULTS / f"{part}.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["date"] = "1999-01-01"
    shutil.copytree(performance_tables.RESULTS, tmp_path, dirs_exist_ok=True)
    (tmp_path / path.name).write_text(json.dumps(report))
    changed = performance_tables.filled(text, tmp_path)
    assert "1999-01-01" in changed
    assert performance_tables.filled(changed, tmp_path) == changed


def test_what_is_missed_is_said(tmp_path: Path) -> None:
    text = performance_tables.PAGE.read_text(encoding="utf-8")
    shutil.copytree(performance_tables.RESULTS, tmp_path, dirs_exist_ok=True)
    before = performance_tables.wanted(tmp_path).count(", missed")
    path = tmp_path / "engine.json"
    for name, ratio in (("engine_over_floor", 2.001), ("vmap_over_engine", 19.99)):
        report = json.loads(path.read_text(encoding="utf-8"))
        report["ratios"][name] = ratio
        path.write_text(json.dumps(report))
        before += 1
        assert performance_tables.wanted(tmp_path).count(", missed") == before
    assert performance_tables.filled(text, tmp_path).count(", missed") == before


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    text = performance_tables.PAGE.read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        performance_tables.filled(text, tmp_path)


def test_the_large_network_has_the_same_integers() -> None:
    report = json.loads((performance_tables.RESULTS / "large.json").read_text(encoding="utf-8"))
    assert report["integers_equal"] == report["integers"] == 2 * 1000 * 10 * 64
    assert (report["agents"], report["degree"], report["dim"], report["runs"]) == (1000, 6, 10, 64)
