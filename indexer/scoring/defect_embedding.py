"""Anomalous patches of an image: which they are, and their defect embedding.

Defects that look alike lie close together.
A defect of 2 % of the area vanishes in the embedding of the whole image. What tells defects apart
is how their patches differ from the nearest normal ones: the residual takes away what part and
place look like anyway. Where defects are compared it is whitened, see `indexer.scoring.whitening`.
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

    Each patch counts as `standing_out` says.

    Args:
        patches: (H, W, D) of the image.
        nearest: (H, W, D), of each patch the nearest normal one.
        distances: (H, W) between the two.
    """
    residuals = (patches - nearest).reshape(-1, patches.shape[-1])
    embedding = standing_out(distances).ravel() @ residuals
    length = float(np.linalg.norm(embedding))
    return np.asarray(embedding / max(length, 1e-12), dtype=np.float32)


def standing_out(distances: Float32) -> Float32:
    """How much each patch counts (H, W), by its distance (H, W) to the nearest normal one.

    As far as that stands above the middle between the image's median and its largest distance, the
    level at which `worst_region` draws its box.
    """
    middle = (float(np.median(distances)) + float(distances.max())) / 2
    weights = np.maximum(distances - middle, 0)
    # if all patches are equally far, none stands out
    return weights if weights.any() else np.ones_like(weights)


MOST_CELLS, LEAST_CELLS, SHARE_OF_CELLS = 128, 8, 0.05


def anomalous_cells(
    distances: Float32, geometry: Geometry, *, threshold: float
) -> NDArray[np.int64]:
    """(K, 2) row and column of the patches of a defective image worth keeping, worst first.

    Those where the anomaly map stands above ``threshold``, the level that normal images do not
    reach; but at least a twentieth of the cells, and 8, and at most 128.

    At least: a defect that the map misses is still one that somebody has named; and search by
    region asks each image for its nearest patch, so an image with a few patches would lie farther
    from every region for that alone. At most: a part that looks wrong all over says no more with
    all its patches (1.5 MB at 1024 of 384 values) than with an eighth.

    Args:
        distances: (H, W) to the nearest normal patches.
    """
    levels = levels_at_cells(distances, geometry)
    least = max(LEAST_CELLS, round(SHARE_OF_CELLS * levels.size))
    count = min(MOST_CELLS, max(least, int((levels > threshold).sum())))
    worst = np.argsort(-levels, axis=None, kind="stable")[:count]
    return np.stack(np.unravel_index(worst, levels.shape), axis=1)


def plain_defect_embedding(patches: Float32, bank: Float32, found: Nearest) -> Float32 | None:
    """`defect_embedding` of patches (H, W, D) beside the bank (M, D); None if none deviates."""
    embedding = defect_embedding(patches, bank[found.indices], found.distances)
    return embedding if embedding.any() else None


def whitened_defect_embedding(
    patches: Float32, bank: Float32, found: Nearest, whitening: Whitening
) -> Float32 | None:
    """`plain_defect_embedding` as the library of the category with this whitening keeps it."""
    plain = plain_defect_embedding(patches, bank, found)
    return None if plain is None else whitening.whiten(plain)
