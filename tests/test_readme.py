"""What README.md shows is what files and commands say."""

import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def stored(path: str) -> dict:
    return json.loads((ROOT / "results" / path).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_example_is_short_and_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert sum(bool(line.strip()) for line in example.splitlines()) < 20
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1e-3


PRESETS = ("hospitals", "digits", "sensors", "fraud")
PRIVATE = ("geometric-dp", "tailored-dp")


def cell(found: dict) -> str:
    return f"{found['ratio']:.3g} [{found['low']:.3g}, {found['high']:.3g}]"


def lines_of(text: str, head: str) -> list[str]:
    """The rows of the table that begins with `head`."""
    _, table = text.split(head)
    return table.split("\n\n")[0].splitlines()[2:]


@pytest.mark.parametrize("preset", ["five-agents"])
def test_the_table_of_methods(preset: str) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in README.splitlines()
        if line.startswith(f"| {preset} |")
    ]
    expected = []
    for name, method in stored(f"reproduce/objective/{preset}/summary.json")["methods"].items():
        final = method["final"]
        gap = final["gap_mean_state"]
        expected.append(
            [
                preset,
                name,
                f"{gap['mean']:.2e}",
                f"{gap['low']:.2e} – {gap['high']:.2e}",
                f"{final['error_worst_agent']['mean']:.2e}",
                f"{final['consensus_error']['mean']:.2e}",
            ]
        )
    assert rows == expected


def test_what_it_says_of_the_articles_claims() -> None:
    path = ROOT / "results" / "reproduce" / "privacy" / "tables" / "claims.csv"
    with path.open(encoding="utf-8") as stream:
        agree = [row["agrees"] == "true" for row in csv.DictReader(stream)]
    text = " ".join(README.split())
    assert (
        f"Of the article's {len(agree)} privacy claims {sum(agree)} hold when measured, with the"
        in text
    )


def test_the_sentences_of_what_it_shows() -> None:
    text = " ".join(README.split())
    methods = stored("reproduce/objective/five-agents/summary.json")["methods"]
    encrypted = methods["encrypted"]
    gap, other = (m["final"]["gap_mean_state"]["mean"] for m in list(methods.values())[:2])
    assert f"is {gap / other:.1f} times the conventional one" in text
    price = stored("accuracy/five-agents.json")["methods"]["encrypted"]["price"]
    assert f"that {cell(price['attenuation_and_quantization'][-1])}, random" in text
    assert f"a further {cell(price['random_stepsizes'][-1])}." in text
    decay = encrypted["decay"]
    assert (
        f"falls like k^−{decay['exponent']:.3f}, 95 % interval "
        f"[{decay['low']:.3f}, {decay['high']:.3f}]; predicted is "
        f"k^−{encrypted['predicted_exponent']:.3f}"
    ) in text
    table = ROOT / "results" / "reproduce" / "quantization" / "tables" / "quantization.csv"
    with table.open(encoding="utf-8") as lines:
        (ten,) = (row for row in csv.DictReader(lines) if row["agents"] == "10")
    assert f"at n = 10 it says {float(ten['article']):g}, the formula" in text
    assert ten["misprint"] == "true"
    assert f"formula gives {float(ten['bound']):.5f}" in text
    assert f"E‖ξ_i‖² is {float(ten['measured']):.5f} there" in text


