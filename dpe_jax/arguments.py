"""The options of `dpe` as numbers, and the refusal of what is none."""

import argparse
import re

from dpe_jax.errors import InputError, TogetherError

PRECISIONS = ("float32", "float64")
KEEP = ("runs", "summary")
BACKENDS = ("fast", "phe")
RANDOMNESS = ("short", "full")
AUDIT_PARTS = ("images", "ciphertexts", "cost")
"""What `dpe audit` can go without."""
BENCH_PARTS = (
    *("engine", "profile", "minibatch", "methods", "large", "growth"),
    *("sweep", "paillier", "memory", "startup"),
)
"""What `dpe bench` measures, in this order."""
REPRODUCE_PARTS = (
    *("objective", "quantization", "coupling", "privacy", "leakage"),
    *("convergence", "accuracy", "deployment", "stepsizes", "verification"),
)
"""What `dpe reproduce` makes, in this order."""


def read(options: argparse.Namespace, left_over: list[str]) -> None:
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
        ("workers", 1, 4096),
        ("segment", 1, 2**32),
        ("add_runs", 1, 2**32),
        ("max_runs", 1, 2**32),
        ("processes", 1, 10**6),
        ("process", 0, 10**6 - 1),
        ("target", 0, 2**31),
        ("neighbor", 0, 2**31),
        ("start", 0, 2**32 - 2),
        ("turns", 1, 1000),
    ):
        text = getattr(options, name, None)
        if text is not None:
            accepted = f"an integer from {least} to {most}"
            shown = "--from" if name == "start" else f"--{name.replace('_', '-')}"
            setattr(options, name, _integer(shown, text, least, most, accepted))
    if getattr(options, "key_bits", None) is not None:
        accepted = "an even integer from 2048 to 16384"
        options.key_bits = _integer("--key-bits", options.key_bits, 1, 2**31, accepted)
    for name in ("trace", "lanes"):
        runs = getattr(options, name, None)
        if runs is not None:
            accepted = "run numbers separated by commas, such as 0,1"
            # Tracing no run is a choice; to verify none is not.
            parts = runs.split(",") if runs or name == "lanes" else []
            numbers = [_integer(f"--{name}", part, 0, 2**32 - 1, accepted) for part in parts]
            setattr(options, name, numbers)
    if getattr(options, "coalition", None) is not None:
        accepted = "agents separated by commas, such as 1,2"
        parts = options.coalition.split(",")
        options.coalition = [_integer("--coalition", part, 0, 2**31, accepted) for part in parts]
    if getattr(options, "without", None) is not None:
        options.without = options.without.split(",")
        for part in options.without:
            if part not in AUDIT_PARTS:
                raise InputError("--without", part, f"some of {', '.join(AUDIT_PARTS)}")
    if options.command == "bench" and options.only is not None:
        options.only = options.only.split(",")
        for part in options.only:
            if part not in BENCH_PARTS:
                raise InputError("--only", part, f"some of {', '.join(BENCH_PARTS)}")
    for part in (options.only or ()) if options.command == "reproduce" else ():
        if part not in REPRODUCE_PARTS:
            spaces = ", with spaces between them and no commas" if "," in part else ""
            raise InputError("--only", part, f"some of {', '.join(REPRODUCE_PARTS)}{spaces}")
    for name, choices in (
        ("precision", PRECISIONS),
        ("keep", KEEP),
        ("backend", BACKENDS),
        ("randomness", RANDOMNESS),
    ):
        chosen = getattr(options, name, None)
        if chosen not in (None, *choices):
            raise InputError(f"--{name}", chosen, f"one of {', '.join(choices)}")
    if getattr(options, "epsilon", None) is not None:
        accepted = "fractions of the initial error between 0 and 1, such as 0.1,0.2"
        parts = options.epsilon.split(",")
        found = [_number("--epsilon", part, 1e-12, 1 - 1e-12, accepted) for part in parts]
        options.epsilon = list(dict.fromkeys(found))
    if getattr(options, "confidence", None) is not None:
        accepted = "a number from 0.5 to 0.999"
        options.confidence = _number("--confidence", options.confidence, 0.5, 0.999, accepted)
    text = getattr(options, "checkpoint_seconds", None)
    if text is not None:
        accepted = "a number of seconds from 0 to 1e9"
        options.checkpoint_seconds = _number("--checkpoint-seconds", text, 0.0, 1e9, accepted)
    if getattr(options, "part", None) is not None:
        options.part = _part(options.part)
    for text in getattr(options, "at", None) or ():
        if not text.partition("=")[1]:
            raise InputError("--at", text, "AXIS=VALUE, such as delta=0.01")
    if getattr(options, "dask", None) is not None and options.workers is not None:
        raise TogetherError("--workers", options.workers, "not together with --dask")
    for name, shown in (("out", "--out"), ("folder", "DIR")):
        if getattr(options, name, None) == "":
            raise InputError(shown, "", "the path of a file or folder")


def _integer(name: str, text: str, least: int, most: int, accepted: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InputError(name, text, accepted)
    return value


def _part(text: str) -> tuple[int, int]:
    """I/N as two numbers."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not index < count <= 100_000:
        raise InputError("--part", text, "I/N with 0 ≤ I < N ≤ 100000, such as 0/16")
    return index, count


def _number(name: str, text: str, least: float, most: float, accepted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InputError(name, text, accepted)
    return value
