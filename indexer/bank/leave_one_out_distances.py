"""Leave-one-out distances: how each normal image looks to a memory bank that knows nothing of it.

The bank of a `leave-one-out` category is the union of patches that each image chose from itself
alone, so the bank made without an image is the bank less that image's patches: nothing is built
twice. This is the cross-conformal predictor of Vovk (2015, "Cross-conformal predictors") with as
many folds as images, the number at which the bound of Barber, Candes, Ramdas and Tibshirani (2021,
"Predictive inference with the jackknife+", theorem 1) is 2 alpha with nothing added: their term
for fewer folds, theorem 4, is larger than any useful alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.schema import MemoryBank
from indexer.knn.exact_index import ExactIndex, nearest_of_few

Float32 = NDArray[np.float32]

GROUPS = 16
"""Images are left out in so many groups: one search for all that is outside the group, and a
small matrix for what is inside."""


def leave_one_out_distances(
    bank: MemoryBank,
    image_ids: Sequence[str],
    patches: Callable[[Sequence[str]], Iterable[tuple[str, Float32]]],
) -> Iterator[tuple[str, Float32]]:
    """Of each image, the distance of its patches to the bank's patches of all other images.

    Args:
        patches: gives (image id, (H, W, D) float32) of the images asked for.

    Returns:
        (image id, (H, W) float32) of each; infinite where the bank has no other image.
    """
    for group in np.array_split(np.array(image_ids), min(len(image_ids), GROUPS)):
        inside = np.isin(bank.image_ids, group)
        outside = ExactIndex(bank.vectors[~inside]) if not inside.all() else None
        vectors, owners = bank.vectors[inside], bank.image_ids[inside]
        for image_id, image in patches(group.tolist()):
            queries = image.reshape(-1, image.shape[-1])
            distances = _nearest(queries, vectors[owners != image_id])
            if outside:
                np.minimum(distances, outside.search(queries).distances, out=distances)
            yield image_id, distances.reshape(image.shape[:-1])


def _nearest(queries: Float32, vectors: Float32) -> Float32:
    """(Q,) float32 distance of each of (Q, D) to the nearest of a few (M, D), M >= 0."""
    if not len(vectors):
        return np.full(len(queries), np.inf, np.float32)
    return nearest_of_few(queries, vectors).distances
