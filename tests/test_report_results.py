"""Pages of `dpe run`, `sweep` and `audit`: numbers are those of the files; what is damaged."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pages
import pytest
from command_line import refusal, the_object
from png_only import png_only
from small import ENCRYPTED, write

from dpe_jax import cli
from dpe_jax.report.settings_text import compact

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).parent.parent / "results"
RUN = RESULTS / "runs" / "five-agents"
CERTIFY = RESULTS / "runs" / "certify"
AUDIT = RESULTS / "privacy" / "audit"
SWEPT = {"sweep": {"axis": [{"key": "methods.encrypted.delta", "values": [0.01, 0.1]}]}}


def report(folder: Path, out: Path) -> pages.Read:
    assert cli.main(["report", str(folder), "--out", str(out / "page.html")]) == 0
    return pages.read(out / "page.html")


def load(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def change(folder: Path, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
    value = load(folder, name)
    edit(value)
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def remarks(found: pages.Read) -> str:
    return " | ".join(found.lists.get("remarks", []))


def numbers(cell: str) -> list[str]:
    return re.findall(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?", cell)


def test_every_number_of_a_run_is_that_of_its_files(tmp_path: Path) -> None:
    found = report(RUN, tmp_path)
    summary, manifest = load(RUN, "summary.json"), load(RUN, "manifest.json")
    captions = {
        "gap_mean_state": "F(x̄) − F* at",
        "gap_agents": "mean_i F(x_i) − F*",
        "error_worst_agent": "max_i ‖x_i − x*‖ at",
        "error_mean_state": "‖x̄ − x*‖ at",
        "consensus_error": "consensus error",
    }
    for metric, words in captions.items():
        rows = {row[0]: row[1:] for row in found.table(words)}
        for name, method in summary["methods"].items():
            final = method["final"][metric]
            columns = ("mean", "standard_error", "low", "median", "high", "sound")
            for shown, column in zip(rows[name], columns, strict=True):
                assert pages.close(shown, final[column]), (name, metric, column, shown)
    _, row = found.table("falls, like k^−β")
    decay = summary["methods"]["encrypted"]["decay"]
    shown = numbers(" ".join(row[1:]))
    expected = [decay["exponent"], decay["low"], decay["high"], 0.3, decay["first"], decay["last"]]
    assert all(map(pages.close, shown, [*expected, decay["runs"]])), shown
    (entry,) = manifest["verifications"]
    assert f"{entry['integers_compared']:,} integers of {entry['iterations']} iterations" in (
        found.text
    )
    rows = found.table("replayed by parties")[1:]
    assert [[row[0], row[1], row[3]] for row in rows] == [
        [lane["method"], str(lane["run"]), f"{lane['iterations']} of {lane['recorded']:,}"]
        for lane in entry["lanes"]
    ]
    assert dict(found.table("Versions")[1:]) == manifest["versions"]
    assert manifest["config_hash"] in found.text
    text = (RUN / "config.toml").read_text(encoding="utf-8")
    assert compact(text).strip() in found.text
    checks = [*summary["checks"], {"name": "Every integer of the replay is equal", "passed": True}]
    verdicts = found.lists["verdicts"]
    assert len(verdicts) == len(checks)
    for verdict, check in zip(verdicts, checks, strict=True):
        assert verdict.startswith(f"✓ passed {check['name']}")
    conditions = found.table("What theory asks")[1:]
    assert len(conditions) == sum(map(len, manifest["conditions"].values()))
    assert {row[-1] for row in conditions} == {"holds"}
    # What was left out of version control is said to be missing, not passed over.
    assert "curves.zarr is not in the folder" in remarks(found)
    assert len(found.images) == 3


def test_the_checker_of_numbers_finds_a_wrong_one(tmp_path: Path) -> None:
    folder = shutil.copytree(RUN, tmp_path / "run")
    shown = report(folder, tmp_path).table("F(x̄) − F* at")[1][1]
    value = load(RUN, "summary.json")["methods"]["encrypted"]["final"]["gap_mean_state"]["mean"]
    assert pages.close(shown, value)
    assert not pages.close(shown, value * 1.01)
    assert not pages.close(shown, None)


def test_a_certificate_is_shown_and_its_checks_are_counted_once(tmp_path: Path) -> None:
    found = report(CERTIFY, tmp_path)
    certificate = load(CERTIFY, "certificate.json")
    rows = found.table("Runs beyond ε in the tail")[1:]
    for row, (name, method) in zip(rows, certificate["methods"].items(), strict=True):
        (one,) = method["epsilon"]
        assert row[0] == (f"{name} (control)" if method["control"] else name)
        assert row[2] == f"{one['tail_exceeding']:,} of {method['runs']:,}"
        shown, bound = float(row[3].removesuffix(" %")), 100 * one["tail_upper_bound"]
        # Rounded up: it is a bound.
        assert bound <= shown < bound + 1e-3 + 1e-9
        settled = one["settles_from"]
        assert row[4] == ("never" if settled is None else f"{settled:,}")
        rate = method["rate"]
        shown = numbers(row[5])
        assert all(map(pages.close, shown, (rate["exponent"], rate["low"], rate["high"])))
        assert row[7] == ("accepted" if one["accepted"] else "refused")
    assert " ".join(certificate["meaning"].split()) in " ".join(found.text.split())
    names = [text for text in found.lists["verdicts"] if "almost sure convergence" in text]
    assert len(names) == len(certificate["methods"])
    assert "does not hold" in {row[-1] for row in found.table("What theory asks")}


def test_a_certificate_that_says_otherwise_than_the_checks_is_counted(tmp_path: Path) -> None:
    folder = shutil.copytree(CERTIFY, tmp_path / "run")

    def edit(certificate: dict[str, Any]) -> None:
        certificate["methods"]["encrypted"]["as_expected"] = False
        certificate["methods"]["encrypted"]["runs"] = 7

    change(folder, "certificate.json", edit)
    found = report(folder, tmp_path)
    assert found.lists["verdicts"][0].startswith(
        "✗ failed Almost sure convergence: encrypted: almost sure convergence"
    )
    assert "The certificate is of fewer runs than the result" in remarks(found)


def test_numbers_of_an_audit_are_those_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert cli.main(["report", str(AUDIT), "--out", str(out), "--json"]) == 0
    assert the_object(capsys.readouterr().out)["passed"] is True
    found, audit = pages.read(out), load(AUDIT, "audit.json")
    cells = {(cell["method"], cell["view"]): cell for cell in audit["cells"]}
    head, *rows = found.table("Scores of agent 0")
    assert head == ["method", *audit["views"]]
    assert len(rows) * len(audit["views"]) == len(cells)
    for row in rows:
        for view, shown in zip(audit["views"], row[1:], strict=True):
            cell = cells[row[0], view]
            granted = view == "states granted"
            score, *rest = numbers(shown)
            assert score == str(cell["scores"]["gradients" if granted else "total"])
            if cell["source"] == "nothing":
                assert not rest
                continue
            kinds = ["gradient", "mean"] if granted else ["gradient", "mean", "state"]
            wanted = []
            for kind in [kinds[0], "sign", *kinds[1:]]:
                leak = cell[kind]
                scale = 100 if kind == "sign" else 1 / leak["chance"]
                wanted += [error * scale for error in leak["error"]]
            assert len(rest) == len(wanted)
            assert all(pages.close(a, b, 2) for a, b in zip(rest, wanted, strict=True)), shown
    claims = audit["claims"]["scores"]
    less = sum(not claim["agrees"] for claim in claims)
    assert less
    assert f"{less} of {len(claims)} measured scores" in remarks(found)
    named = {row[0]: row for row in found.table("Protection that is claimed")}
    head = found.table("Protection that is claimed")[0]
    for claim in claims:
        shown = named[claim["criterion"]][head.index(claim["method"])]
        assert shown == str(claim["measured"]) + ("" if claim["agrees"] else " (less)")
    for text in audit["findings"]:
        assert " ".join(text.split()) in found.lists["points"]
    prices = {row[0]: row[1:] for row in found.table("Leakage (1 − the relative error")}
    for price in audit["pareto"]:
        shown = prices[price["method"]]
        assert all(map(pages.close, numbers(shown[0]), price["leakage"]))
        assert pages.close(shown[2], price["accuracy"])
        assert shown[7] == ("" if price["dominated"] else "yes")
    assert len(found.images) == len(list((AUDIT / "figures").glob("*.png")))
    assert out.stat().st_size < 5_000_000


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compared run and a sweep, both small."""
    folder = tmp_path_factory.mktemp("results")
    shown = ["gap_mean_state", "consensus_error"]
    odd = {"description": "a <b>bold</b> try", "trace": [0], "record.metrics": shown}
    metrics = ["--metrics", ",".join(shown)]
    path = write(folder, odd)
    assert cli.main(["compare", path, "--out", str(folder / "run"), *metrics]) == 0
    path = write(folder, SWEPT | {"methods": {"encrypted": ENCRYPTED}})
    with pytest.MonkeyPatch.context() as patch:
        png_only(patch)
        assert cli.main(["sweep", path, "--out", str(folder / "sweep")]) == 0
    return folder


