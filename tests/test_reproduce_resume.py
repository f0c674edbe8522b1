"""`dpe reproduce`: what it keeps when it is stopped or its files are damaged, and goes on with."""

import contextlib
import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import small_parts
from command_line import python, refusal, the_object
from small_parts import Settings, Small, arguments, manifest

from dpe_jax import cli, reproduce_commands
from dpe_jax.folder import digest, digests, whole
from dpe_jax.report.reading import read


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, Small]:
    return small_parts.parts(monkeypatch)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished reproduction, which most of these tests begin with."""
    out = tmp_path_factory.mktemp("template") / "out"
    with pytest.MonkeyPatch.context() as patch:
        small_parts.parts(patch)
        assert cli.main(arguments(out)) == 0
    return out


@pytest.fixture
def finished(small: dict[str, Small], template: Path, tmp_path: Path) -> Path:
    """A copy of it, as if its parts had just been made."""
    for one in small.values():
        one.made = 1
    return shutil.copytree(template, tmp_path / "out")


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
    assert small["coupling"].found == ["half", "result"]
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
        # What no figure or table is drawn from, too.
        ("config.toml", Path.unlink),
        ("config.toml", changed),
        ("half", broken),
        ("result/summary.json", Path.unlink),
        ("result/curves.zarr/0.0", changed),
        ("result/curves.zarr/0.0", Path.unlink),
    ],
)
def test_a_damaged_part_is_made_anew(file, damage, small, finished, capsys) -> None:
    out = finished
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


def test_a_verdict_that_was_changed_is_noticed(small, tmp_path, capsys) -> None:
    """No digest of a part holds its own manifest; the manifest of the whole does."""
    out = tmp_path / "out"
    small["objective"].passes = False
    assert cli.main(arguments(out)) == 1
    path = out / "objective" / "manifest.json"
    path.write_text(path.read_text().replace('"passed": false', '"passed": true'))
    assert cli.main(arguments(out, "--resume")) == 1
    assert "objective is damaged, and made anew" in " ".join(capsys.readouterr().err.split())
    assert [one.made for one in small.values()] == [2, 1, 1]


def test_what_is_to_be_replaced_stays_until_it_is(small, finished, capsys) -> None:
    out = finished
    before = manifest(out / "coupling")

    def interrupted() -> None:
        raise KeyboardInterrupt

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

    def interrupted() -> None:
        raise KeyboardInterrupt

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

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

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


@pytest.mark.parametrize("words", [[], ["--resume"], ["--overwrite"]])
def test_a_first_manifest_that_was_half_written_is_not_in_the_way(
    words, small, tmp_path, monkeypatch
) -> None:
    """As kill -9 leaves the folder."""
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with contextlib.suppress(KeyboardInterrupt), whole(out / "manifest.json") as stream:
            stream.write(b'{"kind": ')
            raise KeyboardInterrupt
    [left] = out.iterdir()
    assert left.name.startswith(".manifest.json.partial-")
    assert cli.main(arguments(out, *words)) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])


def test_parts_of_two_seeds_without_a_manifest_can_be_replaced(small, finished, capsys) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    small["coupling"].before = interrupted
    assert cli.main(arguments(finished, "--overwrite", "--seed", "3")) == cli.INTERRUPTED
    (finished / "manifest.json").unlink()
    capsys.readouterr()
    for words in ([], ["--resume"], ["--resume", "--seed", "3"]):
        line = refusal(arguments(finished, *words), capsys)
        assert "parts of several scales or seeds, and no manifest of all of them; add" in line
    line = refusal(arguments(finished, "--overwrite", "--only", "coupling"), capsys)
    assert "of which objective, privacy would be lost" in line
    small["coupling"].before = lambda: None
    assert cli.main(arguments(finished, "--overwrite", "--seed", "3")) == 0
    assert {manifest(finished / name)["seed"] for name in small} == {3}


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


@pytest.mark.parametrize(
    "entry",
    [
        *({"parts": None}, {"wall_seconds": "abc"}, {"seed": "x"}, {"scale": "huge"}),
        *({"asked": [1]}, {"sha256": []}, {"anew": None}, {"coming": "coupling"}),
        *({"sha256": {"coupling": []}}, {"started": None}),
    ],
    ids=str,
)
def test_a_manifest_with_a_wrong_entry_is_made_anew(entry, small, finished) -> None:
    out = finished
    (out / "manifest.json").write_text(json.dumps(manifest(out) | entry))
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 1, 1]
    assert manifest(out)["parts"] == list(small)
    assert manifest(out)["seed"] == 0
    assert manifest(out)["wall_seconds"] >= manifest(out)["seconds"]


@pytest.mark.parametrize("key", ["scale", "seconds", "checks", "sha256"])
def test_a_part_whose_manifest_lacks_an_entry_is_made_anew(key, small, finished) -> None:
    out = finished
    found = manifest(out / "coupling")
    del found[key]
    (out / "coupling" / "manifest.json").write_text(json.dumps(found))
    (out / "manifest.json").unlink()
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 2, 1]


def test_a_store_that_is_gone_altogether_is_no_damage(small, finished) -> None:
    """As in committed results."""
    out = finished
    shutil.rmtree(out / "objective" / "result" / "curves.zarr")
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 1, 1]


def test_what_is_hidden_has_no_digest(tmp_path: Path) -> None:
    """A killed process may leave such folders behind."""
    for name in ("seen", "within/seen", ".hidden", ".left/seen", "within/.left/seen"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
    assert sorted(digests(tmp_path)) == ["seen", "within/seen"]


def test_what_is_whole_is_named_however_a_call_ends(small, tmp_path, capsys) -> None:
    """Parts that come after the one that is interrupted, and unfinished ones that are not asked."""
    out = tmp_path / "out"

    def interrupted() -> None:
        raise KeyboardInterrupt

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


def test_a_full_disk_is_named_in_one_line(small, tmp_path, capsys) -> None:
    """Also where the library that writes stumbles over it."""
    out = tmp_path / "out"

    def full() -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise AttributeError("no attribute 'pos'") from None

    small["coupling"].before = full
    assert cli.main(arguments(out)) == cli.BAD_INPUT
    [*_, line] = capsys.readouterr().err.splitlines()
    assert line.endswith(": expected a writable folder (No space left on device)")

    def other() -> None:
        raise AttributeError("a fault of ours")

    small["coupling"].before = other
    with pytest.raises(AttributeError, match="ours"):
        cli.main(arguments(out, "--resume"))


def test_a_name_that_is_too_long_is_named_in_one_line(small, capsys) -> None:
    assert "a writable folder (File name too long)" in refusal(arguments(Path("x" * 300)), capsys)


@pytest.mark.parametrize("damage", [broken, Path.unlink])
def test_a_lost_manifest_of_the_whole_is_made_from_those_of_its_parts(
    damage, small, finished, capsys
) -> None:
    out = finished
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
