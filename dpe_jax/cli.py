"""The command `dpe`."""

import argparse
import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from dpe_jax.arguments import (
    AUDIT_PARTS,
    BACKENDS,
    BENCH_PARTS,
    KEEP,
    PRECISIONS,
    RANDOMNESS,
    REPRODUCE_PARTS,
    read,
)
from dpe_jax.errors import InputError, OptimumError, ReaderLeftError, WorkerDiedError

DONE, BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 2, 130, 141

_OF_PATHS_AND_DISKS = errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT, errno.EROFS
"""What the system says of a path, or of where stdout goes, and not of a fault of ours."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, _line(message))


def _silence(descriptor: int) -> None:
    """Nothing more goes there: Python would fail once more when it flushes at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _complain(line: str) -> None:
    # The status says it, too, where nobody reads.
    with contextlib.suppress(OSError):
        sys.stderr.write(line)
        sys.stderr.flush()


def _line(message: object) -> str:
    return f"dpe: {' '.join(str(message).split())}\n"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dpe",
        description="Simulate decentralized stochastic optimization with encrypted exchanges.",
        allow_abbrev=False,
    )
    parser.set_defaults(parser=parser)
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        sub.set_defaults(parser=sub)
        sub.add_argument(
            "--json", action="store_true", help="one JSON object on stdout and nothing else there"
        )
        return sub

    def options(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--runs", metavar="N", help="Monte Carlo runs of each method")
        sub.add_argument("--iterations", metavar="N", help="iterations of each run")
        sub.add_argument("--seed", metavar="N", help="seed of all random draws")
        sub.add_argument("--points", metavar="N", help="record points, from start to end")
        sub.add_argument(
            "--precision",
            metavar="|".join(PRECISIONS),
            help="precision of gradients; the state of the encrypted method is int64",
        )

    def keys(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--key-bits", metavar="N", default="2048", help="length of the keys (2048)"
        )
        sub.add_argument(
            "--insecure-test-keys", action="store_true", help="allow keys that protect nothing"
        )

    def encryption(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--backend", metavar="|".join(BACKENDS), default="fast", help="implementation (fast)"
        )
        sub.add_argument(
            "--randomness",
            metavar="|".join(RANDOMNESS),
            help="exponents of fast: half the length of n (its default), or full; phe has full",
        )
        keys(sub)

    def figures(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--x", metavar="AXIS", help="of a sweep: the horizontal axis (its first)")
        sub.add_argument("--y", metavar="AXIS", help="of a sweep: the vertical axis of the map")
        sub.add_argument("--metric", metavar="NAME", help="of a sweep: such as gap_mean_state")
        sub.add_argument("--algorithm", metavar="NAME", help="of a sweep: this method only")
        sub.add_argument(
            "--at",
            metavar="AXIS=VALUE",
            action="append",
            help="of a sweep: hold another axis at a value (may be repeated)",
        )

    def restart(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--restart", action="store_true", help="do not go on from an interrupted run"
        )

    def durable(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--resume", action="store_true", help="go on from an interrupted run")
        sub.add_argument(
            "--repair", action="store_true", help="go on likewise, and compute damaged blocks anew"
        )
        restart(sub)
        sub.add_argument(
            "--checkpoint-seconds",
            metavar="S",
            default="60",
            help="keep blocks in flight every so often (60 seconds)",
        )

    sub = command("reproduce", "Make the figures and tables of what an article tells of the paper.")
    sub.add_argument("--quick", action="store_true", help="few runs: a minute and a half")
    sub.add_argument("--full", action="store_true", help="as many runs as a paper: over an hour")
    sub.add_argument(
        "--only",
        metavar="FIG",
        nargs="+",
        action="extend",
        help=f"these parts only: some of {', '.join(REPRODUCE_PARTS)}",
    )
    sub.add_argument("--seed", metavar="N", help="seed of all random draws (0)")
    sub.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the results (dpe-results/reproduce, reproduce-quick or reproduce-full)",
    )
    sub.add_argument(
        "--resume", action="store_true", help="keep the parts that are whole, and make the others"
    )
    sub.add_argument(
        "--overwrite", action="store_true", help="make parts anew that are in --out already"
    )

    sub = command("run", "Run a preset or a configuration file.")
    sub.add_argument("config", metavar="PRESET|CONFIG", help="a preset, or a path to a .toml file")
    options(sub)
    sub.add_argument("--block", metavar="N", help="lanes computed at a time")
    sub.add_argument(
        "--trace", metavar="RUNS", help="runs whose integers are kept, such as 0,1 (or '' for none)"
    )
    sub.add_argument("--out", metavar="DIR", help="result folder (dpe-results/NAME-HASH)")
    sub.add_argument("--overwrite", action="store_true", help="replace the result that is in --out")
    durable(sub)
    sub.add_argument("--add-runs", metavar="N", help="add runs to the finished result")
    sub.add_argument(
        "--until",
        metavar="half-width=H",
        help="add runs until the 95%% interval of a mean is that narrow (0.01, or 1%% of the mean)",
    )
    sub.add_argument("--metric", metavar="NAME", help="whose mean (gap_mean_state)")
    sub.add_argument("--method", metavar="NAME", help="of this method only")
    sub.add_argument("--max-runs", metavar="N", help="and no more runs than that (2^20)")
    sub.add_argument("--check", action="store_true", help="exit with 1 if a check of it fails")
    sub.add_argument("--no-figures", action="store_true", help="do not draw figures")

    sub = command("sweep", "Run all configurations of a [sweep] table, and compare them.")
    sub.add_argument(
        "config",
        metavar="CONFIG|DIR",
        help="a .toml file with a [sweep] table, or a finished sweep to add runs to",
    )
    options(sub)
    sub.add_argument("--block", metavar="N", help="lanes computed at a time, at most")
    sub.add_argument(
        "--keep",
        metavar="|".join(KEEP),
        help="curves of every run, or their means, variances, quantiles and exceedances (runs)",
    )
    sub.add_argument("--out", metavar="DIR", help="result folder (dpe-results/NAME-HASH)")
    sub.add_argument("--overwrite", action="store_true", help="replace the result that is in --out")
    durable(sub)
    sub.add_argument("--add-runs", metavar="N", help="add runs to the finished sweep in DIR")
    sub.add_argument("--part", metavar="I/N", help="compute this share of the blocks, and no more")
    sub.add_argument(
        "--distributed",
        metavar="HOST:PORT",
        nargs="?",
        const="auto",
        help="share the blocks with the processes of a cluster (found by itself under Slurm)",
    )
    sub.add_argument("--processes", metavar="P", help="processes of the cluster, beside HOST:PORT")
    sub.add_argument("--process", metavar="I", help="which of them this is, from 0")
    sub.add_argument("--no-figures", action="store_true", help="do not draw figures")
    figures(sub)

    sub = command("compare", "Compare all methods of a study with one of them, run by run.")
    sub.add_argument(
        "study",
        metavar="PRESET|CONFIG|DIR",
        help="a preset, a .toml file, or a folder that dpe run wrote",
    )
    sub.add_argument(
        "--baseline", metavar="METHOD", help="compare with this one (the first ConventionalDSGD)"
    )
    sub.add_argument("--metrics", metavar="NAMES", help="such as gap_mean_state,consensus_error")
    options(sub)
    sub.add_argument("--block", metavar="N", help="lanes computed at a time")
    sub.add_argument("--out", metavar="DIR", help="result folder (dpe-results/NAME-HASH)")
    sub.add_argument("--overwrite", action="store_true", help="replace the result that is in --out")
    restart(sub)
    sub.add_argument("--no-figures", action="store_true", help="do not draw figures")

    sub = command("audit", "Measure what adversaries learn of an agent, under every method.")
    sub.add_argument("config", metavar="PRESET|CONFIG", help="a preset, or a path to a .toml file")
    sub.add_argument("--target", metavar="I", default="0", help="the agent that is looked at (0)")
    sub.add_argument(
        "--neighbor", metavar="J", help="the one that is curious alone (the one that hears most)"
    )
    sub.add_argument(
        "--coalition", metavar="AGENTS", help="a view of these agents as well, such as 1,2"
    )
    sub.add_argument(
        "--from", metavar="K", dest="start", help="first iteration of averages (a tenth of all)"
    )
    sub.add_argument(
        "--without",
        metavar="PARTS",
        help=f"leave out some of {','.join(AUDIT_PARTS)}",
    )
    options(sub)
    sub.add_argument("--out", metavar="DIR", help="result folder (dpe-results/NAME-HASH-audit)")
    sub.add_argument("--overwrite", action="store_true", help="replace the result that is in --out")
    sub.add_argument("--no-figures", action="store_true", help="do not draw figures")
    keys(sub)
    sub.set_defaults(backend="fast", randomness=None)

    sub = command("certify", "Judge almost sure convergence by the runs of a result.")
    sub.add_argument("folder", metavar="DIR", help="a folder with peak_error among its metrics")
    sub.add_argument(
        "--epsilon",
        metavar="FRACTIONS",
        help="ε as fractions of the initial error, such as 0.1,0.2 (those of its configuration)",
    )
    sub.add_argument(
        "--confidence", metavar="C", default="0.99", help="of each one-sided bound (0.99)"
    )
    sub.add_argument("--no-figures", action="store_true", help="do not draw figures")

    sub = command("verify", "Replay traced runs of a result with real Paillier encryption.")
    sub.add_argument("folder", metavar="DIR", help="a folder that dpe run --trace wrote")
    sub.add_argument("--lanes", metavar="RUNS", help="traced runs to replay, such as 0,1 (all)")
    sub.add_argument("--iterations", metavar="N", help="only the first iterations of each run")
    encryption(sub)
    sub.add_argument("--workers", metavar="N", help="processes on this machine (its processors)")
    sub.add_argument("--dask", metavar="ADDRESS", help="use the workers of this Dask scheduler")
    sub.add_argument(
        "--segment", metavar="N", help="iterations of one part of the work, kept when finished"
    )
    sub.add_argument(
        "--restart", action="store_true", help="do not go on from an interrupted verification"
    )

    sub = command("cost", "Forecast time and traffic of an encrypted deployment.")
    sub.add_argument("config", metavar="PRESET|CONFIG", help="a preset, or a path to a .toml file")
    sub.add_argument("--iterations", metavar="N", help="iterations (those of the configuration)")
    encryption(sub)

    sub = command("plot", "Draw the figures of a result again.")
    sub.add_argument("folder", metavar="DIR", help="a folder that dpe run or dpe sweep wrote")
    sub.add_argument("--out", metavar="DIR", help="folder of the figures (DIR/figures)")
    figures(sub)

    sub = command("report", "Write a result as one HTML page: figures, tables and verdicts.")
    sub.add_argument(
        "folder", metavar="DIR", help="a folder of dpe reproduce (or a part), run, sweep or audit"
    )
    sub.add_argument("--out", metavar="FILE", help="the page (DIR/report.html)")

    sub = command("bench", "Time the engine beside NumPy, JAX, Numba and the floor.")
    sub.add_argument(
        "--only", metavar="PARTS", help=f"some of {', '.join(BENCH_PARTS)} (all of them)"
    )
    sub.add_argument("--gpu", action="store_true", help="on a CUDA device, and nothing else")
    sub.add_argument("--turns", metavar="N", help="calls of every candidate, by turns (5)")
    sub.add_argument("--quick", action="store_true", help="small sizes: to see whether it works")
    sub.add_argument("--out", metavar="DIR", help="folder of the results (dpe-results/bench-DATE)")
    sub.add_argument("--no-figures", action="store_true", help="do not draw charts")

    command("presets", "List the presets.")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    # Python has none where the file is closed.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A letter that a terminal does not know is no reason to lose what was computed.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():
        # A polite end is an interrupt as well.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        options, left_over = parser.parse_known_args(words)
        options.arguments = words
        read(options, left_over)
        if options.version:
            from importlib.metadata import version

            print(f"dpe {version('dpe-jax')}")
            return DONE
        if options.command is None:
            parser.print_help()
            return DONE
        from dpe_jax import commands

        status = commands.run(options)
        sys.stdout.flush()
        return status
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else BAD_INPUT
    except InputError as error:
        _complain(_line(error))
        return BAD_INPUT
    except OptimumError as error:
        _complain(_line(f"problem: expected one with a computable optimum: {error}"))
        return BAD_INPUT
    except MemoryError as error:
        _complain(_line(f"out of memory: expected fewer runs, points or agents: {error}"))
        return BAD_INPUT
    except BrokenPipeError:
        _silence(sys.stdout.fileno())
        return PIPE_CLOSED
    except ReaderLeftError:
        _silence(sys.stderr.fileno())
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in _OF_PATHS_AND_DISKS:
            raise
        named = f"{error.filename}: " if error.filename else "stdout: "
        if not error.filename:
            _silence(sys.stdout.fileno())
        _complain(_line(f"{named}expected a place that can be used ({error.strerror})"))
        return BAD_INPUT
    except WorkerDiedError as error:
        _complain(_line(error))
        return BAD_INPUT
    except KeyboardInterrupt as error:
        kept = str(error) or "nothing of this call is kept, what was there before is"
        _complain(_line(f"interrupted; {kept}"))
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
