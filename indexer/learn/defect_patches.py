"""Stores the anomalous patches of defective images, which search by region compares.

They begin and end with revisions like those of the memory bank. They do not hold the image's
labels, so naming an image leaves them unchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category
from indexer.catalog.counts import DEFECT_PATCHES, counted
from indexer.catalog.revisions import end
from indexer.scoring.defect_embedding import anomalous_cells

Float32 = NDArray[np.float32]


def write_defect_patches(
    category: Category, image_id: str, patches: Float32, distances: Float32
) -> Category:
    """Add the anomalous patches of a defective image, and return the category that counts them.

    Args:
        category: a calibrated category; nothing is written if it stores no patches.
        patches: (H, W, D) patches of the image.
        distances: (H, W) distances to the nearest normal patches.
    """
    if not category.keeps_patches:
        return category
    spec = category.spec
    threshold = read_calibration(category.entry).map_threshold
    cells = anomalous_cells(distances, spec.geometry(spec.input_size), threshold=threshold)
    category.store.upsert(
        category.defects,
        [
            category.patch_point(image_id, row, col, patches[row, col])
            for row, col in cells.tolist()
        ],
    )
    return counted(category, DEFECT_PATCHES, len(cells))


def end_defect_patches(before: Category, after: Category, image_id: str) -> Category:
    """End an image's anomalous patches before the revision ``after``, which is returned."""
    if not before.keeps_patches:
        return after
    left = end(before, before.defects, {"image_id": image_id})
    return counted(after, DEFECT_PATCHES, -left)
