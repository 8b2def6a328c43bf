"""What deviates in an image, as one vector: defects that look alike lie close together.

A defect of 2 % of the area vanishes in the embedding of the whole image. What tells defects apart
is how their patches differ from the nearest normal ones: the residual takes away what part and
place look like anyway.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.scoring import PatchDistances

Float32 = NDArray[np.float32]


def defect_embedding(patches: Float32, nearest: Float32, distances: Float32) -> Float32:
    """Mean residual of the deviating patches, (D,) float32 of length 1.

    Each patch counts by how far its distance stands above the middle between the image's median
    and its largest distance, the level at which `worst_region` draws its box.

    Args:
        patches: (H, W, D) of the image.
        nearest: (H, W, D), of each patch the nearest normal one.
        distances: (H, W) between the two.
    """
    middle = (float(np.median(distances)) + float(distances.max())) / 2
    weights = np.maximum(distances - middle, 0).ravel()
    if not weights.any():  # all patches are equally far: none stands out
        weights = np.ones_like(weights)
    residuals = (patches - nearest).reshape(-1, patches.shape[-1])
    embedding = weights @ residuals
    length = float(np.linalg.norm(embedding))
    return np.asarray(embedding / max(length, 1e-12), dtype=np.float32)


def deviation(patches: Float32, bank: Float32, found: PatchDistances) -> Float32 | None:
    """`defect_embedding` of patches (H, W, D) beside the bank (M, D); None if none deviates."""
    embedding = defect_embedding(patches, bank[found.bank_indices], found.distances)
    return embedding if embedding.any() else None
