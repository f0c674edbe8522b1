"""`dpe cost`: forecasts of configurations, and what it refuses."""

from pathlib import Path

import pytest
from command_line import INSECURE, TRACED, refusal, the_object
from small import CONVENTIONAL, write

from dpe_jax import cli


def test_cost_of_a_configuration(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, TRACED)
    assert cli.main(["cost", path, *INSECURE]) == 0
    captured = capsys.readouterr()
    assert captured.err == "warning: INSECURE TEST KEYS of 256 bits protect nothing\n"
    for word in ("encrypted: forecast", "5 agents, 8 links, d = 2", "160 (plaintext run: 80)"):
        assert word in captured.out
    assert "plain: forecast" not in captured.out
    assert cli.main(["cost", path, *INSECURE, "--iterations", "1000", "--json"]) == 0
    report = the_object(capsys.readouterr().out)
    assert list(report) == ["encrypted"]
    assert (report["encrypted"]["messages"], report["encrypted"]["iterations"]) == (32_000, 1000)
    assert report["encrypted"]["encryption"]["insecure_test_keys"] is True
    assert list(tmp_path.iterdir()) == [Path(path)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["six-agents"], ["PRESET|CONFIG", "'six-agents'"]),
        (["none.toml"], ["'none.toml'"]),
        (["five-agents", "--key-bits", "1024"], ["--key-bits", "--insecure-test-keys"]),
        (["five-agents", "--iterations", "0"], ["--iterations", "'0'"]),
        (["five-agents", "--backend", "x"], ["--backend", "'x'"]),
        (["five-agents", "--lanes", "1"], ["'--lanes 1'", "dpe cost"]),
        ([], ["PRESET|CONFIG"]),
    ],
)
def test_bad_input_of_cost_is_one_line(arguments, expected, capsys) -> None:
    line = refusal(["cost", *arguments], capsys)
    for part in expected:
        assert part in line


def test_cost_of_what_is_not_encrypted(tmp_path: Path, capsys) -> None:
    path = write(tmp_path, {**TRACED, "trace": [], "methods": {"plain": CONVENTIONAL}})
    assert "whose exchange is encrypted" in refusal(["cost", path, *INSECURE], capsys)
