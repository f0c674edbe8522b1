"""`dpe reproduce`: what it keeps when it is stopped, and goes on with."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from command_line import python, refusal, the_object
from small_parts import Settings, arguments, interrupted, manifest

from dpe_jax import cli, reproduce_commands
from dpe_jax.folder import beside, digest, removed
from dpe_jax.report.reading import read
from dpe_jax.reproduce import whole as whole_of_all
from dpe_jax.reproduce import writing


def test_an_interrupted_reproduction_goes_on(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"

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
    assert small["coupling"].found == ["half", "result"]
    assert small["privacy"].found == []
    assert manifest(out / "objective") == first
    assert manifest(out)["parts"] == list(small)
    assert [manifest(out / name)["resumed"] for name in small] == [False, True, False]
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])
    # Nothing is left to do.
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 2, 1]


@pytest.mark.parametrize(
    ("changed", "told"), [("settings", "other settings"), ("versions", "jax unknown (now 0)")]
)
def test_what_was_begun_otherwise_is_not_gone_on_with(
    changed, told, small, tmp_path, monkeypatch, capsys
) -> None:
    out = tmp_path / "out"

    small["coupling"].before = interrupted
    # Of which what is found is not known, or not the same.
    with monkeypatch.context() as patch:
        patch.setattr(whole_of_all, "versions", lambda: {})
        patch.setattr(writing, "versions", lambda: {})
        assert cli.main(arguments(out)) == cli.INTERRUPTED
    small["coupling"].before = lambda: None
    if changed == "versions":
        monkeypatch.setattr(whole_of_all, "versions", lambda: {"jax": "0"})
    else:
        monkeypatch.setattr(whole_of_all, "versions", lambda: {})
        monkeypatch.setattr(
            reproduce_commands, "load", lambda *_: Settings(seed=0, seconds=1.0, runs=4)
        )
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume")) == 0
    err = capsys.readouterr().err
    assert f"objective was made with {told}: it is made anew\n" in err
    assert f"coupling was begun with {told}: it begins anew\n" in err
    assert [one.made for one in small.values()] == [2, 2, 1]
    assert small["coupling"].found == []


def test_what_is_to_be_replaced_stays_until_it_is(small, finished, capsys) -> None:
    out = finished
    before = manifest(out / "coupling")

    small["coupling"].before = interrupted
    assert cli.main(arguments(out, "--overwrite", "--only", "coupling")) == cli.INTERRUPTED
    assert manifest(out)["parts"] == list(small)
    assert manifest(out / "coupling") == before
    # Of another seed, too, though it is no part of what is made then.
    assert cli.main(arguments(out, "--overwrite", "--seed", "3")) == cli.INTERRUPTED
    assert manifest(out)["parts"] == ["objective"]
    assert manifest(out / "coupling") == before
    assert manifest(out / "privacy")["seed"] == 0
    small["coupling"].before = lambda: None
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume", "--seed", "3")) == 0
    assert "damaged" not in capsys.readouterr().err
    assert manifest(out)["parts"] == list(small)
    assert {manifest(out / name)["seed"] for name in small} == {3}
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])


def test_an_interrupted_overwrite_goes_on(small, finished, capsys) -> None:
    out = finished

    small["coupling"].before = interrupted
    assert cli.main(arguments(out, "--overwrite")) == cli.INTERRUPTED
    assert manifest(out)["parts"] == list(small)
    assert manifest(out)["anew"] == ["coupling", "privacy"]
    (remark,) = [text for text in read(out).remarks if "still as before" in text]
    assert remark.startswith("coupling, privacy: still as before dpe reproduce --overwrite")
    small["coupling"].before = lambda: None
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume", "--only", "objective")) == 0
    assert "not finished: coupling, privacy; this goes on" in capsys.readouterr().out
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume")) == 0
    assert "damaged" not in capsys.readouterr().err
    assert [one.made for one in small.values()] == [2, 3, 2]
    assert small["coupling"].found == ["half", "result"]
    assert manifest(out)["anew"] == []
    assert not [text for text in read(out).remarks if "still as before" in text]


def test_an_overwrite_that_was_not_begun_is_begun_again(
    small, finished, monkeypatch, capsys
) -> None:
    """Ctrl-C while it reads what is there: --resume would make nothing anew."""

    words = arguments(finished, "--overwrite", "--seed", "3")
    with monkeypatch.context() as patch:
        patch.setattr("dpe_jax.reproduce.whole.whole_parts", interrupted)
        assert cli.main(words) == cli.INTERRUPTED
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"dpe: interrupted; nothing was begun; this begins it: dpe {' '.join(words)}"
    assert manifest(finished)["seed"] == 0
    assert cli.main(words) == 0
    assert manifest(finished)["seed"] == 3


def test_interrupts_wait_for_an_exchange(small, finished, monkeypatch, capsys) -> None:
    """However many: between its two renames a part has no place."""
    rename, seen = Path.rename, []

    def interrupting(self: Path, target: Path) -> Path:
        seen.append(target.name)
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupting)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(arguments(finished, "--overwrite")) == cli.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [".objective.old", "objective"]
    assert manifest(finished)["parts"] == list(small)
    assert manifest(finished)["anew"] == ["coupling", "privacy"]


@pytest.mark.parametrize("moment", ["begun", "before", "between", "after", "lost"])
def test_a_part_that_was_about_to_be_exchanged_is(moment, small, finished, capsys) -> None:
    """As kill -9 leaves the folder at each moment: the part is old or new, and whole."""
    out = finished
    place, new, old = (out / name for name in ("coupling", ".coupling.unfinished", ".coupling.old"))
    shutil.copytree(place, new)
    text = (new / "manifest.json").read_text()
    (new / "manifest.json").write_text(text.replace('"resumed": false', '"resumed": true'))
    coming = {"coming": {"coupling": digest(new / "manifest.json")}}
    # Of an --overwrite, unless what it made is lost.
    coming |= {"anew": ["coupling"] if moment in ("before", "between", "after") else []}
    (out / "manifest.json").write_text(json.dumps(manifest(out) | coming))
    place.rename(old)
    if moment == "after":
        new.rename(place)
    if moment in ("before", "begun"):
        old.rename(place)
    if moment == "begun":
        (new / ".begun.json").write_text("{}")
    if moment == "lost":
        shutil.rmtree(new)
    if moment in ("begun", "before", "after"):
        page = read(out)
        assert page.passed is True
        assert bool([text for text in page.remarks if "still as" in text]) is (moment == "before")
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume")) == 0
    assert "damaged" not in capsys.readouterr().err
    assert [one.made for one in small.values()] == [1, 1, 1]
    assert manifest(place)["resumed"] is (moment in ("before", "between", "after"))
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])
    assert read(out).passed is True


def test_an_old_part_comes_back_where_a_link_leads_nowhere(small, finished) -> None:
    out = finished
    (out / "coupling").rename(out / ".coupling.old")
    (out / "coupling").symlink_to(out / "nowhere")
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 1, 1]
    assert not (out / "coupling").is_symlink()


def test_a_part_of_another_seed_is_not_put_in_place(small, finished) -> None:
    """One that was whole as its process died, before an --overwrite with another seed."""
    out = finished
    shutil.copytree(out / "coupling", out / ".coupling.unfinished")
    shutil.rmtree(out / "coupling")
    small["objective"].before = interrupted
    assert cli.main(arguments(out, "--overwrite", "--seed", "5")) == cli.INTERRUPTED
    assert not (out / "coupling").exists()
    small["objective"].before = lambda: None
    assert cli.main(arguments(out, "--resume", "--seed", "5")) == 0
    assert small["coupling"].made == 2
    assert {manifest(out / name)["seed"] for name in small} == {5}


def test_what_is_half_written_or_half_removed_goes_with_the_next_call(
    small, finished, monkeypatch, capsys
) -> None:
    out = finished

    small["coupling"].before = interrupted
    assert cli.main(arguments(out, "--overwrite", "--only", "coupling")) == cli.INTERRUPTED
    unfinished = out / ".coupling.unfinished"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            removed(unfinished / "result")
        with pytest.raises(KeyboardInterrupt):
            removed(shutil.copytree(out / "coupling", out / ".coupling.old"))
    # Whatever is left of it is not where it would be gone on with.
    assert not (unfinished / "result").exists()
    (unfinished / "figures").mkdir()
    beside(unfinished / "figures" / "curve.pdf").write_text("half")
    # Of another command, that may be at work.
    another = beside(out / "audit")
    another.mkdir()
    small["coupling"].before = lambda: None
    assert cli.main(arguments(out, "--resume")) == 0
    assert small["coupling"].found == ["figures", "half"]
    assert [path for path in out.rglob(".*") if "partial" in path.name] == [another]
    assert read(out).remarks == (f"{another.name} is half-written.",)


def test_what_is_whole_is_named_however_a_call_ends(small, tmp_path, capsys) -> None:
    """Parts that come after the one that is interrupted, and unfinished ones that are not asked."""
    out = tmp_path / "out"

    assert cli.main(arguments(out, "--only", "privacy")) == 0
    small["coupling"].before = interrupted
    assert cli.main(arguments(out, "--resume")) == cli.INTERRUPTED
    assert manifest(out)["parts"] == ["objective", "privacy"]
    assert manifest(out)["asked"] == list(small)
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume", "--only", "objective")) == 0
    assert manifest(out)["asked"] == list(small)
    told = " ".join(capsys.readouterr().out.split())
    assert "not finished: coupling; this goes on: dpe reproduce" in told
    assert (out / ".coupling.unfinished").is_dir()


def test_a_call_that_makes_nothing_does_not_take_back_the_time(small, finished) -> None:
    out = finished
    whole = manifest(out) | {"wall_seconds": 1000.0}
    (out / "manifest.json").write_text(json.dumps(whole))
    assert cli.main(arguments(out, "--resume")) == 0
    assert 1000.0 < manifest(out)["wall_seconds"] < 1100.0


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