def test_the_table_of_accuracy() -> None:
    reports = [stored(f"accuracy/{preset}.json")["methods"] for preset in PRESETS]
    rows = lines_of(README, "| F(x̄) − F* at the end | " + " | ".join(PRESETS) + " |")
    ends = [f"{report['conventional']['gap_mean_state']['mean'][-1]:.2e}" for report in reports]
    assert rows[0] == f"| conventional | {' | '.join(ends)} |"
    others = list(stored("reproduce/accuracy/hospitals/summary.json")["methods"])
    others.remove("conventional")
    assert len(others) == 7
    for name, row in zip(others, rows[1:], strict=True):
        ratios = [cell(report[name]["gap_mean_state"]["ratio"][-1]) for report in reports]
        assert row == f"| × {name} | {' | '.join(ratios)} |"
    text = " ".join(README.split())
    ratio = {
        p: r["encrypted"]["gap_mean_state"]["ratio"][-1]["ratio"]
        for p, r in zip(PRESETS, reports, strict=True)
    }
    assert f"{ratio['hospitals']:.2g} times conventional DSGD's gap on `hospitals`" in text
    assert f"{ratio['fraud']:.2g} times on `fraud`" in text
    least = min(
        r[name]["gap_mean_state"]["ratio"][-1]["ratio"] for r in reports for name in PRIVATE
    )
    assert f"at {least:.2g} times conventional DSGD's gap and more" in text
    spent = [r[name]["budget"]["total"] for r in reports for name in PRIVATE]
    assert f"spend ε of {min(spent):.0f} to {max(spent):.0f} over the run" in text


def test_the_page_on_accuracy() -> None:
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    prices, variances, floors = [], [], []
    for preset in ("five-agents", *PRESETS):
        report = stored(f"accuracy/{preset}.json")
        methods, last = report["methods"], report["iterations"][-1]
        price = methods["encrypted"]["price"]
        split = price["attenuation_and_quantization"][-1], price["random_stepsizes"][-1]
        prices.append(f"| {preset} | {last} | {cell(split[0])} | {cell(split[1])} |")
        measured, along = price["variance"], price["along_path"]
        both = [f"{v['encrypted']:.1e} / {v['conventional']:.1e}" for v in (measured, along)]
        variances.append(
            f"| {preset} | {cell(measured)} ({both[0]}) | {along['ratio']:.3g} ({both[1]}) | "
            f"{along['largest_step']:.2g} | {price['near_optimum']['ratio']:.3g} |"
        )
        for name in PRIVATE if preset in PRESETS else ():
            found = methods[name]
            end = found["gap_mean_state"]
            floors.append(
                f"| {preset} | {name} | {found['floor']['noise']:.2e} | "
                f"{found['floor']['start']:.2e} | {end['mean'][-1]:.2e} | "
                f"{end['last_tenth']:.2f} | {found['epsilon_of_equal_noise']:.2g} |"
            )
    assert lines_of(page, "| preset | k | attenuation") == prices
    assert lines_of(page, "| preset | measured ratio") == variances
    assert lines_of(page, "| preset | method | floor of the noise") == floors
    epsilon = (ROOT / "results" / "accuracy" / "epsilon.md").read_text(encoding="utf-8")
    assert lines_of(page, "| preset | x_0 |") == lines_of(epsilon.rstrip(), "| preset | x_0 |")


RIVALS = ("numpy", "vmap")


