"""`dpe audit`: its files, its table and its refusals."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import INSECURE, refusal, the_object
from made_audits import METHODS, audit, simulation
from rich.cells import cell_len
from small import CONVENTIONAL, ENCRYPTED, STEPSIZE, write

from dpe_jax import audit_commands, cli
from dpe_jax.config import parse
from dpe_jax.fanout import InProcess
from dpe_jax.folder import AUDIT, AUDIT_PAGE
from dpe_jax.privacy import ciphertexts, figures, pareto, parts
from dpe_jax.privacy.pareto import prices
from dpe_jax.privacy.report import Report

ALONE = ["--without", "images,ciphertexts,cost", *INSECURE]
SHORT = {
    "runs": 100,
    "iterations": 12,
    "block": 64,
    "record": {"points": 6},
    "methods": {
        "encrypted": ENCRYPTED,
        "conventional": CONVENTIONAL,
        "centralized": {"method": "CentralizedSGD", "stepsize": STEPSIZE},
    },
}


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is simulated: the audit is one with given numbers."""
    monkeypatch.setattr(audit_commands, "audit", lambda *_, **__: audit())


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """All of it at once: what is simulated serves every part."""
    few(monkeypatch)
    out = tmp_path / "out"
    arguments = ["audit", write(tmp_path, SHORT), "--out", str(out), "--coalition", "1,2"]
    assert cli.main([*arguments, *INSECURE, "--json"]) == 0
    captured = capsys.readouterr()
    shown = the_object(captured.out)
    assert "INSECURE TEST KEYS" in captured.err
    assert "encrypted: runs, observers and attacks" in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "small.toml"]
    files = [AUDIT, AUDIT_PAGE, "config.toml", "figures"]
    assert sorted(path.name for path in out.iterdir()) == files
    held = json.loads((out / AUDIT).read_text())
    assert shown["folder"] == str(out)
    assert {k: v for k, v in shown.items() if k not in ("folder", "figures", "cells")} == {
        k: v for k, v in held.items() if k not in ("manifest", "cells")
    }
    the_trajectories(held)
    the_parts(shown, out)
    assert held["findings"] == shown["findings"]
    page = (out / AUDIT_PAGE).read_text()
    assert all(text in page for text in held["findings"])
    assert parse(tomllib.loads((out / "config.toml").read_text())).iterations == 12


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pictures, experiments and seconds of calibration than an audit has, and no workers.

    That every broken scheme is caught, around either backend, is tested with ciphertexts.
    """
    monkeypatch.setattr(parts, "PICTURES", 4)
    monkeypatch.setattr(pareto, "CALIBRATION_SECONDS", 0.1)
    monkeypatch.setitem(ciphertexts.SCHEMES, "fast short", (200, 100))
    broken = tuple(case for case in ciphertexts.controls() if case.scheme == "phe")
    monkeypatch.setattr(ciphertexts, "controls", lambda: broken)
    # That experiments can go to workers is tested with ciphertexts, and workers for themselves.
    monkeypatch.setattr(audit_commands, "Processes", lambda _: InProcess())


def the_trajectories(held: dict[str, Any]) -> None:
    views = ["eavesdropper", "neighbor", "coalition", "coalition of all neighbors"]
    assert held["views"] == [*views, "states granted"]
    assert held["skipped"] == ["centralized"]
    assert held["manifest"]["runs"] == 100
    cells = {(cell["method"], cell["view"]): cell for cell in held["cells"]}
    assert len(cells) == 10
    # What nothing hides comes back, and what nobody reads does not.
    assert cells["conventional", "eavesdropper"]["gradient"]["error"][0] < 1e-6
    assert cells["encrypted", "eavesdropper"]["scores"]["total"] == 3
    assert cells["encrypted", "neighbor"]["scores"]["states"] == 0
    assert cells["encrypted", "states granted"]["sign"]["error"][0] == 0


def the_parts(shown: dict[str, Any], out: Path) -> None:
    assert shown["ciphertexts"]["passed"]
    controls = shown["images"]["controls"]
    assert controls["plaintext"]["exact"]["count"] == controls["plaintext"]["targets"]
    assert controls["noise"]["recognisable"]["count"] == 0
    paid = {price["method"]: price["cpu_seconds"] for price in shown["pareto"]}
    assert paid["encrypted"] > 0 == paid["conventional"]
    assert shown["figures"]
    assert all(Path(path).is_file() for path in shown["figures"])
    for name in ("scores", "averages", "pareto", "attacks-encrypted", "images"):
        assert (out / "figures" / f"{name}.png").is_file()


def test_what_is_shown(tmp_path: Path, made_up: None, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, {"methods": METHODS})
    arguments = ["audit", path, *ALONE, "--no-figures"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "what is learned of agent 0" in shown
    for text in ("plain", "nothing to attack", "g 0.50 [0.49, 0.51]", "3: nothing that was tried"):
        assert text in shown
    head = shown[: shown.index("0: a single gradient")]
    assert max(map(cell_len, head.splitlines())) <= 120
    (folder,) = (tmp_path / "dpe-results").iterdir()
    assert folder.name.startswith("small-")
    assert folder.name.endswith("-audit")
    # What is left out is nowhere.
    assert sorted(path.name for path in folder.iterdir()) == [AUDIT, AUDIT_PAGE, "config.toml"]
    held = json.loads((folder / AUDIT).read_text())
    assert not {"images", "ciphertexts"} & set(held)
    assert all(price["cpu_seconds"] in (None, 0.0) for price in held["pareto"])
    # The same once more takes its place, something else has a folder of its own.
    assert cli.main([*arguments, "--json"]) == 0
    assert the_object(capsys.readouterr().out)["figures"] == []
    assert cli.main([*arguments, "--target", "1"]) == 0
    assert len(list((tmp_path / "dpe-results").iterdir())) == 2


def test_all_or_nothing(tmp_path: Path, made_up: None, monkeypatch: Any, capsys: Any) -> None:
    out = tmp_path / "out"
    path = write(tmp_path, {"methods": METHODS})
    arguments = ["audit", path, "--out", str(out), *ALONE, "--no-figures"]
    with monkeypatch.context() as patched:

        def interrupted(*_: Any) -> str:
            raise KeyboardInterrupt

        patched.setattr(audit_commands, "markdown", interrupted)
        assert cli.main(arguments) == cli.INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]
    capsys.readouterr()
    (out / "mine").mkdir(parents=True)
    assert "a new folder" in refusal(arguments, capsys)
    (out / "mine").rmdir()
    assert cli.main(arguments) == 0
    before = (out / AUDIT).read_text()
    capsys.readouterr()
    assert "--overwrite" in refusal(arguments, capsys)
    assert (out / AUDIT).read_text() == before
    (out / "mine").mkdir()
    assert "mine would be lost" in refusal([*arguments, "--overwrite"], capsys)
    (out / "mine").rmdir()
    assert cli.main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "5"], ["--target = 5", "0 to 4"]),
        (["--target", "x"], ["--target", "'x'", "an integer"]),
        (["--coalition", "1,,2"], ["--coalition", "''", "such as 1,2"]),
        (["--coalition", "0,1"], ["--coalition = 0", "other than 0"]),
        (["--coalition", "1,1"], ["--coalition", "each agent once"]),
        (["--coalition", "9"], ["--coalition = 9", "0 to 4"]),
        (["--from", "30"], ["--from = 30", "0 to 27"]),
        (["--from", "-1"], ["--from", "'-1'"]),
        (["--runs", "99"], ["--runs = 99", "at least 100"]),
        (["--without", "figures"], ["--without", "'figures'", "images, ciphertexts, cost"]),
        (["--key-bits", "256"], ["--key-bits", "--insecure-test-keys"]),
        (["--lanes", "1"], ["'--lanes 1'", "dpe audit"]),
        (["--out", ""], ["--out", "''"]),
    ],
)
def test_refusals(arguments: list[str], words: list[str], tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path, {"runs": 100})
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    line = refusal(["audit", path, *out, "--no-figures", *arguments], capsys)
    assert all(word in line for word in words), line
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.toml"]


def test_other_refusals(tmp_path: Path, capsys: Any) -> None:
    assert "PRESET|CONFIG" in refusal(["audit", "nothing"], capsys)
    file = tmp_path / "file"
    file.touch()
    line = refusal(["audit", write(tmp_path, {"runs": 100}), "--out", str(file)], capsys)
    assert "a folder" in line


def test_figures(tmp_path: Path) -> None:
    made, some = simulation(), audit()
    kept = tuple(cell for cell in some.cells if cell.method == "plain")
    some = dataclasses.replace(some, cells=kept)
    report = Report("made", made, some, prices(made, some))
    drawn = figures.draw(report, tmp_path)
    names = {path.name for path in drawn}
    assert names == {path.name for path in tmp_path.iterdir()}
    for name in ("scores", "pareto", "attacks-plain"):
        assert {f"{name}.png", f"{name}.pdf"} <= names
    # No averages in it.
    assert "averages.png" not in names


def test_pictures_say_whose_row_is_anothers() -> None:
    coalition, granted = "coalition of all neighbors", "states granted"
    methods = {
        "a": {coalition: "a", granted: "a, states"},
        "b-c": {coalition: "a", granted: "a, states"},
        "d": {coalition: "d"},
        "e": {coalition: "e", granted: "d"},
    }
    assert parts._alike(methods) == "as a: b-c; as d: e with states"
