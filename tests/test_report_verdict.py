"""The verdict of `dpe report`: claims beside checks, parts that are missing, and what goes on."""

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pages
import pytest
from command_line import refusal, the_object
from made_reports import change, part, reproduction, whole

from dpe_jax import cli, reproduce_commands
from dpe_jax.errors import InputError
from dpe_jax.report.reading import read as read_page
from dpe_jax.reproduce.parts import PARTS

COMMITTED = Path(__file__).parent.parent / "results" / "reproduce"

CLAIMS = [
    ["criterion", "claimed", "measured", "by", "why", "agrees"],
    ["External eavesdroppers", 3, 3, "eavesdropper", "ciphertexts", "true"],
    ["Colluding <neighbors>", 3, 0, "coalition", "state error 0.0066", "false"],
]


def read(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[pages.Read, str, dict]:
    """The page, what the terminal shows, and the JSON object."""
    page = folder.parent / "page.html"
    assert cli.main(["report", str(folder), "--out", str(page)]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["report", str(folder), "--out", str(page), "--json"]) == 0
    return pages.read(page), shown, the_object(capsys.readouterr().out)


def banners(found: pages.Read) -> list[str]:
    return [
        str(attributes["class"]).removeprefix("banner ")
        for tag, attributes in found.tags
        if tag == "p" and str(attributes.get("class")).startswith("banner ")
    ]


def test_claims_that_do_not_hold_stand_beside_the_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [("sound", True, "")]
    folder = tmp_path / "out"
    made = part(folder, "privacy", "Privacy", tables={"claims": CLAIMS}, checks=checks)
    found, shown, said = read(whole(folder, [made]), capsys)
    told = "1 of 2 of the article's privacy claims hold when measured (reconstructed protocol)"
    assert said["claims"] == {
        "hold": 1,
        "measured": 2,
        "contradicted": ["Colluding <neighbors>"],
    }
    assert said["passed"] is True
    assert f"{told}; not: Colluding <neighbors>\n" in shown
    assert banners(found) == ["pass", "note"]
    verdict = found.text[found.text.index("The one check passed.") :]
    assert f"{told}." in verdict
    (claim,) = [text for text in found.lists["verdicts"] if "not so" in text]
    assert claim == "! not so Privacy: Colluding <neighbors>: 3 claimed, 0 measured (coalition)"
    # A part by itself has them as well.
    found, shown, said = read(folder / "privacy", capsys)
    assert told in found.text
    assert told in shown
    assert said["claims"]["hold"] == 1
    assert "parts_asked" not in said


@pytest.mark.parametrize(
    ("file", "changed", "told"),
    [
        ("config.toml", b"seed = 1", "config.toml is not as it was written"),
        ("five-agents/summary.json", b"{}", "five-agents/summary.json is not as it was written"),
        ("tables/objective.csv", None, "tables/objective.csv is missing"),
    ],
)
def test_a_page_is_of_what_was_written(
    file: str, changed: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stores may be gone, as those of committed results are, but not changed."""
    folder = tmp_path / "objective"
    shutil.copytree(COMMITTED / "objective", folder, ignore=shutil.ignore_patterns("*.zarr"))
    assert "five-agents/curves.zarr" in json.loads((folder / "manifest.json").read_text())["sha256"]
    assert read_page(folder).passed is True
    path = folder / file
    path.unlink() if changed is None else path.write_bytes(changed)
    assert f"({told}" in refusal(["report", str(folder)], capsys)
    shutil.copytree(COMMITTED / "objective", folder, dirs_exist_ok=True)
    store = folder / "five-agents" / "curves.zarr"
    store.mkdir(exist_ok=True)
    (store / ".zgroup").write_bytes(b"another")
    line = refusal(["report", str(folder)], capsys)
    assert "(five-agents/curves.zarr is not as it was written" in line


def test_the_whole_knows_the_manifests_of_its_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(COMMITTED, folder, ignore=shutil.ignore_patterns("*.zarr"))
    manifest = folder / "coupling" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("seconds", "minutes"))
    line = refusal(["report", str(folder)], capsys)
    assert "(coupling/manifest.json is not as it was written; dpe reproduce" in line
    manifest.unlink()
    assert "(coupling/manifest.json is missing" in refusal(["report", str(folder)], capsys)


def test_a_part_that_holds_an_audit_is_a_part() -> None:
    page = read_page(COMMITTED / "privacy")
    assert page.kind == "a part of dpe reproduce"
    assert page.title == "The privacy table, measured"
    assert len(page.claims) == 6


def test_claims_that_all_hold_are_good_and_without_the_part_none_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    made = part(folder, "privacy", "Privacy", tables={"claims": CLAIMS[:2]})
    found, shown, said = read(whole(folder, [made]), capsys)
    assert said["claims"] == {"hold": 1, "measured": 1, "contradicted": []}
    assert banners(found) == ["none", "pass"]
    assert "hold when measured (reconstructed protocol)\n" in shown
    found, shown, said = read(reproduction(tmp_path / "other"), capsys)
    assert "claims" not in said
    assert "article's privacy claims" not in found.text + shown


def test_the_claims_of_the_committed_reproduction_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (COMMITTED / "privacy" / "tables" / "claims.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    against = [row["criterion"] for row in rows if row["agrees"] == "false"]
    assert against
    page = tmp_path / "page.html"
    assert cli.main(["report", str(COMMITTED), "--out", str(page), "--json"]) == 0
    said = the_object(capsys.readouterr().out)["claims"]
    assert said == {
        "hold": len(rows) - len(against),
        "measured": len(rows),
        "contradicted": against,
    }
    listed = [text for text in pages.read(page).lists["verdicts"] if "! not so" in text]
    assert len(listed) == len(against)


def test_a_table_of_claims_without_its_columns_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["criterion", "claimed"], ["External eavesdroppers", 3]]
    whole(tmp_path, [part(tmp_path, "privacy", "Privacy", tables={"claims": rows})])
    assert "table claims has no column measured" in refusal(["report", str(tmp_path)], capsys)


def test_parts_that_are_missing_come_before_the_checks_that_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reproduction(tmp_path / "a folder", failing=False)
    change(folder, asked=["objective", "quantization", "privacy", "leakage", "accuracy"])
    found, shown, said = read(folder, capsys)
    assert [said[f"parts_{key}"] for key in ("finished", "asked")] == [3, 5]
    assert said["parts_missing"] == ["privacy", "leakage"]
    assert said["passed"] is True
    assert "3 of 5 parts finished; missing: privacy, leakage\n" in shown
    assert "4 of 4 checks of the finished parts passed\n" in shown
    # No verdict is green.
    assert banners(found) == ["note", "none"]
    first, last = "3 of 5 parts finished.", "All 4 checks of the finished parts passed."
    assert found.text.index(first) < found.text.index(last)
    assert ("dd", "3 of 5 parts finished") in found.terms
    only = "--only objective quantization privacy leakage accuracy"
    command = f"dpe reproduce --seed 3 {only} --out {shlex.quote(str(folder))} --resume"
    assert command in found.text
    assert f"this goes on: {command}\n" in shown


@pytest.mark.parametrize(
    ("scale", "seed", "asked", "words"),
    [
        ("default", 0, [*PARTS], []),
        ("quick", 0, [*PARTS], ["--quick"]),
        ("full", 7, [*PARTS], ["--full", "--seed", "7"]),
        ("quick", 0, ["objective", "privacy"], ["--quick", "--only", "objective", "privacy"]),
        # A part of another version can not be asked for.
        ("default", 0, ["objective", "of another version"], []),
    ],
)
def test_what_goes_on_is_the_same_reproduction(
    scale: str,
    seed: int,
    asked: list[str],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "it's mine"
    made = part(folder, "objective", "Objective", scale=scale, seed=seed)
    whole(folder, [made], asked=asked, scale=scale, seed=seed)
    _, shown, _ = read(folder, capsys)
    (line,) = [text for text in shown.splitlines() if text.startswith("this goes on: ")]
    typed = shlex.split(line.removeprefix("this goes on: "))
    assert typed == ["dpe", "reproduce", *words, "--out", str(folder), "--resume"]
    # The command itself takes it so.
    taken: list[Any] = []

    def reproduce(out: Path, parts: object, settings: dict, scale: str, *_: object, **how: Any):
        taken.extend([out, [*settings], scale, {one.seed for one in settings.values()}, how])
        raise InputError("--out", str(out), "nothing more here")

    monkeypatch.setattr(reproduce_commands, "reproduce", reproduce)
    assert cli.main(typed[1:]) == cli.BAD_INPUT
    names = asked if "--only" in words else [*PARTS]
    how = {"order": [*PARTS], "resume": True, "overwrite": False}
    assert taken == [folder, [name for name in PARTS if name in names], scale, {seed}, how]


def cure(out: Path, only: str = "--only objective quantization accuracy") -> str:
    return f"dpe reproduce --seed 3 {only} --out {shlex.quote(str(out))} --resume"


@pytest.mark.parametrize(
    "name",
    [
        "objective/figures/objective.pdf",
        "quantization/tables/bound.csv",
        "accuracy/config.toml",
        "accuracy/manifest.json",
    ],
)
def test_what_is_missing_of_a_part_is_named_with_the_command_that_makes_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reproduction(tmp_path / "out")
    (folder / name).unlink()
    told = f"{name} is missing; {cure(folder)} makes anew what is damaged)"
    assert told in refusal(["report", str(folder)], capsys)
    # Likewise from within the part.
    place, _, inner = name.partition("/")
    line = refusal(["report", str(folder / place)], capsys)
    assert f"{inner} is missing" in line
    assert cure(folder) in line


def test_a_part_elsewhere_has_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = reproduction(tmp_path / "out")
    (folder / "accuracy" / "config.toml").unlink()
    alone = shutil.copytree(folder / "accuracy", tmp_path / "accuracy")
    assert "dpe reproduce" not in refusal(["report", str(alone)], capsys)
    shutil.copytree(alone, folder / "copy")
    assert "dpe reproduce" not in refusal(["report", str(folder / "copy")], capsys)
    # A path that does not name the part leads to the whole as well.
    monkeypatch.chdir(folder / "accuracy")
    assert cure(Path("..")) in refusal(["report", "."], capsys)


@pytest.mark.parametrize("text", [None, '{"kind": "repr'])
def test_a_manifest_of_the_whole_that_cannot_be_read_is_written_by_a_command(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reproduction(tmp_path / "out")
    manifest = folder / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    line = refusal(["report", str(folder)], capsys)
    assert cure(folder, "--only accuracy objective quantization") in line
    (folder / "accuracy" / "manifest.json").write_text("{")
    line = refusal(["report", str(folder)], capsys)
    assert cure(folder, "--only objective quantization") in line


def test_what_lies_outside_is_not_said_to_be_cured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = reproduction(tmp_path / "out")
    item = {"name": "objective", "caption": "Objective.", "files": ["../x.png"]}
    change(folder / "objective", figures=[item])
    assert "dpe reproduce" not in refusal(["report", str(folder)], capsys)
