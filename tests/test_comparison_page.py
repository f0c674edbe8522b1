"""docs/comparison.md says what `dpe compare` draws, needs and can resolve."""

from pathlib import Path

from dpe_jax.bootstrap import LEVEL
from dpe_jax.compare import LEAST_RUNS, RESAMPLES

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "docs" / "comparison.md").read_text(encoding="utf-8").split())


def test_what_comparisons_rest_on() -> None:
    assert f"bootstrap intervals of {100 * LEVEL:.0f} % over runs" in TEXT
    assert f"Infinite values and fewer than {LEAST_RUNS} runs give no verdict." in TEXT
    assert (
        f"with {LEAST_RUNS} runs all of one sign, which chance brings once in "
        f"{2 ** (LEAST_RUNS - 1)} times"
    ) in TEXT


def test_how_many_comparisons_can_be_resolved() -> None:
    least = 1 / (RESAMPLES + 1)
    assert (
        f"p is at least 1/(resamples + 1), {least:.1e} with the {RESAMPLES:,} that are drawn. In "
        f"more than {int((1 - LEVEL) / least)} comparisons no difference can survive"
    ).replace("e-04", "e-4") in TEXT
