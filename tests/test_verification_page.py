"""docs/verification.md says what replays of the presets found, and what the program has."""

import json
from pathlib import Path
from typing import Any

from dpe_jax.paillier import fast
from dpe_jax.paillier.protocol import LEVEL_LIMIT
from dpe_jax.verification import SEGMENT

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "docs" / "verification.md").read_text(encoding="utf-8").split())
FILE = "results/reproduce/verification/verifications.json"


def replays() -> dict[str, Any]:
    return json.loads((ROOT / FILE).read_text(encoding="utf-8"))


def test_the_distance_of_increments() -> None:
    found = {
        preset: [one.get("largest_relative") for one in report["increments"].values()]
        for preset, report in replays().items()
    }
    assert [preset for preset, largest in found.items() if None in largest] == ["digits"]
    largest = max(one for of in found.values() for one in of if one is not None)
    digits, exponent = f"{largest:.1e}".split("e")
    assert f"(at most {digits}e{int(exponent)} in the presets, `{FILE}`;" in TEXT


def test_the_packing_of_hospitals() -> None:
    report = replays()["hospitals"]
    packing, bits = report["packing"]["encrypted"], report["encryption"]["key_bits"]
    width, slots = packing["plaintext_bits"] + packing["guard_bits"], packing["slots"]
    assert packing["guard_bits"] == 2
    assert packing["ciphertexts_a_message"] == 1
    assert (
        f"With {bits}-bit keys `hospitals` has {slots} slots of {width} bits: one ciphertext a "
        f"message for up to {slots} coordinates"
    ) in TEXT
    assert f"Keys have {bits} bits." in TEXT
    assert "the bound above, a sign and two guard bits" in TEXT


def test_what_the_program_has() -> None:
    assert LEVEL_LIMIT == 2**28 + 1
    told = (
        "A lane in range has |q| ≤ 2²⁸ + 1, so |v_i| ≤ 2 (2²⁸ + 1) Σ_j c_ij high².",
        f"Exponents under another agent's key are {fast._HIDING_BITS} bits longer",
        f"parts of {SEGMENT} iterations of one lane (`--segment`)",
    )
    assert [text for text in told if text not in TEXT] == []
