"""Anomalous patches of an image, and the defect embedding made from them.

Defects that look alike lie close together. A defect of 2 % of the area vanishes in the embedding of
the whole image. Defects are told apart by how their patches differ from the nearest normal ones:
the residual removes the look of the product and of the place. Residuals are whitened before defects
are compared, see `indexer.scoring.whitening`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.geometry import Geometry
from indexer.knn.exact_index import Nearest
from indexer.scoring.anomaly_map import levels_at_cells
from indexer.scoring.whitening import Whitening

Float32 = NDArray[np.float32]


def defect_embedding(patches: Float32, nearest: Float32, distances: Float32) -> Float32:
    """Mean residual of the anomalous patches, (D,) float32 of length 1.

    Each patch is weighted by `standing_out`.

    Args:
        patches: (H, W, D) patches of the image. nearest: (H, W, D) nearest normal patch of each
            patch. distances: (H, W) distances between the two.
    """
    residuals = (patches - nearest).reshape(-1, patches.shape[-1])
    embedding = standing_out(distances).ravel() @ residuals
    length = float(np.linalg.norm(embedding))
    return np.asarray(embedding / max(length, 1e-12), dtype=np.float32)


def standing_out(distances: Float32) -> Float32:
    """Weight (H, W) of each patch in the defect embedding, from its distance (H, W).

    The weight is the height of the distance above the midpoint between the image's median and its
    largest distance, the level at which `worst_region` draws its box.
    """
    middle = (float(np.median(distances)) + float(distances.max())) / 2
    weights = np.maximum(distances - middle, 0)
    # if all patches are equally far away, none stands out
    return weights if weights.any() else np.ones_like(weights)


MOST_CELLS, LEAST_CELLS, SHARE_OF_CELLS = 128, 8, 0.05


def anomalous_cells(
    distances: Float32, geometry: Geometry, *, threshold: float
) -> NDArray[np.int64]:
    """(K, 2) row and column of the patches of a defective image to store, worst first.

    These are the patches where the anomaly map exceeds ``threshold``, the level that normal images
    do not reach, but at least a twentieth of the cells and 8, and at most 128. The minimum exists
    because a defect that the map misses is still one that somebody has named, and because search by
    region looks for the nearest patch of each image, so that an image with few patches would always
    lie farther away. The maximum exists because all patches of a product that looks wrong
    everywhere (1.5 MB for 1024 of 384 values) say no more than an eighth of them.

    Args:
        distances: (H, W) distances to the nearest normal patches.
    """
    levels = levels_at_cells(distances, geometry)
    least = max(LEAST_CELLS, round(SHARE_OF_CELLS * levels.size))
    count = min(MOST_CELLS, max(least, int((levels > threshold).sum())))
    worst = np.argsort(-levels, axis=None, kind="stable")[:count]
    return np.stack(np.unravel_index(worst, levels.shape), axis=1)


def plain_defect_embedding(patches: Float32, bank: Float32, found: Nearest) -> Float32 | None:
    """Unwhitened `defect_embedding` of patches (H, W, D) against the bank (M, D), or None."""
    embedding = defect_embedding(patches, bank[found.indices], found.distances)
    return embedding if embedding.any() else None


def whitened_defect_embedding(
    patches: Float32, bank: Float32, found: Nearest, whitening: Whitening
) -> Float32 | None:
    """Whitened `plain_defect_embedding`, as stored in the library of the category."""
    plain = plain_defect_embedding(patches, bank, found)
    return None if plain is None else whitening.whiten(plain)
