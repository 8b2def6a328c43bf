"""Draws a library of many images from the real distribution of a small one.

Each image is a point between two real ones of the same defect type, up to half the way, plus noise
with half the scatter that the images of a type have around their mean. So an image keeps its
neighbourhood, and no two are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.schema import DEFECT, WHOLE, CatalogEntry, image_id, image_point, library_image
from indexer.store.base import Point

Float32 = NDArray[np.float32]

LINES = 8
"""Values of the user field ``line``."""
_HALF = 0.5
_ADDED_AT = "2026-01-01T00:00:00+00:00"


def draw(
    entry: CatalogEntry, real: Sequence[Point], count: int, rng: np.random.Generator
) -> Iterator[Point]:
    """``count`` library images like the ``real`` ones, in the form `image_point` gives them."""
    types = np.array([str(point.payload["defect_type"]) for point in real])
    vectors = {
        name: np.array([p.vectors.get(name, np.full(entry.spec.dim, np.nan)) for p in real], "f4")
        for name in (WHOLE, DEFECT)
    }
    scatter = {name: _within(matrix, types) for name, matrix in vectors.items()}
    alike = {kind: np.flatnonzero(types == kind) for kind in set(types)}
    for first in rng.integers(len(real), size=count):
        second = rng.choice(alike[types[first]])
        weight = rng.uniform(0, _HALF)
        drawn = {}
        for name in real[first].vectors:
            noise = rng.standard_normal(len(scatter[name]), "f4") @ scatter[name]
            between = (1 - weight) * vectors[name][first] + weight * vectors[name][second]
            drawn[name] = np.asarray(between + _HALF * noise, np.float32)
        yield _as_point(entry, real[first].payload, drawn, rng)


def _within(matrix: Float32, types: NDArray[np.str_]) -> Float32:
    """(n, D) whose Gram matrix is the covariance within the types; rows of nan are left out."""
    present = ~np.isnan(matrix[:, 0])
    rows = [
        matrix[members] - matrix[members].mean(axis=0)
        for kind in sorted(set(types))
        if (members := present & (types == kind)).any()
    ]
    residuals = np.concatenate(rows) if rows else matrix[:0]
    return np.asarray(residuals / np.sqrt(max(1, len(residuals))), np.float32)


def _as_point(
    entry: CatalogEntry,
    payload: Mapping[str, object],
    vectors: Mapping[str, Float32],
    rng: np.random.Generator,
) -> Point:
    sha256 = rng.bytes(32).hex()
    image = replace(
        library_image(payload),
        image_id=image_id(entry.category, entry.backbone, sha256),
        path=f"/parts/{sha256[:8]}.png",
        sha256=sha256,
        fields={"line": str(rng.integers(LINES)), "date": f"2026-01-{rng.integers(1, 29):02}"},
    )
    return image_point(entry, image, vectors[WHOLE], _ADDED_AT, vectors.get(DEFECT))
