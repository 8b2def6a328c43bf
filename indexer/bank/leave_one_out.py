"""A memory bank of which any image can be taken out as if it had never been there.

Each image chooses its patches from itself alone, so the patches of the others would be the same
without it: the bank less one image is exactly the bank learnt without it, and nothing is built
twice. This is the cross-conformal predictor of Vovk (2015, "Cross-conformal predictors") with as
many folds as images, the number at which the bound of Barber, Candes, Ramdas and Tibshirani (2021,
"Predictive inference with the jackknife+", theorem 1) is 2 alpha with nothing added: their term
for fewer folds, theorem 4, is larger than any useful alpha. Images of one group are left out
together.
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
"""Gives (image id, patches (H, W, D) float32) of the images asked for."""

FOLDS = 16
"""Images are left out in so many folds: one search for all that is outside the fold, and a small
matrix product for what is inside."""


def choose_own_patches(patches: Float32, settings: Mapping[str, float]) -> Coreset:
    """The coreset that an image of patches (H, W, D) chooses from itself, numbered row by row.

    Args:
        settings: of the category.
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
        (image id, (H, W) float32) of each image; infinite where the bank has no other group.
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
    """(Q,) float32 distance of each of (Q, D) to the nearest of a few (M, D), M >= 0."""
    if not len(vectors):
        return np.full(len(queries), np.inf, np.float32)
    return np.sqrt(squared_distances(queries, vectors))