@pytest.fixture
def run(results: Path, tmp_path: Path) -> Path:
    return shutil.copytree(results / "run", tmp_path / "run")


def test_a_comparison_is_shown(run: Path, tmp_path: Path) -> None:
    found = report(run, tmp_path)
    comparison = load(run, "comparison.json")
    for metric in comparison["by_metric"].values():
        rows = {row[0]: row[1:] for row in found.table(f"{metric['label']} ({metric['better']}")}
        one = metric["methods"]["encrypted"]
        assert all(map(pages.close, numbers(rows["encrypted"][0]), [one["mean"], *one["interval"]]))
        wanted = [one["difference"], *one["difference_interval"]]
        assert all(map(pages.close, numbers(rows["encrypted"][1]), wanted))
        assert one["verdict"] in rows["encrypted"][3]
        assert rows["conventional"][1:] == ["–", "–", "the baseline"]
    assert "<b>bold</b>" in found.text
    assert "b" not in {tag for tag, _ in found.tags}
    assert "remarks" not in found.lists
    assert "dpe verify DIR replays the traced runs" in found.text
    assert "Nothing here was checked." in found.text
    assert len(found.images) == len(list((run / "figures").glob("*.png")))


def test_a_sweep_is_shown(results: Path, tmp_path: Path) -> None:
    found = report(results / "sweep", tmp_path)
    summary = load(results / "sweep", "summary.json")
    final = summary["final"]["gap_mean_state"]
    rows = found.table("F(x̄) − F* at")[1:]
    for row, one in zip(rows, final, strict=True):
        assert row[:3] == [str(one["configuration"]), f"{one['delta']:g}", one["algorithm"]]
        for shown, column in zip(row[3:8], ("mean", "standard_error", "low"), strict=False):
            assert pages.close(shown, one[f"gap_mean_state_{column}"])
        assert row[-1] == "0"
    assert len(found.images) == len(list((results / "sweep" / "figures").glob("*.png")))
    assert "values = [" in found.text


