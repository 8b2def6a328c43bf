"""Scores an image by the cosine distance of its embedding to the nearest normal embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from indexer.catalog.category import Category
from indexer.catalog.collections import read_vectors, similar_images
from indexer.catalog.schema import WHOLE
from indexer.scoring.base import NearestNormal, Scored

Float32 = NDArray[np.float32]

NEIGHBORS = 5
"""Number of nearest normal images whose mean distance is the score."""


class ImageScorer:
    """`Scorer` for backbones that give one embedding per image, which counts as its one patch.

    It queries the store each time, because the images of the memory bank are those of the library.
    """

    def __init__(self, category: Category) -> None:
        self._category = category

    def distances(self, patches: Float32) -> Float32:
        """The score as the single cell of a map (1, 1)."""
        return np.full((1, 1), self._mean(self._neighbors(patches[0, 0])), np.float32)

    def score(self, features: ImageFeatures) -> Scored:
        """Score an image, and note what it was compared with."""
        nearest = self._neighbors(features.image)
        score = self._mean(nearest)
        distances = np.full((1, 1), score, np.float32)
        return Scored(score, distances, np.zeros((1, 1), np.int64), nearest[0])

    def aggregate(self, distances: Float32) -> float:
        """Raw image score, which is the single cell of the distances."""
        return float(distances.max())

    def peaks(self, distances: Sequence[Float32]) -> list[float]:
        """No peaks, because an image-level backbone has no maps."""
        return []

    def nearest_normal(self, found: Scored, row: int, col: int) -> NearestNormal:
        """Nearest normal patch of the patch in this cell of a scored image."""
        return found.nearest

    def defect_embedding(self, features: ImageFeatures, found: Scored) -> Float32 | None:
        """No defect embedding, because one embedding per image has no residual."""
        return None

    def cache_patches(self, category: Category, image_id: str, patches: Float32) -> None:
        """Cache nothing: the library already has the embedding."""

    def cache_distances(self, category: Category, distances: Mapping[str, Float32]) -> None:
        """Cache nothing: one query measures an image again."""

    def calibration_distances(self, category: Category) -> dict[str, Float32]:
        """Distances (H, W) of the calibration images by id, without reading their files."""
        vectors, images = read_vectors(category, WHOLE, {"split": "calibration"})
        here = ImageScorer(category)
        return {
            image.image_id: here.distances(vector[None, None])
            for image, vector in zip(images, vectors, strict=True)
        }

    def _neighbors(self, embedding: Float32) -> list[NearestNormal]:
        """The bank's images nearest to an embedding (D,), nearest first, by an exact query."""
        hits = similar_images(
            self._category, embedding, top=NEIGHBORS, where={"split": "bank"}, exact=True
        )
        return [
            NearestNormal(str(hit.payload["image_id"]), (0, 0), max(0.0, 1.0 - hit.score))
            for hit in hits
        ]

    @staticmethod
    def _mean(nearest: Sequence[NearestNormal]) -> float:
        """Mean distance, rounded to float32."""
        return float(np.float32(sum(found.distance for found in nearest) / len(nearest)))
