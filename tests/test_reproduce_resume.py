"""`dpe reproduce`: what it keeps when it is stopped or its files are damaged, and goes on with."""

import json
import signal
from pathlib import Path

import pytest
import small_parts
from command_line import python, refusal, the_object
from small_parts import Settings, Small, arguments, manifest

from dpe_jax import cli, reproduce_commands


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, Small]:
    return small_parts.parts(monkeypatch)


def test_an_interrupted_reproduction_goes_on(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"

    def interrupted() -> None:
        raise KeyboardInterrupt

    small["coupling"].before = interrupted
    assert cli.main(arguments(out)) == cli.INTERRUPTED
    [*_, line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"this goes on: dpe reproduce --out {out} --resume")
    assert not (out / "coupling").exists()
    assert manifest(out)["parts"] == ["objective"]
    line = refusal(arguments(out), capsys)
    assert "1 of 3 parts" in line
    assert "--resume" in line
    first = manifest(out / "objective")
    small["coupling"].before = lambda: None
    assert cli.main(arguments(out, "--resume")) == 0
    assert "objective: finished before" in capsys.readouterr().err
    assert [one.made for one in small.values()] == [1, 2, 1]
    # Within the part, too.
    assert small["coupling"].found == ["half"]
    assert small["privacy"].found == []
    assert manifest(out / "objective") == first
    assert manifest(out)["parts"] == list(small)
    assert [manifest(out / name)["resumed"] for name in small] == [False, True, False]
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])
    # Nothing is left to do.
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 2, 1]


@pytest.mark.parametrize("changed", ["settings", "versions"])
def test_what_was_begun_otherwise_is_not_gone_on_with(
    changed, small, tmp_path, monkeypatch, capsys
) -> None:
    out = tmp_path / "out"

    def interrupted() -> None:
        raise KeyboardInterrupt

    small["coupling"].before = interrupted
    assert cli.main(arguments(out)) == cli.INTERRUPTED
    small["coupling"].before = lambda: None
    if changed == "versions":
        monkeypatch.setattr("dpe_jax.reproduce.whole.versions", lambda: {"jax": "0"})
    else:
        monkeypatch.setattr(
            reproduce_commands, "load", lambda *_: Settings(seed=0, seconds=1.0, runs=4)
        )
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [2, 2, 1]
    assert small["coupling"].found == []


def broken(path: Path) -> None:
    path.write_text("{broken")


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"1,2,3\n")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("manifest.json", broken),
        ("manifest.json", Path.unlink),
        ("figures/curve.png", Path.unlink),
        ("figures/curve.csv", changed),
        ("tables/numbers.tex", broken),
    ],
)
def test_a_damaged_part_is_made_anew(file, damage, small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(arguments(out)) == 0
    damage(out / "objective" / file)
    # Of other parts alone it is left out, and said to be.
    assert cli.main(arguments(out, "--resume", "--only", "coupling")) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "objective is damaged and left out" in told
    assert manifest(out)["parts"] == ["coupling", "privacy"]
    assert cli.main(arguments(out, "--resume")) == 0
    assert "objective is damaged, and made anew" in " ".join(capsys.readouterr().err.split())
    assert [one.made for one in small.values()] == [2, 1, 1]
    assert manifest(out)["parts"] == list(small)
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [2, 1, 1]


@pytest.mark.parametrize("damage", [broken, Path.unlink])
def test_a_lost_manifest_of_the_whole_is_made_from_those_of_its_parts(
    damage, small, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    assert cli.main(arguments(out)) == 0
    before = manifest(out)
    damage(out / "manifest.json")
    capsys.readouterr()
    line = refusal(arguments(out, "--resume", "--seed", "3"), capsys)
    assert "at scale default, seed 0" in line
    assert "--overwrite" in refusal(arguments(out), capsys)
    assert cli.main(arguments(out, "--resume", "--only", "coupling")) == 0
    assert [one.made for one in small.values()] == [1, 1, 1]
    for key in ("parts", "asked", "checks", "seconds", "scale", "seed"):
        assert manifest(out)[key] == before[key]


@pytest.mark.slow
def test_a_killed_reproduction_goes_on(tmp_path: Path, capsys) -> None:
    """kill -9 in the middle of a real part, of which what was simulated is kept."""
    out = tmp_path / "out"
    words = ["reproduce", "--quick", "--only", "objective", "--out", str(out)]
    script = (
        "import os, signal, sys; from dpe_jax import cli; from dpe_jax.reproduce import curves\n"
        "curves.bands = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    assert python("-c", script, *words).returncode == -signal.SIGKILL
    assert not (out / "objective").exists()
    simulated = out / ".objective.unfinished" / "five-agents" / "manifest.json"
    written = json.loads(simulated.read_text())["written"]
    # Another process, of the same versions: this one.
    assert cli.main([*words, "--resume", "--json"]) == 0
    assert the_object(capsys.readouterr().out)["parts"] == ["objective"]
    assert manifest(out / "objective")["resumed"] is True
    assert manifest(out / "objective" / "five-agents")["written"] == written
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "objective"]