def test_a_report_in_its_folder_does_not_stop_the_result_from_being_replaced(
    run: Path, tmp_path: Path
) -> None:
    assert cli.main(["report", str(run)]) == 0
    assert "report.html" not in remarks(report(run, tmp_path))
    assert cli.main(["certify", str(run)]) == cli.BAD_INPUT
    path = write(tmp_path, {"methods": {"encrypted": ENCRYPTED}})
    assert cli.main(["run", path, "--out", str(run), "--overwrite", "--no-figures"]) == 0
    # A page of the old result would tell of another one.
    assert not (run / "report.html").exists()
    found = report(run, tmp_path)
    assert "No figures are in the folder: dpe plot DIR draws them." in remarks(found)
    assert "no run was traced" in found.text


def test_what_is_odd_about_a_run_is_named(run: Path, tmp_path: Path) -> None:
    for path in (run / "figures").glob("compare-*.png"):
        path.unlink()
    (run / "mine.txt").write_text("mine")
    (run / "figures" / ".objective.png.partial-7").write_bytes(b"half")

    def edit(comparison: dict[str, Any]) -> None:
        comparison["recorded"] = 12

    change(run, "comparison.json", edit)
    shutil.rmtree(run / "trace.zarr")
    said = remarks(report(run, tmp_path))
    for text in (
        "mine.txt lies in the folder",
        "figures/.objective.png.partial-7 is half-written",
        "trace.zarr is not in the folder",
        "The comparison is of 12 runs, the result has 20",
        "The figures of the comparison are missing",
        "figures/compare-gap_mean_state.pdf has no PNG beside it",
    ):
        assert text in said


