"""The deviating patches of defective images, for search by region.

They live and die with revisions as the memory bank's do; what an image is called is not theirs to
say, so naming it leaves them alone. A category learnt before they were kept goes on without them:
half of its defects would be worse than none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.revisions import end
from indexer.catalog.schema import (
    DEFECT_PATCHES,
    CatalogEntry,
    LibraryImage,
    defects_collection,
    patch_point,
)
from indexer.learn.calibrator import Calibrator
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]


def keep_deviating(
    store: VectorStore,
    entry: CatalogEntry,
    image: LibraryImage,
    patches: Float32,
    distances: Float32,
    calibrator: Calibrator,
) -> CatalogEntry:
    """Let what deviates in a defective image join the entry's revision; the entry, counting it.

    Args:
        entry: calibrated.
        patches: (H, W, D) of the image.
        distances: (H, W) to the nearest normal ones.
    """
    if DEFECT_PATCHES not in entry.counts:
        return entry
    cells = calibrator.deviating(entry.spec, distances, entry.calibration)
    store.upsert(
        defects_collection(entry.category, entry.backbone),
        [patch_point(entry, image, row, col, patches[row, col]) for row, col in cells.tolist()],
    )
    return _counted(entry, len(cells))


def end_deviating(
    store: VectorStore, entry: CatalogEntry, after: CatalogEntry, image_id: str
) -> CatalogEntry:
    """Let an image's deviating patches leave with the revision ``after``, which is returned."""
    if DEFECT_PATCHES not in entry.counts:
        return after
    patches = defects_collection(entry.category, entry.backbone)
    return _counted(after, -end(store, entry, patches, {"image_id": image_id}))


def _counted(entry: CatalogEntry, by: int) -> CatalogEntry:
    count = entry.counts[DEFECT_PATCHES] + by
    return replace(entry, counts={**entry.counts, DEFECT_PATCHES: count})
