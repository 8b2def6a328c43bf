"""Benchmarks side by side: what was set differently, what came of it, which images flipped."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from eval.benchmark.comparison import Comparison, compare_runs, runs_of
from eval.benchmark.results import CategoryReport, ImageResult
from tests.eval.benchmark.test_report import benchmark, report


def compared(before: CategoryReport, after: CategoryReport) -> Comparison:
    (found,) = compare_runs(runs_of({"old": benchmark(before), "new": benchmark(after)}))
    assert (found.reference.name, found.run.name) == ("old", "new")
    return found


def test_a_delta_knows_whether_more_or_less_is_better() -> None:
    before = report(image_auroc=0.9, median_ms=20.0, pixel_auroc=math.nan)
    found = compared(before, replace(before, image_auroc=0.95, median_ms=30.0))
    by_title = {delta.title: delta for delta in found.deltas}
    assert by_title["image AUROC"].better is True
    assert (by_title["image AUROC"].before, by_title["image AUROC"].after) == (0.9, 0.95)
    assert by_title["average precision"].better is None
    assert by_title["pixel AUROC"].better is None
    slower = next(delta for delta in found.deltas if delta.after == pytest.approx(30.0))
    assert slower.better is False


def test_only_settings_that_differ_are_named_and_versions_by_package() -> None:
    before = report()
    after = replace(before, coreset=0.01, versions={"vecspect": "0.2.0", "numpy": "2.0"})
    assert compared(before, after).settings == {
        "coreset": (0.1, 0.01),
        "version of numpy": ("none", "2.0"),
        "version of vecspect": ("0.1.0", "0.2.0"),
    }


def test_an_image_flips_for_the_better_when_its_verdict_comes_nearer_the_truth() -> None:
    before = report()
    images = {image.path: image for image in before.images}
    changed = {
        "good/0.png": "reject",
        "good/1.png": "review",
        "crack/0.png": "ok",
        "oil/0.png": "reject",
    }
    images |= {path: replace(images[path], verdict=verdict) for path, verdict in changed.items()}
    found = compared(before, replace(before, images=tuple(images.values())))
    assert {flip.after.path: flip.better for flip in found.flips} == {
        "good/0.png": False,
        "good/1.png": False,
        "crack/0.png": False,
        "oil/0.png": True,
    }
    assert [flip.better for flip in found.flips] == [False, False, False, True]


def test_images_are_paired_by_their_place_in_the_data_set_wherever_that_lies() -> None:
    here, there = (
        replace(
            report(dataset=root),
            images=(
                ImageResult(f"{root}/test/a.png", "normal", "", 1.0, 0.5, verdict, 1.0),
                ImageResult(f"{root}/test/{root[1]}.png", "normal", "", 1.0, 0.5, "ok", 1.0),
            ),
        )
        for root, verdict in (("/data/grid", "ok"), ("elsewhere/grid", "reject"))
    )
    found = compared(here, there)
    assert [flip.after.path for flip in found.flips] == ["elsewhere/grid/test/a.png"]
    assert (found.only_reference, found.only_run) == (1, 1)


def test_a_run_is_compared_with_the_same_backbone_or_with_the_first_where_that_differs() -> None:
    first = benchmark(report("grid"), report("grid", "big"), report("tile"))
    second = benchmark(report("grid", "big"), report("grid", "other"), report("leather"))
    found = compare_runs(runs_of({"a": first, "b": second}))
    pairs = [
        (c.reference.name, c.reference.report.backbone, c.run.name, c.run.report.backbone)
        for c in found
    ]
    assert pairs == [("a", "big", "b", "big"), ("a", "compact", "b", "other")]


def test_one_benchmark_alone_is_compared_with_nothing() -> None:
    assert compare_runs(runs_of({"a": benchmark(report("grid"), report("grid", "big"))})) == []
