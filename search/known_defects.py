"""A second score: how much nearer an image comes to a known defect than to anything normal.

A defect that the first score misses lies near normal patches, but it may lie nearer still to one
that somebody has named. The score is the largest difference, over the image's patches, between the
distance to the nearest normal patch and that to the nearest patch kept of a defective image. It is
calibrated as the first one is, on normal images, so it rejects at most the same share of them; both
together at most twice that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from backbones.weights import sha256_of
from indexer.category import read_defect_patches
from indexer.schema import CatalogEntry, MemoryBank, image_id
from indexer.store import VectorStore
from search.knn import ExactIndex
from search.scoring import PatchDistances, patch_distances

Float32 = NDArray[np.float32]


def known_defect_score(to_normal: Float32, to_defect: Float32) -> float:
    """Largest difference of the distances (H, W) to the nearest normal and known-defect patch."""
    return float((to_normal - to_defect).max())


class KnownDefects:
    """The patches of a category's known defects; ``patches`` are as of `read_defect_patches`."""

    def __init__(self, store: VectorStore, entry: CatalogEntry) -> None:
        self.patches: MemoryBank = read_defect_patches(store, entry)
        self._entry = entry
        self._index = ExactIndex(self.patches.vectors)

    def distances(self, features: ImageFeatures) -> PatchDistances | None:
        """Of the image's patches to the nearest of another image; None if there is no other.

        The indices are rows of ``patches``.
        """
        own = image_id(self._entry.category, self._entry.backbone, sha256_of(features.path))
        others = np.flatnonzero(self.patches.image_ids != own)
        if len(others) == len(self.patches.vectors):
            return patch_distances(features.patches, self._index)
        if not len(others):
            return None
        found = patch_distances(features.patches, ExactIndex(self.patches.vectors[others]))
        return PatchDistances(found.distances, others[found.bank_indices])
