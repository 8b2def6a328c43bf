"""Images to ask about, and what plain NumPy says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ExifTags import Base

from backbones.base import Backbone, Float32
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, embed_images

UPRIGHT, QUARTER_TURN = 1, 6


def features_of(network: Backbone, path: Path) -> ImageFeatures:
    features = next(embed_images(network, [path]))
    assert isinstance(features, ImageFeatures)
    return features


def brute_force(queries: Float32, bank: Float32) -> NDArray[np.float64]:
    """Distance of each query patch to each bank patch, by plain subtraction in float64."""
    difference = queries.astype(np.float64)[:, None, :] - bank.astype(np.float64)[None]
    return np.asarray(np.sqrt((difference**2).sum(axis=2)))


def write_spotted(path: Path, normal: Path, spot: Box, *, orientation: int = UPRIGHT) -> Path:
    """A wide product photo with one loud spot; ``spot`` in upright pixels, 240 x 120."""
    picture = Image.open(normal).convert("RGB").resize((240, 120))
    corners = (spot.x, spot.y, spot.x + spot.width, spot.y + spot.height)
    ImageDraw.Draw(picture).rectangle(corners, fill=(255, 0, 255))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    stored = picture.transpose(Image.Transpose.ROTATE_90) if orientation != UPRIGHT else picture
    stored.save(path, exif=exif)
    return path
