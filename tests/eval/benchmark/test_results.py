"""Results keep every figure on their way to JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eval.benchmark.results import (
    BenchmarkResult,
    CategoryReport,
    CategoryRun,
    HeatmapRef,
    ImageResult,
    ResultError,
    summarise,
)
from eval.metrics.detection import Rate
from eval.metrics.pixels import PixelMetrics

RUN = CategoryRun(
    category="tile",
    backbone="compact",
    dataset="mvtec_ad/tile",
    n_train=184,
    bank_size=18_400,
    coreset=0.1,
    holdout=0.2,
    seed=0,
    alpha_reject=0.05,
    alpha_review=0.1,
    threshold=2.5,
    index_seconds=12.5,
    calibration_scores=(1.5, 2.0, 2.6),
    fingerprint="f00d",
    versions={"vecspect": "0.1.0"},
    heatmaps=(HeatmapRef("b.png", "defective", "crack", 3.0, "b.jpg", "best defect"),),
    baseline={"brute-force image AUROC": 0.94, "undefined": math.nan},
)
IMAGES = (
    ImageResult("a.png", "normal", "good", 1.0, 0.5, "ok", 10.0),
    ImageResult("b.png", "normal", "good", 2.6, 0.04, "reject", 20.0),
    ImageResult("c.png", "defective", "crack", 3.0, 0.01, "reject", 30.0),
    ImageResult("d.png", "defective", "crack", 2.4, 0.08, "review", 40.0),
    ImageResult("e.png", "defective", "oil", 1.2, 0.4, "ok", 50.0),
    ImageResult("f.png", "defective", "oil", 3.5, 0.01, "reject", 60.0),
)


def strictly_parsed(text: str) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_report_counts_rejects_only() -> None:
    report = summarise(RUN, IMAGES)
    assert report.false_reject == Rate(1, 2)
    assert report.recall == Rate(2, 4)
    assert report.recall_by_type == {"crack": Rate(1, 2), "oil": Rate(1, 2)}


def test_report_figures_follow_from_its_images_and_pixels() -> None:
    pixels = PixelMetrics()
    mask = np.array([[True, False, False]])
    pixels.update(np.array([[3, 1, 2]], dtype=np.float32), mask)
    report = summarise(RUN, IMAGES, pixels)
    assert report.image_auroc == 6 / 8
    assert (report.f1_max, report.f1_max_threshold) == pytest.approx((8 / 9, 1.2))
    assert (report.pixel_auroc, report.au_pro_30, report.au_pro_5) == (1, 1, 1)
    assert report.median_ms == 35
    assert report.p95_ms == pytest.approx(57.5)
    assert report.n_calibration == 3
    assert report.category == "tile"


def test_report_without_masks_or_images_is_undefined_rather_than_zero() -> None:
    report = summarise(RUN, ())
    figures = (report.image_auroc, report.f1_max, report.au_pro_30, report.median_ms, report.p95_ms)
    assert all(math.isnan(figure) for figure in figures)
    assert report.recall == Rate(0, 0)


def test_benchmark_survives_strict_json_and_back() -> None:
    result = BenchmarkResult((summarise(RUN, IMAGES),), "2026-11-22T06:30:00Z", "vecspect …")
    fields = result.to_dict()
    text = json.dumps(fields, allow_nan=False)
    again = BenchmarkResult.from_dict(strictly_parsed(text))
    assert again.to_dict() == fields
    stored = fields["reports"][0]
    assert stored["pixel_auroc"] is None
    assert stored["baseline"]["undefined"] is None
    report = again.reports[0]
    assert isinstance(report, CategoryReport)
    assert math.isnan(report.pixel_auroc)
    assert report.images == IMAGES
    assert report.heatmaps == RUN.heatmaps
    assert report.recall_by_type == {"crack": Rate(1, 2), "oil": Rate(1, 2)}


def test_every_kind_of_result_makes_the_round_trip() -> None:
    report = replace(summarise(RUN, IMAGES), pixel_auroc=0.5, au_pro_30=0.4, au_pro_5=0.3)
    report = replace(report, baseline=None)
    assert CategoryReport.from_dict(report.to_dict()) == report
    assert ImageResult.from_dict(IMAGES[0].to_dict()) == IMAGES[0]
    assert HeatmapRef.from_dict(RUN.heatmaps[0].to_dict()) == RUN.heatmaps[0]


def test_numpy_numbers_are_stored_as_numbers() -> None:
    numbers: dict[str, Any] = {"score": np.float32(1.5), "milliseconds": np.float64(2.5)}
    image = replace(IMAGES[0], **numbers)
    assert strictly_parsed(json.dumps(image.to_dict()))["score"] == 1.5


def test_damaged_file_is_explained_in_one_line() -> None:
    fields = BenchmarkResult((summarise(RUN, IMAGES),), "now", "vecspect").to_dict()
    del fields["reports"][0]["recall"]["n"]
    with pytest.raises(ResultError, match=r"reports\.0\.recall\.n: Field required") as caught:
        BenchmarkResult.from_dict(fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("label", "good", "label must be one of normal, defective, got 'good'"),
        ("verdict", "fail", "verdict must be one of ok, review, reject, got 'fail'"),
        ("score", math.nan, r"score must be finite, got nan for a\.png"),
    ],
)
def test_image_result_refuses_words_it_does_not_know(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(IMAGES[0], **{field: value})
    with pytest.raises(ResultError, match=message):
        ImageResult.from_dict({**IMAGES[0].to_dict(), field: value})
