"""docs/privacy_images.md says what `bench/dlg.json` and `privacy/images/` hold."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dpe_jax.privacy.images.scores import EXACT, RECOGNISABLE, rate

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "privacy_images.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())

WORDS = {1: "one", 2: "two", 6: "six"}
THIRD = round(1 / 3, 4)
COALITIONS = {
    "conventional": "conventional: states",
    "ternary, messages": "ternary: messages",
    "ternary, states": "ternary: states granted",
    "function-sharing, all but one": "function sharing, a link unknown",
    "function-sharing, all neighbors": "function sharing, all neighbors",
    "state-sharing, all but one": "state sharing, a link unknown",
    "geometric-dp": "geometric DP",
    "tailored-dp": "tailored DP",
    "encrypted, levels": "encrypted, 1 ± 1: levels",
    "encrypted, states": "encrypted, 1 ± 1: states granted",
    "encrypted 1 ± 4, levels": "encrypted, 1 ± 4: levels",
    "encrypted 1 ± 4, states": "encrypted, 1 ± 4: states granted",
}


def stored(path: str) -> dict[str, Any]:
    return json.loads((ROOT / "results" / f"{path}.json").read_text(encoding="utf-8"))


def images(name: str) -> dict[str, Any]:
    return stored(f"privacy/images/{name}")


def rows(head: str) -> list[str]:
    """The rows of the table whose first line begins with `head`."""
    (_, table) = PAGE.split(f"\n{head}")
    return table.split("\n\n")[0].splitlines()[2:]


def brief(value: float) -> str:
    """One digit, as 1e-6 or 2e3."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit}e{int(exponent)}"


def variance(value: float) -> str:
    return "1/3" if value == THIRD else f"{value:g}"


def decibels(value: float) -> str:
    return f"{value:.1f}" if value < 200 else f"{value:.0f}"


def recognisable(outcome: dict[str, Any]) -> int:
    return outcome["recognisable"]["count"]


def the(values: set[Any]) -> Any:
    """The one value that all have."""
    (value,) = values
    return value


def at(points: list[dict[str, Any]], value: float, key: str = "variance") -> dict[str, Any]:
    (point,) = (point for point in points if point[key] == value)
    return point


