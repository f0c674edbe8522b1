"""`dpe reproduce`: what it makes of a folder that is damaged, half written or of somebody else."""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import refusal
from small_parts import arguments, changed, interrupted, manifest

from dpe_jax import cli
from dpe_jax.folder import alone, digest, digests, whole


def broken(path: Path) -> None:
    path.write_text("{broken")


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
    capsys.readouterr()
    assert cli.main(arguments(out, "--resume")) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "objective is not the one that manifest.json names, and made anew" in told
    assert [one.made for one in small.values()] == [2, 1, 1]
    assert '"passed": true' in (out / "objective.before-1" / "manifest.json").read_text()


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
    small["coupling"].before = interrupted
    assert cli.main(arguments(finished, "--overwrite", "--seed", "3")) == cli.INTERRUPTED
    (finished / "manifest.json").unlink()
    capsys.readouterr()
    for words in ([], ["--resume"], ["--resume", "--seed", "3"]):
        line = refusal(arguments(finished, *words), capsys)
        assert "this one has parts of several scales or seeds, and no manifest of all of" in line
    line = refusal(arguments(finished, "--overwrite", "--only", "coupling"), capsys)
    assert "of which objective, privacy would be lost" in line
    small["coupling"].before = lambda: None
    assert cli.main(arguments(finished, "--overwrite", "--seed", "3")) == 0
    assert {manifest(finished / name)["seed"] for name in small} == {3}


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


@pytest.mark.parametrize(
    "key", ["scale", "seconds", "checks", "sha256", "differs", "source", "device", "versions"]
)
def test_a_part_whose_manifest_lacks_an_entry_is_made_anew(key, small, finished) -> None:
    out = finished
    found = manifest(out / "coupling")
    del found[key]
    (out / "coupling" / "manifest.json").write_text(json.dumps(found))
    (out / "manifest.json").unlink()
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 2, 1]


def test_a_part_that_lies_elsewhere_can_be_replaced(small, finished, tmp_path) -> None:
    out = finished
    (out / "coupling").rename(tmp_path / "elsewhere")
    (out / "coupling").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        assert cli.main(arguments(out, "--overwrite", "--only", "coupling")) == 0
    assert manifest(tmp_path / "elsewhere")["part"] == "coupling"
    # And one that lay there.
    shutil.rmtree(out / "privacy")
    (out / "privacy").symlink_to(tmp_path / "nowhere")
    assert cli.main(arguments(out, "--resume")) == 0
    assert not (out / "coupling").is_symlink()
    kept = ["coupling.before-1", "privacy.before-1"]
    assert all((out / name).is_symlink() for name in kept)
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, *kept, "manifest.json"])


def test_unfinished_parts_without_a_manifest_are_gone_on_with(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"

    small["objective"].before = interrupted
    assert cli.main(arguments(out)) == cli.INTERRUPTED
    (out / "manifest.json").unlink()
    capsys.readouterr()
    assert "has unfinished parts; add --resume to go on" in refusal(arguments(out), capsys)
    (out / "another").write_text("of somebody")
    small["objective"].before = lambda: None
    assert cli.main(arguments(out, "--resume")) == 0
    assert small["objective"].found == ["half", "result"]
    assert (out / "another").read_text() == "of somebody"
    (out / ".coupling.unfinished").mkdir()
    shutil.rmtree(out / "objective")
    for name in ("coupling", "privacy"):
        shutil.rmtree(out / name)
    # Nothing says that this one is of a reproduction.
    (out / "manifest.json").unlink()
    capsys.readouterr()
    assert "or one that dpe reproduce wrote" in refusal(arguments(out, "--resume"), capsys)


@pytest.mark.parametrize("words", [["--resume"], ["--overwrite"]])
def test_a_lost_manifest_beside_a_damaged_part_alone(words, small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    words = [*words, "--only", "coupling"]
    assert cli.main(arguments(out, *words)) == 0
    (out / "manifest.json").unlink()
    changed(out / "coupling" / "figures" / "curve.csv")
    (out / "coupling.before-1").mkdir()
    capsys.readouterr()
    assert "at scale default, seed 0" in refusal(arguments(out, "--seed", "3"), capsys)
    assert cli.main(arguments(out, *words)) == 0
    assert small["coupling"].made == 2
    assert (out / "coupling.before-2" / "figures" / "curve.csv").read_text().endswith("1,2,3\n")


@pytest.mark.parametrize("kind", ["file", "link", "link to nowhere"])
def test_what_lies_under_the_name_of_an_unfinished_part_is_not_in_the_way(
    kind, small, finished, tmp_path
) -> None:
    out = finished
    shutil.rmtree(out / "coupling")
    place = out / ".coupling.unfinished"
    if kind == "file":
        place.write_text("a file")
    else:
        elsewhere = tmp_path / "elsewhere"
        place.symlink_to(elsewhere)
        if kind == "link":
            elsewhere.mkdir()
            (elsewhere / "kept").write_text("of somebody")
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 2, 1]
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])
    assert kind != "link" or (tmp_path / "elsewhere" / "kept").read_text() == "of somebody"


def test_advice_about_another_seed_can_be_followed(small, finished, capsys) -> None:
    words = arguments(finished, "--seed", "4")
    assert "; add --overwrite to replace it" in refusal(words, capsys)
    line = refusal([*words, "--resume"], capsys)
    assert "seed 0; --overwrite in place of --resume replaces it" in line
    line = refusal([*words, "--only", "coupling"], capsys)
    assert line.endswith("seed 0; objective, privacy would be lost with --overwrite")
    assert cli.main([*words, "--overwrite"]) == 0


