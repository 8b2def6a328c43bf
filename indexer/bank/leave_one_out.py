"""A memory bank from which any image can be left out as if it had never been there.

Each image chooses its patches only from itself, so the patches of the others do not depend on it:
the bank without one image is exactly the bank learnt without it, and nothing is built twice. This
is the cross-conformal predictor of Vovk (2015, "Cross-conformal predictors") with as many folds as
images. For that number the bound of Barber, Candes, Ramdas and Tibshirani (2021, "Predictive
inference with the jackknife+", theorem 1) is exactly 2 alpha; for fewer folds, theorem 4 adds a
term that is larger than any useful alpha. Images of one group are left out together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.bank.coreset import Coreset, greedy_k_center, project
from indexer.catalog.entry import MemoryBank
from indexer.knn.brute_force import squared_distances
from indexer.knn.exact_index import ExactIndex

Float32 = NDArray[np.float32]
ReadPatches = Callable[[Sequence[str]], Iterable[tuple[str, Float32]]]
"""Function that yields (image id, patches (H, W, D) float32) of the given images."""

FOLDS = 16
"""Number of folds in which images are left out: one search covers the patches outside a fold, and a
small matrix product those inside."""


def choose_own_patches(patches: Float32, settings: Mapping[str, float]) -> Coreset:
    """Coreset that an image of patches (H, W, D) chooses from itself, numbered row by row.

    Args:
        settings: settings of the category.
    """
    flat = patches.reshape(-1, patches.shape[-1])
    seed = int(settings["seed"])
    count = max(1, round(settings["coreset"] * len(flat)))
    return greedy_k_center(project(flat, seed), count, seed=seed)


def leave_one_out_distances(
    bank: MemoryBank, image_ids: Sequence[str], groups: Mapping[str, str], patches: ReadPatches
) -> Iterator[tuple[str, Float32]]:
    """Distances of each image's patches to the bank's patches of all other groups.

    Args:
        groups: group of each of these images and of every image of the bank, by image id.

    Returns:
        (image id, (H, W) float32) of each image; infinite if the bank has no other group.
    """
    owners = np.array([groups[str(key)] for key in bank.image_ids], dtype=np.str_)
    members: dict[str, list[str]] = {}
    for image_id in image_ids:
        members.setdefault(groups[image_id], []).append(image_id)
    for fold in np.array_split(np.array(list(members)), min(len(members), FOLDS)):
        inside = np.isin(owners, fold)
        outside = ExactIndex(bank.vectors[~inside]) if not inside.all() else None
        vectors, near = bank.vectors[inside], owners[inside]
        asked = [image_id for group in fold.tolist() for image_id in members[group]]
        for image_id, image in patches(asked):
            queries = image.reshape(-1, image.shape[-1])
            distances = _nearest(queries, vectors[near != groups[image_id]])
            if outside:
                np.minimum(distances, outside.search(queries).distances, out=distances)
            yield image_id, distances.reshape(image.shape[:-1])


def _nearest(queries: Float32, vectors: Float32) -> Float32:
    """(Q,) float32 distance of each of (Q, D) to the nearest of a few vectors (M, D), M >= 0."""
    if not len(vectors):
        return np.full(len(queries), np.inf, np.float32)
    return np.sqrt(squared_distances(queries, vectors))