def test_the_table_of_speed() -> None:
    benches = [stored("bench/engine.json"), stored("bench/engine-jax-0.12.json")]
    head, *lines = README.split("| program |")[1].splitlines()[:7]
    cells = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines[1:]]
    expected = []
    for name in ("engine", "engine_metrics", "numpy", "vmap", "batched"):
        row = []
        for bench in benches:
            ns, ratio = bench[f"{name}_ns"], bench["ratios"].get(f"{name}_over_engine")
            row += [f"{ns:.1f}" if ns >= 10 else f"{ns:.2f}", f"{ratio:.1f}" if ratio else ""]
        expected.append(row)
    assert cells == expected
    text = " ".join(README.split())
    floors = " and ".join(f"{bench['floor_ns']:.2f}" for bench in benches)
    times = " and ".join(f"{bench['ratios']['engine_over_floor']:.2f}" for bench in benches)
    assert f"take {floors} ns: the engine is at {times} times this floor" in text
    for name, found in benches[0]["methods"].items():
        assert name == "encrypted" or f"{name} {found['times_encrypted']:.2f}" in text
    sizes = f"{benches[0]['runs']} runs, {benches[0]['iterations']} iterations, "
    assert f"{sizes}{benches[0]['cpus']} processors of" in text
    for bench in benches:
        assert f"medians of {bench['turns']} turns in one process" in text
        assert (bench["runs"], bench["iterations"]) == (4096, 3000)
    turns = {name: benches[0]["ratios_within_turns"][f"{name}_over_engine"] for name in RIVALS}
    said = {name: " to ".join(f"{end:.1f}" for end in ends) for name, ends in turns.items()}
    assert f"NumPy takes {said['numpy']} times the engine's time, and `vmap` {said['vmap']}" in text
    half = benches[0]["numba_ns"]
    assert f"the integers, takes {half:.2f} ns: about half" in text
    assert 0.4 < half / benches[0]["engine_ns"] < 0.6
    logistic = benches[0]["minibatch_logistic"]
    assert f"and {logistic['vmap_over_engine']:.1f} times as `jit(vmap(scan))`" in text
    assert f"is {logistic['numpy_over_engine']:.1f} times as fast as vectorised NumPy" in text
    for bench in benches:
        assert f"jax {bench['versions']['jax']}" in head
    memory = stored("bench/memory.json")
    assert f"take {memory['seconds']:.0f} s and {memory['peak_bytes'] / 1e9:.2f} GB" in text
    assert memory["runs"] == 1_000_000
    points = memory["record_points"]
    assert f"for {memory['iterations']} iterations, with {points} record points, take" in text
    xeon = stored("bench/engine-xeon.json")
    ratios = xeon["ratios"]
    assert (
        f"On that machine the engine is at {ratios['engine_over_floor']:.2f} times the floor, "
        f"{ratios['numpy_over_engine']:.2f} times as fast as NumPy (six were wanted) and "
        f"{ratios['vmap_over_engine']:.1f} times as fast as `vmap`"
    ) in text
    assert xeon["cpu"] == memory["cpu"]
    assert xeon["turns"] >= 5
    assert memory["peak_bytes"] < 2e9


def test_the_machine_of_every_measurement_is_named() -> None:
    text = " ".join(README.split())
    for name, said in (
        ("engine", "2 processors of an {cpu}: medians"),
        ("engine-jax-0.12", "2 processors of an {cpu}: medians"),
        ("sweep", "({cpu}; `scripts/bench_sweep.py`"),
        ("memory", "({cpu}; `scripts/bench_memory.py`"),
        ("paillier", "one processor of an {cpu}, medians"),
    ):
        cpu = stored(f"bench/{name}.json")["cpu"]
        assert said.format(cpu=cpu.replace("(R)", "").removesuffix(" Processor")) in text


def test_ci_calls_the_line_that_the_readme_gives() -> None:
    (line,) = (line for line in README.splitlines() if "pytest" in line and "venv" in line)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -m1 -E '(.*?)' README.md", script)
    assert pattern is not None
    assert re.match(pattern.group(1), line)


