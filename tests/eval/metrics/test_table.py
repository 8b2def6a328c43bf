from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest

from eval.benchmark.results import CategoryReport
from eval.benchmark.summary import COLUMNS
from eval.metrics.detection import Rate
from eval.metrics.pixels import PixelMetrics
from eval.metrics.table import METRICS, ScoredImages


def scored(defects_score: float, milliseconds: float) -> ScoredImages:
    """Four normal images and four defective ones, each with a defect of 2 x 2 pixels."""
    defective = np.repeat([False, True], 4)
    scores = np.array([1.0, 2.0, 3.0, 4.0] + [defects_score] * 4)
    pixels, mask = PixelMetrics(), np.zeros((8, 8), np.bool_)
    mask[2:4, 2:4] = True
    for truth, score in zip(defective, scores, strict=True):
        heat = np.full((8, 8), 2.5, np.float32)
        heat[mask] = score
        pixels.update(heat, mask if truth else np.zeros_like(mask))
    rejected = scores > 3.5 if defects_score > 3.5 else scores < 3.5
    return ScoredImages(defective, scores, rejected, np.full(8, milliseconds), pixels)


def value(figure: float | Rate) -> float:
    return figure.value if isinstance(figure, Rate) else figure


@pytest.mark.parametrize("name", METRICS)
def test_direction_is_the_one_in_which_a_better_category_moves(name: str) -> None:
    metric = METRICS[name]
    good, bad = scored(9.0, 10.0), scored(0.5, 20.0)
    if name == "recall":  # both reject all of the defects
        bad = ScoredImages(bad.defective, bad.scores, ~bad.rejected, bad.milliseconds)
    better, worse = value(metric.function(good)), value(metric.function(bad))
    assert better > worse if metric.higher_is_better else better < worse


def test_every_metric_is_stored_and_printed_under_its_name() -> None:
    assert METRICS.keys() <= {field.name for field in fields(CategoryReport)}
    columns = {column.key: column for column in COLUMNS}
    for name, metric in METRICS.items():
        assert (columns[name].title, columns[name].kind) == (metric.title, metric.kind)
        assert columns[name].explanation.startswith(metric.sentence)


def test_figures_of_no_images_are_undefined() -> None:
    nothing = ScoredImages(np.zeros(0, np.bool_), np.zeros(0), np.zeros(0, np.bool_), np.zeros(0))
    for name, metric in METRICS.items():
        assert math.isnan(value(metric.function(nothing))), name
