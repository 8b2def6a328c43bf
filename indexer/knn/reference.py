"""Nearest neighbours straight from the definition: the results that `ExactIndex` must equal.

Every pair is measured in float64, which is slow; only tests and measurements should call it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

QUERIES = 16
"""Queries measured at a time, which bounds the memory of their differences with all vectors."""


def all_distances(queries: Float32, vectors: Float32) -> Float64:
    """Euclidean distance (Q, M) of each of ``queries`` (Q, D) to each of ``vectors`` (M, D)."""
    found = np.empty((len(queries), len(vectors)))
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        differences = queries[part, None].astype(np.float64) - vectors[None].astype(np.float64)
        found[part] = np.sqrt(np.sum(differences**2, axis=2))
    return found


def nearest_by_definition(queries: Float32, vectors: Float32) -> tuple[Float64, Int64]:
    """Distance (Q,) of each of ``queries`` (Q, D) to its nearest ``vectors`` (M, D), and which.

    Of several that are equally near, the first counts.
    """
    distances = all_distances(queries, vectors)
    return distances.min(axis=1), distances.argmin(axis=1)
