"""Pictures that keep every layer busy, and the comparison of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec, Features
from backbones.geometry import Size


def pictures(count: int, size: Size) -> NDArray[np.uint8]:
    """(N, Y, X, 3) noise at two scales: flat and busy regions."""
    height, width = size
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    fine = rng.integers(-40, 41, (count, height, width, 3))
    noisy = coarse.repeat(8, axis=1).repeat(8, axis=2) + fine
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def normalised(inputs: NDArray[np.uint8], spec: BackboneSpec) -> NDArray[np.float32]:
    """(N, 3, Y, X) as a network takes them, computed here."""
    values = (inputs / 255 - np.array(spec.mean)) / np.array(spec.std)
    return np.asarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def assert_same(got: Features, want: Features, tolerance: float) -> None:
    """Equal up to ``tolerance`` times the largest value of either output."""
    for one, other in ((got.patches, want.patches), (got.images, want.images)):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()
