"""Patch distances and the image score made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.collections import similar_images
from indexer.catalog.schema import CatalogEntry, LibraryImage, library_image
from indexer.knn.exact_index import ExactIndex
from indexer.store.base import VectorStore

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


NEIGHBORS = 5
"""Nearest normal images whose mean distance scores an image by its whole embedding."""


def nearest_normal_images(
    store: VectorStore, entry: CatalogEntry, embedding: Float32
) -> list[tuple[float, LibraryImage]]:
    """Cosine distance and image of the bank's images nearest to ``embedding`` (D,), nearest first.

    By an exact query on the category's `images` collection, for an image-level backbone.
    """
    where = {"split": "bank"}
    hits = similar_images(store, entry, embedding, top=NEIGHBORS, where=where, exact=True)
    return [(max(0.0, 1.0 - hit.score), library_image(hit.payload)) for hit in hits]


def neighbors_score(nearest: Sequence[tuple[float, LibraryImage]]) -> float:
    """The mean distance, rounded to float32."""
    return float(np.float32(sum(distance for distance, _ in nearest) / len(nearest)))


def image_score(distances: Float32) -> float:
    """The largest patch distance (Roth et al. 2022, equation 6); raw, never clamped."""
    return float(distances.max())
