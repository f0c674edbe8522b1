"""The command `dpe`."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from dpe_jax.errors import InputError, OptimumError

DONE, BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 2, 130, 141

_PRECISIONS = ("float32", "float64")


class _Parser(argparse.ArgumentParser):
    """An argument parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, _line(message))


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
            metavar="|".join(_PRECISIONS),
            help="precision of gradients; the state of the encrypted method is int64",
        )

    sub = command("reproduce", "The main job: run and check the presets, with tables and figures.")
    options(sub)
    sub.add_argument(
        "--only", metavar="PRESET", action="append", help="this preset only (may be repeated)"
    )
    sub.add_argument("--out", metavar="DIR", help="folder of the results (dpe-results/reproduce)")
    sub.add_argument(
        "--overwrite", action="store_true", help="replace results of other settings in --out"
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
    sub.add_argument("--check", action="store_true", help="exit with 1 if a check of it fails")
    sub.add_argument("--no-figures", action="store_true", help="do not draw figures")

    sub = command("plot", "Draw the figures of a result again.")
    sub.add_argument("folder", metavar="DIR", help="a folder that dpe run wrote")
    sub.add_argument("--out", metavar="DIR", help="folder of the figures (DIR/figures)")

    command("presets", "List the presets.")
    return parser


def _read(options: argparse.Namespace, left_over: list[str]) -> None:
    """Turn the options that are numbers into numbers, and refuse what does not fit."""
    if left_over:
        usage = " ".join(options.parser.format_usage().removeprefix("usage: ").split())
        raise InputError("arguments", " ".join(left_over), f"those of {usage}")
    for name, least, most in (
        ("runs", 1, 2**32),
        ("iterations", 1, 2**32 - 2),
        ("seed", 0, 2**63 - 1),
        ("points", 2, 2**31),
        ("block", 1, 2**32),
    ):
        text = getattr(options, name, None)
        if text is not None:
            accepted = f"an integer from {least} to {most}"
            setattr(options, name, _integer(f"--{name}", text, least, most, accepted))
    trace = getattr(options, "trace", None)
    if trace is not None:
        accepted = "run numbers separated by commas, such as 0,1"
        parts = trace.split(",") if trace else []
        options.trace = [_integer("--trace", part, 0, 2**32 - 1, accepted) for part in parts]
    precision = getattr(options, "precision", None)
    if precision not in (None, *_PRECISIONS):
        raise InputError("--precision", precision, f"one of {', '.join(_PRECISIONS)}")
    for name, shown in (("out", "--out"), ("folder", "DIR")):
        if getattr(options, name, None) == "":
            raise InputError(shown, "", "the path of a folder")


def _integer(name: str, text: str, least: int, most: int, accepted: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InputError(name, text, accepted)
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    if threading.current_thread() is threading.main_thread():
        # A polite end is an interrupt as well: what is unfinished is removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options, left_over = parser.parse_known_args(arguments)
        _read(options, left_over)
        if options.version:
            from importlib.metadata import version

            print(f"dpe {version('dpe-jax')}")
            return DONE
        if options.command is None:
            parser.print_help()
            return DONE
        from dpe_jax import commands

        return commands.run(options)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else BAD_INPUT
    except InputError as error:
        sys.stderr.write(_line(error))
        return BAD_INPUT
    except OptimumError as error:
        sys.stderr.write(_line(f"problem: expected one with a computable optimum: {error}"))
        return BAD_INPUT
    except MemoryError as error:
        sys.stderr.write(_line(f"out of memory: expected fewer runs, points or agents: {error}"))
        return BAD_INPUT
    except BrokenPipeError:
        # The reader of stdout has gone; Python would fail once more when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        sys.stderr.write(_line("interrupted; what was not finished has been removed"))
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
