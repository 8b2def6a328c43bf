"""What the library holds that nobody has named yet: groups of defects, unusual normal images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from indexer.schema import (
    WHOLE,
    CatalogEntry,
    LibraryImage,
    images_collection,
    library_image,
    visible,
)
from indexer.store import VectorStore, read_matrix
from search.library import read_defects

Float32 = NDArray[np.float32]

NEIGHBORS = 5
MOST_CLUSTERS = 15
MOST_MAPPED = 5000
"""Points of a plane that a browser still moves smoothly."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Defective images that deviate alike; the medoid lies nearest to all the others."""

    image_ids: tuple[str, ...]
    medoid_id: str
    medoid_path: str


@dataclass(frozen=True, slots=True)
class Outlier:
    """A normal image and its mean cosine distance to the `NEIGHBORS` nearest other normal ones."""

    image_id: str
    path: str
    split: str
    distance: float


def cluster_defects(store: VectorStore, entry: CatalogEntry) -> list[Cluster]:
    """Candidate types of the defective images that have no type, largest first.

    Empty with fewer than two such images.

    Raises:
        CategoryError: the library does not keep what deviates.
    """
    vectors, images = read_defects(store, entry, {"defect_type": ""})
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
    """(N,) the group of each of the vectors (N, D) of length 1, N >= 2.

    Agglomerative, by the mean cosine distance of two groups; of the numbers of groups from 2 to
    `MOST_CLUSTERS`, the one with the largest mean silhouette (Rousseeuw 1987). Two or three
    vectors are one group.
    """
    best, groups = -1.0, np.zeros(len(vectors), np.int64)
    distances = np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, None)
    np.fill_diagonal(distances, 0)
    for count in range(2, min(MOST_CLUSTERS, len(vectors) - 2) + 1):
        method = AgglomerativeClustering(count, metric="precomputed", linkage="average")
        found = method.fit_predict(distances)
        silhouette = float(silhouette_score(distances, found, metric="precomputed"))
        if silhouette > best:
            best, groups = silhouette, found.astype(np.int64)
    return groups


def image_plane(
    store: VectorStore, entry: CatalogEntry, method: Literal["PCA", "UMAP"] = "PCA"
) -> tuple[list[LibraryImage], Float32]:
    """The library's images and (N, 2) places on a plane where those alike lie near; N >= 3.

    The first `MOST_MAPPED` images; of fewer than three, none.

    Args:
        method: ``UMAP`` (McInnes et al. 2018) takes the package umap-learn.
    """
    _, vectors, payloads = read_matrix(
        store, images_collection(entry.category, entry.backbone), WHOLE, where=visible(entry)
    )
    images = [library_image(payload) for payload in payloads][:MOST_MAPPED]
    if len(images) < 3:
        return [], np.zeros((0, 2), np.float32)
    if method == "UMAP":
        from umap import UMAP

        found = UMAP(random_state=0, metric="cosine").fit_transform(vectors[:MOST_MAPPED])
    else:
        found = PCA(2, random_state=0).fit_transform(vectors[:MOST_MAPPED])
    return images, np.asarray(found, np.float32)


def unusual_images(store: VectorStore, entry: CatalogEntry) -> list[Outlier]:
    """The normal library images, those least like the others first."""
    _, vectors, payloads = read_matrix(
        store,
        images_collection(entry.category, entry.backbone),
        WHOLE,
        where={**visible(entry), "label": "normal"},
    )
    images = [library_image(payload) for payload in payloads]
    if len(images) < 2:
        return []
    near = min(NEIGHBORS, len(images) - 1)
    found = []
    for i, (image, vector) in enumerate(zip(images, vectors, strict=True)):
        others = np.delete(vectors @ vector, i)
        mean = float(np.sort(1 - others)[:near].mean())
        found.append(Outlier(image.image_id, image.path, image.split, mean))
    return sorted(found, key=lambda o: (-o.distance, o.image_id))
