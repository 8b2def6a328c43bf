"""Scores an image by the distances of its patches to the memory bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.pipeline import ImageFeatures
from indexer.bank.pruning import cache_projections, read_axes
from indexer.catalog.cached_arrays import read_cached, write_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import read_bank
from indexer.catalog.entry import CategoryError, MemoryBank
from indexer.knn.exact_index import ExactIndex, Nearest
from indexer.knn.pca import PcaProjection
from indexer.knn.threads import made_once
from indexer.scoring.aggregation import AGGREGATIONS
from indexer.scoring.anomaly_map import anomaly_map
from indexer.scoring.base import NearestNormal, Scored
from indexer.scoring.defect_embedding import whitened_defect_embedding
from indexer.scoring.whitening import Whitening, read_whitening

Float32 = NDArray[np.float32]


class PatchScorer:
    """`Scorer` for backbones that give patch embeddings.

    Args:
        bank: the category's memory bank if already loaded; otherwise read from the store when it is
            first needed.
    """

    def __init__(self, category: Category, bank: MemoryBank | None = None) -> None:
        self._category = category
        self._bank = bank

    @made_once
    def bank(self) -> MemoryBank:
        """The memory bank; CategoryError if the revision is no longer in the store."""
        if self._bank is not None:
            return self._bank
        bank = read_bank(self._category)
        if not len(bank):
            entry = self._category.entry
            raise CategoryError(
                f"revision {entry.revision} of category '{entry.category}' has been replaced since "
                "it was opened. Open it again."
            )
        return bank

    @made_once
    def index(self) -> ExactIndex:
        """Exact nearest-neighbour index of the memory bank."""
        return ExactIndex(self.bank.vectors)

    @made_once
    def whitening(self) -> Whitening:
        """The category's whitening of defect embeddings."""
        return read_whitening(self._category)

    @made_once
    def axes(self) -> PcaProjection:
        """The projection with which the category's cached patches are pruned."""
        return read_axes(self._category)

    def distances(self, patches: Float32) -> Float32:
        """Distances (H, W) of patches (H, W, D) to everything normal."""
        return self.index.search(patches).distances

    def score(self, features: ImageFeatures) -> Scored:
        """Score an image, and note what it was compared with."""
        found = self.index.search(features.patches)
        worst = np.unravel_index(int(found.distances.argmax()), found.distances.shape)
        return Scored(
            self.aggregate(found.distances),
            found.distances,
            found.indices,
            self._nearest(found.distances, found.indices, int(worst[0]), int(worst[1])),
        )

    def aggregate(self, distances: Float32) -> float:
        """Raw image score of patch distances (H, W)."""
        return AGGREGATIONS[self._category.entry.aggregation](distances)

    def peaks(self, distances: Sequence[Float32]) -> list[float]:
        """Largest value of each image's anomaly map from distances (H, W); none without maps."""
        return [map_peak(self._category.spec, found) for found in distances]

    def nearest_normal(self, found: Scored, row: int, col: int) -> NearestNormal:
        """Nearest normal patch of the patch in this cell of a scored image."""
        return self._nearest(found.distances, found.bank_indices, row, col)

    def defect_embedding(self, features: ImageFeatures, found: Scored) -> Float32 | None:
        """Whitened defect embedding (D,) of a scored image; None if no patch is anomalous."""
        nearest = Nearest(found.distances, found.bank_indices)
        return whitened_defect_embedding(
            features.patches, self.bank.vectors, nearest, self.whitening
        )

    def cache_patches(self, category: Category, image_id: str, patches: Float32) -> None:
        """Cache what measuring a calibration image again needs, with the category's revision."""
        write_cached(category, "patches", [(image_id, patches)])
        cache_projections(category, self.axes, image_id, patches)

    def cache_distances(self, category: Category, distances: Mapping[str, Float32]) -> None:
        """Cache distances (H, W) of calibration images by id, with the category's revision."""
        write_cached(category, "distances", distances.items())

    def calibration_distances(self, category: Category) -> dict[str, Float32]:
        """Distances (H, W) of the calibration images by id, without reading their files."""
        return dict(read_cached(category, "distances"))

    def _nearest(
        self, distances: Float32, indices: NDArray[np.int64], row: int, col: int
    ) -> NearestNormal:
        found = int(indices[row, col])
        cell = (int(self.bank.cells[found, 0]), int(self.bank.cells[found, 1]))
        return NearestNormal(str(self.bank.image_ids[found]), cell, float(distances[row, col]))


def map_peak(spec: BackboneSpec, distances: Float32) -> float:
    """Largest value of the anomaly map of (H, W) distances, at the network's input size.

    Interpolating the map to the pixels of a photo only averages, so no pixel there is higher.
    """
    return float(anomaly_map(distances, spec.geometry(spec.input_size)).max())
