"""Canonical vectors: ten numbers per network that tell its published weights from others.

python -m backbones.verification.canonical     draws the picture they are of
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from backbones.base import Backbone, Float32
from backbones.errors import BackboneError, ImageError
from backbones.pipeline import embed_image
from backbones.weights import ASSETS

PICTURE = ASSETS / "verify.png"
"""Any picture in which every filter finds something would do; vecspect draws this one itself."""


@dataclass(frozen=True, slots=True)
class Canonical:
    """Ten values of the central patch embedding of `PICTURE`, and the weights that give them."""

    weights: str
    vector: tuple[float, ...]


CANONICAL = {
    "compact": Canonical(
        "those that come with vecspect",
        (2.182, 1.819, 0.7948, 1.189, 0.0, 0.4468, 3.613, 0.1876, 0.1123, 0.1892),
    ),
    "patchcore-resnet50-v1": Canonical(
        "those of Keras Applications",
        (0.1669, 0.3285, 2.337, 0.09384, 0.2715, 0.5615, 0.03636, 0.07492, 0.2739, 0.2516),
    ),
}
"""Canonical vectors by network. A new one is `canonical_vector` of the published weights in f32."""


def canonical_vector(backbone: Backbone) -> tuple[float, ...]:
    """Ten evenly spaced values of the patch embedding in the middle of the picture."""
    patches = patches_of_picture(backbone)
    rows, columns, dim = patches.shape
    middle = patches[rows // 2, columns // 2]
    return tuple(float(value) for value in middle[np.linspace(0, dim - 1, 10).astype(int)])


def patches_of_picture(backbone: Backbone) -> Float32:
    """(H, W, D) patch embeddings of `PICTURE`.

    Raises:
        BackboneError: the picture is missing or damaged.
    """
    try:
        return embed_image(backbone, PICTURE).patches
    except ImageError as error:
        raise BackboneError(f"{error}. Install vecspect again.") from error


def draw_picture() -> Image.Image:
    """Draw rings, stripes and blocks of many colours in integers, so that all machines agree."""
    y, x = np.mgrid[0:128, 0:128]
    rings = ((x - 45) ** 2 + (y - 75) ** 2) // 24 % 256 // 32 * 36
    stripes = (x + 2 * y) // 9 % 2 * 160 + x // 16 * 12
    blocks = (x // 16 * 37 + y // 16 * 91) % 256
    pixels = np.stack([rings, stripes, (blocks + rings) // 2], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


if __name__ == "__main__":
    draw_picture().save(PICTURE, optimize=True)
