"""What the commands say and keep when something is in the way of a run."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import python, refusal, the_object
from interrupting import CHANGES, SCRIPT, assert_same, break_off, parts, records, watch
from small import ENCRYPTED, config, write

from dpe_jax import cli, experiment, journal
from dpe_jax.durable import Work
from dpe_jax.errors import InputError
from dpe_jax.results import load
from dpe_jax.store import CurveStore
from dpe_jax.unfinished import place

pytestmark = pytest.mark.slow  # together some minutes

# What it records is what can be certified: all tests here share one program.
METRICS = ["peak_error", "gap_mean_state"]
TINY = {
    "runs": 9,
    "block": 4,
    "iterations": 4,
    "methods": {"m": ENCRYPTED},
    "record": {"points": 10, "metrics": METRICS},
}


def test_both_ways_on_are_named_and_lead_there(tmp_path, capsys) -> None:
    path, out = write(tmp_path, TINY), tmp_path / "out"
    break_off(config(TINY), out, 2)
    common = ["run", path, "--out", str(out), "--no-figures"]
    line = refusal(common, capsys)
    assert line.startswith(f"dpe: --out = '{str(out)[:20]}")
    assert "2 of 3 blocks" in line
    assert "--resume" in line
    assert "--restart" in line
    assert "--restart" in refusal([*common, "--restart", "--resume"], capsys)
    line = refusal([*common, "--resume", "--seed", "3"], capsys)
    assert line.startswith(
        "dpe: seed = 3: expected 0, with which .out.unfinished has 2 of 3 blocks"
    )
    assert cli.main([*common, "--resume", "--json"]) == 0
    assert the_object(capsys.readouterr().out)["runs"] == 9
    written = load(out).manifest
    assert written["blocks"] == {"all": 3, "resumed": 2}
    # Nothing is left to do.
    assert cli.main([*common, "--resume"]) == 0
    captured = capsys.readouterr()
    assert f"{out} has this result already, of {written['written']}" in captured.err
    assert "small: 9 runs at k = 4" in captured.out
    assert "written to" not in captured.out
    assert load(out).manifest == written
    assert not (out / "figures").exists()
    break_off(config(TINY), out, 2, overwrite=True)
    assert cli.main([*common, "--overwrite", "--restart"]) == 0
    assert load(out).manifest["blocks"] == {"all": 3, "resumed": 0}
    capsys.readouterr()
    for text in ("-1", "x", "nan"):
        assert "--checkpoint-seconds" in refusal([*common, "--checkpoint-seconds", text], capsys)


def test_a_damaged_block_is_repaired(tmp_path, capsys) -> None:
    path, out = write(tmp_path, TINY), tmp_path / "out"
    hidden = break_off(config(TINY), out, 2)
    (hidden / "result" / "curves.zarr" / "status" / "0.1").unlink()
    common = ["run", path, "--out", str(out), "--no-figures"]
    line = refusal([*common, "--resume"], capsys)
    assert line.startswith("dpe: block 1 (m, runs 4 – 7) = 'result/curves.zarr/status/0.1'")
    assert "--repair" in line
    assert cli.main([*common, "--repair"]) == 0
    assert load(out).manifest["blocks"] == {"all": 3, "resumed": 1}


def test_two_processes_do_not_work_at_one_result(tmp_path, capsys) -> None:
    """A real one, and this."""
    changes = {**TINY, "block": 2, "iterations": 100_000}
    path, out = write(tmp_path, changes), tmp_path / "out"
    hidden = place(out)
    arguments = ["run", path, "--out", str(out), "--no-figures", "--checkpoint-seconds", "0"]
    with subprocess.Popen([sys.executable, "-c", SCRIPT, "3e4", *arguments], text=True) as process:
        watch(process, lambda: bool(parts(hidden)))
        for more in ([], ["--resume"], ["--restart"], ["--repair"]):
            line = refusal([*arguments, *more], capsys)
            assert "no other process is at work (see .out.unfinished)" in line
        assert process.poll() is None
        process.kill()
    assert process.returncode == -signal.SIGKILL
    # The claim ends with the process.
    assert "--resume" in refusal(arguments, capsys)


# Disks


def test_a_disk_that_is_full_loses_nothing(tmp_path, capsys, monkeypatch) -> None:
    """Or that fails, every other time."""
    path, out = write(tmp_path, TINY), tmp_path / "out"
    common = ["run", path, "--out", str(out), "--no-figures"]
    fsync, calls, number = os.fsync, [], errno.ENOSPC

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > limit:
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    limit, kept = 10, 0
    for number in [errno.ENOSPC, errno.EIO] * 30:
        calls.clear()
        if cli.main([*common, "--resume"]) == 0:
            break
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("dpe: --out = ")
        assert f"a writable place with room ({os.strerror(number)})" in line
        now = len(records(place(out)))
        assert (f"{now} of 3 blocks are kept in {place(out)} to go on from" in line) == (now > 0)
        assert now >= kept
        limit = limit + 6 if now == kept else 5
        kept = now
    assert kept == 3
    monkeypatch.undo()
    whole = experiment.run(config(TINY), tmp_path / "whole").stored
    assert_same(load(out), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "small.toml", "whole"]


def test_a_file_that_grows_too_large_loses_nothing(tmp_path) -> None:
    """A real process under a limit of the system, in the second block."""
    changes = {**TINY, "runs": 32, "block": 16}  # the width that blocks are padded to
    script = (
        "import resource, sys; from dpe_jax import cli; from dpe_jax.store import CurveStore;"
        "write = CurveStore.write;\n"
        "def limited(self, block, recording):\n"
        "    if block.first: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "    write(self, block, recording)\n"
        "CurveStore.write = limited; sys.exit(cli.main(sys.argv[1:]))"
    )
    path, out = write(tmp_path, changes), tmp_path / "out"
    done = python("-c", script, "run", path, "--out", str(out), "--no-figures")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"({os.strerror(errno.EFBIG)}); 1 of 2 blocks are kept in {place(out)}" in line
    again = experiment.run(config(changes), out, mode="resume").stored
    assert again.manifest["blocks"] == {"all": 2, "resumed": 1}
    assert_same(again, experiment.run(config(changes), tmp_path / "whole").stored)


def test_a_folder_that_is_not_writable_is_one_line(tmp_path, capsys, monkeypatch) -> None:
    path, out = write(tmp_path, TINY), tmp_path / "closed" / "out"
    mkdir = Path.mkdir

    def closed(self: Path, *arguments: Any, **options: Any) -> None:
        if self.parent.name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", closed)
    line = refusal(["run", path, "--out", str(out)], capsys)
    assert "a writable place with room (Permission denied)" in line
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["closed", "small.toml"]


def test_a_folder_of_others_is_one_line(tmp_path, capsys) -> None:
    path, closed = write(tmp_path, TINY), tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid() == 0:
        # Root may write anywhere but where the system itself lets nobody.
        closed = Path("/proc") if Path("/proc/self").exists() else Path("/dev/fd")
    line = refusal(["run", path, "--out", str(closed / "out")], capsys)
    assert "a writable place with room (" in line


def test_an_interrupt_while_the_result_is_completed_keeps_all_blocks(
    tmp_path, capsys, monkeypatch
) -> None:
    path, out = write(tmp_path, TINY), tmp_path / "out"
    common = ["run", path, "--out", str(out), "--no-figures"]

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Work, "publish", interrupted)
    assert cli.main(common) == cli.INTERRUPTED
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f"dpe: interrupted; 3 of 3 blocks are kept in {place(out)}; "
        f"this goes on: dpe {' '.join(common)} --resume"
    )
    monkeypatch.undo()
    monkeypatch.setattr(CurveStore, "write", interrupted)
    assert cli.main([*common, "--resume"]) == 0


def test_an_interrupt_in_a_thread_of_its_own_changes_no_handlers(tmp_path) -> None:
    import threading

    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []

    def work() -> None:
        experiment.run(
            config(TINY),
            tmp_path / "out",
            progress=lambda *_: seen.append(signal.getsignal(signal.SIGINT)),
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(seen) == {before}
    assert load(tmp_path / "out").config.runs == 9
    assert signal.getsignal(signal.SIGINT) == before


# Other commands


def test_compare_goes_on_by_itself(tmp_path, capsys) -> None:
    changes = {**CHANGES, "trace": []}
    path, out = write(tmp_path, changes), tmp_path / "out"
    common = ["compare", path, "--out", str(out), "--no-figures", "--baseline", "plain"]
    break_off(config(changes), out, 4)
    assert cli.main(common) == 0
    assert load(out).manifest["blocks"] == {"all": 6, "resumed": 4}
    other = tmp_path / "other"
    break_off(config({**changes, "seed": 1}), other, 4)
    capsys.readouterr()
    common[3] = str(other)
    assert "seed = 0: expected 1, with which" in refusal(common, capsys)
    assert cli.main([*common, "--restart"]) == 0
    assert load(other).config.seed == 0


def test_reproduce_goes_on_within_a_part(tmp_path, monkeypatch, capsys) -> None:
    """Blocks that an interrupted part has finished are not computed again, but the damaged ones."""
    from dpe_jax import reproduce_commands
    from dpe_jax.reproduce import convergence

    asked = config({**TINY, "name": "certify", "checks.certify": [0.99]})
    settings = convergence.Settings(seconds=1.0, experiment=asked)
    monkeypatch.setattr(reproduce_commands, "load", lambda *_: settings)
    out = tmp_path / "out"
    arguments = ["reproduce", "--only", "convergence", "--out", str(out), "--json"]
    write_block, count = CurveStore.write, []

    def breaking(self: CurveStore, *rest: Any) -> None:
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        write_block(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(CurveStore, "write", breaking)
        assert cli.main(arguments) == cli.INTERRUPTED
    *_, line = capsys.readouterr().err.splitlines()
    assert "2 of 3 blocks are kept" in line
    assert line.endswith(f"this goes on: dpe {' '.join(arguments)} --resume")
    scratch = place(out / ".convergence.unfinished" / "certify")
    assert len(records(scratch)) == 2
    (scratch / "result" / "curves.zarr" / "status" / "0.1").unlink()
    assert cli.main([*arguments, "--resume"]) in (0, 1)
    assert the_object(capsys.readouterr().out)["parts"] == ["convergence"]
    blocks = load(out / "convergence" / "certify").manifest["blocks"]
    assert blocks == {"all": 3, "resumed": 1}
    assert sorted(p.name for p in out.iterdir()) == ["convergence", "manifest.json"]


def test_a_header_is_on_the_disk_before_any_block(tmp_path, monkeypatch) -> None:
    """What a kill leaves before that counts for nothing, and is not in the way."""

    def killed(*_: Any) -> None:
        raise InputError("a", 1, "another")

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "begin", killed)
        patch.setattr(journal.Journal, "clear", lambda _: None)
        with pytest.raises(InputError, match="another"):
            experiment.run(config(TINY), tmp_path / "out")
    assert (place(tmp_path / "out") / "result" / "curves.zarr").is_dir()
    assert experiment.run(config(TINY), tmp_path / "out").stored.config.runs == 9
    assert os.listdir(tmp_path) == ["out"]
