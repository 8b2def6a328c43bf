"""How near the images that calibrate come to known defects; see `search.known_defects`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.calibrator import Calibrator
from indexer.category import read_defect_patches
from indexer.kept import read_kept
from indexer.schema import CatalogEntry
from indexer.store import VectorStore

Float32 = NDArray[np.float32]


def with_known_scores(
    store: VectorStore, entry: CatalogEntry, calibrator: Calibrator
) -> CatalogEntry:
    """The entry, its calibration with the known-defect scores of what is kept for its revision.

    Unchanged if the category does not use them.

    Raises:
        CategoryError: the category was learnt before patches of defective images were kept.
    """
    if not calibrator.known_defects:
        return entry
    distances = dict(read_kept(store, entry, "distances"))
    patches = read_kept(store, entry, "patches", list(distances))
    defects = read_defect_patches(store, entry).vectors
    scores = known_scores(calibrator, defects, distances, patches)
    return replace(entry, calibration={**entry.calibration, "known": scores})


def known_scores(
    calibrator: Calibrator,
    defects: Float32,
    distances: Mapping[str, Float32],
    patches: Iterable[tuple[str, Float32]],
) -> list[float]:
    """Known-defect score of each calibration image, ascending; none without a known defect.

    Args:
        defects: (M, D) the patches kept of defective images.
        distances: (H, W) to the nearest normal patches, by image id.
        patches: (image id, (H, W, D)) of the same images.
    """
    if not len(defects):
        return []
    to_defect = calibrator.measurer(defects)
    return sorted(calibrator.known_score(distances[key], to_defect(p)) for key, p in patches)
