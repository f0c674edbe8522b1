"""`dpe reproduce`: what is kept of the folder of a part that is made anew."""

import errno
import json
import os
import shlex
import shutil
import signal
from pathlib import Path

import pytest
from command_line import refusal
from small_parts import arguments, changed, interrupted, manifest

from dpe_jax import cli
from dpe_jax.reproduce import whole as reproducing


def made_by(out: Path, name: str, *more: str) -> str:
    return shlex.join(["dpe", "reproduce", *more, "--only", name, "--out", str(out), "--resume"])


def test_what_is_no_file_of_a_part_is_kept_when_it_is_made_anew(small, finished, capsys) -> None:
    out = finished
    (out / "coupling" / "notes.txt").write_text("mine")
    (out / "objective" / "report.html").write_text("a page")
    (out / "objective" / "config.toml").write_text("")
    shutil.rmtree(out / "privacy")
    (out / "privacy").write_text("a file of somebody")
    capsys.readouterr()
    assert cli.main(arguments(out, "--overwrite")) == 0
    told = " ".join(capsys.readouterr().err.split())
    kept = "warning: coupling as it was is kept in coupling.before-1: notes.txt was added or"
    assert kept in told
    assert "in objective.before-1: config.toml and 1 more were added or changed" in told
    assert "in privacy.before-1: it is no folder" in told
    assert (out / "coupling.before-1" / "notes.txt").read_text() == "mine"
    assert (out / "privacy.before-1").read_text() == "a file of somebody"
    kept = [f"{name}.before-1" for name in small]
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, *kept, "manifest.json"])
    # A second time beside the first.
    (out / "coupling" / "notes.txt").write_text("mine, too")
    (out / "coupling" / "manifest.json").unlink()
    assert cli.main(arguments(out, "--resume")) == 0
    assert (out / "coupling.before-1" / "notes.txt").read_text() == "mine"
    assert (out / "coupling.before-2" / "notes.txt").read_text() == "mine, too"


@pytest.mark.parametrize(
    "file",
    [
        *("mine/figures/photo.png", "my-comparison.json", "other/comparison.json", ".notes"),
        *(".git/config", "result/more", "figures/curve.csv", "config.toml"),
    ],
)
def test_every_file_that_is_new_or_changed_is_kept(file, small, finished) -> None:
    path = finished / "coupling" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert cli.main(arguments(finished, "--overwrite", "--only", "coupling")) == 0
    assert (finished / "coupling.before-1" / file).read_text() == "mine"


@pytest.mark.parametrize("kind", ["seed", "scale", "run", "edited", "new"])
def test_a_part_that_the_manifest_does_not_know_is_kept(
    kind, small, finished, tmp_path, capsys
) -> None:
    out, other = finished, tmp_path / "other"
    more = {"seed": ["--seed", "5"], "scale": ["--quick"]}.get(kind, [])
    assert cli.main(arguments(other, "--only", "coupling", *more)) == 0
    path = other / "coupling" / "manifest.json"
    path.write_text(path.read_text().replace('"written": "2', '"written": "1'))
    if kind == "new":
        shutil.rmtree(out / "coupling")
        assert cli.main(arguments(out, "--resume", "--only", "privacy")) == 0
    if kind == "edited":
        path = out / "coupling" / "manifest.json"
        path.write_text(path.read_text().replace("{", '{"note": "mine",', 1))
    else:
        shutil.rmtree(out / "coupling", ignore_errors=True)
        shutil.copytree(other / "coupling", out / "coupling")
    told = (out / "coupling" / "manifest.json").read_text()
    capsys.readouterr()
    # Of the same scale and seed it is taken as one that is finished.
    words = ["--overwrite", "--only", "coupling"] if kind == "new" else ["--resume"]
    assert cli.main(arguments(out, *words)) == 0
    assert (out / "coupling.before-1" / "manifest.json").read_text() == told
    said = " ".join(capsys.readouterr().err.split())
    assert "before-1: the manifest.json of the reproduction does not know it" in said
    assert "damaged" not in said


