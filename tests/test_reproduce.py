"""`dpe reproduce`: what it writes of each part, what it is asked for, and what it refuses."""

import csv
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from command_line import refusal, the_object
from small_parts import Settings, arguments, manifest

from dpe_jax import cli, drawing
from dpe_jax.arguments import REPRODUCE_PARTS
from dpe_jax.errors import InputError
from dpe_jax.reproduce.part import SCALES, Made, Scale, Work
from dpe_jax.reproduce.parts import PARTS
from dpe_jax.reproduce.settings import load, parse, settings_hash

# What is written


def test_what_is_written(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(arguments(out, "--json", "--seed", "7")) == 0
    captured = capsys.readouterr()
    report = the_object(captured.out)
    assert "1/3 objective" in captured.err
    assert "by experience this takes 3 seconds on two cores" in captured.err
    assert report["wall_seconds"] > 0
    assert report["folder"] == str(out)
    assert [report["kind"], report["scale"], report["seed"]] == ["reproduce", "default", 7]
    assert report["parts"] == list(small)
    assert report["passed"] is True
    assert report["checks"][1] == {
        "part": "coupling",
        "name": "a check",
        "passed": True,
        "detail": "seed 7, default",
    }
    stored = manifest(out)
    assert {key: report[key] for key in stored} == stored
    assert {"jax", "python"} <= set(stored["versions"])
    assert stored["device"]["platform"] in ("cpu", "gpu")
    assert sorted(path.name for path in out.iterdir()) == sorted([*small, "manifest.json"])
    place = out / "coupling"
    found = manifest(place)
    assert found == report["reports"]["coupling"]
    assert found["kind"] == "part"
    assert found["part"] == "coupling"
    assert found["config_hash"] == settings_hash(Settings(seed=7, seconds=1.0))
    assert found["differs"] == "In nothing."
    assert found["figures"] == [
        {
            "name": "curve",
            "caption": "a caption",
            "files": [f"figures/curve.{kind}" for kind in ("pdf", "png", "csv")],
        }
    ]
    for item in (*found["figures"], *found["tables"]):
        assert all((place / file).stat().st_size > 0 for file in item["files"])
    assert (place / "config.toml").read_text() == "seed = 7\nseconds = 1.0\nruns = 3\n"
    with (place / "tables" / "numbers.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["k", "value [ms]"]
    assert np.float32(rows[2][1]) == np.float32(1) / 3
    with (place / "figures" / "curve.csv").open() as stream:
        assert next(csv.DictReader(stream)) == {"k": "0", "value": "0.0", "none": ""}
    assert (place / "figures" / "curve.pdf").read_bytes().startswith(b"%PDF")


def test_a_check_that_fails(small, tmp_path, capsys) -> None:
    small["coupling"].passes = False
    assert cli.main(arguments(tmp_path / "out")) == 1
    shown = capsys.readouterr().out
    assert "FAIL coupling: a check: seed 0, default" in shown
    assert "pass privacy: a check" in shown
    assert "1 of 3 checks FAILED" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    assert manifest(tmp_path / "out")["passed"] is False


def test_a_row_without_a_column_is_no_table(small, tmp_path, monkeypatch) -> None:
    made = small["coupling"].make

    def torn(*rest: Any) -> Made:
        found = made(*rest)
        return found._replace(tables=[found.tables[0]._replace(rows=[{"k": 1}])])

    monkeypatch.setattr(small["coupling"], "make", torn)
    with pytest.raises((KeyError, ValueError), match="value"):
        cli.main(arguments(tmp_path / "out"))
    assert not (tmp_path / "out" / "coupling").exists()


def test_some_parts_only(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(arguments(out, "--only", "privacy", "objective", "--quick")) == 0
    assert manifest(out)["parts"] == ["objective", "privacy"]
    assert manifest(out)["scale"] == "quick"
    assert small["coupling"].made == 0
    assert cli.main(arguments(out, "--only", "coupling", "--quick", "--resume")) == 0
    assert manifest(out)["parts"] == ["objective", "coupling", "privacy"]
    assert [one.made for one in small.values()] == [1, 1, 1]
    assert len(manifest(out)["checks"]) == 3


# What is left alone


def test_what_is_there_is_replaced_only_if_asked(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(arguments(out)) == 0
    (out / "report.html").write_text("a page")
    capsys.readouterr()
    line = refusal(arguments(out, "--only", "coupling"), capsys)
    assert "coupling already" in line
    assert "--overwrite" in line
    for more in (["--seed", "3"], ["--quick"], ["--quick", "--resume"]):
        assert "at scale default, seed 0" in refusal(arguments(out, *more), capsys)
    assert "--overwrite" in refusal(arguments(out, "--overwrite", "--resume"), capsys)
    assert [one.made for one in small.values()] == [1, 1, 1]
    # One part, of the same scale and seed: the others stay.
    assert cli.main(arguments(out, "--only", "coupling", "--overwrite")) == 0
    assert [one.made for one in small.values()] == [1, 2, 1]
    assert manifest(out)["parts"] == list(small)
    # Of another scale: they cannot.
    quick = arguments(out, "--only", "coupling", "--overwrite", "--quick")
    capsys.readouterr()
    assert refusal(quick, capsys).endswith("seed 0, of which objective, privacy would be lost")
    assert [one.made for one in small.values()] == [1, 2, 1]
    assert cli.main(arguments(out, "--overwrite", "--quick")) == 0
    assert [one.made for one in small.values()] == [2, 3, 2]
    assert {manifest(out / name)["scale"] for name in small} == {"quick"}
    names = [*small, "manifest.json", "report.html"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)


def test_a_folder_of_others_is_left_alone(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    (out / "manifest.json").write_text('{"kind": "part"}')
    for more in ([], ["--resume"], ["--overwrite"]):
        assert "dpe reproduce wrote" in refusal(arguments(out, *more), capsys)
    file = tmp_path / "file"
    file.write_text("x")
    assert "this is a file" in refusal(arguments(file), capsys)
    assert "writable" in refusal(arguments(file / "inside"), capsys)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "thesis.tex"]
    assert all(one.made == 0 for one in small.values())


def test_two_at_once_are_refused(small, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    lines = []

    def again() -> None:
        small["objective"].before = lambda: None
        small["objective"].passes = cli.main(arguments(out, "--resume")) == cli.BAD_INPUT
        lines.extend(capsys.readouterr().err.splitlines())

    small["objective"].before = again
    assert cli.main(arguments(out)) == 0
    assert "no other dpe reproduce is at work" in lines[-1]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--quick", "--full"], "dpe: --full: not together with --quick"),
        (["--resume", "--overwrite"], "dpe: --overwrite: not together with --resume"),
        (["--only", "fly"], "some of objective, quantization, coupling"),
        (["--only", "coupling,objective"], "with spaces between them and no commas"),
        (["--seed", "x"], "--seed"),
        (["--only"], "--only"),
        (["--out", ""], "--out"),
        (["--verify-seconds", "3"], "--verify-seconds"),
    ],
)
def test_bad_input(more, expected, small, capsys) -> None:
    assert expected in refusal(["reproduce", *more], capsys)


# Settings


def test_every_part_has_settings_at_every_scale() -> None:
    assert tuple(PARTS) == REPRODUCE_PARTS
    for name, one in PARTS.items():
        hashes = {
            settings_hash(load(name, one.Settings, scale, seed))
            for scale in SCALES
            for seed in (None, 5)
        }
        assert len(hashes) == 6, name
        assert one.TITLE
        assert one.SOURCE


def test_the_default_scale_is_under_five_minutes() -> None:
    """By what each part is expected to take, as the bar has it."""
    limits: dict[Scale, int] = {"quick": 90, "default": 300}
    for scale, most in limits.items():
        expected = {name: load(name, one.Settings, scale).seconds for name, one in PARTS.items()}
        assert sum(expected.values()) <= most, expected


def test_settings_that_are_wrong_name_their_key() -> None:
    with pytest.raises(InputError, match="runs = 'x'"):
        parse(Settings, {"seconds": 1.0, "runs": "x"})
    with pytest.raises(InputError, match="rnus = 3: expected one of the keys"):
        parse(Settings, {"seconds": 1.0, "rnus": 3})
    assert parse(Settings, {"seconds": 1}).runs == 3


# Progress


def test_the_bar_moves_from_part_to_part() -> None:
    told: list[float] = []
    work = Work("quick", 0, print, told.append)
    first, second = work.pieces(1, 3)
    tell = first.progress(2)
    tell("a", 5, 10)
    tell("b", 10, 10)
    tell("a", 5, 10)
    second.step(1, 3)
    second.pieces(1, 1)[1].step(1, 1)
    assert told == pytest.approx([0.0625, 0.1875, 0.25, 0.5, 1.0])


# The style


def test_the_style_is_legible_and_has_the_colours_of_all_figures() -> None:
    with drawing.style():
        sizes = {key: value for key, value in mpl.rcParams.items() if key.endswith(".labelsize")}
        sizes |= {key: mpl.rcParams[key] for key in ("font.size", "legend.fontsize")}
        assert all(size >= 7 for size in sizes.values() if isinstance(size, int | float)), sizes
        cycle = [one["color"] for one in mpl.rcParams["axes.prop_cycle"]]
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert [colour.upper() for colour in cycle] == list(drawing.COLOURS)
