"""The command line: what it prints where, its exit status, and that it never shows a traceback."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest
from command_line import (
    python,
    refusal,
    the_object,
)
from rich.cells import cell_len
from small import DIVERGING, ENCRYPTED, config, write

from dpe_jax import cli, experiment
from dpe_jax.errors import OptimumError
from dpe_jax.problems.quadratic import Quadratic
from dpe_jax.results import load
from dpe_jax.store import CurveStore

TINY = {"runs": 3, "iterations": 4, "methods": {"m": ENCRYPTED}}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small result in it."""
    out = tmp_path_factory.mktemp("cli") / "out"
    experiment.run(config(TINY), out)
    return out


# Bad input


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], ["COMMAND", "'fly'", "reproduce", "run", "plot", "presets"]),
        (["--fast"], ["'--fast'", "dpe [-h] [--version] COMMAND"]),
        (["run"], ["PRESET|CONFIG"]),
        (["plot"], ["DIR"]),
        (["run", "six-agents"], ["'six-agents'", "digits, five-agents", ".toml"]),
        (["run", ""], ["PRESET|CONFIG", "''", "five-agents"]),
        (["run", "nothing.toml"], ["'nothing.toml'", "No such file"]),
        (["run", "five-agents", "more"], ["'more'", "dpe run [-h]"]),
        (["run", "five-agents", "--fast", "3"], ["'--fast 3'", "[--runs N]"]),
        (["run", "five-agents", "--run", "3"], ["'--run 3'", "[--runs N]"]),
        (["presets", "--runs", "3"], ["'--runs 3'", "dpe presets [-h] [--json]"]),
        (["run", "five-agents", "--runs"], ["--runs", "expected one argument"]),
        (["run", "five-agents", "--runs", "0"], ["--runs", "'0'", "from 1 to 4294967296"]),
        (["run", "five-agents", "--runs", "-5"], ["--runs", "'-5'", "from 1 to 4294967296"]),
        (["run", "five-agents", "--runs", "1e3"], ["--runs", "'1e3'", "an integer from 1"]),
        (["run", "five-agents", "--runs", "9" * 5000], ["--runs", "999", "an integer from 1"]),
        (["run", "five-agents", "--iterations", "x"], ["--iterations", "'x'", "4294967294"]),
        (["run", "five-agents", "--seed", "-1"], ["--seed", "'-1'", "from 0 to"]),
        (["run", "five-agents", "--points", "1"], ["--points", "'1'", "from 2 to"]),
        (["run", "five-agents", "--block", "0"], ["--block", "'0'", "from 1 to"]),
        (["run", "five-agents", "--trace", "0,x"], ["--trace", "'x'", "such as 0,1"]),
        (["run", "five-agents", "--trace", "0,,1"], ["--trace", "''", "such as 0,1"]),
        (["run", "five-agents", "--trace", "-1"], ["--trace", "'-1'", "such as 0,1"]),
        (["run", "five-agents", "--trace", "4", "--runs", "4"], ["trace", "4", "from 0 to 3"]),
        (["run", "five-agents", "--trace", "1,1"], ["trace", "(1, 1)", "without repetition"]),
        (["run", "five-agents", "--precision", "half"], ["--precision", "'half'", "float64"]),
        (["run", "five-agents", "--out", ""], ["--out", "''", "folder"]),
        (["run", "five-agents", "--out", "file"], ["--out", "file'", "a folder"]),
        (["run", "five-agents", "--out", "file/inside"], ["--out", "file/inside'", "writable"]),
        (["run", "five-agents", "--out", "full"], ["--out", "full'", "new folder"]),
        (["run", "five-agents", "--out", "."], ["--out", "new folder"]),
        (["run", "five-agents", "--out", "old"], ["--out", "old'", "--overwrite"]),
        (["reproduce", "--only", "five-agents"], ["--only", "'five-agents'", "objective"]),
        (["reproduce", "--only", "objective", "--out", "file"], ["--out", "file", "a folder"]),
        (["reproduce", "--only", "coupling", "--out", "full"], ["--out", "full", "new folder"]),
        (["reproduce", "--block", "3"], ["'--block 3'", "dpe reproduce"]),
        (["run", "five-agents", "--metric", "x"], ["dpe: --metric: only together with --until"]),
        (
            ["run", "five-agents", "--repair", "--restart"],
            ["dpe: --repair: not together with --restart"],
        ),
        (
            ["sweep", "s.toml", "--process", "1"],
            ["dpe: --process: only together with --distributed"],
        ),
        (
            ["verify", "old", "--dask", "tcp://x:1", "--workers", "2"],
            ["dpe: --workers: not together with --dask"],
        ),
        (["plot", "nothing"], ["DIR", "'nothing'", "written by dpe run"]),
        (["plot", "full"], ["DIR", "'full'", "manifest.json is missing"]),
        (["plot", "file"], ["DIR", "'file'", "written by dpe run"]),
        (["plot", "old", "--out", "file"], ["--out", "'file'", "writable"]),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_bad_input_is_one_line_on_stderr(
    arguments, flags, expected, written, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "old").symlink_to(written)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    if flags and arguments[0] not in ("fly", "--fast") and arguments[-1] != "--runs":
        arguments = [*arguments, *flags]
    assert cli.main(arguments) == cli.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("dpe: ")
    for part in expected:
        assert part in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_committed_example_is_refused_with_what_it_lacks(capsys) -> None:
    folder = Path(__file__).parent.parent / "results" / "runs" / "certify"
    for command in ("certify", "plot", "compare"):
        line = refusal([command, str(folder)], capsys)
        assert line.endswith(
            "a result folder with its curves (curves.zarr is missing; committed examples have none)"
        )


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OptimumError("‖∇F‖ = 1 after 2000 steps"), "a computable optimum: ‖∇F‖ = 1"),
        (MemoryError("Unable to allocate 888. PiB"), "fewer runs, points or agents: Unable"),
        (OSError(errno.ENOSPC, "No space left on device"), "--out = "),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore"), "block = 3"),
    ],
)
def test_what_cannot_be_computed_or_written_is_one_line(
    raised, expected, tmp_path, monkeypatch, capsys
) -> None:
    def fail(*_: Any) -> None:
        raise raised

    if isinstance(raised, OptimumError):
        monkeypatch.setattr(Quadratic, "solve", fail)
    else:
        monkeypatch.setattr(CurveStore, "write", fail)
    assert cli.main(["run", write(tmp_path, TINY), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert captured.out == ""
    assert expected in line
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_another_error_is_not_hidden(tmp_path, monkeypatch) -> None:
    def fail(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: a fault of the program")

    monkeypatch.setattr(CurveStore, "write", fail)
    with pytest.raises(jax.errors.JaxRuntimeError):
        cli.main(["run", write(tmp_path, TINY), "--out", str(tmp_path / "out")])


def test_an_interrupt_leaves_what_is_finished(tmp_path, monkeypatch, capsys) -> None:
    stored = CurveStore.write
    calls = []

    def interrupted(self: CurveStore, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        stored(self, *arguments)

    monkeypatch.setattr(CurveStore, "write", interrupted)
    path = write(tmp_path, {"runs": 9, "block": 4, "iterations": 4})
    assert cli.main(["run", path, "--out", str(tmp_path / "out")]) == cli.INTERRUPTED
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("dpe: interrupted; 1 of 6 blocks are kept in ")
    assert line.endswith(f"; this goes on: dpe run {path} --out {tmp_path / 'out'} --resume")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.unfinished", "small.toml"]


def test_a_full_disk_leaves_the_old_result(tmp_path) -> None:
    out = tmp_path / "out"
    experiment.run(config(TINY), out)

    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from dpe_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    path = write(tmp_path, {"runs": 400, "iterations": 4, "methods": {"m": ENCRYPTED}})
    arguments = ("run", path, "--out", str(out), "--overwrite", "--block", "400")
    done = python("-c", script, *arguments)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("dpe: --out = ")
    assert os.strerror(errno.EFBIG) in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "small.toml"]
    assert load(out).config == config(TINY)


# What is printed


def test_help_does_not_import_jax() -> None:
    script = (
        "import sys; from dpe_jax import cli; codes = [cli.main(a) for a in "
        "(['--help'], ['run', '--help'], [], ['--version'], ['fly'], ['run', 'x', '--runs', '0'])];"
        "heavy = {'jax', 'numpy', 'matplotlib', 'pydantic', 'rich', 'zarr'} & set(sys.modules);"
        "sys.exit(f'{codes} {heavy}' if heavy or codes != [0, 0, 0, 0, 2, 2] else 0)"
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    for word in ("usage: dpe", "reproduce", "--iterations", "--trace"):
        assert word in done.stdout


def test_presets(capsys, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert cli.main(["presets"]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["presets", "--json"]) == 0
    listed = the_object(capsys.readouterr().out)
    names = ["audit", "certify", "digits", "five-agents", "fraud", "hospitals", "sensors"]
    assert list(listed) == names
    for name, preset in listed.items():
        assert name in shown
        assert str(preset["runs"]) in shown
        # Not cut short where stdout is no terminal.
        assert "…" not in shown
        assert "encrypted" in preset["methods"]
    assert max(map(cell_len, shown.splitlines())) > 80
    # As wide as it is told to be.
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["presets"]) == 0
    narrow = capsys.readouterr().out
    assert max(map(cell_len, narrow.splitlines())) <= 80
    assert all(name in narrow for name in names)


@pytest.mark.slow
def test_run_and_plot(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    # One figure, which is drawn three times; which ones there are is tested with the problems.
    path = write(tmp_path, {"record.metrics": ["gap_mean_state"]})
    arguments = ["run", path, "--runs", "8", "--iterations", "6", "--seed", "5", "--points", "3"]
    assert cli.main([*arguments, "--trace", "0,1", "--precision", "float64", "--json"]) == 0
    captured = capsys.readouterr()
    report = the_object(captured.out)
    assert captured.err == ""
    folder = Path(report["folder"])
    assert folder.parent.resolve() == tmp_path / "dpe-results"
    stored = load(folder)
    asked = (8, 6, 5, 3, [0, 1], "float64")
    got = stored.config
    assert (got.runs, got.iterations, got.seed, got.record.points) == asked[:4]
    assert (got.trace, got.precision) == asked[4:]
    assert folder.name == f"small-{report['config_hash'][:8]}"
    assert report["methods"]["encrypted"]["final"]["gap_mean_state"]["sound"] == 8
    assert sorted(stored.traces()) == ["encrypted"]
    # The same configuration again replaces its own default folder, with the same numbers.
    first = stored.curves.load()
    assert cli.main([*arguments, "--trace", "0,1", "--precision", "float64", "--no-figures"]) == 0
    captured = capsys.readouterr()
    assert load(folder).curves.equals(first)
    for word in ("encrypted", "conventional", " ok", f"written to {report['folder']}"):
        assert word in captured.out
    assert "…" not in captured.out
    assert not (folder / "figures").exists()
    assert cli.main(["plot", str(folder), "--json"]) == 0
    figures = the_object(capsys.readouterr().out)["figures"]
    assert figures
    assert all(Path(figure).is_file() for figure in figures)
    assert {Path(figure).suffix for figure in figures} == {".png", ".pdf"}
    # Figures are no part of what makes a result whole.
    assert load(folder).curves.equals(first)
    assert cli.main(["plot", str(folder), "--out", "elsewhere"]) == 0
    assert capsys.readouterr().out.split() == [
        f"elsewhere/{Path(figure).name}" for figure in figures
    ]


def test_nothing_but_the_object_is_on_stdout(tmp_path, monkeypatch, capsys) -> None:
    solve = Quadratic.solve

    def chatty(self: Quadratic) -> Any:
        print("a library that talks")
        return solve(self)

    monkeypatch.setattr(Quadratic, "solve", chatty)
    path = write(tmp_path, {**TINY, "methods": {"m": {**ENCRYPTED, "rounding": "nearest"}}})
    assert cli.main(["run", path, "--out", str(tmp_path / "o"), "--json", "--no-figures"]) == 0
    captured = capsys.readouterr()
    report = the_object(captured.out)
    assert "a library that talks" in captured.err
    assert any("stochastic rounding" in note for note in report["warnings"])
    assert "warning: m: E Q(x) = x (needs stochastic rounding) does not hold: " in captured.err


def test_failed_runs_show_as_none(tmp_path, capsys) -> None:
    path = write(tmp_path, {**TINY, "methods": {"bad": DIVERGING, "good": ENCRYPTED}})
    out = str(tmp_path / "o")
    assert cli.main(["run", path, "--out", out, "--no-figures"]) == 0
    captured = capsys.readouterr()
    [row] = [line for line in captured.out.splitlines() if "bad" in line]
    assert row.count("none") == 5
    assert "nan" not in captured.out
    assert "bad: of 3 runs 3 left the range, the first by iteration" in captured.err
    again = ["run", path, "--out", out, "--no-figures", "--overwrite", "--check", "--json"]
    assert cli.main(again) == 1
    captured = capsys.readouterr()
    report = the_object(captured.out)
    final = report["methods"]["bad"]["final"]["gap_mean_state"]
    assert (final["mean"], final["sound"]) == (None, 0)
    failed = {check["name"] for check in report["checks"] if not check["passed"]}
    assert failed == {"bad: every run sound", "bad: quantization error under its bound"}


def test_checks_decide_the_exit_status_only_when_asked(tmp_path, capsys) -> None:
    for fraction, status in ((1e-9, 1), (0.9, 0)):
        path = write(tmp_path, {**TINY, "runs": 16, "checks.gap_fraction": fraction})
        out = ["--out", str(tmp_path / "o"), "--overwrite", "--no-figures"]
        assert cli.main(["run", path, *out, "--check"]) == status
        shown = capsys.readouterr().out
        assert ("FAIL m: F(x̄) − F* falls" in shown) == bool(status)
        assert cli.main(["run", path, *out]) == 0
        assert "FAIL" not in capsys.readouterr().out


def test_markup_in_a_description_is_text(tmp_path, monkeypatch, capsys) -> None:
    odd = config({**TINY, "description": "[/red] [bold]x[/bold]"})
    monkeypatch.setattr(experiment, "presets", lambda: {"odd": odd})
    assert cli.main(["presets"]) == 0
    assert "[/red] [bold]x[/bold]" in capsys.readouterr().out


def test_tracing_what_has_no_integers_is_said(tmp_path, capsys) -> None:
    table = {"method": "CentralizedSGD", "stepsize": {"scale": 0.5, "exponent": 0.9}}
    path = write(tmp_path, {**TINY, "methods": {"c": table}})
    arguments = ["run", path, "--out", str(tmp_path / "o"), "--trace", "0", "--no-figures"]
    assert cli.main(arguments) == 0
    assert "warning: nothing is traced: c" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "dpe_jax.cli", "presets", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


# Long runs


@pytest.mark.slow
def test_a_million_runs_fit_into_two_gigabytes(tmp_path) -> None:
    # Not by resource.getrusage: on Linux that begins with the peak of the process that forked.
    script = (
        "import sys; from dpe_jax import cli; status = cli.main(sys.argv[1:]);"
        "(line,) = (line for line in open('/proc/self/status') if line.startswith('VmHWM'));"
        "peak = int(line.split()[1]);"
        "sys.exit(status or (f'peak of {peak} kilobytes' if peak > 2_000_000 else 0))"
    )
    path = write(tmp_path, {"methods": {"m": ENCRYPTED}, "block": 8192, "iterations": 30})
    arguments = ["run", path, "--runs", "1000000", "--points", "30", "--no-figures", "--json"]
    done = python("-c", script, *arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    report = the_object(done.stdout)
    assert report["methods"]["m"]["final"]["gap_mean_state"]["sound"] == 1_000_000
    assert report["methods"]["m"]["decay"]["runs"] == 4096


def test_a_terminated_run_leaves_nothing_behind(tmp_path: Path) -> None:
    arguments = ["run", "five-agents", "--runs", "200000", "--out", str(tmp_path / "r")]
    command = [sys.executable, "-m", "dpe_jax.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not any(tmp_path.iterdir()):
            # Not in a loop that keeps a processor from the process that it waits for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
                break
        # Nothing is finished before it is known what there is to do.
        process.terminate()
        _, told = process.communicate()
    assert process.returncode == cli.INTERRUPTED
    assert b"interrupted; nothing of this call is kept, what was there before is" in told
    assert list(tmp_path.iterdir()) == []