def test_the_section_on_verification() -> None:
    bench = stored("bench/paillier.json")
    text = " ".join(README.split())
    assert f"with {bench['key_bits']}-bit keys" in text
    assert f"medians of {bench['turns']} turns" in text
    for preset, found in bench["exchange"].items():
        for name, label in (
            ("fast", "replay, `fast`"),
            ("phe backend", "replay, `phe`"),
            ("straightforward phe", "straightforward phe"),
        ):
            median = found["milliseconds"][name]["median"]
            shown = f"{median:,.0f}" if median >= 100 else f"{median:.1f}"
            ratio = "" if name == "fast" else f"{found['times_fast'][name]:.0f} "
            assert f"| {preset}: {label} | {found['dim']} | {shown} | {ratio}|" in text
    short, full = (
        next(f for f in bench["forecast"] if f["randomness"] == kind) for kind in ("short", "full")
    )
    times = full["measured_milliseconds"] / short["measured_milliseconds"]
    assert f"for {times:.1f} times the time" in text
    worst = max(abs(forecast["ratio"] - 1) for forecast in bench["forecast"])
    assert f"for the {len(bench['forecast'])} kinds of replay in that file" in text
    assert f"it was at most {worst:.0%} off" in text
    assert worst < 0.3
    found = stored("reproduce/verification/verifications.json")
    assert {"five-agents", *PRESETS} <= set(found)
    reports = list(found.values())
    assert all(report["verified"] and report["mismatches"] == 0 for report in reports)
    increments = [found for report in reports for found in report["increments"].values()]
    # Of digits no NumPy gradient is known.
    assert sum("largest_relative" not in found for found in increments) == 1
    largest = sorted(found.get("largest_relative", 0) for found in increments)
    assert largest[-1] < 1e-5
    times = {name: found["times_fast"] for name, found in bench["exchange"].items()}
    assert times["five-agents"]["straightforward phe"] >= 10
    assert times["hospitals"]["straightforward phe"] >= 50
    compared, iterations = (
        sum(report[name] for report in reports) for name in ("integers_compared", "iterations")
    )
    assert f"all {compared:,} integers of {iterations:,} iterations" in text


def test_the_main_job_is_as_long_as_it_says() -> None:
    whole = stored("reproduce/manifest.json")
    assert whole["passed"]
    assert whole["scale"] == "default"
    assert len(whole["parts"]) == 10
    checks, seconds = len(whole["checks"]), whole["wall_seconds"]
    assert f"({checks} checks, {seconds:.0f} s for the committed run" in " ".join(README.split())
    assert seconds < 300


def test_the_section_on_sweeps() -> None:
    text = " ".join(README.split())
    bench = stored("bench/sweep.json")
    ns, first = bench["ns_per_lane_step"], bench["first_call_seconds"]
    assert (
        f"Measured with {bench['configurations']} configurations of {bench['runs']} runs of "
        f"`five-agents` on {bench['cpus']} processors, medians of {bench['turns']} turns"
    ) in text
    ratios = bench["ratios"]
    assert (
        f"{ns['sweep']:.1f} ns per lane and iteration, where one configuration with as many "
        f"lanes takes {ns['single']:.1f} ({ratios['sweep_over_single']:.2f} times); with "
        f"`--keep summary` "
        f"{ns['sweep, summary']:.1f} and {ns['single, summary']:.1f} "
        f"({ratios['sweep_over_single_summary']:.2f} times)"
    ) in text
    one, every = first["1"]["compile"], first[str(bench["configurations"])]["compile"]
    assert f"takes {one:.2f} s for one configuration and {every:.2f} s for all" in text
    assert f"command {bench['command']['runs']['peak_bytes'] / 1e9:.2f} GB at the peak" in text
    # What the project asks of it.
    assert max(ratios.values()) < 1.15
    assert every < 2 * one
    assert all(found["peak_bytes"] < 3e9 for found in bench["command"].values())


def test_the_section_on_almost_sure_convergence() -> None:
    text = " ".join(README.split())
    certificate = stored("reproduce/convergence/certify/certificate.json")
    found = certificate["methods"]["encrypted"]
    assert f"by runs of {certificate['iterations']:,} iterations" in text
    (epsilon,) = found["epsilon"]
    assert (
        f"{epsilon['tail_exceeding']} of {found['runs']} runs exceed ε = {epsilon['fraction']:g} "
        f"of the initial error from k = {found['tail_from']} on, with 99 % confidence at most "
        f"{math.ceil(1e4 * epsilon['tail_upper_bound']) / 100:.2f} % of all"
    ) in text
    assert certificate["passed"]
    assert certificate["confidence"] == 0.99
    assert epsilon["tail_upper_bound"] <= 0.01
    controls = [m for m in certificate["methods"].values() if m["control"]]
    assert len(controls) == 4
    assert not any(e["accepted"] for m in controls for e in m["epsilon"])
