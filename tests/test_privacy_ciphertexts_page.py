"""The sentences of docs/privacy_ciphertexts.md say what its file holds, and what broken schemes do.

Its tables are compared in `test_privacy_ciphertexts`.
"""

import json
from pathlib import Path
from typing import Any

from dpe_jax.paillier.protocol import LEVEL_LIMIT
from dpe_jax.privacy import uniformity

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "docs" / "privacy_ciphertexts.md").read_text(encoding="utf-8").split())
WORDS = {2: "two", 3: "three", 9: "nine"}


def stored() -> dict[str, Any]:
    path = ROOT / "results" / "privacy" / "ciphertexts.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_how_it_was_measured() -> None:
    found = stored()
    (bits,) = {one["key_bits"] for one in found["encryptions"].values()}
    processors = found["where"]["processors"]
    assert (
        f"keys of {bits} bits, {found['wall_seconds']:.0f} s on {processors} processors that were "
        "busy with other work. The experiments took "
        f"{found['seconds']['processor time of experiments']:.0f} s of processor time, which "
        f"{WORDS[processors]} processes share."
    ) in TEXT


def test_what_is_left_out_and_what_is_extreme() -> None:
    assert f"the challenges' bytes (the first {uniformity.TOP} of each left out)" in TEXT
    assert LEVEL_LIMIT == 2**28 + 1
    assert "states 0 and −(2²⁸ + 1) of the neighbor that answers" in TEXT


def test_the_payloads() -> None:
    found = stored()
    for one in found["experiments"]:
        assert (len(one["payload_bytes"]), one["repeats"]) == (1, 0)
    assert "Payloads have one length, and none came again." in TEXT
    assert found["same_outline_for_unlike_states"]
    text = found["sizes_as_text"]
    assert (text["fixed"], text["ciphertexts_only"]) == (False, 0)
    sizes = [size for kind in text["payload_bytes"].values() for size in kind]
    assert f"have {min(sizes)} to {max(sizes)} bytes, and the check refuses them" in TEXT


def test_the_advantage_over_the_biased_scheme() -> None:
    # Up to three draws, each of which has the wrong bit with probability ½.
    draws = 3
    advantage = 1 - 2 * 0.5**draws
    assert (
        f"the last bit of {2**draws - 1} of {2**draws} ciphertexts is the sign of the message: an "
        f"advantage of {advantage:g}."
    ) in TEXT
    found = [one for one in stored()["controls"] if one["flaw"] == "biased"]
    best = [
        max((by["signed"] for by in one["adversaries"].values()), key=lambda signed: signed[0])
        for one in found
    ]
    assert all(low < advantage < high for _, low, high in best)


def test_how_many_times_tell_by_chance() -> None:
    found = [one for paths in stored()["timings"].values() for one in paths.values()]
    count = len(found)
    assert round(1 / (1 - 0.95**count)) == 3
    assert (
        f"Of {WORDS[count]} intervals of 95 % one leaves out 0 by chance in about every third run; "
        f"here {WORDS[sum(one['threshold']['signed'][1] > 0 for one in found)]} do"
    ) in TEXT
