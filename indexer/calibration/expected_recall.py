"""Expected recall of a category: the share of synthetic defects above its threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.methods import read_calibration
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from indexer.scoring.aggregation import AGGREGATIONS
from indexer.synthetic.blending import KINDS

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ExpectedRecall:
    """Share of synthetic defects of one size (pixels of 256) and contrast above the threshold."""

    dataset: str
    backbone: str
    size: int
    contrast: float
    share: float
    defects: int


def estimated_recall(category: Category) -> list[ExpectedRecall]:
    """Expected recall at the category's threshold, by kind of synthetic defect."""
    threshold = read_calibration(category.entry).threshold
    aggregate = AGGREGATIONS[category.entry.aggregation]
    undamaged = dict(read_cached(category, "distances"))
    found: list[list[bool]] = [[] for _ in KINDS]
    for key, kinds in read_cached(category, "synthetic distances"):
        for hits, changed in zip(found, kinds, strict=True):
            hits.append(aggregate(damaged(changed, undamaged[key])) > threshold)
    return [
        ExpectedRecall(
            category.name, category.backbone, size, contrast, float(np.mean(hits)), len(hits)
        )
        for (size, contrast), hits in zip(KINDS, found, strict=True)
    ]


def damaged(changed: Float32, undamaged: Float32) -> Float32:
    """Patch distances (n + 1,) that decide the score of an image with a synthetic defect.

    Args:
        changed: (n,) distances of the patches that the defect changes.
        undamaged: (H, W) distances of the image without it; the largest stands for the rest.
    """
    return np.append(changed, undamaged.max())
