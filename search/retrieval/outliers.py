"""Finds the normal images of a library that look least like the others as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexer.catalog.category import Category
from indexer.catalog.collections import read_vectors
from indexer.catalog.schema import WHOLE

NEIGHBORS = 5
_AT_A_TIME = 256
"""Images whose similarity to all others is held at once: 100 MB for 100,000 images."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A normal image and its mean cosine distance to the `NEIGHBORS` nearest other normal ones."""

    image_id: str
    path: str
    split: str
    distance: float


def unusual_images(category: Category) -> list[Outlier]:
    """The normal library images, those least like the others first."""
    vectors, images = read_vectors(category, WHOLE, {"label": "normal"})
    if len(images) < 2:
        return []
    near = min(NEIGHBORS, len(images) - 1)
    found = []
    for start in range(0, len(images), _AT_A_TIME):
        likeness = vectors[start : start + _AT_A_TIME] @ vectors.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -np.inf  # skip the distance to itself
        nearest = -np.partition(-likeness, near - 1, axis=1)[:, :near]
        distances = (1 - nearest).mean(axis=1).tolist()
        found += [
            Outlier(image.image_id, image.path, image.split, distance)
            for image, distance in zip(images[start:], distances, strict=False)
        ]
    return sorted(found, key=lambda o: (-o.distance, o.image_id))