def test_an_overwritten_seed_is_known_until_it_is_replaced(small, finished, capsys) -> None:
    out = finished
    small["coupling"].before = interrupted
    assert cli.main(arguments(out, "--overwrite", "--seed", "7")) == cli.INTERRUPTED
    assert list(manifest(out)["others"]) == ["coupling", "privacy"]
    capsys.readouterr()
    assert cli.main(["report", str(out), "--out", str(out.parent / "page.html")]) == 0
    told = capsys.readouterr().out
    assert "coupling, privacy: still as before dpe reproduce --overwrite" in told
    assert "does not name it" not in told
    small["coupling"].before = lambda: None
    assert cli.main(arguments(out, "--resume", "--seed", "7")) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])
    assert not manifest(out)["others"]


def test_what_a_lost_manifest_does_not_know_is_kept(small, finished) -> None:
    out = finished
    (out / "manifest.json").unlink()
    path = out / "coupling" / "manifest.json"
    path.write_text(path.read_text().replace("In nothing.", "In my note."))
    assert cli.main(arguments(out, "--overwrite", "--only", "coupling")) == 0
    assert "In my note." in (out / "coupling.before-1" / "manifest.json").read_text()


def test_what_is_kept_is_said_before_an_interrupt(small, finished, monkeypatch, capsys) -> None:
    (finished / "coupling" / "notes").write_text("mine")
    rename = Path.rename

    def interrupting(path: Path, target: Path) -> Path:
        if path.name == "coupling":
            signal.raise_signal(signal.SIGINT)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupting)
    words = arguments(finished, "--overwrite", "--only", "coupling")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(words) == cli.INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    assert "coupling.before-1: notes was added or changed" in " ".join(
        capsys.readouterr().err.split()
    )
    assert (finished / "coupling.before-1" / "notes").read_text() == "mine"


def test_a_hidden_file_in_a_folder_in_place_of_a_file_is_kept(small, finished) -> None:
    place = finished / "coupling" / "half"
    place.unlink()
    place.mkdir()
    (place / ".secret").write_text("mine")
    assert cli.main(arguments(finished, "--overwrite", "--only", "coupling")) == 0
    assert (finished / "coupling.before-1" / "half" / ".secret").read_text() == "mine"


def test_a_damaged_part_that_is_left_out_is_not_called_old(small, finished, capsys) -> None:
    out, page = finished, str(finished.parent / "page.html")
    changed(out / "coupling" / "figures" / "curve.csv")
    assert cli.main(arguments(out, "--resume", "--only", "objective")) == 0
    told = " ".join(capsys.readouterr().err.split())
    left_out = f"coupling is damaged and left out; this makes it: {made_by(out, 'coupling')}"
    assert left_out in told
    assert cli.main(["report", str(out), "--out", page]) == 0
    told = capsys.readouterr().out
    assert "--overwrite" not in told
    assert "coupling is not as it was made, and left out; dpe reproduce" in told
    assert "lies in the folder" not in told
    assert cli.main(arguments(out, "--resume", "--only", "coupling")) == 0
    assert manifest(out)["parts"] == list(small)


def test_an_old_part_beside_a_lost_manifest_is_no_part_of_another_seed(
    small, finished, capsys
) -> None:
    out = finished
    (out / "coupling" / "notes").write_text("mine")
    assert cli.main(arguments(out, "--overwrite", "--seed", "3")) == 0
    (out / "manifest.json").unlink()
    capsys.readouterr()
    line = refusal(["report", str(out)], capsys)
    command = line.split("which dpe ")[1].removesuffix(" writes)")
    assert command.endswith("--resume")
    assert command.count("coupling") == 1
    made = [one.made for one in small.values()]
    assert cli.main(command.split()) == 0
    assert [one.made for one in small.values()] == made


def test_a_name_that_is_no_text_is_shown_all_the_same(small, finished, capsys) -> None:
    for folder in (finished, finished / "coupling" / "figures"):
        (folder / os.fsdecode(b"\xff\n.txt")).write_text("mine")
    assert cli.main(["report", str(finished)]) == 0
    assert "\\udcff\\n.txt lies in the folder" in capsys.readouterr().out
    assert cli.main(arguments(finished, "--overwrite", "--only", "coupling")) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "figures/\\udcff\\n.txt was added or changed" in told


def test_a_whole_part_that_no_manifest_names_is_gone_on_with(small, finished) -> None:
    """Of a first call that was killed before it was in its place."""
    out = finished
    (out / "objective").rename(out / ".objective.unfinished")
    for name in ("coupling", "privacy"):
        shutil.rmtree(out / name)
    (out / "manifest.json").unlink()
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 2, 2]


