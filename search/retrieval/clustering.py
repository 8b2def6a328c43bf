"""Groups defective images that nobody has named yet."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

from indexer.catalog.category import Category
from indexer.catalog.collections import read_defect_embeddings
from indexer.knn.brute_force import nearest_of

Float32 = NDArray[np.float32]

CLEAR = 0.5
"""Mean silhouette from which groups count as real structure (Kaufman and Rousseeuw 1990).
"""
MOST_CLUSTERS = 15
"""Largest number of groups from which the silhouette chooses."""
MOST_GROUPED = 2000
"""Largest number of defects grouped by pairwise distances, whose number grows with the square."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of similar defects; the medoid is the image nearest to all the others."""

    image_ids: tuple[str, ...]
    medoid_id: str
    medoid_path: str


def cluster_defects(category: Category) -> list[Cluster]:
    """Candidate types of the defective images that have no type, largest first.

    The list is empty for fewer than two such images.

    Raises:
        CategoryError: the category has an image-level backbone.
    """
    vectors, images = read_defect_embeddings(category, {"defect_type": ""})
    if len(images) < 2:
        return []
    groups = group_alike(vectors)
    clusters = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        similarity = (vectors[members] @ vectors[members].T).sum(axis=1)
        medoid = images[members[int(similarity.argmax())]]
        ids = tuple(images[i].image_id for i in members)
        clusters.append(Cluster(ids, medoid.image_id, medoid.path))
    return sorted(clusters, key=lambda c: (-len(c.image_ids), c.medoid_id))


def group_alike(vectors: Float32) -> NDArray[np.int64]:
    """Group (N,) of each of the vectors (N, D) of length 1, N >= 2.

    Groups come from Ward's agglomeration (1963). Their number is the one with the best mean
    silhouette, if that shows a clear structure, see `CLEAR`. If it does not, as with most real
    defects, a few groups would mix types, and a mixed group cannot be named at once; their number
    is then the root of N. Two or three vectors form one group. Of many vectors, `MOST_GROUPED` are
    grouped and the others are assigned to the group with the nearest mean.
    """
    if len(vectors) < 4:
        return np.zeros(len(vectors), np.int64)
    chosen = np.random.default_rng(0).permutation(len(vectors))[:MOST_GROUPED]
    some = vectors[chosen]
    # the tree is the same for every number of groups
    with tempfile.TemporaryDirectory(prefix="vecspect-") as memory:
        groups = _clear_groups(some, memory)
        if groups is None:
            groups = _ward(some, round(math.sqrt(len(vectors))), memory)
    means = np.stack([some[groups == group].mean(axis=0) for group in range(groups.max() + 1)])
    found = nearest_of(vectors, means)[1]
    found[chosen] = groups
    return found


def _clear_groups(vectors: Float32, memory: str) -> NDArray[np.int64] | None:
    best, groups = CLEAR, None
    distances = np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, None)
    np.fill_diagonal(distances, 0)
    for count in range(2, min(MOST_CLUSTERS, len(vectors) - 2) + 1):
        found = _ward(vectors, count, memory)
        silhouette = float(silhouette_score(distances, found, metric="precomputed"))
        if silhouette > best:
            best, groups = silhouette, found
    return groups


def _ward(vectors: Float32, count: int, memory: str) -> NDArray[np.int64]:
    method = AgglomerativeClustering(count, linkage="ward", memory=memory, compute_full_tree=True)
    return np.asarray(method.fit_predict(vectors), np.int64)
