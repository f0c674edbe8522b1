"""Courses of a comparison against plain loops, and what its figures show."""

from pathlib import Path
from typing import Any

import numpy as np
from studies import GAP, loop, paired, study

from dpe_jax import compare_figures
from dpe_jax.compare import compare, looked_at
from dpe_jax.courses import courses
from dpe_jax.results import Stored


def test_courses_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(8)
    values = rng.lognormal(size=(3, 70, 20)).astype(np.float32)
    mask = np.zeros((3, 20), bool)
    mask[1, 4:6] = mask[0, 5:7] = True
    for failed in (None, mask):
        stored = study({GAP: values}, failed=failed)
        stored = Stored(
            stored.path, stored.config, {}, {}, stored.curves.assign_coords(iteration=range(70))
        )
        found = courses(stored, compare(stored, resamples=10), GAP, resamples=300)
        exact = values.astype(np.float64)
        if failed is not None:
            exact[np.broadcast_to(mask[:, None], exact.shape)] = np.nan
        pair = exact + 0 * exact[0]
        base = exact[0] + 0 * exact[1]
        rows = np.concatenate([exact[1], pair[1], base]).T
        drawn = loop(rows, 300, lambda drawn: np.nanmean(drawn, axis=0)).reshape(300, 3, 70)
        real = np.nanmean(rows, axis=0).reshape(3, 70)
        for course, means, sample in (
            (found.mean["m1"], real[0], drawn[:, 0]),
            (found.difference["m1"], real[1] - real[2], drawn[:, 1] - drawn[:, 2]),
            (found.ratio["m1"], real[1] / real[2], drawn[:, 1] / drawn[:, 2]),
        ):
            low, high = np.quantile(sample, [0.025, 0.975], axis=0)
            for got, expected in zip(course, (means, low, high), strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-9)
        assert set(found.ratio) == set(found.difference) == {"m1", "m2"}


def figure(stored: Stored, metric: str = GAP) -> Any:
    seen = Stored(stored.path, stored.config, {}, {}, looked_at(stored.curves))
    methods = compare_figures.drawing.methods(seen)
    return compare_figures._figure(seen, compare(seen, resamples=10), metric, methods)


def test_figures_show_ratios_where_decades_are_spanned() -> None:
    fall = np.array([1.0, 0.1, 0.01])[:, None]
    values = 3 + np.abs(paired(3, 12))[:, None] * np.ones((3, 1))
    gap = figure(study({GAP: values * fall}))
    left, right = gap.axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert right.get_ylabel() == "ratio to base"
    assert "3 decades" not in gap._suptitle.get_text()
    (line,) = [line for line in right.get_lines() if line.get_label() == "m1"]
    np.testing.assert_allclose(line.get_ydata(), values[1, 0].mean() / values[0, 0].mean(), 1e-6)
    for flat in (values, values * fall - 1):
        left, right = figure(study({"objective": flat}), "objective").axes
        assert (left.get_yscale(), right.get_yscale()) == ("linear", "linear")
        assert right.get_ylabel() == "difference from base"
        (line,) = [line for line in right.get_lines() if line.get_label() == "m1"]
        means = flat.mean(axis=2)
        np.testing.assert_allclose(line.get_ydata(), means[1] - means[0], rtol=1e-4)
    # A baseline whose error is only rounding has no ratios.
    exact = values * fall
    exact[0] = 1e-17
    centralized = figure(study({"consensus_error": exact}), "consensus_error")
    left, right = centralized.axes
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    assert "base: consensus error zero up to rounding" in centralized._suptitle.get_text()


def test_figures_say_what_failed(tmp_path: Path) -> None:
    values = 3 + np.abs(paired(3, 12))[:, None] * np.ones((3, 1))
    mask = np.zeros((3, 12), bool)
    mask[1, :4] = mask[2] = True
    stored = study({GAP: values, "test_accuracy": values}, failed=mask)
    told = figure(stored)._suptitle.get_text()
    assert "m1: 4 of 12 runs failed, left out" in told
    assert "m2: 12 of 12 runs failed, not shown" in told
    paths = compare_figures.draw(stored, compare(stored), tmp_path / "figures")
    assert [path.name for path in paths] == [
        f"compare-{metric}.{kind}" for metric in (GAP, "test_accuracy") for kind in ("png", "pdf")
    ]
    assert all(path.stat().st_size > 5000 for path in paths)
    ruin = study({GAP: values}, failed=np.ones((3, 12), bool))
    assert "no sound run" in [text.get_text() for text in figure(ruin).axes[1].texts]
    no_base = figure(study({GAP: values}, failed=mask[::-1]))
    assert "base, the baseline, has no sound run" in no_base._suptitle.get_text()
