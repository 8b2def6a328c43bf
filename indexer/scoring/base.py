"""What scores an image against a category, whatever its backbone gives."""

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
    """What an anomalous patch was compared with: ``cell`` (row, column) of a normal image."""

    image_id: str
    cell: tuple[int, int]
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """An image measured against a category.

    Attributes:
        score: raw image score.
        distances: (H, W) float32, of each patch to its nearest normal one; of an image-level
            backbone the score as the one cell, which is the whole image.
        bank_indices: (H, W) int64, which patch of the memory bank that is.
        nearest: of the patch that lies farthest from everything normal.
    """

    score: float
    distances: Float32
    bank_indices: NDArray[np.int64]
    nearest: NearestNormal

    @property
    def worst_cell(self) -> tuple[int, int]:
        """Row and column of the patch that lies farthest from everything normal."""
        row, col = np.unravel_index(int(self.distances.argmax()), self.distances.shape)
        return int(row), int(col)


class Scorer(Protocol):
    """Scores images at one level: of patches, or of whole images."""

    def distances(self, patches: Float32) -> Float32:
        """Distances (H, W) of patches (H, W, D) to everything normal."""

    def score(self, features: ImageFeatures) -> Scored:
        """An image with what it was compared with."""

    def aggregate(self, distances: Float32) -> float:
        """Raw image score of patch distances (H, W)."""

    def peaks(self, distances: Sequence[Float32]) -> list[float]:
        """Largest value of the anomaly map of each image's distances (H, W); none without maps."""

    def nearest_normal(self, found: Scored, row: int, col: int) -> NearestNormal:
        """What the patch of a scored image in this cell was compared with."""

    def defect_embedding(self, features: ImageFeatures, found: Scored) -> Float32 | None:
        """Defect embedding (D,) of a scored image, whitened; None if nothing deviates."""

    def cache_patches(self, category: Category, image_id: str, patches: Float32) -> None:
        """Cache what measuring a calibration image again takes, with the category's revision."""

    def cache_distances(self, category: Category, distances: Mapping[str, Float32]) -> None:
        """Cache distances (H, W) of calibration images by id, with the category's revision."""

    def calibration_distances(self, category: Category) -> dict[str, Float32]:
        """Distances (H, W) of the category's calibration images by id, without their files."""