def test_a_second_kill_leaves_no_part_that_nobody_knows(small, finished, monkeypatch) -> None:
    """The first before the manifest was told of a new part, the second as that is put in place."""
    out = finished
    shutil.copytree(out / "coupling", out / ".coupling.unfinished")
    path = out / ".coupling.unfinished" / "manifest.json"
    path.write_text(path.read_text().replace("In nothing.", "In a digest."))
    with monkeypatch.context() as patch:
        patch.setattr(reproducing, "forget", interrupted)
        assert cli.main(arguments(out, "--resume")) == cli.INTERRUPTED
    assert cli.main(arguments(out, "--resume")) == 0
    assert [one.made for one in small.values()] == [1, 1, 1]
    assert "In a digest." in (out / "coupling" / "manifest.json").read_text()
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])


@pytest.mark.parametrize("kind", ["folder", "part"])
def test_a_link_is_kept(kind, small, finished, tmp_path, capsys) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    place = finished / "coupling"
    if kind == "part":
        place.rename(tmp_path / "coupling")
        mine = tmp_path / "coupling"
        place.symlink_to(mine)
    else:
        (place / "figures" / "more").symlink_to(mine)
    capsys.readouterr()
    assert cli.main(arguments(finished, "--overwrite", "--only", "coupling", "--json")) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert "coupling as it was is kept in coupling.before-1" in warning
    kept = finished / "coupling.before-1"
    assert (kept if kind == "part" else kept / "figures" / "more").resolve() == mine.resolve()


def test_what_cannot_be_read_is_kept(small, finished, monkeypatch) -> None:
    """As if the system refused it: whoever runs this may be allowed to read everything."""
    secret = finished / "coupling" / ".secret"
    secret.mkdir()
    listed = os.scandir

    def scandir(path):
        if str(path).endswith(".secret"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert cli.main(arguments(finished, "--overwrite", "--only", "coupling")) == 0
    assert (finished / "coupling.before-1" / ".secret").is_dir()


def test_the_command_for_a_part_that_is_left_out_makes_it(small, tmp_path, capsys) -> None:
    """At another scale and seed, whose words a shorter one would lack."""
    out = tmp_path / "out"
    assert cli.main(arguments(out, "--quick", "--seed", "5")) == 0
    changed(out / "coupling" / "figures" / "curve.csv")
    only = ("--quick", "--seed", "5", "--resume", "--json", "--only", "objective")
    capsys.readouterr()
    assert cli.main(arguments(out, *only)) == 0
    [warning] = json.loads(capsys.readouterr().out)["warnings"]
    command = warning.split("this makes it: ")[1]
    assert command == made_by(out, "coupling", "--quick", "--seed", "5")
    assert cli.main(shlex.split(command)[1:]) == 0
    assert manifest(out)["parts"] == list(small)


@pytest.mark.parametrize("made_anew", [True, False])
def test_no_advice_to_go_on_with_what_was_not_begun(
    made_anew, small, finished, monkeypatch, capsys
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(reproducing, "write_json", full)
    line = refusal(arguments(finished, "--overwrite" if made_anew else "--resume"), capsys)
    assert "expected a writable folder (Read-only file system)" in line
    assert ("--resume goes on" in line) == (not made_anew)


def test_links_to_files_are_kept_and_nothing_beyond_a_link_is_removed(
    small, finished, tmp_path, capsys
) -> None:
    mine, elsewhere = tmp_path / "curve.csv", tmp_path / "elsewhere"
    (finished / "coupling" / "figures" / "curve.csv").rename(mine)
    (finished / "coupling" / "figures" / "curve.csv").symlink_to(mine)
    elsewhere.mkdir()
    (elsewhere / ".mine.partial-01234567").write_text("mine")
    (finished / ".coupling.unfinished").symlink_to(elsewhere)
    assert cli.main(arguments(finished, "--overwrite", "--only", "coupling")) == 0
    assert "figures/curve.csv was added or changed" in " ".join(capsys.readouterr().err.split())
    assert (finished / "coupling.before-1" / "figures" / "curve.csv").readlink() == mine
    assert (elsewhere / ".mine.partial-01234567").read_text() == "mine"


def test_a_link_that_leads_nowhere_is_no_folder(small, tmp_path, capsys) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    line = refusal(arguments(tmp_path / "out"), capsys)
    assert line.endswith("expected a folder; this is a link that leads nowhere")
