"""The anomalous patches of defective images, which search by region compares.

They live and end with revisions as the memory bank's do; what an image is called is not theirs to
say, so naming it leaves them alone.
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
    """Let the anomalous patches of a defective image join; the category, counting them.

    Args:
        category: calibrated; nothing is written for one that keeps no patches.
        patches: (H, W, D) of the image.
        distances: (H, W) to the nearest normal ones.
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
    """Let an image's anomalous patches leave with the revision ``after``, which is returned."""
    if not before.keeps_patches:
        return after
    left = end(before, before.defects, {"image_id": image_id})
    return counted(after, DEFECT_PATCHES, -left)