def test_parts_that_no_manifest_names_are_not_lost(small, finished, capsys) -> None:
    """After an interrupted --overwrite with another seed."""

    small["objective"].before = interrupted
    assert cli.main(arguments(finished, "--overwrite", "--seed", "7")) == cli.INTERRUPTED
    assert manifest(finished)["parts"] == []
    capsys.readouterr()
    words = arguments(finished, "--overwrite", "--seed", "9", "--only", "coupling")
    assert "of which objective, privacy would be lost" in refusal(words, capsys)


def test_a_folder_where_another_is_at_work(small, finished, capsys) -> None:
    with alone(finished):
        line = refusal(arguments(finished), capsys)
    assert line.endswith("expected a folder in which no other dpe reproduce is at work")
    assert "has objective, coupling, privacy already" in refusal(arguments(finished), capsys)


def test_a_store_that_is_gone_altogether_is_no_damage(small, finished) -> None:
    """As in committed results."""
    out = finished
    shutil.rmtree(out / "objective" / "result" / "curves.zarr")
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 1, 1]


def test_what_is_hidden_or_a_page_has_no_digest(tmp_path: Path) -> None:
    """A killed process may leave such folders behind."""
    hidden = [
        "manifest.json",
        ".hidden",
        ".left/seen",
        "within/.left/seen",
        "report.html",
        "within/report.html",
    ]
    added = ["within/comparison.json", "within/manifest.json"]
    for name in ("seen", "within/seen", *hidden, *added):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
    one = digest(tmp_path / "seen")
    assert digests(tmp_path) == dict.fromkeys(["seen", "within/seen", *added], one)


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
    told = (
        "a writable folder (No space left on device); what is finished is kept, and --resume goes"
    )
    assert line.endswith(f": expected {told} on")

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


@pytest.mark.parametrize("text", ["", "[]", '{"half'])
def test_a_half_written_result_within_a_part_is_no_whole_one(text, small, finished, capsys) -> None:
    """Of files that other commands write anew, too."""
    making = finished / ".coupling.unfinished" / "result" / "comparison.json"
    small["coupling"].before = lambda: making.write_text('{"a": 1}')
    assert cli.main(arguments(finished, "--overwrite", "--only", "coupling")) == 0
    path = finished / "coupling" / "result" / "comparison.json"
    path.write_text('{"a": 2}')
    assert cli.main(["report", str(finished)]) == 0
    path.write_text(text)
    capsys.readouterr()
    line = refusal(["report", str(finished)], capsys)
    assert "coupling/result/comparison.json is no whole JSON; dpe reproduce" in line
    assert cli.main(arguments(finished, "--resume")) == 0
    assert small["coupling"].made == 3
    assert json.loads(path.read_text()) == {"a": 1}


def test_an_error_that_is_not_about_the_folder_is_no_fault_of_it(small, tmp_path) -> None:
    out = tmp_path / "out"
    small["objective"].before = lambda: (tmp_path / "nowhere" / "data.csv").read_text()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        cli.main(arguments(out))
    small["objective"].before = lambda: (out / "nowhere" / "data.csv").read_text()
    assert cli.main(arguments(out, "--resume")) == cli.BAD_INPUT


def test_a_result_within_a_part_has_all_that_it_had(small, finished) -> None:
    """What other commands write into it may change."""
    added = finished / "objective" / "result" / "certificate.json"
    making = finished / ".objective.unfinished" / "result" / "certificate.json"
    small["objective"].before = lambda: making.write_text("{}")
    assert cli.main(arguments(finished, "--overwrite", "--only", "objective")) == 0
    added.write_text('{"epsilon": 0.3}')
    assert cli.main(arguments(finished, "--resume")) == 0
    assert small["objective"].made == 2
    added.unlink()
    assert cli.main(arguments(finished, "--resume")) == 0
    assert small["objective"].made == 3


def test_a_page_advises_what_can_be_done_about_two_seeds(small, finished, capsys) -> None:
    small["coupling"].before = interrupted
    assert cli.main(arguments(finished, "--overwrite", "--seed", "3")) == cli.INTERRUPTED
    (finished / "manifest.json").unlink()
    small["coupling"].before = lambda: None
    capsys.readouterr()
    line = refusal(["report", str(finished)], capsys)
    command = line.split("which dpe ")[1].removesuffix(" writes)")
    assert cli.main(command.split()) == 0


def test_a_damaged_part_is_named_also_without_a_manifest_of_the_whole(
    small, finished, capsys
) -> None:
    (finished / "manifest.json").write_text("{")
    (finished / "coupling" / "half").unlink()
    assert cli.main(arguments(finished, "--resume", "--only", "objective")) == 0
    assert "coupling is damaged and left out" in " ".join(capsys.readouterr().err.split())
    assert manifest(finished)["asked"] == list(small)


def test_what_is_still_old_is_not_finished(small, finished, capsys) -> None:
    small["coupling"].before = interrupted
    assert cli.main(arguments(finished, "--overwrite")) == cli.INTERRUPTED
    capsys.readouterr()
    assert "this one has 1 of 3 parts; add --resume to go on" in refusal(
        arguments(finished), capsys
    )
    assert cli.main(["report", str(finished)]) == 0
    assert "coupling, privacy: still as before dpe reproduce" in capsys.readouterr().out