def test_failed_runs_and_verifications_come_first(run: Path, tmp_path: Path) -> None:
    entry = load(RUN, "manifest.json")["verifications"][0]
    bad = entry | {"verified": False, "mismatches": 3}
    bad["encryption"] = entry["encryption"] | {"insecure_test_keys": True}
    bad["first_mismatch"] = {
        "method": "encrypted", "lane": 0, "iteration": 5, "agent": 1, "coordinate": 0,
        "quantity": "level", "expected": 7, "got": 8,
    }  # fmt: skip
    change(run, "manifest.json", lambda manifest: manifest.update(verifications=[entry, bad]))
    found = report(run, tmp_path)
    assert "1 of 2 checks failed." in found.text
    assert "3 of 13,140 integers of 438 iterations differ" in found.lists["verdicts"][0]
    assert "iteration 5, level of agent 1, coordinate 0: recorded 7, replayed 8" in found.text
    assert "too short to protect anything" in remarks(found)


def test_numbers_that_are_none_are_shown_as_such(run: Path, tmp_path: Path) -> None:
    def edit(summary: dict[str, Any]) -> None:
        encrypted = summary["methods"]["encrypted"]
        encrypted["final"]["gap_mean_state"] |= {"mean": None, "high": float("inf"), "sound": 0}
        encrypted["final"]["gap_mean_state"]["low"] = float("nan")
        encrypted["status"] = {"ok": 18, "left the range": 2, "non-finite": 0}
        encrypted["first_failure"] = 4

    change(run, "summary.json", edit)
    manifest = load(run, "manifest.json")
    from dpe_jax.folder import digest

    manifest["contents"]["summary.json"]["sha256"] = digest(run / "summary.json")
    (run / "manifest.json").write_text(json.dumps(manifest))
    found = report(run, tmp_path)
    row = next(row for row in found.table("F(x̄) − F* at") if row[0] == "encrypted")
    assert (row[1], row[3], row[5], row[6]) == ("none", "NaN", "∞", "0")
    assert "encrypted: 2 of 20 runs left the range" in remarks(found)
    assert ["encrypted", "18", "2", "0", "k = 4"] in found.table("runs of each method ended")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("summary.json", "{}", "summary.json is not as it was written"),
        ("config.toml", "runs = 3", "config.toml is not as it was written"),
        ("summary.json", None, "summary.json is not as it was written"),
        ("curves.zarr/run/0", "x", "curves.zarr is not as it was written"),
        ("manifest.json", "{", "manifest.json is no whole JSON"),
        ("manifest.json", '{"config_hash": "1"}', "manifest.json: versions: Field required"),
        ("comparison.json", "{}", "comparison.json: baseline: Field required"),
        ("certificate.json", '{"passed": 1}', "certificate.json: "),
        (
            "figures/compare-gap_mean_state.png",
            "no picture",
            "compare-gap_mean_state.png is no whole PNG",
        ),
        ("figures/compare-gap_mean_state.pdf", "", "compare-gap_mean_state.pdf is empty"),
    ],
)
def test_damaged_results_are_refused(
    run: Path, name: str, text: str | None, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is None:
        (run / name).unlink()
    else:
        assert name == "certificate.json" or (run / name).exists()
        (run / name).write_text(text)
    assert told in refusal(["report", str(run)], capsys)


def test_a_damaged_audit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    shutil.copy(AUDIT / "config.toml", folder)
    text = (AUDIT / "audit.json").read_text(encoding="utf-8")
    (folder / "audit.json").write_text(text[:-200], encoding="utf-8")
    assert "audit.json is no whole JSON" in refusal(["report", str(folder)], capsys)
    found = json.loads(text)
    del found["images"], found["cells"][3]["scores"]
    (folder / "audit.json").write_text(json.dumps(found), encoding="utf-8")
    told = refusal(["report", str(folder)], capsys)
    assert "audit.json: cells.3.scores: Field required" in told
    found["cells"] = json.loads(text)["cells"]
    found["bounds"][0]["holds"] = False
    (folder / "audit.json").write_text(json.dumps(found), encoding="utf-8")
    page = report(folder, tmp_path)
    assert "The audit was made without its part images." in remarks(page)
    assert "No figures are in the folder" in remarks(page)
    assert "1 of 2 checks failed." in page.text
