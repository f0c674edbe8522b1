"""On a terminal of 80 columns no table breaks a number or a word."""

import dataclasses
import io
import re
from typing import Any

import pytest
from made_audits import audit, simulation
from rich.cells import cell_len
from rich.console import Console

from dpe_jax import audit_commands, cli, commands, options
from dpe_jax.privacy.report import Report

METRICS = ("gap_mean_state", "error_worst_agent", "consensus_error", "objective", "stationarity")
TESTS = ("test_accuracy", "test_auc", "test_average_precision")
NAMES = ("signed-coordinate", "conventional", "function-sharing")


def summary() -> dict[str, Any]:
    """Of three methods, with numbers as long as they get."""
    values = {"mean": 1.2345e-10, "low": -2.3456e-10, "high": 3.4567e-10}
    final = {metric: values for metric in (*METRICS, *TESTS)}
    return {
        "runs": 1024,
        "iterations": 100,
        "methods": {name: {"final": final, "status": {"ok": 1023}} for name in NAMES},
    }


def printed(table: Any, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    lines = console.export_text().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "…" not in "".join(lines)
    return lines


def test_columns_of_a_run_are_left_out_rather_than_cut() -> None:
    table = commands.final_table(summary(), "made up: 1024 runs at k = 100", 80)
    *lines, told = printed(table)
    assert told.startswith(f"{options.LEFT_OUT}: ")
    assert "‖∇F(x̄)‖" in told
    words = " ".join(lines).split()
    for word in ("signed-", "coordinate", "1.23e-10", "-2.35e-10", "3.46e-10", "1023"):
        assert words.count(word) >= 1, word


def test_a_run_has_all_its_columns_where_there_is_room() -> None:
    lines = printed(commands.final_table(summary(), "made up", 120), 120)
    assert "‖∇F(x̄)‖" in lines[1]
    assert lines[-1].split()[0] == NAMES[-1]


def test_intervals_on_the_test_set_stand_below_their_means() -> None:
    columns = [(f"{name.removeprefix('test_'):>17}", name) for name in TESTS]
    lines = printed(commands.held_out_table(summary(), columns, True))
    assert sum("(-0.000 – 0.000)" in line for line in lines) == len(NAMES)


def test_names_of_methods_are_whole_in_the_table_of_an_audit() -> None:
    found = audit()
    cells = [dataclasses.replace(cell, method=f"signed-{cell.method}") for cell in found.cells]
    accuracy = {f"signed-{name}": one for name, one in found.accuracy.items()}
    renamed = dataclasses.replace(found, cells=tuple(cells), accuracy=accuracy)
    lines = printed(audit_commands.scores(Report("made up", simulation(), renamed, ())))
    starts = {line.split(" ")[0] for line in lines}
    assert {"signed-", "coordinate", "conventional"} <= starts


@pytest.mark.parametrize("mark", ["┃", "│", "┏"])
def test_presets_are_shown_as_all_tables_are(mark: str, capsys: Any) -> None:
    assert cli.main(["presets"]) == 0
    shown = capsys.readouterr().out
    assert mark not in shown
    assert re.search(r"^certify +4096 +20000 +Almost sure", shown, re.MULTILINE)
