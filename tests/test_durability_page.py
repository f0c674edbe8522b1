"""docs/durability.md has the numbers that the program keeps and adds runs by."""

from pathlib import Path

from dpe_jax import experiment, until
from dpe_jax.durable import CHECKPOINT_SECONDS

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "docs" / "durability.md").read_text(encoding="utf-8").split())
WORDS = {4: "four"}


def test_how_often_blocks_are_kept() -> None:
    assert f"every {CHECKPOINT_SECONDS:.0f} seconds, or as `--checkpoint-seconds` says" in TEXT


def test_when_blocks_are_given_up() -> None:
    assert f"are more than {WORDS[experiment._WIDER]} times narrower than usual" in TEXT


def test_the_interval_of_a_target() -> None:
    many, two = until._student(2**20), until._student(2)
    assert f"{many:.2f} standard errors with many of them, {two:.1f} with two." in TEXT
    assert until.MOST_RUNS == 2**20
    assert "With `--max-runs` (2²⁰) the end is reached in any case" in TEXT
