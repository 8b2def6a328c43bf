"""The protocol of scorers, which measure an image against a category at any level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from indexer.catalog.category import Category

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearestNormal:
    """The normal patch nearest to an anomalous one, in ``cell`` (row, column) of its image."""

    image_id: str
    cell: tuple[int, int]
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """An image measured against a category.

    Attributes:
        score: raw image score.
        distances: (H, W) float32, distance of each patch to its nearest normal one; for an
            image-level backbone the score as a single cell, which is the whole image.
        bank_indices: (H, W) int64, index of that nearest patch in the memory bank.
        nearest: nearest normal patch of the worst patch.
    """

    score: float
    distances: Float32
    bank_indices: NDArray[np.int64]
    nearest: NearestNormal

    @property
    def worst_cell(self) -> tuple[int, int]:
        """Row and column of the patch farthest from everything normal."""
        row, col = np.unravel_index(int(self.distances.argmax()), self.distances.shape)
        return int(row), int(col)


class Scorer(Protocol):
    """Scores images at one level: by patches, or by whole images."""

    def distances(self, patches: Float32) -> Float32:
        """Distances (H, W) of patches (H, W, D) to everything normal."""

    def score(self, features: ImageFeatures) -> Scored:
        """Score an image, and note what it was compared with."""

    def aggregate(self, distances: Float32) -> float:
        """Raw image score of patch distances (H, W)."""

    def peaks(self, distances: Sequence[Float32]) -> list[float]:
        """Largest value of each image's anomaly map from distances (H, W); none without maps."""

    def nearest_normal(self, found: Scored, row: int, col: int) -> NearestNormal:
        """Nearest normal patch of the patch in this cell of a scored image."""

    def defect_embedding(self, features: ImageFeatures, found: Scored) -> Float32 | None:
        """Whitened defect embedding (D,) of a scored image; None if no patch is anomalous."""

    def cache_patches(self, category: Category, image_id: str, patches: Float32) -> None:
        """Cache what measuring a calibration image again needs, with the category's revision."""

    def cache_distances(self, category: Category, distances: Mapping[str, Float32]) -> None:
        """Cache distances (H, W) of calibration images by id, with the category's revision."""

    def calibration_distances(self, category: Category) -> dict[str, Float32]:
        """Distances (H, W) of the calibration images by id, without reading their files."""
