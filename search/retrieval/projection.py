"""Places images of a library on a plane, similar images near each other."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from indexer.catalog.category import Category
from indexer.catalog.collections import read_vectors
from indexer.catalog.entry import LibraryImage
from indexer.catalog.schema import WHOLE

Float32 = NDArray[np.float32]

MOST_MAPPED = 5000
"""Largest number of points that a browser still moves smoothly."""


def image_plane(
    category: Category, method: Literal["PCA", "UMAP"] = "PCA"
) -> tuple[list[LibraryImage], Float32]:
    """The library's images and their places (N, 2) on a plane, N >= 3.

    Only the first `MOST_MAPPED` images are placed; fewer than three are not placed at all.

    Args:
        method: ``UMAP`` (McInnes et al. 2018) needs the package umap-learn.
    """
    vectors, images = read_vectors(category, WHOLE)
    if len(images) < 3:
        return [], np.zeros((0, 2), np.float32)
    if method == "UMAP":
        from umap import UMAP

        found = UMAP(random_state=0, metric="cosine").fit_transform(vectors[:MOST_MAPPED])
    else:
        found = PCA(2, random_state=0).fit_transform(vectors[:MOST_MAPPED])
    return images[:MOST_MAPPED], np.asarray(found, np.float32)
