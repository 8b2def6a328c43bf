"""Synthetic defects of a known size and contrast on photos of normal products.

A patch of smooth noise, outlined by a level set of other smooth noise (the masks of DRAEM:
Zavrtanik, Kristan and Skocaj 2021), is blended into the image. Such defects show which ones a
threshold catches; they say nothing about how often it rejects normal products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.synthetic.textures import Float32, noise

Uint8 = NDArray[np.uint8]

SIZES = (8, 16, 32)
"""Side lengths of a square with the defect's area, in pixels of an image whose shorter side is
256."""
CONTRASTS = (0.15, 0.3, 0.6)
"""Weights of the black-to-white noise in the blend."""
KINDS = tuple((size, contrast) for size in SIZES for contrast in CONTRASTS)
"""Size and contrast of each synthetic defect made on an image."""


def blend_defect(
    image: Uint8, rng: np.random.Generator, *, size: int, contrast: float
) -> tuple[Uint8, NDArray[np.bool_]]:
    """A copy of ``image`` (H, W, 3) with a defect at a random place, and its mask (H, W)."""
    height, width = image.shape[:2]
    radius = size * (min(height, width) / 256)
    row, col = rng.uniform(radius, (height - radius, width - radius))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(y - row, x - col) / radius
    level = noise(rng, (height, width), max(2.0, size / 4)) - 2 * distance
    area = max(4, round(radius**2))
    mask = level >= np.partition(level.ravel(), -area)[-area]
    grain: Float32 = 255 * (noise(rng, (height, width), max(2.0, size / 8)) > 0)[..., None].astype(
        np.float32
    )
    blended = (1 - contrast) * image + contrast * grain
    changed = np.where(mask[..., None], np.clip(blended, 0, 255).astype(np.uint8), image)
    return changed, mask
