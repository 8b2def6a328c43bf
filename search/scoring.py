"""Patch distances and the image score made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.knn import ExactIndex

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PatchDistances:
    """Per cell: distance to its nearest normal patch (H, W) float32, and which (H, W) int64."""

    distances: Float32
    bank_indices: NDArray[np.int64]


def patch_distances(patches: Float32, index: ExactIndex) -> PatchDistances:
    """Distance of each of the patches (H, W, D) to the memory bank."""
    rows, cols, dim = patches.shape
    nearest = index.search(patches.reshape(-1, dim))
    return PatchDistances(
        nearest.distances.reshape(rows, cols), nearest.indices.reshape(rows, cols)
    )


def image_score(distances: Float32) -> float:
    """The largest patch distance (Roth et al. 2022, equation 6); raw, never clamped."""
    return float(distances.max())