def hidden(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points from ρ² = 1/3 on."""
    return [point for point in curve if point["variance"] >= THIRD]


def test_what_is_attacked() -> None:
    bench, chance = stored("bench/dlg"), images("controls")["chance"]
    digits = bench["digits"]
    sizes = [bench[part]["network"].removeprefix("ConvNet, ") for part in ("convnet", "patches")]
    small, large = (size.rsplit(" × ", 1)[0] for size in sizes)
    told = (
        f"Digits of scikit-learn ({small}) and {large} colour patches of its two photographs",
        f"{digits['network']} with sigmoid units ({digits['parameters']} parameters)",
        f"*came back* if its MSE is below {brief(EXACT)}, and is *recognisable* below "
        f"{brief(RECOGNISABLE)} ({-10 * math.log10(RECOGNISABLE):g} dB)",
        f"reaches {chance['psnr_median']:.1f} dB in the median and {chance['psnr_best']:.1f} dB at "
        "best (`controls.json`)",
        f"may pass {-10 * math.log10(RECOGNISABLE):g} dB by a lucky guess",
    )
    assert [text for text in told if text not in TEXT] == []


def outcomes(found: Any) -> Iterator[dict[str, Any]]:
    """All that a file holds, wherever it stands."""
    if isinstance(found, dict) and "recognisable" in found:
        yield found
    elif isinstance(found, dict | list):
        for one in found.values() if isinstance(found, dict) else found:
            yield from outcomes(one)


def test_the_intervals() -> None:
    (percent,) = re.findall(r"(\d+) % Clopper–Pearson intervals of every share", TEXT)
    names = ("controls", "methods", "curves", "convnet", "quantization", "patches")
    found = {
        (share["count"], outcome["targets"], *share[f"interval_{percent}"])
        for name in names
        for outcome in outcomes(images(name))
        for share in (outcome["exact"], outcome["recognisable"])
    }
    for count, targets, *interval in found:
        expected = rate(np.arange(targets) < count, int(percent) / 100)
        assert interval == [round(expected.low, 4), round(expected.high, 4)]


def test_the_controls() -> None:
    found = {name: one for name, one in images("controls").items() if name != "chance"}
    *names, last = found
    back = the({one["plaintext"]["exact"]["count"] for one in found.values()})
    others = the(
        {recognisable(one[of]) for one in found.values() for of in ("noise", "other_pictures")}
    )
    targets = the({control["targets"] for one in found.values() for control in one.values()})
    assert (
        f"Of {targets} digits {', '.join(names)} and {last} brought back {back} each in the first "
        f"case and recognisably {others} in both others (`controls.json`)"
    ) in TEXT


def test_the_table_of_plaintext() -> None:
    bench = stored("bench/dlg")
    digits, convnet, patches = (bench[part] for part in ("digits", "convnet", "patches"))
    one, other, last = (part["came_back"] for part in (digits, convnet, patches))
    assert recognisable(last) == patches["targets"]
    assert rows(f"| | came back | with compilation, {WORDS[bench['cpus']]} cores |") == [
        f"| {digits['targets']} digits, {digits['network']} | {one['exact']['count']} "
        f"| {digits['seconds_with_compilation']} s |",
        f"| {convnet['targets']} digits, ConvNet | {other['exact']['count']}, "
        f"{WORDS[convnet['restarts']]} restart each | {convnet['seconds_with_compilation']} s |",
        f"| {patches['targets']} patches, ConvNet | {last['psnr_median']:.1f} dB median, "
        f"{last['psnr_best']:.1f} dB best, all recognisable "
        f"| {patches['seconds_with_compilation']} s |",
    ]


def test_the_patches_that_come_back_last() -> None:
    found = images("patches")["conventional, ConvNet: plain"]
    assert (
        f"of {WORDS[found['targets']]} the median was {found['psnr_median']:.1f} dB after 1000 "
        f"iterations, and the 5 % quantile {found['psnr_5_95'][0]:.1f} dB (`patches.json`"
    ) in TEXT


def test_the_table_of_all_methods() -> None:
    report = images("methods")
    found = report["iteration 100"]
    assert list(found) == list(COALITIONS)
    expected = []
    for name, label in COALITIONS.items():
        attacks = found[name]
        cells = [decibels(attacks[of]["psnr_median"]) for of in ("plain", "informed", "rows")]
        best = max(recognisable(outcome) for outcome in attacks.values())
        expected.append(f"| {label} | {' | '.join(cells)} | {best} |")
    assert rows("| what the coalition has | plain | informed | rows | recognisable |") == expected
    assert list(report["iteration 0"]) == list(COALITIONS)
    targets = the({outcome["targets"] for one in found.values() for outcome in one.values()})
    assert (
        f"{targets} digits, {report['network']}, parameters of the preset `digits`, iteration 100 "
        "(`methods.json` has iteration 0 too)"
    ) in TEXT


def test_the_noise_of_differential_privacy() -> None:
    found = images("methods")["iteration 100"]
    channels = [found[name]["plain"]["channel"] for name in ("geometric-dp", "tailored-dp")]
    assert all(channel.startswith("Laplace noise") for channel in channels)
    scales = [float(scale) for scale in re.findall(r"\d\.\d+e\+\d+", " ".join(channels))]
    assert len(scales) == 3
    assert min(scales) >= float(brief(min(scales)))
    assert f"(a Laplace scale of {brief(min(scales))} and more)" in TEXT


def test_plain_matching_is_no_measure() -> None:
    curves = images("curves")
    stops = next(point for point in curves["uniform, plain"] if not recognisable(point))
    uniform, normal = (hidden(curves[f"{family}, informed"]) for family in ("uniform", "normal"))
    targets = the({recognisable(point) for point in (*uniform, *normal)})
    ranges = [
        f"{min(point['psnr_median'] for point in points):.0f}–"
        f"{max(point['psnr_median'] for point in points):.0f} dB"
        for points in (uniform, normal)
    ]
    ends = f"{variance(uniform[0]['variance'])} to {variance(uniform[-1]['variance'])}"
    assert (
        f"It stops at ρ² = {variance(stops['variance'])} (no digit of {stops['targets']} "
        "recognisable)"
    ) in TEXT
    assert (
        f"gets all {targets} back to {ranges[0]} at any variance of uniform multipliers from "
        f"{ends}, and to {ranges[1]} with normal ones (`curves.json`"
    ) in TEXT


def test_with_multipliers_no_picture_comes_back() -> None:
    curves = images("curves")
    of_families = [curve for curve in curves.values() if isinstance(curve, list)]
    points = [point for curve in of_families for point in curve if point["variance"] > 0]
    assert len(points) == 48
    assert {point["exact"]["count"] for point in points} == {0}
    assert f"They never come back to {-10 * math.log10(EXACT):g} dB." in TEXT


def test_signed_multipliers_do_not_close_it() -> None:
    curves = images("curves")
    few, many = (hidden(curves["uniform, rows"])[i] for i in (0, -1))
    units = curves["network"].split("-")[1]
    seen = [hidden(images("convnet")["uniform, informed"])[i] for i in (0, -1)]
    shares = [f"{recognisable(point)} of {point['targets']}" for point in seen]
    told = (
        f"a pixel is in {units} coordinates",
        f"the relative spread of |m| over √{units},",
        f"{few['psnr_median']:.0f} dB by rows at ρ² = {variance(few['variance'])} and "
        f"{many['psnr_median']:.0f} dB at ρ² = {variance(many['variance'])} (uniform)",
        f"{shares[0]} digits are recognisable at ρ² = {variance(seen[0]['variance'])} and "
        f"{shares[1]} at ρ² = {variance(seen[1]['variance'])} (`convnet.json`)",
    )
    assert [text for text in told if text not in TEXT] == []


def test_a_heavier_tail_hides_more() -> None:
    curves = images("curves")
    rows_, informed = (curves[f"lognormal, {kind}"] for kind in ("rows", "informed"))
    best = max(recognisable(at(curve, 1.0)) for curve in (rows_, informed))
    last = rows_[-1]["variance"]
    assert (
        f"leave {best} of {rows_[0]['targets']} recognisable at ρ² = 1, and at ρ² = {last:g} "
        f"{recognisable(at(rows_, last))} (rows) and {recognisable(at(informed, last))} (informed)"
    ) in TEXT


def test_all_labels_are_found() -> None:
    curves = images("curves")
    points = [point for family in ("uniform", "normal") for point in curves[f"{family}, informed"]]
    labels = the({point["labels"]["count"] for point in points})
    assert labels == the({point["targets"] for point in points})
    last = variance(max(point["variance"] for point in points))
    assert f"All {labels} labels were found at every ρ² to {last}, by that rule" in TEXT


def test_repetition_helps() -> None:
    repeated = images("curves")["repeated"]
    most = max(one["times"] for one in repeated.values())
    told = [
        " instead of ".join(
            f"{repeated[f'uniform, {half}, informed, {times}']['psnr_median']:.1f} dB"
            for times in (most, 1)
        )
        for half in ("1 ± 1", "1 ± 4")
    ]
    assert (
        f"is seen at {most} iterations the median is {told[0]} (1 ± 1) and {told[1]} (1 ± 4)"
    ) in TEXT


def test_what_closes_it_is_additive() -> None:
    found = images("quantization")
    ratios = (0.0, 1.0, 3.0, 10.0)
    told, counts = [], []
    for network in ("64-64-10", "ConvNet, 8 × 8 × 1"):
        informed = [row for row in found[network]["rows"] if row["attack"] == "informed"]
        seen = [at(informed, ratio, "ratio") for ratio in ratios]
        *first, last = (f"{point['psnr_median']:.1f}" for point in seen)
        told.append(f"{', '.join(first)} and {last} dB")
        counts.append(
            f"{', '.join(str(recognisable(point)) for point in seen)} of {seen[0]['targets']}"
        )
    *first, last = (f"{ratio:g}" for ratio in ratios)
    assert (
        f"With multipliers 1 ± 1 and a quantization step δ/λ̄ of {', '.join(first)} and {last} "
        "times the root mean square of the gradient's coordinates, the informed attack reaches "
        f"{told[0]} on 64-64-10 (recognisable: {counts[0]}), and {told[1]} through the ConvNet "
        "(`quantization.json`)"
    ) in TEXT


def test_the_size_of_the_picture_matters() -> None:
    large, found = stored("bench/dlg")["patches"], images("patches")
    numbers = math.prod(int(n) for n in re.findall(r"\d+", large["network"]))
    informed = found["multipliers 1 ± 1, ConvNet: informed"]
    assert recognisable(informed) == 0
    one, four = (found[f"multipliers 1 ± {half}, connected: rows"] for half in (1, 4))
    told = (
        f"have {numbers} numbers and {large['parameters']:,} coordinates".replace(",", " "),
        f"reaches {informed['psnr_median']:.1f} dB in the median at 1 ± 1",
        f"and no patch below {brief(RECOGNISABLE)}",
        f"rows reach {one['psnr_median']:.1f} dB (1 ± 1) and {four['psnr_median']:.1f} dB (1 ± 4)",
    )
    assert [text for text in told if text not in TEXT] == []
